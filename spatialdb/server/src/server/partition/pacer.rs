//! When to publish: at once when idle, at most half of the time, a quarter of it while writers wait, and less often the more
//! there are to send to.

use spatialdb_core::Micros;

use crate::config::WorldConfig;

/// How much longer the pause is for each delta beyond the first ones. A delta takes some 20 microseconds of processor on
/// its way from here to a socket: sending takes about a tenth of a core until the pause is at its longest.
const PAUSE_PER_DELTA: Micros = 200;

/// What sending a delta takes, at least. Where that adds up to more than the longest pause, the pause is longer still: what
/// is told more often than it can be sent only waits.
const SEND_PER_DELTA: Micros = 30;

/// How many of the longest pauses are added at most, as long as sessions do not take what they are sent in time or writers
/// wait.
const STRETCH_MAX: u64 = 4;

/// While writers wait they get so many times what publishing takes, as long as that leaves one publish in 1 + `STRETCH_MAX` of
/// the longest pauses.
const WRITING_SHARE: u64 = 3;

/// Where publishing takes half of the longest pause, writers count as waiting too if applying took more than one in so many
/// microseconds: where processors are few what they wrote may not have come so far.
const WRITING_FROM: u64 = 10;

/// While sessions do take it, so many publishes take back what one added.
const RELAX: u64 = 5;

/// So many deltas are sent without waiting for more to tell.
const DELTAS_FREE: u64 = 4;

/// How a partition publishes.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Pace {
    /// The longest pause, unless publishing or sending takes longer than that, or writers wait.
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
    /// The deltas of the last publish, and how many sessions have taken theirs since.
    sent: u64,
    taken: u64,
    /// Added to the pause, since they take longer than was thought.
    stretch: Micros,
    /// The earliest time for the next one, if idle.
    next: Micros,
    /// The same under load.
    round: Micros,
    /// When the last one ended.
    end: Micros,
    /// What applying took since.
    wrote: Micros,
}

impl Pacer {
    /// `interval_max` is the longest pause, unless publishing or sending takes longer than that, or writers wait.
    pub(super) const fn new(interval_max: Micros) -> Self {
        Self { interval_max, cost: 0, sent: 0, taken: 0, stretch: 0, next: 0, round: 0, end: 0, wrote: 0 }
    }

    /// Whether it is time: after a pause that grows with what the last one took, if idle; a longer one under load.
    pub(super) fn may_publish(&self, now: Micros, idle: bool) -> bool {
        now >= if idle { self.next } else { self.round }
    }

    /// The earliest time for the next one if nothing else comes.
    pub(super) fn next(&self, now: Micros) -> Micros {
        self.next.max(now)
    }

    /// So long something was applied.
    pub(super) const fn wrote(&mut self, time: Micros) {
        self.wrote += time;
    }

    /// What the last publish took.
    pub(super) const fn cost(&self) -> Micros {
        self.cost
    }

    /// Whether so many deltas are better sent together with those of other partitions.
    pub(super) const fn is_many(deltas: u64) -> bool {
        deltas > DELTAS_FREE
    }

    /// A session has taken its delta.
    pub(super) const fn taken(&mut self) {
        self.taken += 1;
    }

    /// A publish made so many deltas. Returns the time to the next one under load; 0: they are too few to matter.
    ///
    /// Sessions that take nothing at all are sent nothing either, so they do not count.
    pub(super) fn period(&mut self, deltas: u64) -> Micros {
        let step = (self.interval_max / 2).max(1);
        let is_behind = Self::is_many(self.sent) && self.taken * 10 < self.sent * 9;
        self.stretch = if is_behind {
            (self.stretch + step).min(self.interval_max * STRETCH_MAX)
        } else {
            self.stretch.saturating_sub(step / RELAX)
        };
        (self.sent, self.taken) = (deltas, 0);
        if !Self::is_many(deltas) {
            return 0;
        }
        let least = self.interval_max.max(deltas * SEND_PER_DELTA);
        (least + self.stretch).next_multiple_of(step)
    }

