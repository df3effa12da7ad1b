//! Entities that follow others: they belong to the regions of their leader, wherever they lie.
//!
//! Followers may lie in another partition than their leader. A partition with followers asks all others; from then on
//! whichever has the leader says where that belongs, whenever it changes. Of what two partitions say the one with the
//! higher clock counts: clocks rise along the way of an entity. If something older comes it may still be right, since an
//! id can be used anew, so it is asked again.
//!
//! Responsible for: whom entities here follow, and to which regions that brings them. Not responsible for: what a change of
//! region means to owners (`authority::leases`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use spatialdb_types::{ComponentId, EntityId, LayerId, PartitionId, RegionId, Revision};

use super::Authority;
use crate::authority::leases::Order;
use crate::message::{FollowWords, Lead, Outbox, PeerBody};
use crate::partition::{Partition, RowId, Store};
use crate::wire::{self, Field};

/// The regions of a leader, by rising layer.
pub(super) type Regions = Arc<[(LayerId, RegionId)]>;

/// Who follows whom, as far as that concerns a partition. Bounded by the entities with Follows.
#[derive(Debug, Default)]
pub(super) struct Follows {
    /// Whom entities here follow.
    leaders: BTreeMap<EntityId, EntityId>,
    /// By leader: who follows it here.
    groups: BTreeMap<EntityId, Group>,
    /// By leader: partitions with followers of it, beside this one.
    asked: BTreeMap<EntityId, BTreeSet<PartitionId>>,
    /// What was last said of leaders that are here.
    told: BTreeMap<EntityId, Regions>,
    /// Leaders that came here, and nothing was said of them yet.
    owed: BTreeSet<EntityId>,
    /// Entities that may follow another leader than before, or are in other layers.
    noted: BTreeSet<EntityId>,
    /// Leaders that may belong to other regions than before.
    touched: BTreeSet<EntityId>,
    /// Followers whose leader belongs to other regions than before.
    led: BTreeSet<EntityId>,
    /// Followers of leaders in regions that are not known here yet.
    waiting: BTreeSet<EntityId>,
}

/// The followers of a leader.
#[derive(Debug, Default)]
struct Group {
    followers: BTreeSet<EntityId>,
    /// Of the last word on the leader; 0: there was none.
    clock: Revision,
    regions: Regions,
    /// Partitions that have not answered yet.
    unanswered: usize,
}

impl Follows {
    /// Something of an entity may have changed which decides where its followers belong.
    pub(super) fn touch(&mut self, entity: EntityId) {
        if self.groups.contains_key(&entity) || self.asked.contains_key(&entity) {
            self.touched.insert(entity);
        }
    }

    /// It may follow another leader than before, or be in other layers.
    pub(super) fn note(&mut self, entity: EntityId) {
        self.noted.insert(entity);
    }

    /// All is to be looked at anew.
    fn note_all(&mut self) {
        self.noted.extend(self.leaders.keys());
        self.touched.extend(self.groups.keys().chain(self.asked.keys()));
    }

    /// Regions have other shapes: leaders in them may belong to others, and what could not be followed may be known now.
    fn note_reshaped(&mut self, layer: LayerId) {
        let concerns = |regions: &Regions| regions.iter().any(|(of, _)| *of == layer);
        let leaders = self.told.iter().filter(|(_, regions)| concerns(regions));
        self.touched.extend(leaders.map(|(leader, _)| *leader));
        self.led.append(&mut self.waiting);
    }

    /// It goes to another partition, which will tell where it belongs. Returns whom.
    pub(super) fn departs(&mut self, leader: EntityId, own: PartitionId) -> Vec<PartitionId> {
        self.told.remove(&leader);
        self.owed.remove(&leader);
        let here = self.groups.contains_key(&leader).then_some(own);
        self.asked.get(&leader).into_iter().flatten().copied().chain(here).collect()
    }

    /// It came from another partition, and is followed there. All are to be told where it belongs, even if it is gone by the time
    /// that this is known: who heard of it hears nothing from where it was.
    pub(super) fn arrives(&mut self, leader: EntityId, followed_in: &[PartitionId], own: PartitionId) {
        let others: Vec<PartitionId> = followed_in.iter().copied().filter(|id| *id != own).collect();
        if !others.is_empty() {
            self.asked.entry(leader).or_default().extend(others);
        }
        if self.groups.contains_key(&leader) || self.asked.contains_key(&leader) {
            self.owed.insert(leader);
            self.touched.insert(leader);
        }
    }

    fn is_idle(&self) -> bool {
        self.noted.is_empty() && self.touched.is_empty() && self.led.is_empty()
    }

    /// What is known of the leader of an entity.
    fn word(&self, entity: EntityId) -> Option<&Group> {
        self.groups.get(self.leaders.get(&entity)?)
    }

