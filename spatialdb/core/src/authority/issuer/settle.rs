//! What follows by itself: regions without an owner find one, draining workers get rid of theirs, and what is to be joined
//! is joined.

use spatialdb_types::{RegionId, SessionId};

use super::{Issuer, IssuerOutbox, Notice, Stand};
use crate::authority::layers::Strategy;

impl Issuer {
    /// Does what can be done now, and tells watchers and neighbours what came of it.
    pub(super) fn settle(&mut self, outbox: &mut IssuerOutbox) {
        while std::mem::take(&mut self.is_restless) {
            self.assign(outbox);
            self.relocate(outbox);
            self.join_ready(outbox);
        }
        for region in std::mem::take(&mut self.new_neighbours) {
            if let Some(owner) = self.settled_owner(region) {
                let borders = self.borders(region);
                outbox.sessions.push((owner, Notice::Borders(region, borders)));
            }
        }
        self.tell_watchers(outbox);
    }

    /// The owner of a region that nothing is under way for, and who has been told.
    pub(super) fn settled_owner(&self, region: RegionId) -> Option<SessionId> {
        let state = self.regions.get(&region)?;
        let Stand::Owned { owner, handover: None } = state.stand else { return None };
        (!self.workers[&owner].untold.contains(&(state.epoch, region))).then_some(owner)
    }

    /// Whether a worker may get a region.
    pub(super) fn may_get(&self, session: SessionId, region: RegionId) -> bool {
        let Some(worker) = self.workers.get(&session).filter(|worker| worker.is_willing()) else {
            return false;
        };
        let state = self.region(region);
        let rule = self.layers.get(state.layer);
        let is_named = state
            .pin
            .as_ref()
            .and_then(|pin| pin.worker.as_ref())
            .is_none_or(|name| *name == worker.info.name);
        let others = self.region_count(session) - usize::from(state.concerns(session));
        rule.worker_type == worker.info.worker_type
            && is_named
            && others < worker.info.regions_max as usize
            && (rule.strategy != Strategy::Single
                || self.sole_owner(region).is_none_or(|sole| sole == session))
    }

    /// The worker that may get a region and has least to do.
    pub(super) fn choose(&self, region: RegionId, except: Option<SessionId>) -> Option<SessionId> {
        let free = self
            .workers
            .keys()
            .filter(|session| Some(**session) != except && self.may_get(**session, region));
        free.copied().min_by_key(|&session| (self.load_of(session), self.region_count(session), session))
    }

    /// What a worker has or is about to get: thousandths of what it should have.
    pub(super) fn load_of(&self, session: SessionId) -> u64 {
        let own = self.regions.values().filter(|region| region.concerns(session));
        own.map(|region| self.share_of(region)).sum()
    }

    /// Of a layer with one owner: who that is.
    fn sole_owner(&self, region: RegionId) -> Option<SessionId> {
        let layer = self.region(region).layer;
        let others = self.regions.iter().filter(|(id, other)| **id != region && other.layer == layer);
        let willing = |session: &SessionId| self.workers.get(session).is_some_and(super::Worker::is_willing);
        others.filter_map(|(_, other)| other.owner()).find(willing)
    }

    fn assign(&mut self, outbox: &mut IssuerOutbox) {
        let is_free = |stand: &Stand| match stand {
            Stand::Unowned => true,
            Stand::Revoking { waits, .. } => waits.is_empty(),
            _ => false,
        };
        let free = self.regions.iter().filter(|(_, state)| is_free(&state.stand)).map(|(id, _)| *id);
        for region in free.collect::<Vec<_>>() {
            let mut next = None;
            if let Stand::Revoking { next: promised, .. } = self.region(region).stand {
                next = promised;
                self.region_mut(region).stand = Stand::Unowned;
            }
            let next = next.filter(|&next| self.may_get(next, region));
            if let Some(owner) = next.or_else(|| self.choose(region, None)) {
                self.grant(region, owner, outbox);
            }
        }
    }

    /// Starts to hand over what should not stay where it is.
    fn relocate(&mut self, outbox: &mut IssuerOutbox) {
        for region in self.regions.keys().copied().collect::<Vec<_>>() {
            let Some(owner) = self.settled_owner(region) else { continue };
            let worker = &self.workers[&owner];
            let pinned_to = self.region(region).pin.as_ref().and_then(|pin| pin.worker.as_ref());
            let is_elsewhere = pinned_to.is_some_and(|name| *name != worker.info.name);
            if !worker.is_draining && !is_elsewhere {
                continue;
            }
            if let Some(to) = self.choose(region, Some(owner)) {
                self.hand_over(region, to, outbox);
            }
        }
    }

    /// Joins what is to be joined and has one owner by now, who has seen both grants.
    fn join_ready(&mut self, outbox: &mut IssuerOutbox) {
        let pairs = self.regions.iter().filter_map(|(gone, state)| Some((*gone, state.joins?)));
        for (gone, keep) in pairs.collect::<Vec<_>>() {
            if !self.can_join(gone, keep) {
                self.region_mut(gone).joins = None;
                continue;
            }
            let (a, b) = (self.region(gone), self.region(keep));
            let epoch = a.epoch.max(b.epoch);
            match (self.settled_owner(gone), self.settled_owner(keep)) {
                (Some(a), Some(b)) if a != b => self.region_mut(gone).joins = None,
                (Some(owner), Some(_)) if self.workers[&owner].seen >= epoch => {
                    self.join_now(gone, keep, outbox);
                }
                (None, None) if (&a.stand, &b.stand) == (&Stand::Unowned, &Stand::Unowned) => {
                    self.join_now(gone, keep, outbox);
                }
                _ => {}
            }
        }
    }
}
