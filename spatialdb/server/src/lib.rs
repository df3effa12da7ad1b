//! The spatialdb server and command line.
//!
//! Responsible for: settings, the command line, the running server, worker processes, logs.
//! Not responsible for: what a world does with an update (`spatialdb-core`), the wire's types
//! (`spatialdb-proto`), snapshot files (`spatialdb-snapshots`).

mod auth;
mod bench;
pub mod cli;
pub mod config;
mod progress;
mod random;
pub mod server;
pub mod supervisor;
pub mod telemetry;
