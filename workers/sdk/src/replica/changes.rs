//! What changed in a replica between two looks, in net.
//!
//! Responsible for: joining the changes of several frames, within a bound.
//! Not responsible for: applying them.

use rustc_hash::{FxHashMap, FxHashSet};
use spatialdb_types::{ComponentId, EntityId, ViewId};

use crate::{Square, v1};

// Beyond this many noted changes a worker does better to look at the whole replica.
const CHANGES_MAX: usize = 4 << 20;

/// Why an entity is no longer in view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeaveReason {
    /// No view of the session matches it any longer.
    OutOfView,
    /// It is deleted.
    Deleted,
    /// It may no longer be shown to this session.
    Filtered,
    /// The server gave a reason that this SDK does not know.
    Unknown,
}

impl From<v1::LeaveReason> for LeaveReason {
    fn from(reason: v1::LeaveReason) -> Self {
        match reason {
            v1::LeaveReason::OutOfView => Self::OutOfView,
            v1::LeaveReason::Deleted => Self::Deleted,
            v1::LeaveReason::Filtered => Self::Filtered,
            v1::LeaveReason::Unspecified => Self::Unknown,
        }
    }
}

/// The difference between the replica now and at the look before. Act on `left`, then `entered`, then `gone`, then
/// `updated`: an entity that left and came back is in both of the first two.
///
/// # Shape
/// Every list is sorted and without repeats. `updated` names the components of entered entities too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Entities that left, and why.
    pub left: Vec<(EntityId, LeaveReason)>,
    /// Entities that came into view.
    pub entered: Vec<EntityId>,
    /// Components that entities in view no longer have or show.
    pub gone: Vec<(EntityId, ComponentId)>,
    /// Components that have a new value in the replica.
    pub updated: Vec<(EntityId, ComponentId)>,
    /// Squares of views of densities that have another count: [`Replica::densities`](crate::Replica::densities) has it.
    pub densities: Vec<(ViewId, Square)>,
    /// There were too many changes to name since the last look: the lists are empty; look at the whole replica.
    pub overflowed: bool,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Changes while they are collected.
#[derive(Debug, Default)]
pub(super) struct ChangeLog {
    left: FxHashMap<EntityId, LeaveReason>,
    entered: FxHashSet<EntityId>,
    gone: Vec<(EntityId, ComponentId)>,
    updated: Vec<(EntityId, ComponentId)>,
    densities: FxHashSet<(ViewId, Square)>,
    overflowed: bool,
}

impl ChangeLog {
    pub(super) fn entered(&mut self, entity: EntityId) {
        self.entered.insert(entity);
        self.bound();
    }

    pub(super) fn left(&mut self, entity: EntityId, reason: LeaveReason) {
        // One that came and went between two looks was never there; one that left before is to stay left.
        if !self.entered.remove(&entity) || self.left.contains_key(&entity) {
            self.left.insert(entity, reason);
        }
        self.bound();
    }

    pub(super) fn gone(&mut self, entity: EntityId, component: ComponentId) {
        self.gone.push((entity, component));
        self.bound();
    }

    pub(super) fn updated(&mut self, entity: EntityId, component: ComponentId) {
        self.updated.push((entity, component));
        self.bound();
    }

    pub(super) fn counted(&mut self, view: ViewId, square: Square) {
        self.densities.insert((view, square));
        self.bound();
    }

    /// The net changes. `holds` says which entities are in view now, `has` which components of them the replica has.
    pub(super) fn finish(
        self,
        holds: impl Fn(EntityId) -> bool,
        has: impl Fn(EntityId, ComponentId) -> bool,
    ) -> Changes {
        if self.overflowed {
            return Changes { overflowed: true, ..Changes::default() };
        }
        let mut changes = Changes {
            left: self.left.into_iter().collect(),
            entered: self.entered.into_iter().collect(),
            gone: self.gone,
            updated: self.updated,
            densities: self.densities.into_iter().collect(),
            overflowed: false,
        };
        changes.left.sort_unstable();
        changes.entered.sort_unstable();
        changes.densities.sort_unstable();
        tidy(&mut changes.updated, &has);
        // Of an entity that came new, or is not in view (any longer, or between two looks), a lost component is no news.
        let entered = &changes.entered;
        tidy(&mut changes.gone, |entity, component| {
            holds(entity) && !has(entity, component) && entered.binary_search(&entity).is_err()
        });
        changes
    }

    fn bound(&mut self) {
        let of_entities = self.left.len() + self.entered.len() + self.gone.len() + self.updated.len();
        let noted = of_entities + self.densities.len();
        if self.overflowed || noted > CHANGES_MAX {
            *self = Self { overflowed: true, ..Self::default() };
        }
    }
}

fn tidy(pairs: &mut Vec<(EntityId, ComponentId)>, keep: impl Fn(EntityId, ComponentId) -> bool) {
    pairs.sort_unstable();
    pairs.dedup();
    pairs.retain(|(entity, component)| keep(*entity, *component));
}
