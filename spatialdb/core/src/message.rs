//! What the machines say to each other.
//!
//! Messages are first-in first-out per pair of machines; nothing is assumed about order between pairs.

use std::sync::Arc;

use spatialdb_types::{
    ComponentId, EntityId, Epoch, Error, Incarnation, LayerId, PartitionId, Position, Reason, RegionId,
    Revision, Seq, SessionId, ViewId,
};

use crate::authority::leases::{Answer, Carried, Hold};
use crate::columns::{Batch, PositionRows, ValueRows};
use crate::events::{Event, Missed};
use crate::interest::{SharedRows, Values};
use crate::interest_book::InterestChange;
use crate::partition::{Query, QueryAnswer};

/// From one partition to another.
#[derive(Clone, Debug)]
pub struct PeerMessage {
    /// The sender's revision counter: the receiver's rises above it, so that revisions rise across moves.
    pub clock: Revision,
    /// The round that the sender has begun: the receiver begins it before it takes what this says. See [`crate::Partition::begin_round`].
    pub round: u64,
    /// The capture that the sender has begun, likewise. See [`crate::Partition::begin_capture`].
    pub capture: u64,
    /// What it says.
    pub body: PeerBody,
}

/// The four steps of a move, and of a query what a peer must know.
#[derive(Clone, Debug)]
pub enum PeerBody {
    /// These entities are yours now. Writes that still reach the sender are forwarded in order.
    Move(Vec<MovedEntity>),
    /// Writes for entities that have moved to you.
    Forward(Batch),
    /// The moves of these entities have arrived.
    Moved(Vec<EntityId>),
    /// No more writes for these entities will be forwarded: apply your own from now on.
    Settled(Vec<EntityId>),
    /// The sender has answered these queries for what it holds now; what it sent you before is yours to answer for.
    Cut(u64, Arc<[Query]>),
    /// Of entities that follow others.
    Follows(FollowWords),
    /// The sender has walked all its rows for that round.
    Walked(u64),
    /// The sender has begun that capture: entities that it sent before are part of it.
    Capturing(u64),
}

/// What one partition says to another of leaders and followers.
#[derive(Clone, Debug, Default)]
pub struct FollowWords {
    /// The sender has followers of that leader, or no longer. Whoever has the leader says so from then on.
    pub asks: Vec<(EntityId, bool)>,
    /// Leaders at the sender belong there.
    pub leads: Vec<Lead>,
    /// Who asked for these leaders was told before what is known here.
    pub answered: Vec<EntityId>,
}

/// Where a leader belongs.
#[derive(Clone, Debug)]
pub struct Lead {
    /// Which entity.
    pub leader: EntityId,
    /// Its regions, by rising layer; none if it was deleted, or follows another one.
    pub regions: Arc<[(LayerId, RegionId)]>,
}

/// An entity on its way between partitions, with all it has.
#[derive(Clone, Debug)]
pub struct MovedEntity {
    /// Which entity.
    pub entity: EntityId,
    /// Its position, the position's revision, and who wrote it last.
    pub position: Option<(Position, Revision, SessionId)>,
    /// Its other components, by rising id.
    pub values: Vec<MovedValue>,
    /// The sessions that hold it in view: the receiver owes each exactly one answer.
    pub holders: Vec<Holder>,
    /// Which regions it belongs to, and whatever else is to be known of who may write it.
    pub authority: Carried,
}

/// A session that holds a moving entity in view.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Which session.
    pub session: SessionId,
    /// Events of the entity that it has not been told.
    pub events: Vec<Event>,
    /// It may not have received yet what it was told of earlier events.
    pub overlaps: bool,
}

impl MovedEntity {
    /// The components that it has, by rising id.
    pub(crate) fn components(&self) -> Vec<ComponentId> {
        let position = self.position.map(|_| ComponentId::POSITION);
        position.into_iter().chain(self.values.iter().map(|v| v.component)).collect()
    }
}

impl Values for MovedEntity {
    fn value(&self, component: ComponentId) -> Option<&[u8]> {
        self.values.iter().find(|v| v.component == component).map(|v| &*v.value)
    }
}

/// A component of an entity on its way between partitions.
#[derive(Clone, Debug)]
pub struct MovedValue {
    /// Which component.
    pub component: ComponentId,
    /// Its revision.
    pub revision: Revision,
    /// Who wrote it last.
    pub writer: SessionId,
    /// The whole value.
    pub value: Box<[u8]>,
}

/// From a partition to a session.
#[derive(Clone, Debug, Default)]
pub struct ToSession {
    /// Changes to what the session sees.
    pub delta: Option<Box<Delta>>,
    /// What became of the session's own writes.
    pub outcome: Outcome,
    /// Changes to what the session may write.
    pub authority: Option<Box<AuthorityDelta>>,
    /// The partition was restarted and knows the session's views no longer: send them again.
    pub restarted: Option<Incarnation>,
}

