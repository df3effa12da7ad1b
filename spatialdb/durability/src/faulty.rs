//! A disk in memory that fails when it is told to: writes are refused, torn, lost in a crash, and what is kept is damaged.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::StorageError;
use crate::keys::{Change, Family, Keys, WriteError};
use crate::memory::{Kept, MemoryKeys};
use crate::{LogId, LogSeq};

/// What goes wrong with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full: nothing of it is written.
    Full,
    /// It is written, and the answer is an error.
    Silent,
    /// Only so many of its changes are written, and the answer is an error.
    Torn(usize),
}

/// A disk with faults.
#[derive(Debug, Default)]
pub struct FaultyKeys {
    /// As everybody sees it.
    seen: MemoryKeys,
    disk: Mutex<Disk>,
}

#[derive(Debug, Default)]
struct Disk {
    /// As it would be after a crash.
    safe: Kept,
    /// What a crash would take, in order.
    loose: Vec<Change>,
    writes: u64,
    faults: BTreeMap<u64, Fault>,
}

impl FaultyKeys {
    /// A disk on which the writes of these numbers, from 0, go wrong.
    pub fn new(faults: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        let disk = Disk { faults: faults.into_iter().collect(), ..Disk::default() };
        Self { disk: Mutex::new(disk), ..Self::default() }
    }

    /// The same disk after a crash of the machine: what was written loosely is gone. No faults are left.
    #[must_use]
    pub fn crashed(&self) -> Self {
        let safe = self.disk().safe.clone();
        let disk = Disk { safe: safe.clone(), ..Disk::default() };
        let seen = MemoryKeys::of(safe);
        Self { seen, disk: Mutex::new(disk) }
    }

    /// Changes a bit of a value. Returns whether there is one.
    pub fn flip(&self, family: Family, key: &[u8], bit: usize) -> bool {
        self.change(family, key, |value| {
            let bit = bit % (value.len() * 8).max(1);
            if let Some(byte) = value.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        })
    }

    /// Cuts a value off. Returns whether there is one.
    pub fn cut(&self, family: Family, key: &[u8], bytes: usize) -> bool {
        self.change(family, key, |value| value.truncate(bytes))
    }

    /// Puts what is kept under one key under another too.
    pub fn misplace(&self, family: Family, from: &[u8], to: &[u8]) {
        let value = self.seen.kept().values.get(&(family, from.to_vec())).cloned();
        let put = value.map(|value| Change::Put(family, to.to_vec(), value));
        put.into_iter().for_each(|put| self.make_everywhere(&put));
    }

    /// Loses a key, with all before another one.
    pub fn lose(&self, family: Family, from: &[u8], to: &[u8]) {
        self.make_everywhere(&Change::DropRange(family, from.to_vec(), to.to_vec()));
    }

    /// All keys of a family, in order.
    pub fn keys(&self, family: Family) -> Vec<Vec<u8>> {
        let kept = self.seen.kept();
        kept.values.keys().filter(|(of, _)| *of == family).map(|(_, key)| key.clone()).collect()
    }

    fn change(&self, family: Family, key: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(mut value) = self.seen.kept().values.get(&(family, key.to_vec())).cloned() else {
            return false;
        };
        change(&mut value);
        self.make_everywhere(&Change::Put(family, key.to_vec(), value));
        true
    }

    fn make_everywhere(&self, change: &Change) {
        self.seen.kept().make(change.clone());
        self.disk().safe.make(change.clone());
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self) -> Option<Fault> {
        let mut disk = self.disk();
        let number = disk.writes;
        disk.writes += 1;
        disk.faults.remove(&number)
    }

    fn make(&self, changes: Vec<Change>, is_safe: bool) {
        let disk = &mut *self.disk();
        for change in changes {
            self.seen.kept().make(change.clone());
            disk.loose.push(change);
        }
        if is_safe {
            disk.loose.drain(..).for_each(|change| disk.safe.make(change));
        }
    }

    fn write_at(&self, mut changes: Vec<Change>, is_safe: bool) -> Result<(), WriteError> {
        let error = |kind: io::ErrorKind| StorageError::Io { what: "write".to_owned(), source: kind.into() };
        match self.fault() {
            None => {
                self.make(changes, is_safe);
                Ok(())
            }
            Some(Fault::Full) => Err(WriteError::Refused(error(io::ErrorKind::StorageFull))),
            Some(Fault::Silent) => {
                self.make(changes, is_safe);
                Err(WriteError::Unknown(error(io::ErrorKind::Other)))
            }
            Some(Fault::Torn(kept)) => {
                changes.truncate(kept);
                self.make(changes, is_safe);
                Err(WriteError::Unknown(error(io::ErrorKind::Other)))
            }
        }
    }
}

impl Keys for FaultyKeys {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.seen.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StorageError> {
        self.seen.scan(family, from, to, each)
    }

    fn last(&self, family: Family, from: &[u8], to: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.seen.last(family, from, to)
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), WriteError> {
        self.write_at(changes, true)
    }

    fn write_loosely(&self, changes: Vec<Change>) -> Result<(), WriteError> {
        self.write_at(changes, false)
    }

    fn note_acknowledged(&self, log: LogId, seq: LogSeq) {
        self.seen.note_acknowledged(log, seq);
        self.disk().safe.note_acknowledged(log, seq);
    }

    fn acknowledged(&self, log: LogId) -> Option<LogSeq> {
        self.seen.acknowledged(log)
    }

    fn bytes(&self) -> Result<u64, StorageError> {
        self.seen.bytes()
    }
}
