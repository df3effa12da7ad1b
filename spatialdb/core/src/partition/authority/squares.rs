//! Which region each cell lies in, remembered.

use spatialdb_types::{Box3, LayerId};

use crate::authority::leases::{LeaseTable, Slot};
use crate::partition::grid::{CellKey, Grid, NOWHERE};

/// No region holds all of the cell, or none is known; so it always is in layers whose regions are players'.
const CUT: u32 = u32::MAX;

/// Nothing was looked up.
const NEVER: u32 = 0;

/// The slots of cells, looked up once until the table changes.
///
/// A cell may be of another square once it was empty. That is noticed when a row enters it ([`Squares::enter`]), so that a
/// look at a row that lies there need not ask.
#[derive(Debug)]
pub(super) struct Squares {
    layers: usize,
    /// For each cell: the version of the table that was asked, and one more; then the slots, one for each layer.
    known: Vec<u32>,
    /// For each cell the square that it was then.
    squares: Vec<Option<CellKey>>,
}

/// The slots of a cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots<'a>(&'a [u32]);

impl Slots<'_> {
    /// The region that holds all of the cell; `None`: a border cuts it, or nothing is known.
    #[inline]
    pub(super) fn of(self, layer: LayerId) -> Option<Slot> {
        let slot = self.0[usize::from(layer.0)];
        (slot != CUT).then_some(Slot(slot))
    }

    /// Whether a border cuts the cell in one of these layers, or nothing is known.
    #[inline]
    pub(super) fn is_cut(self, layers: &[LayerId]) -> bool {
        layers.iter().any(|layer| self.of(*layer).is_none())
    }
}

impl Squares {
    pub(super) const fn new(layers: usize) -> Self {
        Self { layers, known: Vec::new(), squares: Vec::new() }
    }

    /// A row is in a cell now.
    pub(super) fn enter(&mut self, table: &LeaseTable, grid: &Grid, cell: u32) {
        if self.squares.get(cell as usize) != Some(&grid.square(cell)) {
            self.look_up(table, grid, cell);
        }
    }

    /// Something of a cell, to have it at hand.
    #[inline]
    pub(super) fn peek(&self, cell: u32) -> u32 {
        self.known.get(self.first(cell)).copied().unwrap_or(NEVER)
    }

    /// The slots of a cell in which a row lies.
    #[inline]
    pub(super) fn slots(&mut self, table: &LeaseTable, grid: &Grid, cell: u32) -> Slots<'_> {
        if self.known.get(self.first(cell)) != Some(&stamp(table)) {
            self.look_up(table, grid, cell);
        }
        #[cfg(test)]
        assert_eq!(self.squares[cell as usize], grid.square(cell), "nobody said that a row entered the cell");
        let first = self.first(cell) + 1;
        Slots(&self.known[first..first + self.layers])
    }

    /// The slots of a cell that may be of another square by now, if it was that one when it was looked up.
    pub(super) fn slots_of(
        &self,
        table: &LeaseTable,
        cell: u32,
        square: Option<CellKey>,
    ) -> Option<Slots<'_>> {
        let first = self.first(cell);
        let is_it = self.known.get(first) == Some(&stamp(table)) && self.squares[cell as usize] == square;
        is_it.then(|| Slots(&self.known[first + 1..][..self.layers]))
    }

    const fn first(&self, cell: u32) -> usize {
        cell as usize * (self.layers + 1)
    }

    #[cold]
    fn look_up(&mut self, table: &LeaseTable, grid: &Grid, cell: u32) {
        let at = cell as usize;
        if self.squares.len() <= at {
            let cells = (grid.slot_count() as usize).max(at + 1);
            self.squares.resize(cells, None);
            self.known.resize(cells * (self.layers + 1), NEVER);
        }
        self.squares[at] = grid.square(cell);
        let first = self.first(cell);
        self.known[first] = stamp(table);
        let square =
            grid.column(cell).map(|extent| (extent.space, Box3 { min: extent.min, max: extent.max }));
        for layer in 0..self.layers {
            let id = LayerId(layer as u16);
            let slot = match &square {
                Some((space, area)) => table.slot_of_square(id, *space, area),
                None if cell == NOWHERE => table.slot_at(id, None),
                None => None,
            };
            self.known[first + 1 + layer] = slot.map_or(CUT, |slot| slot.0);
        }
    }
}

/// What is known since when.
const fn stamp(table: &LeaseTable) -> u32 {
    table.version().wrapping_add(1)
}
