//! A harness for whole processes: launch a world, attach clients to it, wait for what they see.
//!
//! Responsible for: processes and their logs, a plain gRPC client without an SDK, deadlines.
//! Not responsible for: what is tested (`tests/suite`).
//!
//! Nothing here sleeps for luck: every wait is for a condition, and has a deadline that fails the test. Failures
//! panic: this crate is only for tests.

mod certificates;
mod client;
mod launch;
mod log;
mod message;
mod probe;
mod process;
mod python;
mod raw;
mod replica;
mod tools;
mod world;

pub use certificates::Certificates;
pub use client::{Client, Ending, Outcome, Owned};
pub use launch::Launch;
pub use log::Log;
pub use message::{
    all, all_made, all_of, any_of, box_xy, column, entity_ids, events, field, happen, has, near, new_rows,
    not, partial, position_rows, positions, sphere, text, update, view,
};
pub use probe::{
    BLOB_FIRST, Hit, INTEREST, METADATA, PLAYER_OWNER, POSITION, State, TAG, VITALS, Vitals, WORKER_SESSION,
    metadata, probe_snapshot,
};
pub use process::{Finished, Process, binary, repository, run, run_in, search_path, spatialdb};
pub use python::{generate_python, python};
pub use raw::attach_raw;
pub use replica::{Event, Replica, Value};
pub use tools::http_get;
pub use world::World;

use std::time::{Duration, Instant};

/// How long anything may take before a test gives it up. Generous: machines that test are busy.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer.
///
/// # Panics
/// If there is none within [`DEADLINE`].
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
