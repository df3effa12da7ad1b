//! Rows that are exceptions: entities that are not simply of the region they lie in.
//!
//! Most entities have nothing here, so most rows cost nothing. A bit on the row says that there may be something.

use std::collections::{BTreeMap, VecDeque};

use spatialdb_types::{ComponentId, EntityId, Epoch, LayerId, PartitionId, RegionId, Revision, SessionId};

use super::{Home, LeaseTable, Seen};
use crate::Micros;

/// From so many on, what a session has not seen is gone through for what does not count any longer.
const TIDIED_FROM: usize = 1024;

/// What is special about an entity in a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    /// It belongs to this region, wherever it lies.
    pub(super) region: Option<RegionId>,
    /// Its region is that of a leader: being deep inside another one does not change it.
    pub(super) follows: bool,
    /// Its owner gained it lately.
    pub(super) gained: Option<Gained>,
}

/// Since when an entity belongs to its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gained {
    /// Who gained it. If somebody else owns it by now, the grant to that one says so.
    pub owner: SessionId,
    /// Which partition tells the owner of it: the one where the entity was.
    pub partition: PartitionId,
    /// That partition's clock at the time.
    pub at: Revision,
    /// The partition to which the entity went on, which tells of it too, and its clock then: to have seen either is enough.
    pub again: Option<(PartitionId, Revision)>,
    /// It came from another region of the owner, of that epoch: to have seen that grant is enough, too.
    pub fence: Option<Epoch>,
}

/// A tool keeps a component of an entity to itself for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    /// Its own epoch: of two holds the later one counts.
    pub epoch: Epoch,
    /// Who may write it.
    pub by: SessionId,
    /// It is over then, if not before.
    pub until: Micros,
}

