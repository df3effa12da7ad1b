//! A session: one worker's or viewer's side of the world.
//!
//! Responsible for: the union of its views over all partitions; making of what partitions say, each in its own order,
//! one exact sequence of frames, and one of what it may write; and how far its own messages are decided.
//! Not responsible for: the transport, encoding, or whether messages are well formed.
//!
//! # Why an entity is judged by clocks
//! When an entity moves, what the old and the new partition say of it reaches the session by different ways and in any
//! order. Revision counters rise along moves, so of two partitions the one with the higher counter is the later.
//! A leave is remembered (a tombstone) until nothing older can be on its way.

mod after;
mod anchors;
mod authority;
mod events;
mod gone;
mod interests;
mod load;
mod merge;
mod overtaken;
mod progress;
mod sight;
mod sums;
mod territory;
mod tombstones;

use std::collections::VecDeque;
use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashSet};
use spatialdb_types::{
    ComponentId, EntityId, Error, LayerId, Limits, PartitionId, Position, Reason, Revision, Seq, SessionId,
    ViewId,
};

use self::after::After;
use self::anchors::Anchors;
use self::authority::Authority;
pub use self::authority::{AuthorityBody, AuthorityMessage, SeenTable};
use self::events::Overlaps;
pub use self::interests::check_interest;
use self::interests::{Interests, is_given};
use self::load::Load;
use self::overtaken::Overtaken;
use self::progress::Progress;
pub use self::sight::{Sight, ViewSight};
pub use self::sums::DensityColumn;
use self::sums::Sums;
use self::territory::Territory;
use self::tombstones::Tombstones;
use crate::Tuning;
use crate::columns::{PositionRows, ValueRows};
use crate::events::{Event, Missed};
use crate::interest::{Followed, Realm, SharedRows, View, ViewSet};
use crate::message::{LeaveReason, Outcome, ToSession};

/// From a session to a partition.
#[derive(Clone, Debug)]
pub enum ToPartition {
    /// These are the session's views.
    SetViews(u64, ViewSet),
    /// The last delta has been taken.
    Ready,
    /// Show all, whatever the rates of the views: a delta is to say when that is done.
    ShowAll,
    /// Give the token back behind all that was sent before.
    Flush(u64),
    /// The session is over.
    End,
}

/// What a frame tells.
#[derive(Clone, Debug, Default)]
pub struct FrameBody {
    /// Every message up to this is decided.
    pub applied: Seq,
    /// More of the same set of changes is to come.
    pub more: bool,
    /// Entities that came into view.
    pub entered: Vec<EntityId>,
    /// Entities that left view.
    pub left: Vec<(EntityId, LeaveReason)>,
    /// Components that are no longer in view, and of which entities.
    pub gone: Vec<(ComponentId, Vec<EntityId>)>,
    /// Positions, one group per space.
    pub positions: Vec<PositionRows>,
    /// Other components, one group per component.
    pub columns: Vec<ValueRows>,
    /// More of both that other sessions are told too.
    pub shared: Vec<Arc<SharedRows>>,
    /// Squares that have other numbers of entities than was told; a later row holds against an earlier one.
    pub densities: Vec<DensityColumn>,
    /// What happened to entities in view, those in `left` included: that was before they left. In order.
    pub events: Vec<Event>,
    /// How many more events there were.
    pub missed: Missed,
    /// Views that are filled now, and how many entities they match.
    pub view_ready: Vec<(ViewId, u64)>,
    /// Refused rows.
    pub outcome: Outcome,
    /// How many deltas it is made of.
    pub deltas: usize,
    /// Entities that another partition may have told of just before.
    moved: Vec<EntityId>,
    /// What the worker hears once it has it.
    then: Vec<After>,
}

