//! What follows by itself: regions without an owner find one, draining workers get rid of theirs, and what is to be joined
//! is joined.

use spatialdb_types::{RegionId, SessionId};

use super::burdens::Burdens;
use super::{Issuer, IssuerOutbox, Notice, Region, Stand};

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

    /// Finds owners for regions that have become free; for all without one when a worker may take more than before.
    fn assign(&mut self, outbox: &mut IssuerOutbox) {
        let mut free = std::mem::take(&mut self.freed);
        if std::mem::take(&mut self.is_room) {
            let unowned = self.regions.iter().filter(|(_, state)| state.stand == Stand::Unowned);
            free.extend(unowned.map(|(id, _)| *id));
        }
        let mut promised = Vec::new();
        for region in free {
            match self.regions.get(&region).map(|state| &state.stand) {
                Some(Stand::Unowned) => promised.push((region, None)),
                Some(Stand::Revoking { next, waits }) if waits.is_empty() => {
                    promised.push((region, *next));
                    self.region_mut(region).stand = Stand::Unowned;
                }
                _ => {}
            }
        }
        let mut burdens = if promised.is_empty() { Burdens::default() } else { self.burdens() };
        for (region, next) in promised {
            let promised = next.filter(|&next| self.may_get(next, region, &burdens));
            let owner = promised.or_else(|| self.choose(region, None, &burdens));
            if let Some(next) = next.filter(|_| owner != next) {
                outbox.sessions.push((next, Notice::Cool(region)));
            }
            if owner.is_none() && self.end_player(region, outbox) {
                continue;
            }
            if let Some(owner) = owner {
                self.grant(region, owner, outbox);
                self.add_burden(region, owner, &mut burdens);
            }
        }
    }

    /// Starts to hand over what should not stay where it is.
    fn relocate(&mut self, outbox: &mut IssuerOutbox) {
        let misplaced = self.regions.iter().filter(|(_, state)| self.is_misplaced(state)).map(|(id, _)| *id);
        let misplaced: Vec<_> = misplaced.collect();
        let mut burdens = if misplaced.is_empty() { Burdens::default() } else { self.burdens() };
        for region in misplaced {
            let Some(owner) = self.settled_owner(region) else { continue };
            if let Some(to) = self.choose(region, Some(owner), &burdens) {
                self.hand_over(region, to, outbox);
                self.add_burden(region, to, &mut burdens);
            }
        }
    }

    /// Whether the owner of a region has to go, or is not the one that it is pinned to.
    fn is_misplaced(&self, state: &Region) -> bool {
        let Stand::Owned { owner, handover: None } = state.stand else { return false };
        self.workers[&owner].is_draining || !self.fits(state, owner)
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
