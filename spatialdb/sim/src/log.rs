//! Logs: partitions write what changed, in small pieces at any time; at rest all records together are the world.
//!
//! Records are merged in an order of their own: a restart reads the log of one partition after the other's.

use std::sync::Arc;

use spatialdb_core::log::{Merge, images};
use spatialdb_types::{ComponentId, Point3, Position, SpaceId};

use crate::bug::Bug;
use crate::client::Value;
use crate::driver::Sim;
use crate::judge::{Components, Failure};
use crate::rng::Rng;
use crate::world::FIRST_COMPONENT;

/// What partitions have written.
#[derive(Debug)]
pub(crate) struct Log {
    rng: Rng,
    /// Components that are not written.
    pub(crate) volatile: Arc<[ComponentId]>,
    records: Vec<Vec<u8>>,
}

impl Log {
    /// Nothing. In one world of two there is a component that is not written.
    pub(crate) fn new(seed: u64) -> Self {
        let volatile: &[ComponentId] =
            if seed.is_multiple_of(2) { &[] } else { &[ComponentId(FIRST_COMPONENT)] };
        Self { rng: Rng::new(seed ^ 0x106), volatile: volatile.into(), records: Vec::new() }
    }
}

impl Sim {
    /// A partition may write some of what changed.
    pub(crate) fn log_step(&mut self) {
        if self.log.rng.one_in(12) {
            let p = self.log.rng.index(self.partitions.len());
            let images_max = self.log.rng.between(1, 6) as usize;
            self.partitions[p].sweep(images_max);
            // It may be taken later, with more.
            if self.log.rng.one_in(2) {
                self.take_record(p);
            }
        }
    }

    fn take_record(&mut self, p: usize) {
        let Some(record) = self.partitions[p].take_log_record() else { return };
        if !self.bugs.hits(Bug::LoseRecord) {
            self.log.records.push(record);
        }
    }

    /// What is written is the world.
    ///
    /// # Errors
    /// What differs.
    pub(crate) fn judge_log(&mut self) -> Result<(), Failure> {
        for p in 0..self.partitions.len() {
            // What goes on may have begun before the last change.
            while !self.partitions[p].sweep(7) {}
            while !self.partitions[p].sweep(7) {}
            self.take_record(p);
        }
        let mut expected = self.truth()?;
        let Log { rng, volatile, records } = &mut self.log;
        for last in (1..records.len()).rev() {
            records.swap(last, rng.index(last + 1));
        }
        let mut merge = Merge::default();
        for record in records.iter() {
            let record = images(record).map_err(|error| failure(error.to_string()))?;
            record.images.iter().for_each(|image| merge.add(image));
        }
        let clock = self.partitions.iter().map(spatialdb_core::Partition::clock).max().unwrap_or_default();
        if merge.last_revision() > clock {
            return Err(failure(format!(
                "revision {} is written, the last one is {clock}",
                merge.last_revision()
            )));
        }
        for found in merge.finish() {
            let entity = found.entity;
            if found.is_cut {
                return Err(failure(format!("all images of entity {entity} are parts")));
            }
            let Some(fact) = expected.remove(&entity) else {
                return Err(failure(format!("entity {entity} is written, and is not there")));
            };
            let values = found.values.into_iter();
            let found: Components = values
                .map(|(component, value)| (component, (value.revision, value_of(component, &value.bytes))))
                .collect();
            let stored = fact.components.into_iter().filter(|(component, _)| !volatile.contains(component));
            let stored: Components = stored.collect();
            if found != stored {
                return Err(failure(format!("entity {entity} is {stored:?}, and {found:?} is written")));
            }
        }
        let missing =
            expected.into_iter().find(|(_, fact)| fact.components.keys().any(|c| !volatile.contains(c)));
        missing.map_or(Ok(()), |(entity, _)| Err(failure(format!("entity {entity} is not written"))))
    }
}

fn value_of(component: ComponentId, bytes: &[u8]) -> Value {
    if component != ComponentId::POSITION {
        return Value::Bytes(bytes.to_vec());
    }
    let space = bytes.first_chunk().map_or(0, |space| u32::from_le_bytes(*space));
    let metres = |i: usize| {
        bytes
            .get(4 + 8 * i..)
            .and_then(<[u8]>::first_chunk)
            .map_or(f64::NAN, |metres| f64::from_le_bytes(*metres))
    };
    Value::At(Position { space: SpaceId(space), point: Point3::new(metres(0), metres(1), metres(2)) })
}

fn failure(detail: String) -> Failure {
    Failure { judge: "log", detail }
}
