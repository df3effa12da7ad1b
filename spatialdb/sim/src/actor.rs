//! Clients: what they ask for, write and see, one step at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use spatialdb_core::world::Owner;
use spatialdb_core::{FrameBody, Role, Session, ToPartition, ToSession, View};
use spatialdb_types::{EntityId, PartitionId, Point3, Reason, Seq, SessionId, ViewId};

use crate::bug::Bug;
use crate::client::Replica;
use crate::driver::Sim;
use crate::edge::{Column, Message};
use crate::interests::{NAMES, TYPES};
use crate::judge::Failure;
use crate::model::Writers;
use crate::world::panned;
use crate::writer::Writer;

/// A client and its session.
#[derive(Debug)]
pub(crate) struct Actor {
    /// Its session's id.
    pub(crate) id: SessionId,
    /// Its worker.
    pub(crate) owner: Owner,
    /// Whether the session goes on.
    pub(crate) live: bool,
    /// The machine under test.
    pub(crate) session: Session,
    /// What the client was shown.
    pub(crate) replica: Replica,
    /// The views as the client asked for them.
    pub(crate) views: BTreeMap<ViewId, View>,
    /// The last message sent.
    pub(crate) seq: Seq,
    /// Takes a frame only once in so many chances: a slow one conflates.
    pub(crate) slowness: u64,
    /// Messages from each partition.
    pub(crate) down: Vec<VecDeque<ToSession>>,
    /// Messages to each partition.
    pub(crate) up: Vec<VecDeque<ToPartition>>,
    /// A message that waits because a partition takes no work; if it creates, who will write what it makes.
    pub(crate) pending: Option<(Message, Vec<Writers>)>,
    next_view: u64,
}

impl Sim {
    /// A client comes, with some views.
    pub(crate) fn attach(&mut self) {
        let name = if self.rng.percent(50) { *self.rng.pick(&NAMES[..2]) } else { "" };
        let worker_type = *self.rng.pick(&TYPES);
        let attached = self.world.names.attach(worker_type, name).expect("far fewer than sessions_max");
        let id = attached.session;
        if let Some(old) = attached.replaced {
            let replaced = self.actors.iter().position(|actor| actor.id == old);
            self.detach(replaced.expect("it is there"));
        }
        let partitions = self.plan.map.partitions();
        let restarts = self.plan.weights.restart > 0;
        let slowness = if self.rng.one_in(4) { self.rng.between(5, 40) } else { 1 };
        self.say(|| format!("session {id} {} comes, slowness {slowness}", attached.owner.name));
        let mut session = Session::new(id, partitions, self.plan.limits.clone());
        session.tune(&self.plan.tuning);
        self.actors.push(Actor {
            id,
            owner: attached.owner,
            live: true,
            session,
            // Whoever gains an entity is shown it anew.
            replica: Replica::new(
                id,
                (partitions == 1 && !restarts && self.authority.is_none()).then_some(id),
            ),
            views: BTreeMap::new(),
            seq: Seq(0),
            slowness,
            down: (0..partitions).map(|_| VecDeque::new()).collect(),
            up: (0..partitions).map(|_| VecDeque::new()).collect(),
            pending: None,
            next_view: 1,
        });
        let a = self.actors.len() - 1;
        let name = self.actors[a].owner.name.clone();
        self.open_page(id, &name);
        self.worker_comes(a);
        for _ in 0..self.rng.between(0, 4) {
            self.subscribe(a);
        }
    }

    /// A client goes. What it sent is still delivered.
    pub(crate) fn detach(&mut self, a: usize) {
        self.say(|| format!("session {} goes", self.actors[a].id));
        self.actors[a].session.end();
        self.collect_session(a);
        let actor = &mut self.actors[a];
        actor.live = false;
        actor.pending = None;
        let id = actor.id;
        self.world.names.detach(id);
        self.close_page(id);
        self.worker_goes(id);
        self.cut_down(a);
    }

    /// The clients that are there.
    pub(crate) fn live_actors(&self) -> Vec<usize> {
        (0..self.actors.len()).filter(|&a| self.actors[a].live).collect()
    }

