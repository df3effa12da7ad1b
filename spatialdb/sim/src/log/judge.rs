//! Judges of what is written: a crash takes nothing that was seen, and at rest the logs are the world.

use std::collections::BTreeMap;

use spatialdb_core::log::{Merge, decode_position, images};
use spatialdb_core::{MovedEntity, Partition};
use spatialdb_types::{ComponentId, EntityId, Revision};

use super::Log;
use crate::client::Value;
use crate::driver::Sim;
use crate::judge::{Components, Failure};
use crate::model::TWIN;
use crate::values;

impl Sim {
    /// What is written is the world.
    ///
    /// # Errors
    /// What differs.
    pub(crate) fn judge_log(&mut self) -> Result<(), Failure> {
        self.write_all()?;
        self.judge_crash()?;
        let mut expected = self.truth()?;
        let (found, last) = self.recovered()?;
        let clock = self.partitions.iter().map(Partition::clock).max().unwrap_or_default();
        if last > clock {
            return Err(failure(format!("revision {last} is written, the last one is {clock}")));
        }
        for (entity, found) in found {
            let Some(fact) = expected.remove(&entity) else {
                return Err(failure(format!("entity {entity} is written, and is not there")));
            };
            let stored = fact.components.into_iter().filter(|(c, _)| !self.log.classes.is_volatile(*c));
            let stored: Components = stored.collect();
            if found != stored {
                return Err(failure(format!("entity {entity} is {stored:?}, and {found:?} is written")));
            }
        }
        let is_stored = |c: &ComponentId| !self.log.classes.is_volatile(*c);
        let missing = expected.into_iter().find(|(_, fact)| fact.components.keys().any(is_stored));
        missing.map_or(Ok(()), |(entity, _)| Err(failure(format!("entity {entity} is not written"))))
    }

    /// If all ended now, what was to be on disk would come back.
    ///
    /// # Errors
    /// What would not.
    pub(super) fn judge_crash(&mut self) -> Result<(), Failure> {
        let (found, _) = self.recovered()?;
        let visible = self.all_there()?;
        let classes = self.log.classes.clone();
        let waits = |entity| self.partitions.iter().any(|partition| partition.has_commit(entity));
        let is_durable = |component: &&ComponentId| classes.is_durable(**component);
        for (entity, components) in &visible {
            let there = found.get(entity);
            for (component, (revision, _)) in components.iter().filter(|(component, _)| is_durable(component))
            {
                let kept = there.and_then(|there| there.get(component)).map(|(revision, _)| *revision);
                if kept.is_none_or(|kept| kept < *revision) && !(kept.is_none() && waits(*entity)) {
                    return Err(failure(format!(
                        "component {component} of entity {entity} is seen at revision {revision}; a crash would leave {kept:?}"
                    )));
                }
            }
        }
        for (entity, components) in &found {
            if components.keys().any(|c| is_durable(&c)) && !visible.contains_key(entity) && !waits(*entity) {
                return Err(failure(format!("entity {entity} is gone, and a crash would bring it back")));
            }
            let twin = |i: usize| components.get(&TWIN[i]).map(|(_, value)| stamp_of(value));
            if self.twins.contains(entity)
                && let (Some(one), Some(two)) = (twin(0), twin(1))
                && one != two
            {
                return Err(failure(format!(
                    "a crash would leave components of entity {entity} that were written together at {one:?} and {two:?}"
                )));
            }
        }
        Ok(())
    }

    /// What a restart would find if all ended now: a disk has what it has told, and perhaps more. Also the last revision.
    fn recovered(&mut self) -> Result<(BTreeMap<EntityId, Components>, Revision), Failure> {
        let Log { rng, disks, .. } = &mut self.log;
        let mut records: Vec<&[u8]> = Vec::new();
        for disk in disks {
            let reached = rng.between(disk.stored as u64, disk.records.len() as u64) as usize;
            let all = disk.checkpoint.iter().chain(&disk.records[disk.begins..reached]);
            records.extend(all.map(Vec::as_slice).filter(|record| !record.is_empty()));
        }
        for last in (1..records.len()).rev() {
            records.swap(last, rng.index(last + 1));
        }
        let mut merge = Merge::default();
        for record in records {
            let record = images(record).map_err(|error| failure(error.to_string()))?;
            record.images.iter().for_each(|image| merge.add(image));
        }
        let last = merge.last_revision();
        let mut found = BTreeMap::new();
        for entity in merge.finish() {
            if entity.is_cut {
                return Err(failure(format!("all images of entity {} are parts", entity.entity)));
            }
            let values = entity.values.into_iter();
            let values = values.map(|(c, value)| (c, (value.revision, value_of(c, &value.bytes))));
            found.insert(entity.entity, values.collect());
        }
        Ok((found, last))
    }
}

/// What an entity on its way has.
pub(crate) fn components_of(moved: &MovedEntity) -> Components {
    let position = moved.position.map(|(at, revision, _)| (ComponentId::POSITION, (revision, Value::At(at))));
    let values = moved.values.iter();
    let values = values.map(|value| (value.component, (value.revision, Value::Bytes(value.value.to_vec()))));
    position.into_iter().chain(values).collect()
}

fn stamp_of(value: &Value) -> Option<u32> {
    match value {
        Value::At(_) => None,
        Value::Bytes(bytes) => values::stamp_of(bytes).map(|stamp| stamp.number),
    }
}

pub(crate) fn value_of(component: ComponentId, bytes: &[u8]) -> Value {
    if component != ComponentId::POSITION {
        return Value::Bytes(bytes.to_vec());
    }
    decode_position(bytes).map_or_else(|| Value::Bytes(bytes.to_vec()), Value::At)
}

fn failure(detail: String) -> Failure {
    Failure { judge: "log", detail }
}