/// One worker's or viewer's side of the world, as a state machine.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    limits: Limits,
    /// Its own, and those that entities give.
    views: IndexMap<ViewId, ViewState, FxBuildHasher>,
    interests: Interests,
    version: u64,
    partitions: Vec<PartitionState>,
    held: IndexMap<EntityId, HeldEntity, FxBuildHasher>,
    tombstones: Tombstones,
    overlaps: Overlaps,
    flush: Flush,
    anchors: Anchors,
    authority: Authority,
    territory: Territory,
    progress: Progress,
    outcome: Outcome,
    /// Frames that wait to be taken, and who is to be told when they are.
    frames: VecDeque<(PartitionId, FrameBody)>,
    /// What the worker hears once it has the last frame that was taken; `None`: it has.
    sending: Option<Vec<After>>,
    told_applied: Seq,
    /// Views that are filled, of which the client is told once it is told that the message is applied that asked for them: it
    /// cannot know before that it is not their old selves that are filled.
    filled_early: Vec<(ViewId, u64)>,
    outbox: Vec<(PartitionId, ToPartition)>,
}

#[derive(Debug)]
struct ViewState {
    /// As it was asked for.
    asked: View,
    /// As partitions are told: where it follows an entity, that is a place.
    view: Arc<View>,
    /// The partitions that have not filled it.
    awaited: Vec<PartitionId>,
    count: u64,
    /// If it is one of densities; none that an entity gives is.
    sums: Option<Sums>,
    /// The message that asked for it.
    asked_by: Seq,
}

impl ViewState {
    fn new(asked: View, around: &Surroundings<'_>, awaited: impl Iterator<Item = PartitionId>) -> Self {
        let view = Arc::new(asked.resolved(around));
        Self { asked, view, awaited: awaited.collect(), count: 0, sums: None, asked_by: Seq(0) }
    }
}

/// What views follow.
struct Surroundings<'a>(&'a Anchors, &'a Territory);

impl Followed for Surroundings<'_> {
    fn position(&self, entity: EntityId) -> Option<Position> {
        self.0.position(entity)
    }

    fn regions(&self, layer: LayerId) -> impl Iterator<Item = &Realm> {
        self.1.of(layer)
    }
}

#[derive(Debug, Default)]
struct PartitionState {
    /// It has filled the session's views of this version.
    filled: u64,
    /// After a restart: what it has shown again so far.
    keyframe: Option<FxHashSet<EntityId>>,
    /// Up to this counter it may still tell of entities that others have shown since.
    overtaken: Overtaken,
}

#[derive(Debug)]
struct HeldEntity {
    partition: PartitionId,
    /// The counter with which that partition first told of it.
    clock: Revision,
    components: Arc<[ComponentId]>,
}

#[derive(Debug, Default)]
struct Flush {
    token: u64,
    awaited: Vec<PartitionId>,
}

impl Session {
    /// A session without views over that many partitions.
    pub fn new(id: SessionId, partitions: u16, limits: Limits) -> Self {
        Self {
            id,
            limits,
            views: IndexMap::default(),
            interests: Interests::default(),
            version: 0,
            partitions: (0..partitions).map(|_| PartitionState::default()).collect(),
            held: IndexMap::default(),
            tombstones: Tombstones::new(usize::from(partitions)),
            overlaps: Overlaps::default(),
            flush: Flush::default(),
            anchors: Anchors::default(),
            authority: Authority::new(usize::from(partitions)),
            territory: Territory::default(),
            progress: Progress::default(),
            outcome: Outcome::default(),
            frames: VecDeque::new(),
            sending: None,
            told_applied: Seq(0),
            filled_early: Vec::new(),
            outbox: Vec::new(),
        }
    }

    /// Other thresholds than usual: so that a small world takes every way.
    pub fn tune(&mut self, tuning: &Tuning) {
        self.tombstones.tune(tuning);
        self.authority.lost().tune(tuning);
    }

    /// Whose session it is.
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// How many views it has, those that entities give included.
    pub fn view_count(&self) -> usize {
        self.views.len()
    }

    /// How many entities are in view.
    pub fn entities_in_view(&self) -> usize {
        self.held.len()
    }

    /// How many rows of the session's messages are not decided.
    pub const fn rows_in_flight(&self) -> u64 {
        self.progress.rows()
    }

    /// How many of the session's messages are not decided.
    pub fn messages_in_flight(&self) -> usize {
        self.progress.messages()
    }

