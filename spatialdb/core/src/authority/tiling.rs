//! The regions of one layer in one space: a kd-tree of half-open boxes without gap or overlap, its outer borders infinite.
//!
//! Responsible for: shapes, and finding a region by point. Not responsible for: owners. Regions are open in z, as cells
//! and partitions are.

mod edges;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{Hash, Hasher};

use spatialdb_types::{Box3, Error, Point3, Reason, RegionId};

pub use self::edges::{Edge, Side};

/// As deep as a tree of as many regions as there may be can be, and no deeper: it is gone through by recursion.
const WALK_DEPTH_MAX: usize = 4096;

/// An axis that a border may stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Axis {
    /// East: the border runs north.
    X,
    /// North: the border runs east.
    Y,
}

/// A line that cuts a region.
///
/// # Units
/// Metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// Which coordinate is compared.
    pub axis: Axis,
    /// Points below are on the low side, others on the high side.
    pub at: f64,
}

/// One of the two parts that a cut makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Half {
    /// Below the cut.
    Low,
    /// At the cut and above.
    High,
}

/// The regions of one layer in one space. Every point is in exactly one of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tiling {
    root: Node,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Node {
    Leaf(RegionId),
    Fork(Box<Fork>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Fork {
    cut: Cut,
    low: Node,
    high: Node,
}

impl Tiling {
    /// One region for the whole space.
    pub const fn new(region: RegionId) -> Self {
        Self { root: Node::Leaf(region) }
    }

    /// The region that holds the point. The point has no NaN.
    pub fn find(&self, point: Point3) -> RegionId {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(region) => return *region,
                Node::Fork(fork) => node = fork.part(fork.cut.half_of(point)),
            }
        }
    }

    /// The one region that holds all of the box; `None` if a border cuts it.
    pub fn find_whole(&self, area: &Box3) -> Option<RegionId> {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(region) => return Some(*region),
                Node::Fork(fork) => node = fork.part(fork.cut.side_of(area)?),
            }
        }
    }

    /// The regions that share a point with the box, in the order of [`Tiling::regions`].
    pub fn find_all(&self, area: &Box3) -> Vec<RegionId> {
        let touches = |other: &Box3| {
            area.min.x < other.max.x
                && other.min.x < area.max.x
                && area.min.y < other.max.y
                && other.min.y < area.max.y
        };
        self.regions().into_iter().filter(|(_, other)| touches(other)).map(|(region, _)| region).collect()
    }

    /// Shares out what is spread evenly over a box among the regions that it lies in: each part is said, and all parts
    /// together are the amount.
    pub fn share_out(&self, area: &Box3, amount: u64, say: &mut impl FnMut(RegionId, u64)) {
        self.root.share_out(area, amount, say);
    }

    /// The box of a region.
    pub fn bounds(&self, region: RegionId) -> Option<Box3> {
        self.regions().into_iter().find(|(id, _)| *id == region).map(|(_, area)| area)
    }

    /// All regions with their boxes, those below a cut first.
    pub fn regions(&self) -> Vec<(RegionId, Box3)> {
        let mut regions = Vec::new();
        self.root.collect(Box3::EVERYWHERE, &mut regions);
        regions
    }

    /// Cuts a region in two: the half named becomes `new`, the other one keeps the id.
    ///
    /// # Errors
    /// [`Reason::RegionNotFound`]; [`Reason::RegionShape`] if the cut does not lie inside of the region. Nothing changed.
    pub fn split(&mut self, region: RegionId, cut: Cut, new: RegionId, half: Half) -> Result<(), Error> {
        let area = self.bounds(region).ok_or_else(|| not_found(region))?;
        let (min, max) = cut.axis.range(&area);
        if !(cut.at.is_finite() && min < cut.at && cut.at < max) {
            let detail = format!("cut {cut} does not lie inside of region {region}, from {min} to {max} m");
            return Err(Error::new(Reason::RegionShape, detail));
        }
        let (low, high) = if half == Half::Low { (new, region) } else { (region, new) };
        if let Some(leaf) = self.root.leaf_mut(region) {
            *leaf = Node::fork(cut, Node::Leaf(low), Node::Leaf(high));
        }
        Ok(())
    }

    /// Gives the area of `gone` to `keep`. The two are halves of one cut; or `gone` is a strip, cut off from a region beside
    /// the border to `keep`.
    ///
    /// # Errors
    /// [`Reason::RegionNotFound`]; [`Reason::RegionShape`] if they are not such neighbours. Nothing changed.
    pub fn join(&mut self, gone: RegionId, keep: RegionId) -> Result<(), Error> {
        for region in [gone, keep] {
            self.bounds(region).ok_or_else(|| not_found(region))?;
        }
        if self.root.join(gone, keep) {
            return Ok(());
        }
        let detail =
            format!("regions {gone} and {keep} cannot be joined: they are not two halves of one cut");
        Err(Error::new(Reason::RegionShape, detail))
    }

    /// Whether [`Tiling::join`] would succeed.
    pub fn can_join(&self, gone: RegionId, keep: RegionId) -> bool {
        self.root.can_join(gone, keep)
    }

    /// Goes through all cuts and regions: a cut, then what is below it, then what is above.
    pub fn walk(&self, say: &mut impl FnMut(Option<Cut>, Option<RegionId>)) {
        self.root.walk(say);
    }

    /// What [`Tiling::walk`] goes through, as a tiling: `Err` is a region. `None`: it is none, since something is missing or left over, or a
    /// cut does not lie inside of what it cuts.
    pub fn from_walk(nodes: impl IntoIterator<Item = Result<Cut, RegionId>>) -> Option<Self> {
        let mut nodes = nodes.into_iter();
        let root = Node::from_walk(&mut nodes, &Box3::EVERYWHERE, WALK_DEPTH_MAX)?;
        nodes.next().is_none().then_some(Self { root })
    }

    /// The pairs of regions that are two halves of one cut, with the cut; low first.
    pub fn siblings(&self) -> Vec<(RegionId, RegionId, Cut)> {
        let mut pairs = Vec::new();
        self.root.collect_siblings(&mut pairs);
        pairs
    }
}

