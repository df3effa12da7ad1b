//! Square -> cell, for blocks of squares that lie together: who looks at an area finds its squares in few places.

use rustc_hash::FxHashMap;
use spatialdb_types::SpaceId;

use super::{CellKey, CellRange};

/// Squares along a side of a block, as a power of two: a block is one line of the processor's cache.
const SIDE_BITS: u32 = 2;

const SQUARES: usize = 1 << (2 * SIDE_BITS);

/// No cell: that of rows without a position is of no square.
const NO_CELL: u32 = super::NOWHERE;

/// The cells of squares.
#[derive(Debug, Default)]
pub(super) struct CellIndex {
    blocks: FxHashMap<BlockKey, Block>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct BlockKey {
    space: SpaceId,
    x: i32,
    y: i32,
}

type Block = [u32; SQUARES];

impl CellIndex {
    pub(super) fn get(&self, key: CellKey) -> Option<u32> {
        let (block, at) = split(key);
        self.blocks.get(&block).map(|cells| cells[at]).filter(|&cell| cell != NO_CELL)
    }

    pub(super) fn insert(&mut self, key: CellKey, cell: u32) {
        let (block, at) = split(key);
        self.blocks.entry(block).or_insert([NO_CELL; SQUARES])[at] = cell;
    }

    pub(super) fn remove(&mut self, key: CellKey) {
        let (block, at) = split(key);
        if let Some(cells) = self.blocks.get_mut(&block) {
            cells[at] = NO_CELL;
            if *cells == [NO_CELL; SQUARES] {
                self.blocks.remove(&block);
            }
        }
    }

    /// Adds the cells of a range to a list.
    pub(super) fn collect(&self, range: &CellRange, cells: &mut Vec<u32>) {
        let blocks = |(from, to): (i32, i32)| from >> SIDE_BITS..=to >> SIDE_BITS;
        for y in blocks(range.y) {
            for x in blocks(range.x) {
                let Some(block) = self.blocks.get(&BlockKey { space: range.space, x, y }) else { continue };
                let (rows, columns) = (within(y, range.y), within(x, range.x));
                for row in rows {
                    let of_row = columns.clone().map(|column| block[row << SIDE_BITS | column]);
                    cells.extend(of_row.filter(|&cell| cell != NO_CELL));
                }
            }
        }
    }
}

/// The block of a square, and where it is there.
const fn split(key: CellKey) -> (BlockKey, usize) {
    let mask = (1 << SIDE_BITS) - 1;
    let block = BlockKey { space: key.space, x: key.x >> SIDE_BITS, y: key.y >> SIDE_BITS };
    (block, ((key.y & mask) << SIDE_BITS | key.x & mask) as usize)
}

/// Which rows or columns of a block lie between two squares.
fn within(block: i32, (from, to): (i32, i32)) -> std::ops::Range<usize> {
    let (first, side) = (i64::from(block) << SIDE_BITS, 1 << SIDE_BITS);
    let inside = |square: i64| (square - first).clamp(0, side) as usize;
    inside(i64::from(from))..inside(i64::from(to) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: SpaceId = SpaceId(3);

    fn key(x: i32, y: i32) -> CellKey {
        CellKey { space: SPACE, x, y }
    }

    #[test]
    fn squares_have_their_cells_until_these_are_removed() {
        let mut index = CellIndex::default();
        let ends = [i32::MIN, -5, -4, -1, 0, 3, 4, i32::MAX];
        let all: Vec<CellKey> = ends.iter().flat_map(|&x| ends.map(|y| key(x, y))).collect();
        for (cell, &square) in (1..).zip(&all) {
            assert_eq!(index.get(square), None);
            index.insert(square, cell);
        }
        assert_eq!(index.get(CellKey { space: SpaceId(0), ..key(0, 0) }), None);
        for (cell, &square) in (1..).zip(&all) {
            assert_eq!(index.get(square), Some(cell));
            index.remove(square);
            assert_eq!(index.get(square), None);
        }
        assert!(index.blocks.is_empty());
    }

    #[test]
    fn a_range_has_the_cells_of_its_squares() {
        let mut index = CellIndex::default();
        let squares = || (-9..9).flat_map(|x| (-9..9).map(move |y| key(x, y)));
        for (cell, square) in (1..).zip(squares()) {
            index.insert(square, cell);
        }
        for (x, y) in [((-9, 8), (-9, 8)), ((-5, -3), (2, 7)), ((0, 0), (-1, 0)), ((20, 30), (0, 0))] {
            let mut found = Vec::new();
            index.collect(&CellRange { space: SPACE, x, y }, &mut found);
            found.sort_unstable();
            let is_in = |k: &CellKey| x.0 <= k.x && k.x <= x.1 && y.0 <= k.y && k.y <= y.1;
            let expected: Vec<u32> =
                (1..).zip(squares()).filter(|(_, k)| is_in(k)).map(|(cell, _)| cell).collect();
            assert_eq!(found, expected);
        }
    }
}
