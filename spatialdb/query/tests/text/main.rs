//! Texts, and what becomes of them.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

mod document;
mod forms;
mod properties;
mod refused;
mod support;