impl Node {
    fn fork(cut: Cut, low: Self, high: Self) -> Self {
        Self::Fork(Box::new(Fork { cut, low, high }))
    }

    fn walk(&self, say: &mut impl FnMut(Option<Cut>, Option<RegionId>)) {
        match self {
            Self::Leaf(region) => say(None, Some(*region)),
            Self::Fork(fork) => {
                say(Some(fork.cut), None);
                fork.low.walk(say);
                fork.high.walk(say);
            }
        }
    }

    fn from_walk(
        nodes: &mut impl Iterator<Item = Result<Cut, RegionId>>,
        area: &Box3,
        depth: usize,
    ) -> Option<Self> {
        let cut = match nodes.next()? {
            Err(region) => return Some(Self::Leaf(region)),
            Ok(cut) => cut,
        };
        let (min, max) = cut.axis.range(area);
        if depth == 0 || !cut.at.is_finite() || cut.at <= min || cut.at >= max {
            return None;
        }
        let low = Self::from_walk(nodes, &cut.part_of(*area, Half::Low), depth - 1)?;
        let high = Self::from_walk(nodes, &cut.part_of(*area, Half::High), depth - 1)?;
        Some(Self::fork(cut, low, high))
    }

    const fn region(&self) -> Option<RegionId> {
        match self {
            Self::Leaf(region) => Some(*region),
            Self::Fork(_) => None,
        }
    }

    fn collect(&self, area: Box3, regions: &mut Vec<(RegionId, Box3)>) {
        match self {
            Self::Leaf(region) => regions.push((*region, area)),
            Self::Fork(fork) => {
                fork.low.collect(fork.cut.part_of(area, Half::Low), regions);
                fork.high.collect(fork.cut.part_of(area, Half::High), regions);
            }
        }
    }

    fn share_out(&self, area: &Box3, amount: u64, say: &mut impl FnMut(RegionId, u64)) {
        let mut node = self;
        loop {
            let fork = match node {
                Self::Leaf(region) => return say(*region, amount),
                Self::Fork(fork) => fork,
            };
            if let Some(half) = fork.cut.side_of(area) {
                node = fork.part(half);
                continue;
            }
            let (min, max) = fork.cut.axis.range(area);
            let low = (amount as f64 * ((fork.cut.at - min) / (max - min))).round() as u64;
            fork.low.share_out(&fork.cut.part_of(*area, Half::Low), low.min(amount), say);
            return fork.high.share_out(
                &fork.cut.part_of(*area, Half::High),
                amount.saturating_sub(low),
                say,
            );
        }
    }