    /// A client adds, changes or ends a view.
    pub(crate) fn change_views(&mut self, a: usize) {
        let ids: Vec<ViewId> = self.actors[a].views.keys().copied().collect();
        match self.rng.below(6) {
            0..=1 if ids.len() < 5 => {
                self.subscribe(a);
            }
            2..=4 if !ids.is_empty() => {
                let id = *self.rng.pick(&ids);
                self.change_view(a, id);
            }
            5 if !ids.is_empty() => {
                let id = *self.rng.pick(&ids);
                self.say(|| format!("session {} ends view {id}", self.actors[a].id));
                let actor = &mut self.actors[a];
                actor.session.end_view(id).expect("the view is there");
                actor.views.remove(&id);
                actor.replica.views.entry(id).or_default().ended = true;
                actor.replica.squares.end(id);
                actor.replica.heard.note_views();
                self.collect_session(a);
            }
            _ => {}
        }
    }

    /// A client adds a view. `None`: it has as much as it may have.
    pub(crate) fn subscribe(&mut self, a: usize) -> Option<ViewId> {
        let id = ViewId(self.actors[a].next_view);
        self.actors[a].next_view += 1;
        let last = EntityId(self.world.ids.next().0);
        let view = self.plan.view(&mut self.rng, id, last);
        let view = self.owned_view(a, view);
        self.say(|| format!("session {} subscribes {view:?}", self.actors[a].id));
        let result = self.actors[a].session.subscribe(view.clone());
        self.decide_view(a);
        if let Err(error) = result {
            assert_eq!(error.reason, Reason::LimitReached, "a new and valid view: {error}");
            return None;
        }
        self.note_view(a, view);
        Some(id)
    }

    /// A client replaces a view.
    pub(crate) fn change_view(&mut self, a: usize, id: ViewId) {
        let before = &self.actors[a].views[&id];
        let view = if before.densities.is_some() && self.rng.percent(50) {
            // As when a camera pans.
            let mut elsewhere = before.clone();
            elsewhere.densities =
                before.densities.as_ref().map(|d| d.elsewhere(&self.plan.densities(&mut self.rng)));
            elsewhere
        } else if before.densities.is_none() && self.rng.percent(60) {
            let reach = self.plan.side_m / 4.0;
            let by = Point3::new(self.rng.float(-reach, reach), self.rng.float(-reach, reach), 0.0);
            panned(before, by)
        } else {
            let last = EntityId(self.world.ids.next().0);
            let view = self.plan.view_like(&mut self.rng, before, last);
            self.owned_view(a, view)
        };
        self.say(|| format!("session {} changes {view:?}", self.actors[a].id));
        let result = self.actors[a].session.change_view(view.clone());
        self.decide_view(a);
        match result {
            Ok(()) => self.note_view(a, view),
            Err(error) => assert_eq!(error.reason, Reason::LimitReached, "a known and valid view: {error}"),
        }
    }

    /// The message that asks for a view is one like any other, and decided at once.
    fn decide_view(&mut self, a: usize) {
        let actor = &mut self.actors[a];
        actor.seq.0 += 1;
        actor.session.received(actor.seq, 0);
    }

    fn note_view(&mut self, a: usize, view: View) {
        let by = self.actors[a].seq;
        self.actors[a].replica.note_asked(&view, by);
        self.actors[a].replica.heard.note_views();
        if view.own_updates {
            self.actors[a].replica.no_echo_of = None;
        }
        self.actors[a].views.insert(view.id, view);
        self.collect_session(a);
    }

    /// A client sends a message, or tries again with one that waits.
    pub(crate) fn write(&mut self, a: usize) {
        if self.actors[a].pending.is_none() {
            let seq = Seq(self.actors[a].seq.0 + 1);
            let pending =
                if self.rng.one_in(12) { Some(self.new_create(a, seq)) } else { self.new_message(a, seq) };
            self.actors[a].pending = pending;
        }
        self.try_send(a);
    }

    /// Routes the waiting message of a client if every partition it concerns takes work. Returns whether it did.
    pub(crate) fn try_send(&mut self, a: usize) -> bool {
        let Some((mut message, writers)) = self.actors[a].pending.take() else { return false };
        // It may have asked for views since.
        message.seq = Seq(self.actors[a].seq.0 + 1);
        let mut batches = self.edge.route(&message, &mut self.bugs);
        batches.values_mut().for_each(|batch| batch.role = Role::Tool);
        if batches.keys().any(|to| !self.partitions[usize::from(to.0)].accepts_work()) {
            self.actors[a].pending = Some((message, writers));
            return false;
        }
        self.say(|| format!("session {} sends {message:?}", self.actors[a].id));
        self.edge.note_created(&message);
        if let Some(Column::Create(rows)) = message.columns.first() {
            rows.iter().zip(writers).for_each(|(new, writers)| self.learn(new, writers));
        }
        self.model.send(&message);
        self.expect_events(&message);
        let rows: usize = message.columns.iter().map(Column::row_count).sum();
        self.actors[a].seq = message.seq;
        self.actors[a].session.received(message.seq, rows as u32);
        for (to, batch) in batches {
            self.send_batch(to, batch);
        }
        true
    }

