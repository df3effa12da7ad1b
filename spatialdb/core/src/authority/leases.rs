//! The lease table of a partition: what it knows of regions and their owners, and whether a write is accepted.
//!
//! What it knows of a region only rises: a higher epoch beats a lower one, and revoked beats granted of the same epoch. So
//! it does not matter whether something is heard late, twice, or from another partition first.
//!
//! Responsible for: one partition's answer to one write. Not responsible for: who should own what, or finding rows.

mod apart;
mod check;
mod crossing;
mod home;
mod order;
mod players;
#[cfg(test)]
mod tests;
mod why;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use spatialdb_types::{Box3, Epoch, LayerId, PartitionId, RegionId, SessionId, SpaceId};

use self::apart::Apart;
pub use self::apart::{Gained, Hold};
pub use self::check::{Refusal, Seen, Writer};
pub use self::crossing::{Carried, Crossing};
pub use self::home::Home;
pub use self::order::{Answer, NewShape, Order, Table};
pub use self::players::PlayerRegion;
use self::players::Players;
pub use self::why::{Belonging, Why};
use super::layers::Layers;
use super::tiling::Tiling;

/// What is known of a region's owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    /// Which grant; 0: there was none yet.
    pub epoch: Epoch,
    /// Who owns it; `None`: that grant was revoked.
    pub owner: Option<SessionId>,
}

impl Lease {
    /// A grant.
    pub const fn granted(epoch: Epoch, owner: SessionId) -> Self {
        Self { epoch, owner: Some(owner) }
    }

    /// What follows a grant.
    pub const fn revoked(epoch: Epoch) -> Self {
        Self { epoch, owner: None }
    }

    /// Whether it is newer than the other.
    pub fn is_above(self, other: Self) -> bool {
        (self.epoch, self.owner.is_none()) > (other.epoch, other.owner.is_none())
    }
}

/// Where a table keeps a region: to look it up once and remember. Good until [`LeaseTable::version`] changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub(crate) u32);

/// The leases of all regions, and where regions lie, as one partition knows them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaseTable {
    partition: PartitionId,
    layers: Arc<Layers>,
    version: u32,
    /// The whole table came, and was not forgotten since.
    is_known: bool,
    tilings: BTreeMap<(LayerId, SpaceId), Arc<Tiling>>,
    /// The regions of entities without a position.
    nowhere: BTreeMap<LayerId, RegionId>,
    players: Players,
    /// By rising region.
    leases: Vec<(RegionId, Lease)>,
    apart: Apart,
    /// Sessions that are over, and still own something as far as is known here.
    ended: BTreeSet<SessionId>,
}

impl LeaseTable {
    /// A table that knows nothing yet, and so accepts nothing.
    pub fn new(partition: PartitionId, layers: Arc<Layers>) -> Self {
        Self {
            partition,
            layers,
            version: 0,
            is_known: false,
            tilings: BTreeMap::new(),
            nowhere: BTreeMap::new(),
            players: Players::default(),
            leases: Vec::new(),
            apart: Apart::default(),
            ended: BTreeSet::new(),
        }
    }

    /// The layers of the world.
    pub const fn layers(&self) -> &Arc<Layers> {
        &self.layers
    }

    /// Changes when slots do, and where regions lie.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Whose it is.
    pub const fn partition(&self) -> PartitionId {
        self.partition
    }

    /// Whether it knows what the issuer knew when it told it last: else it accepts nothing.
    pub const fn is_known(&self) -> bool {
        self.is_known
    }

    /// The region that holds all of a square; `None`: a border cuts it, or nothing is known.
    pub fn slot_of_square(&self, layer: LayerId, space: SpaceId, square: &Box3) -> Option<Slot> {
        self.slot(self.tilings.get(&(layer, space))?.find_whole(square)?)
    }

    /// The region of a home. `None`: nothing is known, or the player of the entity has none.
    pub fn slot_at<'a>(&self, layer: LayerId, home: impl Into<Home<'a>>) -> Option<Slot> {
        self.slot(self.region_at(layer, home.into())?)
    }

    /// What is known of a region.
    pub fn lease(&self, slot: Slot) -> Lease {
        self.leases[slot.0 as usize].1
    }

    /// Which region is kept there.
    pub fn region(&self, slot: Slot) -> RegionId {
        self.leases[slot.0 as usize].0
    }

    /// Every region with what is known of it, by rising region.
    pub fn leases(&self) -> &[(RegionId, Lease)] {
        &self.leases
    }

    /// A region and what is known of its owner, if it is known.
    pub fn known(&self, region: RegionId) -> Option<(RegionId, Lease)> {
        self.slot(region).map(|slot| self.leases[slot.0 as usize])
    }

    /// Where a region is kept.
    pub fn slot(&self, region: RegionId) -> Option<Slot> {
        self.leases.binary_search_by_key(&region, |(id, _)| *id).ok().map(|at| Slot(at as u32))
    }

    /// The layer of a region.
    pub fn layer_of(&self, region: RegionId) -> Option<LayerId> {
        let nowhere = self.nowhere.iter().find(|(_, id)| **id == region).map(|(layer, _)| *layer);
        let placed = || self.tilings.iter().find(|(_, tiling)| tiling.bounds(region).is_some());
        let of_player = || self.players.get(region).map(|player| player.layer);
        nowhere.or_else(of_player).or_else(|| placed().map(|((layer, _), _)| *layer))
    }

    /// Where a region lies; `None`: it has no place.
    pub fn area_of(&self, region: RegionId) -> Option<(SpaceId, Box3)> {
        self.tilings.iter().find_map(|((_, space), tiling)| Some((*space, tiling.bounds(region)?)))
    }

    /// Takes in what another partition knew of regions, before an entity that came with it is placed.
    pub fn learn_all(&mut self, known: impl IntoIterator<Item = (RegionId, Lease)>) {
        for (region, lease) in known {
            // A region that is not known here is one that was made or joined meanwhile: by the same owner.
            self.learn(region, lease);
        }
    }

    fn learn(&mut self, region: RegionId, lease: Lease) -> bool {
        let Some(slot) = self.slot(region) else { return false };
        let known = &mut self.leases[slot.0 as usize].1;
        if lease.is_above(*known) {
            *known = lease;
        }
        true
    }

    /// The region in which a home is.
    pub(crate) fn region_at(&self, layer: LayerId, home: Home<'_>) -> Option<RegionId> {
        if self.layers.get(layer).is_client() {
            return self.players.named(layer, home.player?);
        }
        match home.at {
            Some(at) => Some(self.tilings.get(&(layer, at.space))?.find(at.point)),
            None => self.nowhere.get(&layer).copied(),
        }
    }
}
