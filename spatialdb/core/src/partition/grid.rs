//! The cell index: which rows lie where, which squares changed, and who left them.

mod cell;
mod changed;
mod departures;
mod index;
mod range;

use spatialdb_types::{Box3, Point3, Position, SpaceId};

pub(crate) use self::cell::CellRow;
use self::cell::{Cell, Look};
use self::departures::Departures;
use self::index::CellIndex;
pub(crate) use self::range::{CellKey, CellRange};
use super::{PublishSeq, RowId, Tuning};
use crate::CellSize;
use crate::interest::{Extent, SubscriberId, Watch, Watchers};

/// The cell of rows without a position.
pub(crate) const NOWHERE: u32 = 0;

/// No cell: the row is being made or taken out.
pub(super) const NO_CELL: u32 = u32::MAX;

/// A uniform grid over x and y of every space.
#[derive(Debug)]
pub(crate) struct Grid {
    size: CellSize,
    index: CellIndex,
    cells: Vec<Cell>,
    stamps: Vec<Stamp>,
    looks: Vec<Look>,
    free: Vec<u32>,
    occupied: usize,
    /// The cells with changes since the last publish.
    changed: Vec<u32>,
    /// Which rows changed in large cells since the last publish.
    listed: Vec<(u32, RowId)>,
    /// Which rows left which cells since the last publish; then those of a cell together.
    left: Vec<(u32, RowId)>,
    left_by_cell: Vec<RowId>,
    /// From when on changes and departures are noted; `None`: nobody looks.
    watched_from: Option<PublishSeq>,
    /// Departures from cells that are gone.
    orphans: Departures,
    pub(crate) tuning: Tuning,
}

/// What is asked of every cell at every publish, kept dense.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Stamp {
    /// The last publish in which a row left it.
    departed_at: PublishSeq,
    /// Of the last publish in which something changed: the range of its changed rows among all.
    changes: (u32, u32),
    /// Of `departed_at`: the range of the rows that left it among all that left a cell.
    departures: (u32, u32),
    /// Rises when `z` does not hold what it held.
    z_version: u32,
    /// Where it is, unless it holds the rows without a position.
    space: SpaceId,
    /// Between these heights lie all rows that it held since it was last empty.
    z: (f64, f64),
}

const NO_STAMP: Stamp = Stamp {
    departed_at: PublishSeq(0),
    changes: (0, 0),
    departures: (0, 0),
    z_version: 0,
    space: SpaceId(0),
    z: NO_Z,
};

const NO_Z: (f64, f64) = (f64::INFINITY, f64::NEG_INFINITY);

impl Grid {
    pub(crate) fn new(cell_m: f64) -> Self {
        Self {
            size: CellSize::new(cell_m),
            index: CellIndex::default(),
            cells: vec![Cell::new(None)],
            stamps: vec![NO_STAMP],
            looks: vec![Look::default()],
            free: Vec::new(),
            occupied: 0,
            changed: Vec::new(),
            listed: Vec::new(),
            left: Vec::new(),
            left_by_cell: Vec::new(),
            watched_from: None,
            orphans: Departures::default(),
            tuning: Tuning::default(),
        }
    }

    /// The square that holds the point.
    pub(crate) fn key(&self, space: SpaceId, x: f64, y: f64) -> CellKey {
        CellKey { space, x: self.size.number(x), y: self.size.number(y) }
    }

    /// The side of a square, metres.
    pub(crate) const fn cell_m(&self) -> f64 {
        self.size.side_m()
    }

    /// The squares around the one of a position, so many squares away, as far as they have a cell.
    pub(crate) fn ring(&self, at: Position, ring: u32) -> impl Iterator<Item = Option<u32>> {
        let center = self.key(at.space, at.point.x, at.point.y);
        let r = i64::from(ring);
        let sides = (-r..=r).flat_map(move |d| [(d, -r), (d, r)]);
        let ends = (1 - r..r).flat_map(move |d| [(-r, d), (r, d)]);
        let squares = sides.chain(ends).skip(usize::from(ring == 0));
        squares.map(move |(dx, dy)| {
            let x = i32::try_from(i64::from(center.x) + dx).ok()?;
            let y = i32::try_from(i64::from(center.y) + dy).ok()?;
            self.index.get(CellKey { space: center.space, x, y })
        })
    }

