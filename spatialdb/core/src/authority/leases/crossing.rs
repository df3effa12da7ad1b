//! Entities that come to another region, another partition, or both.

use spatialdb_types::{ComponentId, EntityId, LayerId, PartitionId, Position, RegionId, Revision, SessionId};

use super::apart::{Entry, Gained, Hold};
use super::{Home, Lease, LeaseTable, Slot, Writer};

/// An entity changed its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// In which layer.
    pub layer: LayerId,
    /// The region it left, and who owned that; unknown if it was joined with another one meanwhile.
    pub from: Option<(RegionId, Lease)>,
    /// The region it is in now, and who owns that.
    pub to: (RegionId, Lease),
    /// The new owner must be told of the entity, or have seen the grant of its old region if that was its own, and may not
    /// write it before. Else it owned it all the time.
    pub is_gain: bool,
}

/// What an entity takes along to another partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Carried {
    /// Its regions, as far as the sender knows them, and what it knows of their owners: to be learned first.
    pub regions: Vec<(LayerId, (RegionId, Lease))>,
    entries: Vec<(LayerId, Entry)>,
    /// Of these the owner was not told yet, or could not be shown what it was told.
    untold: Vec<LayerId>,
    holds: Vec<(ComponentId, Hold)>,
    /// Partitions that have followers of it: they are to hear from now on from wherever it is.
    pub followed_in: Vec<PartitionId>,
}

