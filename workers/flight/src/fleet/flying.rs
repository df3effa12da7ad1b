//! An aircraft as the fleet knows it.
//!
//! Responsible for: what was written to it and is not known to be accepted. Not responsible for: flying it (`fleet.rs`).

use crate::{earth::Aircraft, flight::Flight};

/// One aircraft.
#[derive(Debug)]
pub(super) struct Flying {
    /// `None`: it is not of the fleet, and flies until it lands.
    pub(super) number: Option<u64>,
    pub(super) aircraft: Aircraft,
    /// Worked out at the first tick, when the airports are known.
    pub(super) flight: Option<Flight>,
    pub(super) departure: Departure,
    /// It is about to be deleted.
    pub(super) is_retired: bool,
}

/// What there is to say of the last take-off since the aircraft came to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// Nothing: the view shows it.
    None,
    /// The view does not show it: own writes do not come back.
    Written,
    /// It is to be written, or was refused and is to be written again.
    Due,
}

impl Flying {
    /// What was written to it was not accepted.
    pub(super) fn undo(&mut self) {
        self.is_retired = false;
        if self.departure == Departure::Written {
            self.departure = Departure::Due;
        }
    }
}