/// All exceptions of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Apart {
    pub(super) entries: BTreeMap<(EntityId, LayerId), Entry>,
    pub(super) holds: BTreeMap<(EntityId, ComponentId), Hold>,
    /// What each session gained and may not have seen, in order.
    pub(super) unseen: BTreeMap<SessionId, VecDeque<(Gained, EntityId, LayerId)>>,
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

    /// These gains were seen, unless there were later ones of the same entities.
    fn forget_gains(&mut self, gains: impl IntoIterator<Item = (Gained, EntityId, LayerId)>) {
        for (gained, entity, layer) in gains {
            let entry = self.entry(entity, layer).filter(|entry| entry.gained == Some(gained));
            if let Some(entry) = entry {
                self.set(entity, layer, Entry { gained: None, ..entry });
            }
        }
    }

    /// Until its new owner has seen that it gained the entity, it may not write it.
    pub(super) fn note_gained(&mut self, entity: EntityId, layer: LayerId, gained: Gained) {
        let entry = self.entry(entity, layer).unwrap_or_default();
        self.set(entity, layer, Entry { gained: Some(gained), ..entry });
        let Self { entries, unseen, .. } = self;
        let unseen = unseen.entry(gained.owner).or_default();
        unseen.push_back((gained, entity, layer));
        if unseen.len() >= TIDIED_FROM && unseen.len().is_power_of_two() {
            let last = |entity, layer| entries.get(&(entity, layer)).and_then(|entry| entry.gained);
            unseen.retain(|(gained, entity, layer)| last(*entity, *layer) == Some(*gained));
        }
    }

    pub(super) fn set(&mut self, entity: EntityId, layer: LayerId, entry: Entry) {
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
        self.apart.entries.range(all).next().is_some() || self.holds_of(entity).next().is_some()
    }

    /// How many exceptions there are.
    pub fn apart_count(&self) -> usize {
        self.apart.entries.len() + self.apart.holds.len()
    }

    /// The region that an entity belongs to.
    pub fn region_of<'a>(
        &self,
        entity: EntityId,
        layer: LayerId,
        home: impl Into<Home<'a>>,
    ) -> Option<RegionId> {
        let own = self.apart.entry(entity, layer).and_then(|entry| entry.region);
        own.or_else(|| self.region_at(layer, home.into()))
    }

    /// The region that an entity belongs to wherever it lies.
    pub fn own_region(&self, entity: EntityId, layer: LayerId) -> Option<RegionId> {
        self.apart.entry(entity, layer)?.region
    }

    /// The entities that belong to a region wherever they lie.
    pub fn strays_of(&self, region: RegionId) -> impl Iterator<Item = (EntityId, LayerId)> {
        let own = self.apart.entries.iter().filter(move |(_, entry)| entry.region == Some(region));
        own.map(|(key, _)| *key)
    }

    /// Entities of regions that are gone: joined with others while this partition was starting. Until they are placed anew
    /// by [`LeaseTable::moved`] no write of them is accepted.
    pub fn strays(&self) -> impl Iterator<Item = (EntityId, LayerId)> {
        let is_gone = |region: RegionId| self.slot(region).is_none();
        let stray = self.apart.entries.iter().filter(move |(_, entry)| entry.region.is_some_and(is_gone));
        stray.map(|(key, _)| *key)
    }

    /// A batch of the session came, which has processed what it was told up to there. Of an entity that is settled here no
    /// older write of the session can come any more, so nothing needs to be remembered; of others a forwarded one may.
    pub fn seen(&mut self, session: SessionId, seen: &Seen, is_settled: impl Fn(EntityId) -> bool) {
        let Some(unseen) = self.apart.unseen.get_mut(&session) else { return };
        let mut done = Vec::new();
        let is_done = |(gained, entity, _): &mut (Gained, EntityId, LayerId)| {
            seen.includes(gained) && is_settled(*entity)
        };
        while let Some(gain) = unseen.pop_front_if(is_done) {
            done.push(gain);
        }
        if unseen.is_empty() {
            self.apart.unseen.remove(&session);
        }
        self.apart.forget_gains(done);
    }

    /// The session is over: what it gained needs no telling, once nothing that it wrote is accepted any more.
    pub fn end_session(&mut self, session: SessionId) {
        self.ended.insert(session);
        self.forget_ended();
    }

    pub(super) fn forget_ended(&mut self) {
        let Self { ended, leases, apart, is_known, .. } = self;
        if !*is_known {
            // After a restart: the table that comes may have it as an owner.
            return;
        }
        ended.retain(|session| {
            let is_owner = leases.iter().any(|(_, lease)| lease.owner == Some(*session));
            if !is_owner {
                let unseen = apart.unseen.remove(session).unwrap_or_default();
                apart.forget_gains(unseen);
            }
            is_owner
        });
    }

    /// A tool takes hold of a component, unless a later hold is there.
    pub fn hold(&mut self, entity: EntityId, component: ComponentId, hold: Hold) {
        let held = self.apart.holds.entry((entity, component)).or_insert(hold);
        if hold.epoch > held.epoch {
            *held = hold;
        }
    }

    /// The hold of that epoch is over. Returns it, if it was there.
    pub fn release(&mut self, entity: EntityId, component: ComponentId, epoch: Epoch) -> Option<Hold> {
        self.apart.hold(entity, component).filter(|hold| hold.epoch == epoch)?;
        self.apart.holds.remove(&(entity, component))
    }

    /// The components of an entity that tools hold.
    pub fn holds_of(&self, entity: EntityId) -> impl Iterator<Item = (ComponentId, Hold)> {
        let all = (entity, ComponentId(0))..=(entity, ComponentId(u32::MAX));
        self.apart.holds.range(all).map(|((_, component), hold)| (*component, *hold))
    }

    /// Everything that tools hold.
    pub fn holds(&self) -> impl Iterator<Item = (EntityId, ComponentId, Hold)> {
        self.apart.holds.iter().map(|((entity, component), hold)| (*entity, *component, *hold))
    }
}
