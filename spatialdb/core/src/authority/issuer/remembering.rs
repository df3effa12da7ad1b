//! What of the regions is remembered when a world ends and begins again: their shapes, pins and epochs, and whose they were.
//!
//! Who had a region is promised it for `lease_ttl`: a worker of that name gets it when it attaches in time, and nobody else before. Regions of
//! players are not remembered: they come with their players.
//!
//! Responsible for: what that is, and beginning with it. Not responsible for: where it is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use spatialdb_types::{Epoch, LayerId, RegionId, SpaceId};

use super::{Issuer, Pin, Region};
use crate::Micros;
use crate::authority::tiling::{Cut, Tiling};

/// The regions of a world, to begin with again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Ids of regions rise above it.
    pub last_region: RegionId,
    /// Of each layer and space; and of each layer what has no position.
    pub shapes: Vec<RememberedShape>,
}

/// The regions of a layer in a space.
#[derive(Clone, Debug, PartialEq)]
pub struct RememberedShape {
    /// The layer's name.
    pub layer: String,
    /// `None`: of entities without a position; then there is one region, and no cut.
    pub space: Option<SpaceId>,
    /// The regions and the cuts between them: a cut, then what is below it, then what is above.
    pub nodes: Vec<RememberedNode>,
}

/// A region, or a cut.
#[derive(Clone, Debug, PartialEq)]
pub enum RememberedNode {
    /// A cut.
    Cut(Cut),
    /// A region.
    Region(RememberedRegion),
}

/// A region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RememberedRegion {
    /// Which.
    pub region: RegionId,
    /// Of its last grant.
    pub epoch: Epoch,
    /// The name of the worker that had it.
    pub owner: Option<String>,
    /// Somebody has pinned it.
    pub is_pinned: bool,
    /// To the worker of that name.
    pub pinned_to: Option<String>,
}

/// Regions that are kept for who had them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Promises {
    regions: BTreeMap<RegionId, String>,
    until: Micros,
}

impl Promises {
    /// Whether a worker of that name may get the region now.
    pub(super) fn allow(&self, region: RegionId, name: &str) -> bool {
        self.regions.get(&region).is_none_or(|promised| promised == name)
    }

    /// It has an owner again.
    pub(super) fn keep(&mut self, region: RegionId) {
        self.regions.remove(&region);
    }

    /// When they end, if there are any.
    pub(super) fn until(&self) -> Option<Micros> {
        (!self.regions.is_empty()).then_some(self.until)
    }

    /// Whether some ended now.
    pub(super) fn end(&mut self, now: Micros) -> bool {
        let is_over = self.until().is_some_and(|until| until <= now);
        if is_over {
            self.regions.clear();
        }
        is_over
    }
}

impl Issuer {
    /// The regions as they are now.
    pub fn memory(&self) -> Memory {
        let name = |layer: LayerId| self.layers.get(layer).name.clone();
        let region = |id: RegionId| {
            let state = self.region(id);
            let owner = state.owner().and_then(|owner| self.workers.get(&owner));
            let promised = self.promises.regions.get(&id).cloned();
            RememberedRegion {
                region: id,
                epoch: state.epoch,
                owner: owner.map(|worker| worker.info.name.clone()).or(promised),
                is_pinned: state.pin.is_some(),
                pinned_to: state.pin.as_ref().and_then(|pin| pin.worker.clone()),
            }
        };
        let placed = self.tilings.iter().map(|((layer, space), tiling)| {
            let mut nodes = Vec::new();
            tiling.walk(&mut |cut, id| {
                nodes.extend(cut.map(RememberedNode::Cut));
                nodes.extend(id.map(|id| RememberedNode::Region(region(id))));
            });
            RememberedShape { layer: name(*layer), space: Some(*space), nodes }
        });
        let nowhere = self.nowhere.iter().map(|(layer, id)| {
            let nodes = vec![RememberedNode::Region(region(*id))];
            RememberedShape { layer: name(*layer), space: None, nodes }
        });
        Memory { last_region: self.last_region, shapes: placed.chain(nowhere).collect() }
    }

