//! The only source of chance: a SplitMix64 generator.
//!
//! # Source
//! Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.

/// A deterministic generator.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// A generator that gives the same numbers for the same seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let a = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        b ^ (b >> 31)
    }

    /// A number in `0..end`.
    ///
    /// # Panics
    /// If `end` is 0.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "there is a number below");
        self.next() % end
    }

    /// An index into something of that length.
    pub(crate) const fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// A number in `from..=to`.
    pub(crate) const fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// True in that many of a hundred cases.
    pub(crate) const fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// True once in so many cases.
    pub(crate) const fn one_in(&mut self, cases: u64) -> bool {
        self.below(cases) == 0
    }

    /// A number in `from..to`.
    pub(crate) fn float(&mut self, from: f64, to: f64) -> f64 {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        from + unit * (to - from)
    }

    /// One of a list.
    ///
    /// # Panics
    /// If the list is empty.
    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.index(list.len())]
    }

    /// An index, as likely as its weight; `None` if all weights are 0.
    pub(crate) fn weighted(&mut self, weights: &[u64]) -> Option<usize> {
        let sum: u64 = weights.iter().sum();
        let mut at = if sum == 0 { return None } else { self.below(sum) };
        weights.iter().position(|&weight| {
            let here = at < weight;
            at = at.saturating_sub(weight);
            here
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_kept_and_zero_is_never_picked() {
        let mut rng = Rng::new(1);
        let mut counts = [0; 3];
        for _ in 0..4000 {
            counts[rng.weighted(&[1, 0, 3]).expect("some weight")] += 1;
        }
        assert!(counts[1] == 0 && (800..1200).contains(&counts[0]), "{counts:?}");
        assert_eq!(rng.weighted(&[0, 0]), None);
    }
}
