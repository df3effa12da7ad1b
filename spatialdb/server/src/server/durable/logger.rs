//! The thread of a log: it appends whatever waits, and says how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};
use spatialdb_core::RoundEnd;
use spatialdb_durability::{AppendError, CheckpointId, LogId, LogSeq, StorageError};
use spatialdb_types::PartitionId;

use super::keeper::{Report, ToKeeper};
use super::{DataDir, Taken, unix_us};
use crate::server::edge::Edge;
use crate::server::partition::Control;

/// Bytes that wait for the disk; beyond that writers are held back.
const QUEUE_BYTES_MAX: u64 = 64 << 20;

/// Bytes that are appended at once, about.
const APPEND_BYTES: usize = 8 << 20;

/// What a partition has for its log.
pub(in crate::server) enum LogItem {
    /// A record, with its number.
    Record(u64, Vec<u8>),
    /// A part of the checkpoint of that round.
    Part(u64, Vec<u8>),
    /// The round is over once all up to a record is on disk.
    End(RoundEnd),
    /// There is no more.
    Stop,
}

/// The partition's end.
#[derive(Clone, Debug)]
pub(in crate::server) struct LogLink {
    items: Sender<LogItem>,
    /// Bytes that wait.
    queued: Arc<AtomicU64>,
}

/// The thread's end.
pub(in crate::server) struct Logger {
    partition: PartitionId,
    taken: Taken,
    items: Receiver<LogItem>,
    queued: Arc<AtomicU64>,
    keeper: Sender<ToKeeper>,
    /// The checkpoint of round 0, if there was one.
    checkpoints: CheckpointId,
    /// Parts of the round under way, and their bytes.
    parts: u32,
    part_bytes: u64,
    ends: Vec<RoundEnd>,
    /// The last record that is on disk, as the partition numbers them.
    stored: u64,
    has_failed: bool,
}

impl LogLink {
    pub(in crate::server) fn send(&self, item: LogItem) {
        let bytes = match &item {
            LogItem::Record(_, body) | LogItem::Part(_, body) => body.len() as u64,
            LogItem::End(_) | LogItem::Stop => 0,
        };
        self.queued.fetch_add(bytes, Ordering::Relaxed);
        // The thread is gone only when the world stops.
        let _ = self.items.send(item);
    }

    /// Whether more would only wait.
    pub(in crate::server) fn is_full(&self) -> bool {
        self.queued.load(Ordering::Relaxed) >= QUEUE_BYTES_MAX
    }
}

impl Logger {
    /// For a log that was taken over; `checkpoints` is the last one that there is.
    pub(in crate::server) fn new(
        partition: PartitionId,
        taken: Taken,
        checkpoints: CheckpointId,
        keeper: Sender<ToKeeper>,
    ) -> (LogLink, Self) {
        let (sender, items) = unbounded();
        let queued = Arc::new(AtomicU64::new(0));
        let link = LogLink { items: sender, queued: queued.clone() };
        let (parts, part_bytes, ends, stored, has_failed) = (0, 0, Vec::new(), 0, false);
        let logger = Self {
            partition,
            taken,
            items,
            queued,
            keeper,
            checkpoints,
            parts,
            part_bytes,
            ends,
            stored,
            has_failed,
        };
        (link, logger)
    }

    /// Which log, and the record that comes next.
    pub(super) const fn log(&self) -> (LogId, LogSeq) {
        (self.taken.log, self.taken.next)
    }

    /// Goes on until the partition has stopped.
    pub(in crate::server) fn run(mut self, edge: &Edge, data: &DataDir) {
        while let Ok(first) = self.items.recv() {
            if !self.take(edge, data, first) {
                return;
            }
        }
    }

    /// Does what waits. Returns whether there may be more.
    fn take(&mut self, edge: &Edge, data: &DataDir, first: LogItem) -> bool {
        let (mut bodies, mut last, mut bytes) = (Vec::new(), 0, 0);
        let mut next = Some(first);
        let mut goes_on = true;
        while let Some(item) = next.take() {
            match item {
                LogItem::Record(number, body) => {
                    bytes += body.len();
                    last = number;
                    bodies.push(body);
                }
                LogItem::Part(round, body) => self.put_part(edge, data, round, &body),
                LogItem::End(end) => self.ends.push(end),
                LogItem::Stop => {
                    goes_on = false;
                    break;
                }
            }
            if bytes < APPEND_BYTES {
                next = self.items.try_recv().ok();
            }
        }
        if !bodies.is_empty() {
            self.append(edge, data, &bodies, last);
            self.queued.fetch_sub(bytes as u64, Ordering::Relaxed);
        }
        self.report();
        goes_on
    }

    fn append(&mut self, edge: &Edge, data: &DataDir, bodies: &[Vec<u8>], last: u64) {
        if self.has_failed {
            return;
        }
        let slices: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
        let start = Instant::now();
        let Taken { log, term, next } = self.taken;
        match data.storage().append(log, term, next, unix_us(), &slices) {
            Ok(next) => {
                self.taken.next = next;
                self.stored = last;
                metrics::histogram!("spatialdb_log_append_seconds").record(start.elapsed().as_secs_f64());
                if let Some(status) = &edge.log {
                    let bytes: usize = bodies.iter().map(Vec::len).sum();
                    status.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                    status.records.fetch_add(bodies.len() as u64, Ordering::Relaxed);
                }
                edge.partition(self.partition).stored(edge, last);
            }
            Err(error) => self.fail(edge, &error.to_string(), &error),
        }
    }

    fn put_part(&mut self, edge: &Edge, data: &DataDir, round: u64, body: &[u8]) {
        self.queued.fetch_sub(body.len() as u64, Ordering::Relaxed);
        if self.has_failed {
            return;
        }
        let id = CheckpointId(self.checkpoints.0 + round);
        let put = data.storage().put_checkpoint(id, self.taken.log, self.parts, unix_us(), body);
        self.parts += 1;
        self.part_bytes += body.len() as u64;
        if let Err(error) = put {
            let text = error.to_string();
            self.fail(edge, &text, &AppendError::Storage(error));
        }
    }

    /// What is appended to was not: nothing is any more. What waits is refused, and whatever else must be on disk.
    fn fail(&mut self, edge: &Edge, why: &str, error: &AppendError) {
        self.has_failed = true;
        let is_first = edge.log.as_ref().is_some_and(|status| status.failure.set(why.to_owned()).is_ok());
        let is_dead = matches!(error, AppendError::Storage(StorageError::Dead(_)));
        if is_first || !is_dead {
            let log = self.taken.log.to_string();
            tracing::error!(log, "the data directory takes nothing more: {why}. The world goes on in memory");
        }
        for partition in &edge.partitions {
            partition.tell(Control::LogFailed);
        }
    }

    /// Rounds that are over are told.
    fn report(&mut self) {
        let (stored, base) = (self.stored, self.taken.next.0 - self.stored);
        while let Some(end) = self.ends.pop_if(|end| end.ends <= stored) {
            let (log, parts) = (self.taken.log, std::mem::take(&mut self.parts));
            let bytes = std::mem::take(&mut self.part_bytes);
            // As storage numbers them: the first of this process is `base`.
            let begins = LogSeq(base + end.begins - 1);
            // The keeper is gone only when the world stops.
            let _ =
                self.keeper.send(ToKeeper::Report(Report { log, round: end.round, parts, bytes, begins }));
        }
    }
}
