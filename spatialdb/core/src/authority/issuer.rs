//! The issuer: decides which worker owns which region, and changes that without two owners at any moment.
//!
//! A flip is revoke, all partitions' answers, grant with the next epoch, all answers, and only then the owner is told. A
//! change of shape never changes who owns a point. So each step is harmless by itself.
//!
//! Responsible for: regions, leases, epochs, workers. Not responsible for: checking writes (`leases`), entities, and
//! starting processes. It has no clock: every call that may need one brings the time.

mod admin;
mod balance;
mod burdens;
mod flips;
mod handover;
mod holds;
mod message;
mod players;
mod remembering;
mod reshape;
mod settle;
mod stall;
#[cfg(test)]
mod tests;
mod watch;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use spatialdb_types::{
    ComponentId, Epoch, ID_END, LayerId, Limits, PartitionId, RegionId, SessionId, SpaceId,
};

pub use self::balance::{Loads, SquareLoad};
use self::holds::Held;
pub use self::message::{Border, IssuerOutbox, LeaseInfo, LossReason, Notice, Said};
use self::remembering::Promises;
pub use self::remembering::{Memory, RememberedNode, RememberedRegion, RememberedShape};
pub use self::stall::Signs;
pub use self::watch::{Change, Past, Phase, RegionState, WorkerState};
use self::workers::Worker;
pub use self::workers::WorkerInfo;
use super::layers::shapes::first_shape;
use super::layers::{Layers, Strategy};
use super::leases::{Lease, Order, PlayerRegion, Table};
use super::tiling::Tiling;
use crate::Micros;

/// How patient the issuer is.
///
/// # Units
/// Microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Patience {
    /// A worker that says nothing for so long loses its leases.
    pub lease_ttl: Micros,
    /// A worker that says it lives, and lets what waits for it wait for so long, loses its leases. `None`: it keeps them.
    pub stall_after: Option<Micros>,
    /// Of a longer time between two ticks only so much counts: for the rest the issuer itself did not run.
    pub tick_max: Micros,
    /// A region that changed is not joined with another, and its borders stay, for so long.
    pub rest: Micros,
}

impl Default for Patience {
    fn default() -> Self {
        Self { lease_ttl: 3_000_000, stall_after: None, tick_max: 250_000, rest: 10_000_000 }
    }
}

/// The machine that gives out leases.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Issuer {
    layers: Arc<Layers>,
    partitions: BTreeSet<PartitionId>,
    patience: Patience,
    now: Micros,
    last_region: RegionId,
    last_epoch: Epoch,
    last_reset: u64,
    tilings: BTreeMap<(LayerId, SpaceId), Arc<Tiling>>,
    nowhere: BTreeMap<LayerId, RegionId>,
    regions: BTreeMap<RegionId, Region>,
    workers: BTreeMap<SessionId, Worker>,
    /// Whole tables that partitions have not confirmed, and what they will have answered with that.
    resets: BTreeMap<PartitionId, (u64, Vec<(RegionId, Lease)>)>,
    holds: BTreeMap<Epoch, Held>,
    holds_max: u64,
    /// Regions that are kept for who had them before the world began again.
    promises: Promises,
    /// How many workers of each type should be there.
    wanted: BTreeMap<String, u32>,
    /// Something changed that may let work go on.
    is_restless: bool,
    /// Regions that have become free, and whether some worker may take more than before.
    freed: BTreeSet<RegionId>,
    is_room: bool,
    /// What watchers are to be told, and owners of their neighbours.
    changed: BTreeSet<RegionId>,
    changed_workers: BTreeSet<SessionId>,
    new_neighbours: BTreeSet<RegionId>,
}

