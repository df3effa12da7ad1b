//! The partition map: which partition holds which part of each space.
//!
//! Each space is cut into half-open boxes by a kd-tree whose cuts lie on the borders of cells, so that a move inside
//! a cell never changes partition. Entities without a position go by their id.

use std::collections::BTreeMap;

use spatialdb_types::{EntityId, PartitionId, Position, SpaceId};

use crate::CellSize;

/// Where the partitions lie. Does not change while a world runs.
#[derive(Clone, Debug)]
pub struct PartitionMap {
    size: CellSize,
    partitions: u16,
    trees: BTreeMap<SpaceId, Vec<Node>>,
}

/// A node of a tree; the root is the last one.
#[derive(Clone, Debug)]
enum Node {
    Leaf(PartitionId),
    /// Cells below `at` on the axis are under `low`.
    Split {
        axis: Axis,
        at: i32,
        low: usize,
        high: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    X,
    Y,
}

type Square = (i32, i32);

impl PartitionMap {
    /// Cuts the spaces so that about the same number of the sample lies in each partition.
    ///
    /// # Panics
    /// If there is no partition, or `cell_m` is not a positive number.
    pub fn new(partitions: u16, cell_m: f64, sample: &[Position]) -> Self {
        assert!(partitions > 0, "a world has at least one partition");
        assert!(cell_m.is_finite() && cell_m > 0.0, "cell_m = {cell_m} is a positive number of metres");
        let size = CellSize::new(cell_m);
        let mut squares: BTreeMap<SpaceId, Vec<Square>> = BTreeMap::new();
        for p in sample {
            let square = (size.number(p.point.x), size.number(p.point.y));
            squares.entry(p.space).or_default().push(square);
        }
        let trees =
            squares.into_iter().map(|(space, mut squares)| (space, tree(&mut squares, partitions))).collect();
        Self { size, partitions, trees }
    }

    /// The length of a side of a cell.
    pub const fn cell_m(&self) -> f64 {
        self.size.side_m()
    }

    /// How many partitions there are.
    pub const fn partitions(&self) -> u16 {
        self.partitions
    }

    /// Every partition.
    pub fn ids(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.partitions).map(PartitionId)
    }

    /// The partition that an entity belongs to.
    pub fn home(&self, entity: EntityId, position: Option<Position>) -> PartitionId {
        match position {
            Some(at) => self.home_at(at),
            None => PartitionId((scatter(entity.0) % u64::from(self.partitions)) as u16),
        }
    }

    fn home_at(&self, at: Position) -> PartitionId {
        let Some(nodes) = self.trees.get(&at.space) else {
            return PartitionId((scatter(u64::from(at.space.0)) % u64::from(self.partitions)) as u16);
        };
        let (x, y) = (self.size.number(at.point.x), self.size.number(at.point.y));
        let mut node = nodes.len() - 1;
        loop {
            match nodes[node] {
                Node::Leaf(partition) => return partition,
                Node::Split { axis, at, low, high } => {
                    let v = if axis == Axis::X { x } else { y };
                    node = if v < at { low } else { high };
                }
            }
        }
    }
}

fn tree(squares: &mut [Square], partitions: u16) -> Vec<Node> {
    let mut nodes = Vec::new();
    grow(squares, 0, partitions, &mut nodes);
    nodes
}

/// Adds the subtree for partitions `first..first + count`. Returns its root.
fn grow(squares: &mut [Square], first: u16, count: u16, nodes: &mut Vec<Node>) -> usize {
    let split = if count > 1 { cut(squares, count) } else { None };
    let node = match split {
        None => Node::Leaf(PartitionId(first)),
        Some((axis, at)) => {
            let low_count = count / 2;
            let on = |s: &Square| if axis == Axis::X { s.0 } else { s.1 };
            squares.sort_unstable_by_key(on);
            let middle = squares.partition_point(|s| on(s) < at);
            let (below, above) = squares.split_at_mut(middle);
            let low = grow(below, first, low_count, nodes);
            let high = grow(above, first + low_count, count - low_count, nodes);
            Node::Split { axis, at, low, high }
        }
    };
    nodes.push(node);
    nodes.len() - 1
}

/// Across the longer side, at the median weighted by how many partitions go to each part. `None` if all lies in one
/// cell and cannot be cut.
fn cut(squares: &mut [Square], count: u16) -> Option<(Axis, i32)> {
    let span = |on: fn(&Square) -> i32| {
        let (min, max) = (squares.iter().map(on).min()?, squares.iter().map(on).max()?);
        Some(i64::from(max) - i64::from(min))
    };
    let (wide, high) = (span(|s| s.0)?, span(|s| s.1)?);
    if wide == 0 && high == 0 {
        return None;
    }
    let axis = if wide >= high { Axis::X } else { Axis::Y };
    let on = |s: &Square| if axis == Axis::X { s.0 } else { s.1 };
    squares.sort_unstable_by_key(on);
    let middle = squares.len() * usize::from(count / 2) / usize::from(count);
    let smallest = on(&squares[0]);
    let at = on(&squares[middle]);
    // Both parts get something: a cut at the smallest cell moves up to the next one.
    if at > smallest {
        Some((axis, at))
    } else {
        squares.iter().map(on).find(|&v| v > smallest).map(|v| (axis, v))
    }
}

/// Spreads ids that follow each other (the finaliser of SplitMix64).
const fn scatter(id: u64) -> u64 {
    let a = (id ^ (id >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    b ^ (b >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Position> {
        let at = |i: u32| Position::new(SpaceId(0), f64::from(i % 100) * 10.0, f64::from(i / 100) * 3.0, 0.0);
        (0..10_000).map(at).collect()
    }

    #[test]
    fn partitions_get_about_the_same() {
        for partitions in [1, 2, 3, 4, 7] {
            let map = PartitionMap::new(partitions, 5.0, &sample());
            let mut counts = vec![0; usize::from(partitions)];
            for p in sample() {
                counts[usize::from(map.home(EntityId(1), Some(p)).0)] += 1;
            }
            let fair = 10_000 / i32::from(partitions);
            assert!(counts.iter().all(|&c| (c - fair).abs() < fair / 5 + 1), "{partitions}: {counts:?}");
        }
    }

    #[test]
    fn entities_without_position_are_spread() {
        let map = PartitionMap::new(4, 1.0, &[]);
        let mut counts = [0; 4];
        for id in 1..=4000 {
            counts[usize::from(map.home(EntityId(id), None).0)] += 1;
        }
        assert!(counts.iter().all(|&c| c > 800), "{counts:?}");
        let somewhere = map.home(EntityId(1), Some(Position::new(SpaceId(9), 1e9, -1e9, 0.0)));
        assert!(somewhere.0 < 4);
    }

    #[test]
    fn a_cut_lies_on_a_cell_border() {
        let map = PartitionMap::new(2, 7.0, &sample());
        for p in sample() {
            let corner = |v: f64| (v / 7.0).floor() * 7.0 + 1e-6;
            let low = Position::new(SpaceId(0), corner(p.point.x), corner(p.point.y), 0.0);
            assert_eq!(map.home(EntityId(1), Some(p)), map.home(EntityId(1), Some(low)));
        }
    }
}
