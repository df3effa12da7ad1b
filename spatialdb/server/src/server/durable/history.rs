//! The past of a world: what the checkpoints and logs that are kept say about moments before now.
//!
//! A checkpoint that is kept counts for every moment since it was whole: it, and what logs say from there up to a moment, are the world
//! as it was then. What is not DURABLE is written once in a `checkpoint_interval`, and known that exactly.
//!
//! Responsible for: rebuilding a moment, and what was written of one entity. Not responsible for: what is kept (`keeper`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use prost::Message;
use spatialdb_core::log::{Form, Image, LogWriter, Merged, SLICE_BYTES, StoredValue, images};
use spatialdb_durability::{CheckpointId, LogId, LogSeq, Manifest, ManifestLog, StorageError, Term};
use spatialdb_types::{ComponentId, EntityId, Epoch, Revision, SessionId};

use super::about::{Attached, AttachedSession, Kept, KeptLog};
use super::create::IMAGES_A_PART;
use super::recover::{Recovered, Source, each_record, gather};
use super::{About, DataDir, DataError, Found, unix_us as now_us};
use crate::progress::Progress;

/// Something that was written of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// When it came to the disk, in microseconds of Unix time; of what was there before all that is kept, when that begins.
    pub(crate) unix_us: i64,
    pub(crate) what: WrittenWhat,
}

/// What it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WrittenWhat {
    /// A component has a value.
    Value { component: ComponentId, revision: Revision, writer: SessionId, epoch: Epoch, bytes: Vec<u8> },
    /// It has no longer a component that it had.
    Removed(ComponentId),
    /// It was deleted.
    Deleted,
}

/// What was written of an entity, and who the writers were.
#[derive(Clone, Debug, Default)]
pub(crate) struct EntityLog {
    /// From the first on.
    pub(crate) written: Vec<Written>,
    /// Sessions that are known by name.
    pub(crate) sessions: BTreeMap<SessionId, AttachedSession>,
    /// The moment from which on all is known.
    pub(crate) begins_unix_us: i64,
}

impl DataDir {
    /// What is there now: the manifest changes while a world runs.
    fn now(&self) -> Result<Found, DataError> {
        let missing = || StorageError::Missing { what: "the manifest".to_owned() };
        let manifest = self.storage().manifest()?.ok_or_else(missing)?;
        let about = About::read(&manifest)?;
        Ok(Found { manifest, about })
    }

    /// The world as it was at a moment, and what is said about it.
    ///
    /// # Errors
    /// That is no longer kept, or what is there is damaged.
    pub(crate) fn at(&self, unix_us: i64, progress: &Progress) -> Result<(Recovered, About), DataError> {
        let _reading = self.reading.read().unwrap_or_else(PoisonError::into_inner);
        let found = self.now()?;
        let kept = &found.about.kept;
        let chosen = kept.iter().rposition(|kept| kept.unix_us <= unix_us);
        let begins = kept.first().map(|kept| kept.unix_us);
        let chosen = chosen.ok_or(DataError::TooEarly { asked: unix_us, begins })?;
        let logs = logs_from(&found, chosen);
        let checkpoint = Some(CheckpointId(kept[chosen].checkpoint));
        let source = Source { checkpoint, logs, until_unix_us: Some(unix_us) };
        Ok((gather(self, &source, progress)?, found.about))
    }

    /// Makes the world what it was at a moment. What came since stays in its history.
    ///
    /// # Errors
    /// That is no longer kept, or the directory cannot be read or written; nothing has changed then.
    pub(crate) fn restore_at(&self, unix_us: i64, progress: &Progress) -> Result<u64, DataError> {
        let (past, mut about) = self.at(unix_us, progress)?;
        let storage = self.storage();
        let before = self.now()?.manifest;
        let last = storage.checkpoints()?.into_iter().max().max(before.checkpoint);
        let id = CheckpointId(last.map_or(0, |last| last.0) + 1);
        let world = self.take(LogId::WORLD, Term(1))?;
        let (mut parts, mut bytes) = (0, 0);
        for entities in chunks(&past.entities) {
            let part = written(entities);
            storage.put_checkpoint(id, LogId::of_partition(0), parts, now_us(), &part)?;
            (parts, bytes) = (parts + 1, bytes + part.len() as u64);
        }
        let mut logs = Vec::new();
        for log in &before.logs {
            // The world's own log goes on: what was given stays given.
            let begins = if log.log == LogId::WORLD { log.begins } else { storage.bounds(log.log)?.1 };
            logs.push(ManifestLog { log: log.log, parts: 0, begins });
        }
        match logs.iter_mut().find(|log| log.log == LogId::of_partition(0)) {
            Some(log) => log.parts = parts,
            None => return Err(DataError::NoPartition),
        }
        let now = now_us();
        let version = before.version + 1;
        let mut manifest = Manifest { version, checkpoint: Some(id), logs, about: Vec::new() };
        about.kept.extend(Kept::of(&manifest, now, bytes));
        manifest.about = about.encode_to_vec();
        storage.commit_manifest(world.term, now, &manifest)?;
        Ok(past.entities.len() as u64)
    }

