//! Where in a list a row is.
//!
//! A general hash table waits for memory three times before it knows: for the tags of a group, the number of the entry, and the
//! entry. Whoever looks at views asks that for each row that is told, so here a row and its place lie in one word.

use crate::partition::RowId;

/// Slots of the smallest table.
const SLOTS_MIN: usize = 8;

/// Nothing is there: no row has the number that its upper half would be.
const EMPTY: u64 = u64::MAX;

/// Rows and their places, in slots that are looked through from where a row belongs on. At most half of them are taken.
#[derive(Debug, Default)]
pub(super) struct RowTable {
    /// As many as a power of two, or none: a row in the upper half, its place in the lower.
    slots: Vec<u64>,
    len: usize,
}

impl RowTable {
    pub(super) fn get(&self, row: RowId) -> Option<usize> {
        self.slot_of(row).map(|slot| self.slots[slot] as u32 as usize)
    }

    /// Adds a row that is not in it, or gives it another place.
    pub(super) fn set(&mut self, row: RowId, place: usize) {
        let word = u64::from(row.0) << 32 | place as u64;
        if let Some(slot) = self.slot_of(row) {
            self.slots[slot] = word;
            return;
        }
        self.len += 1;
        if self.slots.len() < self.len * 2 {
            self.resize();
        }
        self.put(word);
    }

    /// Returns the place that the row had.
    pub(super) fn remove(&mut self, row: RowId) -> Option<usize> {
        let mut hole = self.slot_of(row)?;
        let place = self.slots[hole] as u32 as usize;
        self.len -= 1;
        // What comes behind moves up as far as it may, so that it is found without a gap.
        let mask = self.slots.len() - 1;
        let mut slot = hole;
        loop {
            slot = (slot + 1) & mask;
            let word = self.slots[slot];
            if word == EMPTY {
                break;
            }
            let distance = slot.wrapping_sub(self.home(row_of(word))) & mask;
            if distance >= slot.wrapping_sub(hole) & mask {
                self.slots[hole] = word;
                hole = slot;
            }
        }
        self.slots[hole] = EMPTY;
        if self.slots.len() > SLOTS_MIN && self.len * 8 < self.slots.len() {
            self.resize();
        }
        Some(place)
    }

    fn slot_of(&self, row: RowId) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut slot = self.home(row);
        loop {
            match self.slots[slot] {
                EMPTY => return None,
                word if row_of(word) == row => return Some(slot),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    /// Where a row is looked for first.
    fn home(&self, row: RowId) -> usize {
        let mixed = u64::from(row.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize & (self.slots.len() - 1)
    }

    /// Puts a row that is not in it into a free slot.
    fn put(&mut self, word: u64) {
        let mask = self.slots.len() - 1;
        let mut slot = self.home(row_of(word));
        while self.slots[slot] != EMPTY {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = word;
    }

    fn resize(&mut self) {
        let slots = (self.len * 4).next_power_of_two().max(SLOTS_MIN);
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; slots]);
        old.into_iter().filter(|&word| word != EMPTY).for_each(|word| self.put(word));
    }
}

fn row_of(word: u64) -> RowId {
    RowId((word >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_knows_what_a_map_knows(ops in prop::collection::vec((0..3u8, 0..200u32, 0..1000usize), 0..600)) {
            let (mut table, mut map) = (RowTable::default(), BTreeMap::new());
            for (op, row, place) in ops {
                // Rows far apart, and next to each other.
                let row = RowId(if row % 2 == 0 { row } else { row * 0x0101_0101 });
                if op == 0 {
                    prop_assert_eq!(table.remove(row), map.remove(&row.0));
                } else {
                    table.set(row, place);
                    map.insert(row.0, place);
                }
                prop_assert_eq!(table.len, map.len());
                prop_assert!(table.slots.len() >= 2 * table.len);
            }
            prop_assert!((0..200).map(RowId).all(|row| table.get(row) == map.get(&row.0).copied()));
            prop_assert!(map.iter().all(|(&row, &place)| table.get(RowId(row)) == Some(place)));
        }
    }

    #[test]
    fn a_table_that_was_large_becomes_small() {
        let mut table = RowTable::default();
        (0..10_000).for_each(|row| table.set(RowId(row), 0));
        (10..10_000).for_each(|row| assert!(table.remove(RowId(row)).is_some()));
        assert!(table.slots.len() <= 128, "{}", table.slots.len());
        assert!((0..10).all(|row| table.get(RowId(row)).is_some()));
    }
}
