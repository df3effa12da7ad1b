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

use super::control::Control;
use super::driver::Driver;
use super::pacer::Pace;
use crate::server::edge::Edge;

/// Rows that whoever brings them may apply; more are left to the thread.
const ROWS_AT_HAND: usize = 256;

/// One partition as the edge sees it.
pub(in crate::server) struct PartitionHandle {
    pub(in crate::server) id: PartitionId,
    work: Sender<Batch>,
    control: Sender<Control>,
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
    /// Too many moves are under way: the edge holds back.
    pub(in crate::server) holds_back: AtomicBool,
    /// Told when there is room in the queue again.
    pub(in crate::server) room: Notify,
}

/// The receiving ends of a partition's queues.
pub(super) struct Queues {
    pub(super) work: Receiver<Batch>,
    pub(super) control: Receiver<Control>,
}

impl PartitionHandle {
    pub(super) fn new(machine: Partition, limits: &Limits, pace: Pace, failed: CancellationToken) -> Self {
        // The bound on rows is kept by `wait_for_room`; past it each session may still put one message, so that many
        // more places make `send` never fail.
        let places = limits.partition_queue_rows_max + limits.sessions_max;
        let (work, work_queue) = crossbeam_channel::bounded(places as usize);
        // Bounded by what is sent here: for each session one set of views, one `Ready` a delta, one flush; moves in
        // flight; queries at once.
        let (control, control_queue) = crossbeam_channel::unbounded();
        let queues = Queues { work: work_queue, control: control_queue };
        let gauges = Gauges::default();
        gauges.entities.store(machine.entity_count() as u64, Ordering::Relaxed);
        gauges.cells.store(machine.cell_count() as u64, Ordering::Relaxed);
        let id = machine.id();
        let driver = Mutex::new(Driver::new(machine, queues, pace));
        Self { id, work, control, driver, thread: OnceLock::new(), failed, gauges }
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
        if rows <= ROWS_AT_HAND && self.at_hand(edge, |driver| driver.apply(&batch)) {
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

    /// Has a message handled.
    pub(in crate::server) fn tell(&self, edge: &Edge, control: Control) {
        if let Control::Session(session, ToPartition::Ready) = control
            && self.note_ready(edge, session)
        {
            return;
        }
        self.leave(control);
    }

    /// Notes that a session takes another delta. The thread is woken only if that makes it publish sooner: where many are
    /// sent to, it has to wait anyway. Returns whether it was noted.
    fn note_ready(&self, edge: &Edge, session: SessionId) -> bool {
        self.with_driver(|driver| {
            if driver.note_ready(edge, session) {
                self.wake();
            }
            true
        })
    }

    /// Leaves a message for the thread.
    pub(super) fn leave(&self, control: Control) {
        // The thread is gone only when the world stops.
        let _ = self.control.send(control);
        self.wake();
    }

    /// For the thread.
    pub(super) fn driver(&self) -> LockResult<MutexGuard<'_, Driver>> {
        self.driver.lock()
    }

    /// Does something small here and now if the partition is idle: two changes of thread less. Returns whether it did.
    fn at_hand(&self, edge: &Edge, work: impl FnOnce(&mut Driver)) -> bool {
        self.with_driver(|driver| {
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