    /// The entity follows that leader from now on. `others` is how many other partitions there are.
    fn set_leader(
        &mut self,
        entity: EntityId,
        leader: Option<EntityId>,
        others: usize,
        words: &mut FollowWords,
    ) {
        let before = self.leaders.get(&entity).copied();
        if before == leader {
            return;
        }
        self.leaders.remove(&entity);
        if let Some(before) = before
            && let Some(group) = self.groups.get_mut(&before)
        {
            group.followers.remove(&entity);
            if group.followers.is_empty() {
                self.groups.remove(&before);
                self.forget_unled(before);
                words.asks.push((before, false));
            }
        }
        let Some(leader) = leader else { return };
        self.leaders.insert(entity, leader);
        let group = self.groups.entry(leader).or_default();
        if group.followers.is_empty() {
            group.unanswered = others;
            words.asks.push((leader, true));
            // It may be here.
            self.touched.insert(leader);
        }
        group.followers.insert(entity);
    }

    /// A leader belongs to these regions, as somebody knew whose clock was that.
    fn hear(&mut self, lead: &Lead, clock: Revision, others: usize, words: &mut FollowWords) {
        let Some(group) = self.groups.get_mut(&lead.leader) else { return };
        if clock < group.clock {
            group.unanswered += others;
            words.asks.push((lead.leader, true));
            return;
        }
        group.clock = clock;
        group.regions = Arc::clone(&lead.regions);
        self.led.extend(&group.followers);
    }

    /// Whether a leader is followed here, and nothing is known of where it belongs.
    fn is_unheard_of(&self, leader: EntityId) -> bool {
        self.groups.get(&leader).is_some_and(|group| group.clock == Revision(0))
    }

    fn forget_unled(&mut self, leader: EntityId) {
        if !self.groups.contains_key(&leader) && !self.asked.contains_key(&leader) {
            self.told.remove(&leader);
            self.touched.remove(&leader);
            self.owed.remove(&leader);
        }
    }

    /// A partition has answered: what it knew of the leader came before.
    fn answered(&mut self, leader: EntityId) {
        let Some(group) = self.groups.get_mut(&leader) else { return };
        group.unanswered = group.unanswered.saturating_sub(1);
        if group.unanswered == 0 && group.clock == Revision(0) {
            self.led.extend(&group.followers);
        }
    }
}

impl Authority {
    /// Values were written: entities with Follows may have other leaders.
    pub(in crate::partition) fn note_values(&mut self, component: ComponentId, entities: &[EntityId]) {
        if component == ComponentId::FOLLOWS {
            self.follows.noted.extend(entities);
        }
    }

    /// Brings followers to where their leaders are. Returns what other partitions are to be told, and whom.
    fn lead(&mut self, store: &mut Store, others: &[PartitionId]) -> Vec<(PartitionId, FollowWords)> {
        let mut to_all = FollowWords::default();
        let mut words: BTreeMap<PartitionId, FollowWords> = BTreeMap::new();
        // Until the whole table comes nobody knows what belongs where.
        if !self.table.is_known() {
            return Vec::new();
        }
        for entity in std::mem::take(&mut self.follows.noted) {
            let leader = store.find(entity).and_then(|id| leader_of(store, id));
            self.follows.set_leader(entity, leader, others.len(), &mut to_all);
            self.follows.led.insert(entity);
        }
        // Who follows no longer may be a leader by now: first it goes where it belongs by itself.
        while !self.follows.is_idle() {
            for entity in std::mem::take(&mut self.follows.led) {
                self.bring(store, entity);
            }
            for leader in std::mem::take(&mut self.follows.touched) {
                self.look_at(store, leader, &mut words);
            }
        }
        if !to_all.asks.is_empty() {
            others.iter().for_each(|to| words.entry(*to).or_default().asks.clone_from(&to_all.asks));
        }
        words.into_iter().collect()
    }

    /// Where a leader belongs is told to whoever has followers of it, here too, if that has changed. One that went to another
    /// partition is told of there.
    fn look_at(&mut self, store: &Store, leader: EntityId, words: &mut BTreeMap<PartitionId, FollowWords>) {
        let regions = self.regions_of(store, leader);
        let is_owed = self.follows.owed.remove(&leader);
        if !is_owed && regions.as_ref() == self.follows.told.get(&leader) {
            // Who follows it here since was not told.
            if let Some(regions) = regions.filter(|_| self.follows.is_unheard_of(leader)) {
                self.follows.hear(&Lead { leader, regions }, store.clock(), 0, &mut FollowWords::default());
            }
            return;
        }
        match &regions {
            Some(regions) => self.follows.told.insert(leader, Arc::clone(regions)),
            None => self.follows.told.remove(&leader),
        };
        // One that was deleted belongs nowhere.
        let lead = Lead { leader, regions: regions.unwrap_or_default() };
        for to in self.follows.asked.get(&leader).into_iter().flatten() {
            words.entry(*to).or_default().leads.push(lead.clone());
        }
        // It is here, so nobody can know better.
        self.follows.hear(&lead, store.clock(), 0, &mut FollowWords::default());
    }

