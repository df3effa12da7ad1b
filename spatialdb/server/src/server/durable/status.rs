//! How the logs stand, for whoever wants to know.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// Of all logs together.
#[derive(Debug, Default)]
pub(in crate::server) struct LogStatus {
    /// Bytes of records that are on disk since the start.
    pub(in crate::server) bytes: AtomicU64,
    /// Records.
    pub(in crate::server) records: AtomicU64,
    /// Checkpoints since the start.
    pub(in crate::server) checkpoints: AtomicU64,
    /// Bytes in the data directory, as it was looked at last.
    pub(in crate::server) stored_bytes: AtomicU64,
    /// Why nothing is written any more.
    pub(in crate::server) failure: OnceLock<String>,
    /// A round of checkpoints is under way.
    pub(in crate::server) in_round: AtomicBool,
}
