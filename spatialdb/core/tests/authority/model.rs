//! What can happen next.

use spatialdb_core::authority::tiling::{Axis, Cut};
use spatialdb_types::{Epoch, PartitionId, RegionId, SessionId};
use stateright::{Model, Property};

use crate::properties;
use crate::world::{HANDOVER, TTL, Worker, World};

/// How often each thing may happen, so that there is an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Limits {
    /// A worker dies, and comes again under another session.
    pub(crate) crashes: u8,
    /// A worker says nothing past its lease. It may wake at any time.
    pub(crate) silences: u8,
    /// A partition forgets what it knew.
    pub(crate) restarts: u8,
    /// An entity takes along what its partition knows, as late as it likes.
    pub(crate) moves: u8,
    /// The region is cut, and one half goes to the other worker.
    pub(crate) splits: u8,
    /// The halves are to be one again.
    pub(crate) merges: u8,
    /// A hand-over takes too long.
    pub(crate) delays: u8,
    /// A worker is asked to go.
    pub(crate) drains: u8,
}

/// Something wrong that the model must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bug {
    /// A partition says that it has revoked before it has.
    AnswersEarly,
    /// A partition does not look at what the writer had seen.
    IgnoresSeen,
    /// A session says that it has flushed while its writes are on the way.
    FlushesEarly,
    /// A session says what it has seen while older writes of its are on the way.
    SeesEarly,
}

pub(crate) struct Protocol {
    pub(crate) limits: Limits,
    pub(crate) bug: Option<Bug>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Order(usize),
    Answer(usize),
    Note(usize),
    Seen(usize),
    Warmed(usize, RegionId),
    Flush(usize, RegionId, Epoch),
    Crash(usize),
    Attach(usize),
    Silence(usize),
    Wake(usize),
    Restart(usize),
    Depart(usize),
    Arrive(usize),
    Split,
    Merge,
    Delay,
    Drain(usize),
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.limits)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let left = world.left;
        for at in 0..2 {
            let mut when = |can: bool, action: Action| actions.extend(can.then_some(action));
            when(!world.orders[at].is_empty(), Action::Order(at));
            when(!world.answers[at].is_empty(), Action::Answer(at));
            when(left.restarts > 0, Action::Restart(at));
            when(left.moves > 0 && world.moving[1 - at].is_none(), Action::Depart(at));
            when(world.moving[at].is_some(), Action::Arrive(at));
            let worker = &world.workers[at];
            if !worker.is_up {
                when(true, Action::Attach(at));
                continue;
            }
            when(!worker.notices.is_empty(), Action::Note(at));
            when(worker.seen > worker.said, Action::Seen(at));
            when(left.crashes > 0, Action::Crash(at));
            when(left.silences > 0 && !worker.is_silent, Action::Silence(at));
            when(worker.is_silent, Action::Wake(at));
            when(left.drains > 0 && !worker.is_draining, Action::Drain(at));
            worker.warm.iter().for_each(|region| when(true, Action::Warmed(at, *region)));
            worker.imminent.iter().for_each(|(region, epoch)| when(true, Action::Flush(at, *region, *epoch)));
        }
        let mut when = |can: bool, action: Action| actions.extend(can.then_some(action));
        when(left.splits > 0, Action::Split);
        when(left.merges > 0 && left.splits == 0, Action::Merge);
        when(
            left.delays > 0 && world.issuer.next_due().is_some_and(|due| due <= world.now + HANDOVER),
            Action::Delay,
        );
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Order(at) => {
                let order = world.orders[at].pop_front()?;
                let answer = world.tables[at].obey(&order);
                world.answers[at].extend(answer);
            }
            Action::Answer(at) => {
                let (from, answer) = (PartitionId(at as u16), world.answers[at].pop_front()?);
                world.ask(self.bug, |issuer, now, out| issuer.answer(from, answer, now, out));
            }
            Action::Restart(at) => {
                world.left.restarts -= 1;
                world.tables[at].forget();
                let partition = PartitionId(at as u16);
                world.ask(self.bug, |issuer, _, out| issuer.partition_started(partition, out));
            }
            Action::Depart(at) => {
                world.left.moves -= 1;
                world.moving[1 - at] = Some(world.tables[at].leases().to_vec());
            }
            Action::Arrive(at) => {
                let known = world.moving[at].take()?;
                world.tables[at].learn_all(known);
            }
            Action::Split => {
                world.left.splits -= 1;
                let cut = Cut { axis: Axis::X, at: 0.0 };
                world.ask(self.bug, |issuer, now, out| _ = issuer.split(RegionId(1), cut, now, out));
            }
            Action::Merge => {
                world.left.merges -= 1;
                world.ask(self.bug, |issuer, now, out| _ = issuer.merge(RegionId(2), RegionId(1), now, out));
            }
            Action::Delay => {
                world.left.delays -= 1;
                world.now += HANDOVER;
                world.hear_all();
                world.ask(self.bug, |issuer, now, out| issuer.tick(now, out));
            }
            _ => self.step_worker(&mut world, action),
        }
        world.note_writes();
        // What could not be done leaves only less that may happen: nothing to look at.
        let is_idle = World { left: last.left, ..world.clone() } == *last;
        (!is_idle).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(&self.limits)
    }
}

