//! Rounds: what partitions publish at the same time goes to the sessions together, so that each sends one frame.
//!
//! A partition that has published leaves what it has for sessions here while others are about to publish; the last of
//! them delivers it all. Nobody waits longer than `ROUND_WAIT_US`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use spatialdb_core::{Micros, ToSession};
use spatialdb_types::{PartitionId, SessionId};

use super::edge::Edge;
use super::port::Event;

/// What is left here is delivered after this time by whoever left it.
pub(super) const ROUND_WAIT_US: Micros = 4_000;

/// A partition that is going to publish within this time is waited for.
const ABOUT_US: Micros = 1_000;

/// What a partition has for a session.
pub(super) struct Letter {
    pub(super) to: SessionId,
    pub(super) from: PartitionId,
    /// When it was published.
    pub(super) at: Micros,
    pub(super) message: ToSession,
}

/// The rounds of a world.
pub(super) struct Rounds {
    /// When each partition is going to publish.
    due: Vec<AtomicU64>,
    /// How long each of them would leave between two publishes.
    periods: Vec<AtomicU64>,
    waiting: Mutex<Vec<Letter>>,
}

impl Rounds {
    pub(super) fn new(partitions: usize) -> Self {
        let all = |time| (0..partitions).map(|_| AtomicU64::new(time)).collect();
        Self { due: all(Micros::MAX), periods: all(0), waiting: Mutex::new(Vec::new()) }
    }

    /// The partition is going to publish at this time; [`Micros::MAX`]: not that it knows.
    pub(super) fn set_due(&self, partition: PartitionId, at: Micros) {
        self.due[usize::from(partition.0)].store(at, Ordering::Relaxed);
    }

    /// The same, if that is sooner than it knew.
    pub(super) fn set_due_by(&self, partition: PartitionId, at: Micros) {
        self.due[usize::from(partition.0)].fetch_min(at, Ordering::Relaxed);
    }

    /// The partition would leave this time between two publishes; 0: it does not mind. Returns the longest that any of them
    /// would: with the same one they meet.
    pub(super) fn agree(&self, partition: PartitionId, period: Micros) -> Micros {
        self.periods[usize::from(partition.0)].store(period, Ordering::Relaxed);
        self.periods.iter().map(|period| period.load(Ordering::Relaxed)).max().unwrap_or(period)
    }

    /// Leaves letters if another partition is about to publish. Returns all there are, with those that others left, if
    /// not. The partition has told when it is due next.
    pub(super) fn leave_or_take(&self, now: Micros, letters: Vec<Letter>) -> Vec<Letter> {
        // Locked before looking: of two that end together the second finds what the first left.
        let mut waiting = self.lock();
        waiting.extend(letters);
        let is_due = |due: &AtomicU64| due.load(Ordering::Relaxed) <= now + ABOUT_US;
        if self.due.iter().any(is_due) { Vec::new() } else { std::mem::take(&mut *waiting) }
    }

    /// Takes all that was left.
    pub(super) fn take(&self) -> Vec<Letter> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Letter>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Edge {
    /// Gives letters to the tasks of their sessions, those of a session one right after the other.
    pub(super) fn deliver(&self, mut letters: Vec<Letter>) {
        letters.sort_by_key(|letter| letter.to);
        let mut letters = letters.into_iter().peekable();
        while let Some(to) = letters.peek().map(|letter| letter.to) {
            let port = self.sessions.get(&to);
            while let Some(Letter { from, at, message, .. }) = letters.next_if(|letter| letter.to == to) {
                // The session may be over.
                if let Some(port) = &port {
                    port.send(Event::Partition { from, at, message });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(from: u16) -> Letter {
        Letter { to: SessionId(1), from: PartitionId(from), at: 0, message: ToSession::default() }
    }

    #[test]
    fn the_last_of_a_round_delivers_it_all() {
        let rounds = Rounds::new(2);
        rounds.set_due(PartitionId(0), 100);
        rounds.set_due(PartitionId(1), 100 + ABOUT_US);
        rounds.set_due(PartitionId(0), 20_000);
        assert!(rounds.leave_or_take(110, vec![letter(0)]).is_empty());
        rounds.set_due(PartitionId(1), 20_000);
        let all = rounds.leave_or_take(120, vec![letter(1)]);
        assert_eq!(all.iter().map(|letter| letter.from.0).collect::<Vec<_>>(), [0, 1]);
        assert!(rounds.take().is_empty());
    }

    #[test]
    fn nobody_waits_for_who_is_not_due() {
        let rounds = Rounds::new(2);
        assert_eq!(rounds.leave_or_take(10, vec![letter(0)]).len(), 1);
        rounds.set_due(PartitionId(1), 50);
        assert!(rounds.leave_or_take(60, vec![letter(0)]).is_empty());
        assert_eq!(rounds.take().len(), 1);
    }

    #[test]
    fn the_longest_period_is_that_of_all() {
        let rounds = Rounds::new(2);
        assert_eq!(rounds.agree(PartitionId(0), 20_000), 20_000);
        assert_eq!(rounds.agree(PartitionId(1), 30_000), 30_000);
        assert_eq!(rounds.agree(PartitionId(0), 20_000), 30_000);
        assert_eq!(rounds.agree(PartitionId(1), 0), 20_000);
    }
}
