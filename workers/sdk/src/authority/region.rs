//! Layers and regions, as the server tells of them.

use spatialdb_types::{Box3, ComponentId, Epoch, Point3, RegionId, SpaceId};

use crate::v1;

/// Which workers write which components of which entities. The layers of a world do not change while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// The type of the workers that serve it.
    pub worker_type: String,
    /// It has the entities with all of these components,
    pub with: Vec<ComponentId>,
    /// and none of these.
    pub without: Vec<ComponentId>,
    /// What the owner of such an entity writes.
    pub writes: Vec<ComponentId>,
}

/// What this worker owns in a layer: it writes the entities there.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Which one.
    pub id: RegionId,
    /// The name of its layer.
    pub layer: String,
    /// In which space; `None`: the region of all entities without a position, or of a player.
    pub space: Option<SpaceId>,
    /// In a layer of strategy `client` the region is all that belongs to this player; empty in others.
    pub player: String,
    /// Where, in metres: open in z, and infinite where it has no border.
    pub area: Box3,
    /// Which grant: rises with each one in the world.
    pub epoch: Epoch,
    /// Who lies on the other side.
    pub borders: Vec<Border>,
}

/// A stretch of a border, and who owns the other side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Border {
    /// On which side of the region.
    pub side: Side,
    /// x of a west or east side, y of the others, in metres.
    pub at: f64,
    /// Where the stretch begins on the other axis, in metres.
    pub from: f64,
    /// And where it ends.
    pub to: f64,
    /// The region on the other side.
    pub region: RegionId,
    /// The session that owns it; `None`: nobody.
    pub session_id: Option<u64>,
    /// Of its last grant.
    pub epoch: Epoch,
}

/// A side of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Where x is least.
    West,
    /// Where x is largest.
    East,
    /// Where y is least.
    South,
    /// Where y is largest.
    North,
}

/// Why a region was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LossReason {
    /// It was handed over.
    HandedOver,
    /// The worker said nothing for too long.
    Silent,
    /// Its session is over.
    Ended,
    /// The worker sent heartbeats, and stood still for too long.
    Stalled,
    /// The server gave a reason that this SDK does not know.
    Unknown,
}

impl From<v1::LayerInfo> for Layer {
    fn from(info: v1::LayerInfo) -> Self {
        let ids = |numbers: Vec<u32>| numbers.into_iter().map(ComponentId).collect();
        Self {
            name: info.name,
            worker_type: info.worker_type,
            with: ids(info.with),
            without: ids(info.without),
            writes: ids(info.writes),
        }
    }
}

impl From<v1::Lease> for Region {
    fn from(lease: v1::Lease) -> Self {
        let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
        Self {
            id: RegionId(lease.region),
            layer: lease.layer,
            space: lease.space.map(SpaceId),
            player: lease.player,
            area: Box3 {
                min: Point3::new(lease.min_x, lease.min_y, low),
                max: Point3::new(lease.max_x, lease.max_y, high),
            },
            epoch: Epoch(lease.epoch),
            borders: borders_of(lease.borders),
        }
    }
}

impl From<v1::LossReason> for LossReason {
    fn from(reason: v1::LossReason) -> Self {
        match reason {
            v1::LossReason::HandedOver => Self::HandedOver,
            v1::LossReason::Silent => Self::Silent,
            v1::LossReason::Ended => Self::Ended,
            v1::LossReason::Stalled => Self::Stalled,
            v1::LossReason::Unspecified => Self::Unknown,
        }
    }
}

/// Borders on sides that this SDK knows.
pub(super) fn borders_of(wire: Vec<v1::Border>) -> Vec<Border> {
    wire.into_iter().filter_map(border).collect()
}

fn border(wire: v1::Border) -> Option<Border> {
    let side = match wire.side() {
        v1::Side::West => Side::West,
        v1::Side::East => Side::East,
        v1::Side::South => Side::South,
        v1::Side::North => Side::North,
        v1::Side::Unspecified => return None,
    };
    Some(Border {
        side,
        at: wire.at,
        from: wire.from,
        to: wire.to,
        region: RegionId(wire.region),
        session_id: (wire.session_id != 0).then_some(wire.session_id),
        epoch: Epoch(wire.epoch),
    })
}
