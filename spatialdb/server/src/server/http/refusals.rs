//! Calls that are refused: all are counted, a few a second are logged, so that strangers cannot fill a disk.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use spatialdb_types::Error;

const LOGGED_PER_SECOND_MAX: u64 = 5;

/// What was logged lately. Exact enough without a lock: two callers at the turn of a second may log one more or less.
#[derive(Debug)]
pub(super) struct Refusals {
    start: Instant,
    second: AtomicU64,
    /// In this second.
    count: AtomicU64,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { start: Instant::now(), second: AtomicU64::new(0), count: AtomicU64::new(0) }
    }
}

impl Refusals {
    /// A call was refused.
    pub(super) fn note(&self, error: &Error) {
        metrics::counter!("spatialdb_edge_refused_total", "reason" => error.reason.name()).increment(1);
        if self.may_tell() {
            tracing::info!(%error, "refused");
        }
    }

    /// A connection did not get as far as a call.
    pub(super) fn note_handshake(&self, error: &io::Error) {
        metrics::counter!("spatialdb_edge_handshakes_failed_total").increment(1);
        if self.may_tell() {
            tracing::info!(%error, "no TLS on a connection");
        }
    }

    fn may_tell(&self) -> bool {
        let second = self.start.elapsed().as_secs();
        if self.second.swap(second, Ordering::Relaxed) != second {
            let count = self.count.swap(0, Ordering::Relaxed);
            let untold = count.saturating_sub(LOGGED_PER_SECOND_MAX);
            if untold > 0 {
                tracing::info!(count = untold, "more calls were refused than are told");
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed) < LOGGED_PER_SECOND_MAX
    }
}