    /// What was written of an entity since the beginning of what is kept.
    ///
    /// # Errors
    /// What is there is damaged.
    pub(crate) fn entity_log(&self, entity: EntityId) -> Result<EntityLog, DataError> {
        let _reading = self.reading.read().unwrap_or_else(PoisonError::into_inner);
        let found = self.now()?;
        let Some(first) = found.about.kept.first() else { return Ok(EntityLog::default()) };
        let mut log = EntityLog { begins_unix_us: first.unix_us, ..EntityLog::default() };
        let mut seen: Seen = Seen::default();
        let storage = self.storage();
        let logs = logs_from(&found, 0);
        for ManifestLog { log: id, parts, .. } in &logs {
            for part in 0..*parts {
                let body = storage.checkpoint(CheckpointId(first.checkpoint), *id, part)?;
                let what = || format!("part {part} of the checkpoint of {id}");
                seen.take(entity, first.unix_us, &body, what)?;
            }
        }
        for ManifestLog { log: id, begins, .. } in &logs {
            each_record(storage, *id, *begins, |record| {
                if *id == LogId::WORLD {
                    let sessions = Attached::read(&record)?.sessions.into_iter();
                    log.sessions.extend(sessions.map(|session| (SessionId(session.session), session)));
                    return Ok(());
                }
                let what = || format!("record {} of {id}", record.seq);
                seen.take(entity, record.unix_us, &record.body, what)
            })?;
        }
        log.written = seen.in_order();
        Ok(log)
    }
}

/// The logs that go with a checkpoint that is kept, and those that were begun since: from where the first that names them says.
fn logs_from(found: &Found, chosen: usize) -> Vec<ManifestLog> {
    let of_kept =
        |log: &KeptLog| ManifestLog { log: LogId(log.log), parts: log.parts, begins: LogSeq(log.begins) };
    let kept = &found.about.kept[chosen..];
    let first = kept.iter().take(1).flat_map(|kept| &kept.logs).map(of_kept);
    let later = kept.iter().skip(1).flat_map(|kept| &kept.logs).map(of_kept);
    let later = later.chain(found.manifest.logs.iter().copied());
    let mut logs: BTreeMap<LogId, ManifestLog> = BTreeMap::new();
    // Parts are of the checkpoint that was chosen only.
    for log in first.chain(later.map(|log| ManifestLog { parts: 0, ..log })) {
        logs.entry(log.log).or_insert(log);
    }
    logs.into_values().collect()
}

