//! Drives a partition's machine: drains its queues, applies, publishes, carries its outbox to the addressees.
//!
//! Responsible for: the order of queues, pacing of publishes, when the thread must wake.
//! Not responsible for: what a message does (the machine in `spatialdb-core`), or on which thread this runs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use spatialdb_core::authority::issuer::Loads;
use spatialdb_core::{Batch, Micros, Outbox, Partition, RouteChange, ShadowMismatch, ToPartition};
use spatialdb_types::{EntityId, PartitionId, SessionId};

use super::alarm::Alarm;
use super::control::{Control, Note, Whereabouts};
use super::fences::Fences;
use super::handle::{Gauges, Queues};
use super::pacer::{Pace, Pacer};
use crate::config::ENTITIES_PER_PARTITION;
use crate::server::durable::{LogItem, LogLink};
use crate::server::edge::Edge;
use crate::server::rounds::{Letter, ROUND_WAIT_US};

/// Rows applied before the other queue and the clock are looked at again.
const ROWS_AT_ONCE: usize = 8192;

/// Messages of other machines, and notes of sessions, heard before updates get their turn.
const HEARD_AT_ONCE: usize = 256;

/// Notes that somebody else hears first who brings work; more are left to the thread.
const HEARD_AT_HAND: usize = 16;

/// A publish that takes longer is left to the thread.
const PUBLISH_AT_HAND_US: Micros = 300;

/// When publishes are further apart, writers without views are told what became of their rows this often, or once it is so
/// many: what they may have on the way is bounded, and pauses are not to bound how fast they write.
const TELL_WRITERS_US: Micros = 10_000;
const TELL_WRITERS_ROWS: u64 = 8192;

/// A partition with so many entities is better cut if cores are left.
const OUTGROWN: u64 = 10 * ENTITIES_PER_PARTITION;

/// How often the clock is looked at while a fence is open.
const FENCE_POLL_US: Micros = 50;

/// Images written before other work is looked at again.
const IMAGES_AT_ONCE: usize = 2048;

/// A log that is full is looked at again after that time.
const LOG_FULL_US: Micros = 1000;

/// A record of so many bytes is not to grow further.
const RECORD_BYTES: usize = 1 << 20;

/// How long the thread sleeps if nothing is due.
const SLEEP_MAX_US: Micros = 1_000_000;

/// A machine with all that is needed to run it. Whoever holds it is the partition.
pub(in crate::server) struct Driver {
    machine: Partition,
    queues: Queues,
    outbox: Outbox,
    pacer: Pacer,
    /// A shadow check is made after this share of publishes; when the sum reaches 1.
    shadow_share: f64,
    shadow_due: f64,
    fences: Fences,
    /// When writers may be told next without a publish.
    tells_writers: Micros,
    /// Until then what it has for sessions may wait for other partitions.
    leaves_until: Option<Micros>,
    /// The thread looks again at this time, if nothing wakes it before.
    wakes_at: Micros,
    stopped: bool,
    /// What sessions send is held until that capture begins.
    held: Option<u64>,
    /// If what is here is kept.
    log: Option<PartitionLog>,
}

/// The log of a partition, as the partition sees it.
pub(in crate::server) struct PartitionLog {
    link: LogLink,
    interval: Micros,
    /// When the next sweep begins.
    sweeps_at: Micros,
    /// A sweep is under way.
    sweeps: bool,
}

impl PartitionLog {
    /// When it is to be looked at again: while the disk does not keep up, a little later.
    fn sweeps_at(&self, now: Micros) -> Micros {
        if self.link.is_full() { now + LOG_FULL_US } else { self.sweeps_at }
    }

    /// What has changed is written this often.
    pub(in crate::server) const fn new(link: LogLink, interval: Micros) -> Self {
        Self { link, interval, sweeps_at: 0, sweeps: false }
    }
}

