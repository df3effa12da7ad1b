//! Events in order, once, whichever partition tells them.
//!
//! An entity that moves takes along what sessions were not told yet. What they were told may still be on its way when the
//! next partition tells more. That one knows, and says so: the entity *overlaps*. Then the session holds back whatever it
//! hears of its events until a flush has shown that nothing older can be on its way.

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use spatialdb_types::{ComponentId, EntityId, Limits, PartitionId, Revision};

use super::{FrameBody, HeldEntity, Session};
use crate::events::{Event, Missed};

/// The entities that overlap.
#[derive(Debug, Default)]
pub(super) struct Overlaps {
    entities: IndexMap<EntityId, Overlap, FxBuildHasher>,
    /// Of all that is held back.
    count: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Overlap {
    /// The counter with which the first partition of the overlap began to show the entity: what happened before was told
    /// then, or to a view that has ended.
    clock: Revision,
    /// The flush that was last asked for when it began: a later one ends it.
    flush: u64,
    events: Vec<Event>,
}

impl Overlaps {
    pub(super) fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }

    /// The entity overlaps, or does so again.
    fn begin(&mut self, entity: EntityId, clock: Revision, flush: u64) {
        let fresh = || Overlap { clock, flush, events: Vec::new() };
        self.entities.entry(entity).or_insert_with(fresh).flush = flush;
    }

    /// Tells what is held back of an overlap, in order; what happened to a component that is no longer in view is missed.
    fn release(&mut self, mut overlap: Overlap, in_view: &[ComponentId], body: &mut FrameBody) {
        overlap.events.sort_by_key(|event| event.revision);
        for event in overlap.events {
            self.count -= 1;
            self.bytes -= event.bytes() as u64;
            if in_view.binary_search(&event.kind.component).is_ok() {
                body.events.push(event);
            } else {
                body.missed.note(event.kind);
            }
        }
    }

    /// Whether the entity overlaps: then the event is held back, or missed.
    fn take(&mut self, event: &Event, limits: &Limits, missed: &mut Missed) -> bool {
        let Some(overlap) = self.entities.get_mut(&event.entity) else { return false };
        let bytes = self.bytes + event.bytes() as u64;
        if event.revision <= overlap.clock
            || self.count >= limits.session_events_max
            || bytes > limits.session_event_bytes_max
        {
            missed.note(event.kind);
        } else {
            self.bytes = bytes;
            self.count += 1;
            overlap.events.push(event.clone());
        }
        true
    }
}

impl Session {
    /// The partition shows an entity of which another one may have told events that are still on their way. Before it is
    /// shown.
    pub(super) fn overlap(&mut self, from: PartitionId, clock: Revision, entity: EntityId) {
        if !self.is_stale(from, clock, entity)
            && let Some(held) = self.held.get(&entity)
        {
            self.overlaps.begin(entity, held.clock, self.flush.token);
        }
    }

    /// The entity leaves view, and with it what is held back is told.
    pub(super) fn end_overlap(&mut self, entity: EntityId, held: &HeldEntity, body: &mut FrameBody) {
        if let Some(overlap) = self.overlaps.entities.swap_remove(&entity) {
            self.overlaps.release(overlap, &held.components, body);
        }
    }

    /// Every partition has answered the flush of that token.
    pub(super) fn end_overlaps(&mut self, token: u64, body: &mut FrameBody) {
        if self.overlaps.is_empty() {
            return;
        }
        let over = self.overlaps.entities.extract_if(.., |_, overlap| overlap.flush < token);
        for (entity, overlap) in over.collect::<Vec<_>>() {
            let components = self.held.get(&entity).map_or(&[][..], |held| &held.components);
            self.overlaps.release(overlap, components, body);
        }
    }

    /// Whether the entity is in view with the component of the event.
    pub(super) fn sees(&self, event: &Event) -> bool {
        let held = self.held.get(&event.entity);
        held.is_some_and(|held| held.components.binary_search(&event.kind.component).is_ok())
    }

    /// Tells an event. `was_seen`: its entity was in view with its component before this delta.
    pub(super) fn tell(&mut self, from: PartitionId, event: Event, was_seen: bool, body: &mut FrameBody) {
        let Some(held) = self.held.get(&event.entity) else {
            if was_seen {
                // It has left with this delta.
                body.events.push(event);
            } else {
                // Another partition has told of the leave before.
                body.missed.note(event.kind);
            }
            return;
        };
        if !was_seen && !self.sees(&event) {
            return;
        }
        let from_holder = held.partition == from;
        if !self.overlaps.take(&event, &self.limits, &mut body.missed) {
            if from_holder {
                body.events.push(event);
            } else {
                // It was on its way when the entity left view, and is in view again.
                body.missed.note(event.kind);
            }
        }
    }
}