impl LeaseTable {
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
        let lay_in = self.region_at(layer, from.into());
        self.moved_by(None, entity, layer, (lay_in, to), now)
    }

    /// The same of an entity that lay in that region, if it is known who moved it: all that this session wrote to the entity
    /// before has come.
    pub fn moved_by(
        &mut self,
        by: Option<&Writer>,
        entity: EntityId,
        layer: LayerId,
        (lay_in, to): (Option<RegionId>, Option<Position>),
        now: Revision,
    ) -> Option<Crossing> {
        let old = self.own_region(entity, layer).or(lay_in);
        self.place(by, entity, layer, old, to.into(), now)
    }

    /// Whether an entity that is no exception goes from a region to another one as if they were one: they have one owner, who
    /// wrote nothing before it had seen the later grant. Only where entities leave a region right at its border.
    pub fn is_walk(&self, by: Option<&Writer>, layer: LayerId, (from, to): (Slot, Slot)) -> bool {
        let (from, to) = (self.lease(from), self.lease(to));
        from.owner == to.owner
            && (from.epoch <= to.epoch || has_seen(by, from))
            && self.layers.get(layer).border_hysteresis_m == 0.0
    }

    /// An entity that was not new is in a layer now, because it has other components. Its owner must be told before it may
    /// write it: there may be late writes from when the entity was in the layer before.
    pub fn entered<'a>(
        &mut self,
        entity: EntityId,
        layer: LayerId,
        home: impl Into<Home<'a>>,
        now: Revision,
    ) -> Option<Crossing> {
        let to = self.region_at(layer, home.into())?;
        self.cross(None, entity, layer, (None, to), Entry::default(), now)
    }

    /// An entity is not in a layer any more, because it has other components.
    pub fn left(&mut self, entity: EntityId, layer: LayerId) {
        self.apart.set(entity, layer, Entry::default());
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
            Some(leader) if old != Some(leader) => self.cross(None, entity, layer, (old, leader), entry, now),
            Some(_) => None,
            None => self.place(None, entity, layer, old, at.into(), now),
        }
    }

    /// The regions of an entity in these layers, as far as they are known, and what is known of their owners.
    pub fn regions_of<'a>(
        &self,
        entity: EntityId,
        layers: impl IntoIterator<Item = LayerId>,
        home: impl Into<Home<'a>>,
    ) -> Vec<(LayerId, (RegionId, Lease))> {
        let home = home.into();
        let region = |layer| Some((layer, self.known(self.region_of(entity, layer, home)?)?));
        layers.into_iter().filter_map(region).collect()
    }

    /// The entity is gone, or goes to another partition. Returns what it takes along, with its regions; `shown` is the
    /// partition's clock up to which an owner was told what it gained, and shown that.
    pub fn take(
        &mut self,
        entity: EntityId,
        regions: Vec<(LayerId, (RegionId, Lease))>,
        shown: impl Fn(SessionId) -> Revision,
    ) -> Carried {
        let entries = (entity, LayerId(0))..=(entity, LayerId(u16::MAX));
        let entries: Vec<_> = self.apart.entries.range(entries).map(|(key, entry)| (key.1, *entry)).collect();
        let holds = (entity, ComponentId(0))..=(entity, ComponentId(u32::MAX));
        let holds: Vec<_> = self.apart.holds.range(holds).map(|(key, hold)| (key.1, *hold)).collect();
        entries.iter().for_each(|(layer, _)| self.apart.set(entity, *layer, Entry::default()));
        for (component, _) in &holds {
            self.apart.holds.remove(&(entity, *component));
        }
        let is_untold =
            |gained: Gained| gained.partition == self.partition && gained.at > shown(gained.owner);
        let untold = entries.iter().filter(|(_, entry)| entry.gained.is_some_and(is_untold));
        let untold = untold.map(|(layer, _)| *layer).collect();
        Carried { regions, entries, untold, holds, followed_in: Vec::new() }
    }

    /// An entity comes from another partition. `now` is the clock here, above the sender's. Returns where its region
    /// changed, or where its owner has yet to be told.
    pub fn arrive<'a>(
        &mut self,
        entity: EntityId,
        carried: &Carried,
        home: impl Into<Home<'a>>,
        now: Revision,
    ) -> Vec<Crossing> {
        let home = home.into();
        self.learn_all(carried.regions.iter().map(|(_, region)| *region));
        carried.holds.iter().for_each(|(component, hold)| self.hold(entity, *component, *hold));
        let mut crossings = Vec::new();
        for &(layer, entry) in &carried.entries {
            let is_known = entry.region.is_none_or(|region| self.slot(region).is_some());
            if !is_known {
                let to = self.region_at(layer, home);
                crossings.extend(
                    to.and_then(|to| self.cross(None, entity, layer, (None, to), Entry::default(), now)),
                );
                continue;
            }
            self.apart.set(entity, layer, entry);
            let is_untold = carried.untold.contains(&layer);
            let Some(region) = self.region_of(entity, layer, home) else {
                // The region is not known here yet. Nobody else will tell of the gain.
                if let Some(gained) = entry.gained.filter(|_| is_untold) {
                    let gained = Gained { at: now, partition: self.partition, again: None, ..gained };
                    self.apart.note_gained(entity, layer, gained);
                }
                continue;
            };
            let crossing = self.place(None, entity, layer, Some(region), home, now);
            let (Some(gained), None) = (entry.gained, crossing) else {
                crossings.extend(crossing);
                continue;
            };
            let lease = self.slot(region).map(|slot| self.lease(slot)).unwrap_or_default();
            if is_untold {
                let gained = Gained { at: now, partition: self.partition, again: None, ..gained };
                self.apart.note_gained(entity, layer, gained);
                crossings.push(Crossing { layer, from: None, to: (region, lease), is_gain: true });
            } else {
                // What its owner is told here may come first, and makes the other word stale.
                let again = Some((self.partition, now));
                self.apart.note_gained(entity, layer, Gained { again, ..gained });
            }
        }
        crossings
    }

    /// Finds the region of an entity that was in `old` and has that home now.
    fn place(
        &mut self,
        by: Option<&Writer>,
        entity: EntityId,
        layer: LayerId,
        old: Option<RegionId>,
        home: Home<'_>,
        now: Revision,
    ) -> Option<Crossing> {
        let mut entry = self.apart.entry(entity, layer).unwrap_or_default();
        if entry.follows && entry.region.is_some_and(|region| self.slot(region).is_some()) {
            return None;
        }
        entry.follows = false;
        let here = self.region_at(layer, home)?;
        if old == Some(here) {
            entry.region = None;
            self.apart.set(entity, layer, entry);
            return None;
        }
        if old.is_some_and(|old| self.is_near(layer, old, home.at)) {
            entry.region = old;
            self.apart.set(entity, layer, entry);
            return None;
        }
        entry.region = None;
        self.cross(by, entity, layer, (old, here), entry, now)
    }

    /// Whether a place is not so far outside of a region that it leaves it.
    fn is_near(&self, layer: LayerId, region: RegionId, at: Option<Position>) -> bool {
        let margin = self.layers.get(layer).border_hysteresis_m;
        let Some(Position { space, point }) = at.filter(|_| margin > 0.0) else { return false };
        let area = self.tilings.get(&(layer, space)).and_then(|tiling| tiling.bounds(region));
        area.is_some_and(|area| {
            let is_in = |v: f64, min: f64, max: f64| v >= min - margin && v < max + margin;
            is_in(point.x, area.min.x, area.max.x) && is_in(point.y, area.min.y, area.max.y)
        })
    }

    fn cross(
        &mut self,
        by: Option<&Writer>,
        entity: EntityId,
        layer: LayerId,
        (old, to): (Option<RegionId>, RegionId),
        entry: Entry,
        now: Revision,
    ) -> Option<Crossing> {
        // What its mover has seen by now it has seen in all that it writes later.
        let is_known = |gained: &Gained| by.is_some_and(|by| by.has_seen(gained));
        let entry = Entry { gained: entry.gained.filter(|gained| !is_known(gained)), ..entry };
        let from = old.and_then(|old| self.known(old));
        let to = self.known(to)?;
        let own = from.map(|(_, from)| from).filter(|from| from.owner == to.1.owner);
        // Of one owner: who has seen the later one of both grants wrote nothing before it that is still on its way.
        let fence = match (own, entry.gained) {
            (Some(from), None) => (from.epoch > to.1.epoch && !has_seen(by, from)).then_some(from.epoch),
            (Some(from), Some(gained)) if Some(gained.owner) == from.owner => {
                gained.fence.map(|fence| fence.max(from.epoch))
            }
            _ => None,
        };
        // It was gained here before by the same owner, who need not have seen more than that and the grant.
        let has_said = |gained: Gained| {
            gained.partition == self.partition && own.is_some_and(|from| from.epoch <= to.1.epoch)
        };
        let is_said = entry.gained.is_some_and(|gained| Some(gained.owner) == to.1.owner && has_said(gained));
        let is_gain = own.is_none() || fence.is_some() || (entry.gained.is_some() && !is_said);
        let gained = entry.gained.filter(|_| is_said && !is_gain);
        self.apart.set(entity, layer, Entry { gained, ..entry });
        if let Some(owner) = to.1.owner.filter(|_| is_gain) {
            let gained = Gained { owner, partition: self.partition, at: now, again: None, fence };
            self.apart.note_gained(entity, layer, gained);
        }
        Some(Crossing { layer, from, to, is_gain })
    }
}

/// Whether who moves an entity owned its region, and had seen that grant.
fn has_seen(by: Option<&Writer>, from: Lease) -> bool {
    by.is_some_and(|by| Some(by.session) == from.owner && by.seen.epoch >= from.epoch)
}
