//! A bit for each row.

use super::RowId;

/// Rows of which something is noted.
#[derive(Debug, Default)]
pub(super) struct RowBits {
    words: Vec<u64>,
}

impl RowBits {
    pub(super) fn note(&mut self, id: RowId) {
        let word = id.0 as usize / 64;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (id.0 % 64);
    }

    pub(super) fn has(&self, id: RowId) -> bool {
        self.words.get(id.0 as usize / 64).is_some_and(|word| word & (1 << (id.0 % 64)) != 0)
    }

    /// Whether it was noted. It is not any more.
    pub(super) fn take(&mut self, id: RowId) -> bool {
        let Some(word) = self.words.get_mut(id.0 as usize / 64) else { return false };
        let bit = 1 << (id.0 % 64);
        let was_noted = *word & bit != 0;
        *word &= !bit;
        was_noted
    }

    /// The first row from that one on that was noted. It is not any more.
    pub(super) fn take_from(&mut self, row: usize) -> Option<RowId> {
        let (first, bits) = (row / 64, !0 << (row % 64));
        let mut words = self.words.iter_mut().enumerate().skip(first);
        let mask = |word: usize| if word == first { bits } else { !0 };
        let (at, word) = words.find(|(at, word)| **word & mask(*at) != 0)?;
        let bit = (*word & mask(at)).trailing_zeros();
        *word &= !(1 << bit);
        Some(RowId(at as u32 * 64 + bit))
    }

    pub(super) fn clear(&mut self) {
        self.words.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_taken_once_each_in_order() {
        let mut bits = RowBits::default();
        for row in [130, 0, 63, 64, 5, 130] {
            bits.note(RowId(row));
        }
        assert!(bits.has(RowId(130)) && !bits.has(RowId(131)) && !bits.has(RowId(9999)));
        assert!(bits.take(RowId(5)) && !bits.take(RowId(5)) && !bits.take(RowId(9999)));
        assert_eq!(bits.take_from(1), Some(RowId(63)));
        let mut all = Vec::new();
        let mut from = 0;
        while let Some(id) = bits.take_from(from) {
            all.push(id.0);
            from = id.0 as usize + 1;
        }
        assert_eq!(all, [0, 64, 130]);
        assert_eq!(bits.take_from(0), None);
    }
}
