//! Events that were written since the last publish.
//!
//! They are put in the queues of those who hold the entity, and kept until the publish for those who come to hold it
//! with it.

use spatialdb_types::{EntityId, Limits};

use super::{Partition, RowId};
use crate::events::Event;

/// An event, and the row that it happened to.
#[derive(Clone, Debug)]
pub(crate) struct RowEvent {
    pub(crate) row: RowId,
    pub(crate) event: Event,
}

/// What was written since the last publish, in order.
#[derive(Debug, Default)]
pub(super) struct Pending {
    list: Vec<RowEvent>,
    bytes: usize,
    /// So many from the start on have been put in queues.
    queued: usize,
}

impl Pending {
    pub(super) fn all(&self) -> &[RowEvent] {
        &self.list
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether no more should be taken before the next publish.
    pub(super) fn is_full(&self, limits: &Limits) -> bool {
        self.list.len() as u64 >= limits.session_events_max
            || self.bytes as u64 >= limits.session_event_bytes_max
    }

    /// What happened to an entity that is no longer here is of interest to nobody but those whose queues it is in.
    fn forget(&mut self, entity: EntityId) {
        let bytes = &mut self.bytes;
        self.list.retain(|row| {
            let is_other = row.event.entity != entity;
            *bytes -= if is_other { 0 } else { row.event.bytes() };
            is_other
        });
        self.queued = self.list.len();
    }
}

impl Partition {
    /// Whether it is to publish now, whatever it was told of pacing: as many events wait as a session may be told at once.
    pub fn must_publish(&self) -> bool {
        self.events.is_full(&self.limits)
    }

    /// Something happened to an entity. Nobody hears of it if nobody looks.
    pub(super) fn note_event(&mut self, row: RowId, event: Event) {
        if !self.subscribers.is_empty() {
            self.events.bytes += event.bytes();
            self.events.list.push(RowEvent { row, event });
        }
    }

    /// Puts what was written in the queues of those who hold the entities: before any of them may cease to.
    pub(super) fn queue_events(&mut self) {
        let fresh = &self.events.list[self.events.queued..];
        if fresh.is_empty() {
            return;
        }
        for subscriber in self.subscribers.values_mut() {
            subscriber.hear(fresh, &self.limits);
        }
        self.events.queued = self.events.list.len();
    }

    /// The same, of an entity that leaves this partition.
    pub(super) fn queue_last_events(&mut self, entity: EntityId) {
        if !self.events.list.is_empty() {
            self.queue_events();
            self.events.forget(entity);
        }
    }
}
