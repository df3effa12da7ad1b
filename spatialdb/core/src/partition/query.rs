//! Asking a partition once, without a view.

use rustc_hash::FxHashSet;
use spatialdb_types::{ComponentId, EntityId, PartitionId, Position, Revision};

use super::{Partition, Row, RowId};
use crate::interest::{Candidates, Constraint, Values};

/// An entity as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityState {
    /// Which entity.
    pub entity: EntityId,
    /// Where it is, and the revision of that.
    pub position: Option<(Position, Revision)>,
    /// Its other components by rising id.
    pub values: Vec<(ComponentId, Revision, Box<[u8]>)>,
}

impl Values for EntityState {
    fn value(&self, component: ComponentId) -> Option<&[u8]> {
        self.values.iter().find(|(c, ..)| *c == component).map(|(.., value)| &**value)
    }
}

/// What is asked once.
#[derive(Clone, Debug)]
pub struct Query {
    /// Which entities.
    pub constraint: Constraint,
    /// What is told of each, by rising id; empty: everything.
    pub components: Vec<ComponentId>,
    /// How many entities are told of at most.
    pub limit: usize,
}

/// The answer to a query.
#[derive(Clone, Debug, Default)]
pub struct QueryAnswer {
    /// Up to the asked number of matches, in no particular order.
    pub entities: Vec<EntityState>,
    /// How many match.
    pub match_count: u64,
}

impl QueryAnswer {
    /// Counts a match, and tells of it if there is room.
    pub(super) fn add(&mut self, query: &Query, state: impl FnOnce() -> EntityState) {
        self.match_count += 1;
        if self.entities.len() < query.limit {
            self.entities.push(state());
        }
    }
}

impl Partition {
    /// All that matches here and now.
    pub fn query(&self, query: &Query) -> QueryAnswer {
        let mut answer = QueryAnswer::default();
        let mut seen = FxHashSet::default();
        let candidates = query.constraint.candidates();
        let overlapping = candidates.len() > 1;
        for source in &candidates {
            self.for_each_candidate(source, &mut |id, row| {
                let matches = self.store.matches(row, &query.constraint);
                if matches && (!overlapping || seen.insert(id)) {
                    answer.add(query, || self.state(row, &query.components));
                }
            });
        }
        answer
    }

    /// One entity, if it is here.
    pub fn entity(&self, entity: EntityId) -> Option<EntityState> {
        let id = self.store.find(entity)?;
        Some(self.state(self.store.row(id), &[]))
    }

    /// Where the entity went, if it just left this partition.
    pub fn departed_to(&self, entity: EntityId) -> Option<PartitionId> {
        self.departed.get(&entity).copied()
    }

    fn state(&self, row: &Row, filter: &[ComponentId]) -> EntityState {
        let position = row.position().filter(|_| wants(filter, ComponentId::POSITION));
        EntityState {
            entity: row.entity,
            position: position.map(|p| (p, row.position_revision)),
            values: self
                .store
                .slots(row)
                .filter(|&(c, _)| wants(filter, c))
                .map(|(c, slot)| (c, slot.revision, slot.value.clone()))
                .collect(),
        }
    }

    fn for_each_candidate(&self, source: &Candidates, each: &mut impl FnMut(RowId, &Row)) {
        let store = &self.store;
        match source {
            Candidates::All => {
                for id in (0..store.row_count() as u32).map(RowId) {
                    if let Some(row) = store.live_row(id) {
                        each(id, row);
                    }
                }
            }
            Candidates::Entities(ids) => {
                for id in ids.iter().filter_map(|&e| store.find(e)) {
                    each(id, store.row(id));
                }
            }
            Candidates::Cells(space, bounds) => {
                let range = store.grid.range(*space, bounds);
                let mut visit =
                    |cell: u32| store.grid.rows(cell).iter().for_each(|&id| each(id, store.row(id)));
                if range.len() <= u64::from(store.grid.slot_count()) {
                    (0..range.len()).filter_map(|i| store.grid.cell_at(&range, i)).for_each(&mut visit);
                } else {
                    (0..store.grid.slot_count())
                        .filter(|&c| store.grid.is_in(&range, c))
                        .for_each(&mut visit);
                }
            }
        }
    }
}

/// Whether a component is told of. The filter is sorted; empty means everything.
pub(super) fn wants(filter: &[ComponentId], component: ComponentId) -> bool {
    filter.is_empty() || filter.binary_search(&component).is_ok()
}
