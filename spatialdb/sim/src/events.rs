//! Events: what was sent, what each client was told, and what it must be told.
//!
//! A client must be told of an event if the entity and the component were in its view when the event was sent, and no
//! partition says before the world is at rest that they left it. An entity that is deleted later is none that leaves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use spatialdb_core::{Delta, Event, EventKind, FrameBody, LeaveReason, ToSession};
use spatialdb_types::{ComponentId, EntityId, SessionId};

use crate::actor::Actor;
use crate::driver::Sim;
use crate::edge::{Column, Message};
use crate::judge::Failure;
use crate::values::{self, Stamp};

/// Every event that was sent, by the number in its stamp.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    events: BTreeMap<u32, SentEvent>,
    by_kind: BTreeMap<EventKind, u64>,
}

#[derive(Clone, Copy, Debug)]
struct SentEvent {
    entity: EntityId,
    kind: EventKind,
    /// The value of the component that was sent with it.
    with: Option<Stamp>,
}

/// What a client was told of events, and what it must be told.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The client's own session.
    own: SessionId,
    told: BTreeSet<u32>,
    last: BTreeMap<(EntityId, SessionId), u32>,
    missed: BTreeMap<EventKind, u64>,
    /// Since the last rest.
    missed_lately: BTreeMap<EventKind, u64>,
    expected: BTreeMap<u32, SentEvent>,
    /// Those of them that the client sent itself.
    expected_own: BTreeSet<u32>,
    /// Entities that were deleted since the last rest.
    deleted: BTreeSet<EntityId>,
    /// The views have changed since the last rest: it is not known which ones a partition went by when something was deleted,
    /// or for the client's own events.
    has_other_views: bool,
    /// A partition was restarted since the last rest: it has forgotten who looks.
    is_blind: bool,
    /// No view has ever had a rate: values are not behind events.
    pub(crate) has_rates: bool,
}

type Verdict = Result<(), Failure>;

fn broken<T>(judge: &'static str, detail: String) -> Result<T, Failure> {
    Err(Failure { judge, detail })
}

impl Sim {
    /// A message is sent: its events are to be told to those who have their entities in view.
    pub(crate) fn expect_events(&mut self, message: &Message) {
        for (i, column) in message.columns.iter().enumerate() {
            let Column::Events(kind, with, rows) = column else { continue };
            for (row, (entity, payload)) in rows.iter().enumerate() {
                let number = number_of(payload);
                let event = SentEvent { entity: *entity, kind: *kind, with: *with };
                self.sent.events.insert(number, event);
                *self.sent.by_kind.entry(*kind).or_default() += 1;
                if self.model.is_accepted(message, i as u32, row as u32, *entity) {
                    let live = self.actors.iter_mut().filter(|actor| actor.live);
                    live.for_each(|actor| actor.expect(message.session, number, event));
                }
            }
        }
    }

    /// A partition was restarted.
    pub(crate) fn lose_events(&mut self) {
        for actor in &mut self.actors {
            actor.replica.heard.is_blind = true;
            actor.replica.heard.expected.clear();
        }
    }

    /// At rest all has been told that must be.
    ///
    /// # Errors
    /// What was not.
    pub(crate) fn judge_events(&mut self, a: usize) -> Verdict {
        let is_tight = self.plan.has_tight_events;
        let may_miss = is_tight || self.partitions.len() > 1;
        let heard = &mut self.actors[a].replica.heard;
        for (kind, missed) in &heard.missed {
            let told = heard.told.iter().filter(|n| self.sent.events[*n].kind == *kind).count() as u64;
            let sent = self.sent.by_kind.get(kind).copied().unwrap_or_default();
            if !may_miss || told + missed > sent {
                let detail = format!("{kind:?}: {sent} sent, {told} told, {missed} told to be missed");
                return broken("event missed", detail);
            }
        }
        let mut lost: BTreeMap<EventKind, BTreeSet<(EntityId, u32)>> = BTreeMap::new();
        for (number, event) in std::mem::take(&mut heard.expected) {
            let is_deleted = heard.deleted.contains(&event.entity);
            if is_deleted && heard.has_other_views {
                continue;
            }
            if !is_tight && !is_deleted {
                return broken("event lost", format!("event {number}, {event:?}, was not told"));
            }
            lost.entry(event.kind).or_default().insert((event.entity, number));
        }
        for (kind, lost) in lost {
            let missed = heard.missed_lately.get(&kind).copied().unwrap_or_default();
            if lost.len() as u64 > missed {
                let detail = format!("{kind:?}: {missed} told to be missed, these were not told: {lost:?}");
                return broken("event lost", detail);
            }
        }
        heard.missed_lately.clear();
        heard.deleted.clear();
        heard.has_other_views = false;
        heard.is_blind = false;
        Ok(())
    }
}

