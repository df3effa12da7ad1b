//! Squares of all sizes: each knows the four that it is made of and the one that it is part of.
//!
//! When a row goes from one square to another, those that hold both do not count it anew, so a step to the next cell mostly
//! changes a few small squares. Every square knows when something below it changed last: a walk for what changed since then
//! passes over all else, whatever size it is for.

use rustc_hash::FxHashMap;
use spatialdb_types::SpaceId;

use super::kinds::{KindId, UNTYPED};
use super::zorder::{quarter, span};
use crate::partition::{CellKey, PublishSeq};

/// The level of the largest squares: two by two of them are a whole space.
pub(crate) const TOP_LEVEL: u8 = 31;

pub(super) const NO_SQUARE: u32 = u32::MAX;

/// The level of a place that no square is in.
const FREE: u8 = u8::MAX;

/// Where a row is counted: a square of one cell, and a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) square: u32,
    pub(super) kind: KindId,
}

/// What a row has left behind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Left {
    /// The square is empty now.
    pub(super) is_empty: bool,
    /// None of the row's type is left in it.
    pub(super) has_lost_kind: bool,
}

/// How many there are, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) count: u32,
    pub(crate) changed_at: PublishSeq,
}

/// The squares of one level in some columns and rows of a space.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area {
    pub(crate) space: SpaceId,
    pub(crate) level: u8,
    /// The first and the last column, by cell.
    pub(crate) x: (i32, i32),
    pub(crate) y: (i32, i32),
}

/// A square: `2^level` cells wide.
#[derive(Debug)]
pub(crate) struct Square {
    space: SpaceId,
    pub(crate) x: i32,
    pub(crate) y: i32,
    pub(crate) level: u8,
    parent: u32,
    quarters: [u32; 4],
    pub(crate) all: Tally,
    /// By rising type; only if types are counted.
    pub(crate) kinds: Vec<(KindId, Tally)>,
    /// When anything in it changed last.
    touched_at: PublishSeq,
}

/// The squares of one partition.
#[derive(Debug, Default)]
pub(super) struct Squares {
    list: Vec<Square>,
    free: Vec<u32>,
    cells: FxHashMap<CellKey, u32>,
    /// The largest ones of each space.
    tops: FxHashMap<SpaceId, [u32; 4]>,
    occupied: usize,
}

impl Area {
    fn touches(&self, square: &Square) -> bool {
        let meets = |(from, to): (i32, i32), number: i32| {
            from >> square.level <= number && number <= to >> square.level
        };
        meets(self.x, square.x) && meets(self.y, square.y)
    }
}

impl Square {
    fn kind_mut(&mut self, kind: KindId) -> &mut Tally {
        let at = match self.kinds.binary_search_by_key(&kind, |(kind, _)| *kind) {
            Ok(at) => at,
            Err(at) => {
                self.kinds.insert(at, (kind, Tally::default()));
                at
            }
        };
        &mut self.kinds[at].1
    }
}

impl Squares {
    /// How many there are, of all sizes.
    pub(super) const fn len(&self) -> usize {
        self.list.len() - self.free.len()
    }

    /// How many of the smallest ones are not empty.
    pub(super) const fn occupied(&self) -> usize {
        self.occupied
    }

    /// Places of squares, free ones included.
    pub(super) const fn places(&self) -> usize {
        self.list.len()
    }

    pub(super) fn get(&self, square: u32) -> Option<&Square> {
        self.list.get(square as usize).filter(|square| square.level != FREE)
    }

    pub(super) fn quarters<'a>(&'a self, square: &'a Square) -> impl Iterator<Item = &'a Square> {
        square.quarters.iter().filter_map(|&quarter| self.get(quarter))
    }

    /// The cell of one of the smallest squares.
    pub(super) const fn cell(square: &Square) -> CellKey {
        CellKey { space: square.space, x: square.x, y: square.y }
    }

    /// The square of a cell, with all that it is part of.
    pub(super) fn open(&mut self, cell: CellKey) -> u32 {
        if let Some(&square) = self.cells.get(&cell) {
            return square;
        }
        let mut square = NO_SQUARE;
        for level in (0..=TOP_LEVEL).rev() {
            let new = self.free.last().copied().unwrap_or(self.list.len() as u32);
            let place = quarter(cell, level);
            let tops = self.tops.entry(cell.space).or_insert([NO_SQUARE; 4]);
            let known = if square == NO_SQUARE { tops } else { &mut self.list[square as usize].quarters };
            if known[place] != NO_SQUARE {
                square = known[place];
                continue;
            }
            known[place] = new;
            self.put(Square {
                space: cell.space,
                x: cell.x >> level,
                y: cell.y >> level,
                level,
                parent: square,
                quarters: [NO_SQUARE; 4],
                all: Tally::default(),
                kinds: Vec::new(),
                touched_at: PublishSeq(0),
            });
            square = new;
        }
        self.cells.insert(cell, square);
        square
    }

    fn put(&mut self, square: Square) {
        match self.free.pop() {
            Some(place) => self.list[place as usize] = square,
            None => self.list.push(square),
        }
    }

