//! Why a bench ended without figures.

use std::{io, process::ExitStatus, time::Duration};

use spatialdb_schema::SchemaError;
use spatialdb_snapshots::SnapshotError;
use tokio::task::JoinError;

/// Why a bench ended without figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The machine refused something.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was to be done.
        what: String,
        /// Why it was not.
        source: io::Error,
    },
    /// The world to start from cannot be written.
    #[error("cannot write the world to start from: {0}")]
    Snapshot(#[from] SnapshotError),
    /// The schema of the bench does not compile.
    #[error("the schema of the bench: {0}")]
    Schema(#[from] SchemaError),
    /// The server ended before it was asked to.
    #[error("the server ended with {status}; its last lines:\n{log}")]
    ServerEnded {
        /// How.
        status: ExitStatus,
        /// What it said last.
        log: String,
    },
    /// The server did not come up.
    #[error("the server was not ready after {waited:?}; its last lines:\n{log}")]
    ServerNotReady {
        /// How long it had.
        waited: Duration,
        /// What it said last.
        log: String,
    },
    /// The server could not be stopped, or ended with an error.
    #[error("the server {how} after SIGTERM; its last lines:\n{log}")]
    ServerStop {
        /// What it did.
        how: String,
        /// What it said last.
        log: String,
    },
    /// No connection.
    #[error("cannot connect to the server at {address}: {source}")]
    Connect {
        /// Where it should be.
        address: String,
        /// Why not.
        source: tonic::transport::Error,
    },
    /// A call or a session ended with a status.
    #[error("{who}: {code}: {message}")]
    Status {
        /// Which call or session.
        who: String,
        /// The gRPC code.
        code: tonic::Code,
        /// What the server says.
        message: String,
    },
    /// The server said something that does not belong there.
    #[error("{who}: expected {expected}, found {found}")]
    Unexpected {
        /// Which call or session.
        who: String,
        /// What should have come.
        expected: String,
        /// What came.
        found: String,
    },
    /// The server refused rows that are right.
    #[error("{who}: {count} rows refused; the first: {first}")]
    Rejected {
        /// Which session.
        who: String,
        /// How many.
        count: u64,
        /// Reason and detail of the first.
        first: String,
    },
    /// Results are wrong.
    #[error("{what}: {count} of {total} are wrong; the first: {first}")]
    Mismatch {
        /// Which results.
        what: String,
        /// How many are wrong.
        count: usize,
        /// Of how many.
        total: usize,
        /// Which, and how.
        first: String,
    },
    /// It took too long.
    #[error("{what} took longer than {waited:?}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
    },
    /// The load is easier than the scenario promises.
    #[error("only {percent:.2} % of the updates {what}; the scenario promises at least {least_percent} %")]
    TooEasy {
        /// What updates should do.
        what: &'static str,
        /// How many do.
        percent: f64,
        /// How many should.
        least_percent: f64,
    },
}

impl BenchError {
    /// The error of a call or session.
    pub(super) fn status(who: impl Into<String>, status: &tonic::Status) -> Self {
        Self::Status { who: who.into(), code: status.code(), message: status.message().to_owned() }
    }

    /// The error of an answer that does not belong there.
    pub(super) fn unexpected(
        who: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Unexpected { who: who.into(), expected: expected.into(), found: found.into() }
    }

    /// The error of a task of the load tool that did not end.
    pub(super) fn crashed(crash: &JoinError) -> Self {
        Self::unexpected("the load tool", "a task that ends", crash.to_string())
    }
}

/// For `map_err`: the error of something that the machine refused.
pub(super) fn cannot(what: &str) -> impl FnOnce(io::Error) -> BenchError {
    move |source| BenchError::Io { what: what.to_owned(), source }
}
