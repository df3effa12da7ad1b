//! Which cells a subscriber's parts touch, and which of them they cover.
//!
//! Small parts note each cell that they touch. A part that touches more than that is asked cell by cell; so are the few
//! that are not bound to any place.

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use super::lane::{Mask, bits};
use super::subscriber::ActivePart;
use super::{Candidates, Coverage, Crowd, Place};
use crate::partition::{CellRange, Grid, NOWHERE};

/// How many cells all parts of a subscriber note in one partition.
const CELLS_MAX: usize = 8192;

/// The cells of one subscriber.
#[derive(Debug, Default)]
pub(super) struct Touched {
    noted: IndexMap<u32, Noted, FxBuildHasher>,
    /// Parts too large to note their cells, and where they reach.
    wide: Vec<(usize, CellRange)>,
    /// The parts in `wide`.
    wide_parts: Mask,
    /// Parts that look everywhere.
    everywhere: Mask,
    /// Parts that look for entities by id.
    listed: Mask,
    /// Parts that ask which components entities have.
    by_components: Mask,
}

#[derive(Clone, Copy, Debug, Default)]
struct Noted {
    touch: Mask,
    cover: Mask,
    /// The extent that `cover` was found for.
    version: Option<u32>,
}

impl Noted {
    fn up_to_date(&mut self, grid: &Grid, parts: &[ActivePart], cell: u32) -> Self {
        let version = grid.extent_version(cell);
        if self.version != Some(version) {
            self.version = Some(version);
            self.cover = cover_of(grid, parts, cell, self.touch);
        }
        *self
    }
}

/// What a subscriber looks for in one cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touch {
    /// The parts that may match something there.
    pub(super) parts: Mask,
    /// Those of them that match everything there.
    pub(super) cover: Mask,
    /// Whether each of the others matches everything or nothing of what has the same components.
    pub(super) is_sharable: bool,
}

impl Touched {
    /// Notes what the parts touch, in place of what was noted before.
    pub(super) fn set(&mut self, grid: &mut Grid, parts: &[ActivePart]) {
        // Watched again before the old ones are let go, so that cells that both have stay.
        let before = std::mem::take(self);
        for (bit, part) in parts.iter().enumerate() {
            self.by_components |= u64::from(part.part().constraint.asks_for_components()) << bit;
            for place in &part.candidates {
                self.add(grid, bit, place);
            }
        }
        before.release(grid);
    }

    /// Lets all cells go.
    pub(super) fn release(self, grid: &mut Grid) {
        self.noted.keys().for_each(|&cell| grid.unwatch(cell));
    }

    fn add(&mut self, grid: &mut Grid, bit: usize, place: &Candidates) {
        match place {
            Candidates::All => self.everywhere |= 1 << bit,
            Candidates::Entities(_) => self.listed |= 1 << bit,
            Candidates::Cells(space, bounds) => {
                let range = grid.range(*space, bounds);
                if range.len() > grid.tuning.part_cells_max
                    || self.noted.len() + range.len() as usize > CELLS_MAX
                {
                    self.wide.push((bit, range));
                    self.wide_parts |= 1 << bit;
                    return;
                }
                for key in (0..range.len()).map(|i| range.key(i)) {
                    let cell = grid.watch(key);
                    let noted = self.noted.entry(cell).or_default();
                    if noted.touch != 0 {
                        grid.unwatch(cell);
                    }
                    noted.touch |= 1 << bit;
                }
            }
        }
    }

    /// Whether only noted cells matter, besides entities by id.
    pub(super) const fn is_noted(&self) -> bool {
        self.wide_parts == 0 && self.everywhere == 0
    }

    /// The parts that look for entities by id.
    pub(super) const fn listed(&self) -> Mask {
        self.listed
    }

    /// Whether every part looks everywhere: `parts` is all of them.
    pub(super) const fn is_everywhere(&self, parts: Mask) -> bool {
        self.everywhere == parts && self.listed == 0 && self.wide_parts == 0
    }

    /// The noted cells by number, in no particular order.
    pub(super) fn noted_cell(&self, i: usize) -> Option<u32> {
        self.noted.get_index(i).map(|(&cell, _)| cell)
    }

    pub(super) fn noted_count(&self) -> usize {
        self.noted.len()
    }

    /// What is looked for in a noted cell by number.
    pub(super) fn touch_noted(&mut self, grid: &Grid, parts: &[ActivePart], i: usize) -> Option<Touch> {
        let (&cell, noted) = self.noted.get_index_mut(i)?;
        let noted = noted.up_to_date(grid, parts, cell);
        self.touch_besides(grid, parts, cell, noted)
    }

    /// What is looked for in a cell; `None`: nothing.
    pub(super) fn touch(&mut self, grid: &Grid, parts: &[ActivePart], cell: u32) -> Option<Touch> {
        let noted = self.noted.get_mut(&cell).map(|noted| noted.up_to_date(grid, parts, cell));
        self.touch_besides(grid, parts, cell, noted.unwrap_or_default())
    }

    fn touch_besides(&self, grid: &Grid, parts: &[ActivePart], cell: u32, noted: Noted) -> Option<Touch> {
        let touch = self.everywhere | noted.touch | self.wide_in(grid, cell);
        let mut cover = noted.cover;
        let asked = touch & (self.everywhere | self.wide_parts);
        if asked != 0 {
            cover |= cover_of(grid, parts, cell, asked);
        }
        let parts = touch | self.listed;
        let is_sharable = self.listed == 0 && touch & !cover & !self.by_components == 0;
        (touch != 0).then_some(Touch { parts, cover, is_sharable })
    }

    /// What is looked for everywhere.
    pub(super) const fn anywhere(&self) -> Touch {
        Touch { parts: self.everywhere, cover: 0, is_sharable: true }
    }

    /// Whether something is looked for in the cell.
    pub(super) fn touches(&self, grid: &Grid, cell: u32) -> bool {
        self.places_in(grid, cell) != 0
    }

    /// The parts that may match something in the cell.
    pub(super) fn parts_in(&self, grid: &Grid, cell: u32) -> Mask {
        // An entity by id may be anywhere.
        self.places_in(grid, cell) | self.listed
    }

    /// The parts that look there because of where it is.
    fn places_in(&self, grid: &Grid, cell: u32) -> Mask {
        let noted = self.noted.get(&cell).map_or(0, |noted| noted.touch);
        self.everywhere | noted | self.wide_in(grid, cell)
    }

    fn wide_in(&self, grid: &Grid, cell: u32) -> Mask {
        let reaches = |(_, range): &&(usize, CellRange)| cell != NOWHERE && grid.is_in(range, cell);
        self.wide.iter().filter(reaches).fold(0, |mask, (bit, _)| mask | 1 << bit)
    }
}

/// Which of the parts match everything in the cell.
fn cover_of(grid: &Grid, parts: &[ActivePart], cell: u32, of: Mask) -> Mask {
    let extent = grid.extent(cell);
    let crowd = Crowd { place: extent.as_ref().map_or(Place::Nowhere, Place::Cell), components: None };
    let covers = |&bit: &usize| parts[bit].part().constraint.coverage(&crowd) == Coverage::Everything;
    bits(of).filter(covers).fold(0, |mask, bit| mask | 1 << bit)
}
