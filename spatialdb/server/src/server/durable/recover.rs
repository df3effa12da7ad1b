//! Finding a world again: the checkpoint, then what the logs say since.

use std::sync::Arc;

use spatialdb_core::authority::issuer::Memory;
use spatialdb_core::log::{Merge, Merged, images};
use spatialdb_core::{Partition, PartitionMap};
use spatialdb_durability::{CheckpointId, LogId, LogSeq, Manifest, ManifestLog, Storage};
use spatialdb_types::Revision;

use super::about::Given;
use super::regions;
use super::{DataDir, DataError, Found, note_moment};
use crate::progress::Progress;
use crate::server::routes::Routes;

/// Bytes of records that are read at once.
const READ_BYTES: usize = 8 << 20;

/// A world as it was found.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// By rising id.
    pub(in crate::server) entities: Vec<Merged>,
    /// What may have been given.
    pub(in crate::server) given: Given,
    /// The regions that there were.
    pub(in crate::server) regions: Option<Memory>,
    /// Bytes of records of logs that were read.
    pub(in crate::server) log_bytes: u64,
    /// How many those were.
    pub(in crate::server) records: u64,
}

/// What is read: a checkpoint, and of each log how many parts that has, and which record comes behind.
pub(super) struct Source {
    pub(super) checkpoint: Option<CheckpointId>,
    pub(super) logs: Vec<ManifestLog>,
    /// Only what was written up to that moment; `None`: all.
    pub(super) until_unix_us: Option<i64>,
}

/// Reads all that a data directory has.
///
/// # Errors
/// What is damaged or missing. Nothing is left out silently.
pub(in crate::server) fn recover(
    data: &DataDir,
    found: &Found,
    progress: &Progress,
) -> Result<Recovered, DataError> {
    let Manifest { checkpoint, ref logs, .. } = found.manifest;
    gather(data, &Source { checkpoint, logs: logs.clone(), until_unix_us: None }, progress)
}

/// Reads what a source names.
///
/// # Errors
/// As [`recover`].
pub(super) fn gather(data: &DataDir, source: &Source, progress: &Progress) -> Result<Recovered, DataError> {
    let storage = data.storage();
    let mut merge = Merge::default();
    for log in &source.logs {
        for part in 0..log.parts {
            let Some(checkpoint) = source.checkpoint else { break };
            let body = storage.checkpoint(checkpoint, log.log, part)?;
            let what = || format!("part {part} of the checkpoint of {}", log.log);
            add(&mut merge, &body, what)?;
            progress.add(body.len() as u64);
        }
    }
    let (mut given, mut memory, mut records, mut log_bytes) = (Given::default(), None, 0, 0);
    for log in &source.logs {
        each_record(storage, log.log, log.begins, |record| {
            progress.add(record.body.len() as u64);
            note_moment(record.unix_us);
            if log.log == LogId::WORLD {
                given = Given::read(&record)?;
                memory = regions::read(&record)?.or(memory.take());
                return Ok(());
            }
            if source.until_unix_us.is_some_and(|until| record.unix_us > until) {
                return Ok(());
            }
            records += 1;
            log_bytes += record.body.len() as u64;
            add(&mut merge, &record.body, || format!("record {} of {}", record.seq, log.log))
        })?;
    }
    given.revisions = given.revisions.max(merge.last_revision().0);
    let entities: Vec<Merged> = merge.finish().collect();
    if let Some(cut) = entities.iter().find(|entity| entity.is_cut) {
        return Err(DataError::Cut(cut.entity));
    }
    let next = entities.last().map_or(0, |last| last.entity.0);
    given.entity_ids = given.entity_ids.max(next + 1);
    Ok(Recovered { entities, given, regions: memory, log_bytes, records })
}

impl Recovered {
    /// How many entities there are.
    pub(crate) fn entity_count(&self) -> u64 {
        self.entities.len() as u64
    }

    /// Puts all entities where they lie.
    ///
    /// # Errors
    /// One of them is not what was written.
    pub(in crate::server) fn into_machines(
        self,
        map: &Arc<PartitionMap>,
        machines: &mut [Partition],
        routes: &Routes,
    ) -> Result<Given, DataError> {
        let each = self.entities.len() / machines.len();
        for machine in machines.iter_mut() {
            machine.reserve(each);
            machine.begin_after(Revision(self.given.revisions));
        }
        for entity in self.entities {
            let home = map.home(entity.entity, entity.position());
            routes.claim(entity.entity, home);
            machines[usize::from(home.0)].restore(entity)?;
        }
        Ok(self.given)
    }
}

pub(super) fn each_record(
    storage: &Arc<dyn Storage>,
    log: LogId,
    begins: LogSeq,
    mut each: impl FnMut(spatialdb_durability::Record) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let mut from = begins;
    loop {
        let records = storage.read(log, from, READ_BYTES)?;
        let Some(last) = records.last() else { return Ok(()) };
        from = last.seq.after(1);
        records.into_iter().try_for_each(&mut each)?;
    }
}

fn add(merge: &mut Merge, body: &[u8], what: impl Fn() -> String) -> Result<(), DataError> {
    let record = images(body).map_err(|source| DataError::Record { what: what(), source })?;
    record.images.iter().for_each(|image| merge.add(image));
    Ok(())
}
