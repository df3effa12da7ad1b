//! What must hold of authority: one owner at a time, no write that its owner did not know it might make, and whoever owns
//! something knows it.

use std::collections::{BTreeMap, BTreeSet};

use spatialdb_core::authority::issuer::Loads;
use spatialdb_core::authority::layers::Strategy;
use spatialdb_core::authority::leases::Lease;
use spatialdb_types::{ComponentId, EntityId, Epoch, LayerId, RegionId, Revision, SessionId};

use super::load::{by_square, square_of};
use super::{Authority, OWNED};
use crate::bug::Bug;
use crate::driver::Sim;
use crate::edge::{Column, Message};
use crate::judge::Failure;
use crate::values;

/// What the judges remember.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Since when an entity has had its owner.
    stints: BTreeMap<(EntityId, LayerId), Stint>,
    /// Entities that were ever seen.
    born: BTreeSet<EntityId>,
    /// What the sender of each write knew.
    known: BTreeMap<u32, Known>,
    /// The last write that was seen to be accepted.
    accepted: BTreeMap<(EntityId, ComponentId), u32>,
    looks: u64,
}

/// A time in which an entity belonged to one session.
#[derive(Clone, Copy, Debug)]
struct Stint {
    owner: Option<SessionId>,
    region: RegionId,
    /// It came by the entity's own doing: the owner was told of the entity after this.
    crossed: Option<Revision>,
    /// Who had it before, and in which look that was found to be over: a write may have been what ended it.
    before: Option<SessionId>,
    look: u64,
}

/// What partitions knew of the regions of entities on their way.
pub(crate) type Leases = BTreeMap<EntityId, Vec<(RegionId, Lease)>>;

/// Where what belongs to a player who is not there is.
const NOBODYS: (RegionId, Lease) = (RegionId(0), Lease { epoch: Epoch(0), owner: None });

/// What a session knew when it wrote.
#[derive(Clone, Debug)]
struct Known {
    session: SessionId,
    epoch: Epoch,
    gain: Option<Revision>,
}

pub(super) fn fail<T>(judge: &'static str, detail: String) -> Result<T, Failure> {
    Err(Failure { judge, detail })
}

impl Authority {
    /// Something of a region is under way.
    pub(super) fn is_busy(&self) -> bool {
        use spatialdb_core::authority::issuer::{Change, Phase};
        let is_under_way = |change: &Change| match change {
            Change::Region(region) => !matches!(region.phase, Phase::Owned | Phase::Unowned),
            _ => false,
        };
        self.issuer.keyframe().iter().any(is_under_way)
    }
}

impl Sim {
    /// A worker has sent what it may own.
    pub(crate) fn note_sent(&mut self, message: &Message) {
        let Some(authority) = &mut self.authority else { return };
        let worker = &authority.workers[&message.session];
        for column in &message.columns {
            let Column::Values(_, component, _, rows) = column else { continue };
            for (entity, value) in rows {
                let Some(stamp) = values::stamp_of(value) else { continue };
                let layers = authority.layers.all().filter(|(_, layer)| layer.writes.contains(component));
                let gain = layers.filter_map(|(layer, _)| worker.told_gains.get(&(*entity, layer))).max();
                let known = Known { session: message.session, epoch: worker.told_epoch, gain: gain.copied() };
                authority.watch.known.insert(stamp.number, known);
            }
        }
    }

    /// No region has two owners, in whatever partitions.
    ///
    /// # Errors
    /// If one has.
    pub(super) fn watch_leases(&self) -> Result<(), Failure> {
        let mut owners: BTreeMap<RegionId, SessionId> = BTreeMap::new();
        for partition in &self.partitions {
            for (region, lease) in partition.lease_table().map_or(&[][..], |table| table.leases()) {
                let Some(owner) = lease.owner else { continue };
                let other = *owners.entry(*region).or_insert(owner);
                if other != owner {
                    return fail(
                        "two owners",
                        format!("region {region} is owned by sessions {other} and {owner}"),
                    );
                }
            }
        }
        Ok(())
    }

    /// Something happened in a partition whose clock was `before`, if writes may have been applied: who owns what there now,
    /// and were they right?
    ///
    /// # Errors
    /// A write that should have been refused.
    pub(crate) fn watch_entities(&mut self, p: usize, before: Option<Revision>) -> Result<(), Failure> {
        self.watch_arrivals(p, before, &Leases::new())
    }

