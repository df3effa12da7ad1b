//! Where a world's log and checkpoints lie.
//!
//! Responsible for: keeping records and checkpoints so that they come back whole, in order, or as a named error; who may append.
//! Not responsible for: what is in them (`spatialdb-core`), or when they are written (the server).
//!
//! [`Storage`] is the one trait. What it means is written once, over keys and values ([`KeyedStorage`]); those lie in RocksDB
//! ([`RocksKeys`], feature `rocksdb`), in memory ([`MemoryKeys`]), or in memory with faults that one chooses ([`FaultyKeys`]).
//! `tests/conformance.rs` holds all of them to the same.

mod blob;
mod directory;
mod error;
mod faulty;
mod keyed;
mod keys;
mod manifest;
mod memory;
#[cfg(feature = "rocksdb")]
mod rocks;
mod storage;

pub use blob::BLOB_BODY_BYTES_MAX;
pub use directory::Directory;
pub use error::{AppendError, Damage, StorageError};
pub use faulty::{Fault, FaultyKeys};
pub use keyed::KeyedStorage;
pub use keys::{Change, Family, Keys, WriteError};
pub use manifest::{Manifest, ManifestLog};
pub use memory::MemoryKeys;
#[cfg(feature = "rocksdb")]
pub use rocks::RocksKeys;
pub use storage::{CheckpointId, LogId, LogSeq, Outcome, Record, Storage, Term, Usage};