impl Actor {
    fn expect(&mut self, by: SessionId, number: u32, event: SentEvent) {
        let component = event.kind.component;
        // Views that an entity gives do not bring back what the session wrote.
        let is_given = self.session.interests_in_force().next().is_some();
        let all_own = !is_given
            && !self.replica.heard.has_other_views
            && self.views.values().all(|view| view.own_updates);
        let has = self.replica.held.get(&event.entity).is_some_and(|held| held.contains_key(&component));
        let is_expected = has && (by != self.id || all_own) && !self.replica.heard.is_blind;
        let leaves = |m: &ToSession| m.delta.as_ref().is_some_and(|d| hides(d, event.entity, component));
        if is_expected && !self.down.iter().flatten().any(leaves) {
            self.replica.heard.expected.insert(number, event);
            if by == self.id {
                self.replica.heard.expected_own.insert(number);
            }
        }
    }
}

/// Whether the delta takes the component of the entity out of view.
fn hides(delta: &Delta, entity: EntityId, component: ComponentId) -> bool {
    let shapes = delta.entered.iter().chain(&delta.arrived).chain(&delta.reshaped);
    let lacks = |shape: &spatialdb_core::Shape| {
        shape.entity == entity && shape.components.binary_search(&component).is_err()
    };
    delta.left.contains(&(entity, LeaveReason::OutOfView)) || shapes.into_iter().any(lacks)
}

impl Heard {
    /// Of a client that was told nothing.
    pub(crate) fn new(own: SessionId) -> Self {
        Self { own, ..Self::default() }
    }

    /// A partition says so.
    pub(crate) fn note_delta(&mut self, delta: &Delta) {
        self.expected.retain(|_, event| !hides(delta, event.entity, event.kind.component));
    }

    /// The client changes its views: its own events may no longer come back.
    pub(crate) fn note_views(&mut self) {
        self.has_other_views = true;
        let own = std::mem::take(&mut self.expected_own);
        self.expected.retain(|number, _| !own.contains(number));
    }

    /// Something left view.
    pub(crate) fn note_left(&mut self, entity: EntityId, reason: LeaveReason) {
        if reason == LeaveReason::Deleted {
            self.deleted.insert(entity);
        } else {
            self.expected.retain(|_, event| event.entity != entity);
        }
    }

    /// A component left view.
    pub(crate) fn note_gone(&mut self, entity: EntityId, component: ComponentId) {
        self.expected.retain(|_, event| event.entity != entity || event.kind.component != component);
    }

    /// Takes the events of a frame. `seen` tells of which of them the component was in view before the frame or is
    /// with it, `shown` the stamp of its value.
    ///
    /// # Errors
    /// Which rule they break.
    pub(crate) fn take(
        &mut self,
        frame: &FrameBody,
        own: Option<SessionId>,
        sent: &Sent,
        seen: &[bool],
        shown: impl Fn(&Event) -> Option<Stamp>,
    ) -> Verdict {
        for (kind, count) in frame.missed.counts() {
            *self.missed.entry(kind).or_default() += count;
            *self.missed_lately.entry(kind).or_default() += count;
        }
        for (event, is_seen) in frame.events.iter().zip(seen) {
            let (entity, writer) = (event.entity, event.writer);
            let number = number_of(&event.payload);
            let known =
                sent.events.get(&number).filter(|known| known.entity == entity && known.kind == event.kind);
            let Some(known) = known else {
                return broken("event", format!("{event:?} was never sent"));
            };
            if !self.told.insert(number) {
                return broken("event twice", format!("event {number} of {entity} was told twice"));
            }
            if let Some(last) = self.last.insert((entity, writer), number).filter(|&last| last > number) {
                return broken("event order", format!("event {number} of {entity} was told after {last}"));
            }
            if !is_seen {
                return broken("event", format!("{event:?} came while that is not in view"));
            }
            if own == Some(writer) {
                return broken("event", format!("{event:?} came back to the session that sent it"));
            }
            // Its own values may not come back.
            let judges_value = !self.has_rates && writer != self.own;
            if let (Some(with), Some(shown)) = (known.with.filter(|_| judges_value), shown(event))
                && shown.number < with.number
            {
                let detail =
                    format!("event {number} of {entity} came with {shown:?}, it was sent with {with:?}");
                return broken("event early", detail);
            }
            self.expected.remove(&number);
        }
        Ok(())
    }
}

/// The number of an event.
fn number_of(payload: &[u8]) -> u32 {
    values::stamp_of(payload).map_or(0, |stamp| stamp.number)
}

/// A fault on purpose: events in a delta of their own, ahead of the one that they belong to.
pub(crate) fn ahead(message: &mut ToSession, queue: &mut VecDeque<ToSession>) {
    if let Some(delta) = message.delta.as_mut().filter(|delta| !delta.events.is_empty()) {
        let events = std::mem::take(&mut delta.events);
        let early = Delta { clock: delta.clock, events, ..Delta::default() };
        queue.push_back(ToSession { delta: Some(Box::new(early)), ..ToSession::default() });
    }
}
