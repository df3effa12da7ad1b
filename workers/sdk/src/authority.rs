//! What this session may write, from what the server tells of it.
//!
//! Responsible for: regions, the entities of each layer, what the worker has to say of them (`authority/report.rs`).
//! Not responsible for: when that is said (`worker.rs`), who gets what (the server).

mod region;
mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use spatialdb_types::{ComponentId, EntityId, Epoch, RegionId};

pub use self::region::{Border, Layer, LossReason, Region, Side};
use self::{region::borders_of, report::Report};
use crate::{
    Event,
    v1::{self, authority::Body},
};

/// What is asked about: a layer by its name, or a component by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The entities of this layer.
    Layer(&'a str),
    /// The entities whose value of this component may be written.
    Component(ComponentId),
}

impl<'a> From<&'a str> for Scope<'a> {
    fn from(layer: &'a str) -> Self {
        Self::Layer(layer)
    }
}

impl From<ComponentId> for Scope<'_> {
    fn from(component: ComponentId) -> Self {
        Self::Component(component)
    }
}

/// The entities of one layer, as far as the session has heard of them.
#[derive(Debug)]
struct Members {
    name: String,
    writes: Vec<ComponentId>,
    /// The region that each came to last, and under which grant. Of regions that are still to come too.
    regions: FxHashMap<EntityId, (RegionId, Epoch)>,
    /// What tools keep to themselves for a while.
    holds: FxHashMap<(EntityId, ComponentId), Hold>,
}

/// What a tool keeps to itself.
#[derive(Clone, Copy, Debug)]
struct Hold {
    epoch: Epoch,
    /// World time.
    until_us: i64,
}

/// What the session may write. Empty at the begin of each session.
#[derive(Debug, Default)]
pub(crate) struct Authority {
    layers: Vec<Members>,
    regions: BTreeMap<RegionId, Region>,
    /// Regions that the worker has let go of, and neither lost nor kept yet.
    flushed: BTreeSet<RegionId>,
    seen: u64,
    /// World time, as the last frame has it.
    pub(crate) now_us: i64,
    is_draining: bool,
    is_drained: bool,
    pub(crate) report: Report,
}

impl Members {
    /// Whether a tool keeps that component to itself. A layer is not held.
    fn is_held(&self, entity: EntityId, scope: Scope<'_>, now_us: i64) -> bool {
        match scope {
            Scope::Component(component) => {
                self.holds.get(&(entity, component)).is_some_and(|hold| hold.until_us > now_us)
            }
            Scope::Layer(_) => false,
        }
    }
}

impl Authority {
    /// A session begins: it owns nothing.
    pub(crate) fn begin(&mut self, layers: &[Layer]) {
        let members = |layer: &Layer| Members {
            name: layer.name.clone(),
            writes: layer.writes.clone(),
            regions: FxHashMap::default(),
            holds: FxHashMap::default(),
        };
        *self = Self { layers: layers.iter().map(members).collect(), ..Self::default() };
    }

    /// The session is over, or starts from nothing.
    pub(crate) fn clear(&mut self) {
        self.regions.clear();
        self.flushed.clear();
        for layer in &mut self.layers {
            layer.regions.clear();
            layer.holds.clear();
        }
        self.report = Report::default();
    }

    /// The number of the last message.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether the world has no layers: any worker may write anything.
    pub(crate) fn is_open(&self) -> bool {
        self.layers.is_empty()
    }

    /// Whether the worker is to give up what it has.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Its regions, by id.
    pub(crate) fn regions(&self) -> impl Iterator<Item = &Region> {
        self.regions.values()
    }

    /// Whether the session may write that of the entity.
    pub(crate) fn owns(&self, entity: EntityId, scope: Scope<'_>) -> bool {
        let is_here = |layer: &Members| {
            let is_its = layer.regions.get(&entity).is_some_and(|(region, _)| self.may_write(*region));
            is_its && !layer.is_held(entity, scope, self.now_us)
        };
        self.is_open() || self.layers_of(scope).any(is_here)
    }

