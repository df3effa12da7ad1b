//! The thread that keeps what concerns all logs: rounds of checkpoints, and what may have been given.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use prost::Message;
use spatialdb_durability::{CheckpointId, LogId, LogSeq, Manifest, ManifestLog};
use spatialdb_types::{EntityId, Epoch, SessionId};

use super::about::Given;
use super::{DataDir, DataError, Taken, unix_us};
use crate::config::DurabilityConfig;
use crate::server::edge::Edge;
use crate::server::partition::Control;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);

/// So many of each are reserved ahead. What is used in a second is far less than half of it.
const AHEAD: Given = Given { entity_ids: 1 << 24, revisions: 1 << 36, epochs: 1 << 24, sessions: 1 << 14 };

/// What reaches the keeper.
pub(in crate::server) enum ToKeeper {
    Report(Report),
    Stop,
}

/// A partition's part of a round is on disk.
pub(in crate::server) struct Report {
    pub(super) log: LogId,
    pub(super) round: u64,
    pub(super) parts: u32,
    pub(super) begins: LogSeq,
}

/// What is reserved: it may be given, and is not given again after a crash.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Reserved {
    log: Taken,
    given: Given,
}

/// The keeper of a running world.
pub(in crate::server) struct Keeper {
    pub(in crate::server) data: Arc<DataDir>,
    pub(in crate::server) config: DurabilityConfig,
    pub(in crate::server) reserved: Reserved,
    pub(in crate::server) manifest: Manifest,
    pub(in crate::server) from_logs: Receiver<ToKeeper>,
    /// The last checkpoint before the first round of this process.
    pub(in crate::server) checkpoints: CheckpointId,
    round: u64,
    is_in_round: bool,
    reports: BTreeMap<LogId, Report>,
    last_round: Instant,
    bytes_then: u64,
}

impl Reserved {
    /// Reserves what is to be given from there on.
    ///
    /// # Errors
    /// It cannot be written.
    pub(in crate::server) fn begin(data: &DataDir, log: Taken, given: Given) -> Result<Self, DataError> {
        let mut reserved = Self { log, given };
        reserved.write(data, ahead_of(given))?;
        Ok(reserved)
    }

    fn write(&mut self, data: &DataDir, given: Given) -> Result<(), DataError> {
        let body = given.encode_to_vec();
        let Taken { log, term, next } = self.log;
        self.log.next = data.storage().append(log, term, next, unix_us(), &[&body])?;
        self.given = given;
        Ok(())
    }

    /// Reserves more where less than half is left.
    fn renew(&mut self, data: &DataDir, given: Given) -> Result<(), DataError> {
        let (has, half) = (
            self.given,
            Given {
                entity_ids: AHEAD.entity_ids / 2,
                revisions: AHEAD.revisions / 2,
                epochs: AHEAD.epochs / 2,
                sessions: AHEAD.sessions / 2,
            },
        );
        let is_short = given.entity_ids + half.entity_ids > has.entity_ids
            || given.revisions + half.revisions > has.revisions
            || given.epochs + half.epochs > has.epochs
            || given.sessions.saturating_add(half.sessions) > has.sessions;
        if is_short { self.write(data, ahead_of(given)) } else { Ok(()) }
    }
}

const fn ahead_of(given: Given) -> Given {
    Given {
        entity_ids: given.entity_ids + AHEAD.entity_ids,
        revisions: given.revisions + AHEAD.revisions,
        epochs: given.epochs + AHEAD.epochs,
        sessions: given.sessions.saturating_add(AHEAD.sessions),
    }
}

impl Keeper {
    pub(in crate::server) fn new(
        data: Arc<DataDir>,
        config: DurabilityConfig,
        reserved: Reserved,
        manifest: Manifest,
        checkpoints: CheckpointId,
        from_logs: Receiver<ToKeeper>,
    ) -> Self {
        // The first one made the world, if it is new.
        let (round, is_in_round, reports) = (1, false, BTreeMap::new());
        let (last_round, bytes_then) = (Instant::now(), 0);
        Self {
            data,
            config,
            reserved,
            manifest,
            from_logs,
            checkpoints,
            round,
            is_in_round,
            reports,
            last_round,
            bytes_then,
        }
    }

    /// Goes on until the world has stopped.
    pub(in crate::server) fn run(mut self, edge: &Edge) {
        self.allow(edge);
        loop {
            match self.from_logs.recv_timeout(PERIOD) {
                Ok(ToKeeper::Report(report)) => {
                    let done = self.hear(edge, report);
                    self.check(edge, done);
                }
                Ok(ToKeeper::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let done = self.look(edge);
                    self.check(edge, done);
                }
            }
        }
        // Whatever was reserved and not given is free again.
        if !has_failed(edge) {
            let done = self.reserved.write(&self.data, given(edge));
            self.check(edge, done);
        }
    }

