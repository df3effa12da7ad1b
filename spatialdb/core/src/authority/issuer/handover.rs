//! Hand-overs: the new owner gets warm, the old one flushes, then the region flips.

use spatialdb_types::{Epoch, RegionId, SessionId};

use super::{Handover, Issuer, IssuerOutbox, LossReason, Notice, Stand};
use crate::Micros;

impl Issuer {
    /// The session sees a region that it may get, and around it.
    pub fn warmed(&mut self, session: SessionId, region: RegionId, now: Micros, outbox: &mut IssuerOutbox) {
        self.clock(now);
        let handover = self.regions.get(&region).and_then(super::Region::handover);
        if handover.is_some_and(|handover| handover.to == session && !handover.is_warm) {
            self.announce_loss(region, outbox);
        }
        self.settle(outbox);
    }

    /// The session has written what it had of a region that it is about to lose, and all of that is decided.
    pub fn flushed(
        &mut self,
        session: SessionId,
        region: RegionId,
        epoch: Epoch,
        now: Micros,
        outbox: &mut IssuerOutbox,
    ) {
        self.clock(now);
        let state = self.regions.get(&region).filter(|state| state.epoch == epoch);
        let state = state.filter(|state| state.owner() == Some(session));
        if let Some(to) = state.and_then(super::Region::handover).filter(|h| h.is_warm).map(|h| h.to) {
            self.revoke(region, Some(to), LossReason::HandedOver, outbox);
        }
        self.settle(outbox);
    }

    /// Starts to hand a settled region over.
    pub(super) fn hand_over(&mut self, region: RegionId, to: SessionId, outbox: &mut IssuerOutbox) {
        let deadline = self.handover_deadline(region);
        let state = self.region_mut(region);
        let Stand::Owned { owner, handover } = &mut state.stand else { return };
        assert_ne!(*owner, to, "region {region} is handed to its owner");
        *handover = Some(Handover { to, is_warm: false, deadline });
        let info = self.lease_info(region);
        outbox.sessions.push((to, Notice::Warm(info)));
    }

    /// The owner keeps it after all.
    pub(super) fn call_off(&mut self, region: RegionId, outbox: &mut IssuerOutbox) {
        self.is_room = true;
        let state = self.region_mut(region);
        state.joins = None;
        let epoch = state.epoch;
        let Stand::Owned { owner, handover } = &mut state.stand else { return };
        let (owner, Some(handover)) = (*owner, handover.take()) else { return };
        outbox.sessions.push((handover.to, Notice::Cool(region)));
        if handover.is_warm {
            outbox.sessions.push((owner, Notice::Kept(region, epoch)));
        }
    }

    /// What waited too long goes on: a new owner that is not warm is given up, an old one that did not flush loses it.
    pub(super) fn hurry_handovers(&mut self, outbox: &mut IssuerOutbox) {
        let late = |handover: &Handover| handover.deadline <= self.now;
        let late =
            self.regions.iter().filter_map(|(id, region)| Some((*id, region.handover().filter(late)?)));
        let late: Vec<_> = late.collect();
        for (region, handover) in late {
            let owner = self.region(region).owner();
            let is_draining = owner.is_some_and(|owner| self.workers[&owner].is_draining);
            match (handover.is_warm, is_draining) {
                (true, _) => self.revoke(region, Some(handover.to), LossReason::HandedOver, outbox),
                // Who is about to end cannot keep it.
                (false, true) => self.announce_loss(region, outbox),
                (false, false) => self.call_off(region, outbox),
            }
        }
    }

    fn announce_loss(&mut self, region: RegionId, outbox: &mut IssuerOutbox) {
        let until = self.handover_deadline(region);
        let state = self.region_mut(region);
        let epoch = state.epoch;
        let Stand::Owned { owner, handover: Some(handover) } = &mut state.stand else { return };
        (handover.is_warm, handover.deadline) = (true, until);
        outbox.sessions.push((*owner, Notice::LossImminent(region, epoch, until)));
    }

    fn handover_deadline(&self, region: RegionId) -> Micros {
        self.now + self.layers.get(self.region(region).layer).handover_timeout
    }
}
