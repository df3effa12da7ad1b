//! Where entities go: random walks with jumps, over a square of cells.
//!
//! Responsible for: every position that scenarios send, and how many of them change cell or partition.
//! Not responsible for: messages.
//!
//! The walk has a few rounds; it is walked to its end, back to its start, and so on, so that it never stops and no
//! position is made while the load runs.

use spatialdb_core::PartitionMap;
use spatialdb_types::{EntityId, PartitionId, Point3, Position};

use super::{random::Random, world::SPACE};

/// The side of a cell.
pub(super) const CELL_M: f64 = 100.0;

const ENTITIES_PER_CELL: f64 = 10.0;

// A step reaches this far on each axis; nearly as large a share of steps crosses a border of a cell.
const STEP_M: f64 = 0.11 * CELL_M;

// Half of the jumps end beyond the border between two partitions.
const JUMP_SHARE: f64 = 0.013;

const HEIGHT_M: f64 = 1000.0;

// Positions of all rounds together: what fits in memory without being felt.
const POSITIONS_TARGET: usize = 2_000_000;

/// The positions of every entity in every round.
pub(super) struct Walk {
    side_m: f64,
    rounds: Vec<Vec<Point3>>,
}

/// How many of the moves between two rounds cross a border.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Crossings {
    /// To another cell.
    pub(super) cell: u64,
    /// To another partition.
    pub(super) partition: u64,
}

impl Walk {
    /// A walk of that many entities.
    pub(super) fn new(entities: usize) -> Self {
        Self::up_to(entities, HEIGHT_M)
    }

    /// A walk of that many entities over level ground.
    pub(super) fn flat(entities: usize) -> Self {
        Self::up_to(entities, 0.0)
    }

    fn up_to(entities: usize, height_m: f64) -> Self {
        let mut random = Random::new(entities as u64);
        let side_m = CELL_M * (entities as f64 / ENTITIES_PER_CELL).sqrt().ceil().max(2.0);
        let first: Vec<Point3> = (0..entities).map(|_| anywhere(&mut random, side_m, height_m)).collect();
        let mut rounds = vec![first];
        for _ in 1..(POSITIONS_TARGET / entities).clamp(3, 16) {
            let last = rounds[rounds.len() - 1].iter();
            rounds.push(last.map(|from| step(&mut random, *from, side_m, height_m)).collect());
        }
        Self { side_m, rounds }
    }

    /// The length of a side of the square, which begins at the origin.
    pub(super) const fn side_m(&self) -> f64 {
        self.side_m
    }

    /// The side of a square that holds about as many entities.
    pub(super) fn side_of(&self, entities: f64) -> f64 {
        self.side_m * (entities / self.rounds[0].len() as f64).sqrt().min(1.0)
    }

    /// How many rounds there are.
    pub(super) const fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// The positions of a round; entity `i + 1` is at `i`.
    pub(super) fn round(&self, round: usize) -> &[Point3] {
        &self.rounds[round]
    }

    /// The round that the `step`-th step leads to; step 0 is the start.
    pub(super) const fn round_after(&self, step: u64) -> usize {
        let turn = self.rounds.len() as u64 - 1;
        let place = step % (2 * turn);
        (if place <= turn { place } else { 2 * turn - place }) as usize
    }

    /// What a server with that many partitions should make of the first round.
    pub(super) fn partition_map(&self, partitions: u64) -> PartitionMap {
        let sample: Vec<Position> =
            self.rounds[0].iter().map(|p| Position { space: SPACE, point: *p }).collect();
        PartitionMap::new(partitions as u16, CELL_M, &sample)
    }

    /// The borders that these entities cross between a round and the next; as many on the way back.
    pub(super) fn crossings(
        &self,
        map: &PartitionMap,
        round: usize,
        range: std::ops::Range<usize>,
    ) -> Crossings {
        let mut crossings = Crossings::default();
        for index in range {
            let (from, to) = (self.rounds[round][index], self.rounds[round + 1][index]);
            if cell(from) != cell(to) {
                crossings.cell += 1;
                crossings.partition += u64::from(home(map, index, from) != home(map, index, to));
            }
        }
        crossings
    }
}

fn home(map: &PartitionMap, index: usize, point: Point3) -> PartitionId {
    map.home(EntityId(index as u64 + 1), Some(Position { space: SPACE, point }))
}

fn cell(point: Point3) -> (i64, i64) {
    ((point.x / CELL_M).floor() as i64, (point.y / CELL_M).floor() as i64)
}

fn anywhere(random: &mut Random, side_m: f64, height_m: f64) -> Point3 {
    Point3::new(random.unit() * side_m, random.unit() * side_m, random.unit() * height_m)
}

fn step(random: &mut Random, from: Point3, side_m: f64, height_m: f64) -> Point3 {
    if random.unit() < JUMP_SHARE {
        return anywhere(random, side_m, height_m);
    }
    let mut along = |from: f64, end: f64| bounced(from + random.around_zero(STEP_M), end);
    let (x, y, z) = (along(from.x, side_m), along(from.y, side_m), along(from.z, height_m));
    Point3::new(x, y, if height_m > 0.0 { z } else { 0.0 })
}

// Back into 0..end, as from a wall.
fn bounced(at: f64, end: f64) -> f64 {
    if at < 0.0 {
        -at
    } else if at >= end {
        2.0 * end - at - f64::EPSILON * end
    } else {
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_moves_cross_borders() {
        let walk = Walk::new(20_000);
        let map = walk.partition_map(2);
        let mut all = Crossings::default();
        for round in 0..walk.rounds() - 1 {
            let found = walk.crossings(&map, round, 0..20_000);
            all = Crossings { cell: all.cell + found.cell, partition: all.partition + found.partition };
        }
        let moves = (20_000 * (walk.rounds() - 1)) as f64;
        assert!(all.cell as f64 / moves > 0.10, "{all:?}");
        assert!(all.partition as f64 / moves > 0.005, "{all:?}");
    }

    #[test]
    fn the_walk_turns_at_its_ends() {
        let walk = Walk { side_m: 1.0, rounds: vec![Vec::new(); 4] };
        let found: Vec<usize> = (0..9).map(|step| walk.round_after(step)).collect();
        assert_eq!(found, [0, 1, 2, 3, 2, 1, 0, 1, 2]);
    }

    #[test]
    fn nobody_leaves_the_square() {
        assert!((bounced(-3.0, 10.0) - 3.0).abs() < 1e-9);
        assert!(bounced(10.0, 10.0) < 10.0);
        assert!((bounced(12.0, 10.0) - 8.0).abs() < 1e-9);
    }
}