    /// How many squares hold a row.
    pub(crate) const fn occupied_count(&self) -> usize {
        self.occupied
    }

    /// Puts a row in a square, or in the cell of those without a position. Returns the cell and its place there.
    pub(crate) fn insert(&mut self, key: Option<CellKey>, row: CellRow, publish: PublishSeq) -> (u32, u32) {
        let cell = key.map_or(NOWHERE, |key| self.open(key));
        let row = CellRow { changed: publish.into(), ..row };
        self.mark(cell, Some(row.id), publish);
        let at = &mut self.cells[cell as usize];
        self.occupied += usize::from(at.rows.is_empty() && cell != NOWHERE);
        let place = at.push(row);
        at.note(place as usize, true);
        (cell, place)
    }

    /// Takes a row out of its cell. Returns it, and the row that took its place, if any.
    pub(crate) fn remove(&mut self, cell: u32, place: u32, publish: PublishSeq) -> (CellRow, Option<RowId>) {
        let at = &mut self.cells[cell as usize];
        let row = at.rows.swap_remove(place as usize);
        let other = at.rows.get(place as usize).map(|other| (other.id, other.changed == publish.into()));
        at.note(at.rows.len(), false);
        at.note(place as usize, other.is_some_and(|(_, has_changed)| has_changed));
        let other = other.map(|(id, _)| id);
        if at.rows.is_empty() {
            self.occupied -= usize::from(cell != NOWHERE);
            let stamp = &mut self.stamps[cell as usize];
            (stamp.z, stamp.z_version) = (NO_Z, stamp.z_version.wrapping_add(1));
            self.close(cell);
        }
        (row, other)
    }

    /// A row by its place.
    pub(crate) fn row(&self, cell: u32, place: u32) -> &CellRow {
        &self.cells[cell as usize].rows[place as usize]
    }

    pub(crate) fn row_mut(&mut self, cell: u32, place: u32) -> &mut CellRow {
        &mut self.cells[cell as usize].rows[place as usize]
    }

    /// The space that a cell is in; `None`: of rows without a position.
    pub(crate) fn space(&self, cell: u32) -> Option<SpaceId> {
        (cell != NOWHERE).then_some(self.stamps[cell as usize].space)
    }

    /// The square that a cell is of; `None`: of rows without a position.
    pub(crate) fn square(&self, cell: u32) -> Option<CellKey> {
        self.cells[cell as usize].key
    }

    /// How many rows lie in a square.
    pub(crate) fn row_count(&self, key: CellKey) -> u64 {
        self.index.get(key).map_or(0, |cell| self.rows(cell).len() as u64)
    }

    pub(crate) fn note_height(&mut self, cell: u32, z: f64) {
        let stamp = &mut self.stamps[cell as usize];
        if z < stamp.z.0 || z > stamp.z.1 {
            stamp.z = (stamp.z.0.min(z), stamp.z.1.max(z));
            stamp.z_version = stamp.z_version.wrapping_add(1);
        }
    }

    /// Where all that the cell holds lies; `None`: of rows without a position.
    pub(crate) fn extent(&self, cell: u32) -> Option<Extent> {
        self.extent_within(cell, self.stamps[cell as usize].z)
    }

    /// The same without having looked how far up its rows go.
    pub(crate) fn column(&self, cell: u32) -> Option<Extent> {
        self.extent_within(cell, (f64::NEG_INFINITY, f64::INFINITY))
    }

    fn extent_within(&self, cell: u32, z: (f64, f64)) -> Option<Extent> {
        let key = self.cells[cell as usize].key?;
        let (x, y) = (self.size.range(key.x), self.size.range(key.y));
        Some(Extent { space: key.space, min: Point3::new(x.0, y.0, z.0), max: Point3::new(x.1, y.1, z.1) })
    }

