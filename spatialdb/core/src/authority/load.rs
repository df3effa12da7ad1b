//! How much there is to do where: entities of each layer by square, kept as they come, go and move.
//!
//! An entity that stays in its square costs nothing. The balancer reads sums, and never looks at entities.

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use spatialdb_types::{LayerId, Position, SpaceId};

use super::issuer::{Loads, SquareLoad};

/// A square of one layer.
type Key = (LayerId, SpaceId, i32, i32);

/// The counts of one partition. Squares are cells, or 2, 4, 8... cells wide if there would be too many.
#[derive(Clone, Debug)]
pub struct LoadMap {
    cell_m: f64,
    /// How often the side was doubled.
    doublings: u32,
    squares_max: usize,
    squares: IndexMap<Key, u64, FxBuildHasher>,
    nowhere: IndexMap<LayerId, u64, FxBuildHasher>,
}

impl LoadMap {
    /// Nothing anywhere. `squares_max` squares of all layers together are kept apart.
    pub fn new(cell_m: f64, squares_max: usize) -> Self {
        Self { cell_m, doublings: 0, squares_max, squares: IndexMap::default(), nowhere: IndexMap::default() }
    }

    /// An entity of the layer is there now.
    pub fn add(&mut self, layer: LayerId, at: Option<Position>) {
        match at {
            Some(at) => *self.squares.entry(self.key(layer, at)).or_default() += 1,
            None => *self.nowhere.entry(layer).or_default() += 1,
        }
        while self.squares.len() > self.squares_max && self.doublings < i32::BITS {
            self.coarsen(self.doublings + 1);
        }
    }

    /// An entity of the layer is not there any more.
    ///
    /// # Panics
    /// If none was added there.
    pub fn remove(&mut self, layer: LayerId, at: Option<Position>) {
        let is_last = |count: &mut u64| {
            *count -= 1;
            *count == 0
        };
        match at {
            Some(at) => {
                let key = self.key(layer, at);
                let count =
                    self.squares.get_mut(&key).unwrap_or_else(|| panic!("nothing was counted in {key:?}"));
                if is_last(count) {
                    self.squares.swap_remove(&key);
                }
            }
            None => {
                let count = self.nowhere.get_mut(&layer);
                if is_last(
                    count
                        .unwrap_or_else(|| panic!("nothing without a position was counted in layer {layer}")),
                ) {
                    self.nowhere.swap_remove(&layer);
                }
            }
        }
    }