    /// Every message up to this is decided.
    pub const fn applied(&self) -> Seq {
        self.progress.applied()
    }

    /// A message was received, of which that many rows are on their way to partitions.
    pub fn received(&mut self, seq: Seq, rows: u32) {
        self.progress.received(seq, rows);
    }

    /// A part of a message was refused before it went to a partition.
    pub fn refused(&mut self, outcome: Outcome) {
        let max = self.limits.rejections_per_frame_max;
        outcome.decided.iter().for_each(|&(seq, rows)| self.progress.decided(seq, rows));
        self.outcome.merge(Outcome { decided: Vec::new(), ..outcome }, max);
    }

    /// Starts a view.
    ///
    /// # Errors
    /// `VIEW_EXISTS`, `LIMIT_REACHED` naming `session_views_max` or the like, or `QUERY_INVALID`; nothing changes then.
    pub fn subscribe(&mut self, view: View) -> Result<(), Error> {
        if !view.id.is_valid() {
            let detail = format!("view {}: ids of views are above 0 and below 2^53", view.id);
            return Err(Error::new(Reason::QueryInvalid, detail));
        }
        if self.views.contains_key(&view.id) {
            return Err(Error::new(Reason::ViewExists, format!("view {} exists: change or end it", view.id)));
        }
        self.put_view(view)
    }

    /// Replaces a view.
    ///
    /// # Errors
    /// `VIEW_NOT_FOUND` or `QUERY_INVALID`; the old view stays then.
    pub fn change_view(&mut self, view: View) -> Result<(), Error> {
        let before = self.views.get(&view.id).filter(|before| !is_given(before.asked.id));
        let Some(before) = before else {
            return Err(Error::new(Reason::ViewNotFound, format!("there is no view {}", view.id)));
        };
        if before.sums.is_some() != view.densities.is_some() {
            let detail = format!("view {} cannot change between entities and densities: end it", view.id);
            return Err(Error::new(Reason::QueryInvalid, detail));
        }
        self.put_view(view)
    }

    /// Ends a view.
    ///
    /// # Errors
    /// `VIEW_NOT_FOUND`.
    pub fn end_view(&mut self, id: ViewId) -> Result<(), Error> {
        if is_given(id) || self.views.shift_remove(&id).is_none() {
            return Err(Error::new(Reason::ViewNotFound, format!("there is no view {id}")));
        }
        self.fit_interests();
        self.send_views();
        Ok(())
    }

    /// The session is over: every partition is told.
    pub fn end(&mut self) {
        self.outbox.extend(self.all().map(|p| (p, ToPartition::End)));
    }

    /// Takes a message of a partition. Returns whether it made a frame.
    pub fn receive(&mut self, from: PartitionId, message: ToSession) -> bool {
        let before = self.frames.len();
        if message.restarted.is_some() {
            self.restarted(from);
        }
        // Before the delta: with that the session may learn that nothing older is on its way.
        let shown = message.authority.and_then(|delta| self.hear_authority(from, *delta));
        if let Some(delta) = message.delta {
            let (clock, shows_all) = (delta.clock, delta.shows_all);
            let body = self.merge(from, *delta);
            if body.is_empty() {
                self.outbox.push((from, ToPartition::Ready));
            } else {
                self.frames.push_back((from, body));
            }
            if shows_all {
                self.shown_up_to(from, clock);
            }
        }
        shown.into_iter().for_each(|clock| self.shown_up_to(from, clock));
        self.note_filled();
        // Last: what was buried above is older than the token.
        self.start_flush();
        self.refused(message.outcome);
        self.frames.len() > before
    }

