//! What the worker says of its work in the log.
//!
//! Responsible for: counting between two lines. Not responsible for: when a line is due (`run.rs`).

use std::time::Duration;

/// What happened since the last line in the log.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) ticks: u64,
    pub(crate) ticks_skipped: u64,
    pub(crate) busy: Duration,
    pub(crate) created: u64,
    pub(crate) departed: u64,
    pub(crate) retired: u64,
    pub(crate) rejected: u64,
    /// Refused because the aircraft was lost a moment before.
    pub(crate) late: u64,
    pub(crate) last_rejection: String,
}

impl Report {
    /// Writes the line; the view shows so many aircraft.
    pub(crate) fn log(self, aircraft: usize) {
        let Self { ticks, ticks_skipped, created, departed, retired, rejected, late, .. } = self;
        let tick_ms = self.busy.as_secs_f64() * 1000.0 / (ticks.max(1) as f64);
        tracing::info!(aircraft, ticks, ticks_skipped, tick_ms, created, departed, retired, late, "flying");
        if rejected > 0 {
            tracing::warn!(rejected, last = self.last_rejection, "the server refused writes");
        }
    }
}