    /// Every entity of which the session may write that, in no particular order.
    pub(crate) fn owned(&self, scope: Scope<'_>) -> impl Iterator<Item = EntityId> {
        let members = self.layers_of(scope).flat_map(|layer| layer.regions.iter().map(move |of| (layer, of)));
        let is_its = move |layer: &Members, entity, region| {
            self.may_write(region) && !layer.is_held(entity, scope, self.now_us)
        };
        let own = members.filter(move |(layer, (entity, (region, _)))| is_its(layer, **entity, *region));
        own.map(|(_, (entity, _))| *entity)
    }

    /// Takes in a message. Returns what the worker is to hear of it.
    ///
    /// # Errors
    /// When messages are missing, or one says nothing that can be understood.
    pub(crate) fn accept(&mut self, message: v1::Authority) -> Result<Vec<Event>, String> {
        if message.number != self.seen + 1 {
            let (got, due) = (message.number, self.seen + 1);
            return Err(format!("authority message {got} came where {due} was due"));
        }
        self.seen = message.number;
        let mut events = Vec::new();
        match message.body {
            Some(Body::Gained(lease)) => self.gain(Region::from(lease), &mut events),
            Some(Body::Shaped(lease)) => {
                let region = Region::from(lease);
                self.regions.insert(region.id, region.clone());
                events.push(Event::RegionChanged(region));
            }
            Some(Body::Joined(joined)) => self.join(RegionId(joined.gone), RegionId(joined.keep)),
            Some(Body::Borders(told)) => {
                if let Some(region) = self.regions.get_mut(&RegionId(told.region)) {
                    region.borders = borders_of(told.borders);
                    events.push(Event::RegionChanged(region.clone()));
                }
            }
            Some(Body::LossImminent(loss)) => {
                if let Some(region) = self.regions.get(&RegionId(loss.region)) {
                    events.push(Event::LossImminent { region: region.clone(), until_us: loss.until_us });
                }
            }
            Some(Body::Kept(kept)) => {
                let region = RegionId(kept.region);
                self.report.keep(region);
                self.flushed.remove(&region);
                events.extend(self.regions.get(&region).cloned().map(Event::Kept));
            }
            Some(Body::Lost(lost)) => self.lose(lost, &mut events),
            Some(Body::Warm(lease)) => self.report.warm(lease.region),
            Some(Body::Drain(_)) => {
                self.is_draining = true;
                events.push(Event::Draining);
            }
            Some(Body::Entities(told)) => {
                told.changes.into_iter().for_each(|changes| self.hear(changes, &mut events));
            }
            Some(Body::Holds(told)) => told.holds.into_iter().for_each(|hold| self.hold(&hold)),
            // The views around it are the server's; a message of another kind is from a later version.
            Some(Body::Cool(_)) | None => {}
        }
        if self.is_draining && self.regions.is_empty() && !self.is_drained {
            self.is_drained = true;
            events.push(Event::Drained);
        }
        Ok(events)
    }

    /// The worker has written what it had of these regions.
    pub(crate) fn flush_handed(&mut self) {
        self.flushed.extend(self.report.flush_handed());
    }

    fn gain(&mut self, region: Region, events: &mut Vec<Event>) {
        let id = region.id;
        let is_new = self.regions.insert(id, region.clone()).is_none();
        self.flushed.remove(&id);
        self.report.see();
        events.push(Event::RegionGained(region));
        if is_new {
            self.tell_members(id, |layer, entities| Event::Gained { layer, entities }, events);
        }
    }

