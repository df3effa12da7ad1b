//! The thread of a partition: drains its queues, applies, publishes.
//!
//! Responsible for: the order of queues, pacing of publishes, carrying the machine's outbox to its addressees.
//! Not responsible for: what a message does (the machine in `spatialdb-core`).

mod fences;
mod pacer;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, select};
use spatialdb_core::{Batch, Outbox, Partition, RouteChange, ToPartition};
use tokio_util::sync::CancellationToken;

use self::fences::Fences;
use self::pacer::Pacer;
use super::edge::{Control, Edge, PartitionHandle, Whereabouts};
use super::load::Loaded;
use super::port::Event;

/// Rows applied before the other queue and the clock are looked at again.
const ROWS_AT_ONCE: usize = 8192;

/// Messages of other machines heard before updates get their turn.
const CONTROLS_AT_ONCE: usize = 256;

/// How long a thread may take to apply what is in its queue when the world stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The running threads.
pub(super) struct Threads {
    edge: Arc<Edge>,
    handles: Vec<JoinHandle<bool>>,
}

/// Starts a thread for each partition. `failed` is cancelled if one of them meets a bug.
pub(super) fn start(loaded: Loaded, failed: &CancellationToken) -> io::Result<(Arc<Edge>, Threads)> {
    let mut queues = Vec::new();
    let mut handles = Vec::new();
    for partition in &loaded.partitions {
        let (handle, work, control) = PartitionHandle::new(partition.id(), &loaded.limits);
        handle.gauges.entities.store(partition.entity_count() as u64, Ordering::Relaxed);
        handle.gauges.cells.store(partition.cell_count() as u64, Ordering::Relaxed);
        queues.push((work, control));
        handles.push(handle);
    }
    let Loaded { info, schema, limits, routes, world, partitions, publish_interval_max } = loaded;
    let edge = Arc::new(Edge::new(info, schema, limits, routes, world, handles));
    let mut threads = Vec::new();
    for (machine, (work, control)) in partitions.into_iter().zip(queues) {
        let name = format!("partition-{}", machine.id());
        let mut thread = Thread {
            edge: edge.clone(),
            machine,
            work,
            control,
            outbox: Outbox::default(),
            pacer: Pacer::new(publish_interval_max.as_micros() as u64),
            fences: Fences::default(),
            stopped: false,
        };
        let failed = failed.clone();
        let run = move || {
            let result = catch_unwind(AssertUnwindSafe(|| thread.run()));
            if result.is_err() {
                failed.cancel();
            }
            result.is_ok()
        };
        threads.push(std::thread::Builder::new().name(name).spawn(run)?);
    }
    Ok((edge.clone(), Threads { edge, handles: threads }))
}

