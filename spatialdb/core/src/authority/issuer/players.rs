//! Players: in a layer of strategy `client` each name of an attached session has a region, as long as there is one.
//!
//! Of several sessions with one name the one that came last owns it: a player who comes back has not to wait until the
//! old connection is known to be dead.

use std::sync::Arc;

use spatialdb_types::{LayerId, RegionId, SessionId};

use super::{Issuer, IssuerOutbox, LossReason, Notice, Region, Stand};
use crate::authority::leases::{Order, PlayerRegion};

impl Issuer {
    /// A session is attached: it gets what belongs to its name.
    pub(super) fn player_comes(&mut self, session: SessionId, outbox: &mut IssuerOutbox) {
        let info = &self.workers[&session].info;
        let (worker_type, name) = (info.worker_type.clone(), info.name.clone());
        let layers = Arc::clone(&self.layers);
        for (layer, _) in layers.all().filter(|(_, l)| l.is_client() && l.worker_type == worker_type) {
            let is_its = |region: &Region| region.layer == layer && region.player.as_deref() == Some(&*name);
            let found = self.regions.iter().find(|(_, region)| is_its(region)).map(|(id, _)| *id);
            match found {
                Some(region) => self.take_over(region, session, outbox),
                None => self.begin_player(layer, name.as_str().into(), outbox),
            }
        }
    }

    fn begin_player(&mut self, layer: LayerId, player: Arc<str>, outbox: &mut IssuerOutbox) {
        let region = self.next_region();
        let of = PlayerRegion { layer, player: Arc::clone(&player) };
        let orders = self.partitions.iter().map(|&to| (to, Order::Begin(region, of.clone())));
        outbox.partitions.extend(orders);
        self.regions.insert(region, Region { player: Some(player), ..Region::new(layer, None) });
        self.changed.insert(region);
    }

    /// The player of a region is there with another session.
    fn take_over(&mut self, region: RegionId, session: SessionId, outbox: &mut IssuerOutbox) {
        match &mut self.region_mut(region).stand {
            Stand::Unowned => {}
            Stand::Revoking { next, .. } => {
                let before = next.replace(session);
                outbox.sessions.extend(before.map(|before| (before, Notice::Cool(region))));
            }
            Stand::Granting { .. } | Stand::Owned { .. } => {
                self.call_off(region, outbox);
                self.revoke(region, Some(session), LossReason::HandedOver, outbox);
            }
        }
    }

    /// A region that nobody owns is gone if it was of a player of whom no session is left. Returns whether it was.
    pub(super) fn end_player(&mut self, region: RegionId, outbox: &mut IssuerOutbox) -> bool {
        let Region { layer, player: Some(player), stand: Stand::Unowned, .. } = self.region(region) else {
            return false;
        };
        let worker_type = &self.layers.get(*layer).worker_type;
        let mut infos = self.workers.values().map(|worker| &worker.info);
        if infos.any(|info| info.worker_type == *worker_type && *info.name == **player) {
            return false;
        }
        outbox.partitions.extend(self.partitions.iter().map(|&to| (to, Order::End(region))));
        self.regions.remove(&region);
        self.changed.insert(region);
        true
    }
}
