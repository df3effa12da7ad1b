//! Which regions each cell lies in, remembered.

use rustc_hash::FxHashMap;
use spatialdb_types::{Box3, LayerId};

use crate::authority::leases::{LeaseTable, Slot};
use crate::partition::grid::{CellKey, Grid, NOWHERE};

/// No region holds all of the cell, or none is known; so it always is in layers whose regions are players'.
const CUT: u32 = u32::MAX;

/// Nothing was looked up.
const NEVER: u32 = 0;

/// Which regions all of a cell lies in, one for each layer. Good until the table changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::partition) struct Kind(u32);

/// The regions of cells, looked up once until the table changes.
///
/// A cell may be of another square once it was empty. That is noticed when a row enters it ([`Squares::enter`]), so that a
/// look at a row that lies there need not ask.
#[derive(Debug)]
pub(super) struct Squares {
    layers: usize,
    /// For each cell: the version of the table that was asked, and one more; and what came of it.
    known: Vec<(u32, Kind)>,
    /// For each cell the square that it was then.
    squares: Vec<Option<CellKey>>,
    /// For each kind its slots, one for each layer.
    slots: Vec<u32>,
    kinds: FxHashMap<Box<[u32]>, Kind>,
    /// Of which version of the table these are.
    of: u32,
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
    pub(super) fn new(layers: usize) -> Self {
        Self {
            layers,
            known: Vec::new(),
            squares: Vec::new(),
            slots: Vec::new(),
            kinds: FxHashMap::default(),
            of: NEVER,
        }
    }

    /// A row is in a cell now. Where there are others the first of them was noticed.
    #[inline]
    pub(super) fn enter(&mut self, table: &LeaseTable, grid: &Grid, cell: u32) {
        if grid.rows(cell).len() <= 1 && self.squares.get(cell as usize) != Some(&grid.square(cell)) {
            self.look_up(table, grid, cell);
        }
    }

    /// Something of a cell, to have it at hand.
    #[inline]
    pub(super) fn peek(&self, cell: u32) -> u32 {
        self.known.get(cell as usize).map_or(NEVER, |(stamp, _)| *stamp)
    }

    /// What is known of a cell in which a row lies.
    #[inline]
    pub(super) fn kind(&mut self, table: &LeaseTable, grid: &Grid, cell: u32) -> Kind {
        let known = self.known.get(cell as usize).filter(|(stamp, _)| *stamp == stamp_of(table));
        let kind = known.map(|(_, kind)| *kind);
        let kind = kind.unwrap_or_else(|| self.look_up(table, grid, cell));
        #[cfg(test)]
        assert_eq!(self.squares[cell as usize], grid.square(cell), "nobody said that a row entered the cell");
        kind
    }

    /// The slots of a kind.
    #[inline]
    pub(super) fn of_kind(&self, Kind(kind): Kind) -> Slots<'_> {
        Slots(&self.slots[kind as usize * self.layers..][..self.layers])
    }

    /// The slots of a cell in which a row lies.
    #[inline]
    pub(super) fn slots(&mut self, table: &LeaseTable, grid: &Grid, cell: u32) -> Slots<'_> {
        let kind = self.kind(table, grid, cell);
        self.of_kind(kind)
    }

    #[cold]
    fn look_up(&mut self, table: &LeaseTable, grid: &Grid, cell: u32) -> Kind {
        let at = cell as usize;
        if self.squares.len() <= at {
            let cells = (grid.slot_count() as usize).max(at + 1);
            self.squares.resize(cells, None);
            self.known.resize(cells, (NEVER, Kind(0)));
        }
        self.squares[at] = grid.square(cell);
        let square =
            grid.column(cell).map(|extent| (extent.space, Box3 { min: extent.min, max: extent.max }));
        let slot = |layer| match &square {
            Some((space, area)) => table.slot_of_square(layer, *space, area),
            None if cell == NOWHERE => table.slot_at(layer, None),
            None => None,
        };
        let slots = (0..self.layers).map(|layer| slot(LayerId(layer as u16)).map_or(CUT, |slot| slot.0));
        let kind = self.note(stamp_of(table), slots.collect());
        self.known[at] = (stamp_of(table), kind);
        kind
    }

    fn note(&mut self, stamp: u32, slots: Box<[u32]>) -> Kind {
        if self.of != stamp {
            self.of = stamp;
            self.kinds.clear();
            self.slots.clear();
        }
        let Self { slots: all, kinds, .. } = self;
        let next = Kind(kinds.len() as u32);
        *kinds.entry(slots).or_insert_with_key(|slots| {
            all.extend(slots);
            next
        })
    }
}

/// What is known since when.
const fn stamp_of(table: &LeaseTable) -> u32 {
    table.version().wrapping_add(1)
}
