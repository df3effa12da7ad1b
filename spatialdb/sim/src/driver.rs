//! The driver: machines, and the queues between them.
//!
//! Responsible for: one queue per ordered pair of machines, first in first out, and nothing else in order; carrying
//! what machines put in their outboxes. Not responsible for: what clients do (`actor`), or who is right (`judge`).

use std::collections::{BTreeSet, VecDeque};

use spatialdb_core::{
    Batch, Delta, Filled, Micros, Missed, Outbox, Partition, PeerBody, PeerMessage, RouteChange,
    ShadowMismatch, ToPartition, ToSession, World,
};
use spatialdb_types::{EntityId, PartitionId, Revision, SessionId};

use crate::actor::Actor;
use crate::authority::{Authority, Leases};
use crate::bug::{Bug, Bugs};
use crate::capture::Captures;
use crate::cut::Cuts;
use crate::edge::Edge;
use crate::events::{self, Sent};
use crate::interests::Interests;
use crate::judge::Failure;
use crate::log::Log;
use crate::model::Model;
use crate::rng::Rng;
use crate::world::Plan;

/// A whole simulated world.
#[derive(Debug)]
pub(crate) struct Sim {
    /// What holds for the whole run.
    pub(crate) plan: Plan,
    /// Chance.
    pub(crate) rng: Rng,
    /// The bug of this run, if any.
    pub(crate) bugs: Bugs,
    /// Virtual time.
    pub(crate) now: Micros,
    /// The machine for ids and names.
    pub(crate) world: World,
    /// The partitions.
    pub(crate) partitions: Vec<Partition>,
    /// The table of hints.
    pub(crate) edge: Edge,
    /// Clients, those that have left included.
    pub(crate) actors: Vec<Actor>,
    /// What must be.
    pub(crate) model: Model,
    /// Entities whose first two components always change together.
    pub(crate) twins: BTreeSet<EntityId>,
    /// What events were sent of last.
    pub(crate) eventful: Vec<EntityId>,
    /// The last stamp given.
    pub(crate) stamps: u32,
    /// A partition that hardly anything comes from, for now.
    pub(crate) slow: Option<Slow>,
    /// Events.
    pub(crate) sent: Sent,
    /// Queries over all partitions.
    pub(crate) cuts: Cuts,
    /// Which entities give which sessions views.
    pub(crate) interests: Interests,
    /// Layers and who owns what, in a world that is not open.
    pub(crate) authority: Option<Authority>,
    /// What partitions have written to their logs.
    pub(crate) log: Log,
    /// What partitions write of one moment.
    pub(crate) captures: Captures,
    /// Whether to say what happens.
    pub(crate) trace: bool,
    edge_queues: Vec<VecDeque<EdgeItem>>,
    peer_queues: Vec<Vec<VecDeque<PeerMessage>>>,
    /// The pairs with something on its way, by kind.
    busy: [Vec<Link>; 6],
    stale: Option<Delta>,
    /// What the shadow checker found first.
    pub(crate) shadow: Option<Failure>,
}

#[derive(Debug)]
enum EdgeItem {
    Batch(Batch),
    Fence(u64),
}

/// What hardly comes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Slow {
    /// Anything from that partition.
    All(usize),
    /// What that partition tells sessions.
    Deltas(usize),
}

/// An ordered pair of machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// From the edge to a partition.
    Edge(usize),
    /// From a partition to another.
    Peer(usize, usize),
    /// From a partition to the session of a client.
    Down(usize, usize),
    /// From the session of a client to a partition.
    Up(usize, usize),
    /// From a partition to the book of interests.
    Told(usize),
    /// From the book of interests to the session of a client.
    Page(usize),
}

impl Link {
    /// Whether that concerns it.
    pub(crate) fn is_slow(self, slow: Slow) -> bool {
        match (self, slow) {
            (Self::Edge(_) | Self::Up(..) | Self::Page(_), _) => false,
            (Self::Peer(..) | Self::Told(_), Slow::Deltas(_)) => false,
            (Self::Peer(from, _) | Self::Told(from), Slow::All(at))
            | (Self::Down(_, from), Slow::All(at) | Slow::Deltas(at)) => from == at,
        }
    }

