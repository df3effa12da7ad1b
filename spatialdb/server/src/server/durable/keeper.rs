//! The thread that keeps what concerns all logs: rounds of checkpoints, and what may have been given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use prost::Message;
use spatialdb_core::authority::issuer::Memory;
use spatialdb_durability::{CheckpointId, LogId, LogSeq, Manifest, ManifestLog};
use spatialdb_types::{EntityId, Epoch, SessionId};

use super::about::{Attached, AttachedSession, Given, Kept};
use super::regions;
use super::{About, DataDir, DataError, Taken, unix_us};
use crate::config::DurabilityConfig;
use crate::server::edge::Edge;
use crate::server::partition::Control;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);

/// So many of each are reserved ahead. What is used in a second is far less than half of it.
const AHEAD: Given = Given { entity_ids: 1 << 24, revisions: 1 << 36, epochs: 1 << 24, sessions: 1 << 14 };

/// As many checkpoints are kept for history, about.
const KEPT_MAX: usize = 256;

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
    pub(super) bytes: u64,
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
    /// What it says about the world.
    about: About,
    pub(in crate::server) from_logs: Receiver<ToKeeper>,
    /// The last checkpoint before the first round of this process.
    pub(in crate::server) checkpoints: CheckpointId,
    /// The regions, as the world's log has them.
    regions: Option<Memory>,
    round: u64,
    is_in_round: bool,
    reports: BTreeMap<LogId, Report>,
    last_round: Instant,
    bytes_then: u64,
    /// Of logs before this process, since the last checkpoint.
    found_bytes: u64,
    /// Of the logs when the last checkpoint began to count.
    kept_until: u64,
    /// Logs of which something may be dropped.
    superfluous: BTreeSet<LogId>,
}

impl Reserved {
    /// Reserves what is to be given from there on.
    ///
    /// # Errors
    /// It cannot be written.
    pub(in crate::server) fn begin(
        data: &DataDir,
        log: Taken,
        given: Given,
        regions: Option<&Memory>,
    ) -> Result<Self, DataError> {
        let mut reserved = Self { log, given };
        reserved.write_with(data, ahead_of(given), Vec::new(), regions)?;
        Ok(reserved)
    }

    fn write(&mut self, data: &DataDir, given: Given) -> Result<(), DataError> {
        self.write_with(data, given, Vec::new(), None)
    }

    fn write_with(
        &mut self,
        data: &DataDir,
        given: Given,
        sessions: Vec<AttachedSession>,
        regions: Option<&Memory>,
    ) -> Result<(), DataError> {
        // One message after the other is all of them.
        let regions = regions.map(regions::encode).unwrap_or_default();
        let body = [given.encode_to_vec(), Attached { sessions }.encode_to_vec(), regions].concat();
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
        about: About,
        checkpoints: CheckpointId,
        from_logs: Receiver<ToKeeper>,
    ) -> Self {
        // The first one made the world, if it is new.
        let (round, is_in_round, reports) = (1, false, BTreeMap::new());
        let (last_round, bytes_then, kept_until) = (Instant::now(), 0, 0);
        Self {
            data,
            config,
            reserved,
            manifest,
            about,
            from_logs,
            checkpoints,
            regions: None,
            round,
            is_in_round,
            reports,
            last_round,
            bytes_then,
            found_bytes: 0,
            kept_until,
            superfluous: BTreeSet::new(),
        }
    }

    /// The logs have so many bytes already since the last checkpoint.
    pub(in crate::server) const fn count_found(&mut self, bytes: u64) {
        self.found_bytes = bytes;
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
        let (attached, memory) = (status.take_attached(), self.regions_now(edge));
        let has_changed = memory != self.regions;
        if !attached.is_empty() || has_changed {
            let given = self.reserved.given;
            let regions = memory.as_ref().filter(|_| has_changed);
            self.reserved.write_with(&self.data, given, attached, regions)?;
            self.regions = memory;
        }
        status.stored_bytes.store(self.data.storage().usage()?.bytes, Ordering::Relaxed);
        let bytes = self.found_bytes + status.bytes.load(Ordering::Relaxed) - self.bytes_then;
        let is_time = bytes > 0 && self.last_round.elapsed() >= self.config.checkpoint_every;
        if !self.is_in_round && (is_time || bytes >= self.config.log_bytes) {
            self.begin(edge);
        }
        Ok(())
    }

    /// The regions to begin with again. Of a world that stops those that it had before: its workers are gone, and may come back.
    fn regions_now(&self, edge: &Edge) -> Option<Memory> {
        let stops = edge.draining.load(Ordering::SeqCst);
        if stops { self.regions.clone() } else { edge.authority.memory() }
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
        self.found_bytes = 0;
        self.bytes_then = status.bytes.load(Ordering::Relaxed);
        status.in_round.store(true, Ordering::Relaxed);
        for partition in &edge.partitions {
            partition.tell(Control::Round(self.round));
        }
    }

