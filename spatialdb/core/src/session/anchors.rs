//! Where the entities are that a session's views follow, as partitions tell.

use std::collections::BTreeSet;
use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use spatialdb_types::{EntityId, PartitionId, Position, Revision};

use crate::interest::View;

/// The entities that views follow.
#[derive(Debug, Default)]
pub(super) struct Anchors {
    list: IndexMap<EntityId, Anchor, FxBuildHasher>,
    epoch: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Anchor {
    position: Option<Position>,
    /// Who told, and that partition's revision counter: the higher one is the later.
    told: Option<(PartitionId, Revision)>,
}

impl Anchors {
    /// Follows what these views do, and nothing else.
    pub(super) fn follow<'a>(&mut self, views: impl Iterator<Item = &'a View>) {
        let mut entities = BTreeSet::new();
        views.for_each(|view| view.followed(&mut entities));
        let anchor = |entity| (entity, self.list.get(&entity).copied().unwrap_or_default());
        self.list = entities.into_iter().map(anchor).collect();
    }

    pub(super) fn followed(&self) -> Arc<[EntityId]> {
        self.list.keys().copied().collect()
    }

    /// Where it is, as far as is known.
    pub(super) fn position(&self, entity: EntityId) -> Option<Position> {
        self.list.get(&entity)?.position
    }

    /// A partition was restarted: what it had to tell, of an entity that had come there, may be lost. All tell again.
    pub(super) fn lose(&mut self) {
        self.list.values_mut().for_each(|anchor| *anchor = Anchor::default());
        self.epoch += u64::from(!self.list.is_empty());
    }

    /// Rises when all that partitions have told is to be told again.
    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A partition tells where an entity is. Returns whether that is news.
    pub(super) fn hear(
        &mut self,
        from: PartitionId,
        clock: Revision,
        entity: EntityId,
        position: Option<Position>,
    ) -> bool {
        let Some(anchor) = self.list.get_mut(&entity) else { return false };
        if anchor.told.is_some_and(|(by, at)| by != from && at > clock) {
            return false;
        }
        anchor.told = Some((from, clock));
        std::mem::replace(&mut anchor.position, position) != position
    }
}
