//! What a fleet is to do, and what it has to write for that.
//!
//! Responsible for: the types. Not responsible for: filling them (`fleet.rs`), carrying them out (`run.rs`).

use spatialdb_sdk::{EntityId, Position};

use crate::earth::Aircraft;

/// One create.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Launch {
    pub(crate) request_id: String,
    pub(crate) aircraft: Vec<(Aircraft, Position)>,
}

/// What to write now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Orders {
    pub(crate) moves: Vec<(EntityId, Position)>,
    pub(crate) headings: Vec<(EntityId, f32)>,
    /// Those that had landed, and their next flights.
    pub(crate) departures: Vec<(EntityId, Aircraft)>,
    pub(crate) retire: Vec<EntityId>,
    pub(crate) launches: Vec<Launch>,
}

/// What of the fleet is this worker's to do. Where several share the work, each aircraft and each airport is one's.
pub(crate) struct Duty<'a> {
    /// Whether it moves, sends on and retires the aircraft.
    pub(crate) flies: &'a dyn Fn(EntityId) -> bool,
    /// Whether it creates the aircraft that are at home there.
    pub(crate) serves: &'a dyn Fn(EntityId) -> bool,
}

#[cfg(test)]
impl Duty<'static> {
    /// Of one who does it alone.
    pub(crate) const ALL: Self = Self { flies: &|_| true, serves: &|_| true };
}
