//! How many workers there should be, and who could go.

use spatialdb_types::SessionId;

use super::super::{Change, Issuer, IssuerOutbox, Stand, Worker};
use crate::authority::layers::Strategy;

impl Issuer {
    /// Finds how many workers of each type there should be. Up at once; down only when fewer would have it easy.
    pub(super) fn want(&mut self, outbox: &mut IssuerOutbox) {
        let types: Vec<String> = self.wanted.keys().cloned().collect();
        for worker_type in types {
            let count = self.count_wanted(&worker_type);
            if self.wanted(&worker_type) != count {
                self.wanted.insert(worker_type.clone(), count);
                outbox.changes.push(Change::Wanted(worker_type, count));
            }
        }
    }

    /// A worker that could end, since there are more than wanted: the one with the least, and nobody who is about to get
    /// something.
    pub fn surplus(&self, worker_type: &str) -> Option<SessionId> {
        let willing = self.willing(worker_type);
        if willing.len() as u64 + self.not_working(worker_type) <= u64::from(self.wanted(worker_type)) {
            return None;
        }
        let is_target =
            |session| self.regions.values().any(|r| r.concerns(session) && r.owner() != Some(session));
        let free = willing.into_iter().filter(|&session| !is_target(session));
        let burdens = self.burdens();
        free.min_by_key(|&session| burdens.rank(session))
    }

    fn count_wanted(&self, worker_type: &str) -> u32 {
        let count = self.willing(worker_type).len() as u64;
        let served =
            self.regions.values().filter(|region| self.layers.get(region.layer).worker_type == worker_type);
        let load: u64 = served.clone().map(|region| self.share_of(region)).sum();
        let rules = self.layers.all().filter(|(_, rule)| rule.worker_type == worker_type);
        let hysteresis = rules.map(|(_, rule)| u64::from(rule.split_hysteresis)).max().unwrap_or_default();
        let enough = load.div_ceil(1000).max(1);
        let comfortable = load.div_ceil(1000 - hysteresis).max(1);
        // Load that workers feel, or regions that nobody may take, do not show in sums.
        let burdens = self.burdens();
        let is_short = count > 0
            && self.regions.iter().any(|(id, region)| {
                self.layers.get(region.layer).worker_type == worker_type
                    && (region.stand == Stand::Unowned || self.is_reported_hot(*id, &burdens))
                    && self.choose(*id, region.owner(), &burdens).is_none()
            });
        let wanted = count.clamp(enough, comfortable).max(if is_short { count + 1 } else { 0 });
        let wanted = wanted.min(self.most_wanted(worker_type)) + self.not_working(worker_type);
        u32::try_from(wanted).unwrap_or(u32::MAX)
    }

    /// More workers than that could not own anything.
    fn most_wanted(&self, worker_type: &str) -> u64 {
        let served = self.layers.all().filter(|(_, rule)| rule.worker_type == worker_type);
        let most = served.map(|(layer, rule)| match rule.strategy {
            Strategy::Single => 1,
            Strategy::Balanced => u64::from(rule.regions_max),
            Strategy::Grid(_) | Strategy::Pinned(_) => {
                self.regions.values().filter(|region| region.layer == layer).count() as u64
            }
            Strategy::Client => 0,
        });
        most.sum::<u64>().max(1)
    }

    /// Workers that are attached and silent, or stand still: each takes the place of one that would work.
    fn not_working(&self, worker_type: &str) -> u64 {
        let is_idle = |worker: &&Worker| {
            worker.info.worker_type == worker_type && !worker.is_willing() && !worker.is_draining
        };
        self.workers.values().filter(is_idle).count() as u64
    }
}
