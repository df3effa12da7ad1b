//! Events: what happened to rows that a subscriber holds.
//!
//! Each is put in the subscriber's queue once: when it is written if the row is held then with the component, or with the
//! publish that brings the row or its component into view. What the queue does not take is counted as missed.
//!
//! The queue is told with the next delta, whatever the rates of the views. An event is not told before what the message
//! that it came with has changed, as far as that is due; never before its entity is in view, and never after it has left.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use spatialdb_types::{ComponentId, EntityId, Limits};

use super::DeltaBuilder;
use super::backlog::{Backlog, Waiting};
use super::held::Held;
use super::subscriber::{Aim, Subscriber};
use crate::events::{Event, Missed};
use crate::partition::{RowEvent, RowId, Store};

/// What a subscriber has not been told of events.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    list: Backlog,
    missed: Missed,
    /// The last delta had no room for some.
    is_cut: bool,
    /// Entities of which the last delta told events, or told that earlier ones may be on their way.
    unconfirmed: FxHashSet<EntityId>,
    /// While a delta is made in whose publish there are events: rows that came into view or changed their components, and
    /// which components were in view before.
    gains: Option<FxHashMap<RowId, Option<Arc<[ComponentId]>>>>,
}

impl EventQueue {
    fn push(&mut self, row: RowId, event: &Event, limits: &Limits) {
        let bytes = self.bytes() + event.bytes();
        if self.list.len() as u64 >= limits.session_events_max
            || bytes as u64 > limits.session_event_bytes_max
        {
            return self.missed.note(event.kind);
        }
        self.list.push(Waiting { row: Some(row), event: event.clone() });
    }

    /// About how much it is.
    pub(super) const fn bytes(&self) -> usize {
        self.list.bytes()
    }

    /// Whether the last delta had no room for some.
    pub(super) const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The session has the last delta.
    pub(super) fn confirm(&mut self) {
        self.unconfirmed.clear();
    }

    /// Whether the last delta told of events of the entity.
    pub(super) fn is_unconfirmed(&self, entity: EntityId) -> bool {
        self.unconfirmed.contains(&entity)
    }

    /// The row is gone; what happened to it is still told.
    pub(super) fn forget(&mut self, row: RowId) {
        self.list.forget(row);
    }

    /// Takes out what happened to a row.
    pub(super) fn take(&mut self, row: RowId) -> Vec<Event> {
        self.list.take(row)
    }

    /// A delta is begun, in whose publish there are these events.
    pub(super) fn begin(&mut self, pending: &[RowEvent]) {
        self.is_cut = false;
        self.gains = (!pending.is_empty()).then(FxHashMap::default);
    }

    /// The row comes into view, or its components in view change from these.
    pub(super) fn note_gain(&mut self, row: RowId, before: Option<&Arc<[ComponentId]>>) {
        if let Some(gains) = &mut self.gains {
            gains.entry(row).or_insert_with(|| before.cloned());
        }
    }
}

impl Subscriber {
    /// Queues what happened to rows that the session holds.
    pub(crate) fn hear(&mut self, events: &[RowEvent], limits: &Limits) {
        if self.held.is_empty() {
            return;
        }
        for RowEvent { row, event } in events {
            if self.held.get(*row).is_some_and(|held| self.wants_event(held, event)) {
                self.events.push(*row, event, limits);
            }
        }
    }

    /// Queues what the session was not told of a row where it held it.
    pub(super) fn inherit_events(&mut self, row: RowId, events: &[Event], limits: &Limits) {
        events.iter().for_each(|event| self.events.push(row, event, limits));
    }

    /// Whether the component is in view, and the session is to hear of its own events if it is one. As long as an answer
    /// is owed that is not known, for other views may have come to where the row was: the session sees to it.
    fn wants_event(&self, held: &Held, event: &Event) -> bool {
        let component = event.kind.component;
        let is_own = event.writer == self.session();
        match self.stances.get(held.stance) {
            Some(stance) => {
                let at = stance.wanted.binary_search(&component);
                at.is_ok_and(|at| !is_own || stance.pairs[at].own)
            }
            None => !is_own || self.parts.iter().any(|part| part.view.own_updates),
        }
    }

