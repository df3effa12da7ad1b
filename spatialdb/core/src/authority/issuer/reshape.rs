//! Other shapes, under the same owner.

use std::sync::Arc;

use spatialdb_types::{Box3, Error, Reason, RegionId};

use super::{Border, Issuer, IssuerOutbox, LeaseInfo, Notice, Region, Stand};
use crate::authority::leases::{NewShape, Order};
use crate::authority::tiling::{Cut, Half, Tiling};

impl Issuer {
    /// Cuts a region in two; the half named becomes a new region. Both stay with the owner.
    pub(super) fn split_now(
        &mut self,
        region: RegionId,
        cut: Cut,
        half: Half,
        outbox: &mut IssuerOutbox,
    ) -> Result<RegionId, Error> {
        let state = self.check_at_rest(region)?.clone();
        let rule = self.layers.get(state.layer);
        let count = self.regions.values().filter(|other| other.layer == state.layer).count();
        if count >= rule.regions_max as usize {
            let detail = format!("layer {} has regions_max = {} regions", rule.name, rule.regions_max);
            return Err(Error::new(Reason::LimitReached, detail));
        }
        let new = RegionId(self.last_region.0 + 1);
        let mut tiling = self.tiling_of(region).ok_or_else(|| no_shape(region))?.clone();
        tiling.split(region, cut, new, half)?;
        self.next_region();
        self.is_room = true;
        self.regions.insert(new, Region { load: 0, joins: None, ..state });
        self.reshape(region, new, None, tiling, outbox);
        Ok(new)
    }

    /// Gives the area of one region to another; both have one owner, or none.
    pub(super) fn join_now(&mut self, gone: RegionId, keep: RegionId, outbox: &mut IssuerOutbox) {
        let Some(mut tiling) = self.tiling_of(keep).cloned() else { return };
        if tiling.join(gone, keep).is_err() {
            return;
        }
        self.note_neighbours(gone);
        let Some(old) = self.regions.remove(&gone) else { return };
        self.is_room = true;
        self.changed.insert(gone);
        let state = self.region_mut(keep);
        state.epoch = state.epoch.max(old.epoch);
        state.load += old.load;
        self.new_neighbours.remove(&gone);
        self.reshape(keep, keep, Some(gone), tiling, outbox);
    }

    /// Tells of a new tiling, in which `region` was cut or grew, and `made` is the other part or itself.
    fn reshape(
        &mut self,
        region: RegionId,
        made: RegionId,
        gone: Option<RegionId>,
        tiling: Tiling,
        outbox: &mut IssuerOutbox,
    ) {
        let Region { layer, space: Some(space), .. } = *self.region(region) else { return };
        let (tiling, lease, now) = (Arc::new(tiling), self.region(made).lease(), self.now);
        self.tilings.insert((layer, space), Arc::clone(&tiling));
        let shape = Arc::new(NewShape { layer, space, tiling, region: made, lease, gone });
        let orders = self.partitions.iter().map(|&partition| (partition, Order::Reshape(Arc::clone(&shape))));
        outbox.partitions.extend(orders);
        for id in [made, region] {
            let state = self.region_mut(id);
            (state.changed_at, state.hot_passes) = (now, 0);
            self.note_neighbours(id);
        }
        self.new_neighbours.retain(|id| *id != region && *id != made);
        if let Some(owner) = self.settled_owner(region) {
            outbox.sessions.extend(gone.map(|gone| (owner, Notice::Joined(gone, region))));
            let other = (made != region).then_some(made);
            for id in other.into_iter().chain([region]) {
                outbox.sessions.push((owner, Notice::Shaped(self.lease_info(id))));
            }
        }
    }

    /// Whether two regions can become one.
    pub(super) fn can_join(&self, gone: RegionId, keep: RegionId) -> bool {
        let is_free = |region| self.regions.get(&region).is_some_and(|state: &Region| state.pin.is_none());
        let place = |region| self.regions.get(&region).map(|state| (state.layer, state.space));
        is_free(gone)
            && is_free(keep)
            && place(gone) == place(keep)
            && self.tiling_of(keep).is_some_and(|tiling| tiling.can_join(gone, keep))
    }

    /// A region that may change its shape now.
    pub(super) fn check_at_rest(&self, region: RegionId) -> Result<&Region, Error> {
        let not_found = || Error::new(Reason::RegionNotFound, format!("no region {region}"));
        let state = self.regions.get(&region).ok_or_else(not_found)?;
        if !self.layers.get(state.layer).is_balanced() || state.pin.is_some() {
            let detail =
                format!("region {region} of layer {} keeps its shape", self.layers.get(state.layer).name);
            return Err(Error::new(Reason::RegionShape, detail));
        }
        if state.stand != Stand::Unowned && self.settled_owner(region).is_none() {
            let detail = format!("region {region} is changing its owner; try again");
            return Err(Error::new(Reason::RegionBusy, detail));
        }
        Ok(state)
    }

    /// The tiling that a region is in; `None`: it is of entities without a position.
    pub(super) fn tiling_of(&self, region: RegionId) -> Option<&Tiling> {
        let state = self.regions.get(&region)?;
        self.tilings.get(&(state.layer, state.space?)).map(|tiling| &**tiling)
    }

    /// Owners of what lies around a region are to be told who is beyond their borders now.
    pub(super) fn note_neighbours(&mut self, region: RegionId) {
        let edges = self.tiling_of(region).map(|tiling| tiling.edges(region)).unwrap_or_default();
        self.new_neighbours.extend(edges.iter().map(|edge| edge.other));
    }

    /// Who is beyond each border; nobody, if there is no such region.
    pub fn borders(&self, region: RegionId) -> Vec<Border> {
        let edges = self.tiling_of(region).map(|tiling| tiling.edges(region)).unwrap_or_default();
        edges.into_iter().map(|edge| Border { edge, lease: self.region(edge.other).lease() }).collect()
    }

    /// What the owner of a region is told of it.
    pub(super) fn lease_info(&self, region: RegionId) -> LeaseInfo {
        let Region { layer, space, epoch, ref player, .. } = *self.region(region);
        let (area, borders, player) = (self.area(region), self.borders(region), player.clone());
        LeaseInfo { region, layer, space, player, area, epoch, borders }
    }

    /// Where a region lies.
    pub(super) fn area(&self, region: RegionId) -> Box3 {
        self.tiling_of(region).and_then(|tiling| tiling.bounds(region)).unwrap_or(Box3::EVERYWHERE)
    }
}

impl Issuer {
    /// # Errors
    /// [`Reason::RegionShape`]: it is of entities without a position.
    pub(super) fn check_has_shape(&self, region: RegionId) -> Result<(), Error> {
        self.tiling_of(region).map(drop).ok_or_else(|| no_shape(region))
    }
}

fn no_shape(region: RegionId) -> Error {
    Error::new(
        Reason::RegionShape,
        format!("region {region} is of entities without a position: it has no shape"),
    )
}