/// Which entities belong to regions of a session, as far as a partition knows and that has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorityDelta {
    /// The partition's revision counter: all that was gained up to it is told.
    pub clock: Revision,
    /// What the partition told before counts no longer, unless it is told again here.
    pub begins_anew: bool,
    /// The session need not wait for what it gained: it has been shown, with the delta beside it, what others wrote.
    /// Else a delta is to come that shows all.
    pub is_shown: bool,
    /// In order.
    pub changes: Vec<EntityAuthority>,
    /// Components of the session's entities that tools hold, or let go of; in order.
    pub holds: Vec<HoldWord>,
}

/// A tool has taken hold of a component, or has let go of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldWord {
    /// Of which entity.
    pub entity: EntityId,
    /// Which component.
    pub component: ComponentId,
    /// By whom, at which epoch.
    pub hold: Hold,
    /// It is over.
    pub is_over: bool,
}

/// An entity has come to a region of the session, or has left one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityAuthority {
    /// Which entity.
    pub entity: EntityId,
    /// In which layer.
    pub layer: LayerId,
    /// The region that it belongs to, or did; 0 where that is not known any more.
    pub region: RegionId,
    /// The grant under which the session owns the region, or did; 0 likewise.
    pub epoch: Epoch,
    /// What became of it.
    pub word: Word,
    /// The partition's revision counter when that came about: orders what different partitions say of one entity.
    pub clock: Revision,
}

impl EntityAuthority {
    /// Whether the worker that hears it has the entity.
    pub const fn is_gain(&self) -> bool {
        self.word.is_gain()
    }
}

/// What there is to say to a session of an entity of one of its regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// It has it no longer.
    Lost,
    /// It has it; somebody else may have had it before.
    Gained,
    /// It has it, and had it before. That it was told so counts.
    Kept,
    /// It has it, and had it before, perhaps in another region: who knows that it has it need not hear of it.
    Moved,
    /// It has it; it has gone on to another partition since, which tells of it. Until then it belongs to this region.
    GoneOn,
}

impl Word {
    /// Whether the worker that hears it has the entity.
    pub const fn is_gain(self) -> bool {
        matches!(self, Self::Gained | Self::Kept | Self::Moved)
    }
}

/// What became of a session's writes.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How many rows of which messages have been decided.
    pub decided: Vec<(Seq, u32)>,
    /// Which of them were refused, up to `rejections_per_frame_max`.
    pub rejections: Vec<Rejection>,
    /// How many more were refused, by reason.
    pub collapsed: Vec<(Reason, u64)>,
}

/// A refused row.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// The client message.
    pub seq: Seq,
    /// The index of the column in the message.
    pub column: u32,
    /// The index of the row in the column.
    pub row: u32,
    /// Why.
    pub reason: Reason,
    /// Which entity.
    pub entity: EntityId,
    /// Which component; 0 if it is about the entity as such.
    pub component: ComponentId,
    /// The thing and the limit, for people.
    pub detail: String,
}

impl Rejection {
    /// Of a message as a whole.
    pub fn of_message(seq: Seq, error: Error) -> Self {
        let (entity, component) = (EntityId(0), ComponentId(0));
        Self { seq, column: 0, row: 0, reason: error.reason, entity, component, detail: error.detail }
    }
}

/// Why an entity is no longer in view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeaveReason {
    /// No view matches it any longer.
    OutOfView,
    /// It does not exist any longer.
    Deleted,
}

/// An entity and which of its components the session sees, by rising id.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Which entity.
    pub entity: EntityId,
    /// The components that the session's views ask for and the entity has.
    pub components: Arc<[ComponentId]>,
}

/// Changes to what a session sees in one partition.
#[derive(Clone, Debug, Default)]
pub struct Delta {
    /// The partition's revision counter at the time: orders what different partitions say of one entity.
    pub clock: Revision,
    /// Entities that came into view, whole.
    pub entered: Vec<Shape>,
    /// Entities that moved here and stay in view, whole: the answer that is owed to each holder.
    pub arrived: Vec<Shape>,
    /// Those of them of which another partition may have told events that are still on their way.
    pub overlapping: Vec<EntityId>,
    /// Entities in view that have other components than before.
    pub reshaped: Vec<Shape>,
    /// Entities that left view.
    pub left: Vec<(EntityId, LeaveReason)>,
    /// Positions, one group per space.
    pub positions: Vec<PositionRows>,
    /// Other components, one group per component.
    pub columns: Vec<ValueRows>,
    /// Updates that other sessions are told too.
    pub shared: Vec<Arc<SharedRows>>,
    /// How many entities are in squares.
    pub densities: Vec<DensityDelta>,
    /// What happened to entities in view, those that leave it with this delta included; in order.
    pub events: Vec<Event>,
    /// How many more events there were.
    pub missed: Missed,
    /// Where the entities are that views follow; `None`: nowhere.
    pub anchors: Vec<(EntityId, Option<Position>)>,
    /// The session's views are filled up to this.
    pub filled: Option<Filled>,
    /// The answer to a flush.
    pub flushed: Option<u64>,
    /// More of the same is to come.
    pub more: bool,
    /// All that the session's views match is in view as of the counter, at whatever rate they ask for it.
    pub shows_all: bool,
}

