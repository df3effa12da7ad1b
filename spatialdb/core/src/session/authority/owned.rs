//! The entities that a session owns, as far as partitions and the issuer have said.
//!
//! Responsible for: the order of what several partitions say of one entity, and what of it the worker is to hear. Not
//! responsible for: when it hears it.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use spatialdb_types::{EntityId, Epoch, LayerId, PartitionId, RegionId, Revision};

use crate::message::{AuthorityDelta, EntityAuthority, Word};
use crate::session::gone::Gone;
use crate::session::tombstones::Tombstones;

/// The entities of a session's regions.
#[derive(Debug)]
pub(super) struct Owned {
    entities: IndexMap<(EntityId, LayerId), Entity, FxBuildHasher>,
    /// Entities that were lost, against older news of them.
    pub(super) lost: Tombstones<(EntityId, LayerId)>,
    /// Grants that were lost, against older news of their entities.
    pub(super) gone: Gone,
    /// Regions that are about to be lost.
    imminent: BTreeSet<RegionId>,
}

/// An entity of a session's region, and who said so.
#[derive(Clone, Copy, Debug)]
struct Entity {
    by: PartitionId,
    word: EntityAuthority,
    /// Of the partition's delta, to tell it from the ones before.
    told: Revision,
    /// The region and grant that the worker heard last, if it heard of the entity.
    heard: Option<(RegionId, Epoch)>,
    /// The session has had it ever since.
    is_kept: bool,
}

impl Owned {
    pub(super) fn new(partitions: usize) -> Self {
        Self {
            entities: IndexMap::default(),
            lost: Tombstones::new(partitions),
            gone: Gone::default(),
            imminent: BTreeSet::new(),
        }
    }

    /// What a partition says; grants of the session are heard of up to `newest`. Returns what of that the worker is to hear:
    /// what it gained, and what it lost.
    pub(super) fn hear(
        &mut self,
        from: PartitionId,
        delta: AuthorityDelta,
        flush: u64,
        newest: Epoch,
    ) -> (Vec<EntityAuthority>, Vec<EntityAuthority>) {
        let AuthorityDelta { clock, begins_anew, mut changes, .. } = delta;
        changes.retain_mut(|change| {
            if self.gone.includes(change.region, change.epoch) {
                change.word = Word::Lost;
            }
            match change.word {
                Word::Moved if self.note_moved(from, clock, change, newest) => false,
                Word::GoneOn => {
                    self.note_gone_on(from, change, flush);
                    false
                }
                _ => self.take(from, clock, *change, flush),
            }
        });
        if begins_anew {
            let is_old = |entity: &Entity| entity.by == from && entity.told < clock;
            let old: Vec<_> =
                self.entities.values().filter(|entity| is_old(entity)).map(|entity| entity.word).collect();
            let ends = old.into_iter().map(|change| EntityAuthority { word: Word::Lost, ..change });
            changes.extend(ends.filter(|word| self.take(from, clock, *word, flush)));
        }
        changes.into_iter().partition(EntityAuthority::is_gain)
    }

    /// The worker has been shown these, that it gained in a partition. Returns those that it still has, as they stand now: their
    /// region may have been joined with another.
    pub(super) fn shown(&mut self, from: PartitionId, words: &[EntityAuthority]) -> Vec<EntityAuthority> {
        let mut told = Vec::with_capacity(words.len());
        for word in words {
            let entity = self.entities.get_mut(&(word.entity, word.layer));
            let is_last = |entity: &&mut Entity| entity.by == from && entity.word.clock == word.clock;
            let Some(entity) = entity.filter(is_last) else { continue };
            entity.heard = Some((entity.word.region, entity.word.epoch));
            entity.is_kept = true;
            told.push(entity.word);
        }
        told
    }