impl Driver {
    pub(super) fn new(machine: Partition, queues: Queues, pace: Pace, log: Option<PartitionLog>) -> Self {
        Self {
            machine,
            queues,
            outbox: Outbox::default(),
            pacer: Pacer::new(pace.interval_max_us),
            shadow_share: pace.shadow_check,
            shadow_due: 0.0,
            fences: Fences::default(),
            tells_writers: 0,
            leaves_until: None,
            wakes_at: 0,
            stopped: false,
            held: None,
            log,
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        !self.stopped && self.held.is_none() && self.has_drained() && !self.machine.must_publish()
    }

    /// Whether a publish would be quick, as far as the last one tells.
    fn publishes_at_hand(&self) -> bool {
        self.pacer.cost() <= PUBLISH_AT_HAND_US
    }

    /// Whether the world has stopped and all that was queued has been applied.
    pub(super) fn is_done(&self) -> bool {
        self.stopped && self.queues.work.is_empty()
    }

    /// A turn of the thread: some of all that waits. Returns how long it may sleep.
    pub(super) fn turn(&mut self, edge: &Edge) -> Duration {
        self.alarm(edge).clear();
        self.machine.set_time(edge.clock.now());
        self.drain_control(edge);
        self.hear_notes(HEARD_AT_ONCE);
        let start = edge.clock.now();
        self.drain_work(edge);
        self.pacer.wrote(edge.clock.now() - start);
        self.keep_log(start);
        self.go_capture(edge);
        self.settle(edge, true);
        let now = edge.clock.now();
        self.wakes_at = if self.has_drained() && !self.stopped && !self.is_writing() {
            self.sleeps_until(edge, now)
        } else {
            now
        };
        if self.wakes_at > now {
            self.alarm(edge).set(self.wakes_at);
        }
        Duration::from_micros(self.wakes_at.saturating_sub(now))
    }

    /// What follows something done at hand. Returns whether the thread sleeps for too long now.
    pub(super) fn step(&mut self, edge: &Edge) -> bool {
        self.settle(edge, self.publishes_at_hand());
        self.sleeps_too_long(edge)
    }

    /// The session takes another delta: at once, if it is time and that is quick. Returns whether the thread sleeps for too
    /// long now.
    pub(super) fn note_ready(&mut self, edge: &Edge, session: SessionId) -> bool {
        let Some(due) = self.ready(session) else { return false };
        let now = edge.clock.now();
        let due = due.max(self.pacer.next(now));
        if due <= now && self.is_idle() {
            return self.step(edge);
        }
        edge.rounds.set_due_by(self.machine.id(), due);
        self.is_later_than(due)
    }

    fn sleeps_too_long(&mut self, edge: &Edge) -> bool {
        let now = edge.clock.now();
        // What cannot wait, and was not done here.
        let next = if self.machine.must_publish() { now } else { self.next(edge, now) };
        self.is_later_than(next)
    }

    /// Whether the thread wakes later, as far as it knows: it must be told then.
    fn is_later_than(&mut self, next: Micros) -> bool {
        let is_later = next < self.wakes_at;
        self.wakes_at = self.wakes_at.min(next);
        is_later
    }

    pub(super) fn apply(&mut self, edge: &Edge, batch: &Batch) {
        self.machine.set_time(edge.clock.now());
        self.machine.apply(batch, &mut self.outbox);
    }

    /// All records up to that one are on disk.
    pub(super) fn stored(&mut self, edge: &Edge, record: u64) {
        self.machine.set_time(edge.clock.now());
        self.machine.stored(record, &mut self.outbox);
    }

    /// Writes some of what is to be written by now.
    fn keep_log(&mut self, now: Micros) {
        let Some(log) = &mut self.log else { return };
        if log.link.is_full() {
            return;
        }
        if log.sweeps || now >= log.sweeps_at {
            log.sweeps = !self.machine.sweep(IMAGES_AT_ONCE);
            if !log.sweeps {
                log.sweeps_at = now + log.interval;
            }
            if let Some((number, body)) = self.machine.take_log_record() {
                log.link.send(LogItem::Record(number, body));
            }
        }
        if self.machine.is_in_round() {
            let round = self.machine.round();
            let slice = self.machine.go_round(IMAGES_AT_ONCE, &mut self.outbox);
            if let Some(part) = slice.part {
                log.link.send(LogItem::Part(round, part));
            }
            if let Some((number, body)) = self.machine.take_log_record() {
                log.link.send(LogItem::Record(number, body));
            }
            if let Some(end) = slice.end {
                log.link.send(LogItem::End(end));
            }
        }
    }

    /// Captures some of what is to be captured.
    fn go_capture(&mut self, edge: &Edge) {
        if self.machine.is_capturing() {
            let slice = self.machine.go_capture(IMAGES_AT_ONCE);
            edge.captures.give(self.machine.capture(), slice);
        }
    }

    /// Whether more is to be written at once.
    fn is_writing(&self) -> bool {
        if self.machine.is_capturing() {
            return true;
        }
        let log = self.log.as_ref().filter(|log| !log.link.is_full());
        log.is_some_and(|log| log.sweeps || self.machine.is_in_round())
    }

    /// What somebody waits for goes to the log, and what has become much.
    fn write_commits(&mut self) {
        let Some(log) = &self.log else { return };
        if (self.machine.awaits_record() || self.machine.log_record_bytes() >= RECORD_BYTES)
            && let Some((number, body)) = self.machine.take_log_record()
        {
            log.link.send(LogItem::Record(number, body));
        }
    }

    /// The world stops: all that has changed is written.
    pub(super) fn finish_log(&mut self) {
        let Some(log) = &self.log else { return };
        // What is being swept may have begun before the last change.
        for _ in 0..2 {
            loop {
                let is_over = self.machine.sweep(IMAGES_AT_ONCE);
                // Taken each time: one that is long is not swept into any further.
                if let Some((number, body)) = self.machine.take_log_record() {
                    log.link.send(LogItem::Record(number, body));
                }
                if is_over {
                    break;
                }
            }
        }
        log.link.send(LogItem::Stop);
    }

    fn ready(&mut self, session: SessionId) -> Option<Micros> {
        self.pacer.taken();
        self.machine.ready(session)
    }

    fn has_drained(&self) -> bool {
        self.has_worked() && self.queues.notes.is_empty()
    }

    /// Whether nothing waits but notes.
    fn has_worked(&self) -> bool {
        (self.held.is_some() || self.queues.work.is_empty()) && self.queues.control.is_empty()
    }

    fn alarm<'a>(&self, edge: &'a Edge) -> &'a Alarm {
        &edge.partition(self.machine.id()).alarm
    }

    fn gauges<'a>(&self, edge: &'a Edge) -> &'a Gauges {
        &edge.partition(self.machine.id()).gauges
    }

    /// Other machines first: liveness, moves and answers are never behind updates.
    fn drain_control(&mut self, edge: &Edge) {
        for _ in 0..HEARD_AT_ONCE {
            let Ok(control) = self.queues.control.try_recv() else { return };
            self.handle(edge, control);
        }
    }

    /// Hears what sessions left, if that is little.
    pub(super) fn hear_at_hand(&mut self) {
        if self.queues.notes.len() <= HEARD_AT_HAND {
            self.hear_notes(HEARD_AT_HAND);
        }
    }

    /// What sessions left.
    fn hear_notes(&mut self, max: usize) {
        for _ in 0..max {
            let Ok(note) = self.queues.notes.try_recv() else { return };
            self.hear(note);
        }
    }

    fn drain_work(&mut self, edge: &Edge) {
        if self.held.is_some() {
            return;
        }
        let gauges = self.gauges(edge);
        let half = (edge.limits.partition_queue_rows_max / 2).max(1);
        let mut rows = 0;
        // However busy the other machines are, one batch a turn is applied.
        while rows < ROWS_AT_ONCE && (rows == 0 || self.queues.control.is_empty()) {
            let Ok(batch) = self.queues.work.try_recv() else { return };
            rows += batch.row_count();
            let taken = batch.row_count() as u64;
            let before = gauges.queue_rows.fetch_sub(taken, Ordering::Relaxed);
            if before >= half && before - taken < half {
                gauges.room.notify_waiters();
            }
            self.apply(edge, &batch);
            self.fences.batch_applied();
            if self.machine.must_publish() {
                return;
            }
        }
    }

    fn hear(&mut self, note: Note) {
        match note {
            Note::Views(session, slots) => {
                if let Some((version, views)) = slots.take(self.machine.id()) {
                    self.machine.set_views(session, version, &views);
                }
            }
            Note::Session(session, message) => match message {
                ToPartition::SetViews(version, views) => self.machine.set_views(session, version, &views),
                ToPartition::Ready => {
                    self.ready(session);
                }
                ToPartition::ShowAll => self.machine.show_all(session),
                ToPartition::Flush(token) => self.machine.flush(session, token, &mut self.outbox),
                ToPartition::End => self.machine.end_session(session),
            },
        }
    }

    fn handle(&mut self, edge: &Edge, control: Control) {
        match control {
            Control::Peer(from, message) => self.machine.peer(from, message, &mut self.outbox),
            Control::Cut(cut, query) => self.machine.cut(cut, &query, &mut self.outbox),
            Control::Entity { entity, answer } => {
                // Whoever is told that it moved asks there next: the move must be in that queue before.
                self.deliver(edge);
                // Whoever asked may have gone: then the answer is dropped.
                let _ = answer.send(self.whereabouts(entity, self.machine.entity(entity)));
            }
            Control::Explain { entity, answer } => {
                self.deliver(edge);
                // As above.
                let _ = answer.send(self.whereabouts(entity, self.machine.explain(entity)));
            }
            Control::Refused { entity, answer } => {
                // As above.
                let _ = answer.send(self.machine.refused(entity).cloned());
            }
            Control::Order(order) => self.machine.order(&order, &mut self.outbox),
            Control::Stored(record) => self.machine.stored(record, &mut self.outbox),
            Control::LogFailed => self.machine.log_failed(&mut self.outbox),
            Control::Round(round) => self.machine.begin_round(round),
            Control::Hold(capture) => {
                self.held = Some(capture).filter(|_| !self.stopped);
                edge.captures.held(edge, capture);
            }
            Control::Capture(capture) => {
                self.held = None;
                self.machine.begin_capture(capture, &mut self.outbox);
            }
            Control::EndCapture(capture) => {
                self.held = self.held.filter(|held| *held != capture);
                self.machine.end_capture(capture);
            }
            Control::Calm(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(self.queues.work.is_empty() && self.machine.is_calm());
            }
            Control::Load { doublings, answer } => {
                self.machine.coarsen_load(doublings);
                let doublings = self.machine.load_doublings();
                let mut loads = Loads::default();
                if self.machine.add_load_to(&mut loads) {
                    // From the next time on.
                    self.machine.coarsen_load(doublings + 1);
                }
                // Whoever asked may have gone.
                let _ = answer.send((doublings, loads));
            }
            Control::Stop => (self.stopped, self.held) = (true, None),
        }
    }

    /// What is known of an entity here, or where it went.
    fn whereabouts<T>(&self, entity: EntityId, here: Option<T>) -> Whereabouts<T> {
        match (here, self.machine.departed_to(entity)) {
            (Some(state), _) => Whereabouts::Here(state),
            (None, Some(to)) => Whereabouts::MovedTo(to),
            (None, None) => Whereabouts::Unknown,
        }
    }

    /// Passes on what was done, and publishes if it is time and is to be done here.
    fn settle(&mut self, edge: &Edge, publishes: bool) {
        self.pass_fences(edge);
        self.write_commits();
        self.deliver(edge);
        if publishes {
            self.maybe_publish(edge);
        }
        let now = edge.clock.now();
        if self.leaves_until.is_some_and(|until| until <= now) {
            self.end_round(edge);
        }
    }

    /// Gives fences back to the machine once all that was queued under older routes has been applied.
    fn pass_fences(&mut self, edge: &Edge) {
        self.fences.arm(&edge.routes, &self.queues.work);
        while let Some(token) = self.fences.next_passed() {
            self.machine.fence(token, &mut self.outbox);
        }
        let gauges = self.gauges(edge);
        let is_log_full = self.log.as_ref().is_some_and(|log| log.link.is_full());
        let holds_back = !self.machine.accepts_work() || is_log_full;
        if gauges.holds_back.swap(holds_back, Ordering::Relaxed) && !holds_back {
            gauges.room.notify_waiters();
        }
    }

    /// Carries the outbox to its addressees.
    fn deliver(&mut self, edge: &Edge) {
        let from = self.machine.id();
        for change in self.outbox.routes.drain(..) {
            match change {
                RouteChange::Set(entities, to) => {
                    entities.into_iter().for_each(|entity| edge.routes.set(entity, to));
                }
                RouteChange::Clear(entities) => {
                    entities.into_iter().for_each(|entity| edge.routes.clear_route(entity));
                }
                RouteChange::Fence(token) => self.fences.ask(token),
            }
        }
        // Before the move of an entity is known, what it gave here is.
        if !self.outbox.interests.is_empty() {
            edge.interests.hear(edge, from, self.outbox.interests.drain(..));
        }
        if !self.outbox.authority.is_empty() {
            edge.authority.answer(edge, from, self.outbox.authority.drain(..));
        }
        for (to, message) in self.outbox.peers.drain(..) {
            edge.partition(to).tell(Control::Peer(from, message));
        }
        for (cut, answer) in self.outbox.answers.drain(..) {
            edge.cuts.answer(cut, from, answer);
        }
        if !self.outbox.sessions.is_empty() {
            // What was left goes first: a session hears of a partition in order.
            self.end_round(edge);
            let letters = self.letters(edge.clock.now());
            edge.deliver(letters);
        }
    }

    /// What the machine has for sessions.
    fn letters(&mut self, at: Micros) -> Vec<Letter> {
        let from = self.machine.id();
        let all = self.outbox.sessions.drain(..);
        all.map(|(to, message)| Letter { to, from, at, message }).collect()
    }

    /// Delivers what was left for others to deliver, if they have not.
    fn end_round(&mut self, edge: &Edge) {
        if self.leaves_until.take().is_some() {
            edge.deliver(edge.rounds.take());
        }
    }

    fn maybe_publish(&mut self, edge: &Edge) {
        let now = edge.clock.now();
        let is_time = self.pacer.may_publish(now, self.has_worked()) && self.wants_publish(now);
        if !is_time && !self.machine.must_publish() {
            let rows = self.machine.untold_rows();
            if rows >= TELL_WRITERS_ROWS || (rows > 0 && now >= self.tells_writers) {
                self.tells_writers = now + TELL_WRITERS_US;
                self.machine.tell_writers(&mut self.outbox);
                self.deliver(edge);
            }
            return;
        }
        self.machine.publish(now, &mut self.outbox);
        let deltas = self.outbox.sessions.iter().filter(|(_, message)| message.delta.is_some()).count();
        let end = edge.clock.now();
        let (id, deltas) = (self.machine.id(), deltas as u64);
        let period = edge.rounds.agree(id, self.pacer.period(deltas));
        self.pacer.published(now, end, deltas, period);
        self.alarm(edge).publishes_from(self.pacer.next(0));
        self.tells_writers = end + TELL_WRITERS_US;
        self.end_round(edge);
        edge.rounds.set_due(id, self.due(end));
        let letters = if Pacer::is_many(deltas) { self.letters(end) } else { Vec::new() };
        let leaves = !letters.is_empty();
        let all = edge.rounds.leave_or_take(end, letters);
        self.leaves_until = (leaves && all.is_empty()).then_some(end + ROUND_WAIT_US);
        edge.deliver(all);
        self.deliver(edge);
        metrics::histogram!("spatialdb_partition_publish_seconds").record((end - now) as f64 / 1e6);
        let gauges = self.gauges(edge);
        let entities = self.machine.entity_count() as u64;
        let before = gauges.entities.swap(entities, Ordering::Relaxed);
        if before < OUTGROWN && entities >= OUTGROWN {
            tell_outgrown(edge, id, entities);
        }
        gauges.cells.store(self.machine.cell_count() as u64, Ordering::Relaxed);
        gauges.squares.store(self.machine.square_count() as u64, Ordering::Relaxed);
        gauges.moves_in_flight.store(self.machine.moves_in_flight() as u64, Ordering::Relaxed);
        gauges.clock.store(self.machine.clock().0, Ordering::Relaxed);
        gauges.updates_applied.store(self.machine.updates_applied(), Ordering::Relaxed);
        self.shadow_check(edge);
    }

    /// After some publishes: is what sessions are shown what their views match?
    fn shadow_check(&mut self, edge: &Edge) {
        self.shadow_due += self.shadow_share;
        if self.shadow_due < 1.0 {
            return;
        }
        self.shadow_due -= 1.0;
        let gauges = self.gauges(edge);
        gauges.shadow_checks.fetch_add(1, Ordering::Relaxed);
        if let Err(ShadowMismatch { session, entity, detail }) = self.machine.shadow_check() {
            gauges.shadow_mismatches.fetch_add(1, Ordering::Relaxed);
            let partition = self.machine.id().0;
            tracing::error!(
                partition,
                session_id = session.0,
                entity = entity.0,
                "a view is wrong: {detail}"
            );
        }
    }

    fn wants_publish(&self, now: Micros) -> bool {
        self.machine.has_unpublished() || self.machine.next_due().is_some_and(|due| due <= now)
    }

    /// When the thread wakes by itself: also when it may publish again, for what was noted until then.
    fn sleeps_until(&self, edge: &Edge, now: Micros) -> Micros {
        let (next, publishes_from) = (self.next(edge, now), self.pacer.next(0));
        if publishes_from > now { next.min(publishes_from) } else { next }
    }

    /// When there is something to do even if nothing else comes.
    fn next(&self, edge: &Edge, now: Micros) -> Micros {
        let due = self.due(now);
        edge.rounds.set_due(self.machine.id(), due);
        if self.fences.are_open() {
            return now + FENCE_POLL_US;
        }
        let sweeps_at = self.log.as_ref().map_or(Micros::MAX, |log| log.sweeps_at(now));
        let due = due.min(self.leaves_until.unwrap_or(Micros::MAX)).min(sweeps_at).min(now + SLEEP_MAX_US);
        if due > self.tells_writers && self.machine.untold_rows() > 0 { self.tells_writers } else { due }
    }

    /// When it publishes if nothing else comes.
    fn due(&self, now: Micros) -> Micros {
        if self.machine.has_unpublished() {
            return self.pacer.next(now);
        }
        self.machine.next_due().map_or(Micros::MAX, |due| due.max(self.pacer.next(now)))
    }
}

/// A world has as many partitions as it began with.
fn tell_outgrown(edge: &Edge, partition: PartitionId, entities: u64) {
    let (partitions, cores) =
        (edge.partitions.len(), std::thread::available_parallelism().map_or(1, usize::from));
    if partitions < cores {
        tracing::warn!(
            partition = partition.0,
            entities,
            partitions,
            cores,
            "the world has outgrown its partitions: launched with more of them (--partitions, server.partitions) it would use the other cores"
        );
    }
}
