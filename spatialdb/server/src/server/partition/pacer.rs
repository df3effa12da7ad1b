//! When to publish: at once when idle, and at most half of the time.

use spatialdb_core::Micros;

/// Spaces publishes by what they cost.
#[derive(Debug)]
pub(super) struct Pacer {
    interval_max: Micros,
    ended: Micros,
    cost: Micros,
}

impl Pacer {
    /// Pauses are never longer than `interval_max`.
    pub(super) const fn new(interval_max: Micros) -> Self {
        Self { interval_max, ended: 0, cost: 0 }
    }

    /// Whether it is time: after a pause as long as the last publish took, if idle; under load after the longest.
    pub(super) fn may_publish(&self, now: Micros, idle: bool) -> bool {
        let pause = if idle { self.cost.min(self.interval_max) } else { self.interval_max };
        now >= self.ended + pause
    }

    /// The earliest time for the next one if nothing else comes.
    pub(super) fn next(&self, now: Micros) -> Micros {
        (self.ended + self.cost.min(self.interval_max)).max(now)
    }

    /// What the last publish took.
    pub(super) const fn cost(&self) -> Micros {
        self.cost
    }

    /// A publish ran from `start` to `end`.
    pub(super) const fn published(&mut self, start: Micros, end: Micros) {
        self.ended = end;
        self.cost = end.saturating_sub(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_cost_up_to_the_longest() {
        let mut pacer = Pacer::new(20_000);
        assert!(pacer.may_publish(20_000, false));
        pacer.published(100, 400);
        assert!(!pacer.may_publish(699, true));
        assert!(pacer.may_publish(700, true));
        assert!(!pacer.may_publish(700, false));
        assert!(pacer.may_publish(20_400, false));
        pacer.published(0, 90_000);
        assert_eq!(pacer.next(90_000), 110_000);
        assert_eq!(pacer.next(200_000), 200_000);
    }
}
