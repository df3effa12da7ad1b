//! What a worker hears from its session.
//!
//! Responsible for: the event types.
//! Not responsible for: their order and bounds (`inbox.rs`).

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use spatialdb_types::{ComponentId, EntityId, SpaceId, ViewId};

use crate::{Answer, AskError, Changes, EventMessage, Layer, LossReason, ReadError, Region, v1};

/// One message of this worker, across reconnects. Returned when sending, named in answers and rejections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What happened. Answers and rejections come before the changes of the frames they arrived with.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The replica changed. Frames that belong together come as one event.
    Frame(FrameEvent),
    /// A view has had its first fill: what it matches is in the replica.
    ViewReady {
        /// Which view.
        view: ViewId,
        /// How many entities it matches.
        entity_count: u64,
    },
    /// The server refused a row, or a whole message. The session goes on.
    Rejected(Rejected),
    /// More rows were refused than are named one by one.
    RejectionsCollapsed {
        /// A reason of `docs/errors.md`.
        reason: String,
        /// How many more.
        count: u64,
    },
    /// Entities were created.
    Created {
        /// The ticket of the create.
        ticket: Ticket,
        /// The request id of the create; may be empty.
        request_id: String,
        /// One id a row, in order; `None` for a row that was refused.
        entities: Vec<Option<EntityId>>,
    },
    /// Ids were reserved for this worker: `first .. first + count`.
    IdsReserved {
        /// The ticket of the request.
        ticket: Ticket,
        /// The first id of the block.
        first: EntityId,
        /// How many ids.
        count: u32,
    },
    /// What became of a question. Not told if [`Worker::answer`](crate::Worker::answer) has taken it.
    Answered {
        /// The ticket of the question.
        ticket: Ticket,
        /// The answer, or why there is none.
        answer: Result<Answer, AskError>,
    },
    /// The settings of this worker type are these now; [`Worker::welcomed`](crate::Worker::welcomed) has them too.
    FlagsChanged(BTreeMap<String, String>),
    /// The schema has more components or fields now.
    SchemaChanged {
        /// SHA-256 of the schema, hexadecimal.
        schema_digest: String,
    },
    /// This worker owns a region now.
    RegionGained(Region),
    /// A region of this worker has another shape, or other neighbours.
    RegionChanged(Region),
    /// This worker does not own the region any more; what it lost with it was told before.
    RegionLost {
        /// As it was last.
        region: Region,
        /// Why.
        reason: LossReason,
    },
    /// Entities that this worker writes from now on: they came to a region of its own, or their region came to it.
    Gained {
        /// The name of the layer.
        layer: String,
        /// Which entities.
        entities: Vec<EntityId>,
    },
    /// Entities that this worker does not write any more.
    Lost {
        /// The name of the layer.
        layer: String,
        /// Which entities.
        entities: Vec<EntityId>,
    },
    /// Another worker is about to get the region: write what is not in the world yet. The worker has let go of the region
    /// when it asks for the next event, and does not own it any longer, unless [`Event::Kept`] comes.
    LossImminent {
        /// Which region.
        region: Region,
        /// World time at which the region is taken at last, in microseconds.
        until_us: i64,
    },
    /// This worker keeps a region that it was about to lose.
    Kept(Region),
    /// This worker gets nothing more, and what it has goes to others.
    Draining,
    /// This worker was draining and owns nothing any more: it can say goodbye.
    Drained,
    /// The replica is empty now, and nothing is owned. Its views fill it again, each ended by [`Event::ViewReady`].
    Reset,
    /// The server ends the session politely.
    Goodbye {
        /// A reason of `docs/errors.md`; empty for a plain end.
        reason: String,
        /// For people.
        detail: String,
        /// The server asks not to come back before.
        retry_after: Duration,
    },
    /// The connection is gone; `next_event` brings it back. The replica stays readable, and gets stale. Nothing is owned.
    Disconnected {
        /// Why.
        error: String,
        /// Messages that may or may not have been applied. The worker decides whether to say them again.
        /// Creates and id requests are not among them: they are repeated by the session itself.
        lost: Vec<Ticket>,
        /// When the next attempt is due.
        retry_in: Duration,
    },
    /// A new session has started; views are subscribed again and unanswered creates are repeated.
    Reconnected(Welcomed),
}