    /// Its index among the kinds.
    pub(crate) const fn kind(self) -> usize {
        match self {
            Self::Edge(_) => 0,
            Self::Peer(..) => 1,
            Self::Down(..) => 2,
            Self::Up(..) => 3,
            Self::Told(_) => 4,
            Self::Page(_) => 5,
        }
    }
}

impl Sim {
    /// A world without clients and entities.
    pub(crate) fn new(seed: u64, bug: Option<Bug>, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::new(&mut rng);
        let count = usize::from(plan.map.partitions());
        let authority = Authority::new(seed, &plan);
        let log = Log::new(seed, count);
        let partition = |id| {
            let partition = Partition::new(id, plan.map.clone(), plan.limits.clone());
            let mut partition = partition.with_log(&log.classes);
            partition.tune(plan.tuning);
            match &authority {
                Some(authority) => partition.with_layers(&authority.layers),
                None => partition,
            }
        };
        Self {
            now: 0,
            shadow: None,
            bugs: Bugs::new(bug, seed),
            world: World::new(plan.map.clone(), EntityId(1), &plan.limits),
            partitions: plan.map.ids().map(partition).collect(),
            edge: Edge::new(plan.map.clone()),
            actors: Vec::new(),
            model: Model::default(),
            twins: BTreeSet::new(),
            eventful: Vec::new(),
            stamps: 0,
            slow: None,
            sent: Sent::default(),
            cuts: Cuts::default(),
            interests: Interests::new(count),
            authority,
            log,
            captures: Captures::new(seed),
            trace,
            edge_queues: (0..count).map(|_| VecDeque::new()).collect(),
            peer_queues: (0..count).map(|_| (0..count).map(|_| VecDeque::new()).collect()).collect(),
            busy: Default::default(),
            stale: None,
            plan,
            rng,
        }
    }