/// What the issuer knows of a region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Region {
    layer: LayerId,
    /// `None`: of entities without a position, or of a player.
    space: Option<SpaceId>,
    /// Whose it is, in a layer of strategy `client`.
    player: Option<Arc<str>>,
    /// Of the last grant.
    epoch: Epoch,
    stand: Stand,
    /// It keeps its shape.
    pin: Option<Pin>,
    /// It is to be joined with that one as soon as both have one owner.
    joins: Option<RegionId>,
    /// Of the last pass of the balancer.
    load: u64,
    /// What watchers were told of it.
    load_told: u64,
    /// In so many passes in a row it had too much load.
    hot_passes: u32,
    /// When its shape or owner changed last.
    changed_at: Micros,
    /// Who had it before, and why no longer.
    before: Option<Past>,
}

/// Who has a region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stand {
    /// Nobody, and every partition knows it.
    Unowned,
    /// Partitions are told of a new owner.
    Granting { owner: SessionId, waits: BTreeSet<PartitionId> },
    /// Every partition accepts the owner's writes.
    Owned { owner: SessionId, handover: Option<Handover> },
    /// Partitions are told that it has no owner any more.
    Revoking { next: Option<SessionId>, waits: BTreeSet<PartitionId> },
}

/// A region is about to change its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Handover {
    to: SessionId,
    /// The new owner sees the region, and the old one knows that it will lose it.
    is_warm: bool,
    deadline: Micros,
}

/// A region that keeps its shape.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Pin {
    /// Only the worker of this name may own it.
    worker: Option<String>,
}

impl Issuer {
    /// An issuer for these partitions. Nobody owns anything yet, and partitions accept nothing: see
    /// [`Issuer::partition_started`].
    pub fn new(
        layers: &Arc<Layers>,
        spaces: &[SpaceId],
        partitions: impl IntoIterator<Item = PartitionId>,
        patience: Patience,
        limits: &Limits,
    ) -> Self {
        let mut issuer = Self {
            layers: Arc::clone(layers),
            partitions: partitions.into_iter().collect(),
            patience,
            now: 0,
            last_region: RegionId(0),
            last_epoch: Epoch(0),
            last_reset: 0,
            tilings: BTreeMap::new(),
            nowhere: BTreeMap::new(),
            regions: BTreeMap::new(),
            workers: BTreeMap::new(),
            resets: BTreeMap::new(),
            holds: BTreeMap::new(),
            holds_max: limits.holds_max,
            promises: Promises::default(),
            wanted: BTreeMap::new(),
            is_restless: false,
            freed: BTreeSet::new(),
            is_room: false,
            changed: BTreeSet::new(),
            changed_workers: BTreeSet::new(),
            new_neighbours: BTreeSet::new(),
        };
        issuer.begin_all(spaces);
        issuer
    }

    /// All layers begin in all spaces.
    fn begin_all(&mut self, spaces: &[SpaceId]) {
        let layers = Arc::clone(&self.layers);
        for (layer, rule) in layers.all().filter(|(_, rule)| !rule.is_client()) {
            self.wanted.insert(rule.worker_type.clone(), 1);
            spaces.iter().for_each(|&space| self.begin(layer, space));
            if !rule.with.contains(&ComponentId::POSITION) {
                let region = self.next_region();
                self.regions.insert(region, Region::new(layer, None));
                self.nowhere.insert(layer, region);
            }
        }
    }

    fn begin(&mut self, layer: LayerId, space: SpaceId) {
        let layers = Arc::clone(&self.layers);
        let strategy = &layers.get(layer).strategy;
        let Some(shape) = first_shape(strategy, space, || self.next_region()) else { return };
        for (region, _) in shape.tiling.regions() {
            self.regions.insert(region, Region::new(layer, Some(space)));
        }
        if let Strategy::Pinned(boxes) = strategy {
            for (region, index) in shape.pinned {
                let pin = Some(Pin { worker: boxes[index].worker.clone() });
                self.regions.entry(region).and_modify(|region| region.pin = pin);
            }
        }
        self.tilings.insert((layer, space), Arc::new(shape.tiling));
    }