impl Event {
    /// Whether it tells of what this session may write.
    pub(crate) fn is_of_authority(&self) -> bool {
        matches!(
            self,
            Self::RegionGained(_)
                | Self::RegionChanged(_)
                | Self::RegionLost { .. }
                | Self::Gained { .. }
                | Self::Lost { .. }
                | Self::LossImminent { .. }
                | Self::Kept(_)
                | Self::Draining
                | Self::Drained
        )
    }
}

/// What changed in the replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameEvent {
    /// The number of the last frame in this event.
    pub frame: u64,
    /// World time since its start, in microseconds.
    pub world_time_us: i64,
    /// Unix time, in microseconds.
    pub unix_time_us: i64,
    /// Which entities and components changed.
    pub changes: Changes,
    /// What happened to entities, in order and after `changes`; but an event of an entity that has left happened before
    /// it left.
    pub events: Vec<EntityEvent>,
    /// Events that were not told one by one, because nobody read them in time.
    pub events_missed: Vec<EventsMissed>,
}

/// An event of an entity, as somebody has sent it with [`Batch::emit`](crate::Batch::emit).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityEvent {
    /// To whom it happened.
    pub entity: EntityId,
    /// The component that the event belongs to.
    pub component: ComponentId,
    /// The id of the event in its component.
    pub event: u32,
    /// The encoded message.
    pub payload: Bytes,
}

impl EntityEvent {
    /// The event as an `E`; `None` if it is another one.
    ///
    /// # Errors
    /// When the payload does not decode as `E`.
    pub fn get<E: EventMessage>(&self) -> Result<Option<E>, ReadError> {
        if (self.component, self.event) != (E::COMPONENT, E::ID) {
            return Ok(None);
        }
        let read_error = |source| ReadError { entity: self.entity, component: E::NAME, source };
        E::decode(self.payload.clone()).map(Some).map_err(read_error)
    }
}

/// How many events of a kind were not told one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventsMissed {
    /// The component that the events belong to.
    pub component: ComponentId,
    /// The id of the event in its component.
    pub event: u32,
    /// How many.
    pub count: u64,
}

/// One row or message that the server refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The message, when it is still known.
    pub ticket: Option<Ticket>,
    /// The index of the column in its message: positions first, then columns.
    pub column: u32,
    /// The index of the row in its column.
    pub row: u32,
    /// What to do about it.
    pub code: v1::ErrorCode,
    /// A reason of `docs/errors.md`.
    pub reason: String,
    /// The entity, if one is meant.
    pub entity: Option<EntityId>,
    /// The component, if one is meant.
    pub component: Option<ComponentId>,
    /// For people.
    pub detail: String,
}

/// What the server said when it took the worker in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Welcomed {
    /// Which world.
    pub world_id: String,
    /// Rises each time the world is started.
    pub incarnation: u64,
    /// This session.
    pub session_id: u64,
    /// The worker's name: what it asked for, or what the server gave.
    pub name: String,
    /// SHA-256 of the schema, hexadecimal.
    pub schema_digest: String,
    /// Component ids by full name.
    pub components: BTreeMap<String, ComponentId>,
    /// Space ids by name.
    pub spaces: BTreeMap<String, SpaceId>,
    /// The limits of the server by name, in the unit the name ends with.
    pub limits: BTreeMap<String, u64>,
    /// Settings for this worker type.
    pub flags: BTreeMap<String, String>,
    /// Every layer of the world; none: the world is open, any worker may write anything.
    pub layers: Vec<Layer>,
}

impl From<v1::Welcome> for Welcomed {
    fn from(welcome: v1::Welcome) -> Self {
        Self {
            world_id: welcome.world_id,
            incarnation: welcome.incarnation,
            session_id: welcome.session_id,
            name: welcome.name,
            schema_digest: welcome.schema_digest,
            components: components_of(welcome.components),
            spaces: welcome.spaces.into_iter().map(|s| (s.name, SpaceId(s.id))).collect(),
            limits: welcome.limits.into_iter().collect(),
            flags: welcome.flags.into_iter().collect(),
            layers: welcome.layers.into_iter().map(Layer::from).collect(),
        }
    }
}

/// Component ids by full name.
pub(crate) fn components_of(wire: Vec<v1::ComponentInfo>) -> BTreeMap<String, ComponentId> {
    wire.into_iter().map(|component| (component.name, ComponentId(component.id))).collect()
}
