//! Holds: a tool keeps one component of one entity to itself for a while.
//!
//! The issuer gives the epoch and says when it is over. Both travel to the entity like writes do, so a move cannot lose
//! them.

use spatialdb_types::{ComponentId, EntityId, Epoch, Error, Reason, SessionId};

use super::{Issuer, IssuerOutbox};
use crate::Micros;
use crate::authority::leases::Hold;

/// What is held, by whom, until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Held {
    entity: EntityId,
    component: ComponentId,
    by: SessionId,
    until: Micros,
}

impl Issuer {
    /// A session takes hold of a component of an entity. A later hold of the same replaces it.
    ///
    /// # Errors
    /// [`Reason::LimitReached`]: `holds_max`.
    pub fn hold(
        &mut self,
        entity: EntityId,
        component: ComponentId,
        by: SessionId,
        time: Micros,
        now: Micros,
    ) -> Result<Hold, Error> {
        self.clock(now);
        if self.holds.len() as u64 >= self.holds_max {
            let detail = format!("there are holds_max = {} holds of components already", self.holds_max);
            return Err(Error::new(Reason::LimitReached, detail));
        }
        let epoch = self.next_epoch();
        let until = self.now.saturating_add(time);
        self.holds.insert(epoch, Held { entity, component, by, until });
        Ok(Hold { epoch, by, until })
    }

    /// The session lets go before the time.
    pub fn let_go(&mut self, by: SessionId, epoch: Epoch, outbox: &mut IssuerOutbox) {
        if self.holds.get(&epoch).is_some_and(|held| held.by == by) {
            self.release(|of, _| of == epoch, outbox);
        }
    }

    /// Holds whose time is over.
    pub(super) fn release_late(&mut self, outbox: &mut IssuerOutbox) {
        let now = self.now;
        self.release(|_, held| held.until <= now, outbox);
    }

    /// Holds of a session that is over.
    pub fn release_all(&mut self, by: SessionId, outbox: &mut IssuerOutbox) {
        self.release(|_, held| held.by == by, outbox);
    }

    /// When the next hold is over.
    pub(super) fn next_release(&self) -> Option<Micros> {
        self.holds.values().map(|held| held.until).min()
    }

    fn release(&mut self, is_over: impl Fn(Epoch, &Held) -> bool, outbox: &mut IssuerOutbox) {
        self.holds.retain(|&epoch, held| {
            let is_over = is_over(epoch, held);
            outbox.releases.extend(is_over.then_some((held.entity, held.component, epoch)));
            !is_over
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ANN, BOB, R1, Rig, SECOND, placed};
    use super::*;

    const E: EntityId = EntityId(7);
    const HP: ComponentId = ComponentId(1000);

    #[test]
    fn a_hold_ends_with_its_time_its_session_or_when_it_is_let_go() {
        let mut rig = Rig::new(vec![placed("l")]);
        rig.attach(ANN);
        let first = rig.issuer.hold(E, HP, BOB, SECOND, 0).expect("held");
        assert!(first.epoch > rig.issuer.region(R1).epoch, "an epoch of its own");
        let second = rig.issuer.hold(EntityId(8), HP, BOB, 10 * SECOND, 0).expect("held");
        let third = rig.issuer.hold(EntityId(9), HP, BOB, 10 * SECOND, 0).expect("held");
        assert_eq!(rig.issuer.next_due(), Some(SECOND));
        rig.issuer.tick(SECOND, &mut rig.outbox);
        assert_eq!(rig.outbox.releases, [(E, HP, first.epoch)]);
        rig.issuer.let_go(ANN, second.epoch, &mut rig.outbox);
        assert_eq!(rig.outbox.releases.len(), 1, "it is not hers");
        rig.issuer.let_go(BOB, second.epoch, &mut rig.outbox);
        rig.issuer.detach(BOB, SECOND, &mut rig.outbox);
        let rest = [(EntityId(8), HP, second.epoch), (EntityId(9), HP, third.epoch)];
        assert_eq!(rig.outbox.releases[1..], rest);
    }

    #[test]
    fn there_is_a_bound() {
        let mut rig = Rig::new(vec![placed("l")]);
        let mut hold = || rig.issuer.hold(E, HP, BOB, SECOND, 0);
        let max = spatialdb_types::Limits::default().holds_max;
        assert!((0..max).all(|_| hold().is_ok()));
        let error = hold().expect_err("one too many");
        assert!(error.reason == Reason::LimitReached && error.detail.contains("holds_max = 4096"), "{error}");
    }
}
