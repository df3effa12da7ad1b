//! The cell index: which rows lie in which square of a space.

use rustc_hash::FxHashMap;
use spatialdb_types::{Box3, SpaceId};

use super::RowId;

/// No cell: the row has no position.
pub(crate) const NO_CELL: u32 = u32::MAX;

/// A square of the grid: `[x, x+1) * cell_m` by `[y, y+1) * cell_m`, any z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CellKey {
    pub(crate) space: SpaceId,
    pub(crate) x: i32,
    pub(crate) y: i32,
}

/// A uniform grid over x and y of every space.
#[derive(Debug)]
pub(crate) struct Grid {
    per_m: f64,
    index: FxHashMap<CellKey, u32>,
    cells: Vec<Cell>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Cell {
    key: CellKey,
    rows: Vec<RowId>,
}

/// The cells that a box touches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CellRange {
    space: SpaceId,
    x: (i32, i32),
    y: (i32, i32),
}

impl Grid {
    pub(crate) fn new(cell_m: f64) -> Self {
        Self { per_m: 1.0 / cell_m, index: FxHashMap::default(), cells: Vec::new(), free: Vec::new() }
    }

    /// The square that holds the point.
    pub(crate) fn key(&self, space: SpaceId, x: f64, y: f64) -> CellKey {
        CellKey { space, x: (x * self.per_m).floor() as i32, y: (y * self.per_m).floor() as i32 }
    }

    pub(crate) fn cell_count(&self) -> usize {
        self.cells.len() - self.free.len()
    }

    /// Puts a row in a square. Returns the cell and the row's place in it.
    pub(crate) fn insert(&mut self, key: CellKey, row: RowId) -> (u32, u32) {
        let cell = match self.index.get(&key) {
            Some(&cell) => cell,
            None => self.open(key),
        };
        let rows = &mut self.cells[cell as usize].rows;
        rows.push(row);
        (cell, (rows.len() - 1) as u32)
    }

    /// Takes a row out of its cell. Returns the row that took its place, if any.
    pub(crate) fn remove(&mut self, cell: u32, place: u32) -> Option<RowId> {
        let Cell { key, rows } = &mut self.cells[cell as usize];
        rows.swap_remove(place as usize);
        if rows.is_empty() {
            self.index.remove(key);
            self.free.push(cell);
            return None;
        }
        rows.get(place as usize).copied()
    }

    /// The slots of cells, free ones included: `rows` of a free one is empty.
    pub(crate) fn slot_count(&self) -> usize {
        self.cells.len()
    }

    /// The rows of a cell.
    pub(crate) fn rows(&self, cell: u32) -> &[RowId] {
        &self.cells[cell as usize].rows
    }

    /// The cells that a box touches. Infinite sides are cut to what a cell number can hold.
    pub(crate) fn range(&self, space: SpaceId, bounds: &Box3) -> CellRange {
        let low = |v: f64| (v * self.per_m).floor() as i32;
        // The far side is outside of the box, but rounding in `key` may put a point just below it there.
        CellRange {
            space,
            x: (low(bounds.min.x), low(bounds.max.x)),
            y: (low(bounds.min.y), low(bounds.max.y)),
        }
    }

    /// The occupied cell at a square.
    pub(crate) fn cell_at(&self, range: &CellRange, ordinal: u64) -> Option<u32> {
        let width = range.width();
        let (dy, dx) = (ordinal / width, ordinal % width);
        let x = i64::from(range.x.0) + dx as i64;
        let y = i64::from(range.y.0) + dy as i64;
        self.index.get(&CellKey { space: range.space, x: x as i32, y: y as i32 }).copied()
    }

    /// Whether an occupied cell lies in the range.
    pub(crate) fn is_in(&self, range: &CellRange, cell: u32) -> bool {
        let key = self.cells[cell as usize].key;
        key.space == range.space && within(range.x, key.x) && within(range.y, key.y)
    }

    fn open(&mut self, key: CellKey) -> u32 {
        let cell = match self.free.pop() {
            Some(cell) => {
                self.cells[cell as usize].key = key;
                cell
            }
            None => {
                self.cells.push(Cell { key, rows: Vec::new() });
                (self.cells.len() - 1) as u32
            }
        };
        self.index.insert(key, cell);
        cell
    }
}

impl CellRange {
    /// How many squares, as far as that can be counted.
    pub(crate) fn len(&self) -> u64 {
        self.width().saturating_mul(span(self.y))
    }

    fn width(&self) -> u64 {
        span(self.x)
    }
}

fn span((from, to): (i32, i32)) -> u64 {
    (i64::from(to) - i64::from(from) + 1).max(0) as u64
}

fn within((from, to): (i32, i32), v: i32) -> bool {
    from <= v && v <= to
}

#[cfg(test)]
mod tests {
    use super::*;
    use spatialdb_types::Point3;

    #[test]
    fn rows_are_found_where_they_are_and_empty_cells_are_reused() {
        let mut grid = Grid::new(10.0);
        let key = grid.key(SpaceId(1), -0.5, 25.0);
        assert_eq!((key.x, key.y), (-1, 2));
        let (cell, place) = grid.insert(key, RowId(5));
        assert_eq!(grid.insert(key, RowId(6)), (cell, 1));
        let bounds = Box3 { min: Point3::new(-5.0, 20.0, 0.0), max: Point3::new(5.0, 21.0, 0.0) };
        let range = grid.range(SpaceId(1), &bounds);
        assert_eq!(range.len(), 2);
        let found: Vec<_> = (0..range.len()).filter_map(|i| grid.cell_at(&range, i)).collect();
        assert_eq!(found, [cell]);
        assert!(grid.is_in(&range, cell));
        assert_eq!(grid.remove(cell, place), Some(RowId(6)));
        assert_eq!(grid.remove(cell, 0), None);
        assert_eq!(grid.cell_count(), 0);
        let other = grid.key(SpaceId(0), 0.0, 0.0);
        assert_eq!(grid.insert(other, RowId(7)), (cell, 0));
    }

    #[test]
    fn an_endless_box_has_a_countable_range() {
        let grid = Grid::new(1.0);
        let range = grid.range(SpaceId(0), &Box3::EVERYWHERE);
        assert!(range.len() > 1 << 60);
    }
}
