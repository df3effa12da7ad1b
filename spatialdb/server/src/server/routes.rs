//! Where writes of an entity go: a hint that partitions keep up to date.
//!
//! A hint may be old: then the partition forwards. The gate makes sure that a partition learns when nobody can still
//! be sending under an old hint (see the moves of `spatialdb-core`).

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{OnceLock, RwLock, RwLockReadGuard};

use dashmap::DashMap;
use rustc_hash::FxBuildHasher;
use spatialdb_types::{EntityId, PartitionId};

const FAN: usize = 1024;
const FAN_BITS: u32 = FAN.trailing_zeros();
const NOWHERE: u16 = u16::MAX;

type Page = Box<[AtomicU16]>;
type Shelf = Box<[OnceLock<Page>]>;
type Shelves = Box<[OnceLock<Shelf>]>;

/// The entity -> partition table of the edge.
pub(super) struct Routes {
    /// Ids below 2^30, three levels of 1024: ids are given in order, so pages fill up.
    dense: Shelves,
    sparse: DashMap<EntityId, u16, FxBuildHasher>,
    gate: RwLock<()>,
}

impl Routes {
    pub(super) fn new() -> Self {
        Self {
            dense: (0..FAN).map(|_| OnceLock::new()).collect(),
            sparse: DashMap::with_hasher(FxBuildHasher),
            gate: RwLock::new(()),
        }
    }

    /// Held while routes are read and what follows them is put in queues.
    pub(super) fn enter(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether at this moment nobody is between reading routes and queueing.
    pub(super) fn is_clear(&self) -> bool {
        self.gate.try_write().is_ok()
    }

    pub(super) fn get(&self, entity: EntityId) -> Option<PartitionId> {
        let partition = match self.slot(entity) {
            Some(slot) => slot.load(Ordering::Relaxed),
            None if entity.0 >> (3 * FAN_BITS) == 0 => NOWHERE,
            None => self.sparse.get(&entity).map_or(NOWHERE, |p| *p),
        };
        (partition != NOWHERE).then_some(PartitionId(partition))
    }

    pub(super) fn set(&self, entity: EntityId, partition: PartitionId) {
        self.claim(entity, partition);
    }

    /// Sets the route of an entity. Returns whether it had none.
    pub(super) fn claim(&self, entity: EntityId, partition: PartitionId) -> bool {
        if entity.0 >> (3 * FAN_BITS) != 0 {
            return self.sparse.insert(entity, partition.0).is_none();
        }
        let shelf = self.dense[place(entity, 2)].get_or_init(|| (0..FAN).map(|_| OnceLock::new()).collect());
        let page =
            shelf[place(entity, 1)].get_or_init(|| (0..FAN).map(|_| AtomicU16::new(NOWHERE)).collect());
        page[place(entity, 0)].swap(partition.0, Ordering::Relaxed) == NOWHERE
    }

    pub(super) fn clear_route(&self, entity: EntityId) {
        match self.slot(entity) {
            Some(slot) => slot.store(NOWHERE, Ordering::Relaxed),
            None => {
                self.sparse.remove(&entity);
            }
        }
    }

    fn slot(&self, entity: EntityId) -> Option<&AtomicU16> {
        if entity.0 >> (3 * FAN_BITS) != 0 {
            return None;
        }
        Some(&self.dense[place(entity, 2)].get()?[place(entity, 1)].get()?[place(entity, 0)])
    }
}

const fn place(entity: EntityId, level: u32) -> usize {
    (entity.0 >> (level * FAN_BITS)) as usize % FAN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_ids_are_found_until_cleared() {
        let routes = Routes::new();
        for id in [1, 1023, 1024, (1 << 30) - 1, 1 << 30, (1 << 53) - 1] {
            let entity = EntityId(id);
            assert_eq!(routes.get(entity), None);
            routes.set(entity, PartitionId(3));
            assert_eq!(routes.get(entity), Some(PartitionId(3)));
            routes.clear_route(entity);
            assert_eq!(routes.get(entity), None);
        }
    }

    #[test]
    fn the_gate_is_clear_only_when_nobody_is_inside() {
        let routes = Routes::new();
        let inside = routes.enter();
        assert!(!routes.is_clear());
        drop(inside);
        assert!(routes.is_clear());
    }
}
