//! The regions of players: in a layer of strategy `client` a region is no box, but all that belongs to one player.
//!
//! There is one as long as a session of that name is attached. Otherwise it is like any region: one owner at a time, and
//! each grant has its epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use spatialdb_types::{LayerId, RegionId};

use super::{Lease, LeaseTable};

/// A region of a player.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlayerRegion {
    /// In which layer.
    pub layer: LayerId,
    /// The name of its sessions, and in the PlayerOwner of what belongs to it.
    pub player: Arc<str>,
}

/// All regions of players.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Players {
    all: BTreeMap<RegionId, PlayerRegion>,
    named: BTreeMap<LayerId, BTreeMap<Arc<str>, RegionId>>,
}

impl Players {
    pub(super) fn new(all: &BTreeMap<RegionId, PlayerRegion>) -> Self {
        let mut players = Self::default();
        all.iter().for_each(|(region, of)| players.insert(*region, of.clone()));
        players
    }

    pub(super) fn get(&self, region: RegionId) -> Option<&PlayerRegion> {
        self.all.get(&region)
    }

    pub(super) fn named(&self, layer: LayerId, player: &str) -> Option<RegionId> {
        self.named.get(&layer)?.get(player).copied()
    }

    fn insert(&mut self, region: RegionId, of: PlayerRegion) {
        self.named.entry(of.layer).or_default().insert(Arc::clone(&of.player), region);
        self.all.insert(region, of);
    }

    fn remove(&mut self, region: RegionId) {
        let Some(of) = self.all.remove(&region) else { return };
        if let Some(named) = self.named.get_mut(&of.layer) {
            named.remove(&of.player);
        }
    }
}

impl LeaseTable {
    /// Whose region it is, if it is a player's.
    pub fn player_of(&self, region: RegionId) -> Option<&PlayerRegion> {
        self.players.get(region)
    }

    /// A player has a region from now on, which nobody owns yet.
    pub(super) fn begin_player(&mut self, region: RegionId, of: &PlayerRegion) {
        if !self.is_known {
            return;
        }
        if let Err(at) = self.leases.binary_search_by_key(&region, |(id, _)| *id) {
            // Ids rise, so this is the end, and all slots stay what they are.
            self.version += u32::from(at < self.leases.len());
            self.leases.insert(at, (region, Lease::default()));
            self.players.insert(region, of.clone());
        }
    }

    /// It has none any more; every partition has said that nobody owns it.
    pub(super) fn end_player(&mut self, region: RegionId) {
        if self.players.get(region).is_none() {
            return;
        }
        self.players.remove(region);
        let at = self.leases.iter().position(|(id, _)| *id == region);
        if let Some(at) = at {
            self.version += 1;
            self.leases.remove(at);
        }
    }
}