    /// An entity of the layer moved.
    pub fn shift(&mut self, layer: LayerId, from: Option<Position>, to: Option<Position>) {
        let key = |at: Option<Position>| at.map(|at| self.key(layer, at));
        if key(from) != key(to) {
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
        let more = doublings.min(i32::BITS).saturating_sub(self.doublings);
        if more == 0 {
            return;
        }
        self.doublings += more;
        let halved = |number: i32| number.checked_shr(more).unwrap_or(if number < 0 { -1 } else { 0 });
        let mut squares: IndexMap<Key, u64, FxBuildHasher> = IndexMap::default();
        for (&(layer, space, x, y), count) in &self.squares {
            *squares.entry((layer, space, halved(x), halved(y))).or_default() += count;
        }
        self.squares = squares;
    }

    /// Adds the counts to those of other partitions.
    ///
    /// # Panics
    /// If those have squares of another size: see [`LoadMap::doublings`].
    pub fn add_to(&self, loads: &mut Loads) {
        let side_m = self.cell_m * 2.0_f64.powi(self.doublings as i32);
        assert!(loads.side_m == 0.0 || loads.side_m == side_m, "squares of {} and {side_m} m", loads.side_m);
        loads.side_m = side_m;
        for (&(layer, space, x, y), &load) in &self.squares {
            loads.squares.entry((layer, space)).or_default().push(SquareLoad { x, y, load });
        }
        for (&layer, count) in &self.nowhere {
            *loads.nowhere.entry(layer).or_default() += count;
        }
    }

    fn key(&self, layer: LayerId, at: Position) -> Key {
        // The same arithmetic as the grid's.
        let number = |v: f64| {
            let cell = (v * (1.0 / self.cell_m)).floor() as i32;
            cell.checked_shr(self.doublings).unwrap_or(if cell < 0 { -1 } else { 0 })
        };
        (layer, at.space, number(at.point.x), number(at.point.y))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const LAYER: LayerId = LayerId(0);

    fn at((x, y): (i16, i16)) -> Option<Position> {
        // One entity in ten has no position.
        (x % 10 != 0).then(|| Position::new(SpaceId(0), f64::from(x), f64::from(y), 0.0))
    }

    fn sums(loads: &Loads) -> BTreeMap<(i32, i32), u64> {
        let mut sums = BTreeMap::new();
        for square in loads.squares.values().flatten() {
            *sums.entry((square.x, square.y)).or_default() += square.load;
        }
        sums
    }

    #[test]
    fn two_partitions_add_up_once_their_squares_are_of_one_size() {
        let (mut a, mut b) = (LoadMap::new(10.0, 2), LoadMap::new(10.0, 100));
        for x in [1, 11, 21, 31] {
            a.add(LAYER, at((x, 1)));
            b.add(LAYER, at((x, 1)));
        }
        assert_eq!((a.doublings(), b.doublings()), (1, 0));
        b.coarsen(a.doublings());
        let mut loads = Loads::default();
        a.add_to(&mut loads);
        b.add_to(&mut loads);
        assert_eq!((loads.side_m, sums(&loads)), (20.0, BTreeMap::from([((0, 0), 4), ((1, 0), 4)])));
    }

    #[test]
    fn however_far_apart_entities_are_there_is_an_end() {
        let mut map = LoadMap::new(1.0, 4);
        for (x, y) in [(-1e9, -1e9), (-1e9, 1e9), (1e9, -1e9), (1e9, 1e9)] {
            map.add(LAYER, Some(Position::new(SpaceId(0), x, y, 0.0)));
            map.add(LayerId(1), Some(Position::new(SpaceId(0), x, y, 0.0)));
        }
        let mut loads = Loads::default();
        map.add_to(&mut loads);
        assert_eq!(loads.squares.values().flatten().map(|square| square.load).sum::<u64>(), 8);
        assert_eq!(map.doublings(), i32::BITS, "eight squares remain: four quarters of two layers");
    }

    proptest! {
        #[test]
        fn counts_are_what_is_there(
            moves in prop::collection::vec((0_usize..8, (-200_i16..200, -200_i16..200)), 1..100),
            squares_max in 1_usize..12,
        ) {
            let mut map = LoadMap::new(7.0, squares_max);
            let mut places = [(1, 1); 8];
            places.iter().for_each(|place| map.add(LAYER, at(*place)));
            for (entity, to) in moves {
                map.shift(LAYER, at(places[entity]), at(to));
                places[entity] = to;
            }
            let mut loads = Loads::default();
            map.add_to(&mut loads);
            let mut expected: BTreeMap<(i32, i32), u64> = BTreeMap::new();
            for at in places.iter().filter_map(|place| at(*place)) {
                let number = |v: f64| ((v / 7.0).floor() / 2.0_f64.powi(map.doublings() as i32)).floor() as i32;
                *expected.entry((number(at.point.x), number(at.point.y))).or_default() += 1;
            }
            let nowhere = places.iter().filter(|place| at(**place).is_none()).count() as u64;
            prop_assert_eq!(sums(&loads), expected);
            prop_assert_eq!(loads.nowhere.get(&LAYER).copied().unwrap_or_default(), nowhere);
            for place in places {
                map.remove(LAYER, at(place));
            }
            prop_assert_eq!((map.squares.len(), map.nowhere.len()), (0, 0));
        }
    }
}