    /// A word on an entity. Returns whether the worker is to hear it.
    fn take(&mut self, from: PartitionId, told: Revision, word: EntityAuthority, flush: u64) -> bool {
        let key = (word.entity, word.layer);
        let held = self.entities.get(&key);
        let last = held.map(|held| (held.by, held.word.clock)).or_else(|| self.lost.get(key));
        if last.is_some_and(|(by, clock)| by != from && clock > word.clock) {
            return false;
        }
        if word.is_gain() {
            self.lost.remove(key);
            let heard = held.and_then(|held| held.heard);
            let is_kept = word.word != Word::Gained && held.is_some_and(|held| held.is_kept);
            self.entities.insert(key, Entity { by: from, word, told, heard, is_kept });
            return true;
        }
        self.lost.bury(from, word.clock, key, flush);
        self.entities.swap_remove(&key).is_some_and(|held| held.heard.is_some())
    }

    /// What the session has belongs to another of its regions, or the same in another partition. Returns whether the worker
    /// need not hear so: it knows that it has it, and whatever is to be said of the new region comes later.
    fn note_moved(
        &mut self,
        from: PartitionId,
        told: Revision,
        change: &EntityAuthority,
        newest: Epoch,
    ) -> bool {
        let held = self.entities.get_mut(&(change.entity, change.layer)).filter(|held| held.is_kept);
        let Some(held) = held else { return false };
        let Some((heard, _)) = held.heard else { return false };
        let is_imminent = [heard, change.region].iter().any(|region| self.imminent.contains(region));
        if is_imminent || change.epoch > newest {
            return false;
        }
        if held.by == from || held.word.clock <= change.clock {
            (held.by, held.word, held.told) = (from, *change, told);
        }
        true
    }

    /// A region is not lost after all.
    pub(super) fn keep(&mut self, region: RegionId) {
        self.imminent.remove(&region);
    }

    /// A region is about to be lost: the worker is to know what belongs to it, and what does not any more.
    pub(super) fn warn(&mut self, region: RegionId) -> Vec<EntityAuthority> {
        self.imminent.insert(region);
        let mut words = Vec::new();
        for held in self.entities.values_mut().filter(|held| held.is_kept) {
            let Some((heard, _)) = held.heard else { continue };
            if heard != held.word.region && (heard == region || held.word.region == region) {
                held.heard = Some((held.word.region, held.word.epoch));
                words.push(held.word);
            }
        }
        words
    }

    /// What the session has went on to another partition. If the worker knows that it has it, it may belong to another region
    /// by now, which it need not hear; else it is to hear so from that partition.
    fn note_gone_on(&mut self, from: PartitionId, word: &EntityAuthority, flush: u64) {
        let key = (word.entity, word.layer);
        let Some(held) = self.entities.get_mut(&key) else { return };
        if held.is_kept && (held.by == from || held.word.clock < word.clock) {
            (held.word.region, held.word.epoch) = (word.region, word.epoch);
        } else if held.heard.is_none() && held.by == from {
            self.entities.swap_remove(&key);
            self.lost.bury(from, word.clock, key, flush);
        }
    }

    /// A region is lost, and what belongs to it. Returns what the worker is to hear before, of entities of which it thinks that
    /// they are elsewhere.
    pub(super) fn lose(&mut self, region: RegionId, epoch: Epoch, flush: u64) -> Vec<EntityAuthority> {
        self.imminent.remove(&region);
        self.gone.lose(region, epoch, flush);
        let is_of = |(of, since): (RegionId, Epoch)| of == region && since <= epoch;
        let lost = self.entities.extract_if(.., |_, held| is_of((held.word.region, held.word.epoch)));
        let elsewhere = lost.filter(|(_, held)| held.heard.is_some_and(|heard| !is_of(heard)));
        let mut words: Vec<_> =
            elsewhere.map(|(_, held)| EntityAuthority { word: Word::Lost, ..held.word }).collect();
        // It has what went on to another region of its own before: it is not to think that it lost that.
        let went_on = |held: &&mut Entity| held.is_kept && held.heard.is_some_and(is_of);
        for held in self.entities.values_mut().filter(went_on) {
            held.heard = Some((held.word.region, held.word.epoch));
            words.push(held.word);
        }
        words
    }

    pub(super) fn join(&mut self, gone: RegionId, keep: RegionId) {
        for held in self.entities.values_mut() {
            let heard = held.heard.iter_mut().map(|(region, _)| region);
            heard
                .chain([&mut held.word.region])
                .filter(|region| **region == gone)
                .for_each(|region| *region = keep);
        }
    }
}
