//! Flips: revoke, answers, grant, answers, told.

use spatialdb_types::{Epoch, PartitionId, RegionId, SessionId};

use super::{Issuer, IssuerOutbox, LossReason, Notice, Past, Stand};
use crate::Micros;
use crate::authority::leases::{Answer, Order};

impl Issuer {
    /// A partition answers an order.
    pub fn answer(&mut self, partition: PartitionId, answer: Answer, now: Micros, outbox: &mut IssuerOutbox) {
        self.clock(now);
        match answer {
            Answer::Revoked(region, epoch) => self.revoked(partition, region, epoch),
            Answer::Granted(region, epoch) => self.granted(partition, region, epoch, outbox),
            Answer::Complete(number) => self.completed(partition, number, outbox),
            // It matters to those who measure.
            Answer::Written(..) => return,
        }
        self.settle(outbox);
    }

    /// The table that the partition has taken says all that it still owed an answer for when the table was made.
    fn completed(&mut self, partition: PartitionId, number: u64, outbox: &mut IssuerOutbox) {
        // An older one may have been forgotten again since.
        if self.resets.get(&partition).is_none_or(|(last, _)| *last != number) {
            return;
        }
        let Some((_, owed)) = self.resets.remove(&partition) else { return };
        for (region, lease) in owed {
            match lease.owner {
                None => self.revoked(partition, region, lease.epoch),
                Some(_) => self.granted(partition, region, lease.epoch, outbox),
            }
        }
    }

    fn revoked(&mut self, partition: PartitionId, region: RegionId, epoch: Epoch) {
        let Some(state) = self.regions.get_mut(&region).filter(|state| state.epoch == epoch) else { return };
        let Stand::Revoking { waits, .. } = &mut state.stand else { return };
        waits.remove(&partition);
        if waits.is_empty() {
            self.freed.insert(region);
            self.is_restless = true;
        }
    }

    fn granted(&mut self, partition: PartitionId, region: RegionId, epoch: Epoch, outbox: &mut IssuerOutbox) {
        let Some(state) = self.regions.get_mut(&region).filter(|state| state.epoch == epoch) else { return };
        let Stand::Granting { owner, waits } = &mut state.stand else { return };
        waits.remove(&partition);
        if !waits.is_empty() {
            return;
        }
        let owner = *owner;
        self.region_mut(region).stand = Stand::Owned { owner, handover: None };
        self.tell_gains(owner, outbox);
    }

    /// Nobody may write the region any longer. When all partitions have said so, `next` gets it, or whoever can.
    pub(super) fn revoke(
        &mut self,
        region: RegionId,
        next: Option<SessionId>,
        why: LossReason,
        outbox: &mut IssuerOutbox,
    ) {
        let state = self.region(region);
        let (owner, epoch) = (state.owner().expect("what is revoked was granted"), state.epoch);
        let waits = self.partitions.clone();
        self.is_room = true;
        outbox.partitions.extend(waits.iter().map(|partition| (*partition, Order::Revoke(region, epoch))));
        let name = self.workers.get(&owner).map(|worker| worker.info.name.clone()).unwrap_or_default();
        let (now, past) = (self.now, Past { session: owner, name, why });
        let state = self.region_mut(region);
        (state.changed_at, state.before) = (now, Some(past));
        state.stand = Stand::Revoking { next, waits };
        self.note_neighbours(region);
        // Who was not told that it gained the region need not be told that it lost it.
        let worker = self.workers.get_mut(&owner);
        let was_told = worker.is_none_or(|worker| !worker.untold.remove(&(epoch, region)));
        if was_told {
            outbox.sessions.push((owner, Notice::Lost(region, epoch, why)));
        }
        self.tell_gains(owner, outbox);
    }

    /// Partitions are to accept the session's writes in a region that nobody owns.
    pub(super) fn grant(&mut self, region: RegionId, owner: SessionId, outbox: &mut IssuerOutbox) {
        assert_eq!(
            self.region(region).stand,
            Stand::Unowned,
            "region {region} is granted while it has an owner"
        );
        let (epoch, now, waits) = (self.next_epoch(), self.now, self.partitions.clone());
        outbox
            .partitions
            .extend(waits.iter().map(|partition| (*partition, Order::Grant(region, epoch, owner))));
        self.promises.keep(region);
        let state = self.region_mut(region);
        (state.epoch, state.changed_at) = (epoch, now);
        state.stand = Stand::Granting { owner, waits };
        self.note_neighbours(region);
        if let Some(worker) = self.workers.get_mut(&owner) {
            worker.untold.insert((epoch, region));
        }
    }

    /// Tells a session of regions that it owns in every partition, in the order of epochs: so what it says of the last one
    /// holds of all before.
    fn tell_gains(&mut self, session: SessionId, outbox: &mut IssuerOutbox) {
        while let Some(&(epoch, region)) = self.workers.get(&session).and_then(|worker| worker.untold.first())
        {
            if matches!(self.region(region).stand, Stand::Granting { .. }) {
                return;
            }
            if let Some(worker) = self.workers.get_mut(&session) {
                worker.untold.remove(&(epoch, region));
            }
            outbox.sessions.push((session, Notice::Gained(self.lease_info(region))));
        }
    }
}
