//! How long regions have no owner, and how long new owners take until they write.
//!
//! Responsible for: when it happened, region by region. Not responsible for: what the issuer decides.

use std::collections::BTreeMap;

use spatialdb_core::Micros;
use spatialdb_core::authority::issuer::{Change, IssuerOutbox, Notice};
use spatialdb_core::authority::layers::Layers;
use spatialdb_core::authority::leases::Order;
use spatialdb_types::{Epoch, LayerId, RegionId};

/// What goes on with regions that change hands. As many as there are regions at most.
#[derive(Debug, Default)]
pub(super) struct Timing {
    /// Since when nobody may write.
    unowned: BTreeMap<RegionId, Micros>,
    /// Owners who were told and have not written yet: of which grant, and since when.
    told: BTreeMap<RegionId, (Epoch, LayerId, Micros)>,
}

impl Timing {
    /// The issuer wants this sent.
    pub(super) fn note(&mut self, layers: &Layers, outbox: &IssuerOutbox, now: Micros) {
        for (_, order) in &outbox.partitions {
            if let Order::Revoke(region, _) = order {
                // Whoever was about to get it may be gone too: it has been without an owner from the first time on.
                self.unowned.entry(*region).or_insert(now);
                self.told.remove(region);
            }
        }
        for (_, notice) in &outbox.sessions {
            let Notice::Gained(lease) = notice else { continue };
            if let Some(since) = self.unowned.remove(&lease.region) {
                record("spatialdb_authority_unowned_seconds", layers, lease.layer, now - since);
            }
            self.told.insert(lease.region, (lease.epoch, lease.layer, now));
        }
        for change in &outbox.changes {
            if let Change::RegionGone(region) = change {
                self.unowned.remove(region);
                self.told.remove(region);
            }
        }
    }

    /// The owner of a region wrote there.
    pub(super) fn wrote(&mut self, layers: &Layers, region: RegionId, epoch: Epoch, now: Micros) {
        let Some(&(of, layer, since)) = self.told.get(&region) else { return };
        if of == epoch {
            self.told.remove(&region);
            record("spatialdb_authority_first_write_seconds", layers, layer, now.saturating_sub(since));
        }
    }
}

fn record(name: &'static str, layers: &Layers, layer: LayerId, time: Micros) {
    let layer = layers.get(layer).name.clone();
    metrics::histogram!(name, "layer" => layer).record(time as f64 / 1e6);
}
