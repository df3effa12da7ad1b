//! The trait.

use std::fmt;

use crate::error::{AppendError, StorageError};
use crate::manifest::Manifest;

/// A log: the world's, or a partition's. No two share anything but the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u32);

/// The number of a record in its log, from 1, without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogSeq(pub u64);

/// The fence of a log: who may append. Not an epoch: those are about workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

/// A checkpoint, of all logs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckpointId(pub u64);

impl LogId {
    /// The world's.
    pub const WORLD: Self = Self(0);

    /// That of a partition.
    pub const fn of_partition(partition: u16) -> Self {
        Self(partition as u32 + 1)
    }
}

impl LogSeq {
    /// The first of a log.
    pub const FIRST: Self = Self(1);

    /// The one that is so many further.
    pub const fn after(self, records: u64) -> Self {
        Self(self.0 + records)
    }
}

/// A record, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub seq: LogSeq,
    /// Under which term it was written.
    pub term: Term,
    /// When, in microseconds of Unix time.
    pub unix_us: i64,
    /// What it says.
    pub body: Vec<u8>,
}

/// What became of an append of which that was not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is stored.
    Stored,
    /// So many of its records are stored, and no more: none, or the first of several.
    Torn(usize),
    /// Another one has appended there.
    Overtaken,
}

/// How much is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of records and checkpoints, as they take place on disk.
    pub bytes: u64,
}

/// Keeps logs and checkpoints. A call that returns `Ok` has put what it says where a crash does not take it, except for
/// [`Storage::put_checkpoint`], which counts from the manifest on that names it.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Takes a log over under a term: whoever has a lower one cannot append from now on. Returns the number that comes next.
    ///
    /// # Errors
    /// [`AppendError::Fenced`]: somebody has taken it under a higher one.
    fn take(&self, log: LogId, term: Term) -> Result<LogSeq, AppendError>;

    /// Adds records to a log, of which the first gets the number `expected`: all of them, or after a crash some of the first.
    /// Returns the number that comes next.
    ///
    /// # Errors
    /// Why it did not; only of [`AppendError::Unknown`] something may have been written.
    fn append(
        &self,
        log: LogId,
        term: Term,
        expected: LogSeq,
        unix_us: i64,
        bodies: &[&[u8]],
    ) -> Result<LogSeq, AppendError>;

    /// Records from that number on, in order, without a gap: as many as have about `bytes_max` bytes, at least one if there is
    /// one.
    ///
    /// # Errors
    /// What is damaged, missing, or no longer kept.
    fn read(&self, log: LogId, from: LogSeq, bytes_max: usize) -> Result<Vec<Record>, StorageError>;

    /// The first number that is kept, and the one that comes next.
    ///
    /// # Errors
    /// It cannot be read.
    fn bounds(&self, log: LogId) -> Result<(LogSeq, LogSeq), StorageError>;

    /// Drops the records before that number.
    ///
    /// # Errors
    /// It cannot be written.
    fn truncate_before(&self, log: LogId, seq: LogSeq) -> Result<(), StorageError>;

    /// Puts a part of a checkpoint; parts of a log are numbered from 0.
    ///
    /// # Errors
    /// It cannot be written.
    fn put_checkpoint(
        &self,
        id: CheckpointId,
        log: LogId,
        part: u32,
        unix_us: i64,
        body: &[u8],
    ) -> Result<(), StorageError>;

    /// A part of a checkpoint.
    ///
    /// # Errors
    /// It is damaged, or missing.
    fn checkpoint(&self, id: CheckpointId, log: LogId, part: u32) -> Result<Vec<u8>, StorageError>;

    /// Drops a checkpoint, whole or not.
    ///
    /// # Errors
    /// It cannot be written, or the manifest names it.
    fn drop_checkpoint(&self, id: CheckpointId) -> Result<(), StorageError>;

    /// The checkpoints of which anything is there, by rising id.
    ///
    /// # Errors
    /// It cannot be read.
    fn checkpoints(&self) -> Result<Vec<CheckpointId>, StorageError>;

    /// Replaces the manifest, under the world's term. Its version is one more than the last one's; the first is 1.
    ///
    /// # Errors
    /// As [`Storage::append`].
    fn commit_manifest(&self, term: Term, unix_us: i64, manifest: &Manifest) -> Result<(), AppendError>;

    /// The manifest; `None`: there has never been one.
    ///
    /// # Errors
    /// It is damaged.
    fn manifest(&self) -> Result<Option<Manifest>, StorageError>;

    /// How much is stored.
    ///
    /// # Errors
    /// It cannot be read.
    fn usage(&self) -> Result<Usage, StorageError>;

    /// What became of an append of which it was not known, after the storage was opened anew.
    ///
    /// # Errors
    /// What is there cannot be read.
    fn outcome(
        &self,
        log: LogId,
        term: Term,
        expected: LogSeq,
        bodies: &[&[u8]],
    ) -> Result<Outcome, StorageError> {
        let (mut stored, mut from) = (0, expected);
        let (_, next) = self.bounds(log)?;
        while from < next && stored < bodies.len() {
            for record in self.read(log, from, 1 << 20)? {
                match bodies.get(stored) {
                    Some(body) if record.term == term && record.body == *body => stored += 1,
                    Some(_) => return Ok(Outcome::Overtaken),
                    None => break,
                }
                from = record.seq.after(1);
            }
        }
        Ok(if stored == bodies.len() { Outcome::Stored } else { Outcome::Torn(stored) })
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.checked_sub(1) {
            None => f.write_str("the world's log"),
            Some(partition) => write!(f, "partition {partition}"),
        }
    }
}

impl fmt::Display for LogSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
