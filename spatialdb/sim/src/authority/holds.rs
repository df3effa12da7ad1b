//! Tools that take hold of what others own, and the judge of that.

use std::collections::{BTreeMap, BTreeSet};

use spatialdb_core::authority::leases::Hold;
use spatialdb_core::{Batch, HoldAct, HoldWrites, Micros, Op, Role};
use spatialdb_types::{ComponentId, EntityId, Epoch, Seq, SessionId};

use super::judge::fail;
use crate::bug::Bug;
use crate::driver::Sim;
use crate::judge::Failure;

/// What is known of holds.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// As partitions had them when they were last looked at.
    held: BTreeMap<(EntityId, ComponentId), Hold>,
    /// The issuer has said that these are over.
    released: BTreeSet<Epoch>,
    /// Of what the last one of them was that: those before had been replaced.
    last_released: BTreeMap<(EntityId, ComponentId), Epoch>,
}

impl Holds {
    /// Who may write a component whoever owns it, and whether that has ended meanwhile.
    pub(super) fn holder(&self, entity: EntityId, component: ComponentId) -> Option<(SessionId, bool)> {
        let hold = self.held.get(&(entity, component))?;
        Some((hold.by, self.released.contains(&hold.epoch)))
    }
}

impl Sim {
    /// A session takes hold of something for some time.
    pub(super) fn tool_holds(&mut self) -> bool {
        let Some(authority) = &mut self.authority else { return false };
        let actors: Vec<usize> =
            self.actors.iter().enumerate().filter(|(_, actor)| actor.live).map(|(a, _)| a).collect();
        let entities: Vec<EntityId> = self.model.entities.keys().copied().collect();
        if actors.is_empty() || entities.is_empty() {
            return false;
        }
        let (owned, rng) = (authority.owned(), &mut authority.rng);
        let (a, entity, component) = (*rng.pick(&actors), *rng.pick(&entities), *rng.pick(owned));
        let time: Micros = rng.between(1, 2_000_000);
        let to = self.edge.target(entity, &mut self.bugs);
        if self.actors[a].pending.is_some() || !self.partitions[usize::from(to.0)].accepts_work() {
            return false;
        }
        let session = self.actors[a].id;
        let Ok(hold) = authority.issuer.hold(entity, component, session, time, self.now) else {
            return false;
        };
        self.say(|| format!("session {session} takes hold of {component} of {entity}: {hold:?}"));
        let seq = Seq(self.actors[a].seq.0 + 1);
        self.actors[a].seq = seq;
        self.actors[a].session.received(seq, 1);
        let batch =
            Batch { ops: vec![op(entity, component, HoldAct::Take(hold))], ..Batch::new(session, seq) };
        self.send_batch(to, batch);
        true
    }

    /// Holds that are over are to end where their entities are.
    pub(super) fn send_releases(&mut self) {
        let Some(authority) = &mut self.authority else { return };
        let releases = std::mem::take(&mut authority.releases);
        authority.holds.released.extend(releases.iter().map(|(.., epoch)| *epoch));
        for (entity, component, epoch) in &releases {
            let last = authority.holds.last_released.entry((*entity, *component)).or_default();
            *last = (*last).max(*epoch);
        }
        for (entity, component, epoch) in releases {
            if self.bugs.hits(Bug::LoseRelease) {
                continue;
            }
            let to = self.edge.target(entity, &mut self.bugs);
            let ops = vec![op(entity, component, HoldAct::Release(epoch))];
            self.send_batch(to, Batch { ops, role: Role::Server, ..Batch::new(SessionId(0), Seq(0)) });
        }
    }

    /// Something happened in a partition: no hold is gone that is not over.
    ///
    /// # Errors
    /// If one is.
    pub(super) fn watch_holds(&mut self, p: usize) -> Result<(), Failure> {
        let Some(authority) = &mut self.authority else { return Ok(()) };
        let partition = &self.partitions[p];
        let Some(table) = partition.lease_table() else { return Ok(()) };
        let Holds { held, last_released, .. } = &mut authority.holds;
        let mut lost = None;
        held.retain(|(entity, component), hold| {
            if partition.authority_of(*entity).is_none() {
                return self.model.entities.contains_key(entity);
            }
            let is_there =
                table.holds_of(*entity).any(|(of, now)| of == *component && now.epoch >= hold.epoch);
            // It may have been replaced by one that is over, since it was looked at last.
            let is_over = last_released.get(&(*entity, *component)).is_some_and(|last| *last >= hold.epoch);
            if !is_there && !is_over {
                lost = Some((*entity, *component, *hold));
            }
            is_there
        });
        held.extend(table.holds().map(|(entity, component, hold)| ((entity, component), hold)));
        match lost {
            Some((entity, component, hold)) => fail(
                "hold",
                format!("component {component} of entity {entity} is not held any more: {hold:?}"),
            ),
            None => Ok(()),
        }
    }

    /// At rest nothing is held that is over, and owners know of the rest.
    ///
    /// # Errors
    /// What is held although it is over, or whose owner does not know.
    pub(super) fn judge_holds(&self) -> Result<(), Failure> {
        let Some(authority) = &self.authority else { return Ok(()) };
        for partition in &self.partitions {
            let Some(table) = partition.lease_table() else { continue };
            for (entity, component, hold) in table.holds() {
                if authority.holds.released.contains(&hold.epoch) {
                    return fail(
                        "hold",
                        format!("component {component} of entity {entity} is held: {hold:?}"),
                    );
                }
                let Some((_, layers)) = partition.authority_of(entity) else { continue };
                let layer = layers.into_iter().find(|&l| authority.layers.get(l).writes.contains(&component));
                let region = layer.and_then(|layer| partition.region_of(entity, layer));
                let owner = region.and_then(|(_, lease)| lease.owner);
                let worker =
                    owner.filter(|owner| *owner != hold.by).map(|owner| (owner, &authority.workers[&owner]));
                if let Some((owner, worker)) = worker
                    && worker.held.get(&(entity, component)) != Some(&hold)
                {
                    let detail =
                        format!("session {owner} does not know of {component} of {entity}: {hold:?}");
                    return fail("hold", detail);
                }
            }
        }
        Ok(())
    }
}

fn op(entity: EntityId, component: ComponentId, act: HoldAct) -> Op {
    let mut holds = HoldWrites::new(0);
    holds.push(0, entity, component, act);
    Op::Holds(holds)
}
