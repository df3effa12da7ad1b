//! When a partition's thread wakes by itself.
//!
//! What sessions leave for a partition matters to its next publish and to nothing before. If the thread wakes in time for
//! that anyway, nobody has to wake it: with many sessions that would be most of what they cost.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use spatialdb_core::Micros;

/// The thread is awake, and looks once more before it sleeps.
const AWAKE: Micros = 0;

/// Set by whoever drives the partition.
#[derive(Debug)]
pub(super) struct Alarm {
    wakes_at: AtomicU64,
    publishes_from: AtomicU64,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { wakes_at: AtomicU64::new(AWAKE), publishes_from: AtomicU64::new(0) }
    }
}

impl Alarm {
    /// The thread is at work.
    pub(super) fn clear(&self) {
        self.wakes_at.store(AWAKE, Ordering::Relaxed);
    }

    /// Whether the thread is at work.
    pub(super) fn is_cleared(&self) -> bool {
        self.wakes_at.load(Ordering::Relaxed) == AWAKE
    }

    /// The thread is about to sleep until then. What was left before this is to be looked for afterwards, once more: whoever
    /// left it may have seen the thread awake.
    pub(super) fn set(&self, wakes_at: Micros) {
        self.wakes_at.store(wakes_at, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Nothing is published before.
    pub(super) fn publishes_from(&self, time: Micros) {
        self.publishes_from.store(time, Ordering::Relaxed);
    }

    /// Whether something that was left just now is heard before the next publish.
    pub(super) fn is_in_time(&self) -> bool {
        fence(Ordering::SeqCst);
        self.wakes_at.load(Ordering::Relaxed) <= self.publishes_from.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_sleeps_past_the_next_publish_is_not_in_time() {
        let alarm = Alarm::default();
        assert!(alarm.is_in_time(), "it is awake");
        alarm.set(500);
        assert!(!alarm.is_in_time());
        alarm.publishes_from(500);
        assert!(alarm.is_in_time());
        alarm.set(501);
        assert!(!alarm.is_in_time());
        assert!(!alarm.is_cleared());
        alarm.clear();
        assert!(alarm.is_cleared() && alarm.is_in_time());
    }
}
