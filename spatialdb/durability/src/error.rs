//! What can go wrong with what is stored.

use std::io;

use crate::{LogId, LogSeq, Term};

/// Why something stored could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// It is there and is not what was written.
    #[error("{what} is damaged: {damage}")]
    Damaged {
        /// What was to be there.
        what: String,
        /// What is wrong with it.
        damage: Damage,
    },
    /// It should be there.
    #[error("{what} is missing")]
    Missing {
        /// What should be there.
        what: String,
    },
    /// What was to be read is no longer kept.
    #[error("record {seq} of {log} is no longer kept: it begins at {begins}")]
    Truncated {
        /// Of which log.
        log: LogId,
        /// Which record.
        seq: LogSeq,
        /// The first that is kept.
        begins: LogSeq,
    },
    /// The system refused something.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it did not work.
        source: io::Error,
    },
    /// Something went wrong before: nothing is written any more, until the storage is opened anew.
    #[error("nothing is written any more since this went wrong: {0}")]
    Dead(String),
    /// What is asked for must not be.
    #[error("{0}")]
    Refused(String),
    /// Another process has the directory.
    #[error("{directory} is in use by {holder}")]
    InUse {
        /// Which directory.
        directory: String,
        /// Who has it.
        holder: String,
    },
    /// The directory is no data directory, or one of another version.
    #[error("{directory} is no data directory of this version: {why}")]
    Foreign {
        /// Which directory.
        directory: String,
        /// What is there.
        why: String,
    },
}

/// What is wrong with stored bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// There are fewer bytes than the header has.
    #[error("it has {bytes} bytes, fewer than {least}")]
    Short {
        /// So many are there.
        bytes: u64,
        /// So many the header has.
        least: u64,
    },
    /// It does not begin as it should.
    #[error("it does not begin with SDLB")]
    NoBlob,
    /// A later version wrote it.
    #[error("it has format version {found}; this version reads {known}")]
    Version {
        /// What it says.
        found: u16,
        /// What is known.
        known: u16,
    },
    /// The body is shorter or longer than the header says.
    #[error("its body has {bytes} bytes, where its header says {said}")]
    Length {
        /// So many are there.
        bytes: u64,
        /// So many should be.
        said: u64,
    },
    /// A bit is other than it was.
    #[error("its checksum does not fit")]
    Checksum,
    /// It is nothing that is known.
    #[error("it is of kind {found}, which is not known")]
    Kind {
        /// What it says.
        found: u16,
    },
    /// It is whole, and belongs elsewhere.
    #[error("it is {found}")]
    Misplaced {
        /// What it is.
        found: String,
    },
    /// Its body is not what it should be.
    #[error("{0}")]
    Body(String),
    /// What was acknowledged is not there.
    #[error("it ends with {found}, and {acknowledged} was acknowledged")]
    CutOff {
        /// The last that is there.
        found: LogSeq,
        /// The last that somebody was told is stored.
        acknowledged: LogSeq,
    },
    /// The database says so.
    #[error("{0}")]
    Database(String),
}

/// Why records were not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody with a higher term appends: this one never may again. Nothing was written.
    #[error("{log} is written under term {term}, {own} may not any more")]
    Fenced {
        /// Which log.
        log: LogId,
        /// The higher term.
        term: Term,
        /// The term that was given.
        own: Term,
    },
    /// Another number comes next. Nothing was written.
    #[error("the next record of {log} is {next}, not {expected}")]
    Conflict {
        /// Which log.
        log: LogId,
        /// What comes next.
        next: LogSeq,
        /// What was said to come next.
        expected: LogSeq,
    },
    /// It may be there or not: opened anew, [`crate::Storage::outcome`] says which.
    #[error("whether {log} has record {expected} is not known: {why}")]
    Unknown {
        /// Which log.
        log: LogId,
        /// The first that was to be written.
        expected: LogSeq,
        /// What went wrong.
        why: String,
    },
    /// Nothing was written, for another reason.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