    /// A partition has started, or lost what it knew: it gets the whole table.
    pub fn partition_started(&mut self, partition: PartitionId, outbox: &mut IssuerOutbox) {
        self.last_reset += 1;
        let owed = self.regions.iter().filter(|(_, region)| region.waits_for(partition));
        let owed = owed.map(|(id, region)| (*id, region.lease()));
        self.resets.insert(partition, (self.last_reset, owed.collect()));
        let order = Order::Reset(self.last_reset, Arc::new(self.table()));
        outbox.partitions.push((partition, order));
    }

    /// All that a partition must know now.
    pub fn table(&self) -> Table {
        let leases = self.regions.iter().map(|(id, region)| (*id, region.lease())).collect();
        let player = |(id, region): (&RegionId, &Region)| {
            let player = Arc::clone(region.player.as_ref()?);
            Some((*id, PlayerRegion { layer: region.layer, player }))
        };
        let players = self.regions.iter().filter_map(player).collect();
        Table { tilings: self.tilings.clone(), nowhere: self.nowhere.clone(), players, leases }
    }

    /// The layers of the world.
    pub const fn layers(&self) -> &Arc<Layers> {
        &self.layers
    }

    /// Epochs from now on are above that one.
    pub fn begin_after(&mut self, epoch: Epoch) {
        self.last_epoch = self.last_epoch.max(epoch);
    }

    /// The last epoch that was given.
    pub const fn last_epoch(&self) -> Epoch {
        self.last_epoch
    }

    fn next_epoch(&mut self) -> Epoch {
        assert!(self.last_epoch.0 + 1 < ID_END, "epochs are used up");
        self.last_epoch.0 += 1;
        self.last_epoch
    }

    fn next_region(&mut self) -> RegionId {
        self.last_region.0 += 1;
        self.last_region
    }

    fn region(&self, region: RegionId) -> &Region {
        &self.regions[&region]
    }

    fn region_mut(&mut self, region: RegionId) -> &mut Region {
        self.is_restless = true;
        self.changed.insert(region);
        self.regions.get_mut(&region).expect("regions are looked up by ids from here")
    }
}

impl Region {
    const fn new(layer: LayerId, space: Option<SpaceId>) -> Self {
        Self {
            layer,
            space,
            player: None,
            epoch: Epoch(0),
            stand: Stand::Unowned,
            pin: None,
            joins: None,
            load: 0,
            load_told: 0,
            hot_passes: 0,
            changed_at: 0,
            before: None,
        }
    }

    /// What partitions are to know of it.
    const fn lease(&self) -> Lease {
        match self.owner() {
            Some(owner) => Lease::granted(self.epoch, owner),
            None => Lease::revoked(self.epoch),
        }
    }

    /// Whose writes partitions may accept.
    const fn owner(&self) -> Option<SessionId> {
        match self.stand {
            Stand::Granting { owner, .. } | Stand::Owned { owner, .. } => Some(owner),
            Stand::Unowned | Stand::Revoking { .. } => None,
        }
    }

    /// Who has it, will have it, or may.
    fn concerns(&self, session: SessionId) -> bool {
        self.owner() == Some(session) || self.next() == Some(session)
    }

    /// Who is to get it next.
    fn next(&self) -> Option<SessionId> {
        match &self.stand {
            Stand::Owned { handover, .. } => handover.map(|handover| handover.to),
            Stand::Revoking { next, .. } => *next,
            Stand::Unowned | Stand::Granting { .. } => None,
        }
    }

    fn waits_for(&self, partition: PartitionId) -> bool {
        match &self.stand {
            Stand::Granting { waits, .. } | Stand::Revoking { waits, .. } => waits.contains(&partition),
            Stand::Unowned | Stand::Owned { .. } => false,
        }
    }

    const fn handover(&self) -> Option<Handover> {
        match self.stand {
            Stand::Owned { handover, .. } => handover,
            _ => None,
        }
    }
}
