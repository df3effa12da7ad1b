//! Watching a cell: what a subscriber looks for there.

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use super::area::Area;
use super::lane::{Mask, bits};
use super::subscriber::ActivePart;
use super::{Coverage, Crowd, Place};
use crate::partition::Grid;

/// The number of a subscriber in its partition, given again when it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SubscriberId(pub(crate) u32);

/// Gives subscribers their numbers, small ones.
#[derive(Debug, Default)]
pub(crate) struct SubscriberIds {
    free: Vec<SubscriberId>,
    next: u32,
}

impl SubscriberIds {
    pub(crate) fn take(&mut self) -> SubscriberId {
        self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            SubscriberId(self.next - 1)
        })
    }

    pub(crate) fn give_back(&mut self, id: SubscriberId) {
        self.free.push(id);
    }
}

/// Who looks at a cell, and for what, in one piece of memory: a sweep goes through it.
pub(crate) type Watchers = IndexMap<SubscriberId, Watch, FxBuildHasher>;

/// What a subscriber looks for in one cell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watch {
    /// The parts that may match something there.
    pub(super) touch: Mask,
    /// Those of them that match everything there.
    pub(super) cover: Mask,
    /// The extent that `cover` was found for.
    version: Option<u32>,
    /// If there is one part: what is inside of it.
    pub(super) area: Area,
}

impl Watch {
    /// Nothing is looked for until a part is added.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn add(&mut self, bit: usize, area: &Area) {
        self.area = if self.touch & !(1 << bit) == 0 { *area } else { Area::default() };
        self.touch |= 1 << bit;
        self.version = None;
    }

    /// Whether the cell reaches as far as when it was last looked what is covered.
    pub(super) fn is_up_to_date(&self, grid: &Grid, cell: u32) -> bool {
        self.version == Some(grid.extent_version(cell))
    }

    /// Finds again what is covered.
    pub(super) fn update(&mut self, grid: &Grid, parts: &[ActivePart], cell: u32) {
        self.version = Some(grid.extent_version(cell));
        self.cover = cover_of(grid, parts, cell, self.touch);
    }
}

/// Which of the parts match everything in the cell.
pub(super) fn cover_of(grid: &Grid, parts: &[ActivePart], cell: u32, of: Mask) -> Mask {
    let extent = grid.extent(cell);
    let crowd = Crowd { place: extent.as_ref().map_or(Place::Nowhere, Place::Cell), components: None };
    let covers = |&bit: &usize| parts[bit].part().constraint.coverage(&crowd) == Coverage::Everything;
    bits(of).filter(covers).fold(0, |mask, bit| mask | 1 << bit)
}