/// How many entities of a partition are in squares of a view of densities.
#[derive(Clone, Debug)]
pub struct DensityDelta {
    /// Which view.
    pub view: ViewId,
    /// The version of the session's views that brought it.
    pub version: u64,
    /// What was told before is no longer to be counted on, unless it is told again until `is_filled`.
    pub begins_anew: bool,
    /// The squares, those of one type together.
    pub rows: Vec<DensityRows>,
    /// All is told as of now.
    pub is_filled: bool,
}

/// Squares, and how many there are of a type.
#[derive(Clone, Debug, Default)]
pub struct DensityRows {
    /// The type; empty if the view does not tell them apart.
    pub kind: Arc<str>,
    /// The number of the square, from west to east.
    pub x: Vec<i32>,
    /// From south to north.
    pub y: Vec<i32>,
    /// How many.
    pub counts: Vec<u32>,
}

/// All that the session's views match is in view.
#[derive(Clone, Debug)]
pub struct Filled {
    /// The version of the views.
    pub version: u64,
    /// How many entities each view that is new in this version matches here.
    pub counts: Vec<(ViewId, u64)>,
}

/// A change to where the edge sends writes.
#[derive(Clone, Debug)]
pub enum RouteChange {
    /// Writes for these entities go there from now on.
    Set(Vec<EntityId>, PartitionId),
    /// These entities are gone.
    Clear(Vec<EntityId>),
    /// Give this back once all that was sent here under older routes has been given to the partition.
    Fence(u64),
}

/// What a partition wants sent. The driver empties it.
#[derive(Debug, Default)]
pub struct Outbox {
    /// To other partitions.
    pub peers: Vec<(PartitionId, PeerMessage)>,
    /// To sessions.
    pub sessions: Vec<(SessionId, ToSession)>,
    /// To the edge, in order.
    pub routes: Vec<RouteChange>,
    /// To the edge: answers to queries, by cut.
    pub answers: Vec<(u64, Vec<QueryAnswer>)>,
    /// To the edge, in order: entities that give views. To be heard before `peers` are.
    pub interests: Vec<InterestChange>,
    /// To the issuer, in order.
    pub authority: Vec<Answer>,
}

impl Delta {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.entered.is_empty()
            && self.arrived.is_empty()
            && self.reshaped.is_empty()
            && self.left.is_empty()
            && self.positions.is_empty()
            && self.columns.is_empty()
            && self.shared.is_empty()
            && self.densities.is_empty()
            && self.events.is_empty()
            && self.missed.is_empty()
            && self.anchors.is_empty()
            && self.filled.is_none()
            && self.flushed.is_none()
    }
}

impl DensityRows {
    /// Adds a square.
    pub(crate) fn push(&mut self, x: i32, y: i32, count: u32) {
        self.x.push(x);
        self.y.push(y);
        self.counts.push(count);
    }
}

impl Outcome {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.decided.is_empty() && self.rejections.is_empty() && self.collapsed.is_empty()
    }

    /// Adds a refused row; beyond `named_max` only its reason is counted.
    pub fn reject(&mut self, rejection: Rejection, named_max: u64) {
        if (self.rejections.len() as u64) < named_max {
            self.rejections.push(rejection);
        } else {
            self.collapse(rejection.reason, 1);
        }
    }

    /// Adds another outcome of the same session.
    pub fn merge(&mut self, other: Self, named_max: u64) {
        self.decided.extend(other.decided);
        other.rejections.into_iter().for_each(|rejection| self.reject(rejection, named_max));
        other.collapsed.into_iter().for_each(|(reason, count)| self.collapse(reason, count));
    }

    fn collapse(&mut self, reason: Reason, count: u64) {
        match self.collapsed.iter_mut().find(|(r, _)| *r == reason) {
            Some((_, n)) => *n += count,
            None => self.collapsed.push((reason, count)),
        }
    }
}
