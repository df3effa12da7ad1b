//! The rows that a session holds in view.
//!
//! Each change of a cell is asked for by all who look there, and most of them do not hold the row. A filter says so
//! mostly, in a bit: the table itself would be a cache miss each time.

use super::lane::NEVER;
use super::row_table::RowTable;
use super::stance::StanceId;
use crate::partition::{PublishSeq, RowId};

/// Bits of the filter for each row, at least.
const BITS_PER_ROW: usize = 16;

const BITS_MIN: usize = 1 << 10;

/// A session that holds more rows than this filter is for goes without one.
const BITS_MAX: usize = 1 << 20;

/// An entity in view.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) stance: StanceId,
    /// When it was last told by itself.
    pub(super) told_at: PublishSeq,
    /// The session's own updates are newer than what it was told: a view that asks for them gets them.
    pub(super) withheld: bool,
    /// All of it is to be shown again, own updates too: the session has become its owner.
    pub(super) anew: bool,
    /// While an answer is owed: the session may not have received what another partition told of its events.
    pub(super) overlaps: bool,
}

/// Rows in view, in an order that depends on nothing but what was done.
#[derive(Debug, Default)]
pub(super) struct HeldRows {
    rows: Vec<(RowId, Held)>,
    places: RowTable,
    filter: RowFilter,
    /// Rows whose bits are still there.
    removed: usize,
}

/// Mostly says no to rows that are not in view; never to those that are.
#[derive(Debug, Default)]
pub(super) struct RowFilter {
    /// Has the bit of each row, and of some that were removed. As many bits as a power of two; empty: says nothing.
    words: Vec<u64>,
    /// What it says of all if it has no bits.
    all: bool,
}

impl RowFilter {
    pub(super) fn may_hold(&self, row: RowId) -> bool {
        if self.words.is_empty() {
            return self.all;
        }
        let (word, bit) = self.bit_of(row);
        self.words[word] & bit != 0
    }

    fn bit_of(&self, row: RowId) -> (usize, u64) {
        let mixed = u64::from(row.0).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let place = mixed as usize & (self.words.len() * 64 - 1);
        (place / 64, 1 << (place % 64))
    }

    fn set_bit(&mut self, row: RowId) {
        if !self.words.is_empty() {
            let (word, bit) = self.bit_of(row);
            self.words[word] |= bit;
        }
    }

    /// None of the rows is in it any longer, and there is room for twice as many.
    fn clear_for(&mut self, rows: usize) {
        self.words.clear();
        let bits = (2 * BITS_PER_ROW * rows).next_power_of_two().max(BITS_MIN);
        if bits > BITS_MAX {
            self.words = Vec::new();
        } else {
            self.words.resize(bits / 64, 0);
        }
    }
}

impl Held {
    /// Of a row that moved here: an answer is owed.
    pub(super) const OWED: Self =
        Self { stance: StanceId::OWED, told_at: NEVER, withheld: false, anew: false, overlaps: false };

    pub(super) fn is_owed(&self) -> bool {
        self.stance == StanceId::OWED
    }

    /// Whether it is looked at whether it has changed or not.
    pub(super) fn is_awaited(&self) -> bool {
        self.is_owed() || self.anew
    }
}

impl HeldRows {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn contains(&self, row: RowId) -> bool {
        self.find(row).is_some()
    }

    /// Brings all into the processor's cache.
    pub(super) fn warm_up(&self) {
        std::hint::black_box(self.rows.iter().fold(NEVER, |last, (_, held)| last.max(held.told_at)));
    }

    /// Where in the order a row is, until a row is added or removed.
    pub(super) fn find(&self, row: RowId) -> Option<usize> {
        if self.filter.may_hold(row) { self.places.get(row) } else { None }
    }

    pub(super) fn get(&self, row: RowId) -> Option<&Held> {
        self.find(row).map(|place| &self.rows[place].1)
    }

    /// What is held at a place that was found.
    pub(super) fn get_at(&mut self, place: usize) -> Option<&mut Held> {
        self.rows.get_mut(place).map(|(_, held)| held)
    }

