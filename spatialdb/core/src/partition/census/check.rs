//! The shadow check of the census: every number that it keeps incrementally, counted again.
//!
//! By rows: each is counted where its position says, under the type that its value says. By squares: one of a cell counts
//! what lies in the cell, a larger one what its quarters count. Together that is a count of everything, in pieces of any size.

use std::collections::BTreeMap;
use std::ops::Range;

use spatialdb_types::ComponentId;

use super::kinds::KindId;
use super::squares::{Square, Squares};
use super::{Census, Counted, Store, type_of};
use crate::partition::RowId;

impl Census {
    /// Places of squares, to check a window of them.
    pub(crate) const fn places(&self) -> usize {
        self.squares.places()
    }

    /// Whether some rows are counted where they are, as far as they are counted. What differs, and which row.
    pub(crate) fn check_rows(&self, store: &Store, rows: Range<u32>) -> Option<(RowId, String)> {
        let rows = rows.start..rows.end.min(self.next);
        rows.map(RowId).find_map(|id| Some((id, self.check_row(store, id)?)))
    }

    fn check_row(&self, store: &Store, id: RowId) -> Option<String> {
        let &Counted { spot, is_noted } = self.counted.get(id.0 as usize)?;
        if is_noted {
            return None;
        }
        let position = store.live_row(id).and_then(|row| store.position(row));
        let cell = position.map(|at| store.grid.key(at.space, at.point.x, at.point.y));
        let counted = self.squares.get(spot.square).map(Squares::cell);
        if cell != counted {
            return Some(format!("lies in {cell:?} and is counted in {counted:?}"));
        }
        if cell.is_none() || !self.is_typed {
            return None;
        }
        let (kind, counted) = (type_of(store.value(id, ComponentId::METADATA)), self.kind_name(spot.kind));
        (*kind != **counted && &**counted != "*")
            .then(|| format!("is a {kind:?} and is counted as {counted:?}"))
    }

    /// Whether some squares count what they are made of. What differs.
    pub(crate) fn check_squares(&self, store: &Store, places: Range<usize>) -> Option<String> {
        if !self.is_complete || self.is_pending() {
            return None;
        }
        let mut squares = places.filter_map(|place| self.squares.get(place as u32));
        squares.find_map(|square| self.check_square(store, square))
    }

    fn check_square(&self, store: &Store, square: &Square) -> Option<String> {
        let (Square { x, y, level, all, .. }, cell) = (square, Squares::cell(square));
        let parts = if *level == 0 {
            store.grid.row_count(cell)
        } else {
            self.squares.quarters(square).map(|quarter| u64::from(quarter.all.count)).sum()
        };
        if u64::from(all.count) != parts {
            let space = cell.space;
            return Some(format!(
                "square ({x}, {y}) of level {level} in space {space} counts {}, its parts {parts}",
                all.count
            ));
        }
        if !self.has_all_types {
            return None;
        }
        let counts =
            |square: &Square| square.kinds.iter().map(|(k, tally)| (*k, tally.count)).collect::<Vec<_>>();
        let mut parts: BTreeMap<KindId, u32> = BTreeMap::new();
        for (kind, count) in self.squares.quarters(square).flat_map(counts) {
            *parts.entry(kind).or_default() += count;
        }
        let of =
            |kind: &KindId| counts(square).iter().find(|(k, _)| k == kind).map_or(0, |(_, count)| *count);
        let wrong = parts.iter().find(|(kind, count)| of(kind) != **count);
        let sum: u32 = square.kinds.iter().map(|(_, tally)| tally.count).sum();
        match wrong {
            Some((kind, count)) => Some(format!(
                "square ({x}, {y}) of level {level} counts {} of type {:?}, its parts {count}",
                of(kind),
                self.kind_name(*kind)
            )),
            None if sum != all.count => {
                Some(format!("square ({x}, {y}) of level {level} counts {} and {sum} by type", all.count))
            }
            None => None,
        }
    }

    /// A fault on purpose: one entity too many in a square.
    #[cfg(test)]
    pub(crate) fn miscount(&mut self, cell: crate::partition::CellKey) {
        let square = self.squares.open(cell);
        self.squares.spoil(square);
    }
}