    /// Says what happens, if asked to.
    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>9} us  {}", self.now, what());
        }
    }

    /// What is on its way between partitions.
    pub(crate) fn peer_messages(&self) -> impl Iterator<Item = &PeerMessage> {
        self.peer_queues.iter().flatten().flatten()
    }

    /// The pairs with something on its way, by kind.
    pub(crate) const fn busy(&self) -> &[Vec<Link>; 6] {
        &self.busy
    }

    /// Delivers the head of a queue that is not empty, and lets judges look at what it did.
    ///
    /// # Errors
    /// What they found.
    pub(crate) fn deliver(&mut self, link: Link) -> Result<(), Failure> {
        let (p, sent) = match link {
            Link::Edge(p) => (p, Revision(0)),
            // What waited is applied together with what moved it: who was right cannot be told from outside.
            Link::Peer(from, p) => match self.peer_queues[from][p].front().map(|m| (&m.body, m.clock)) {
                Some((PeerBody::Settled(_), _)) | None => {
                    self.deliver_one(link);
                    return self.watch_entities(p, None);
                }
                Some((_, clock)) => (p, clock),
            },
            _ => {
                self.deliver_one(link);
                return Ok(());
            }
        };
        let before = self.partitions[p].clock().max(sent);
        let mut came_with = Leases::new();
        if let Link::Peer(from, _) = link
            && let Some(PeerBody::Move(moved)) = self.peer_queues[from][p].front().map(|m| &m.body)
        {
            for moved in moved {
                let regions = moved.authority.regions.iter().map(|(_, region)| *region);
                came_with.insert(moved.entity, regions.collect());
            }
        }
        self.deliver_one(link);
        self.watch_arrivals(p, Some(before), &came_with)
    }

    fn deliver_one(&mut self, link: Link) {
        let mut outbox = Outbox::default();
        match link {
            Link::Edge(p) => {
                let item = self.take(link, |sim| &mut sim.edge_queues[p]);
                self.say(|| format!("edge -> partition {p}: {item:?}"));
                match item {
                    EdgeItem::Batch(batch) => self.partitions[p].apply(&batch, &mut outbox),
                    EdgeItem::Fence(token) => self.partitions[p].fence(token, &mut outbox),
                }
                // As a real driver does when the next publish is some way off.
                if self.partitions[p].updates_applied().is_multiple_of(3) {
                    self.partitions[p].tell_writers(&mut outbox);
                }
                self.collect(p, outbox);
                self.publish_if_full(p);
            }
            Link::Peer(from, to) => {
                let message = self.take(link, |sim| &mut sim.peer_queues[from][to]);
                self.say(|| format!("partition {from} -> partition {to}: {message:?}"));
                self.partitions[to].peer(PartitionId(from as u16), message, &mut outbox);
                self.collect(to, outbox);
                self.publish_if_full(to);
            }
            Link::Down(a, p) => {
                let message = self.take(link, |sim| &mut sim.actors[a].down[p]);
                self.say(|| format!("partition {p} -> session {}: {message:?}", self.actors[a].id));
                self.actors[a].session.receive(PartitionId(p as u16), message);
                self.collect_session(a);
            }
            Link::Up(a, p) => {
                let message = self.take(link, |sim| &mut sim.actors[a].up[p]);
                self.say(|| format!("session {} -> partition {p}: {message:?}", self.actors[a].id));
                let (id, partition) = (self.actors[a].id, &mut self.partitions[p]);
                match message {
                    ToPartition::SetViews(version, views) => partition.set_views(id, version, &views),
                    ToPartition::Ready => {
                        partition.ready(id);
                    }
                    ToPartition::ShowAll => partition.show_all(id),
                    ToPartition::Flush(token) => partition.flush(id, token, &mut outbox),
                    ToPartition::End => partition.end_session(id),
                }
                self.collect(p, outbox);
            }
            Link::Told(p) => {
                let change = self.take(link, |sim| sim.interests.queue(p));
                self.hear_interest(p, change);
            }
            Link::Page(a) => {
                self.busy[link.kind()].retain(|&other| other != link);
                self.read_page(a);
            }
        }
    }

    /// Nothing is on its way to a client any longer.
    pub(crate) fn cut_down(&mut self, a: usize) {
        self.actors[a].down.iter_mut().for_each(VecDeque::clear);
        self.busy[2].retain(|link| !matches!(link, Link::Down(actor, _) if *actor == a));
        self.busy[5].retain(|&link| link != Link::Page(a));
    }

    fn take<T>(&mut self, link: Link, queue: impl Fn(&mut Self) -> &mut VecDeque<T>) -> T {
        let item = queue(self).pop_front().expect("a busy link has something on its way");
        if queue(self).is_empty() {
            self.busy[link.kind()].retain(|&other| other != link);
        }
        item
    }

    /// Something was put on its way where that many things were before.
    pub(crate) fn mark_busy(&mut self, link: Link, before: usize) {
        if before == 0 {
            self.busy[link.kind()].push(link);
        }
    }

    /// A partition publishes. Returns whether it had anything to say.
    pub(crate) fn publish(&mut self, p: usize) -> bool {
        let mut outbox = Outbox::default();
        self.partitions[p].publish(self.now, &mut outbox);
        self.say(|| format!("partition {p} publishes to {} sessions", outbox.sessions.len()));
        if let Err(ShadowMismatch { session, entity, detail }) = self.partitions[p].shadow_check_all() {
            let detail = format!("partition {p}, session {session}: entity {entity} {detail}");
            self.shadow.get_or_insert(Failure { judge: "shadow", detail });
        }
        let any = !outbox.sessions.is_empty() || !outbox.interests.is_empty();
        self.collect(p, outbox);
        any
    }

    /// As a real driver does when more events wait than a session may be told at once.
    fn publish_if_full(&mut self, p: usize) {
        if self.partitions[p].must_publish() {
            self.publish(p);
        }
    }

    /// A partition is restarted, and every session is told.
    pub(crate) fn restart(&mut self, p: usize) {
        self.say(|| format!("partition {p} restarts"));
        let mut outbox = Outbox::default();
        self.partitions[p].restart();
        self.cuts.give_up();
        self.lose_events();
        for actor in self.actors.iter().filter(|actor| actor.live) {
            self.partitions[p].greet(actor.id, &mut outbox);
        }
        self.collect(p, outbox);
        self.authority_restarts(p);
    }

    /// Puts a batch at the end of the queue of a partition.
    pub(crate) fn send_batch(&mut self, to: PartitionId, mut batch: Batch) {
        if self.bugs.hits(Bug::LoseBatch) {
            return;
        }
        let queue = &mut self.edge_queues[usize::from(to.0)];
        let before = queue.len();
        if batch.ops.len() > 1 && self.bugs.hits(Bug::SplitMessage) {
            let last = batch.ops.split_off(batch.ops.len() - 1);
            let half = Batch { ops: last, ..batch.part() };
            queue.extend([EdgeItem::Batch(batch), EdgeItem::Batch(half)]);
        } else {
            queue.push_back(EdgeItem::Batch(batch));
        }
        self.mark_busy(Link::Edge(usize::from(to.0)), before);
    }

    /// Carries what a session put in its outbox.
    pub(crate) fn collect_session(&mut self, a: usize) {
        let out: Vec<_> = self.actors[a].session.drain_outbox().collect();
        for (to, message) in out {
            self.send_up(a, usize::from(to.0), message);
        }
    }

    /// Carries what a partition put in its outbox.
    pub(crate) fn collect(&mut self, p: usize, outbox: Outbox) {
        for (to, message) in outbox.peers {
            self.send_peer(p, usize::from(to.0), message);
        }
        for (session, message) in outbox.sessions {
            self.send_down(session, p, message);
        }
        self.send_interests(p, outbox.interests);
        self.send_answers(p, outbox.authority);
        for (cut, answer) in outbox.answers {
            self.cuts.answer(cut, answer);
        }
        for change in outbox.routes {
            match change {
                RouteChange::Set(entities, to) if !self.bugs.hits(Bug::LoseSet) => {
                    entities.iter().for_each(|&e| self.edge.set(e, to));
                }
                RouteChange::Clear(entities) if !self.bugs.hits(Bug::LoseClear) => {
                    entities.iter().for_each(|&e| self.edge.clear(e));
                }
                RouteChange::Set(..) | RouteChange::Clear(_) => {}
                RouteChange::Fence(token) => self.send_fence(p, token),
            }
        }
    }

    fn send_fence(&mut self, p: usize, token: u64) {
        let queue = &mut self.edge_queues[p];
        // Fences stay in order among themselves: the bug is to be ahead of writes.
        let before = queue.len();
        let at = if self.bugs.hits(Bug::FenceEarly) {
            queue.iter().rposition(|item| matches!(item, EdgeItem::Fence(_))).map_or(0, |last| last + 1)
        } else {
            before
        };
        queue.insert(at, EdgeItem::Fence(token));
        self.mark_busy(Link::Edge(p), before);
    }

    fn send_peer(&mut self, from: usize, to: usize, mut message: PeerMessage) {
        let queue = &mut self.peer_queues[from][to];
        let before = queue.len();
        let bugs = &mut self.bugs;
        if bugs.hits(Bug::ZeroClock) {
            message.clock = Revision(0);
        }
        if bugs.hits(Bug::LoseRound) {
            message.round = 0;
        }
        if bugs.hits(Bug::LoseInFlight) {
            message.capture = self.captures.number();
        }
        match &mut message.body {
            PeerBody::Move(_) if bugs.hits(Bug::DropMove) => return,
            PeerBody::Move(moved) if bugs.hits(Bug::LoseCarried) => {
                moved.iter_mut().for_each(|m| m.authority = Default::default());
            }
            PeerBody::Move(moved) if bugs.hits(Bug::LoseHolders) => {
                moved.iter_mut().for_each(|m| m.holders.clear());
            }
            PeerBody::Move(moved) if bugs.hits(Bug::LoseEvents) => {
                moved.iter_mut().flat_map(|m| &mut m.holders).for_each(|holder| holder.events.clear());
            }
            PeerBody::Move(moved) if bugs.hits(Bug::LoseOverlaps) => {
                moved.iter_mut().flat_map(|m| &mut m.holders).for_each(|holder| holder.overlaps = false);
            }
            PeerBody::Moved(_) if bugs.hits(Bug::DropMoved) => return,
            PeerBody::Forward(_) if bugs.hits(Bug::DropForward) => return,
            PeerBody::Forward(_) if bugs.hits(Bug::DuplicateForward) => queue.push_back(message.clone()),
            PeerBody::Cut(..) if bugs.hits(Bug::DropCut) => return,
            PeerBody::Follows(words) if bugs.hits(Bug::LoseLeads) => words.leads.clear(),
            _ => {}
        }
        let early = match message.body {
            PeerBody::Settled(_) => bugs.hits(Bug::SettledEarly),
            PeerBody::Cut(..) => bugs.hits(Bug::CutEarly),
            PeerBody::Walked(_) => bugs.hits(Bug::WalkedEarly),
            PeerBody::Capturing(_) => bugs.hits(Bug::CapturingEarly),
            PeerBody::Follows(_) => bugs.hits(Bug::SwapLeads),
            _ => false,
        };
        if early {
            queue.push_front(message);
        } else {
            queue.push_back(message);
        }
        if queue.len() > 1 && bugs.hits(Bug::SwapPeers) {
            let last = queue.len() - 1;
            queue.swap(last - 1, last);
        }
        self.mark_busy(Link::Peer(from, to), before);
    }

    fn send_down(&mut self, session: SessionId, p: usize, mut message: ToSession) {
        let Some(a) = self.actors.iter().position(|actor| actor.id == session && actor.live) else { return };
        let bugs = &mut self.bugs;
        if message.restarted.is_some() && bugs.hits(Bug::LoseRestarted) {
            return;
        }
        if bugs.hits(Bug::LoseOutcome) {
            message.outcome.decided.clear();
        }
        if bugs.hits(Bug::LoseRejection) {
            message.outcome.rejections.pop();
        }
        if let Some(delta) = &mut message.authority {
            if bugs.hits(Bug::LoseGain) {
                delta.changes.pop();
            }
            if bugs.hits(Bug::ReverseGains) {
                delta.changes.reverse();
            }
            delta.is_shown |= bugs.hits(Bug::GainedEarly);
        }
        if let Some(delta) = &mut message.delta {
            corrupt(delta, bugs, &mut self.stale);
            self.actors[a].replica.heard.note_delta(delta);
        }
        let queue = &mut self.actors[a].down[p];
        let before = queue.len();
        if bugs.hits(Bug::EventsAhead) {
            events::ahead(&mut message, queue);
        }
        queue.push_back(message);
        let last = queue.len() - 1;
        if last > 0 && bugs.hits(Bug::SwapDeltas) {
            queue.swap(last - 1, last);
        }
        self.mark_busy(Link::Down(a, p), before);
    }

    fn send_up(&mut self, a: usize, p: usize, message: ToPartition) {
        let actor = &mut self.actors[a];
        match message {
            ToPartition::Ready if self.bugs.hits(Bug::LoseReady) => return,
            ToPartition::SetViews(..) if self.bugs.hits(Bug::LoseViews) => return,
            ToPartition::Flush(token) if self.bugs.hits(Bug::FlushEarly) => {
                let delta = Delta { flushed: Some(token), ..Delta::default() };
                let answer = ToSession { delta: Some(Box::new(delta)), ..ToSession::default() };
                let before = actor.down[p].len();
                actor.down[p].push_front(answer);
                return self.mark_busy(Link::Down(a, p), before);
            }
            _ => {}
        }
        let before = actor.up[p].len();
        actor.up[p].push_back(message);
        self.mark_busy(Link::Up(a, p), before);
    }
}

