//! Calls that are refused: all are counted, a few a second are logged, so that strangers cannot fill a disk.

use std::io;

use spatialdb_types::Error;

use crate::server::log_budget::LogBudget;

/// What was logged lately.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    log: LogBudget,
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
        let unlogged = self.log.spend();
        if let Some(count) = unlogged.filter(|&count| count > 0) {
            tracing::info!(count, "more calls were refused than are told");
        }
        unlogged.is_some()
    }
}
