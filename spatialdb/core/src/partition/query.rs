//! Asking a partition once, without a view.

use std::collections::BinaryHeap;

use rustc_hash::FxHashSet;
use spatialdb_types::{ComponentId, EntityId, PartitionId, Position, Revision, SpaceId};

use super::answer::QueryAnswer;
use super::{CellRow, Partition, RowId};
use crate::interest::{Area, Candidates, Constraint, Coverage, Crowd, Place, Subject, Values};

/// Of so many places all rows are brought into the processor's cache before the first is looked at.
const FETCHED_MAX: usize = 64;

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
    /// How many entities are told of at most; 0 only counts.
    pub limit: usize,
    /// The nearest to this come first. Entities that are not in its space do not match.
    pub nearest_to: Option<Position>,
}

impl Query {
    /// How far away something is from where the order begins; `None` if there is no order, or it is in another space.
    pub(super) fn distance_squared(&self, at: Option<Position>) -> Option<f64> {
        let (from, at) = (self.nearest_to?, at?);
        (from.space == at.space).then(|| from.point.distance_squared(at.point))
    }

    /// Whether only so many of the nearest are wanted, so that nobody has to look at all.
    const fn is_bounded(&self) -> bool {
        self.nearest_to.is_some() && 0 < self.limit && self.limit < usize::MAX
    }
}

/// A match and how far away it is; the farthest is the greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Found {
    distance_squared: f64,
    entity: EntityId,
    id: RowId,
}

impl Eq for Found {}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.distance_squared.total_cmp(&other.distance_squared).then(self.entity.cmp(&other.entity))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Partition {
    /// All that matches here and now.
    pub fn query(&self, query: &Query) -> QueryAnswer {
        let mut answer = QueryAnswer::default();
        if let Some(from) = query.nearest_to {
            for found in self.nearest(query, from, &mut answer.match_count) {
                self.tell(query, found.id, &mut answer);
            }
            if query.is_bounded() {
                answer.match_count = answer.len() as u64;
            }
            return answer;
        }
        self.for_each_match(&query.constraint, &mut |space, row| {
            answer.match_count += 1;
            if answer.len() < query.limit {
                self.tell_cell_row(query, space, row, &mut answer);
            }
        });
        answer
    }

    /// One entity, if it is here.
    pub fn entity(&self, entity: EntityId) -> Option<EntityState> {
        let row = self.store.row(self.store.find(entity)?);
        let values = self.store.slots(row).map(|(c, slot)| (c, slot.revision, slot.value.clone()));
        let position = self.store.position(row).map(|at| (at, self.store.in_cell(row).revision));
        Some(EntityState { entity, position, values: values.collect() })
    }

    /// Where the entity went, if it just left this partition.
    pub fn departed_to(&self, entity: EntityId) -> Option<PartitionId> {
        self.departed.get(&entity).copied()
    }

    fn tell(&self, query: &Query, id: RowId, answer: &mut QueryAnswer) {
        let row = self.store.row(id);
        self.tell_cell_row(query, self.store.grid.space(row.cell()), self.store.in_cell(row), answer);
    }

    /// The row itself is looked at only if it has values.
    fn tell_cell_row(&self, query: &Query, space: Option<SpaceId>, row: &CellRow, answer: &mut QueryAnswer) {
        let position = space.map(|space| (Position { space, point: row.point }, row.revision));
        if self.store.tables.get(row.set).has_values() {
            let slots = self.store.slots(self.store.row(row.id));
            let values = slots.map(|(c, slot)| (c, slot.revision, &*slot.value));
            answer.push(query, row.entity, position, values);
        } else {
            answer.push(query, row.entity, position, std::iter::empty());
        }
    }

    /// The matches that are told, the nearest first; counts all that it looked at.
    fn nearest(&self, query: &Query, from: Position, match_count: &mut u64) -> Vec<Found> {
        let mut nearest = BinaryHeap::new();
        let everywhere = query.constraint.candidates().contains(&Candidates::All);
        if query.is_bounded() && everywhere && self.by_rings(query, from, &mut nearest) {
            return nearest.into_sorted_vec();
        }
        self.for_each_match(&query.constraint, &mut |space, row| {
            if space == Some(from.space) {
                *match_count += 1;
                let distance_squared = from.point.distance_squared(row.point);
                offer(&mut nearest, Found { distance_squared, entity: row.entity, id: row.id }, query.limit);
            }
        });
        nearest.into_sorted_vec()
    }

    /// Looks for the nearest from the inside out. Returns whether it found them: where few cells are occupied, looking
    /// everywhere takes less.
    fn by_rings(&self, query: &Query, from: Position, nearest: &mut BinaryHeap<Found>) -> bool {
        let grid = &self.store.grid;
        let squares_max = u64::from(grid.slot_count());
        let mut squares = 0;
        for ring in 0.. {
            for cell in grid.ring(from, ring) {
                squares += 1;
                for row in cell.map_or(&[][..], |cell| grid.rows(cell)) {
                    let distance_squared = from.point.distance_squared(row.point);
                    let found = Found { distance_squared, entity: row.entity, id: row.id };
                    let is_nearer =
                        nearest.len() < query.limit || nearest.peek().is_some_and(|far| found < *far);
                    let matches = |subject: &Subject<'_>| query.constraint.matches(subject);
                    if is_nearer && self.store.with_cell_row(row, Some(from.space), matches) {
                        offer(nearest, found, query.limit);
                    }
                }
            }
            // What lies in rings further out is at least so far away.
            let reached = f64::from(ring) * grid.cell_m() * (1.0 - 1e-9);
            let is_full = nearest.len() == query.limit;
            if is_full && nearest.peek().is_some_and(|far| far.distance_squared < reached * reached) {
                return true;
            }
            if squares > squares_max {
                nearest.clear();
                return false;
            }
        }
        false
    }

