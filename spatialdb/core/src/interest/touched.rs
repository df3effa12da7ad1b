//! Which cells a subscriber's parts touch, and which of them they cover.
//!
//! Small parts note each cell that they touch. A part that touches more than that is asked cell by cell; so are the few
//! that are not bound to any place.

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

use super::area::Area;
use super::lane::Mask;
use super::subscriber::ActivePart;
use super::watch::cover_of;
use super::{Candidates, SubscriberId, Watch};
use crate::partition::{CellRange, Grid, NOWHERE};

/// How many cells all parts of a subscriber note in one partition.
const CELLS_MAX: usize = 8192;

/// The cells of one subscriber.
#[derive(Debug)]
pub(super) struct Touched {
    subscriber: SubscriberId,
    /// The noted cells; what is looked for there stands in the cell.
    noted: IndexSet<u32, FxBuildHasher>,
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
    pub(super) fn new(subscriber: SubscriberId) -> Self {
        Self {
            subscriber,
            noted: IndexSet::default(),
            wide: Vec::new(),
            wide_parts: 0,
            everywhere: 0,
            listed: 0,
            by_components: 0,
        }
    }

    /// Notes what the parts touch, in place of what was noted before.
    pub(super) fn set(&mut self, grid: &mut Grid, parts: &[ActivePart], areas: &[Area]) {
        // Cells that both have stay, so the others are let go last.
        let before = std::mem::replace(self, Self::new(self.subscriber));
        for &cell in &before.noted {
            grid.watch_mut(cell, self.subscriber).expect("it is noted").clear();
        }
        for (bit, (part, area)) in parts.iter().zip(areas).enumerate() {
            self.by_components |= u64::from(part.part().constraint.asks_for_components()) << bit;
            for place in &part.candidates {
                self.add(grid, bit, area, place);
            }
        }
        for cell in before.noted {
            if grid.watch(cell, self.subscriber).is_some_and(|watch| watch.touch == 0) {
                grid.end_watch(cell, self.subscriber);
            }
        }
    }

    /// Lets all cells go.
    pub(super) fn release(self, grid: &mut Grid) {
        self.noted.iter().for_each(|&cell| grid.end_watch(cell, self.subscriber));
    }

    fn add(&mut self, grid: &mut Grid, bit: usize, area: &Area, place: &Candidates) {
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
                    let (cell, watch) = grid.start_watch(key, self.subscriber);
                    if watch.touch == 0 {
                        self.noted.insert(cell);
                    }
                    watch.add(bit, area);
                }
            }
        }
    }

    /// Whether only noted cells matter, besides entities by id.
    pub(super) const fn is_noted(&self) -> bool {
        self.wide_parts == 0 && self.everywhere == 0
    }

    /// Whether only noted cells matter.
    pub(super) const fn is_in_cells(&self) -> bool {
        self.is_noted() && self.listed == 0
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
    pub(super) fn noted(&self, i: usize) -> Option<u32> {
        self.noted.get_index(i).copied()
    }

    pub(super) fn noted_count(&self) -> usize {
        self.noted.len()
    }

    /// Whether a cell is noted.
    pub(super) fn notes(&self, cell: u32) -> bool {
        self.noted.contains(&cell)
    }

    /// What is looked for in a cell; `None`: nothing.
    pub(super) fn touch(&self, grid: &mut Grid, parts: &[ActivePart], cell: u32) -> Option<Touch> {
        let mut watch = Watch::default();
        if self.notes(cell)
            && let Some(noted) = grid.watch(cell, self.subscriber)
        {
            watch = *noted;
            if !watch.is_up_to_date(grid, cell) {
                watch.update(grid, parts, cell);
                *grid.watch_mut(cell, self.subscriber)? = watch;
            }
        }
        self.touch_besides(grid, parts, cell, &watch)
    }

    /// What is looked for in a cell that is watched for this.
    pub(super) fn touch_besides(
        &self,
        grid: &Grid,
        parts: &[ActivePart],
        cell: u32,
        watch: &Watch,
    ) -> Option<Touch> {
        let touch = self.everywhere | watch.touch | self.wide_in(grid, cell);
        let mut cover = watch.cover;
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
        self.everywhere != 0 || self.notes(cell) || self.wide_in(grid, cell) != 0
    }

    /// The parts that may match something in the cell.
    pub(super) fn parts_in(&self, grid: &Grid, cell: u32) -> Mask {
        // An entity by id may be anywhere.
        self.places_in(grid, cell) | self.listed
    }

    /// The parts that look there because of where it is.
    fn places_in(&self, grid: &Grid, cell: u32) -> Mask {
        let watch = if self.notes(cell) { grid.watch(cell, self.subscriber) } else { None };
        self.everywhere | watch.map_or(0, |watch| watch.touch) | self.wide_in(grid, cell)
    }

    fn wide_in(&self, grid: &Grid, cell: u32) -> Mask {
        let reaches = |(_, range): &&(usize, CellRange)| cell != NOWHERE && grid.is_in(range, cell);
        self.wide.iter().filter(reaches).fold(0, |mask, (bit, _)| mask | 1 << bit)
    }
}
