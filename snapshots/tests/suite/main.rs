//! Tests of the snapshot format from outside.

#![allow(clippy::unwrap_used, reason = "a test ends where its world does not open")]

mod common;
mod earth;
mod foreign;
mod format;
mod golden;
mod lines;
