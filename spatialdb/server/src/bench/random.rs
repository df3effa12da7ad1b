//! Numbers that look random and are the same in each run.

/// A generator of numbers.
///
/// # Source
/// SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
pub(super) struct Random(u64);

impl Random {
    /// The sequence of that seed.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// The next number from 0 up to, not including, 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The next number from `-reach` up to `reach`.
    pub(super) fn around_zero(&mut self, reach: f64) -> f64 {
        (self.unit() * 2.0 - 1.0) * reach
    }
}

/// Spreads a number over all 64 bits; different numbers stay different.
pub(super) const fn mix(number: u64) -> u64 {
    let a = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    b ^ (b >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_and_repeat() {
        let mut random = Random::new(1);
        let mean = (0..10_000).map(|_| random.unit()).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        assert!((0..1000).all(|_| random.around_zero(3.0).abs() <= 3.0));
        assert_eq!(Random::new(9).next(), Random::new(9).next());
        assert_ne!(mix(1), mix(2));
    }
}
