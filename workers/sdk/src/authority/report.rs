//! What the worker has to say of what it may write.
//!
//! Responsible for: gathering it into as few reports as do. Not responsible for: sending them (`worker.rs`).

use spatialdb_types::{Epoch, RegionId};

use crate::v1;

/// What is due.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Regions came or went, and no report has said that the worker knows.
    is_unseen: bool,
    /// Losses that the worker was told of: it writes what it has until it asks for the next event.
    handed: Vec<(RegionId, Epoch)>,
    flushed: Vec<(RegionId, Epoch)>,
    warmed: Vec<u64>,
}

impl Report {
    /// Regions came or went.
    pub(super) fn see(&mut self) {
        self.is_unseen = true;
    }

    /// The server has filled the views of a region that may come.
    pub(super) fn warm(&mut self, region: u64) {
        self.warmed.push(region);
    }

    /// Nothing is to be flushed any more.
    pub(super) fn keep(&mut self, region: RegionId) {
        self.handed.retain(|(handed, _)| *handed != region);
        self.flushed.retain(|(flushed, _)| *flushed != region);
    }

    /// The worker hears now that it will lose the region.
    pub(crate) fn hand(&mut self, region: RegionId, epoch: Epoch) {
        self.handed.push((region, epoch));
    }

    /// The worker has done what it wanted to do before it loses these.
    pub(super) fn flush_handed(&mut self) -> impl Iterator<Item = RegionId> {
        let handed = std::mem::take(&mut self.handed);
        self.flushed.extend_from_slice(&handed);
        handed.into_iter().map(|(region, _)| region)
    }

    /// Whether somebody waits for it.
    pub(crate) fn is_urgent(&self) -> bool {
        !(self.flushed.is_empty() && self.warmed.is_empty())
    }

    /// Whether there is anything to say.
    pub(crate) fn is_due(&self) -> bool {
        self.is_unseen || self.is_urgent()
    }

    /// The report of a worker that has processed so much; nothing is due afterwards.
    pub(crate) fn take(&mut self, authority_seen: u64) -> v1::AuthorityReport {
        self.is_unseen = false;
        let grant = |(region, epoch): (RegionId, Epoch)| v1::RegionGrant { region: region.0, epoch: epoch.0 };
        let flushed = std::mem::take(&mut self.flushed).into_iter().map(grant).collect();
        v1::AuthorityReport { authority_seen, flushed, warmed: std::mem::take(&mut self.warmed) }
    }
}