    /// Begins with the regions that a world had before, as far as its layers are still such: of another strategy than balanced only if
    /// the settings still say the same shape. Before anybody is attached.
    pub fn remember(&mut self, memory: &Memory, now: Micros) {
        self.clock(now);
        // Ids that were given are not given again: what is new here gets others.
        let spaces: BTreeSet<SpaceId> = self.tilings.keys().map(|(_, space)| *space).collect();
        self.last_region = self.last_region.max(memory.last_region);
        self.regions.clear();
        self.begin_all(&spaces.into_iter().collect::<Vec<_>>());
        for shape in &memory.shapes {
            let Some(layer) = self.layers.named(&shape.layer) else { continue };
            match shape.space {
                Some(space) => self.remember_shape(layer, space, shape),
                None => self.remember_nowhere(layer, shape),
            }
        }
        // What was made only to be replaced was never told of.
        let used = self.regions.keys().next_back().copied().unwrap_or_default();
        self.last_region = memory.last_region.max(used);
        self.promises.until = now + self.patience.lease_ttl;
    }

    fn remember_shape(&mut self, layer: LayerId, space: SpaceId, shape: &RememberedShape) {
        let Some(first) = self.tilings.get(&(layer, space)).cloned() else { return };
        let cuts = shape.nodes.iter().map(|node| match node {
            RememberedNode::Cut(cut) => Ok(*cut),
            RememberedNode::Region(region) => Err(region.region),
        });
        let Some(tiling) = Tiling::from_walk(cuts) else { return };
        let regions: Vec<RememberedRegion> = regions_of(shape).cloned().collect();
        let ids: BTreeSet<RegionId> = regions.iter().map(|region| region.region).collect();
        let most = self.layers.get(layer).regions_max as usize;
        let is_known = |id: &RegionId| {
            self.regions.get(id).is_some_and(|state| (state.layer, state.space) != (layer, Some(space)))
        };
        if ids.len() != regions.len() || ids.len() > most || ids.iter().any(is_known) {
            return;
        }
        let (old, new) = (first.regions(), tiling.regions());
        let is_same = || old.iter().map(|(_, area)| area).eq(new.iter().map(|(_, area)| area));
        let is_balanced = self.layers.get(layer).is_balanced();
        if !is_balanced && !is_same() {
            return;
        }
        // Of another strategy it is the settings that pin.
        let pins: Vec<Option<Pin>> = old.iter().map(|(id, _)| self.region(*id).pin.clone()).collect();
        for (id, _) in old {
            self.regions.remove(&id);
        }
        for (at, remembered) in regions.iter().enumerate() {
            let pinned = remembered.is_pinned.then(|| Pin { worker: remembered.pinned_to.clone() });
            let pin = if is_balanced { pinned } else { pins.get(at).cloned().flatten() };
            let epoch = remembered.epoch;
            self.regions.insert(remembered.region, Region { pin, epoch, ..Region::new(layer, Some(space)) });
            self.promise(remembered);
        }
        self.tilings.insert((layer, space), Arc::new(tiling));
    }

    fn remember_nowhere(&mut self, layer: LayerId, shape: &RememberedShape) {
        let (Some(first), Some(remembered)) = (self.nowhere.get(&layer).copied(), regions_of(shape).next())
        else {
            return;
        };
        if remembered.region != first && self.regions.contains_key(&remembered.region) {
            return;
        }
        let Some(state) = self.regions.remove(&first) else { return };
        let epoch = remembered.epoch;
        self.regions.insert(remembered.region, Region { epoch, ..state });
        self.nowhere.insert(layer, remembered.region);
        self.promise(remembered);
    }

    fn promise(&mut self, remembered: &RememberedRegion) {
        self.last_region = self.last_region.max(remembered.region);
        self.last_epoch = self.last_epoch.max(remembered.epoch);
        if let Some(owner) = &remembered.owner {
            self.promises.regions.insert(remembered.region, owner.clone());
        }
    }

    /// Whoever has not come in time has lost what was kept for it.
    pub(super) fn end_promises(&mut self) {
        if self.promises.end(self.now) {
            (self.is_restless, self.is_room) = (true, true);
        }
    }
}

fn regions_of(shape: &RememberedShape) -> impl Iterator<Item = &RememberedRegion> {
    shape.nodes.iter().filter_map(|node| match node {
        RememberedNode::Region(region) => Some(region),
        RememberedNode::Cut(_) => None,
    })
}
