//! How often each entity was moved, as its owners know it.
//!
//! Responsible for: bounds that hold however an owner ends, and comparing them with what the server has. Not responsible for:
//! the moves.
//!
//! A move counts as possible before it is sent, and as done once it is decided. So the server may have as many as are possible,
//! and must have as many as are done. In a file both outlive a process that is killed.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
};

use spatialdb_types::EntityId;

use crate::bench::error::{BenchError, cannot};

/// Of entities 1 to n.
#[derive(Debug)]
pub(in crate::bench) struct Tally {
    counts: Vec<Count>,
    file: Option<File>,
}

/// Of one entity.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    done: u64,
    possible: u64,
}

/// What came of moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::bench) struct Outcome {
    /// Moves that were done.
    pub(in crate::bench) moves: u64,
    /// Of these the server does not have so many.
    pub(in crate::bench) lost: u64,
    /// And it has so many that nobody made.
    pub(in crate::bench) doubled: u64,
}

impl Tally {
    /// Nothing was moved.
    pub(in crate::bench) fn new(entities: usize) -> Self {
        Self { counts: vec![Count::default(); entities], file: None }
    }

    /// The same, kept in a new file.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn in_file(entities: usize, path: &Path) -> Result<Self, BenchError> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let tally = Self { file: Some(file.map_err(cannot("write a tally"))?), ..Self::new(entities) };
        tally.keep()?;
        Ok(tally)
    }

    /// What processes kept in the files of a folder.
    ///
    /// # Errors
    /// One cannot be read.
    pub(in crate::bench) fn of_folder(entities: usize, folder: &Path) -> Result<Self, BenchError> {
        let mut all = Self::new(entities);
        for entry in fs::read_dir(folder).map_err(cannot("read the tallies"))? {
            let path = entry.map_err(cannot("read the tallies"))?.path();
            let bytes = fs::read(&path).map_err(cannot("read a tally"))?;
            let numbers = bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
            let numbers: Vec<u64> = numbers.collect();
            for (count, [done, possible]) in all.counts.iter_mut().zip(numbers.as_chunks().0) {
                count.done += done;
                count.possible += possible;
            }
        }
        Ok(all)
    }

    /// How many entities there are.
    pub(super) const fn entities(&self) -> usize {
        self.counts.len()
    }

    /// Adds what another owner did.
    pub(in crate::bench) fn add(&mut self, other: &Self) {
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            count.done += other.done;
            count.possible += other.possible;
        }
    }

    /// These are about to be sent.
    ///
    /// # Errors
    /// The file cannot be written, or one is not among the entities that are counted.
    pub(super) fn sends(&mut self, entities: &[u64]) -> Result<(), BenchError> {
        for entity in entities {
            self.count(*entity)?.possible += 1;
        }
        self.keep()
    }

    /// These were decided, and refused if that is so.
    ///
    /// # Errors
    /// The file cannot be written, or one is not among the entities that are counted.
    pub(super) fn decided(&mut self, moves: impl IntoIterator<Item = (u64, bool)>) -> Result<(), BenchError> {
        for (entity, is_refused) in moves {
            let count = self.count(entity)?;
            if is_refused {
                count.possible -= 1;
            } else {
                count.done += 1;
            }
        }
        self.keep()
    }

    /// Compares with how often each entity was moved as far as the server knows.
    ///
    /// # Errors
    /// It does not know one.
    pub(in crate::bench) fn compare(
        &self,
        found: impl Fn(EntityId) -> Option<u64>,
    ) -> Result<Outcome, BenchError> {
        let mut outcome = Outcome::default();
        for (entity, count) in (1..).map(EntityId).zip(&self.counts) {
            let Some(moves) = found(entity) else {
                return Err(BenchError::unexpected("the world", format!("entity {entity}"), "nothing"));
            };
            outcome.moves += count.done;
            outcome.lost += count.done.saturating_sub(moves);
            outcome.doubled += moves.saturating_sub(count.possible);
        }
        Ok(outcome)
    }

    fn count(&mut self, entity: u64) -> Result<&mut Count, BenchError> {
        let entities = self.counts.len();
        let place = usize::try_from(entity).ok().and_then(|entity| entity.checked_sub(1));
        place.and_then(|place| self.counts.get_mut(place)).ok_or_else(|| {
            let what = format!("entities 1 to {entities} only");
            BenchError::unexpected("an owner", what, format!("entity {entity}"))
        })
    }

    fn keep(&self) -> Result<(), BenchError> {
        let Some(file) = &self.file else { return Ok(()) };
        let numbers = self.counts.iter().flat_map(|count| [count.done, count.possible]);
        let bytes: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
        file.write_all_at(&bytes, 0).map_err(cannot("write a tally"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_decided_may_be_there_or_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut one = Tally::in_file(2, &folder.path().join("one")).expect("a file");
        one.sends(&[1, 2]).expect("kept");
        one.decided([(1, false), (2, true)]).expect("kept");
        one.sends(&[1]).expect("kept");
        drop(one);
        let all = Tally::of_folder(2, folder.path()).expect("one file");
        let compare = |moves: [u64; 2]| all.compare(|entity| moves.get(entity.0 as usize - 1).copied());
        let outcome = |lost, doubled| Outcome { moves: 1, lost, doubled };
        assert_eq!(compare([1, 0]).expect("known"), outcome(0, 0));
        assert_eq!(compare([2, 0]).expect("known"), outcome(0, 0));
        assert_eq!(compare([0, 1]).expect("known"), outcome(1, 1));
        assert!(all.compare(|_| None).is_err());
        let mut small = Tally::new(2);
        for entity in [0, 3] {
            let refused = small.sends(&[entity]).expect_err("not counted").to_string();
            assert!(refused.contains("1 to 2") && refused.contains(&format!("entity {entity}")), "{refused}");
        }
    }
}
