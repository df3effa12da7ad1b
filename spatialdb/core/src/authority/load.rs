//! How much there is to do where: entities of each layer by cell, kept as they come, go and move.
//!
//! An entity that stays in its cell costs nothing. The balancer reads sums, and never looks at entities.

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use spatialdb_types::{LayerId, SpaceId};

use super::issuer::{Loads, SquareLoad};

/// Where a cell lies: space, and its numbers along both axes. `None`: it holds what has no position.
pub type Square = Option<(SpaceId, i32, i32)>;

/// Sums by square. Squares are cells, or 2, 4, 8... cells wide.
type Sums = IndexMap<(LayerId, SpaceId, i32, i32), u64, FxBuildHasher>;

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
}

impl LoadMap {
    /// Nothing anywhere. Others are told of `squares_max` squares of all layers together.
    pub const fn new(cell_m: f64, layers: usize, squares_max: usize) -> Self {
        Self { cell_m, layers, doublings: 0, squares_max, counts: Vec::new() }
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
        let count = self.counts.get_mut(at).filter(|count| **count > 0);
        *count.unwrap_or_else(|| panic!("nothing of layer {layer} was counted in cell {cell}")) -= 1;
    }

    /// An entity of the layer moved.
    #[inline]
    pub fn shift(&mut self, layer: LayerId, from: u32, to: u32) {
        if from != to {
            self.remove(layer, from);
            self.add(layer, to);
        }
    }

    /// How often the side of a square was doubled. The sums of several partitions can be added up once they have this in
    /// common.
    pub const fn doublings(&self) -> u32 {
        self.doublings
    }

    /// Makes squares as large as that, if they are smaller. They stay so.
    pub fn coarsen(&mut self, doublings: u32) {
        self.doublings = self.doublings.max(doublings.min(i32::BITS));
    }

    /// Adds the counts to those of other partitions. `square` says where a cell with something in it lies. Returns whether there
    /// are more squares than there should be: then they are to be made larger for the next time.
    ///
    /// # Panics
    /// If those have squares of another size: see [`LoadMap::doublings`].
    pub fn add_to(&self, loads: &mut Loads, square: impl Fn(u32) -> Square) -> bool {
        let side_m = self.cell_m * 2.0_f64.powi(self.doublings as i32);
        assert!(loads.side_m == 0.0 || loads.side_m == side_m, "squares of {} and {side_m} m", loads.side_m);
        loads.side_m = side_m;
        for (layer, cell, count) in self.counted() {
            if square(cell).is_none() {
                *loads.nowhere.entry(layer).or_default() += u64::from(count);
            }
        }
        let mut squares = 0;
        let mut put = |layer, space, x, y, load| {
            squares += 1;
            loads.squares.entry((layer, space)).or_default().push(SquareLoad { x, y, load });
        };
        if self.doublings > 0 {
            let sums = self.sums(&square).into_iter();
            sums.for_each(|((layer, space, x, y), load)| put(layer, space, x, y, load));
        } else {
            for (layer, cell, count) in self.counted() {
                if let Some((space, x, y)) = square(cell) {
                    put(layer, space, x, y, u64::from(count));
                }
            }
        }
        squares > self.squares_max && self.doublings < i32::BITS
    }

    fn sums(&self, square: &impl Fn(u32) -> Square) -> Sums {
        let wider =
            |number: i32| number.checked_shr(self.doublings).unwrap_or(if number < 0 { -1 } else { 0 });
        let mut sums = Sums::default();
        for (layer, cell, count) in self.counted() {
            if let Some((space, x, y)) = square(cell) {
                *sums.entry((layer, space, wider(x), wider(y))).or_default() += u64::from(count);
            }
        }
        sums
    }

    /// What is not zero.
    fn counted(&self) -> impl Iterator<Item = (LayerId, u32, u32)> {
        let all = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        all.map(|(at, count)| (LayerId((at % self.layers) as u16), (at / self.layers) as u32, *count))
    }

    fn place(&self, layer: LayerId, cell: u32) -> usize {
        cell as usize * self.layers + usize::from(layer.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const LAYER: LayerId = LayerId(0);

    /// Cell 0 is of what has no position; the others lie beside each other.
    fn in_a_row(cell: u32) -> Square {
        (cell > 0).then(|| (SpaceId(0), cell as i32 - 101, 0))
    }

    fn sums(loads: &Loads) -> BTreeMap<i32, u64> {
        let mut sums = BTreeMap::new();
        for square in loads.squares.values().flatten() {
            *sums.entry(square.x).or_default() += square.load;
        }
        sums
    }

    #[test]
    fn two_partitions_add_up_once_their_squares_are_of_one_size() {
        let (mut a, mut b) = (LoadMap::new(10.0, 2, 2), LoadMap::new(10.0, 2, 100));
        for cell in [101, 102, 103, 104] {
            a.add(LAYER, cell);
            b.add(LAYER, cell);
        }
        assert!(a.add_to(&mut Loads::default(), in_a_row) && !b.add_to(&mut Loads::default(), in_a_row));
        a.coarsen(1);
        b.coarsen(1);
        let mut loads = Loads::default();
        a.add_to(&mut loads, in_a_row);
        b.add_to(&mut loads, in_a_row);
        assert_eq!((loads.side_m, sums(&loads)), (20.0, BTreeMap::from([(0, 4), (1, 4)])));
    }

    #[test]
    fn however_far_apart_entities_are_there_is_an_end() {
        let mut map = LoadMap::new(1.0, 2, 4);
        for cell in 0..4 {
            map.add(LAYER, cell);
            map.add(LayerId(1), cell);
        }
        let far = |number| if number == 0 { i32::MIN } else { i32::MAX };
        let corner = |cell: u32| Some((SpaceId(0), far(cell % 2), far(cell / 2)));
        let mut loads = Loads::default();
        while map.add_to(&mut loads, corner) {
            loads = Loads::default();
            map.coarsen(map.doublings() + 1);
        }
        assert_eq!(map.doublings(), i32::BITS, "eight squares remain: four quarters of two layers");
        assert_eq!(loads.squares.values().flatten().map(|square| square.load).sum::<u64>(), 8);
    }

    proptest! {
        #[test]
        fn counts_are_what_is_there(
            moves in prop::collection::vec((0_usize..8, 0_u32..200), 1..100),
            squares_max in 1_usize..12,
        ) {
            let mut map = LoadMap::new(7.0, 1, squares_max);
            let mut cells = [1; 8];
            cells.iter().for_each(|cell| map.add(LAYER, *cell));
            for (entity, to) in moves {
                map.shift(LAYER, cells[entity], to);
                cells[entity] = to;
            }
            let mut loads = Loads::default();
            while map.add_to(&mut loads, in_a_row) {
                loads = Loads::default();
                map.coarsen(map.doublings() + 1);
            }
            let doublings = map.doublings();
            let mut expected: BTreeMap<i32, u64> = BTreeMap::new();
            for (_, x, _) in cells.into_iter().filter_map(in_a_row) {
                *expected.entry((i64::from(x) >> doublings) as i32).or_default() += 1;
            }
            let nowhere = cells.iter().filter(|cell| **cell == 0).count() as u64;
            prop_assert!(expected.len() <= squares_max.max(2));
            prop_assert_eq!(sums(&loads), expected);
            prop_assert_eq!(loads.nowhere.get(&LAYER).copied().unwrap_or_default(), nowhere);
            cells.into_iter().for_each(|cell| map.remove(LAYER, cell));
            prop_assert_eq!(map.counted().count(), 0);
        }
    }
}