    /// Counts a row in another spot than before.
    pub(super) fn shift(&mut self, from: Spot, to: Spot, publish: PublishSeq) -> Left {
        let (mut a, mut b) = (from.square, to.square);
        while a != b || (a != NO_SQUARE && from.kind != to.kind) {
            let is_within = a == b;
            for (square, kind, is_more) in [(a, from.kind, false), (b, to.kind, true)] {
                if square == NO_SQUARE {
                    continue;
                }
                let square = &mut self.list[square as usize];
                square.touched_at = publish;
                if !is_within {
                    change(&mut square.all, is_more, publish);
                }
                if kind != UNTYPED {
                    change(square.kind_mut(kind), is_more, publish);
                }
            }
            (a, b) = (self.parent(a), self.parent(b));
        }
        self.touch(a, publish);
        if from.square != to.square && to.square != NO_SQUARE {
            self.occupied += usize::from(self.list[to.square as usize].all.count == 1);
        }
        let Some(square) = self.list.get_mut(from.square as usize) else { return Left::default() };
        let is_empty = square.all.count == 0;
        self.occupied -= usize::from(is_empty);
        let has_lost_kind = from.kind != UNTYPED && square.kind_mut(from.kind).count == 0;
        Left { is_empty, has_lost_kind }
    }

    fn parent(&self, square: u32) -> u32 {
        if square == NO_SQUARE { NO_SQUARE } else { self.list[square as usize].parent }
    }

    /// Notes that something below a square has changed.
    fn touch(&mut self, mut square: u32, publish: PublishSeq) {
        while square != NO_SQUARE {
            let at = &mut self.list[square as usize];
            // Then so are those that it is part of.
            if at.touched_at == publish {
                return;
            }
            at.touched_at = publish;
            square = at.parent;
        }
    }

    /// Forgets a square that has been empty since a publish, with those that were there only for it.
    pub(super) fn forget(&mut self, mut square: u32, since: PublishSeq) {
        let is_gone = |square: &Square| square.level == 0 && square.all.count == 0;
        if !self.get(square).is_some_and(|at| is_gone(at) && at.all.changed_at <= since) {
            return;
        }
        self.cells.remove(&Self::cell(&self.list[square as usize]));
        loop {
            let at = &mut self.list[square as usize];
            let (space, parent) = (at.space, at.parent);
            (at.level, at.kinds) = (FREE, Vec::new());
            self.free.push(square);
            let Some(above) = self.list.get_mut(parent as usize) else {
                self.forget_top(space, square);
                return;
            };
            above.quarters.iter_mut().filter(|quarter| **quarter == square).for_each(|q| *q = NO_SQUARE);
            if above.quarters != [NO_SQUARE; 4] {
                return;
            }
            square = parent;
        }
    }

    fn forget_top(&mut self, space: SpaceId, square: u32) {
        let Some(tops) = self.tops.get_mut(&space) else { return };
        tops.iter_mut().filter(|top| **top == square).for_each(|top| *top = NO_SQUARE);
        if *tops == [NO_SQUARE; 4] {
            self.tops.remove(&space);
        }
    }

    /// Forgets that there were some of a type, of which none has been left since a publish.
    pub(super) fn forget_kind(&mut self, mut square: u32, kind: KindId, since: PublishSeq) {
        while self.get(square).is_some() {
            let at = &mut self.list[square as usize];
            let is_gone = |tally: &Tally| tally.count == 0 && tally.changed_at <= since;
            let Ok(place) = at.kinds.binary_search_by_key(&kind, |(kind, _)| *kind) else { return };
            if !is_gone(&at.kinds[place].1) {
                return;
            }
            at.kinds.remove(place);
            square = at.parent;
        }
    }

    /// A fault on purpose: one entity too many.
    #[cfg(test)]
    pub(super) fn spoil(&mut self, square: u32) {
        self.list[square as usize].all.count += 1;
    }

    /// Types are not counted any longer.
    pub(super) fn drop_kinds(&mut self) {
        self.list.iter_mut().for_each(|square| square.kinds = Vec::new());
    }

    pub(super) fn walk(
        &self,
        area: &Area,
        since: PublishSeq,
        cursor: &mut u64,
        visit: &mut impl FnMut(&Square) -> bool,
    ) -> bool {
        let tops = self.tops.get(&area.space).copied().unwrap_or([NO_SQUARE; 4]);
        tops.into_iter().all(|top| self.walk_in(top, area, since, cursor, visit))
    }

    fn walk_in(
        &self,
        square: u32,
        area: &Area,
        since: PublishSeq,
        cursor: &mut u64,
        visit: &mut impl FnMut(&Square) -> bool,
    ) -> bool {
        let Some(square) = self.get(square) else { return true };
        let (first, last) = span(square.level, square.x, square.y);
        if last < *cursor || square.touched_at <= since || !area.touches(square) {
            return true;
        }
        if !visit(square) {
            *cursor = first.max(*cursor);
            return false;
        }
        if square.level > area.level {
            return square.quarters.iter().all(|&q| self.walk_in(q, area, since, cursor, visit));
        }
        // The walk may end on the way to the next one.
        *cursor = last.saturating_add(1);
        true
    }
}

fn change(tally: &mut Tally, is_more: bool, publish: PublishSeq) {
    tally.count = if is_more { tally.count + 1 } else { tally.count - 1 };
    tally.changed_at = publish;
}
