//! Sums by square, brought up to date where counts have changed.

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use spatialdb_types::LayerId;

use super::{ANEW, Square};
use crate::authority::issuer::{Loads, SquareLoad};

/// What a sum is of. Squares are cells, or 2, 4, 8... cells wide.
type Key = (LayerId, Square);

/// The sums of one partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    /// Like the counts: what of each is in a sum.
    counted: Vec<u32>,
    /// Like the counts: in which sum, if there is something to count.
    within: Vec<u32>,
    sums: Vec<(Key, u64)>,
    by_key: IndexMap<Key, u32, FxBuildHasher>,
    /// Places in `sums` that are not used: their sum is 0.
    free: Vec<u32>,
}

impl Sums {
    /// Takes in what has changed. `square` says where a cell lies.
    pub(super) fn follow(&mut self, counts: &mut [u32], layers: usize, square: impl Fn(u32) -> Square) {
        self.counted.resize(counts.len(), 0);
        self.within.resize(counts.len(), 0);
        for (at, count) in counts.iter_mut().enumerate() {
            if *count == self.counted[at] {
                continue;
            }
            let (is_anew, now) = (*count & ANEW != 0, *count & !ANEW);
            *count = now;
            let mut before = std::mem::replace(&mut self.counted[at], now);
            if before > 0 && (is_anew || now == 0) {
                self.take(self.within[at], before);
                before = 0;
            }
            if now > 0 {
                if before == 0 {
                    let (layer, cell) = (LayerId((at % layers) as u16), (at / layers) as u32);
                    self.within[at] = self.place((layer, square(cell)));
                }
                let sum = &mut self.sums[self.within[at] as usize].1;
                *sum = *sum + u64::from(now) - u64::from(before);
            }
        }
    }

    /// Adds all sums. Returns how many squares that were.
    pub(super) fn add_to(&self, loads: &mut Loads) -> usize {
        let kind = |((layer, square), _): &(Key, u64)| (*layer, square.map(|(space, ..)| space));
        let mut squares = 0;
        for sums in self.sums.chunk_by(|a, b| kind(a) == kind(b)) {
            let (layer, space) = kind(&sums[0]);
            let Some(space) = space else {
                let all: u64 = sums.iter().map(|(_, load)| load).sum();
                if all > 0 {
                    *loads.nowhere.entry(layer).or_default() += all;
                }
                continue;
            };
            let list = loads.squares.entry((layer, space)).or_default();
            let before = list.len();
            list.reserve(sums.len());
            list.extend(sums.iter().filter(|(_, load)| *load > 0).filter_map(|&((_, square), load)| {
                let (_, x, y) = square?;
                Some(SquareLoad { x, y, load })
            }));
            squares += list.len() - before;
        }
        squares
    }

    /// The place of a sum, which is 0 if it is new.
    fn place(&mut self, key: Key) -> u32 {
        let Self { sums, by_key, free, .. } = self;
        *by_key.entry(key).or_insert_with(|| match free.pop() {
            Some(place) => {
                sums[place as usize].0 = key;
                place
            }
            None => {
                sums.push((key, 0));
                sums.len() as u32 - 1
            }
        })
    }

    /// Takes something from a sum. One of nothing is given up.
    fn take(&mut self, place: u32, count: u32) {
        let (key, sum) = &mut self.sums[place as usize];
        *sum -= u64::from(count);
        if *sum == 0 {
            self.by_key.swap_remove(key);
            self.free.push(place);
        }
    }
}
