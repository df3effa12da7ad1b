//! Regions, workers and how many are wanted, on the wire.

use spatialdb_core::authority::issuer::{Border, LeaseInfo, Phase, RegionState, WorkerState};
use spatialdb_core::authority::layers::Layers;
use spatialdb_proto::v1;
use spatialdb_types::SessionId;

use crate::server::authority::{Picture, Staff};
use crate::server::session::authority::{lease, loss_reason};

/// A region as the picture has it.
pub(super) fn region(
    layers: &Layers,
    picture: &Picture,
    state: &RegionState,
    borders: Vec<Border>,
) -> v1::Region {
    let (phase, next) = match state.phase {
        Phase::Unowned => (v1::RegionPhase::Unowned, None),
        Phase::Granting => (v1::RegionPhase::Granting, None),
        Phase::Owned => (v1::RegionPhase::Owned, None),
        Phase::HandingOver(to) => (v1::RegionPhase::HandingOver, Some(to)),
        Phase::Revoking => (v1::RegionPhase::Revoking, None),
    };
    let name = |session| worker_name(picture, session);
    v1::Region {
        lease: Some(lease(
            layers,
            LeaseInfo {
                region: state.region,
                layer: state.layer,
                space: state.space,
                player: state.player.clone(),
                area: state.area,
                epoch: state.lease.epoch,
                borders,
            },
        )),
        phase: phase.into(),
        owner: state.lease.owner.map(name),
        next: next.map(name),
        before: state.before.as_ref().map(|past| v1::RegionPast {
            session_id: u64::from(past.session.0),
            reason: loss_reason(past.why).into(),
            name: past.name.clone(),
        }),
        pin: state.is_pinned.then(|| v1::RegionPin { worker: state.pinned_to.clone().unwrap_or_default() }),
        load: state.load,
    }
}

/// A worker of a type that serves a layer.
pub(super) fn worker(state: &WorkerState) -> v1::WorkerAuthority {
    v1::WorkerAuthority {
        session_id: u64::from(state.session.0),
        worker_type: state.worker_type.clone(),
        name: state.name.clone(),
        regions_max: state.regions_max,
        silent: state.is_silent,
        stalled: state.is_stalled,
        draining: state.is_draining,
        seen_epoch: state.seen.0,
    }
}

/// How many workers of a type there should be, and are.
pub(super) fn wanted(worker_type: String, staff: Staff, surplus: String) -> v1::Wanted {
    let Staff { wanted, connected, draining } = staff;
    v1::Wanted { worker_type, wanted, connected, draining, surplus }
}

/// One that the picture does not have any more has no name.
fn worker_name(picture: &Picture, session: SessionId) -> v1::WorkerName {
    let name = picture.workers.get(&session).map(|worker| worker.name.clone()).unwrap_or_default();
    v1::WorkerName { session_id: u64::from(session.0), name }
}
