//! What schemas are taken, and what they say about payloads.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

mod accepted;
mod compat;
mod events;
mod hostile;
mod json;
mod oracle;
mod partial;
mod payloads;
mod refused;
mod support;