    /// Where an entity belongs, if it is here. One that follows leads nobody, so that no group follows itself.
    fn regions_of(&mut self, store: &Store, entity: EntityId) -> Option<Regions> {
        let row = store.row(store.find(entity)?);
        if self.rules(store, row.set()).follows {
            return Some(Regions::default());
        }
        let (layers, at) = (self.layers_of(store, row.set()), store.position(row));
        let region = |&layer: &LayerId| Some((layer, self.table.region_of(entity, layer, at)?));
        Some(layers.iter().filter_map(region).collect())
    }

    /// The entity goes to the regions of its leader, or to where it lies.
    fn bring(&mut self, store: &mut Store, entity: EntityId) {
        let Some(id) = store.find(entity) else { return };
        let word = self.follows.word(entity);
        if word.is_some_and(|word| word.clock == Revision(0) && word.unanswered > 0) {
            return;
        }
        let regions = word.map(|word| Arc::clone(&word.regions)).unwrap_or_default();
        let row = store.row(id);
        let (at, layers) = (store.position(row), self.layers_of(store, row.set()));
        let now = store.tick();
        for &layer in layers.iter() {
            let leader = regions.iter().find(|(of, _)| *of == layer).map(|(_, region)| *region);
            if leader.is_some_and(|leader| self.table.slot(leader).is_none()) {
                self.follows.waiting.insert(entity);
                continue;
            }
            let crossing = self.table.follow(entity, layer, leader, at, now);
            crossing.iter().for_each(|crossing| self.news.push_crossing(entity, crossing, now));
        }
        store.set_apart(id, self.table.is_apart(entity));
        self.follows.touch(entity);
    }
}

impl Partition {
    /// Followers go where their leaders went. To be called when something was applied.
    pub(in crate::partition) fn lead(&mut self, outbox: &mut Outbox) {
        let Some(authority) = &mut self.authority else { return };
        if authority.follows.is_idle() {
            return;
        }
        let others: Vec<PartitionId> = self.map.ids().filter(|id| *id != self.id).collect();
        for (to, words) in authority.lead(&mut self.store, &others) {
            self.send(to, PeerBody::Follows(words), outbox);
        }
    }

    /// Who an order of the issuer concerns.
    pub(super) fn lead_after(&mut self, order: &Order, outbox: &mut Outbox) {
        let Some(authority) = &mut self.authority else { return };
        match order {
            Order::Reset(..) => authority.follows.note_all(),
            Order::Reshape(shape) => authority.follows.note_reshaped(shape.layer),
            Order::Begin(..) | Order::End(_) | Order::Grant(..) | Order::Revoke(..) => return,
        }
        self.lead(outbox);
    }

    /// Takes what another partition says or asks.
    pub(in crate::partition) fn hear_follows(
        &mut self,
        from: PartitionId,
        clock: Revision,
        words: FollowWords,
        outbox: &mut Outbox,
    ) {
        let Some(authority) = &mut self.authority else { return };
        let (follows, others) = (&mut authority.follows, self.map.ids().count() - 1);
        let mut again = FollowWords::default();
        let mut answer = FollowWords::default();
        // Nobody follows it here any more: whoever took that along with it is to know.
        let unled =
            words.leads.iter().map(|lead| lead.leader).filter(|leader| !follows.groups.contains_key(leader));
        answer.asks.extend(unled.map(|leader| (leader, false)));
        words.leads.iter().for_each(|lead| follows.hear(lead, clock, others, &mut again));
        words.answered.into_iter().for_each(|leader| follows.answered(leader));
        for (leader, is_followed) in words.asks {
            if is_followed {
                authority.follows.asked.entry(leader).or_default().insert(from);
                let told = authority.follows.told.get(&leader).cloned();
                match told {
                    Some(regions) => answer.leads.push(Lead { leader, regions }),
                    None => authority.follows.touch(leader),
                }
                answer.answered.push(leader);
            } else if let Some(partitions) = authority.follows.asked.get_mut(&leader) {
                partitions.remove(&from);
                if partitions.is_empty() {
                    authority.follows.asked.remove(&leader);
                    authority.follows.forget_unled(leader);
                }
            }
        }
        // What was touched is said before it is said that all was.
        self.lead(outbox);
        if !answer.answered.is_empty() || !answer.asks.is_empty() {
            self.send(from, PeerBody::Follows(answer), outbox);
        }
        if !again.asks.is_empty() {
            let others: Vec<PartitionId> = self.map.ids().filter(|id| *id != self.id).collect();
            for to in others {
                self.send(to, PeerBody::Follows(again.clone()), outbox);
            }
        }
    }
}

/// Whom an entity follows: field 1 of its Follows. Nobody follows itself.
pub(in crate::partition) fn leader_of(store: &Store, id: RowId) -> Option<EntityId> {
    let value = store.value(id, ComponentId::FOLLOWS)?;
    let numbers = wire::fields(value).filter_map(|(number, field)| match field {
        Field::Varint(leader) if number == 1 => Some(EntityId(leader)),
        _ => None,
    });
    numbers.last().filter(|leader| leader.is_valid() && *leader != store.row(id).entity)
}

#[cfg(test)]
mod tests;