impl Protocol {
    fn step_worker(&self, world: &mut World, action: Action) {
        match action {
            Action::Note(at) => world.take_note(at),
            Action::Seen(at) => self.see(world, at),
            Action::Warmed(at, region) => {
                let Worker { session, warm, .. } = &mut world.workers[at];
                warm.remove(&region);
                let session = *session;
                world.ask(self.bug, |issuer, now, out| issuer.warmed(session, region, now, out));
            }
            Action::Flush(at, region, epoch) => self.flush(world, at, region, epoch),
            Action::Crash(at) => {
                world.left.crashes -= 1;
                let session = world.workers[at].session;
                world.workers[at] = Worker::new(SessionId(session.0 + 2));
                world.ask(self.bug, |issuer, now, out| issuer.detach(session, now, out));
            }
            Action::Attach(at) => world.attach(at),
            Action::Silence(at) => {
                world.left.silences -= 1;
                world.workers[at].is_silent = true;
                world.now += TTL;
                world.hear_all();
                world.ask(self.bug, |issuer, now, out| issuer.tick(now, out));
            }
            Action::Wake(at) => {
                world.workers[at].is_silent = false;
                let session = world.workers[at].session;
                world.ask(self.bug, |issuer, now, out| issuer.heard(session, now, out));
            }
            Action::Drain(at) => {
                world.left.drains -= 1;
                world.workers[at].is_draining = true;
                let session = world.workers[at].session;
                world.ask(self.bug, |issuer, now, out| _ = issuer.drain(session, now, out));
            }
            _ => unreachable!("{action:?} is not about a worker"),
        }
    }

    /// The session passes on what the worker has seen, once all that it wrote before is decided.
    fn see(&self, world: &mut World, at: usize) {
        let worker = &mut world.workers[at];
        worker.said = worker.seen;
        let (session, seen) = (worker.session, worker.seen);
        if self.bug != Some(Bug::SeesEarly) {
            let older = |write: &crate::world::Write| write.session == session && write.seen < seen;
            world
                .writes
                .iter_mut()
                .filter(|(write, _)| older(write))
                .for_each(|(_, is_decided)| *is_decided = true);
        }
        world.ask(self.bug, |issuer, now, out| issuer.seen(session, seen, now, out));
    }

    /// The session passes on that the worker has flushed, once all that it wrote before is decided.
    fn flush(&self, world: &mut World, at: usize, region: RegionId, epoch: Epoch) {
        let worker = &mut world.workers[at];
        worker.imminent.remove(&(region, epoch));
        let session = worker.session;
        for (place, held) in worker.held.iter_mut().enumerate() {
            let Some(held) = held.as_mut().filter(|held| held.region == region) else { continue };
            held.is_flushed = true;
            if self.bug != Some(Bug::FlushesEarly) {
                let own = |write: &crate::world::Write| write.session == session && write.place == place;
                world
                    .writes
                    .iter_mut()
                    .filter(|(write, _)| own(write))
                    .for_each(|(_, is_decided)| *is_decided = true);
            }
        }
        world.ask(self.bug, |issuer, now, out| issuer.flushed(session, region, epoch, now, out));
    }
}
