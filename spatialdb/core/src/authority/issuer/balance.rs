//! The balancer: what is to be split, joined, shifted or given to another worker, and how many workers there should be.
//!
//! A pass looks at sums per square, never at entities. It starts no second change of a region under way, and changes nothing
//! that no worker could take.

mod cut;
#[cfg(test)]
mod tests;
mod wanted;

use std::collections::BTreeMap;

use spatialdb_types::{LayerId, RegionId, SessionId, SpaceId};

pub use self::cut::SquareLoad;
pub(super) use self::cut::best_cut;
use self::cut::strip_cut;
use super::burdens::Burdens;
use super::{Issuer, IssuerOutbox, Region, Stand};
use crate::Micros;
use crate::authority::layers::{Layer, Strategy};
use crate::authority::tiling::Half;

/// In so many passes in a row a region has too much before it is split.
const HOT_PASSES: u32 = 2;

/// A worker that says so much of itself, in thousandths, has too much, whatever its regions sum up to.
const REPORTED_MAX: u32 = 900;

/// How much there is to do where.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loads {
    /// The side of a square, metres. Square (x, y) begins at x times and y times that.
    pub side_m: f64,
    /// Squares with something in them, each once, in any order.
    pub squares: BTreeMap<(LayerId, SpaceId), Vec<SquareLoad>>,
    /// Of entities without a position.
    pub nowhere: BTreeMap<LayerId, u64>,
}

/// The squares of each region.
pub(super) type Shares = BTreeMap<RegionId, Vec<SquareLoad>>;

impl Loads {
    /// Adds what another partition counts, in squares of the same size.
    pub fn merge(&mut self, other: Self) {
        self.side_m = self.side_m.max(other.side_m);
        for (key, squares) in other.squares {
            self.squares.entry(key).or_default().extend(squares);
        }
        for (layer, load) in other.nowhere {
            *self.nowhere.entry(layer).or_default() += load;
        }
    }
}

impl Issuer {
    /// One pass of the balancer. How often is up to the driver: once a second.
    pub fn balance(&mut self, loads: &Loads, now: Micros, outbox: &mut IssuerOutbox) {
        self.clock(now);
        let shares = self.take_loads(loads);
        let layers = std::sync::Arc::clone(&self.layers);
        for (layer, rule) in layers.all().filter(|(_, rule)| rule.is_balanced()) {
            self.split_hot(layer, rule, loads.side_m, &shares, outbox);
            self.join_cold(layer, rule, outbox);
            self.shift_borders(layer, rule, loads.side_m, &shares, outbox);
        }
        self.spread(outbox);
        self.want(outbox);
        self.settle(outbox);
    }

    /// How much of what one worker should have a region has, in thousandths.
    pub(super) fn share_of(&self, region: &Region) -> u64 {
        region.load.saturating_mul(1000) / self.layers.get(region.layer).load_max
    }

    /// What each region has of it.
    pub(super) fn take_loads(&mut self, loads: &Loads) -> Shares {
        let mut shares = Shares::new();
        for (place, squares) in &loads.squares {
            let Some(tiling) = self.tilings.get(place) else { continue };
            for square in squares {
                // In a square that a border cuts nobody knows where what lies: it counts as spread evenly.
                tiling.share_out(&square.area(loads.side_m), square.load, &mut |region, load| {
                    shares.entry(region).or_default().push(SquareLoad { load, ..*square });
                });
            }
        }
        for (id, region) in &mut self.regions {
            let load = match region.space {
                Some(_) => shares.get(id).map_or(0, |squares| squares.iter().map(|square| square.load).sum()),
                None => loads.nowhere.get(&region.layer).copied().unwrap_or_default(),
            };
            // Watchers are told of what they could see.
            if region.load_told.abs_diff(load) > region.load_told / 10 {
                self.changed.insert(*id);
            }
            region.load = load;
        }
        shares
    }

    fn split_hot(
        &mut self,
        layer: LayerId,
        rule: &Layer,
        side_m: f64,
        shares: &Shares,
        outbox: &mut IssuerOutbox,
    ) {
        let here = self.regions.iter().filter(|(_, region)| region.layer == layer && region.space.is_some());
        let mut burdens = self.burdens();
        for region in here.map(|(id, _)| *id).collect::<Vec<_>>() {
            let is_hot = self.region(region).load > rule.load_max || self.is_reported_hot(region, &burdens);
            let Some(state) = self.regions.get_mut(&region) else { continue };
            state.hot_passes = if is_hot { state.hot_passes.saturating_add(1) } else { 0 };
            if state.hot_passes < HOT_PASSES || self.check_at_rest(region).is_err() {
                continue;
            }
            let Some(owner) = self.settled_owner(region) else { continue };
            let Some(to) = self.choose(region, Some(owner), &burdens) else { continue };
            let helps = burdens.share(to) + self.share_of(self.region(region)) / 2 < burdens.share(owner);
            let Some(squares) = shares.get(&region).filter(|_| helps) else { continue };
            let Some((cut, low)) = best_cut(squares, side_m, &self.area(region)) else { continue };
            let Ok(new) = self.split_now(region, cut, Half::High, outbox) else { continue };
            let high = self.region(region).load - low;
            self.region_mut(region).load = low;
            self.region_mut(new).load = high;
            self.hand_over(new, to, outbox);
            burdens = self.burdens();
        }
    }

