//! Events: messages about an entity that are told once, and not stored.
//!
//! Responsible for: what an event is on its way in and on its way out, and counting those that were missed.
//! Not responsible for: who is told (`interest/events`), or in which order over a move (`session/events`).

use std::collections::BTreeMap;
use std::sync::Arc;

use spatialdb_types::{ComponentId, EntityId, EventId, Revision, SessionId};

use crate::columns::{push_value, value_at};

/// What an event takes beside its payload, for limits in bytes.
const EVENT_BYTES: usize = 64;

/// Which event of which component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKind {
    /// The component that the entity must have.
    pub component: ComponentId,
    /// The event, among those of the component.
    pub event: EventId,
}

/// Events of one kind to tell.
///
/// # Shape
/// `rows`, `entities`, `ends` are parallel; payload `i` is `bytes[ends[i-1]..ends[i]]`.
#[derive(Clone, Debug)]
pub struct EventWrites {
    /// The index of the column in the client's message.
    pub column: u32,
    /// Of which kind.
    pub kind: EventKind,
    /// Row numbers in the client's column.
    pub rows: Vec<u32>,
    /// Which entities.
    pub entities: Vec<EntityId>,
    /// Where each payload ends in `bytes`.
    pub ends: Vec<u32>,
    /// The payloads, one after the other.
    pub bytes: Vec<u8>,
}

/// Something that happened to an entity, on its way to those who have it in view.
#[derive(Clone, Debug)]
pub struct Event {
    /// To which entity.
    pub entity: EntityId,
    /// What.
    pub kind: EventKind,
    /// Who says so.
    pub writer: SessionId,
    /// Rises with each event of the entity, across moves too.
    pub revision: Revision,
    /// The payload, the same for all who are told.
    pub payload: Arc<[u8]>,
}

/// How many events of which kind were not told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missed(BTreeMap<EventKind, u64>);

impl EventWrites {
    /// A column without rows.
    pub const fn new(column: u32, kind: EventKind) -> Self {
        Self { column, kind, rows: Vec::new(), entities: Vec::new(), ends: Vec::new(), bytes: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: u32, entity: EntityId, payload: &[u8]) {
        self.rows.push(row);
        self.entities.push(entity);
        push_value(&mut self.ends, &mut self.bytes, payload);
    }

    /// The payload of row `i`.
    pub fn payload(&self, i: usize) -> &[u8] {
        value_at(&self.ends, &self.bytes, i)
    }
}

impl Event {
    /// What it counts for in limits of bytes.
    pub(crate) fn bytes(&self) -> usize {
        EVENT_BYTES + self.payload.len()
    }
}

impl Missed {
    /// Counts one more.
    pub(crate) fn note(&mut self, kind: EventKind) {
        *self.0.entry(kind).or_default() += 1;
    }

    /// Counts what another one has counted.
    pub(crate) fn merge(&mut self, other: Self) {
        for (kind, count) in other.0 {
            *self.0.entry(kind).or_default() += count;
        }
    }

    /// Whether none was missed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many of each kind, by rising kind.
    pub fn counts(&self) -> impl Iterator<Item = (EventKind, u64)> + '_ {
        self.0.iter().map(|(&kind, &count)| (kind, count))
    }
}
