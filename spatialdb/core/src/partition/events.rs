//! Events that were written since the last publish.
//!
//! They are put in the queues of those who hold the entity, and kept until the publish for those who come to hold it
//! with it.

use rustc_hash::FxHashSet;
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
    entities: FxHashSet<EntityId>,
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

    /// Whether no more should be taken before the next publish: half of what a session may be told at once, so that another
    /// batch still fits.
    fn is_full(&self, limits: &Limits) -> bool {
        let is_half = |n: usize, max: u64| n as u64 * 2 >= max;
        !self.list.is_empty()
            && (is_half(self.list.len(), limits.session_events_max)
                || is_half(self.bytes, limits.session_event_bytes_max))
    }

    /// What happened to an entity that is no longer here is of interest to nobody but those whose queues it is in.
    fn forget(&mut self, entity: EntityId) {
        if !self.entities.remove(&entity) {
            return;
        }
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
    /// Whether it is to publish before it is given more, whatever pacing says: this bounds the events that wait for a publish.
    pub fn must_publish(&self) -> bool {
        self.events.is_full(&self.limits)
    }

    /// Something happened to an entity. Nobody hears of it if nobody looks.
    pub(super) fn note_event(&mut self, row: RowId, event: Event) {
        if !self.subscribers.is_empty() {
            self.events.bytes += event.bytes();
            self.events.entities.insert(event.entity);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use spatialdb_types::{ComponentId, EventId, PartitionId, Seq, SessionId, ViewId};

    use super::*;
    use crate::world::PartitionMap;
    use crate::{
        Batch, Constraint, CreateColumn, CreateRows, Delta, EventKind, EventWrites, Op, Outbox, Part,
        Removes, View, ViewSet,
    };

    const VIEWER: SessionId = SessionId(5);
    const KIND: EventKind = EventKind { component: ComponentId(1000), event: EventId(3) };

    /// Four entities, one viewer of those that have the component.
    fn watched(limits: Limits) -> Partition {
        let map = Arc::new(PartitionMap::new(1, 10.0, &[]));
        let mut partition = Partition::new(PartitionId(0), map, limits);
        let mut column = CreateColumn::new(KIND.component);
        (0..4).for_each(|i| column.push(i, b""));
        let entities = (1..=4).map(EntityId).collect();
        let rows =
            CreateRows { rows: (0..4).collect(), entities, columns: vec![column], ..Default::default() };
        partition.load(&rows).expect("new ids");
        let constraint = Constraint::Has(KIND.component);
        let part = Part { constraint, components: Arc::new([]), interval_us: 0 };
        let views = [Arc::new(View::new(ViewId(1), part))];
        partition.set_views(VIEWER, 1, &ViewSet { views: views.into(), ..ViewSet::default() });
        publish(&mut partition);
        partition.ready(VIEWER);
        partition
    }

    fn write(partition: &mut Partition, ops: Vec<Op>) -> Outbox {
        let mut outbox = Outbox::default();
        partition.apply(&Batch { ops, ..Batch::new(SessionId(1), Seq(1)) }, &mut outbox);
        outbox
    }

    fn happens(entity: u64, numbers: std::ops::Range<u8>) -> Op {
        let mut events = EventWrites::new(0, KIND);
        numbers.for_each(|n| events.push(u32::from(n), EntityId(entity), &[n]));
        Op::Events(events)
    }

    fn publish(partition: &mut Partition) -> Option<Delta> {
        let mut outbox = Outbox::default();
        partition.publish(0, &mut outbox);
        let mut told = outbox.sessions.into_iter().filter(|(session, _)| *session == VIEWER);
        told.find_map(|(_, message)| message.delta).map(|delta| *delta)
    }

    fn told(delta: &Delta) -> Vec<(u64, u8)> {
        delta.events.iter().map(|event| (event.entity.0, event.payload[0])).collect()
    }

    #[test]
    fn events_are_told_with_the_next_publish_and_once() {
        let mut partition = watched(Limits::default());
        write(&mut partition, vec![happens(2, 0..3), happens(1, 3..4)]);
        assert!(partition.has_unpublished());
        let delta = publish(&mut partition).expect("a delta");
        assert_eq!(told(&delta), [(2, 0), (2, 1), (2, 2), (1, 3)]);
        partition.ready(VIEWER);
        assert!(!partition.has_unpublished() && publish(&mut partition).is_none());
    }

    #[test]
    fn who_enters_and_who_leaves_with_a_publish_both_bring_their_events() {
        let mut partition = watched(Limits::default());
        let mut column = CreateColumn::new(KIND.component);
        column.push(0, b"");
        let new = CreateRows {
            rows: vec![0],
            entities: vec![EntityId(9)],
            columns: vec![column],
            ..Default::default()
        };
        let mut delete = Removes::new(0, None);
        delete.push(0, EntityId(1));
        let mut bare = Removes::new(0, Some(KIND.component));
        bare.push(0, EntityId(2));
        let ops = vec![Op::Create(new), happens(9, 0..1), happens(1, 1..2), Op::Remove(delete)];
        write(&mut partition, ops);
        write(&mut partition, vec![happens(2, 2..3), Op::Remove(bare)]);
        let delta = publish(&mut partition).expect("a delta");
        let mut left: Vec<u64> = delta.left.iter().map(|(entity, _)| entity.0).collect();
        left.sort_unstable();
        assert_eq!((delta.entered[0].entity, left), (EntityId(9), vec![1, 2]));
        assert_eq!(told(&delta), [(9, 0), (1, 1), (2, 2)]);
    }

    #[test]
    fn what_waits_is_bounded_and_the_rest_is_counted() {
        let limits = Limits { session_events_max: 10, ..Limits::default() };
        let mut partition = watched(limits);
        write(&mut partition, vec![happens(1, 0..4)]);
        assert!(!partition.must_publish());
        write(&mut partition, vec![happens(1, 4..5)]);
        assert!(partition.must_publish(), "half of what a session may be told waits");
        assert_eq!(publish(&mut partition).expect("a delta").events.len(), 5);
        assert!(!partition.must_publish());
        // The viewer does not take it.
        for round in 1..=4 {
            write(&mut partition, vec![happens(1, round * 10..round * 10 + 4)]);
            assert!(publish(&mut partition).is_none());
        }
        partition.ready(VIEWER);
        let delta = publish(&mut partition).expect("a delta");
        assert_eq!(
            told(&delta).iter().map(|(_, n)| *n).collect::<Vec<_>>(),
            [10, 11, 12, 13, 20, 21, 22, 23, 30, 31]
        );
        assert_eq!(delta.missed.counts().collect::<Vec<_>>(), [(KIND, 6)]);
    }

    #[test]
    fn a_frame_that_is_full_is_followed_by_the_rest() {
        let limits = Limits { frame_bytes_max: 400, ..Limits::default() };
        let mut partition = watched(limits);
        write(&mut partition, vec![happens(1, 0..20)]);
        let mut all = Vec::new();
        for _ in 0..20 {
            let Some(delta) = publish(&mut partition) else { break };
            all.extend(told(&delta).iter().map(|(_, n)| *n));
            assert_eq!(delta.more, all.len() < 20);
            partition.ready(VIEWER);
        }
        assert_eq!(all, (0..20).collect::<Vec<u8>>());
    }

    #[test]
    fn nobody_hears_of_what_an_entity_cannot_have() {
        let mut partition = watched(Limits::default());
        let mut bare = Removes::new(0, Some(KIND.component));
        bare.push(0, EntityId(2));
        write(&mut partition, vec![Op::Remove(bare), happens(2, 0..1), happens(77, 1..2)]);
        let mut outbox = Outbox::default();
        partition.publish(0, &mut outbox);
        let outcomes = outbox.sessions.iter().flat_map(|(_, message)| &message.outcome.rejections);
        let reasons: Vec<&str> = outcomes.map(|rejection| rejection.reason.name()).collect();
        assert_eq!(reasons, ["COMPONENT_NOT_FOUND", "ENTITY_NOT_FOUND"]);
        let deltas = outbox.sessions.iter().filter_map(|(_, message)| message.delta.as_ref());
        assert!(deltas.flat_map(|delta| &delta.events).next().is_none());
    }
}
