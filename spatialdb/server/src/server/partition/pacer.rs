//! When to publish: at once when idle, at most half of the time, and less often the more there are to send to.

use spatialdb_core::Micros;

use crate::config::WorldConfig;

/// How much longer the pause is for each delta beyond the first ones. A delta takes some 20 microseconds of processor on
/// its way from here to a socket: sending takes about a tenth of a core until the pause is at its longest.
const PAUSE_PER_DELTA: Micros = 200;

/// What sending a delta takes, about. Where that adds up to more than the longest pause, the pause is longer still: what
/// is told more often than it can be sent only waits.
const SEND_PER_DELTA: Micros = 30;

/// So many deltas are sent without waiting for more to tell.
const DELTAS_FREE: u64 = 4;

/// How a partition publishes.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Pace {
    /// Pauses are never longer.
    pub(super) interval_max_us: Micros,
    /// After which share of publishes a shadow check is made.
    pub(super) shadow_check: f64,
}

impl Pace {
    pub(in crate::server) fn of(config: &WorldConfig) -> Self {
        let interval_max_us = config.publish_interval_max.as_micros() as u64;
        Self { interval_max_us, shadow_check: config.shadow_check }
    }
}

/// Spaces publishes by what they cost.
#[derive(Debug)]
pub(super) struct Pacer {
    interval_max: Micros,
    cost: Micros,
    /// The earliest time for the next one, if idle.
    next: Micros,
    /// The same under load.
    round: Micros,
}

impl Pacer {
    /// Pauses are never longer than `interval_max`.
    pub(super) const fn new(interval_max: Micros) -> Self {
        Self { interval_max, cost: 0, next: 0, round: 0 }
    }

    /// Whether it is time: after a pause that grows with what the last one took, if idle; under load after the longest.
    pub(super) fn may_publish(&self, now: Micros, idle: bool) -> bool {
        now >= if idle { self.next } else { self.round }
    }

    /// The earliest time for the next one if nothing else comes.
    pub(super) fn next(&self, now: Micros) -> Micros {
        self.next.max(now)
    }

    /// What the last publish took.
    pub(super) const fn cost(&self) -> Micros {
        self.cost
    }

    /// Whether so many deltas are better sent together with those of other partitions.
    pub(super) const fn is_many(deltas: u64) -> bool {
        deltas > DELTAS_FREE
    }

    /// A publish ran from `start` to `end`, and made so many deltas.
    pub(super) fn published(&mut self, start: Micros, end: Micros, deltas: u64) {
        self.cost = end.saturating_sub(start);
        // Partitions that send to many do so at the same time: what they say goes together into one frame.
        let step = (self.interval_max / 2).max(1);
        let period = self.interval_max.max(deltas * SEND_PER_DELTA).next_multiple_of(step).max(1);
        let earliest = end + self.cost.min(self.interval_max);
        self.round = ((start + period / 2) / period * period + period).max(earliest.next_multiple_of(period));
        let pause = self.cost + deltas.saturating_sub(DELTAS_FREE) * PAUSE_PER_DELTA;
        self.next = if pause < self.interval_max { end + pause } else { self.round };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_cost_up_to_the_longest() {
        let mut pacer = Pacer::new(20_000);
        assert!(pacer.may_publish(20_000, false));
        pacer.published(100, 400, 1);
        assert!(!pacer.may_publish(699, true));
        assert!(pacer.may_publish(700, true));
        assert!(!pacer.may_publish(700, false));
        assert!(pacer.may_publish(20_000, false));
        pacer.published(0, 90_000, 1);
        assert_eq!(pacer.next(90_000), 120_000);
        assert_eq!(pacer.next(200_000), 200_000);
    }

    #[test]
    fn pauses_grow_with_the_number_of_deltas_and_meet() {
        let mut pacer = Pacer::new(20_000);
        pacer.published(1_000, 1_010, DELTAS_FREE + 10);
        assert_eq!(pacer.next(0), 1_010 + 10 + 10 * PAUSE_PER_DELTA);
        let mut other = Pacer::new(20_000);
        pacer.published(20_000, 22_000, 600);
        other.published(20_500, 20_700, 500);
        assert_eq!((pacer.next(0), other.next(0)), (40_000, 40_000));
        // Whatever the phase they began in.
        pacer.published(31_000, 31_500, 500);
        assert_eq!(pacer.next(0), 60_000);
        pacer.published(60_100, 62_000, 1_000);
        assert_eq!(pacer.next(0), 90_000);
    }
}