    fn lose(&mut self, lost: v1::RegionLost, events: &mut Vec<Event>) {
        let (id, epoch) = (RegionId(lost.region), Epoch(lost.epoch));
        self.report.see();
        self.report.keep(id);
        self.flushed.remove(&id);
        if let Some(region) = self.regions.remove(&id) {
            self.tell_members(id, |layer, entities| Event::Lost { layer, entities }, events);
            events.push(Event::RegionLost { region, reason: lost.reason().into() });
        }
        // What came to it under a later grant stays: that grant is still to come.
        let is_kept = |of: &(RegionId, Epoch)| of.0 != id || of.1 > epoch;
        for layer in &mut self.layers {
            layer.regions.retain(|_, of| is_kept(of));
            layer.holds.retain(|(entity, _), _| layer.regions.contains_key(entity));
        }
    }

    /// A tool has taken hold of a component, or has let go of it.
    fn hold(&mut self, hold: &v1::ComponentHold) {
        let key = (EntityId(hold.entity), ComponentId(hold.component));
        let told = Hold { epoch: Epoch(hold.epoch), until_us: hold.until_us };
        for layer in self.layers.iter_mut().filter(|layer| layer.writes.contains(&key.1)) {
            // Words of different partitions may come in any order: of two holds the later one counts.
            let is_newer = layer.holds.get(&key).is_none_or(|held| held.epoch < told.epoch);
            if !hold.over && is_newer {
                layer.holds.insert(key, told);
            } else if hold.over && layer.holds.get(&key).is_some_and(|held| held.epoch == told.epoch) {
                layer.holds.remove(&key);
            }
        }
    }

    fn join(&mut self, gone: RegionId, keep: RegionId) {
        self.regions.remove(&gone);
        self.flushed.remove(&gone);
        for layer in &mut self.layers {
            let of_it = layer.regions.values_mut().filter(|(region, _)| *region == gone);
            of_it.for_each(|(region, _)| *region = keep);
        }
    }

    /// Entities came to a region, or went. Tells of those for which that makes a difference.
    fn hear(&mut self, changes: v1::EntityChanges, events: &mut Vec<Event>) {
        let v1::EntityChanges { layer, region, epoch, gained, entities } = changes;
        // A layer that Welcome did not name writes nothing.
        let Some(members) = self.layers.iter_mut().find(|members| members.name == layer) else { return };
        let (is_ours, of) = (|id: &RegionId| self.regions.contains_key(id), (RegionId(region), Epoch(epoch)));
        let mut changed = Vec::new();
        for entity in entities.into_iter().map(EntityId) {
            let before = match gained {
                true => members.regions.insert(entity, of),
                false => {
                    members.holds.retain(|(held, _), _| *held != entity);
                    members.regions.remove(&entity)
                }
            };
            let (was, is) = (before.is_some_and(|(id, _)| is_ours(&id)), gained && is_ours(&of.0));
            match (was, is) {
                (false, true) | (true, false) => changed.push((entity, is)),
                _ => {}
            }
        }
        for run in changed.chunk_by(|a, b| a.1 == b.1) {
            let (layer, entities) = (layer.clone(), run.iter().map(|(entity, _)| *entity).collect());
            events.push(match run[0].1 {
                true => Event::Gained { layer, entities },
                false => Event::Lost { layer, entities },
            });
        }
    }

    fn tell_members(
        &self,
        region: RegionId,
        event: fn(String, Vec<EntityId>) -> Event,
        events: &mut Vec<Event>,
    ) {
        for layer in &self.layers {
            let members = layer.regions.iter().filter(|(_, (of, _))| *of == region);
            let mut entities: Vec<_> = members.map(|(entity, _)| *entity).collect();
            if !entities.is_empty() {
                entities.sort_unstable();
                events.push(event(layer.name.clone(), entities));
            }
        }
    }

    fn layers_of(&self, scope: Scope<'_>) -> impl Iterator<Item = &Members> {
        self.layers.iter().filter(move |layer| match scope {
            Scope::Layer(name) => layer.name == name,
            Scope::Component(component) => layer.writes.contains(&component),
        })
    }

    fn may_write(&self, region: RegionId) -> bool {
        self.regions.contains_key(&region) && !self.flushed.contains(&region)
    }
}