impl Threads {
    /// Stops every thread once it has applied what is in its queue; one that takes too long is left behind. Returns the
    /// first that had failed.
    pub(super) fn stop(self) -> Option<u16> {
        for partition in &self.edge.partitions {
            partition.tell(Control::Stop);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.handles.iter().any(|handle| !handle.is_finished()) {
            if Instant::now() > deadline {
                tracing::error!(timeout_s = STOP_TIMEOUT.as_secs(), "a partition did not stop in time");
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let ended: Vec<bool> = self.handles.into_iter().map(|h| h.join().unwrap_or(false)).collect();
        ended.iter().position(|ok| !ok).map(|i| i as u16)
    }
}

struct Thread {
    edge: Arc<Edge>,
    machine: Partition,
    work: Receiver<Batch>,
    control: Receiver<Control>,
    outbox: Outbox,
    pacer: Pacer,
    fences: Fences,
    stopped: bool,
}

impl Thread {
    fn run(&mut self) {
        while !self.stopped || !self.work.is_empty() {
            self.drain_control();
            self.drain_work();
            self.pass_fences();
            self.deliver();
            self.maybe_publish();
            self.wait();
        }
    }

    /// Other machines first: liveness, moves and answers are never behind updates.
    fn drain_control(&mut self) {
        for control in self.control.clone().try_iter().take(CONTROLS_AT_ONCE) {
            self.handle(control);
        }
    }

    fn drain_work(&mut self) {
        let mut rows = 0;
        // However busy the other machines are, one batch a turn is applied.
        while rows < ROWS_AT_ONCE && (rows == 0 || self.control.is_empty()) {
            let Ok(batch) = self.work.try_recv() else { return };
            rows += batch.row_count();
            self.apply(&batch);
        }
    }

    fn apply(&mut self, batch: &Batch) {
        let gauges = &self.edge.partition(self.machine.id()).gauges;
        let rows = batch.row_count() as u64;
        let before = gauges.queue_rows.fetch_sub(rows, Ordering::Relaxed);
        let half = self.edge.limits.partition_queue_rows_max / 2;
        if before >= half && before - rows < half {
            gauges.room.notify_waiters();
        }
        self.machine.apply(batch, &mut self.outbox);
        self.fences.batch_applied();
    }

    fn handle(&mut self, control: Control) {
        match control {
            Control::Views(session, slots) => {
                if let Some((version, views)) = slots.take(self.machine.id()) {
                    self.machine.set_views(session, version, &views);
                }
            }
            Control::Session(session, message) => match message {
                ToPartition::SetViews(version, views) => self.machine.set_views(session, version, &views),
                ToPartition::Ready => self.machine.ready(session),
                ToPartition::Flush(token) => self.machine.flush(session, token, &mut self.outbox),
                ToPartition::End => self.machine.end_session(session),
            },
            Control::Peer(from, message) => self.machine.peer(from, message, &mut self.outbox),
            // Whoever asked may have gone: then the answer is dropped.
            Control::Query { constraint, components, limit, answer } => {
                let _ = answer.send(self.machine.query(&constraint, &components, limit));
            }
            Control::Entity { entity, answer } => {
                // Whoever is told that it moved asks there next: the move must be in that queue before.
                self.deliver();
                let whereabouts = match (self.machine.entity(entity), self.machine.departed_to(entity)) {
                    (Some(state), _) => Whereabouts::Here(state),
                    (None, Some(to)) => Whereabouts::MovedTo(to),
                    (None, None) => Whereabouts::Unknown,
                };
                let _ = answer.send(whereabouts);
            }
            Control::Stop => self.stopped = true,
        }
    }

    /// Gives fences back to the machine once all that was queued under older routes has been applied.
    fn pass_fences(&mut self) {
        self.fences.arm(&self.edge.routes, &self.work);
        while let Some(token) = self.fences.next_passed() {
            self.machine.fence(token, &mut self.outbox);
        }
        let gauges = &self.edge.partition(self.machine.id()).gauges;
        let holds_back = !self.machine.accepts_work();
        if gauges.holds_back.swap(holds_back, Ordering::Relaxed) && !holds_back {
            gauges.room.notify_waiters();
        }
    }

    /// Carries the outbox to its addressees.
    fn deliver(&mut self) {
        let from = self.machine.id();
        for change in self.outbox.routes.drain(..) {
            match change {
                RouteChange::Set(entities, to) => {
                    entities.into_iter().for_each(|entity| self.edge.routes.set(entity, to));
                }
                RouteChange::Clear(entities) => {
                    entities.into_iter().for_each(|entity| self.edge.routes.clear_route(entity));
                }
                RouteChange::Fence(token) => self.fences.ask(token),
            }
        }
        for (to, message) in self.outbox.peers.drain(..) {
            self.edge.partition(to).tell(Control::Peer(from, message));
        }
        if self.outbox.sessions.is_empty() {
            return;
        }
        let at = self.edge.clock.now();
        for (session, message) in self.outbox.sessions.drain(..) {
            if let Some(port) = self.edge.sessions.get(&session) {
                port.send(Event::Partition { from, at, message });
            }
        }
    }

    fn maybe_publish(&mut self) {
        let now = self.edge.clock.now();
        let idle = self.work.is_empty() && self.control.is_empty();
        if !self.pacer.may_publish(now, idle) || !self.wants_publish(now) {
            return;
        }
        self.machine.publish(now, &mut self.outbox);
        self.deliver();
        let end = self.edge.clock.now();
        self.pacer.published(now, end);
        metrics::histogram!("spatialdb_partition_publish_seconds").record((end - now) as f64 / 1e6);
        let gauges = &self.edge.partition(self.machine.id()).gauges;
        gauges.entities.store(self.machine.entity_count() as u64, Ordering::Relaxed);
        gauges.cells.store(self.machine.cell_count() as u64, Ordering::Relaxed);
        gauges.moves_in_flight.store(self.machine.moves_in_flight() as u64, Ordering::Relaxed);
        gauges.updates_applied.store(self.machine.updates_applied(), Ordering::Relaxed);
    }

    fn wants_publish(&self, now: u64) -> bool {
        self.machine.has_unpublished() || self.machine.next_due().is_some_and(|due| due <= now)
    }

    /// Sleeps until there is something to do.
    fn wait(&mut self) {
        if self.stopped || !self.work.is_empty() || !self.control.is_empty() {
            return;
        }
        let now = self.edge.clock.now();
        let until = if self.fences.are_open() {
            Some(now + 50)
        } else if self.machine.has_unpublished() {
            Some(self.pacer.next(now))
        } else {
            self.machine.next_due().map(|due| due.max(self.pacer.next(now)))
        };
        let timeout =
            until.map_or(Duration::from_secs(1), |until| Duration::from_micros(until.saturating_sub(now)));
        if timeout.is_zero() {
            return;
        }
        match self.next_message(timeout) {
            Ok(Next::Control(control)) => self.handle(control),
            Ok(Next::Work(batch)) => self.apply(&batch),
            Err(RecvTimeoutError::Timeout) => {}
            // The edge is gone with all that could send.
            Err(RecvTimeoutError::Disconnected) => self.stopped = true,
        }
    }

    fn next_message(&self, timeout: Duration) -> Result<Next, RecvTimeoutError> {
        select! {
            recv(self.control) -> control => control.map(Next::Control).map_err(|_| RecvTimeoutError::Disconnected),
            recv(self.work) -> batch => batch.map(Next::Work).map_err(|_| RecvTimeoutError::Disconnected),
            default(timeout) => Err(RecvTimeoutError::Timeout),
        }
    }
}

enum Next {
    Control(Control),
    Work(Batch),
}
