//! Keys and values in memory: for worlds that need no more, and for tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::StorageError;
use crate::keys::{Change, Family, Keys, WriteError};
use crate::{LogId, LogSeq};

/// Keys and values in memory.
#[derive(Debug, Default)]
pub struct MemoryKeys {
    kept: Mutex<Kept>,
}

/// What is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    pub(crate) values: BTreeMap<(Family, Vec<u8>), Vec<u8>>,
    acknowledged: BTreeMap<LogId, LogSeq>,
}

impl Kept {
    pub(crate) fn make(&mut self, change: Change) {
        match change {
            Change::Put(family, key, value) => drop(self.values.insert((family, key), value)),
            Change::DropRange(family, from, to) => {
                self.values.extract_if((family, from)..(family, to), |_, _| true).for_each(drop);
            }
        }
    }

    pub(crate) fn note_acknowledged(&mut self, log: LogId, seq: LogSeq) {
        self.acknowledged.insert(log, seq);
    }

    fn bytes(&self) -> u64 {
        self.values.iter().map(|((_, key), value)| (key.len() + value.len()) as u64).sum()
    }
}

impl MemoryKeys {
    /// With what was kept elsewhere.
    pub(crate) fn of(kept: Kept) -> Self {
        Self { kept: Mutex::new(kept) }
    }

    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys for MemoryKeys {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.kept().values.get(&(family, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StorageError> {
        let kept = self.kept();
        let mut range = kept.values.range((family, from.to_vec())..(family, to.to_vec()));
        // Until it has enough, or there is no more.
        let _ = range.all(|((_, key), value)| each(key, value));
        Ok(())
    }

    fn last(&self, family: Family, from: &[u8], to: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let kept = self.kept();
        let last = kept.values.range((family, from.to_vec())..(family, to.to_vec())).next_back();
        Ok(last.map(|((_, key), _)| key.clone()))
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), WriteError> {
        let mut kept = self.kept();
        changes.into_iter().for_each(|change| kept.make(change));
        Ok(())
    }

    fn write_loosely(&self, changes: Vec<Change>) -> Result<(), WriteError> {
        self.write(changes)
    }

    fn note_acknowledged(&self, log: LogId, seq: LogSeq) {
        self.kept().note_acknowledged(log, seq);
    }

    fn acknowledged(&self, log: LogId) -> Option<LogSeq> {
        self.kept().acknowledged.get(&log).copied()
    }

    fn bytes(&self) -> Result<u64, StorageError> {
        Ok(self.kept().bytes())
    }
}
