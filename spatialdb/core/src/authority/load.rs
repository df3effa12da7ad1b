//! How much there is to do where: entities of each layer by cell, kept as they come, go and move.
//!
//! An entity that stays in its cell costs nothing. The balancer reads sums, and never looks at entities.
//!
//! Responsible for: the counts, and how large squares are. Not responsible for: adding them up (`load/sums.rs`).

mod sums;
#[cfg(test)]
mod tests;

use spatialdb_types::{LayerId, SpaceId};

use self::sums::Sums;
use super::issuer::Loads;

/// Where a cell lies: space, and its numbers along both axes. `None`: it holds what has no position.
pub type Square = Option<(SpaceId, i32, i32)>;

/// Set in a count: the cell was empty since it was added up, and may be of another square now.
const ANEW: u32 = 1 << 31;

/// The counts of one partition.
#[derive(Clone, Debug)]
pub struct LoadMap {
    cell_m: f64,
    layers: usize,
    /// How often the side of the squares that others are told was doubled.
    doublings: u32,
    squares_max: usize,
    /// For each cell, one for each layer.
    counts: Vec<u32>,
    sums: Sums,
}

impl LoadMap {
    /// Nothing anywhere. Others are told of `squares_max` squares of all layers together.
    pub fn new(cell_m: f64, layers: usize, squares_max: usize) -> Self {
        Self { cell_m, layers, doublings: 0, squares_max, counts: Vec::new(), sums: Sums::default() }
    }

    /// An entity of the layer is in the cell now.
    #[inline]
    pub fn add(&mut self, layer: LayerId, cell: u32) {
        let at = self.place(layer, cell);
        if self.counts.len() <= at {
            self.counts.resize((at + 1).max(self.counts.len() * 2), 0);
        }
        self.counts[at] += 1;
    }

    /// An entity of the layer is not in the cell any more.
    ///
    /// # Panics
    /// If none was added there.
    #[inline]
    pub fn remove(&mut self, layer: LayerId, cell: u32) {
        let at = self.place(layer, cell);
        let count = self.counts.get_mut(at).filter(|count| **count & !ANEW > 0);
        let count = count.unwrap_or_else(|| panic!("nothing of layer {layer} was counted in cell {cell}"));
        *count -= 1;
        if *count & !ANEW == 0 {
            *count = ANEW;
        }
    }

    /// An entity of the layer moved to another square. If its cell has the same number, it was alone there, and the number
    /// was free for the cell of the new square.
    #[inline]
    pub fn shift(&mut self, layer: LayerId, from: u32, to: u32) {
        self.remove(layer, from);
        self.add(layer, to);
    }

    /// How often the side of a square was doubled. The sums of several partitions can be added up once they have this in
    /// common.
    pub const fn doublings(&self) -> u32 {
        self.doublings
    }

    /// Makes squares as large as that, if they are smaller. They stay so.
    pub fn coarsen(&mut self, doublings: u32) {
        let doublings = self.doublings.max(doublings.min(i32::BITS));
        if doublings > self.doublings {
            self.doublings = doublings;
            self.sums = Sums::default();
        }
    }

    /// Adds the counts to those of other partitions. `square` says where a cell with something in it lies: of one that was
    /// not empty since the last time, the same. Returns whether there are more squares than there should be: then they are
    /// to be made larger for the next time.
    ///
    /// # Panics
    /// If those have squares of another size: see [`LoadMap::doublings`].
    pub fn add_to(&mut self, loads: &mut Loads, square: impl Fn(u32) -> Square) -> bool {
        let side_m = self.cell_m * 2.0_f64.powi(self.doublings as i32);
        assert!(loads.side_m == 0.0 || loads.side_m == side_m, "squares of {} and {side_m} m", loads.side_m);
        loads.side_m = side_m;
        let doublings = self.doublings;
        let wider = |number: i32| number.checked_shr(doublings).unwrap_or(if number < 0 { -1 } else { 0 });
        self.sums.follow(&mut self.counts, self.layers, |cell| {
            square(cell).map(|(space, x, y)| (space, wider(x), wider(y)))
        });
        self.sums.add_to(loads) > self.squares_max && self.doublings < i32::BITS
    }

    fn place(&self, layer: LayerId, cell: u32) -> usize {
        cell as usize * self.layers + usize::from(layer.0)
    }
}