    /// The checkpoint that counts from now on, with those that history needs. Returns the logs of all that was kept until now.
    fn keep(&mut self, edge: &Edge, bytes: u64) -> BTreeSet<LogId> {
        let written = edge.log.as_ref().map_or(0, |status| status.bytes.load(Ordering::Relaxed));
        if let Some(last) = self.about.kept.last_mut() {
            last.bytes += written - self.kept_until;
        }
        self.kept_until = written;
        let now = unix_us();
        self.about.kept.extend(Kept::of(&self.manifest, now, bytes));
        thin_out(&mut self.about.kept);
        let logs = self.about.kept.iter().flat_map(|kept| &kept.logs);
        let logs = logs.map(|log| LogId(log.log)).collect();
        let DurabilityConfig { history, history_bytes, .. } = self.config;
        self.about.kept.drain(..still_needed(&self.about.kept, now, history, history_bytes));
        logs
    }

    /// What nothing that is kept names.
    fn drop_superfluous(&mut self, known: BTreeSet<LogId>) -> Result<(), DataError> {
        self.superfluous.extend(known);
        // While somebody reads the past it stays; the next round looks again.
        let Ok(_alone) = self.data.reading.try_write() else { return Ok(()) };
        let storage = self.data.storage();
        for log in std::mem::take(&mut self.superfluous) {
            let begins = self.about.kept.iter().find_map(|kept| {
                kept.logs.iter().find(|kept| kept.log == log.0).map(|kept| LogSeq(kept.begins))
            });
            // Logs of partitions that are no more are superfluous at some time.
            let begins = begins.map_or_else(|| storage.bounds(log).map(|(_, next)| next), Ok)?;
            storage.truncate_before(log, begins)?;
        }
        for id in storage.checkpoints()? {
            if self.about.kept.iter().all(|kept| kept.checkpoint != id.0) {
                storage.drop_checkpoint(id)?;
            }
        }
        Ok(())
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
        let sessions = edge.sessions.iter();
        let sessions = sessions.map(|port| port.stats.attached(*port.key())).collect();
        let given = self.reserved.given;
        self.regions = self.regions_now(edge);
        self.reserved.write_with(&self.data, given, sessions, self.regions.as_ref())?;
        // The last record of the world's log is all that counts of it.
        let world = ManifestLog { log: LogId::WORLD, parts: 0, begins: LogSeq(self.reserved.log.next.0 - 1) };
        let reports: Vec<Report> = std::mem::take(&mut self.reports).into_values().collect();
        let bytes = reports.iter().map(|report| report.bytes).sum();
        let mut logs = vec![world];
        logs.extend(reports.iter().map(|Report { log, parts, begins, .. }| ManifestLog {
            log: *log,
            parts: *parts,
            begins: *begins,
        }));
        self.manifest.version += 1;
        self.manifest.checkpoint = Some(CheckpointId(self.checkpoints.0 + self.round));
        self.manifest.logs = logs;
        let known = self.keep(edge, bytes);
        self.manifest.about = self.about.encode_to_vec();
        self.data.storage().commit_manifest(self.reserved.log.term, unix_us(), &self.manifest)?;
        self.drop_superfluous(known)?;
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

/// Which of the checkpoints that are kept are needed: the newest that is as old as history is to reach, and those after it; and no
/// more than may take so many bytes, but always the last one.
fn still_needed(kept: &[Kept], now_us: i64, history: Duration, bytes_max: u64) -> usize {
    let horizon = now_us.saturating_sub(i64::try_from(history.as_micros()).unwrap_or(i64::MAX));
    let first = kept.iter().rposition(|kept| kept.unix_us <= horizon).unwrap_or(0);
    let (mut from, mut bytes) = (kept.len(), 0);
    while from > first {
        bytes += kept[from - 1].bytes;
        if bytes > bytes_max && from < kept.len() {
            break;
        }
        from -= 1;
    }
    from
}

/// Of very many checkpoints every second one of the older half goes: moments after it are told by the one before, and more of the logs.
fn thin_out(kept: &mut Vec<Kept>) {
    if kept.len() > KEPT_MAX {
        let (half, mut at) = (kept.len() / 2, 0);
        kept.retain(|_| {
            at += 1;
            at > half || at % 2 == 1
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_keeps_what_it_needs_and_no_more_than_it_may() {
        let kept = |seconds: i64, bytes| Kept { unix_us: seconds * 1_000_000, bytes, ..Kept::default() };
        let all = [kept(10, 5), kept(20, 5), kept(30, 5), kept(40, 5)];
        let from = |now: i64, history: u64, bytes_max| {
            still_needed(&all, now * 1_000_000, Duration::from_secs(history), bytes_max)
        };
        assert_eq!(from(45, 0, 100), 3, "only what counts");
        assert_eq!(from(45, 10, 100), 2, "the one from which 35 is rebuilt");
        assert_eq!(from(45, 15, 100), 2);
        assert_eq!(from(45, 1000, 100), 0, "all there is");
        assert_eq!(from(45, 1000, 10), 2, "no more than it may take");
        assert_eq!(from(45, 1000, 1), 3, "but what counts, whatever that takes");
        let mut many: Vec<Kept> = (0..=KEPT_MAX as i64).map(|second| kept(second, 1)).collect();
        thin_out(&mut many);
        let moments: Vec<i64> = many.iter().map(|kept| kept.unix_us / 1_000_000).collect();
        assert_eq!((moments[0], moments[1], moments[63], moments[64]), (0, 2, 126, 128));
        assert_eq!((moments.len(), moments.last()), (193, Some(&256)));
    }
}