    /// The same, if entities came from another partition with what that knew.
    ///
    /// # Errors
    /// As [`Sim::watch_entities`].
    pub(crate) fn watch_arrivals(
        &mut self,
        p: usize,
        before: Option<Revision>,
        came_with: &Leases,
    ) -> Result<(), Failure> {
        let Some(authority) = &mut self.authority else { return Ok(()) };
        let partition = &self.partitions[p];
        let Some(table) = partition.lease_table() else { return Ok(()) };
        let watch = &mut authority.watch;
        watch.looks += 1;
        for &entity in self.model.entities.keys() {
            let Some((_, layers)) = partition.authority_of(entity) else { continue };
            let is_new = watch.born.insert(entity);
            for (layer, _) in authority.layers.all() {
                let key = (entity, layer);
                if !layers.contains(&layer) {
                    watch.stints.remove(&key);
                    continue;
                }
                // A partition that was restarted does not know, and accepts nothing.
                if !table.is_known() {
                    continue;
                }
                // Where a player is not there, nobody owns it.
                let away = || authority.layers.get(layer).is_client().then_some(NOBODYS);
                let Some((region, lease)) = partition.region_of(entity, layer).or_else(away) else {
                    continue;
                };
                let last = watch.stints.get(&key).copied();
                // It crossed where it came from, and its region has been granted since, or is part of another one by now.
                let was_granted = came_with.get(&entity).is_some_and(|known| {
                    !known.iter().any(|(id, known)| *id == region && known.epoch >= lease.epoch)
                });
                if last.is_some_and(|last| last.owner == lease.owner) && !was_granted {
                    let look = watch.looks;
                    watch.stints.entry(key).and_modify(|stint| {
                        // It crossed to another region of its owner: a write may have been what brought that to light.
                        if stint.region != region {
                            (stint.before, stint.look) = (stint.owner, look);
                        }
                        stint.region = region;
                    });
                    continue;
                }
                // Else the region has another owner, who was told of the grant.
                let has_crossed = last.map_or(!is_new, |last| last.region != region);
                let crossed = before.filter(|_| has_crossed && !was_granted);
                let (owner, before, look) = (lease.owner, last.and_then(|last| last.owner), watch.looks);
                watch.stints.insert(key, Stint { owner, region, crossed, before, look });
            }
            let Some(state) = partition.entity(entity) else { continue };
            for (component, _, value) in &state.values {
                if !OWNED.contains(component) {
                    continue;
                }
                let Some(stamp) = values::stamp_of(value) else { continue };
                if watch.accepted.insert((entity, *component), stamp.number) == Some(stamp.number)
                    || before.is_none()
                    || came_with.contains_key(&entity)
                {
                    continue;
                }
                let layer = layers.iter().find(|&&l| authority.layers.get(l).writes.contains(component));
                let Some(layer) = layer else { continue };
                let stint = watch.stints.get(&(entity, *layer)).copied();
                let lease = partition.region_of(entity, *layer).map(|(_, lease)| lease);
                let stint = stint.map(|stint| (stint, stint.look == watch.looks));
                match authority.holds.holder(entity, *component) {
                    Some((holder, _))
                        if watch.known.get(&stamp.number).is_some_and(|k| k.session == holder) => {}
                    Some((holder, false)) => {
                        let detail = format!(
                            "{component} of entity {entity} was written, and session {holder} holds it"
                        );
                        return fail("held", detail);
                    }
                    _ => judge_write(entity, stamp.number, &watch.known, stint, lease)?,
                }
            }
        }
        self.watch_holds(p)
    }

    /// At rest.
    ///
    /// # Errors
    /// What is not as it must be.
    pub(crate) fn judge_authority(&mut self) -> Result<(), Failure> {
        self.judge_memory()?;
        let Some(authority) = &self.authority else { return Ok(()) };
        let table = authority.issuer.table();
        let mut owners: BTreeMap<(EntityId, LayerId), Option<SessionId>> = BTreeMap::new();
        for partition in &mut self.partitions {
            let id = partition.id();
            let mut counted = Loads::default();
            partition.add_load_to(&mut counted);
            let (doublings, mut there) = (partition.load_doublings(), BTreeMap::new());
            let Some(known) = partition.lease_table() else {
                return fail("table", format!("partition {id} has none"));
            };
            if known.leases() != table.leases {
                let detail =
                    format!("partition {id} knows {:?}, the issuer {:?}", known.leases(), table.leases);
                return fail("table", detail);
            }
            for &entity in self.model.entities.keys() {
                let Some((at, layers)) = partition.authority_of(entity) else { continue };
                for layer in layers {
                    if !authority.layers.get(layer).is_client() {
                        let square = at.map(|at| square_of(at, self.plan.cell_m, doublings));
                        *there.entry((layer, square)).or_default() += 1;
                    }
                    let region = partition.region_of(entity, layer);
                    owners.insert((entity, layer), region.and_then(|(_, lease)| lease.owner));
                }
            }
            let counted = by_square(counted);
            if counted != there {
                return fail("load", format!("partition {id} counts {counted:?}, there are {there:?}"));
            }
        }
        for (&(entity, layer), &owner) in &owners {
            for (&session, worker) in &authority.workers {
                let (owns, believes) = (owner == Some(session), worker.owns(entity, layer));
                if owns != believes {
                    let detail = format!(
                        "session {session} owns entity {entity} in layer {layer}: {owns}, and believes: {believes}"
                    );
                    return fail("belief", detail);
                }
            }
        }
        let gone = |(entity, layer): &&(EntityId, LayerId)| !owners.contains_key(&(*entity, *layer));
        for (session, worker) in &authority.workers {
            let stale = worker.entities.keys().filter(|(entity, layer)| worker.owns(*entity, *layer));
            if let Some((entity, layer)) = { stale }.find(gone) {
                return fail(
                    "belief",
                    format!("session {session} owns what is gone: entity {entity}, layer {layer}"),
                );
            }
        }
        self.judge_groups()?;
        self.judge_players()?;
        self.judge_holds()?;
        self.judge_work()
    }