    /// The next frame, if there is anything to tell. Its partition may go on with the next one.
    pub fn take_frame(&mut self) -> Option<FrameBody> {
        let applied = self.progress.applied();
        let mut body = match self.frames.pop_front() {
            Some((from, mut body)) => {
                let mut told_by = vec![from];
                while let Some((from, next)) =
                    self.frames.pop_front_if(|(from, next)| !told_by.contains(from) && body.takes(next))
                {
                    told_by.push(from);
                    body.append(next);
                }
                self.outbox.extend(told_by.into_iter().map(|from| (from, ToPartition::Ready)));
                body
            }
            None if self.has_bare_news() => FrameBody::default(),
            None => return None,
        };
        // Effects of what is decided may be in frames that still wait.
        if self.frames.is_empty() {
            self.told_applied = applied;
            body.outcome = std::mem::take(&mut self.outcome);
        }
        body.applied = self.told_applied;
        self.hold_back_filled(&mut body);
        self.sending.get_or_insert_default().append(&mut body.then);
        Some(body)
    }

    /// Views that are filled are told as such when the message that asked for them is told to be applied.
    fn hold_back_filled(&mut self, body: &mut FrameBody) {
        if body.view_ready.is_empty() && self.filled_early.is_empty() {
            return;
        }
        // Of the same view a later fill counts.
        self.filled_early.retain(|(view, _)| body.view_ready.iter().all(|(other, _)| other != view));
        let views = &self.views;
        // What squares count is as of the frame that says so; these were held back until no frame waits.
        for (view, count) in &mut self.filled_early {
            let sums = views.get(view).and_then(|state| state.sums.as_ref());
            *count = sums.map_or(*count, Sums::sum);
        }
        self.filled_early.append(&mut body.view_ready);
        let is_asked = |view: &ViewId| views.get(view).is_some_and(|state| state.awaited.is_empty());
        self.filled_early.retain(|(view, _)| is_asked(view));
        let may_be_told = |view: &ViewId| views.get(view).is_some_and(|state| state.asked_by <= body.applied);
        body.view_ready = self.filled_early.extract_if(.., |(view, _)| may_be_told(view)).collect();
    }

    /// Whether [`Session::take_frame`] has something to give.
    pub fn has_frame(&self) -> bool {
        !self.frames.is_empty() || self.has_bare_news()
    }

    /// Whether a frame without changes has something to say.
    fn has_bare_news(&self) -> bool {
        self.progress.applied() > self.told_applied || !self.outcome.is_empty()
    }

    /// Takes what is to be sent to partitions.
    pub fn drain_outbox(&mut self) -> std::vec::Drain<'_, (PartitionId, ToPartition)> {
        self.outbox.drain(..)
    }

    fn all(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.partitions.len() as u16).map(PartitionId)
    }

    fn put_view(&mut self, mut view: View) -> Result<(), Error> {
        view.check(&self.limits)?;
        // Those that entities give go without, if they no longer fit.
        let others = self.views.values().map(|v| &v.asked).filter(|v| v.id != view.id && !is_given(v.id));
        Load::of(others.chain([&view])).check(&self.limits)?;
        view.version = self.version + 1;
        let sums = self.sums_of(&view);
        let around = Surroundings(&self.anchors, &self.territory);
        let asked_by = self.progress.next();
        let state = ViewState { sums, asked_by, ..ViewState::new(view, &around, self.all()) };
        self.views.insert(state.asked.id, state);
        self.fit_interests();
        self.send_views();
        Ok(())
    }

    /// What was told of the view, as far as it goes on: other squares of the same size do.
    fn sums_of(&mut self, view: &View) -> Option<Sums> {
        let densities = view.densities.as_ref()?;
        let before =
            self.views.get_mut(&view.id).and_then(|s| Some((s.sums.take()?, s.view.densities.clone()?)));
        Some(match before {
            Some((sums, before)) if before.counts_like(densities) => sums,
            Some((mut sums, _)) => {
                sums.start_over(densities);
                sums
            }
            None => Sums::new(view.id, densities, self.partitions.len()),
        })
    }

    fn send_views(&mut self) {
        self.version += 1;
        self.anchors.follow(self.views.values().map(|state| &state.asked));
        let to_all = self.all().map(|p| (p, ToPartition::SetViews(self.version, self.view_set())));
        self.outbox.extend(to_all.collect::<Vec<_>>());
    }

    fn view_set(&self) -> ViewSet {
        let views = self.views.values().map(|v| v.view.clone()).collect();
        ViewSet { views, followed: self.anchors.followed(), followed_epoch: self.anchors.epoch() }
    }

    /// Views that follow an entity, or the session's regions, have to look somewhere else now.
    fn follow(&mut self) {
        let all: Vec<PartitionId> = self.all().collect();
        let mut has_changed = false;
        let around = Surroundings(&self.anchors, &self.territory);
        for state in self.views.values_mut() {
            let mut resolved = state.asked.resolved(&around);
            resolved.version = state.view.version;
            if resolved != *state.view {
                resolved.version = self.version + 1;
                state.view = Arc::new(resolved);
                has_changed = true;
                // Its first fill is not over: then only the new place counts.
                if !state.awaited.is_empty() {
                    (state.awaited, state.count) = (all.clone(), 0);
                }
            }
        }
        if has_changed {
            self.send_views();
        }
    }

    fn restarted(&mut self, from: PartitionId) {
        self.tombstones.restarted(from);
        self.authority.lost().restarted(from);
        let partition = &mut self.partitions[usize::from(from.0)];
        (partition.keyframe, partition.filled) = (Some(FxHashSet::default()), 0);
        let epoch = self.anchors.epoch();
        self.anchors.lose();
        self.follow();
        if self.anchors.epoch() == epoch {
            self.outbox.push((from, ToPartition::SetViews(self.version, self.view_set())));
        } else {
            self.send_views();
        }
        if self.flush.awaited.contains(&from) {
            self.outbox.push((from, ToPartition::Flush(self.flush.token)));
        }
    }
}