    fn join_cold(&mut self, layer: LayerId, rule: &Layer, outbox: &mut IssuerOutbox) {
        let mut burdens = self.burdens();
        for (low, high, _) in self.siblings(layer) {
            let (a, b) = (self.region(low), self.region(high));
            let together = (a.load + b.load).saturating_mul(1000);
            let is_cold = together <= rule.load_max.saturating_mul(1000 - u64::from(rule.split_hysteresis));
            if !is_cold || !self.may_change(low) || !self.may_change(high) {
                continue;
            }
            let (gone, keep) = if a.load <= b.load { (low, high) } else { (high, low) };
            if let (Some(from), Some(to)) = (self.settled_owner(gone), self.settled_owner(keep))
                && from != to
            {
                if !self.may_get(to, gone, &burdens) || self.is_reported_hot(keep, &burdens) {
                    continue;
                }
                self.hand_over(gone, to, outbox);
                self.add_burden(gone, to, &mut burdens);
            }
            self.region_mut(gone).joins = Some(keep);
        }
    }

    fn shift_borders(
        &mut self,
        layer: LayerId,
        rule: &Layer,
        side_m: f64,
        shares: &Shares,
        outbox: &mut IssuerOutbox,
    ) {
        let mut burdens = self.burdens();
        for (low, high, cut) in self.siblings(layer) {
            let (Some(a), Some(b)) = (self.settled_owner(low), self.settled_owner(high)) else { continue };
            if a == b || !self.may_change(low) || !self.may_change(high) {
                continue;
            }
            let is_low_heavy = self.region(low).load > self.region(high).load;
            let (heavy, light, to) = if is_low_heavy { (low, high, b) } else { (high, low, a) };
            let (more, less) = (self.region(heavy).load, self.region(light).load);
            let is_much = more.saturating_mul(1000)
                > rule.load_max.saturating_mul(1000 - u64::from(rule.split_hysteresis));
            if !is_much || more - less <= (more + less) / 4 || !self.may_get(to, heavy, &burdens) {
                continue;
            }
            let strip = if is_low_heavy { Half::High } else { Half::Low };
            let squares = shares.get(&heavy).map(Vec::as_slice).unwrap_or_default();
            let found = strip_cut(squares, side_m, &self.area(heavy), cut.axis, strip, (more - less) / 4);
            let Some((at, load)) = found else { continue };
            let Ok(new) = self.split_now(heavy, at, strip, outbox) else { continue };
            self.region_mut(heavy).load -= load;
            let state = self.region_mut(new);
            (state.load, state.joins) = (load, Some(light));
            self.hand_over(new, to, outbox);
            burdens = self.burdens();
        }
    }

    /// Gives whole regions of a worker that has too much to one that has less: one for each type of worker.
    fn spread(&mut self, outbox: &mut IssuerOutbox) {
        let types: Vec<String> = self.wanted.keys().cloned().collect();
        for worker_type in types {
            let (workers, burdens) = (self.willing(&worker_type), self.burdens());
            let Some(busiest) =
                workers.iter().copied().max_by_key(|&session| (burdens.share(session), session))
            else {
                continue;
            };
            let much = burdens.share(busiest);
            if much <= 1000 {
                continue;
            }
            let own =
                self.regions.keys().copied().filter(|&region| self.settled_owner(region) == Some(busiest));
            let best = own.filter_map(|region| {
                let state = self.region(region);
                let (share, to) = (self.share_of(state), self.choose(region, Some(busiest), &burdens)?);
                let little = burdens.share(to);
                let helps = share > 0 && little + share < much && much - little > (much + little) / 4;
                // Who has nothing gets something at once: nothing can go back and forth between the two.
                let is_movable = helps
                    && self.layers.get(state.layer).strategy != Strategy::Single
                    && state.player.is_none()
                    && (little == 0 || self.has_rested(region));
                is_movable.then(|| ((much - share).abs_diff(little + share), region, to))
            });
            if let Some((_, region, to)) = best.min() {
                self.hand_over(region, to, outbox);
            }
        }
    }

    /// The workers of a type that may get something.
    pub(super) fn willing(&self, worker_type: &str) -> Vec<SessionId> {
        let is_one = |worker: &super::Worker| worker.is_willing() && worker.info.worker_type == worker_type;
        self.workers.iter().filter(|(_, worker)| is_one(worker)).map(|(session, _)| *session).collect()
    }

    fn siblings(&self, layer: LayerId) -> Vec<(RegionId, RegionId, crate::authority::tiling::Cut)> {
        let here = self.tilings.iter().filter(|((of, _), _)| *of == layer);
        here.flat_map(|(_, tiling)| tiling.siblings()).collect()
    }

    /// Whether a region may be joined or have its border shifted now.
    fn may_change(&self, region: RegionId) -> bool {
        self.check_at_rest(region).is_ok() && self.has_rested(region) && self.region(region).joins.is_none()
    }

    fn has_rested(&self, region: RegionId) -> bool {
        self.now.saturating_sub(self.region(region).changed_at) >= self.patience.rest
    }

    /// Whether its owner says that it has too much, and this is most of what it has.
    fn is_reported_hot(&self, region: RegionId, burdens: &Burdens) -> bool {
        let state = self.region(region);
        let Stand::Owned { owner, .. } = state.stand else { return false };
        let is_reported = self.workers[&owner].load_reported >= REPORTED_MAX;
        is_reported && self.share_of(state) * 2 > burdens.share(owner)
    }
}