/// Entities in pieces that have no more than so many images and bytes each, about.
fn chunks(entities: &[Merged]) -> impl Iterator<Item = &[Merged]> {
    let bytes_of =
        |entity: &Merged| -> usize { entity.values.iter().map(|(_, value)| value.bytes.len()).sum() };
    let mut rest = entities;
    std::iter::from_fn(move || {
        let (mut count, mut bytes) = (0, 0);
        while count < rest.len().min(IMAGES_A_PART) && bytes < SLICE_BYTES {
            bytes += bytes_of(&rest[count]);
            count += 1;
        }
        let (piece, after) = rest.split_at(count);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Entities as whole images.
fn written(entities: &[Merged]) -> Vec<u8> {
    let mut writer = LogWriter::new(Revision(0), 0);
    for entity in entities {
        let as_of = entity.values.iter().map(|(_, value)| value.revision).max().unwrap_or_default();
        writer.image(entity.entity, Form::Whole(as_of));
        for (component, value) in &entity.values {
            writer.value(&StoredValue {
                component: *component,
                revision: value.revision,
                writer: value.writer,
                epoch: value.epoch,
                bytes: &value.bytes,
            });
        }
    }
    writer.finish()
}

/// What images say of one entity, each thing once.
#[derive(Default)]
struct Seen {
    /// By component and revision: when it was written first.
    values: BTreeMap<(ComponentId, Revision), Written>,
    /// Which components it had as of a revision, and when that was written.
    wholes: BTreeMap<Revision, (i64, BTreeSet<ComponentId>)>,
    deleted: Option<i64>,
}

impl Seen {
    fn take(
        &mut self,
        entity: EntityId,
        unix_us: i64,
        body: &[u8],
        what: impl Fn() -> String,
    ) -> Result<(), DataError> {
        let record = images(body).map_err(|source| DataError::Record { what: what(), source })?;
        for image in record.images.iter().filter(|image| image.entity == entity) {
            self.take_image(unix_us, image);
        }
        Ok(())
    }

    fn take_image(&mut self, unix_us: i64, image: &Image<'_>) {
        match image.form {
            Form::Gone => {
                self.deleted = Some(self.deleted.map_or(unix_us, |before| before.min(unix_us)));
                return;
            }
            Form::Whole(as_of) | Form::Absent(as_of) => {
                let components = image.values.iter().map(|value| value.component).collect();
                self.wholes.entry(as_of).or_insert((unix_us, components));
            }
            Form::Part => {}
        }
        for value in &image.values {
            let what = WrittenWhat::Value {
                component: value.component,
                revision: value.revision,
                writer: value.writer,
                epoch: value.epoch,
                bytes: value.bytes.to_vec(),
            };
            let new = Written { unix_us, what };
            let known = self.values.entry((value.component, value.revision)).or_insert_with(|| new.clone());
            if known.unix_us > unix_us {
                *known = new;
            }
        }
    }

    fn in_order(self) -> Vec<Written> {
        let mut removed = Vec::new();
        let mut before: BTreeSet<ComponentId> = BTreeSet::new();
        for (as_of, (unix_us, components)) in &self.wholes {
            for component in before.difference(components) {
                removed.push((*as_of, Written { unix_us: *unix_us, what: WrittenWhat::Removed(*component) }));
            }
            before.clone_from(components);
        }
        let values = self.values.into_iter().map(|((_, revision), written)| (revision, written));
        let mut all: Vec<(Revision, Written)> = values.chain(removed).collect();
        all.sort_by_key(|(revision, written)| (*revision, written.unix_us));
        let mut all: Vec<Written> = all.into_iter().map(|(_, written)| written).collect();
        if let Some(unix_us) = self.deleted {
            // What came later came after the world was made what it had been.
            let at = all.iter().position(|written| written.unix_us > unix_us).unwrap_or(all.len());
            all.insert(at, Written { unix_us, what: WrittenWhat::Deleted });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(form: Form, values: &[(u32, u64)]) -> Vec<u8> {
        let mut writer = LogWriter::new(Revision(0), 0);
        writer.image(EntityId(7), form);
        for (component, revision) in values {
            writer.value(&StoredValue {
                component: ComponentId(*component),
                revision: Revision(*revision),
                writer: SessionId(3),
                epoch: Epoch(4),
                bytes: &revision.to_le_bytes(),
            });
        }
        writer.image(EntityId(8), Form::Gone);
        writer.finish()
    }

    #[test]
    fn each_thing_is_told_once_and_in_order() {
        let mut seen = Seen::default();
        let what = || "a record".to_owned();
        // A checkpoint repeats what is known; another partition's log is read later.
        for (unix_us, form, values) in [
            (50, Form::Whole(Revision(5)), &[(1, 2), (9, 1)][..]),
            (90, Form::Part, &[(1, 8)]),
            (10, Form::Whole(Revision(3)), &[(1, 2), (9, 1)]),
            (70, Form::Whole(Revision(7)), &[(1, 2)]),
            (95, Form::Gone, &[]),
        ] {
            seen.take(EntityId(7), unix_us, &body(form, values), what).expect("images");
        }
        let told: Vec<(i64, String)> = seen
            .in_order()
            .into_iter()
            .map(|written| {
                let what = match written.what {
                    WrittenWhat::Value { component, revision, .. } => format!("{component} at {revision}"),
                    WrittenWhat::Removed(component) => format!("{component} removed"),
                    WrittenWhat::Deleted => "deleted".to_owned(),
                };
                (written.unix_us, what)
            })
            .collect();
        let expected = [(10, "9 at 1"), (10, "1 at 2"), (70, "9 removed"), (90, "1 at 8"), (95, "deleted")];
        assert_eq!(told, expected.map(|(at, what)| (at, what.to_owned())));
    }
}
