//! Events that a subscriber has not been told, in order, found by their row without looking at the others.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::events::Event;
use crate::partition::RowId;

/// So many empty places are kept however few events wait.
const EMPTY_MIN: usize = 64;

/// An event that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    /// `None`: it is gone.
    pub(super) row: Option<RowId>,
    pub(super) event: Event,
}

/// Events that wait, numbered in their order.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// What was taken out leaves its place empty.
    places: VecDeque<Option<Waiting>>,
    /// The number of the first place.
    first: u64,
    len: usize,
    bytes: usize,
    by_row: FxHashMap<RowId, Vec<u64>>,
}

impl Backlog {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// About how much it is.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.places.iter().flatten()
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        if let Some(row) = waiting.row {
            self.by_row.entry(row).or_default().push(self.first + self.places.len() as u64);
        }
        self.len += 1;
        self.bytes += waiting.event.bytes();
        self.places.push_back(Some(waiting));
    }

    /// The row is gone, its events are not.
    pub(super) fn forget(&mut self, row: RowId) {
        for number in self.by_row.remove(&row).unwrap_or_default() {
            if let Some(waiting) = &mut self.places[(number - self.first) as usize] {
                waiting.row = None;
            }
        }
    }

    /// Takes out the events of a row.
    pub(super) fn take(&mut self, row: RowId) -> Vec<Event> {
        let numbers = self.by_row.remove(&row).unwrap_or_default();
        let places = &mut self.places;
        let taken = numbers.into_iter().filter_map(|number| places[(number - self.first) as usize].take());
        let taken: Vec<Event> = taken.map(|waiting| waiting.event).collect();
        self.len -= taken.len();
        self.bytes -= taken.iter().map(Event::bytes).sum::<usize>();
        if self.places.len() > EMPTY_MIN + 2 * self.len {
            self.rebuild(|_| ());
        }
        taken
    }

    /// Takes out all.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Waiting> + use<> {
        std::mem::take(self).places.into_iter().flatten()
    }

    /// Puts the events of each entity in order.
    pub(super) fn sort(&mut self) {
        self.rebuild(|waiting| waiting.sort_by_key(|waiting| waiting.event.revision));
    }

    fn rebuild(&mut self, change: impl FnOnce(&mut Vec<Waiting>)) {
        let mut all: Vec<Waiting> = self.take_all().collect();
        change(&mut all);
        all.into_iter().for_each(|waiting| self.push(waiting));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use spatialdb_types::{ComponentId, EntityId, EventId, Revision, SessionId};

    use super::*;
    use crate::events::EventKind;

    fn waiting(row: u32, revision: u64) -> Waiting {
        let event = Event {
            entity: EntityId(u64::from(row)),
            kind: EventKind { component: ComponentId(1), event: EventId(1) },
            writer: SessionId(0),
            revision: Revision(revision),
            payload: Arc::new([0; 10]),
        };
        Waiting { row: Some(RowId(row)), event }
    }

    fn revisions<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<u64> {
        events.into_iter().map(|event| event.revision.0).collect()
    }

    #[test]
    fn the_events_of_a_row_are_taken_out_in_order() {
        let mut backlog = Backlog::default();
        (0..10).for_each(|i| backlog.push(waiting(i % 3, u64::from(i))));
        let one = backlog.bytes() / 10;
        assert_eq!(revisions(&backlog.take(RowId(1))), [1, 4, 7]);
        assert_eq!(revisions(&backlog.take(RowId(1))), [0u64; 0]);
        backlog.push(waiting(1, 10));
        backlog.forget(RowId(2));
        assert_eq!(revisions(&backlog.take(RowId(2))), [0u64; 0]);
        assert_eq!((backlog.len(), backlog.bytes()), (8, 8 * one));
        let rows: Vec<_> = backlog.iter().map(|waiting| waiting.row.map(|row| row.0)).collect();
        assert_eq!(rows, [Some(0), None, Some(0), None, Some(0), None, Some(0), Some(1)]);
        assert_eq!(revisions(backlog.take_all().map(|w| w.event).collect::<Vec<_>>().iter()).len(), 8);
        assert_eq!((backlog.len(), backlog.bytes()), (0, 0));
    }

    #[test]
    fn what_comes_and_goes_takes_no_more_room() {
        let mut backlog = Backlog::default();
        backlog.push(waiting(5_000, 0));
        for turn in 0..20_000 {
            backlog.push(waiting(turn % 100, u64::from(turn)));
            if turn % 100 == 99 {
                (0..100).for_each(|row| assert_eq!(backlog.take(RowId(row)).len(), 1));
            }
            assert!(backlog.places.len() <= 400, "{}", backlog.places.len());
        }
        assert_eq!((backlog.len(), backlog.by_row.len()), (1, 1));
        assert_eq!(backlog.take(RowId(5_000)).len(), 1);
    }

    #[test]
    fn they_are_found_after_sorting() {
        let mut backlog = Backlog::default();
        for revision in [3, 1, 2] {
            backlog.push(waiting(7, revision));
            backlog.push(waiting(8, revision + 10));
        }
        backlog.sort();
        assert_eq!(revisions(backlog.iter().map(|waiting| &waiting.event)), [1, 2, 3, 11, 12, 13]);
        assert_eq!(revisions(&backlog.take(RowId(8))), [11, 12, 13]);
    }
}
