//! The edges of a region: who lies on the other side.

use spatialdb_types::{Box3, RegionId};

use super::{Axis, Tiling};

/// A side of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Its smallest x.
    West,
    /// Its largest x.
    East,
    /// Its smallest y.
    South,
    /// Its largest y.
    North,
}

/// A stretch of a border between two regions.
///
/// # Units
/// Metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    /// On which side of the region that was asked for.
    pub side: Side,
    /// Where the border stands: x of a west or east side, y of the others.
    pub at: f64,
    /// Where the stretch begins, on the other axis.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// The region on the other side.
    pub other: RegionId,
}

impl Side {
    /// All sides.
    pub const ALL: [Self; 4] = [Self::West, Self::East, Self::South, Self::North];

    /// Where the neighbour sees the same border.
    pub const fn opposite(self) -> Self {
        match self {
            Self::West => Self::East,
            Self::East => Self::West,
            Self::South => Self::North,
            Self::North => Self::South,
        }
    }

    /// The axis that the border stands on.
    pub const fn axis(self) -> Axis {
        match self {
            Self::West | Self::East => Axis::X,
            Self::South | Self::North => Axis::Y,
        }
    }

    pub(super) const fn of(self, area: &Box3) -> f64 {
        let (min, max) = self.axis().range(area);
        match self {
            Self::West | Self::South => min,
            Self::East | Self::North => max,
        }
    }
}

impl Tiling {
    /// Every stretch of the region's borders, side by side. Outer borders of the space have none.
    pub fn edges(&self, region: RegionId) -> Vec<Edge> {
        let regions = self.regions();
        let Some(&(_, area)) = regions.iter().find(|(id, _)| *id == region) else { return Vec::new() };
        let mut edges = Vec::new();
        for side in Side::ALL {
            let at = side.of(&area);
            let (start, end) = side.axis().other().range(&area);
            let beside = |other: &Box3| at.is_finite() && side.opposite().of(other) == at;
            for (other, bounds) in regions.iter().filter(|(_, bounds)| beside(bounds)) {
                let (from, to) = side.axis().other().range(bounds);
                let (from, to) = (from.max(start), to.min(end));
                if from < to {
                    edges.push(Edge { side, at, from, to, other: *other });
                }
            }
        }
        edges
    }
}
