//! Rows that are exceptions: entities that are not simply of the region they lie in.
//!
//! Most entities have nothing here, so most rows cost nothing. A bit on the row says that there may be something.

use std::collections::{BTreeMap, VecDeque};

use spatialdb_types::{ComponentId, EntityId, Epoch, LayerId, Position, RegionId, Revision, SessionId};

use super::{Lease, LeaseTable, Seen};

/// From so many on, what a session has not seen is gone through for what does not count any longer.
const TIDIED_FROM: usize = 1024;

/// What is special about an entity in a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    /// It belongs to this region, wherever it lies.
    pub(super) region: Option<RegionId>,
    /// Its region is that of a leader: being deep inside another one does not change it.
    follows: bool,
    /// Its owner gained it lately.
    pub(super) gained: Option<Gained>,
}

/// Since when an entity belongs to its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gained {
    /// Under which grant of the region. A later grant tells its owner of all entities anyway.
    pub epoch: Epoch,
    /// The partition's clock at the time.
    pub at: Revision,
}

/// A tool keeps a component of an entity to itself for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    /// Its own epoch: of two holds the later one counts.
    pub epoch: Epoch,
    /// Who may write it.
    pub by: SessionId,
}

/// An entity changed its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// In which layer.
    pub layer: LayerId,
    /// The region it left, and who owned that; unknown if it was joined with another one meanwhile.
    pub from: Option<(RegionId, Lease)>,
    /// The region it is in now, and who owns that.
    pub to: (RegionId, Lease),
}

/// What an entity takes along to another partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Its regions and what the sender knows of them: to be learned first.
    pub leases: Vec<(RegionId, Lease)>,
    entries: Vec<(LayerId, Entry)>,
    holds: Vec<(ComponentId, Hold)>,
}

/// All exceptions of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Apart {
    entries: BTreeMap<(EntityId, LayerId), Entry>,
    holds: BTreeMap<(EntityId, ComponentId), Hold>,
    /// What each session gained and may not have seen, in order.
    pub(super) unseen: BTreeMap<SessionId, VecDeque<(Revision, EntityId, LayerId)>>,
}

impl Apart {
    pub(super) fn entry(&self, entity: EntityId, layer: LayerId) -> Option<Entry> {
        self.entries.get(&(entity, layer)).copied()
    }

    pub(super) fn hold(&self, entity: EntityId, component: ComponentId) -> Option<Hold> {
        self.holds.get(&(entity, component)).copied()
    }

    /// Entities of a region that was joined with another belong to that one.
    pub(super) fn rename_region(&mut self, from: RegionId, to: RegionId) {
        for entry in self.entries.values_mut().filter(|entry| entry.region == Some(from)) {
            entry.region = Some(to);
        }
    }

    pub(super) fn forget_regions(&mut self, is_known: impl Fn(RegionId) -> bool) {
        self.entries.retain(|_, entry| entry.region.is_none_or(&is_known));
    }

    fn set(&mut self, entity: EntityId, layer: LayerId, entry: Entry) {
        if entry == Entry::default() {
            self.entries.remove(&(entity, layer));
        } else {
            self.entries.insert((entity, layer), entry);
        }
    }
}

impl LeaseTable {
    /// Whether an entity has anything special: whether its row needs the bit.
    pub fn is_apart(&self, entity: EntityId) -> bool {
        let all = (entity, LayerId(0))..=(entity, LayerId(u16::MAX));
        let held = (entity, ComponentId(0))..=(entity, ComponentId(u32::MAX));
        self.apart.entries.range(all).next().is_some() || self.apart.holds.range(held).next().is_some()
    }

    /// How many exceptions there are.
    pub fn apart_count(&self) -> usize {
        self.apart.entries.len() + self.apart.holds.len()
    }

    /// The region that an entity belongs to.
    pub fn region_of(&self, entity: EntityId, layer: LayerId, at: Option<Position>) -> Option<RegionId> {
        let own = self.apart.entry(entity, layer).and_then(|entry| entry.region);
        own.or_else(|| self.region_at(layer, at))
    }

    /// An entity is somewhere else now: between cells of different regions, in a cell that a border cuts, or it was apart
    /// before. `now` is the partition's clock. Returns whether it changed its region.
    pub fn moved(
        &mut self,
        entity: EntityId,
        layer: LayerId,
        from: Option<Position>,
        to: Option<Position>,
        now: Revision,
    ) -> Option<Crossing> {
        let old = self.region_of(entity, layer, from);
        self.place(entity, layer, old, to, now)
    }

