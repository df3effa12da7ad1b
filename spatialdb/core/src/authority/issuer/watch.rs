//! What watchers see: everything, then each change. Plain data, so that it can be logged too.

use std::sync::Arc;

use spatialdb_types::{Box3, Epoch, LayerId, RegionId, SessionId, SpaceId};

use super::{Issuer, IssuerOutbox, LossReason, Stand};
use crate::authority::leases::Lease;

/// Something that a watcher is told. A later one of the same thing replaces an earlier one.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A region, as it is now.
    Region(RegionState),
    /// A region was joined with another, or its player has gone.
    RegionGone(RegionId),
    /// A worker, as it is now.
    Worker(WorkerState),
    /// A worker's session is over.
    WorkerGone(SessionId),
    /// So many workers of a type should be there.
    Wanted(String, u32),
}

/// A region as watchers see it.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionState {
    /// Which one.
    pub region: RegionId,
    /// Of which layer.
    pub layer: LayerId,
    /// In which space; `None`: entities without a position, or what belongs to a player.
    pub space: Option<SpaceId>,
    /// Whose it is: the region has no place, but holds what belongs to this player.
    pub player: Option<Arc<str>>,
    /// Where in that space.
    pub area: Box3,
    /// Who owns it, or did last.
    pub lease: Lease,
    /// What is under way.
    pub phase: Phase,
    /// Who had it before, and why no longer.
    pub before: Option<Past>,
    /// It keeps its shape.
    pub is_pinned: bool,
    /// Only the worker of this name may own it.
    pub pinned_to: Option<String>,
    /// Of the balancer's last pass.
    pub load: u64,
}

/// Who had a region before, and may be gone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Past {
    /// Its session.
    pub session: SessionId,
    /// Its name.
    pub name: String,
    /// Why it has the region no longer.
    pub why: LossReason,
}

/// What is under way for a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Nobody owns it.
    Unowned,
    /// Partitions are being told of the owner.
    Granting,
    /// Its owner has it.
    Owned,
    /// Its owner has it and that worker gets it next.
    HandingOver(SessionId),
    /// Partitions are being told that nobody owns it.
    Revoking,
}

/// A worker as watchers see it.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerState {
    /// Its session.
    pub session: SessionId,
    /// Its type.
    pub worker_type: String,
    /// Its name.
    pub name: String,
    /// So many regions it takes at most.
    pub regions_max: u32,
    /// It says nothing, and so has nothing.
    pub is_silent: bool,
    /// It says that it lives and stands still, and so has nothing.
    pub is_stalled: bool,
    /// It gets nothing more.
    pub is_draining: bool,
    /// The last grant that it has seen.
    pub seen: Epoch,
}

impl Issuer {
    /// Everything that there is to watch.
    pub fn keyframe(&self) -> Vec<Change> {
        let regions = self.regions.keys().filter_map(|&region| self.region_state(region)).map(Change::Region);
        let workers =
            self.workers.keys().filter_map(|&session| self.worker_state(session)).map(Change::Worker);
        let wanted =
            self.wanted.iter().map(|(worker_type, &count)| Change::Wanted(worker_type.clone(), count));
        regions.chain(workers).chain(wanted).collect()
    }

    /// A region as it is now.
    pub fn region_state(&self, region: RegionId) -> Option<RegionState> {
        let state = self.regions.get(&region)?;
        let phase = match &state.stand {
            Stand::Unowned => Phase::Unowned,
            Stand::Granting { .. } => Phase::Granting,
            Stand::Owned { handover: Some(handover), .. } => Phase::HandingOver(handover.to),
            Stand::Owned { .. } => Phase::Owned,
            Stand::Revoking { .. } => Phase::Revoking,
        };
        Some(RegionState {
            region,
            layer: state.layer,
            space: state.space,
            player: state.player.clone(),
            area: self.area(region),
            lease: state.lease(),
            phase,
            before: state.before.clone(),
            is_pinned: state.pin.is_some(),
            pinned_to: state.pin.as_ref().and_then(|pin| pin.worker.clone()),
            load: state.load,
        })
    }

    /// A worker as it is now.
    pub fn worker_state(&self, session: SessionId) -> Option<WorkerState> {
        let worker = self.workers.get(&session)?;
        Some(WorkerState {
            session,
            worker_type: worker.info.worker_type.clone(),
            name: worker.info.name.clone(),
            regions_max: worker.info.regions_max,
            is_silent: worker.is_silent,
            is_stalled: worker.pace.is_stalled,
            is_draining: worker.is_draining,
            seen: worker.seen,
        })
    }

    /// How many workers of a type should be there.
    pub fn wanted(&self, worker_type: &str) -> u32 {
        self.wanted.get(worker_type).copied().unwrap_or_default()
    }

    pub(super) fn tell_watchers(&mut self, outbox: &mut IssuerOutbox) {
        for region in std::mem::take(&mut self.changed) {
            if let Some(state) = self.regions.get_mut(&region) {
                state.load_told = state.load;
            }
            let change = self.region_state(region).map_or(Change::RegionGone(region), Change::Region);
            outbox.changes.push(change);
        }
        for session in std::mem::take(&mut self.changed_workers) {
            let change = self.worker_state(session).map_or(Change::WorkerGone(session), Change::Worker);
            outbox.changes.push(change);
        }
    }
}