    fn for_each_match(&self, constraint: &Constraint, each: &mut impl FnMut(Option<SpaceId>, &CellRow)) {
        let candidates = constraint.candidates();
        let mut seen = (candidates.len() > 1).then(FxHashSet::default);
        let area = Area::of(constraint);
        let mut is_new = |row: &CellRow| seen.as_mut().is_none_or(|seen| seen.insert(row.id));
        for place in candidates.iter().flat_map(|source| self.places(source)) {
            let space = self.store.grid.space(place.cell);
            let extent = self.store.grid.column(place.cell);
            let crowd =
                Crowd { place: extent.as_ref().map_or(Place::Nowhere, Place::Cell), components: None };
            let coverage = constraint.coverage(&crowd);
            let matches = |subject: &Subject<'_>| constraint.matches(subject);
            for row in if coverage == Coverage::Nothing { &[] } else { place.rows } {
                let is_covered = coverage == Coverage::Everything;
                let matches = is_covered
                    || area
                        .contains(space, row.point)
                        .unwrap_or_else(|| self.store.with_cell_row(row, space, matches));
                if matches && is_new(row) {
                    each(space, row);
                }
            }
        }
    }

    /// Where rows that match may be. All of these are found before the first is looked at, so that the processor waits
    /// for many at once.
    fn places(&self, source: &Candidates) -> Vec<RowsAt<'_>> {
        let store = &self.store;
        let grid = &store.grid;
        let rows_of = |cell| RowsAt { cell, rows: grid.rows(cell) };
        let places: Vec<RowsAt<'_>> = match source {
            Candidates::All => (0..grid.slot_count()).map(rows_of).collect(),
            Candidates::Entities(ids) => {
                let rows = ids.iter().filter_map(|&entity| store.find(entity)).map(|id| store.row(id));
                rows.map(|row| RowsAt { cell: row.cell(), rows: std::slice::from_ref(store.in_cell(row)) })
                    .collect()
            }
            Candidates::Cells(space, bounds) => {
                let range = grid.range(*space, bounds);
                if range.len() <= u64::from(grid.slot_count()) {
                    grid.cells_in(&range).into_iter().map(rows_of).collect()
                } else {
                    (0..grid.slot_count()).filter(|&cell| grid.is_in(&range, cell)).map(rows_of).collect()
                }
            }
        };
        if places.len() <= FETCHED_MAX {
            let rows = places.iter().flat_map(|place| place.rows);
            std::hint::black_box(rows.fold(0, |sum, row| sum ^ row.revision.0));
        }
        places
    }
}

/// Some rows of a cell.
struct RowsAt<'a> {
    cell: u32,
    rows: &'a [CellRow],
}

/// Keeps the nearest, so many of them.
fn offer(nearest: &mut BinaryHeap<Found>, found: Found, limit: usize) {
    if nearest.len() < limit {
        nearest.push(found);
    } else if let Some(mut farthest) = nearest.peek_mut()
        && found < *farthest
    {
        *farthest = found;
    }
}

/// Whether a component is told of. The filter is sorted; empty means everything.
pub(super) fn wants(filter: &[ComponentId], component: ComponentId) -> bool {
    filter.is_empty() || filter.binary_search(&component).is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use spatialdb_types::{Limits, SpaceId};

    use super::*;
    use crate::world::PartitionMap;
    use crate::{CreateRows, PlacedRows};

    fn world(points: &[(f64, f64)]) -> Partition {
        let map = Arc::new(PartitionMap::new(1, 10.0, &[]));
        let mut partition = Partition::new(PartitionId(0), map, Limits::default());
        let positions = points.iter().map(|&(x, y)| Position::new(SpaceId(0), x, y, 0.0)).collect();
        let index: Vec<u32> = (0..points.len() as u32).collect();
        let entities = (1..=points.len() as u64).map(EntityId).collect();
        let placed = PlacedRows { index: index.clone(), positions };
        let rows = CreateRows { rows: index, entities, positions: placed, columns: Vec::new() };
        partition.load(&rows).expect("new ids");
        partition
    }

    fn nearest(partition: &Partition, at: (f64, f64), limit: usize) -> Vec<u64> {
        let nearest_to = Some(Position::new(SpaceId(0), at.0, at.1, 0.0));
        let query = Query { constraint: Constraint::All, components: Vec::new(), limit, nearest_to };
        partition.query(&query).hits().map(|hit| hit.entity().0).collect()
    }

    #[test]
    fn the_nearest_come_first_and_ties_by_id() {
        let points: Vec<(f64, f64)> =
            (0..400).map(|i| (f64::from(i % 20) * 7.0, f64::from(i / 20) * 7.0)).collect();
        let partition = world(&points);
        for at in [(0.0, 0.0), (71.3, 66.0), (-500.0, 40.0), (133.0, 133.0), (1e6, -1e6)] {
            let mut all: Vec<(f64, u64)> = (0..points.len())
                .map(|i| ((points[i].0 - at.0).powi(2) + (points[i].1 - at.1).powi(2), i as u64 + 1))
                .collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let expected: Vec<u64> = all.iter().map(|&(_, id)| id).collect();
            for limit in [1, 3, 50, usize::MAX] {
                assert_eq!(nearest(&partition, at, limit), expected[..limit.min(400)], "{limit} from {at:?}");
            }
        }
    }

    #[test]
    fn a_world_with_fewer_gives_all_it_has() {
        let partition = world(&[(0.0, 0.0), (1e5, 0.0)]);
        assert_eq!(nearest(&partition, (9e4, 5.0), 10), [2, 1]);
        assert_eq!(nearest(&world(&[]), (0.0, 0.0), 10), [0u64; 0]);
    }
}
