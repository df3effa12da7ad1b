//! The way to a partition: what is sent is done at once if it is idle, or queued for its thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LockResult, Mutex, MutexGuard, OnceLock};
use std::thread::Thread;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use spatialdb_core::{Batch, Partition, ToPartition};
use spatialdb_types::{Limits, PartitionId, SessionId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::alarm::Alarm;
use super::control::{Control, Note};
use super::driver::{Driver, PartitionLog};
use super::pacer::Pace;
use crate::server::edge::Edge;

/// Rows that whoever brings them may apply; more are left to the thread.
const ROWS_AT_HAND: usize = 256;

/// How often somebody who has little to note tries before it leaves that to the thread.
const TRIES: usize = 64;

/// One partition as the edge sees it.
pub(in crate::server) struct PartitionHandle {
    pub(in crate::server) id: PartitionId,
    work: Sender<Batch>,
    control: Sender<Control>,
    notes: Sender<Note>,
    pub(super) alarm: Alarm,
    driver: Mutex<Driver>,
    /// Whom to wake when something is queued.
    thread: OnceLock<Thread>,
    /// Cancelled if the machine meets a bug.
    failed: CancellationToken,
    pub(in crate::server) gauges: Gauges,
}

/// What a partition tells about itself.
#[derive(Default)]
pub(in crate::server) struct Gauges {
    pub(in crate::server) queue_rows: AtomicU64,
    pub(in crate::server) entities: AtomicU64,
    pub(in crate::server) cells: AtomicU64,
    pub(in crate::server) squares: AtomicU64,
    pub(in crate::server) updates_applied: AtomicU64,
    pub(in crate::server) shadow_checks: AtomicU64,
    pub(in crate::server) shadow_mismatches: AtomicU64,
    pub(in crate::server) moves_in_flight: AtomicU64,
    /// The revision counter.
    pub(in crate::server) clock: AtomicU64,
    /// Too many moves are under way: the edge holds back.
    pub(in crate::server) holds_back: AtomicBool,
    /// Told when there is room in the queue again.
    pub(in crate::server) room: Notify,
}

/// The receiving ends of a partition's queues.
pub(super) struct Queues {
    pub(super) work: Receiver<Batch>,
    pub(super) control: Receiver<Control>,
    pub(super) notes: Receiver<Note>,
}

impl PartitionHandle {
    pub(super) fn new(
        machine: Partition,
        limits: &Limits,
        pace: Pace,
        log: Option<PartitionLog>,
        failed: CancellationToken,
    ) -> Self {
        // The bound on rows is kept by `wait_for_room`; past it each session may still put one message, so that many
        // more places make `send` never fail.
        let places = limits.partition_queue_rows_max + limits.sessions_max;
        let (work, work_queue) = crossbeam_channel::bounded(places as usize);
        // Bounded by what is sent here: moves in flight; queries at once.
        let (control, control_queue) = crossbeam_channel::unbounded();
        // And for each session one set of views, one `Ready` a delta, one flush, its end.
        let (notes, notes_queue) = crossbeam_channel::unbounded();
        let queues = Queues { work: work_queue, control: control_queue, notes: notes_queue };
        let gauges = Gauges::default();
        gauges.entities.store(machine.entity_count() as u64, Ordering::Relaxed);
        gauges.cells.store(machine.cell_count() as u64, Ordering::Relaxed);
        let id = machine.id();
        gauges.clock.store(machine.clock().0, Ordering::Relaxed);
        let driver = Mutex::new(Driver::new(machine, queues, pace, log));
        Self {
            id,
            work,
            control,
            notes,
            alarm: Alarm::default(),
            driver,
            thread: OnceLock::new(),
            failed,
            gauges,
        }
    }

    /// The thread that calls this is the partition's: it is woken when something is queued.
    pub(super) fn enlist(&self) {
        let _ = self.thread.set(std::thread::current());
    }

    /// Costs next to nothing if the thread is awake: it looks again before it sleeps.
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Has a batch applied. Only while inside the gate of the routes, and after `wait_for_room`.
    pub(in crate::server) fn send(&self, edge: &Edge, batch: Batch) {
        let rows = batch.row_count();
        if rows <= ROWS_AT_HAND && self.at_hand(edge, |driver| driver.apply(edge, &batch)) {
            return;
        }
        self.gauges.queue_rows.fetch_add(rows as u64, Ordering::Relaxed);
        match self.work.try_send(batch) {
            // The thread is gone only when the world stops.
            Ok(()) | Err(TrySendError::Disconnected(_)) => self.wake(),
            Err(TrySendError::Full(_)) => {
                panic!("the queue of partition {} has a place for every session", self.id)
            }
        }
    }

    /// Leaves a message for the thread.
    pub(in crate::server) fn tell(&self, control: Control) {
        // The thread is gone only when the world stops.
        let _ = self.control.send(control);
        self.wake();
    }

    /// All records of its log up to that number are on disk: commits are applied here and now if it is idle.
    pub(in crate::server) fn stored(&self, edge: &Edge, record: u64) {
        if !self.at_hand(edge, |driver| driver.stored(edge, record)) {
            self.tell(Control::Stored(record));
        }
    }

    /// Leaves what is to be heard before the next publish. The thread is woken only if it would be too late for that.
    pub(in crate::server) fn note(&self, edge: &Edge, note: Note) {
        if let Note::Session(session, ToPartition::Ready) = note
            && self.note_ready(edge, session)
        {
            return;
        }
        // The thread is gone only when the world stops.
        let _ = self.notes.send(note);
        if !self.alarm.is_in_time() {
            self.wake();
        }
    }

    /// Notes that a session takes another delta. The thread is woken only if that makes it publish sooner: where many are
    /// sent to, it has to wait anyway. Returns whether it was noted.
    fn note_ready(&self, edge: &Edge, session: SessionId) -> bool {
        let note = |driver: &mut Driver| {
            if driver.note_ready(edge, session) {
                self.wake();
            }
            true
        };
        for _ in 0..TRIES {
            if self.with_driver(note) {
                return true;
            }
            // What the thread does takes its time; others are about to be done.
            if self.alarm.is_cleared() {
                return false;
            }
            std::hint::spin_loop();
        }
        false
    }

    /// Whether notes wait.
    pub(super) fn has_notes(&self) -> bool {
        !self.notes.is_empty()
    }

    /// For the thread.
    pub(super) fn driver(&self) -> LockResult<MutexGuard<'_, Driver>> {
        self.driver.lock()
    }

    /// Does something small here and now if the partition is idle: two changes of thread less. Returns whether it did.
    fn at_hand(&self, edge: &Edge, work: impl FnOnce(&mut Driver)) -> bool {
        self.with_driver(|driver| {
            driver.hear_at_hand();
            if !driver.is_idle() {
                return false;
            }
            work(driver);
            if driver.step(edge) {
                self.wake();
            }
            true
        })
    }

    /// Unless somebody else drives the machine.
    fn with_driver(&self, run: impl FnOnce(&mut Driver) -> bool) -> bool {
        let run = || self.driver.try_lock().is_ok_and(|mut driver| run(&mut driver));
        // A machine that met a bug poisons the lock: nobody drives it on.
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
            self.failed.cancel();
            true
        })
    }

    pub(in crate::server) fn has_room(&self, limits: &Limits) -> bool {
        self.gauges.queue_rows.load(Ordering::Relaxed) < limits.partition_queue_rows_max
            && !self.gauges.holds_back.load(Ordering::Relaxed)
    }
}
