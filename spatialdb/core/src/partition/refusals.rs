//! The last refused write of each of some entities: so that somebody can be told why, later.
//!
//! Costs something only when a write is refused, and the same however many were before: one entry for each entity, the one
//! that was refused longest ago goes first. The words are made when somebody asks.
//!
//! Responsible for: remembering. Not responsible for: refusing, or telling the writer.

use rustc_hash::FxHashMap;
use spatialdb_types::{ComponentId, EntityId, Reason, SessionId};

use crate::Micros;
use crate::authority::leases::Refusal;

/// No entry.
const NONE: u32 = u32::MAX;

/// A refused write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When, as the driver told the time last.
    pub at: Micros,
    /// Whose write.
    pub session: SessionId,
    /// Of which component; 0: the entity as such.
    pub component: ComponentId,
    /// Why.
    pub why: Cause,
}

/// Why a write was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It could not be done.
    Reason(Reason),
    /// The writer may not.
    Authority(Refusal),
}

impl Refused {
    /// The reason that the writer was told.
    pub const fn reason(&self) -> Reason {
        match &self.why {
            Cause::Reason(reason) => *reason,
            Cause::Authority(refusal) => refusal.reason(),
        }
    }

    /// The detail that the writer was told.
    pub fn detail(&self, entity: EntityId) -> String {
        match &self.why {
            Cause::Reason(reason) => detail(*reason, entity, self.component),
            Cause::Authority(refusal) => refusal.to_string(),
        }
    }
}

/// The thing and the limit, for people.
pub(super) fn detail(reason: Reason, entity: EntityId, component: ComponentId) -> String {
    match reason {
        Reason::EntityExists => format!("entity {entity} exists already"),
        Reason::EntityNotFound => format!("entity {entity} does not exist"),
        Reason::ValueTooLarge => {
            format!("entity {entity}, component {component}: the fields together pass value_bytes_max")
        }
        _ => format!("entity {entity} has no component {component}"),
    }
}

/// The last refused writes, one for each entity, of so many entities at most.
#[derive(Debug)]
pub(super) struct Refusals {
    max: usize,
    entries: Vec<Entry>,
    places: FxHashMap<EntityId, u32>,
    oldest: u32,
    newest: u32,
}

#[derive(Debug)]
struct Entry {
    entity: EntityId,
    refused: Refused,
    /// The entry that was refused before it, and the one after it.
    older: u32,
    newer: u32,
}

impl Refusals {
    pub(super) fn new(max: u64) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(NONE as usize);
        Self { max, entries: Vec::new(), places: FxHashMap::default(), oldest: NONE, newest: NONE }
    }

    pub(super) fn get(&self, entity: EntityId) -> Option<&Refused> {
        Some(&self.entries[*self.places.get(&entity)? as usize].refused)
    }

    /// Takes the place of what was noted of the entity before, or of the entity that was refused longest ago.
    pub(super) fn note(&mut self, entity: EntityId, refused: Refused) {
        if self.max == 0 {
            return;
        }
        if let Some(&place) = self.places.get(&entity) {
            self.entries[place as usize].refused = refused;
            self.unlink(place);
            return self.link(place);
        }
        let entry = Entry { entity, refused, older: NONE, newer: NONE };
        let place = if self.entries.len() < self.max {
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        } else {
            let place = self.oldest;
            self.unlink(place);
            self.places.remove(&self.entries[place as usize].entity);
            self.entries[place as usize] = entry;
            place
        };
        self.places.insert(entity, place);
        self.link(place);
    }

    fn unlink(&mut self, place: u32) {
        let Entry { older, newer, .. } = self.entries[place as usize];
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }

    fn link(&mut self, place: u32) {
        let before = std::mem::replace(&mut self.newest, place);
        let entry = &mut self.entries[place as usize];
        (entry.older, entry.newer) = (before, NONE);
        match self.entries.get_mut(before as usize) {
            Some(entry) => entry.newer = place,
            None => self.oldest = place,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(at: Micros) -> Refused {
        let (session, component) = (SessionId(1), ComponentId(1));
        Refused { at, session, component, why: Cause::Reason(Reason::ComponentNotFound) }
    }

    #[test]
    fn it_remembers_what_a_list_in_order_would() {
        let (max, mut random) = (5, 1u32);
        let (mut refusals, mut list) = (Refusals::new(max), Vec::<(EntityId, Micros)>::new());
        for at in 0..5000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let entity = EntityId(u64::from(random >> 28));
            refusals.note(entity, refused(at));
            list.retain(|(known, _)| *known != entity);
            list.push((entity, at));
            if list.len() > max as usize {
                list.remove(0);
            }
            for id in (0..16).map(EntityId) {
                let expected = list.iter().find(|(known, _)| *known == id).map(|(_, at)| *at);
                assert_eq!(refusals.get(id).map(|refused| refused.at), expected, "{id} after {at}");
            }
        }
    }

    #[test]
    fn a_flood_takes_no_more_memory_than_the_bound() {
        let mut refusals = Refusals::new(1024);
        (0..1024).for_each(|id| refusals.note(EntityId(id), refused(id)));
        let room = (refusals.entries.capacity(), refusals.places.capacity());
        (0..500_000).for_each(|id| refusals.note(EntityId(id), refused(id)));
        assert_eq!((refusals.entries.len(), refusals.places.len()), (1024, 1024));
        assert_eq!((refusals.entries.capacity(), refusals.places.capacity()), room);
        assert!(refusals.get(EntityId(499_999)).is_some() && refusals.get(EntityId(0)).is_none());
    }

    #[test]
    fn with_a_bound_of_0_nothing_is_remembered() {
        let mut refusals = Refusals::new(0);
        refusals.note(EntityId(1), refused(1));
        assert_eq!(refusals.get(EntityId(1)), None);
    }
}