    /// The entity belongs to the region of its leader from now on, or, without one, to where it lies. A region that is not
    /// known here changes nothing: it is followed once it is known.
    pub fn follow(
        &mut self,
        entity: EntityId,
        layer: LayerId,
        leader: Option<RegionId>,
        at: Option<Position>,
        now: Revision,
    ) -> Option<Crossing> {
        if leader.is_some_and(|leader| self.slot(leader).is_none()) {
            return None;
        }
        let old = self.region_of(entity, layer, at);
        let mut entry = self.apart.entry(entity, layer).unwrap_or_default();
        (entry.region, entry.follows) = (leader.or(old), leader.is_some());
        self.apart.set(entity, layer, entry);
        match leader {
            Some(leader) if old != Some(leader) => self.cross(entity, layer, old, leader, entry, now),
            Some(_) => None,
            None => self.place(entity, layer, old, at, now),
        }
    }

    /// The session has processed what it was told up to there.
    pub fn seen(&mut self, session: SessionId, seen: Seen) {
        let Some(unseen) = self.apart.unseen.get_mut(&session) else { return };
        let mut done = Vec::new();
        while let Some((_, entity, layer)) = unseen.pop_front_if(|(at, ..)| *at <= seen.gains) {
            done.push((entity, layer));
        }
        if unseen.is_empty() {
            self.apart.unseen.remove(&session);
        }
        for (entity, layer) in done {
            let Some(mut entry) = self.apart.entry(entity, layer) else { continue };
            if entry.gained.is_some_and(|gained| gained.at <= seen.gains) {
                entry.gained = None;
                self.apart.set(entity, layer, entry);
            }
        }
    }

    /// The session is over: what it gained needs no telling.
    pub fn end_session(&mut self, session: SessionId) {
        let unseen = self.apart.unseen.remove(&session).unwrap_or_default();
        for (at, entity, layer) in unseen {
            let Some(mut entry) = self.apart.entry(entity, layer) else { continue };
            if entry.gained.is_some_and(|gained| gained.at == at) {
                entry.gained = None;
                self.apart.set(entity, layer, entry);
            }
        }
    }

    /// A tool takes hold of a component, unless a later hold is there.
    pub fn hold(&mut self, entity: EntityId, component: ComponentId, hold: Hold) {
        let held = self.apart.holds.entry((entity, component)).or_insert(hold);
        if hold.epoch > held.epoch {
            *held = hold;
        }
    }

    /// The hold of that epoch is over.
    pub fn release(&mut self, entity: EntityId, component: ComponentId, epoch: Epoch) {
        if self.apart.hold(entity, component).is_some_and(|hold| hold.epoch == epoch) {
            self.apart.holds.remove(&(entity, component));
        }
    }

    /// The entity is gone, or goes to another partition. Returns what it takes along; `layers` are those that have it.
    pub fn take(&mut self, entity: EntityId, layers: &[LayerId], at: Option<Position>) -> Carried {
        let mut carried = Carried::default();
        for &layer in layers {
            let slot = self.region_of(entity, layer, at).and_then(|region| self.slot(region));
            carried.leases.extend(slot.map(|slot| (self.region(slot), self.lease(slot))));
        }
        let entries = (entity, LayerId(0))..=(entity, LayerId(u16::MAX));
        let entries: Vec<_> = self.apart.entries.range(entries).map(|(key, entry)| (key.1, *entry)).collect();
        let holds = (entity, ComponentId(0))..=(entity, ComponentId(u32::MAX));
        let holds: Vec<_> = self.apart.holds.range(holds).map(|(key, hold)| (key.1, *hold)).collect();
        entries.iter().for_each(|(layer, _)| self.apart.set(entity, *layer, Entry::default()));
        for (component, _) in &holds {
            self.apart.holds.remove(&(entity, *component));
        }
        Carried { entries, holds, ..carried }
    }