    /// Queues what happened since the last publish to rows that came into view with this one, or whose component did.
    fn hear_gained(&mut self, pending: &[RowEvent], store: &Store, limits: &Limits) {
        let Some(gains) = self.events.gains.take().filter(|gains| !gains.is_empty()) else { return };
        let queued = self.events.list.len();
        for RowEvent { row, event } in pending {
            let Some(before) = gains.get(row) else { continue };
            let was_in_view =
                before.as_ref().is_some_and(|before| before.binary_search(&event.kind.component).is_ok());
            let is_same = store.live_row(*row).is_some_and(|row| row.entity == event.entity);
            if is_same
                && !was_in_view
                && self.held.get(*row).is_some_and(|held| self.wants_event(held, event))
            {
                self.events.push(*row, event, limits);
            }
        }
        // Of one entity, what is new in view may have happened before what is queued already.
        if self.events.list.len() > queued {
            self.events.list.sort();
        }
    }

    /// Tells what is queued, as far as it fits: at least one. `aim` is that of the run of this delta, if there is one.
    pub(super) fn tell_events(
        &mut self,
        pending: &[RowEvent],
        aim: Option<&Aim>,
        store: &Store,
        builder: &mut DeltaBuilder,
        limits: &Limits,
    ) {
        self.events.unconfirmed.extend(&builder.delta.overlapping);
        self.hear_gained(pending, store, limits);
        builder.delta.missed = std::mem::take(&mut self.events.missed);
        builder.open_reserve();
        if self.events.list.len() == 0 {
            return;
        }
        // With the delta that shows an entity all is told that happened to it so far, whatever room there is: what is told
        // later happened later. And a component may leave view with its shape.
        let delta = &builder.delta;
        let shapes = delta.entered.iter().chain(&delta.arrived).chain(&delta.reshaped);
        let mut shaped: FxHashSet<EntityId> = shapes.map(|shape| shape.entity).collect();
        for waiting in self.events.list.take_all() {
            let event = &waiting.event;
            let has_room = builder.delta.events.is_empty() || builder.has_room(event.bytes());
            let mut is_told = shaped.contains(&event.entity) || (has_room && !self.events.is_cut);
            if let (true, Some(aim), Some(row)) = (is_told, aim, waiting.row) {
                let reshaped = builder.delta.reshaped.len();
                self.tell_before(row, aim, store, builder);
                shaped.extend(builder.delta.reshaped[reshaped..].iter().map(|shape| shape.entity));
            }
            match waiting.row.and_then(|row| self.held.get(row)) {
                // Not before the answer.
                Some(held) if held.is_owed() => is_told = false,
                Some(_) => self.events.is_cut |= !is_told,
                // Its entity leaves with this delta at the latest.
                None => is_told = true,
            }
            if is_told {
                self.events.unconfirmed.insert(event.entity);
                builder.event(waiting.event);
            } else {
                self.events.list.push(waiting);
            }
        }
    }

    /// Tells what has changed of a row, where the run has not got to it or goes back to before it changed.
    fn tell_before(&mut self, row: RowId, aim: &Aim, store: &Store, builder: &mut DeltaBuilder) {
        let is_behind = self.is_running() || store.row(row).changed_at > aim.stamp;
        if is_behind && self.held.get(row).is_some_and(|held| !held.is_owed()) {
            self.examine(store, row, aim, builder);
        }
    }

    /// Whether there is an event to tell now, or that some were missed.
    pub(super) fn owes_events(&self) -> bool {
        let is_owed = |row: RowId| self.held.get(row).is_some_and(Held::is_owed);
        let mut list = self.events.list.iter();
        !self.events.missed.is_empty() || list.any(|waiting| !waiting.row.is_some_and(is_owed))
    }
}