    /// Rises when the extent of a cell is other than before.
    pub(crate) fn extent_version(&self, cell: u32) -> u32 {
        self.stamps[cell as usize].z_version
    }

    /// The slots of cells, free ones included: `rows` of a free one is empty.
    pub(crate) fn slot_count(&self) -> u32 {
        self.cells.len() as u32
    }

    /// The rows of a cell.
    pub(crate) fn rows(&self, cell: u32) -> &[CellRow] {
        &self.cells[cell as usize].rows
    }

    /// How many subscribers look at this cell in particular.
    pub(crate) fn watchers(&self, cell: u32) -> usize {
        self.looks[cell as usize].watchers.len()
    }

    /// What a subscriber looks for in a cell.
    pub(crate) fn watch(&self, cell: u32, subscriber: SubscriberId) -> Option<&Watch> {
        self.looks[cell as usize].watchers.get(&subscriber)
    }

    /// The same, to be changed.
    pub(crate) fn watch_mut(&mut self, cell: u32, subscriber: SubscriberId) -> Option<&mut Watch> {
        self.looks[cell as usize].watchers.get_mut(&subscriber)
    }

    /// Keeps the cell of a square for a subscriber, whether it holds rows or not. Returns it, and what is looked for there:
    /// nothing, if that is new.
    pub(crate) fn start_watch(&mut self, key: CellKey, subscriber: SubscriberId) -> (u32, &mut Watch) {
        let cell = self.open(key);
        (cell, self.looks[cell as usize].watchers.entry(subscriber).or_default())
    }

    /// The end of what `start_watch` began.
    pub(crate) fn end_watch(&mut self, cell: u32, subscriber: SubscriberId) {
        self.looks[cell as usize].watchers.swap_remove(&subscriber);
        self.close(cell);
    }

    /// Who looks at a cell.
    pub(crate) fn all_watchers(&self, cell: u32) -> &Watchers {
        &self.looks[cell as usize].watchers
    }

    /// Takes the watchers of a cell, to be put back.
    pub(crate) fn take_watchers(&mut self, cell: u32) -> Watchers {
        std::mem::take(&mut self.looks[cell as usize].watchers)
    }

    pub(crate) fn put_watchers(&mut self, cell: u32, watchers: Watchers) {
        self.looks[cell as usize].watchers = watchers;
    }

    /// The cells that a box touches. Infinite sides are cut to what a cell number can hold.
    pub(crate) fn range(&self, space: SpaceId, bounds: &Box3) -> CellRange {
        let number = |v: f64| self.size.number(v);
        CellRange {
            space,
            x: (number(bounds.min.x), number(bounds.max.x)),
            y: (number(bounds.min.y), number(bounds.max.y)),
        }
    }

    /// The cell at a square, if there is one.
    pub(crate) fn cell_at(&self, range: &CellRange, ordinal: u64) -> Option<u32> {
        self.index.get(range.key(ordinal))
    }

    /// All cells of a range.
    pub(crate) fn cells_in(&self, range: &CellRange) -> Vec<u32> {
        let mut cells = Vec::new();
        self.index.collect(range, &mut cells);
        cells
    }

    /// Whether a cell lies in the range.
    pub(crate) fn is_in(&self, range: &CellRange, cell: u32) -> bool {
        self.cells[cell as usize].key.is_some_and(|key| range.contains(key))
    }

    fn open(&mut self, key: CellKey) -> u32 {
        if let Some(cell) = self.index.get(key) {
            return cell;
        }
        let cell = match self.free.pop() {
            Some(cell) => {
                // When it changed stays: it may be among the changed cells of this publish.
                self.cells[cell as usize].key = Some(key);
                cell
            }
            None => {
                self.cells.push(Cell::new(Some(key)));
                self.stamps.push(NO_STAMP);
                self.looks.push(Look::default());
                (self.cells.len() - 1) as u32
            }
        };
        self.stamps[cell as usize].space = key.space;
        self.index.insert(key, cell);
        cell
    }