    /// The row at a place in the order.
    pub(super) fn at(&self, place: usize) -> Option<RowId> {
        self.rows.get(place).map(|&(row, _)| row)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (RowId, &Held)> {
        self.rows.iter().map(|(row, held)| (*row, held))
    }

    pub(super) fn insert(&mut self, row: RowId, held: Held) {
        if let Some(place) = self.find(row) {
            self.rows[place].1 = held;
            return;
        }
        self.places.set(row, self.rows.len());
        self.rows.push((row, held));
        self.filter.all = true;
        if self.filter.words.len() * 64 < self.rows.len() * BITS_PER_ROW {
            self.build_filter();
        } else {
            self.filter.set_bit(row);
        }
    }

    /// The last row takes its place in the order.
    pub(super) fn remove(&mut self, row: RowId) -> Option<Held> {
        if !self.filter.may_hold(row) {
            return None;
        }
        let place = self.places.remove(row)?;
        let (_, held) = self.rows.swap_remove(place);
        if let Some(&(other, _)) = self.rows.get(place) {
            self.places.set(other, place);
        }
        self.filter.all = !self.rows.is_empty();
        self.removed += 1;
        if self.removed > BITS_MIN / BITS_PER_ROW + self.rows.len() {
            self.build_filter();
        }
        Some(held)
    }

    /// To be put back before rows are asked for: without it none seems to be in view.
    pub(super) fn take_filter(&mut self) -> RowFilter {
        std::mem::take(&mut self.filter)
    }

    pub(super) fn put_filter(&mut self, filter: RowFilter) {
        self.filter = filter;
    }

    fn build_filter(&mut self) {
        self.removed = 0;
        self.filter.clear_for(self.rows.len());
        if !self.filter.words.is_empty() {
            self.rows.iter().for_each(|&(row, _)| self.filter.set_bit(row));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn held_rows(rows: impl IntoIterator<Item = u32>) -> HeldRows {
        let mut held = HeldRows::default();
        rows.into_iter().for_each(|row| held.insert(RowId(row), Held::OWED));
        held
    }

    #[test]
    fn most_rows_that_are_not_held_are_not_looked_for() {
        let held = held_rows((0..500).map(|i| i * 7));
        let wrongly =
            (0..100_000).filter(|i| i % 7 != 0).filter(|&row| held.filter.may_hold(RowId(row))).count();
        assert!(wrongly < 8_000, "{wrongly}");
    }

    #[test]
    fn who_holds_very_many_goes_without_a_filter() {
        let mut held = held_rows(0..100_000);
        assert!(held.filter.words.is_empty() && held.filter.may_hold(RowId(500_000)));
        assert!((0..99_990).all(|row| held.remove(RowId(row)).is_some()));
        assert!(
            !held.filter.words.is_empty() && held.contains(RowId(99_995)) && !held.filter.may_hold(RowId(5))
        );
    }

    #[test]
    fn it_holds_what_a_set_holds() {
        let (mut held, mut set) = (HeldRows::default(), BTreeSet::new());
        let mut random = 1u32;
        for step in 0..20_000u32 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let row = (random >> 8) % 300;
            // By turns it grows and shrinks.
            if (random >> 20) % 3 == (step / 500) % 2 {
                assert_eq!(held.remove(RowId(row)).is_some(), set.remove(&row));
            } else if step / 500 % 2 == 0 || set.contains(&row) {
                held.insert(RowId(row), Held::OWED);
                set.insert(row);
            }
            assert_eq!((held.len(), held.is_empty()), (set.len(), set.is_empty()));
            assert_eq!(held.contains(RowId(step % 300)), set.contains(&(step % 300)));
        }
        assert!((0..300).all(|row| held.get(RowId(row)).is_some() == set.contains(&row)));
        let is_found = |row| held.find(RowId(row)).is_some_and(|place| held.at(place) == Some(RowId(row)));
        assert!((0..300).all(|row| is_found(row) == set.contains(&row)));
        let listed: BTreeSet<u32> = held.iter().map(|(row, _)| row.0).collect();
        assert_eq!(listed, set);
        assert!((0..set.len()).all(|place| held.at(place).is_some_and(|row| set.contains(&row.0))));
    }
}
