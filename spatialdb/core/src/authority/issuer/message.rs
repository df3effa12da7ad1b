//! What the issuer says.

use std::sync::Arc;

use spatialdb_types::{
    Box3, ComponentId, EntityId, Epoch, LayerId, PartitionId, RegionId, SessionId, SpaceId,
};

use super::Change;
use crate::Micros;
use crate::authority::leases::{Lease, Order};
use crate::authority::tiling::Edge;

/// What the issuer wants sent. The driver empties it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IssuerOutbox {
    /// To partitions, in order.
    pub partitions: Vec<(PartitionId, Order)>,
    /// To sessions, in order. A session numbers them for its worker together with what partitions tell it.
    pub sessions: Vec<(SessionId, Notice)>,
    /// To the edge: holds that are over, to be sent where their entities are.
    pub releases: Vec<(EntityId, ComponentId, Epoch)>,
    /// To watchers, in order.
    pub changes: Vec<Change>,
}

/// A region and its owner's lease.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseInfo {
    /// Which region.
    pub region: RegionId,
    /// Of which layer.
    pub layer: LayerId,
    /// In which space; `None`: entities without a position, or what belongs to a player.
    pub space: Option<SpaceId>,
    /// Whose it is: the region has no place, but holds what belongs to this player.
    pub player: Option<Arc<str>>,
    /// Where in that space.
    pub area: Box3,
    /// The grant under which it is owned.
    pub epoch: Epoch,
    /// Who lies on the other side of each border.
    pub borders: Vec<Border>,
}

/// A stretch of a border, and who owns the other side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Border {
    /// Where, and which region is beyond.
    pub edge: Edge,
    /// Its owner.
    pub lease: Lease,
}

/// From the issuer to a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// The region is yours: every partition accepts your writes. Told in the order of epochs.
    Gained(LeaseInfo),
    /// A region of yours has another shape. What it took in, or was cut off from, is yours too.
    Shaped(LeaseInfo),
    /// Two regions of yours are one: this one is part of another now, which is told as shaped.
    Joined(RegionId, RegionId),
    /// Other regions lie around it, or others own them.
    Borders(RegionId, Vec<Border>),
    /// You are going to lose it: write what you have, say that you have, or it is taken at that time.
    LossImminent(RegionId, Epoch, Micros),
    /// You keep it after all.
    Kept(RegionId, Epoch),
    /// It is not yours any more.
    Lost(RegionId, Epoch, LossReason),
    /// You may get it: look at it and around it, and say when all is in view.
    Warm(LeaseInfo),
    /// You need not look at it any more.
    Cool(RegionId),
    /// You get nothing more, and what you have goes to others. End when you have nothing.
    Drain,
}

/// From a worker to the issuer. It counts once all that the worker sent before is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It has processed all grants up to this epoch.
    Seen(Epoch),
    /// It sees a region that it may get, and around it.
    Warmed(RegionId),
    /// It has written what it had of a region that it is about to lose.
    Flushed(RegionId, Epoch),
}

/// Why an owner lost a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LossReason {
    /// It was handed over.
    HandedOver,
    /// The worker was silent for too long.
    Silent,
    /// Its session is over.
    Ended,
    /// The worker was heard, and stood still for too long.
    Stalled,
}
