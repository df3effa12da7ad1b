//! Squares of the grid, and the rectangles of them that boxes touch.

use spatialdb_types::SpaceId;

/// A square of the grid: `[x, x+1) * cell_m` by `[y, y+1) * cell_m`, any z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CellKey {
    pub(crate) space: SpaceId,
    pub(crate) x: i32,
    pub(crate) y: i32,
}

/// The cells that a box touches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CellRange {
    pub(super) space: SpaceId,
    pub(super) x: (i32, i32),
    pub(super) y: (i32, i32),
}

impl CellRange {
    /// How many squares, as far as that can be counted.
    pub(crate) fn len(&self) -> u64 {
        self.width().saturating_mul(span(self.y))
    }

    /// A square by its number in the range.
    pub(crate) fn key(&self, ordinal: u64) -> CellKey {
        let width = self.width();
        let (dy, dx) = (ordinal / width, ordinal % width);
        let x = i64::from(self.x.0) + dx as i64;
        let y = i64::from(self.y.0) + dy as i64;
        CellKey { space: self.space, x: x as i32, y: y as i32 }
    }

    pub(super) fn contains(&self, key: CellKey) -> bool {
        key.space == self.space && within(self.x, key.x) && within(self.y, key.y)
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