    /// Lets a cell go that nobody needs.
    fn close(&mut self, cell: u32) {
        let Cell { key, rows, .. } = &mut self.cells[cell as usize];
        let Look { watchers, departures } = &mut self.looks[cell as usize];
        if !rows.is_empty() || !watchers.is_empty() {
            return;
        }
        let Some(gone) = key.take() else { return };
        // Memory of rows that a free cell once held is given back.
        *rows = Vec::new();
        self.orphans.adopt(departures);
        self.index.remove(gone);
        self.free.push(cell);
    }
}

#[cfg(test)]
mod tests {
    use spatialdb_types::{EntityId, Revision};

    use super::*;

    fn row(id: u32) -> CellRow {
        let (revision, entity) = (Revision(1), EntityId(u64::from(id)));
        CellRow { revision, entity, id: RowId(id), changed: PublishSeq(1).into(), ..CellRow::NOBODY }
    }

    #[test]
    fn rows_are_found_where_they_are_and_empty_cells_are_reused() {
        let mut grid = Grid::new(10.0);
        let key = grid.key(SpaceId(1), -0.5, 25.0);
        assert_eq!((key.x, key.y), (-1, 2));
        let (cell, place) = grid.insert(Some(key), row(5), PublishSeq(1));
        assert_eq!(grid.insert(Some(key), row(6), PublishSeq(1)), (cell, 1));
        let bounds = Box3 { min: Point3::new(-5.0, 20.0, 0.0), max: Point3::new(5.0, 21.0, 0.0) };
        let range = grid.range(SpaceId(1), &bounds);
        assert_eq!(range.len(), 2);
        let found: Vec<_> = (0..range.len()).filter_map(|i| grid.cell_at(&range, i)).collect();
        assert_eq!(found, [cell]);
        assert!(grid.is_in(&range, cell));
        assert_eq!(grid.remove(cell, place, PublishSeq(1)), (row(5), Some(RowId(6))));
        assert_eq!(grid.remove(cell, 0, PublishSeq(1)), (row(6), None));
        assert_eq!(grid.occupied_count(), 0);
        let other = grid.key(SpaceId(0), 0.0, 0.0);
        assert_eq!(grid.insert(Some(other), row(7), PublishSeq(1)), (cell, 0));
    }

    #[test]
    fn an_endless_box_has_a_countable_range() {
        let grid = Grid::new(1.0);
        let range = grid.range(SpaceId(0), &Box3::EVERYWHERE);
        assert!(range.len() > 1 << 60);
    }

    #[test]
    fn a_watched_cell_stays_and_a_cell_that_goes_leaves_its_departures() {
        let mut grid = Grid::new(10.0);
        grid.start_watching(PublishSeq(1));
        let key = grid.key(SpaceId(0), 5.0, 5.0);
        let (cell, _) = grid.start_watch(key, SubscriberId(0));
        assert_eq!(grid.insert(Some(key), row(3), PublishSeq(1)), (cell, 0));
        grid.note_departure(cell, RowId(3), PublishSeq(2));
        grid.remove(cell, 0, PublishSeq(1));
        let left = |grid: &Grid, since| grid.departures(cell, since).map(|rows| rows.collect::<Vec<_>>());
        assert_eq!(left(&grid, PublishSeq(1)), Some(vec![RowId(3)]));
        assert_eq!(left(&grid, PublishSeq(2)), Some(vec![]));
        grid.end_watch(cell, SubscriberId(0));
        assert_eq!(grid.orphans(PublishSeq(1)).map(Iterator::count), Some(1));
    }

    #[test]
    fn a_cell_reaches_as_far_up_as_its_rows() {
        let mut grid = Grid::new(10.0);
        let key = grid.key(SpaceId(0), -5.0, 5.0);
        let (cell, _) = grid.insert(Some(key), row(1), PublishSeq(1));
        grid.note_height(cell, 3.0);
        grid.note_height(cell, -1.0);
        let extent = grid.extent(cell).expect("a square");
        assert_eq!((extent.min.z, extent.max.z), (-1.0, 3.0));
        assert_eq!((extent.min.x, extent.max.x), (-10.0, 0.0));
        assert_eq!(grid.extent(NOWHERE), None);
    }
}
