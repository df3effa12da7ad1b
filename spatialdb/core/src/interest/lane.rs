//! Lanes: what a subscriber wants at one rate is told together.

use crate::Micros;
use crate::partition::PublishSeq;

/// Not filled, not told: before the first publish.
pub(super) const NEVER: PublishSeq = PublishSeq(0);

/// A set of parts or lanes of one subscriber, one bit each.
pub(crate) type Mask = u64;

/// The parts of one rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    /// The least time between two runs.
    pub(super) interval_us: Micros,
    /// All that its filled parts want has been told as of this publish.
    pub(super) since: PublishSeq,
    /// It is not run before.
    pub(super) due: Micros,
}

impl Lane {
    pub(super) const fn new(interval_us: Micros) -> Self {
        Self { interval_us, since: NEVER, due: 0 }
    }

    /// It was run: all is told as of `stamp`.
    pub(super) fn ran(&mut self, stamp: PublishSeq, now: Micros) {
        self.since = stamp;
        self.due = self.after(now);
    }

    /// Lanes of one rate are due at the same time whoever's they are, so that what is told is encoded once.
    fn after(&self, now: Micros) -> Micros {
        if self.interval_us == 0 {
            return now;
        }
        let aligned = (now / self.interval_us + 1).saturating_mul(self.interval_us);
        if aligned - now < self.interval_us / 2 { aligned.saturating_add(self.interval_us) } else { aligned }
    }
}

/// The numbers of the bits in a mask.
pub(crate) fn bits(mut mask: Mask) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_of_one_rate_are_due_together() {
        let mut lanes = [Lane::new(100), Lane::new(100)];
        lanes[0].ran(PublishSeq(1), 1_010);
        lanes[1].ran(PublishSeq(1), 1_040);
        assert_eq!(lanes.map(|lane| lane.due), [1_100, 1_100]);
        lanes[0].ran(PublishSeq(1), 1_090);
        assert_eq!(lanes[0].due, 1_200);
    }

    #[test]
    fn bits_come_in_order() {
        assert_eq!(bits(0b1000_0101).collect::<Vec<_>>(), [0, 2, 7]);
        assert_eq!(bits(0).count(), 0);
    }
}
