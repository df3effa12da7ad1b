//! A count that rises at once and falls late.
//!
//! Responsible for: the highest count asked for within some time, so that processes do not come and go with each
//! change of demand. Not responsible for: which process goes. Time comes in, since any moment, as an argument.

use std::{collections::VecDeque, time::Duration};

/// The highest count asked for within the last `after`.
pub(super) struct Level {
    after: Duration,
    asked: usize,
    // What was asked for before and is higher: from high to low, which is from early to late.
    higher: VecDeque<Former>,
}

struct Former {
    count: usize,
    until: Duration,
}

impl Level {
    /// As if `asked` had always been asked for.
    pub(super) fn new(asked: usize, after: Duration) -> Self {
        Self { after, asked, higher: VecDeque::new() }
    }

    /// From `now` on so many are asked for.
    pub(super) fn ask(&mut self, count: usize, now: Duration) {
        if count < self.asked {
            self.higher.push_back(Former { count: self.asked, until: now });
        }
        self.higher.retain(|former| former.count > count);
        self.asked = count;
    }

    /// What is asked for.
    pub(super) fn asked(&self) -> usize {
        self.asked
    }

    /// The level at `now`.
    pub(super) fn at(&mut self, now: Duration) -> usize {
        while self.falls_at().is_some_and(|at| at <= now) {
            self.higher.pop_front();
        }
        self.higher.front().map_or(self.asked, |former| former.count)
    }

    /// When it falls next if nothing is asked for until then.
    pub(super) fn falls_at(&self) -> Option<Duration> {
        self.higher.front().map(|former| former.until.saturating_add(self.after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What is asked for when, then the level at each second.
    fn levels(asks: &[(u64, usize)], seconds: u64) -> Vec<usize> {
        let mut level = Level::new(1, Duration::from_secs(3));
        (0..seconds)
            .map(|second| {
                let now = Duration::from_secs(second);
                for (_, count) in asks.iter().filter(|(at, _)| *at == second) {
                    level.ask(*count, now);
                }
                level.at(now)
            })
            .collect()
    }

    #[test]
    fn it_rises_at_once_and_falls_late() {
        assert_eq!(levels(&[(1, 4), (2, 2)], 7), [1, 4, 4, 4, 4, 2, 2]);
    }

    #[test]
    fn each_step_down_waits_for_itself() {
        assert_eq!(levels(&[(0, 4), (1, 3), (2, 1)], 7), [4, 4, 4, 4, 3, 1, 1]);
    }

    #[test]
    fn what_flaps_stays_up() {
        let asks = [(0, 3), (1, 1), (3, 3), (4, 1), (6, 3)];
        assert_eq!(levels(&asks, 9), [3; 9]);
        assert_eq!(levels(&[(0, 3), (1, 1), (3, 2), (4, 1)], 9), [3, 3, 3, 3, 2, 2, 2, 1, 1]);
    }

    #[test]
    fn it_says_when_it_falls() {
        let mut level = Level::new(2, Duration::from_secs(3));
        assert_eq!(level.falls_at(), None);
        level.ask(1, Duration::from_secs(5));
        assert_eq!(level.falls_at(), Some(Duration::from_secs(8)));
        assert_eq!((level.at(Duration::from_secs(8)), level.falls_at()), (1, None));
    }
}
