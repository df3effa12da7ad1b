//! What strangers or writers can cause again and again is logged a few times a second only, so that they cannot fill a disk.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const LINES_PER_SECOND_MAX: u64 = 5;

/// What was logged lately. Exact enough without a lock: two callers at the turn of a second may log one more or less.
#[derive(Debug)]
pub(super) struct LogBudget {
    start: Instant,
    second: AtomicU64,
    /// In this second.
    count: AtomicU64,
}

impl Default for LogBudget {
    fn default() -> Self {
        Self { start: Instant::now(), second: AtomicU64::new(0), count: AtomicU64::new(0) }
    }
}

impl LogBudget {
    /// Something happened. If it may be logged: how many before it, in an earlier second, were not.
    pub(super) fn spend(&self) -> Option<u64> {
        let second = self.start.elapsed().as_secs();
        let mut unlogged = 0;
        if self.second.swap(second, Ordering::Relaxed) != second {
            unlogged = self.count.swap(0, Ordering::Relaxed).saturating_sub(LINES_PER_SECOND_MAX);
        }
        (self.count.fetch_add(1, Ordering::Relaxed) < LINES_PER_SECOND_MAX).then_some(unlogged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_logged_and_then_no_more() {
        let budget = LogBudget::default();
        let logged = (0..1000).filter(|_| budget.spend().is_some()).count() as u64;
        // The second may have turned meanwhile.
        assert!((LINES_PER_SECOND_MAX..=2 * LINES_PER_SECOND_MAX).contains(&logged), "{logged}");
    }
}