    /// A publish ran from `start` to `end`, and made so many deltas. Partitions that send to many do so at the same time, at
    /// multiples of their period: what they say goes together into one frame.
    pub(super) fn published(&mut self, start: Micros, end: Micros, deltas: u64, period: Micros) {
        self.cost = end.saturating_sub(start);
        let period = period.max(self.interval_max).max(1);
        let round = |pause: Micros| {
            let earliest = (end + pause).next_multiple_of(period);
            earliest.max((start + period / 2) / period * period + period)
        };
        let longest = (self.interval_max * (1 + STRETCH_MAX)).saturating_sub(self.cost).max(self.cost);
        let written = (self.cost * WRITING_SHARE).min(longest);
        self.round = round(written);
        let is_dear = self.cost * 2 > self.interval_max;
        let is_written = is_dear && self.wrote * WRITING_FROM > start.saturating_sub(self.end);
        (self.end, self.wrote) = (end, 0);
        let rest = if is_written { written } else { self.cost.min(self.interval_max) };
        let pause = rest + deltas.saturating_sub(DELTAS_FREE) * PAUSE_PER_DELTA;
        self.next = if pause >= self.interval_max {
            round(rest)
        } else if Self::is_many(deltas) {
            // These meet too: what is a multiple of the longest pause is one of its half, and so on.
            let unit =
                (0..4).map(|halvings| self.interval_max >> halvings).filter(|&unit| unit >= pause).min();
            (end + pause / 2).next_multiple_of(unit.unwrap_or(self.interval_max).max(1))
        } else {
            end + pause
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(pacer: &mut Pacer, start: Micros, end: Micros, deltas: u64) {
        let period = pacer.period(deltas);
        pacer.published(start, end, deltas, period);
        (0..deltas).for_each(|_| pacer.taken());
    }

    #[test]
    fn pauses_grow_with_cost_up_to_the_longest() {
        let mut pacer = Pacer::new(20_000);
        assert!(pacer.may_publish(20_000, false));
        publish(&mut pacer, 100, 400, 1);
        assert!(!pacer.may_publish(699, true));
        assert!(pacer.may_publish(700, true));
        assert!(!pacer.may_publish(700, false));
        assert!(pacer.may_publish(20_000, false));
        publish(&mut pacer, 0, 90_000, 1);
        assert_eq!(pacer.next(90_000), 120_000);
        assert_eq!(pacer.next(200_000), 200_000);
    }

    #[test]
    fn while_writers_wait_they_get_three_times_what_publishing_takes() {
        let mut pacer = Pacer::new(20_000);
        publish(&mut pacer, 0, 15_000, 1);
        assert!(pacer.may_publish(40_000, true), "nobody writes");
        assert!(!pacer.may_publish(40_000, false));
        assert!(pacer.may_publish(60_000, false));
        // What was applied shows that there are writers even if none waits just now.
        pacer.wrote(5_000);
        publish(&mut pacer, 60_000, 75_000, 1);
        assert!(!pacer.may_publish(119_999, true));
        assert!(pacer.may_publish(120_000, true));
        // As long as there are ten in a second; it is never more than half of the time.
        for (cost, next) in [(40_000, 300_000), (80_000, 360_000)] {
            pacer.wrote(100_000);
            publish(&mut pacer, 200_000, 200_000 + cost, 1);
            assert_eq!(pacer.next(0), next, "{cost}");
        }
        pacer.wrote(50_000);
        publish(&mut pacer, 400_000, 405_000, 1);
        assert_eq!(pacer.next(0), 410_000, "what is cheap need not wait for long");
    }

    #[test]
    fn pauses_grow_with_the_number_of_deltas_and_meet() {
        let mut pacer = Pacer::new(20_000);
        publish(&mut pacer, 1_000, 1_010, DELTAS_FREE + 10);
        assert_eq!(pacer.next(0), 2_500);
        publish(&mut pacer, 2_500, 3_000, DELTAS_FREE + 60);
        assert_eq!(pacer.next(0), 20_000);
        let mut other = Pacer::new(20_000);
        publish(&mut pacer, 20_000, 22_000, 600);
        publish(&mut other, 20_500, 20_700, 500);
        assert_eq!((pacer.next(0), other.next(0)), (40_000, 40_000));
        // Whatever the phase they began in.
        publish(&mut pacer, 31_000, 31_500, 500);
        assert_eq!(pacer.next(0), 60_000);
        publish(&mut pacer, 60_100, 62_000, 1_000);
        assert_eq!(pacer.next(0), 90_000);
    }

    #[test]
    fn what_is_not_taken_in_time_makes_pauses_longer() {
        let mut pacer = Pacer::new(20_000);
        let mut period_if = |taken: u64| {
            (0..taken).for_each(|_| pacer.taken());
            pacer.period(100)
        };
        assert_eq!(period_if(0), 20_000, "nothing was sent before");
        assert_eq!((period_if(50), period_if(50)), (30_000, 40_000));
        for _ in 0..20 {
            period_if(50);
        }
        assert_eq!(period_if(50), 100_000, "at the longest");
        for _ in 0..40 {
            period_if(100);
        }
        assert_eq!(period_if(95), 20_000, "and back");
        assert_eq!(pacer.period(DELTAS_FREE), 0);
    }
}