impl FrameBody {
    /// Whether a later one, of another partition, may go with it: no entity is in both.
    fn takes(&self, next: &Self) -> bool {
        let goes_on = self.more || next.more || !next.view_ready.is_empty();
        // How many a view of densities counts is what was told up to the frame that says so.
        let is_counted = !next.densities.is_empty() && !self.view_ready.is_empty();
        !goes_on && !is_counted && !self.brings_back(next) && !self.tells_of(&next.moved)
    }

    /// The entities of each column.
    fn rows(&self) -> impl Iterator<Item = &[EntityId]> {
        let positions = self.positions.iter().map(|rows| &*rows.entities);
        let columns = self.columns.iter().map(|rows| &*rows.entities);
        positions.chain(columns).chain(self.shared.iter().map(|shared| shared.rows().entities()))
    }

    /// Whether it says anything of one of these.
    fn tells_of(&self, entities: &[EntityId]) -> bool {
        let is_one = |entity: &EntityId| entities.contains(entity);
        let gone = self.gone.iter().map(|(_, entities)| &**entities);
        let left = || self.left.iter().any(|(entity, _)| is_one(entity));
        let events = || self.events.iter().any(|event| is_one(&event.entity));
        !entities.is_empty()
            && (self.rows().chain(gone).chain([&*self.entered]).any(|list| list.iter().any(is_one))
                || left()
                || events())
    }

    /// Whether an entity that leaves in it enters in the next one.
    fn brings_back(&self, next: &Self) -> bool {
        if self.left.is_empty() || next.entered.is_empty() {
            return false;
        }
        let left: FxHashSet<EntityId> = self.left.iter().map(|&(entity, _)| entity).collect();
        next.entered.iter().any(|entity| left.contains(entity))
    }

    fn append(&mut self, next: Self) {
        self.entered.extend(next.entered);
        self.left.extend(next.left);
        self.gone.extend(next.gone);
        self.positions.extend(next.positions);
        self.columns.extend(next.columns);
        self.shared.extend(next.shared);
        sums::append(&mut self.densities, next.densities);
        self.events.extend(next.events);
        self.missed.merge(next.missed);
        self.deltas += next.deltas;
        self.then.extend(next.then);
    }

    /// Whether it shows no change.
    pub fn is_empty(&self) -> bool {
        self.entered.is_empty()
            && self.left.is_empty()
            && self.gone.is_empty()
            && self.positions.is_empty()
            && self.columns.is_empty()
            && self.shared.is_empty()
            && self.densities.is_empty()
            && self.events.is_empty()
            && self.missed.is_empty()
            && self.view_ready.is_empty()
    }
}