    /// Routes a message of what its sender may own, with what it knows, unless another one waits or partitions take no work.
    /// Returns whether it did.
    pub(crate) fn send_owned(&mut self, a: usize, message: &Message) -> bool {
        let mut batches = self.edge.route(message, &mut self.bugs);
        let is_full = |to: &PartitionId| !self.partitions[usize::from(to.0)].accepts_work();
        if self.actors[a].pending.is_some() || batches.keys().any(is_full) {
            return false;
        }
        self.say(|| format!("session {} sends {message:?}", self.actors[a].id));
        let seen = self.what_it_saw(message.session);
        batches.values_mut().for_each(|batch| batch.seen.clone_from(&seen));
        self.note_sent(message);
        let rows: usize = message.columns.iter().map(Column::row_count).sum();
        self.actors[a].seq = message.seq;
        self.actors[a].session.received(message.seq, rows as u32);
        for (to, batch) in batches {
            self.send_batch(to, batch);
        }
        true
    }

    fn writer(&mut self, session: SessionId) -> Writer<'_> {
        let Self { plan, model, rng, stamps, eventful, .. } = self;
        Writer { plan, model, rng, stamps, eventful, session }
    }

    fn new_message(&mut self, a: usize, seq: Seq) -> Option<(Message, Vec<Writers>)> {
        let id = self.actors[a].id;
        self.writer(id).message(seq).map(|message| (message, Vec::new()))
    }

    fn new_create(&mut self, a: usize, seq: Seq) -> (Message, Vec<Writers>) {
        let count = self.rng.between(1, 4);
        let answer = self.world.ids.create(&self.actors[a].owner, "", count).expect("ids are left");
        let id = self.actors[a].id;
        self.writer(id).create(seq, &answer.entities)
    }

    /// Notes a new entity.
    pub(crate) fn learn(&mut self, new: &crate::edge::NewEntity, writers: Writers) {
        if let Writers::One(session) | Writers::Twin(session) = writers
            && let Some(actor) = self.actors.iter_mut().find(|actor| actor.id == session)
        {
            actor.replica.sole.insert(new.entity);
        }
        if matches!(writers, Writers::Twin(_)) {
            self.twins.insert(new.entity);
        }
        self.model.create(new, writers);
    }

    /// A client takes a frame, if there is one.
    ///
    /// # Errors
    /// Which rule the frame breaks.
    pub(crate) fn take_frame(&mut self, a: usize) -> Result<bool, Failure> {
        let Some(frame) = self.actors[a].session.take_frame() else { return Ok(false) };
        let mut frames = vec![frame];
        if self.bugs.hits(Bug::SwapFrames) {
            frames.extend(self.actors[a].session.take_frame());
            frames.reverse();
        }
        let twins = self.twins_of_others(a);
        for mut frame in frames {
            self.corrupt_frame(&mut frame);
            self.say(|| format!("session {} takes {frame:?}", self.actors[a].id));
            let applied = self.actors[a].replica.apply(&frame, &twins, &self.sent);
            applied.map_err(|f| f.of_session(self.actors[a].id))?;
        }
        self.actors[a].session.frame_sent();
        self.collect_session(a);
        Ok(true)
    }

    fn corrupt_frame(&mut self, frame: &mut FrameBody) {
        if self.bugs.hits(Bug::DuplicateEnter) {
            frame.entered.extend(frame.entered.last().copied());
        }
        if self.bugs.hits(Bug::DropGone) {
            frame.gone.pop();
        }
    }

    /// Its own updates do not come back to a session: it may see halves of them.
    fn twins_of_others(&self, a: usize) -> BTreeSet<EntityId> {
        let id = self.actors[a].id;
        let own = |e: &EntityId| self.model.entities.get(e).is_some_and(|k| k.is_only_of(id));
        self.twins.iter().copied().filter(|e| !own(e)).collect()
    }
}
