//! What the storage needs of whatever keeps bytes: ordered keys, changes that happen together, and a word on when they are safe.

use std::fmt;

use crate::error::StorageError;
use crate::{LogId, LogSeq};

/// Keys that are kept apart from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// The manifest, and who may append.
    Meta,
    /// Records: `u32` log, `u64` number, both big-endian.
    Log,
    /// Parts of checkpoints: `u64` checkpoint, `u32` log, `u32` part, all big-endian.
    Checkpoint,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Meta, Self::Log, Self::Checkpoint];
}

/// A change to what is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This key has this value.
    Put(Family, Vec<u8>, Vec<u8>),
    /// The keys from the first on and before the second are gone.
    DropRange(Family, Vec<u8>, Vec<u8>),
}

/// Why changes were not made.
#[derive(Debug)]
pub enum WriteError {
    /// Nothing was changed, and will not be.
    Refused(StorageError),
    /// They may have been made, or some of the first.
    Unknown(StorageError),
}

/// Keeps bytes by key, in order.
pub trait Keys: Send + Sync + fmt::Debug {
    /// The value of a key.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// The keys from the first on and before the second, in order, with their values, until `each` returns false.
    ///
    /// # Errors
    /// They cannot be read, or one is damaged.
    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StorageError>;

    /// The last key from the first on and before the second.
    ///
    /// # Errors
    /// It cannot be read.
    fn last(&self, family: Family, from: &[u8], to: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// Makes changes, all together, with all that was written before. When it returns they are where a crash does not take them.
    ///
    /// # Errors
    /// Why not, and whether something may have been written.
    fn write(&self, changes: Vec<Change>) -> Result<(), WriteError>;

    /// Makes changes that a crash may take until the next [`Keys::write`].
    ///
    /// # Errors
    /// As there.
    fn write_loosely(&self, changes: Vec<Change>) -> Result<(), WriteError>;

    /// Somebody has been told that a log is stored up to this record. Kept apart from the records, at no cost, and not for
    /// certain: what it says is true, though it may be old.
    fn note_acknowledged(&self, log: LogId, seq: LogSeq);

    /// The last record of a log that is known to have been stored.
    fn acknowledged(&self, log: LogId) -> Option<LogSeq>;

    /// Bytes of place that all of it takes.
    ///
    /// # Errors
    /// That cannot be found out.
    fn bytes(&self) -> Result<u64, StorageError>;
}
