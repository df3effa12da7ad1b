//! Entities that left view, against older news of them.
//!
//! A partition says that an entity has left. What another one said of it before may still be on its way; it must not bring the
//! entity back. That can be forgotten once nothing so old can come any more: each partition's counter rises from delta to
//! delta, or, where one says nothing for long, once it has answered a flush.

use std::hash::Hash;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use spatialdb_types::{EntityId, PartitionId, Revision};

use crate::Tuning;

/// So many are looked through without a thought.
const FEW: usize = 16;

/// What is remembered of entities that left.
#[derive(Debug)]
pub(super) struct Tombstones<K = EntityId> {
    by_entity: IndexMap<K, Tombstone, FxBuildHasher>,
    /// The counter of each partition's last delta: nothing older comes from it.
    heard: Vec<Revision>,
    /// They are looked through once there are so many.
    sweeps_at: usize,
    /// From so many on partitions that say nothing are asked.
    many: usize,
}

#[derive(Debug)]
struct Tombstone {
    partition: PartitionId,
    clock: Revision,
    /// The flush that was last asked for when it was set: a later one clears it.
    flush: u64,
}

impl<K: Copy + Eq + Hash> Tombstones<K> {
    pub(super) fn new(partitions: usize) -> Self {
        let heard = vec![Revision(0); partitions];
        let many = Tuning::default().tombstones_many;
        Self { by_entity: IndexMap::default(), heard, sweeps_at: FEW, many }
    }

    pub(super) const fn tune(&mut self, tuning: &Tuning) {
        self.many = tuning.tombstones_many;
    }

    /// The partition said something with this counter.
    pub(super) fn hear(&mut self, from: PartitionId, clock: Revision) {
        let heard = &mut self.heard[usize::from(from.0)];
        *heard = clock.max(*heard);
    }

    /// The partition begins anew.
    pub(super) fn restarted(&mut self, partition: PartitionId) {
        self.heard[usize::from(partition.0)] = Revision(0);
    }

    /// The partition said with this counter that the entity is not in view.
    pub(super) fn bury(&mut self, partition: PartitionId, clock: Revision, entity: K, flush: u64) {
        if self.heard.len() == 1 {
            return;
        }
        self.by_entity.insert(entity, Tombstone { partition, clock, flush });
        if self.by_entity.len() >= self.sweeps_at {
            let heard = &self.heard;
            self.by_entity.retain(|_, tomb| tomb.may_be_needed(heard));
            self.sweeps_at = (self.by_entity.len() * 2).max(FEW);
        }
    }

    /// The entity is in view again.
    pub(super) fn remove(&mut self, entity: K) {
        self.by_entity.swap_remove(&entity);
    }

    /// Who said last that the entity is not in view, and with which counter.
    pub(super) fn get(&self, entity: K) -> Option<(PartitionId, Revision)> {
        self.by_entity.get(&entity).map(|tomb| (tomb.partition, tomb.clock))
    }

    /// Whether partitions are to be asked for a flush.
    pub(super) fn are_many(&self) -> bool {
        self.by_entity.len() >= self.many
    }

    /// Every partition has answered the flush of that token.
    pub(super) fn flushed(&mut self, token: u64) {
        self.by_entity.retain(|_, tomb| tomb.flush >= token);
    }
}

impl Tombstone {
    /// Whether another partition may still say something older.
    fn may_be_needed(&self, heard: &[Revision]) -> bool {
        let mut others =
            (0..).map(PartitionId).zip(heard).filter(|(partition, _)| *partition != self.partition);
        others.any(|(_, &heard)| heard < self.clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bury(tombs: &mut Tombstones, entities: std::ops::Range<u64>, clock: u64) {
        for id in entities {
            tombs.bury(PartitionId(0), Revision(clock), EntityId(id), 0);
        }
    }

    #[test]
    fn they_are_needed_until_all_others_have_said_something_later() {
        let mut tombs = Tombstones::new(3);
        tombs.hear(PartitionId(0), Revision(100));
        bury(&mut tombs, 0..15, 100);
        tombs.hear(PartitionId(1), Revision(100));
        tombs.hear(PartitionId(2), Revision(99));
        bury(&mut tombs, 15..16, 101);
        assert_eq!(tombs.get(EntityId(3)), Some((PartitionId(0), Revision(100))));
        tombs.hear(PartitionId(2), Revision(100));
        bury(&mut tombs, 16..32, 101);
        assert_eq!(tombs.get(EntityId(3)), None);
        assert_eq!(tombs.get(EntityId(15)), Some((PartitionId(0), Revision(101))));
        // What a partition said before it began anew says nothing of what it says now.
        tombs.restarted(PartitionId(2));
        tombs.hear(PartitionId(1), Revision(200));
        bury(&mut tombs, 32..64, 102);
        assert!(tombs.get(EntityId(20)).is_some());
    }

    #[test]
    fn a_partition_that_says_nothing_is_asked_when_they_are_many() {
        let mut tombs = Tombstones::new(2);
        tombs.tune(&Tuning { tombstones_many: 200, ..Tuning::default() });
        bury(&mut tombs, 0..199, 5);
        assert!(!tombs.are_many());
        bury(&mut tombs, 1000..1001, 5);
        assert!(tombs.are_many());
        tombs.flushed(1);
        assert!(!tombs.are_many() && tombs.get(EntityId(3)).is_none());
    }

    #[test]
    fn one_partition_alone_needs_none() {
        let mut tombs = Tombstones::new(1);
        bury(&mut tombs, 0..10, 5);
        assert_eq!(tombs.get(EntityId(3)), None);
    }
}
