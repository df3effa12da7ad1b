//! Which region each cell lies in, remembered.

use spatialdb_types::{Box3, LayerId};

use crate::authority::leases::{LeaseTable, Slot};
use crate::partition::grid::{CellKey, Grid, NOWHERE};

/// No region holds all of the cell, or none is known.
const CUT: u32 = u32::MAX;

/// The slots of cells, looked up once until the table changes.
#[derive(Debug)]
pub(super) struct Squares {
    layers: usize,
    cells: Vec<Head>,
    /// For each cell, one for each layer.
    slots: Vec<u32>,
}

/// What a cell's slots were looked up for. A cell may be of another square later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    /// Of the table, and one more; 0: nothing was looked up.
    version: u64,
    square: Option<CellKey>,
}

const NOTHING: Head = Head { version: 0, square: None };

impl Squares {
    pub(super) const fn new(layers: usize) -> Self {
        Self { layers, cells: Vec::new(), slots: Vec::new() }
    }

    /// The region that holds all of a cell; `None`: a border cuts it, or nothing is known.
    #[inline]
    pub(super) fn slot(
        &mut self,
        table: &LeaseTable,
        grid: &Grid,
        cell: u32,
        layer: LayerId,
    ) -> Option<Slot> {
        let slot = self.of_cell(table, grid, cell)[usize::from(layer.0)];
        (slot != CUT).then_some(Slot(slot))
    }

    /// Whether a border cuts the cell in one of these layers, or nothing is known.
    #[inline]
    pub(super) fn is_cut(&mut self, table: &LeaseTable, grid: &Grid, cell: u32, layers: &[LayerId]) -> bool {
        let slots = self.of_cell(table, grid, cell);
        layers.iter().any(|layer| slots[usize::from(layer.0)] == CUT)
    }

    /// The slots of a cell, one for each layer.
    #[inline]
    fn of_cell(&mut self, table: &LeaseTable, grid: &Grid, cell: u32) -> &[u32] {
        let head = Head { version: u64::from(table.version()) + 1, square: grid.square(cell) };
        if self.cells.get(cell as usize) != Some(&head) {
            self.look_up(table, grid, cell, head);
        }
        let first = cell as usize * self.layers;
        &self.slots[first..first + self.layers]
    }

    #[cold]
    fn look_up(&mut self, table: &LeaseTable, grid: &Grid, cell: u32, head: Head) {
        let at = cell as usize;
        if self.cells.len() <= at {
            let cells = (grid.slot_count() as usize).max(at + 1);
            self.cells.resize(cells, NOTHING);
            self.slots.resize(cells * self.layers, CUT);
        }
        self.cells[at] = head;
        let square =
            grid.column(cell).map(|extent| (extent.space, Box3 { min: extent.min, max: extent.max }));
        for layer in 0..self.layers {
            let id = LayerId(layer as u16);
            let slot = match &square {
                Some((space, area)) => table.slot_of_square(id, *space, area),
                None if cell == NOWHERE => table.slot_at(id, None),
                None => None,
            };
            self.slots[at * self.layers + layer] = slot.map_or(CUT, |slot| slot.0);
        }
    }
}
