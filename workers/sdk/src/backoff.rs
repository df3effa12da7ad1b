//! How long to wait before the next attempt to connect.
//!
//! Responsible for: capped exponential delays with jitter, from a seed.
//! Not responsible for: sleeping, and what a server asks for (`worker.rs` takes the larger of both).

use std::time::Duration;

/// The bounds of a [`Backoff`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffLimits {
    /// The longest first delay.
    pub first: Duration,
    /// The longest delay ever.
    pub max: Duration,
}

impl Default for BackoffLimits {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), max: Duration::from_secs(10) }
    }
}

/// Delays that double up to a cap. Each is drawn from the upper half of its range, so that workers which
/// lost the same server do not all come back at once.
#[derive(Clone, Debug)]
pub struct Backoff {
    limits: BackoffLimits,
    attempts: u32,
    random: u64,
}

impl Backoff {
    /// Delays within `limits`. The same seed gives the same delays.
    pub fn new(limits: BackoffLimits, seed: u64) -> Self {
        Self { limits, attempts: 0, random: seed }
    }

    /// The delay before the next attempt; later ones are longer until [`Self::reset`].
    pub fn next_delay(&mut self) -> Duration {
        let ceiling = self.limits.first.saturating_mul(1_u32 << self.attempts.min(20)).min(self.limits.max);
        self.attempts = self.attempts.saturating_add(1);
        ceiling.mul_f64(0.5 + 0.5 * self.unit())
    }

    /// Starts again with the first delay: a session has proved to work.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// In [0, 1). SplitMix64.
    fn unit(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_the_cap_within_their_jitter() {
        let limits = BackoffLimits { first: Duration::from_millis(100), max: Duration::from_secs(3) };
        let mut backoff = Backoff::new(limits, 7);
        for attempt in 0..50 {
            let ceiling_ms = (100_u64 << attempt.min(20)).min(3000);
            let delay = backoff.next_delay();
            assert!(delay <= Duration::from_millis(ceiling_ms), "attempt {attempt}: {delay:?}");
            assert!(delay >= Duration::from_millis(ceiling_ms / 2), "attempt {attempt}: {delay:?}");
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }

    #[test]
    fn seeds_differ_and_repeat() {
        let delays = |seed| {
            let mut backoff = Backoff::new(BackoffLimits::default(), seed);
            [backoff.next_delay(), backoff.next_delay(), backoff.next_delay()]
        };
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }
}