fn corrupt(delta: &mut Delta, bugs: &mut Bugs, stale: &mut Option<Delta>) {
    if bugs.hits(Bug::DropLeave) {
        delta.left.pop();
    }
    if bugs.hits(Bug::DropValues) {
        delta.columns.pop();
    }
    if bugs.hits(Bug::DropEvent) {
        delta.events.pop();
    }
    if bugs.hits(Bug::DuplicateEvent) {
        delta.events.extend(delta.events.last().cloned());
    }
    if bugs.hits(Bug::LoseMissed) {
        delta.missed = Missed::default();
    }
    if bugs.hits(Bug::LoseFilled) {
        delta.filled = None;
    }
    if delta.filled.is_none() && bugs.hits(Bug::WarmEarly) {
        delta.filled = Some(Filled { version: u64::MAX, counts: Vec::new() });
    }
    for density in &mut delta.densities {
        if !density.rows.is_empty() && bugs.hits(Bug::DropSquare) {
            density.rows.pop();
        }
        density.begins_anew &= !bugs.hits(Bug::KeepSquares);
    }
    if let Some(filled) = &mut delta.filled
        && bugs.hits(Bug::WrongCount)
    {
        filled.counts.iter_mut().for_each(|(_, count)| *count += 1);
    }
    if bugs.hits(Bug::StaleValue) {
        if let Some(old) = stale.take() {
            delta.positions.extend(old.positions);
        }
        *stale = Some(delta.clone());
    }
}