    fn collect_siblings(&self, pairs: &mut Vec<(RegionId, RegionId, Cut)>) {
        let Self::Fork(fork) = self else { return };
        if let (Some(low), Some(high)) = (fork.low.region(), fork.high.region()) {
            pairs.push((low, high, fork.cut));
        }
        fork.low.collect_siblings(pairs);
        fork.high.collect_siblings(pairs);
    }

    fn leaf_mut(&mut self, region: RegionId) -> Option<&mut Self> {
        if self.region() == Some(region) {
            return Some(self);
        }
        match self {
            Self::Leaf(_) => None,
            Self::Fork(fork) => {
                let Fork { low, high, .. } = &mut **fork;
                low.leaf_mut(region).or_else(|| high.leaf_mut(region))
            }
        }
    }

    fn can_join(&self, gone: RegionId, keep: RegionId) -> bool {
        let Self::Fork(fork) = self else { return false };
        fork.joined(gone, keep).is_some() || fork.low.can_join(gone, keep) || fork.high.can_join(gone, keep)
    }

    fn join(&mut self, gone: RegionId, keep: RegionId) -> bool {
        let Self::Fork(fork) = self else { return false };
        if let Some(joined) = fork.joined(gone, keep) {
            *self = joined;
            return true;
        }
        fork.low.join(gone, keep) || fork.high.join(gone, keep)
    }
}

impl Fork {
    const fn part(&self, half: Half) -> &Node {
        match half {
            Half::Low => &self.low,
            Half::High => &self.high,
        }
    }

    /// What takes the place of this fork if `gone` joins `keep` here.
    fn joined(&self, gone: RegionId, keep: RegionId) -> Option<Node> {
        let (low, high) = (self.low.region(), self.high.region());
        if (low, high) == (Some(gone), Some(keep)) || (low, high) == (Some(keep), Some(gone)) {
            return Some(Node::Leaf(keep));
        }
        // A strip beside the border: the border moves to the other side of the strip.
        let half = if high == Some(keep) { Half::Low } else { Half::High };
        let Node::Fork(inner) = self.part(half) else { return None };
        let beside = self.part(half.other()).region() == Some(keep);
        let is_strip = inner.part(half.other()).region() == Some(gone) && inner.cut.axis == self.cut.axis;
        let rest = inner.part(half).clone();
        (beside && is_strip).then(|| match half {
            Half::Low => Node::fork(inner.cut, rest, Node::Leaf(keep)),
            Half::High => Node::fork(inner.cut, Node::Leaf(keep), rest),
        })
    }
}

impl Half {
    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Low => Self::High,
            Self::High => Self::Low,
        }
    }
}

impl Axis {
    /// The coordinate on this axis.
    pub const fn of(self, point: Point3) -> f64 {
        match self {
            Self::X => point.x,
            Self::Y => point.y,
        }
    }

    /// From where to where a box reaches.
    pub const fn range(self, area: &Box3) -> (f64, f64) {
        (self.of(area.min), self.of(area.max))
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::X => Self::Y,
            Self::Y => Self::X,
        }
    }

    const fn set(self, point: &mut Point3, at: f64) {
        match self {
            Self::X => point.x = at,
            Self::Y => point.y = at,
        }
    }
}

impl Cut {
    fn half_of(self, point: Point3) -> Half {
        if self.axis.of(point) < self.at { Half::Low } else { Half::High }
    }

    /// The half that holds all of a box.
    fn side_of(self, area: &Box3) -> Option<Half> {
        let (min, max) = self.axis.range(area);
        if max <= self.at { Some(Half::Low) } else { (min >= self.at).then_some(Half::High) }
    }

    fn part_of(self, mut area: Box3, half: Half) -> Box3 {
        let corner = if half == Half::Low { &mut area.max } else { &mut area.min };
        self.axis.set(corner, self.at);
        area
    }
}

/// Its place is a finite number: `split` takes no other.
impl Eq for Cut {}

impl Hash for Cut {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.axis.hash(state);
        // Both zeros are equal.
        (self.at + 0.0).to_bits().hash(state);
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axis = if self.axis == Axis::X { 'x' } else { 'y' };
        write!(f, "{axis} = {}", self.at)
    }
}

fn not_found(region: RegionId) -> Error {
    Error::new(Reason::RegionNotFound, format!("region {region} is not in this tiling"))
}