    fn check(&self, edge: &Edge, done: Result<(), DataError>) {
        let Err(error) = done else { return };
        let why = error.to_string();
        let is_first = edge.log.as_ref().is_some_and(|status| status.failure.set(why.clone()).is_ok());
        if is_first {
            tracing::error!("the data directory takes nothing more: {why}. The world goes on in memory");
            edge.partitions.iter().for_each(|partition| partition.tell(Control::LogFailed));
        }
    }

    fn look(&mut self, edge: &Edge) -> Result<(), DataError> {
        if has_failed(edge) {
            return Ok(());
        }
        self.reserved.renew(&self.data, given(edge))?;
        self.allow(edge);
        let Some(status) = &edge.log else { return Ok(()) };
        status.stored_bytes.store(self.data.storage().usage()?.bytes, Ordering::Relaxed);
        let bytes = status.bytes.load(Ordering::Relaxed) - self.bytes_then;
        let is_time = bytes > 0 && self.last_round.elapsed() >= self.config.checkpoint_every;
        if !self.is_in_round && (is_time || bytes >= self.config.log_bytes) {
            self.begin(edge);
        }
        Ok(())
    }

    /// What is reserved may be given. Of entity ids somebody may ask for many at once.
    fn allow(&self, edge: &Edge) {
        edge.world().ids.allow(EntityId(self.reserved.given.entity_ids));
    }

    fn begin(&mut self, edge: &Edge) {
        let Some(status) = &edge.log else { return };
        self.round += 1;
        self.is_in_round = true;
        self.last_round = Instant::now();
        self.bytes_then = status.bytes.load(Ordering::Relaxed);
        status.in_round.store(true, Ordering::Relaxed);
        for partition in &edge.partitions {
            partition.tell(Control::Round(self.round));
        }
    }

    /// A log has its part. With the last one the checkpoint counts, and what it makes superfluous goes.
    fn hear(&mut self, edge: &Edge, report: Report) -> Result<(), DataError> {
        if !self.is_in_round || report.round != self.round {
            return Ok(());
        }
        self.reports.insert(report.log, report);
        if self.reports.len() < edge.partitions.len() {
            return Ok(());
        }
        let storage = self.data.storage();
        // The last record of the world's log is all that counts of it.
        let world = ManifestLog { log: LogId::WORLD, parts: 0, begins: LogSeq(self.reserved.log.next.0 - 1) };
        let reports = std::mem::take(&mut self.reports).into_values();
        let mut logs = vec![world];
        logs.extend(reports.map(|Report { log, parts, begins, .. }| ManifestLog { log, parts, begins }));
        let replaced = self.manifest.checkpoint;
        self.manifest.version += 1;
        self.manifest.checkpoint = Some(CheckpointId(self.checkpoints.0 + self.round));
        // Logs of partitions that are no more are superfluous from now on.
        let gone = self.manifest.logs.iter().filter(|old| logs.iter().all(|log| log.log != old.log));
        let gone: Vec<LogId> = gone.map(|old| old.log).collect();
        self.manifest.logs = logs;
        storage.commit_manifest(self.reserved.log.term, unix_us(), &self.manifest)?;
        for log in &self.manifest.logs {
            storage.truncate_before(log.log, log.begins)?;
        }
        for log in gone {
            storage.truncate_before(log, storage.bounds(log)?.1)?;
        }
        if let Some(replaced) = replaced {
            storage.drop_checkpoint(replaced)?;
        }
        self.is_in_round = false;
        if let Some(status) = &edge.log {
            status.checkpoints.fetch_add(1, Ordering::Relaxed);
            status.in_round.store(false, Ordering::Relaxed);
            let elapsed_ms = self.last_round.elapsed().as_millis() as u64;
            tracing::debug!(checkpoint = self.manifest.checkpoint.map(|id| id.0), elapsed_ms, "checkpoint");
        }
        Ok(())
    }
}

fn has_failed(edge: &Edge) -> bool {
    edge.log.as_ref().is_some_and(|status| status.failure.get().is_some())
}

/// What has been given so far.
fn given(edge: &Edge) -> Given {
    let (EntityId(entity_ids), SessionId(sessions)) = {
        let world = edge.world();
        (world.ids.next(), world.names.last())
    };
    let revisions = edge.partitions.iter().map(|p| p.gauges.clock.load(Ordering::Relaxed));
    let Epoch(epochs) = edge.authority.last_epoch();
    Given { entity_ids, revisions: revisions.max().unwrap_or_default(), epochs, sessions }
}
