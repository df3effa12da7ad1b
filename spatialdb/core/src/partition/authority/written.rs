//! Which grants have been used: of each region the first write of its owner, so that somebody can say how long that took.
//! It may be told again.
//!
//! Responsible for: noticing it at next to no cost for the writes that follow. Not responsible for: times, or entities that
//! are exceptions.

use spatialdb_types::{Epoch, RegionId};

use crate::authority::leases::{LeaseTable, Slot};

/// The grants of regions that were used here.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Of the table; with another one slots are of other regions.
    version: u32,
    /// By slot: the grant under which something was written last.
    last: Vec<Epoch>,
    /// What was not told yet.
    firsts: Vec<(RegionId, Epoch)>,
}

impl Written {
    /// The owner of a region may write there, and does.
    #[inline]
    pub(super) fn note(&mut self, table: &LeaseTable, slot: Slot) {
        let is_known = self.last.get(slot.0 as usize) == Some(&table.lease(slot).epoch);
        if !is_known || self.version != table.version() {
            self.note_first(table, slot);
        }
    }

    /// Regions in which something was written for the first time under a grant.
    pub(super) fn take_firsts(&mut self) -> impl Iterator<Item = (RegionId, Epoch)> {
        self.firsts.drain(..)
    }

    #[cold]
    fn note_first(&mut self, table: &LeaseTable, slot: Slot) {
        if self.version != table.version() {
            self.version = table.version();
            self.last.clear();
        }
        let at = slot.0 as usize;
        if self.last.len() <= at {
            self.last.resize(at + 1, Epoch(0));
        }
        self.last[at] = table.lease(slot).epoch;
        self.firsts.push((table.region(slot), table.lease(slot).epoch));
    }
}
