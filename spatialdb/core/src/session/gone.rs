//! Grants that a session has lost, against older news of what belonged to them.
//!
//! The issuer tells of a loss, partitions of entities, and neither waits for the other. What a partition said under a grant
//! must not come to the worker after it has lost that: if it gets the region again, it would believe to own what has gone
//! elsewhere meanwhile, of which nobody tells it.

use std::collections::BTreeMap;

use spatialdb_types::{Epoch, RegionId};

/// From so many on partitions that say nothing are asked.
const MANY: usize = 256;

/// The last losses are remembered whatever partitions have said since: what they are told of a revocation comes to them on another
/// way than what they are asked, and perhaps later.
const KEPT: u64 = 128;

/// What was lost and may still be spoken of.
#[derive(Debug, Default)]
pub(super) struct Gone {
    regions: BTreeMap<RegionId, Loss>,
    /// How many losses there were.
    losses: u64,
}

#[derive(Clone, Copy, Debug)]
struct Loss {
    /// Up to which grant.
    epoch: Epoch,
    /// The flush that was last asked for then: a later one may clear it.
    flush: u64,
    /// The how-manieth it was.
    number: u64,
}

impl Gone {
    /// The grants of a region up to that one are over.
    pub(super) fn lose(&mut self, region: RegionId, epoch: Epoch, flush: u64) {
        self.losses += 1;
        self.regions.insert(region, Loss { epoch, flush, number: self.losses });
    }

    /// Whether a grant is over.
    pub(super) fn includes(&self, region: RegionId, epoch: Epoch) -> bool {
        self.regions.get(&region).is_some_and(|lost| epoch <= lost.epoch)
    }

    /// Whether partitions are to be asked for a flush.
    pub(super) fn are_many(&self) -> bool {
        self.regions.len() >= MANY
    }

    /// Every partition has answered the flush of that token: it has said all that it had to say before.
    pub(super) fn flushed(&mut self, token: u64) {
        let is_recent = |loss: &Loss| loss.number + KEPT > self.losses;
        self.regions.retain(|_, loss| loss.flush >= token || is_recent(loss));
    }
}

#[cfg(test)]
mod tests {
    use spatialdb_types::{Box3, EntityId, LayerId, Limits, PartitionId, Revision, SessionId};

    use super::*;
    use crate::AuthorityBody;
    use crate::authority::issuer::{LeaseInfo, LossReason, Notice};
    use crate::message::{AuthorityDelta, EntityAuthority, ToSession, Word};
    use crate::session::Session;

    fn gain(session: &mut Session, entity: u64, epoch: u64, clock: u64) {
        let (layer, region, clock) = (LayerId(0), RegionId(1), Revision(clock));
        let word = EntityAuthority {
            entity: EntityId(entity),
            layer,
            region,
            epoch: Epoch(epoch),
            word: Word::Gained,
            clock,
        };
        let delta =
            AuthorityDelta { clock, is_shown: true, changes: vec![word], ..AuthorityDelta::default() };
        let message = ToSession { authority: Some(Box::new(delta)), ..ToSession::default() };
        session.receive(PartitionId(0), message);
    }

    fn grant(session: &mut Session, epoch: u64) {
        let (region, layer, epoch, area) = (RegionId(1), LayerId(0), Epoch(epoch), Box3::EVERYWHERE);
        let lease = LeaseInfo { region, layer, space: None, player: None, area, epoch, borders: Vec::new() };
        session.notice(Notice::Gained(lease));
    }

    /// The entities that come next.
    fn told(session: &mut Session) -> Vec<(u64, bool)> {
        let mut told = Vec::new();
        while let Some(message) = session.take_authority() {
            if let AuthorityBody::Entities(words) = message.body {
                told.extend(words.iter().map(|word| (word.entity.0, word.is_gain())));
            }
        }
        told
    }

    #[test]
    fn what_came_under_a_grant_is_not_told_once_that_is_lost() {
        let mut session = Session::new(SessionId(1), 2, Limits::default());
        grant(&mut session, 5);
        gain(&mut session, 7, 5, 10);
        assert_eq!(told(&mut session), [(7, true)]);
        session.notice(Notice::Lost(RegionId(1), Epoch(5), LossReason::HandedOver));
        // Said before the partition heard of the loss.
        gain(&mut session, 8, 5, 11);
        assert_eq!(told(&mut session), []);
        grant(&mut session, 9);
        gain(&mut session, 9, 5, 12);
        gain(&mut session, 10, 9, 13);
        assert_eq!(told(&mut session), [(10, true)]);
    }

    #[test]
    fn it_is_forgotten_once_nothing_older_can_come() {
        let mut gone = Gone::default();
        (0..MANY as u64).for_each(|region| gone.lose(RegionId(region), Epoch(region), 3));
        assert!(
            gone.are_many() && gone.includes(RegionId(7), Epoch(7)) && !gone.includes(RegionId(7), Epoch(8))
        );
        gone.flushed(3);
        assert!(gone.are_many(), "it was asked for before");
        gone.lose(RegionId(7), Epoch(300), 4);
        gone.flushed(4);
        assert!(!gone.are_many() && gone.includes(RegionId(7), Epoch(300)));
        assert!(!gone.includes(RegionId(8), Epoch(0)));
    }
}
