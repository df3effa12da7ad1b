//! When a worker that ended is started again.
//!
//! Responsible for: pauses between starts, and giving up.
//! Not responsible for: starting anything.

use std::time::Duration;

/// When a worker that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// One that fails sooner than this after its start failed at start.
    pub quick: Duration,
    /// After so many failures at start in a row it stays stopped.
    pub quick_failures_max: u32,
    /// The first pause before a restart; it doubles with each one in a row.
    pub pause_first: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            quick: Duration::from_secs(2),
            quick_failures_max: 5,
            pause_first: Duration::from_millis(250),
            pause_max: Duration::from_secs(10),
        }
    }
}

/// The failures in a row, and the pauses they earn.
#[derive(Default)]
pub(super) struct History {
    quick_failures: u32,
    restarts: u32,
}

/// What follows from a failure.
pub(super) struct Verdict {
    /// How long to wait before the next start; `None`: it stays stopped.
    pub(super) pause: Option<Duration>,
    /// How often in a row it has failed at start.
    pub(super) quick_failures: u32,
}

impl History {
    /// It has failed after it ran for so long.
    pub(super) fn failed(&mut self, lived: Duration, policy: RestartPolicy) -> Verdict {
        // One that ran longer than any pause had recovered: what it earned before is forgotten.
        if lived > policy.pause_max {
            self.restarts = 0;
        }
        self.quick_failures = if lived < policy.quick { self.quick_failures + 1 } else { 0 };
        let doubled = policy.pause_first.saturating_mul(1 << self.restarts.min(16));
        self.restarts += 1;
        let pause = (self.quick_failures < policy.quick_failures_max).then(|| doubled.min(policy.pause_max));
        Verdict { pause, quick_failures: self.quick_failures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_are_forgotten() {
        let policy = RestartPolicy::default();
        let mut history = History::default();
        let mut pause_ms =
            |lived_s| history.failed(Duration::from_secs(lived_s), policy).pause.map(|p| p.as_millis());
        let slow: Vec<_> = (0..7).map(|_| pause_ms(3)).collect();
        assert_eq!(slow, [250, 500, 1000, 2000, 4000, 8000, 10_000].map(Some));
        assert_eq!(pause_ms(60), Some(250));
        let quick: Vec<_> = (0..5).map(|_| pause_ms(0).is_some()).collect();
        assert_eq!(quick, [true, true, true, true, false]);
    }
}
