//! Tools that take hold of what others own.

use spatialdb_core::{HoldAct, HoldWrites, Op};
use spatialdb_proto::v1;
use spatialdb_types::{ComponentId, EntityId, Epoch, Error, Reason, Seq};

use super::Intake;

impl Intake {
    /// The issuer gives the hold, which goes to its entity as a write does. Told before that.
    ///
    /// # Errors
    /// What is wrong with it; then nothing has happened.
    pub(in crate::server::session) fn take_hold(
        &self,
        seq: Seq,
        take: &v1::TakeHold,
        tell: impl FnOnce(v1::HoldTaken),
    ) -> Result<(), Error> {
        let (entity, component) = (EntityId(take.entity), ComponentId(take.component));
        if !entity.is_valid() {
            let detail = format!("entity {entity}: ids are above 0 and below 2^53");
            return Err(Error::new(Reason::EntityIdInvalid, detail));
        }
        self.known(component)?;
        let max = self.edge.limits.hold_ms_max;
        if take.for_ms == 0 || u64::from(take.for_ms) > max {
            let detail = format!("for_ms = {}: a hold lasts from 1 to hold_ms_max = {max}", take.for_ms);
            return Err(Error::new(Reason::LimitReached, detail));
        }
        let time = u64::from(take.for_ms) * 1000;
        let given = self
            .edge
            .authority
            .act(&self.edge, |issuer, now, _| issuer.hold(entity, component, self.session, time, now));
        let open = || Error::new(Reason::RegionNotFound, "the world is open: nobody owns what could be held");
        let hold = given.ok_or_else(open)??;
        tell(v1::HoldTaken { seq: seq.0, epoch: hold.epoch.0, until_us: hold.until as i64 });
        let gate = self.edge.routes.enter();
        let mut parts = self.parts(seq);
        parts.expect_columns(1);
        let to = self.route(entity, &mut parts);
        let mut holds = HoldWrites::new(0);
        holds.push(0, entity, component, HoldAct::Take(hold));
        parts.add_op(to, Op::Holds(holds));
        self.send(seq, parts);
        drop(gate);
        Ok(())
    }

    /// The session lets go of what it holds.
    pub(in crate::server::session) fn end_hold(&self, seq: Seq, epoch: Epoch) {
        self.edge.authority.act(&self.edge, |issuer, _, outbox| issuer.let_go(self.session, epoch, outbox));
        self.edge.authority.send_releases(&self.edge);
        self.decided(seq);
    }
}
