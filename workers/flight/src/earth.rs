//! The typed components of the earth world.
//!
//! Responsible for: what the flight worker reads and writes of the schema in `snapshots/earth/schema`.
//! Not responsible for: the built-in components, which the SDK has.

/// Generated from `earth.proto`.
#[allow(missing_docs, clippy::all, dead_code, unreachable_pub, unused_qualifications)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/earth.rs"));
}

pub(crate) use generated::{Aircraft, Airport};

spatialdb_sdk::component!(Airport, 1002, "earth.Airport");
spatialdb_sdk::component!(Aircraft, 1003, "earth.Aircraft");

/// The number of `Aircraft.heading_deg`.
pub(crate) const AIRCRAFT_HEADING_DEG: u32 = 7;