    /// An entity comes from another partition. `now` is the clock here, above the sender's. Returns where its region
    /// changed.
    pub fn arrive(
        &mut self,
        entity: EntityId,
        carried: Carried,
        at: Option<Position>,
        now: Revision,
    ) -> Vec<Crossing> {
        self.learn_all(&carried.leases);
        carried.holds.into_iter().for_each(|(component, hold)| self.hold(entity, component, hold));
        let mut crossings = Vec::new();
        for (layer, mut entry) in carried.entries {
            let is_known = entry.region.is_some_and(|region| self.slot(region).is_some());
            if !is_known && entry.region.take().is_some() {
                entry.follows = false;
                self.apart.set(entity, layer, Entry::default());
                crossings.extend(
                    self.region_at(layer, at).and_then(|to| self.cross(entity, layer, None, to, entry, now)),
                );
                continue;
            }
            let is_unseen = entry.gained.is_some();
            entry.gained = None;
            self.apart.set(entity, layer, entry);
            let Some(region) = self.region_of(entity, layer, at) else { continue };
            crossings.extend(self.place(entity, layer, Some(region), at, now));
            // What the sender had to tell is told from here, by this partition's clock.
            if let Some(region) = self.region_of(entity, layer, at).filter(|_| is_unseen) {
                self.note_gained(entity, layer, region, now);
            }
        }
        crossings
    }

    /// Finds the region of an entity that was in `old` and lies at `at` now.
    fn place(
        &mut self,
        entity: EntityId,
        layer: LayerId,
        old: Option<RegionId>,
        at: Option<Position>,
        now: Revision,
    ) -> Option<Crossing> {
        let mut entry = self.apart.entry(entity, layer).unwrap_or_default();
        if entry.follows && entry.region.is_some() {
            return None;
        }
        let here = self.region_at(layer, at)?;
        if old == Some(here) {
            entry.region = None;
            self.apart.set(entity, layer, entry);
            return None;
        }
        if old.is_some_and(|old| self.is_near(layer, old, at)) {
            entry.region = old;
            self.apart.set(entity, layer, entry);
            return None;
        }
        entry.region = None;
        self.cross(entity, layer, old, here, entry, now)
    }

    /// Whether a place is not so far outside of a region that it leaves it.
    fn is_near(&self, layer: LayerId, region: RegionId, at: Option<Position>) -> bool {
        let margin = self.layers.get(layer).border_hysteresis_m;
        let bounds =
            at.and_then(|at| Some((at.point, self.tilings.get(&(layer, at.space))?.bounds(region)?)));
        bounds.is_some_and(|(point, area)| {
            let is_in = |v: f64, min: f64, max: f64| v >= min - margin && v < max + margin;
            margin > 0.0 && is_in(point.x, area.min.x, area.max.x) && is_in(point.y, area.min.y, area.max.y)
        })
    }

    fn cross(
        &mut self,
        entity: EntityId,
        layer: LayerId,
        old: Option<RegionId>,
        to: RegionId,
        entry: Entry,
        now: Revision,
    ) -> Option<Crossing> {
        let known = |table: &Self, region| table.slot(region).map(|slot| (region, table.lease(slot)));
        let from = old.and_then(|old| known(self, old));
        let to = known(self, to)?;
        // Who has seen the grant of the new region has seen that of the old one: nothing late can come from before it.
        let is_fenced = from.is_some_and(|(_, from)| from.owner == to.1.owner && from.epoch <= to.1.epoch);
        let is_unseen = entry.gained.is_some();
        self.apart.set(entity, layer, Entry { gained: None, ..entry });
        if is_unseen || !is_fenced {
            self.note_gained(entity, layer, to.0, now);
        }
        Some(Crossing { layer, from, to })
    }

    /// Until its owner has seen that it gained the entity, it may not write it.
    fn note_gained(&mut self, entity: EntityId, layer: LayerId, region: RegionId, now: Revision) {
        let Some(lease) = self.slot(region).map(|slot| self.lease(slot)) else { return };
        let Some(owner) = lease.owner else { return };
        let mut entry = self.apart.entry(entity, layer).unwrap_or_default();
        entry.gained = Some(Gained { epoch: lease.epoch, at: now });
        self.apart.set(entity, layer, entry);
        let Apart { entries, unseen, .. } = &mut self.apart;
        let unseen = unseen.entry(owner).or_default();
        unseen.push_back((now, entity, layer));
        if unseen.len() >= TIDIED_FROM && unseen.len().is_power_of_two() {
            let counts = |at, gained: Option<Gained>| gained.is_some_and(|gained| gained.at == at);
            unseen.retain(|(at, entity, layer)| {
                entries.get(&(*entity, *layer)).is_some_and(|e| counts(*at, e.gained))
            });
        }
    }
}