    /// Nothing is without an owner that somebody could have.
    fn judge_work(&self) -> Result<(), Failure> {
        use spatialdb_core::authority::issuer::Change;
        let Some(authority) = &self.authority else { return Ok(()) };
        let state = authority.issuer.keyframe();
        let regions =
            || state.iter().filter_map(|change| if let Change::Region(r) = change { Some(r) } else { None });
        for change in &state {
            let Change::Worker(worker) = change else { continue };
            let owned = regions().filter(|region| region.lease.owner == Some(worker.session)).count();
            if worker.is_silent || worker.is_draining || owned as u32 >= worker.regions_max {
                continue;
            }
            let is_its = |layer: LayerId| {
                let layer = authority.layers.get(layer);
                !layer.is_client() && layer.worker_type == worker.worker_type
            };
            // Who has one region of such a layer is to have all, though it may not take so many.
            let is_taken = |layer: LayerId| {
                authority.layers.get(layer).strategy == Strategy::Single
                    && regions().any(|region| region.layer == layer && region.lease.owner.is_some())
            };
            let is_free = |layer: LayerId| is_its(layer) && !is_taken(layer);
            if let Some(region) = regions().find(|r| is_free(r.layer) && r.lease.owner.is_none()) {
                let (region, session) = (region.region, worker.session);
                return fail(
                    "work",
                    format!("region {region} has no owner, session {session} could take it"),
                );
            }
        }
        Ok(())
    }

    /// A world that begins again with what is remembered has the same regions, which are nobody's.
    fn judge_memory(&mut self) -> Result<(), Failure> {
        let Some(authority) = &self.authority else { return Ok(()) };
        let mut memory = authority.issuer.memory();
        if self.bugs.hits(Bug::LoseShape) {
            memory.shapes.pop();
        }
        let mut again = authority.begun.clone();
        again.remember(&memory, 0);
        let (was, is) = (authority.issuer.table(), again.table());
        if (&was.tilings, &was.nowhere) != (&is.tilings, &is.nowhere) {
            return fail("memory", format!("{:?} would begin again as {:?}", was.tilings, is.tilings));
        }
        for (region, lease) in &is.leases {
            if lease.owner.is_some()
                || !was.leases.iter().any(|(id, was)| id == region && was.epoch == lease.epoch)
            {
                return fail("memory", format!("region {region} would begin again with {lease:?}"));
            }
        }
        if again.memory() != memory {
            return fail("memory", format!("{memory:?} becomes {:?}", again.memory()));
        }
        Ok(())
    }

    /// At rest every owner may write what it owns: nothing of that is refused.
    ///
    /// # Errors
    /// If something is.
    pub(crate) fn probe_authority(&mut self) -> Result<(), Failure> {
        let Some(authority) = &self.authority else { return Ok(()) };
        let sessions: Vec<SessionId> = authority.workers.keys().copied().collect();
        let mut sent = Vec::new();
        for session in sessions {
            if self.write_owned(session, true)
                && let Some(actor) = self.actors.iter().find(|actor| actor.id == session)
            {
                sent.push((session, actor.seq));
            }
        }
        self.rest()?;
        for (session, seq) in sent {
            let Some(actor) = self.actors.iter().find(|actor| actor.id == session) else { continue };
            if let Some(refused) = actor.replica.rejections.iter().find(|rejection| rejection.seq == seq) {
                return fail("refused owner", format!("session {session}: {refused:?}"));
            }
        }
        Ok(())
    }
}

fn judge_write(
    entity: EntityId,
    stamp: u32,
    known: &BTreeMap<u32, Known>,
    stint: Option<(Stint, bool)>,
    lease: Option<Lease>,
) -> Result<(), Failure> {
    let Some(Known { session, epoch, gain }) = known.get(&stamp) else {
        return fail("write", format!("write {stamp} of entity {entity} was never sent"));
    };
    let (Some((stint, is_new)), Some(lease)) = (stint, lease) else {
        return fail(
            "write",
            format!("write {stamp} of entity {entity} was accepted, which is in no region"),
        );
    };
    if is_new && stint.before == Some(*session) {
        return Ok(());
    }
    if lease.owner != Some(*session) {
        let owner = lease.owner;
        return fail("not owner", format!("session {session} wrote entity {entity}, owned by {owner:?}"));
    }
    if lease.epoch > *epoch {
        let detail =
            format!("session {session} wrote entity {entity} of epoch {}, had seen {epoch}", lease.epoch);
        return fail("stale epoch", detail);
    }
    if let Some(crossed) = stint.crossed
        && gain.is_none_or(|gain| gain <= crossed)
    {
        let detail = format!(
            "session {session} wrote entity {entity} that it gained after clock {crossed}, had seen {gain:?}"
        );
        return fail("stale gain", detail);
    }
    Ok(())
}
