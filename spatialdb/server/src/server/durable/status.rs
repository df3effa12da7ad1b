//! How the logs stand, for whoever wants to know.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::DataDir;
use super::about::AttachedSession;

/// Of all logs together.
#[derive(Debug)]
pub(in crate::server) struct LogStatus {
    /// What is in it may be read at any time.
    pub(in crate::server) data: Arc<DataDir>,
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
    /// Who has attached and is not in the world's log yet.
    attached: Mutex<Vec<AttachedSession>>,
    /// A round of checkpoints is under way.
    pub(in crate::server) in_round: AtomicBool,
}

impl LogStatus {
    /// Of a directory that was just opened.
    pub(in crate::server) fn new(data: Arc<DataDir>) -> Self {
        Self {
            data,
            bytes: AtomicU64::default(),
            records: AtomicU64::default(),
            checkpoints: AtomicU64::default(),
            stored_bytes: AtomicU64::default(),
            failure: OnceLock::new(),
            attached: Mutex::default(),
            in_round: AtomicBool::default(),
        }
    }

    /// A session has attached: it is to be known by name to whoever reads what it wrote.
    pub(in crate::server) fn note_attached(&self, session: AttachedSession) {
        // Nothing more is written once it has failed.
        if self.failure.get().is_some() {
            return;
        }
        self.attached.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }

    /// Who has, since it was asked last.
    pub(super) fn take_attached(&self) -> Vec<AttachedSession> {
        std::mem::take(&mut *self.attached.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
