//! What the manifest says about the world, and the world's own log.

use std::path::PathBuf;

use prost::Message;
use spatialdb_durability::{Manifest, ManifestLog, Record};
use spatialdb_schema::Schema;
use spatialdb_types::SpaceId;

use super::DataError;

/// What is to be known before anything is read. Fields are never given other meanings.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct About {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) world_id: String,
    #[prost(int64, tag = "3")]
    pub(crate) created_unix_us: i64,
    /// A `google.protobuf.FileDescriptorSet`.
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) descriptor_set: Vec<u8>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) spaces: Vec<SpaceAbout>,
    /// The settings that it was launched with last; empty: none.
    #[prost(string, tag = "6")]
    pub(crate) config: String,
    /// The checkpoints that are kept, the oldest first; the last one counts.
    #[prost(message, repeated, tag = "7")]
    pub(crate) kept: Vec<Kept>,
}

/// A checkpoint, with which the world can be rebuilt as it was at any moment since.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Kept {
    #[prost(uint64, tag = "1")]
    pub(crate) checkpoint: u64,
    /// The moment from which on it says all.
    #[prost(int64, tag = "2")]
    pub(crate) unix_us: i64,
    #[prost(message, repeated, tag = "3")]
    pub(crate) logs: Vec<KeptLog>,
    /// Of it, and of the logs from it to the next one.
    #[prost(uint64, tag = "4")]
    pub(crate) bytes: u64,
}

/// What of a log goes with a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct KeptLog {
    #[prost(uint32, tag = "1")]
    pub(crate) log: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) parts: u32,
    #[prost(uint64, tag = "3")]
    pub(crate) begins: u64,
}

/// A space.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SpaceAbout {
    #[prost(uint32, tag = "1")]
    pub(crate) id: u32,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
}

/// What may have been given: whatever comes after a crash is above. The last record of the world's log counts.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(in crate::server) struct Given {
    #[prost(uint64, tag = "1")]
    pub(in crate::server) entity_ids: u64,
    #[prost(uint64, tag = "2")]
    pub(in crate::server) revisions: u64,
    #[prost(uint64, tag = "3")]
    pub(in crate::server) epochs: u64,
    #[prost(uint32, tag = "4")]
    pub(in crate::server) sessions: u32,
}

/// Who has attached, in records of the world's log: all who are there at a checkpoint, and whoever came since. Stands beside
/// [`Given`], whose numbers are others.
#[derive(Clone, PartialEq, Eq, Message)]
pub(in crate::server) struct Attached {
    #[prost(message, repeated, tag = "16")]
    pub(in crate::server) sessions: Vec<AttachedSession>,
}

/// A session, for those who read what it wrote.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct AttachedSession {
    #[prost(uint32, tag = "1")]
    pub(crate) session: u32,
    #[prost(string, tag = "2")]
    pub(crate) worker_type: String,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
}

impl Kept {
    /// What a manifest names.
    pub(super) fn of(manifest: &Manifest, unix_us: i64, bytes: u64) -> Option<Self> {
        let logs = manifest.logs.iter().map(KeptLog::of).collect();
        Some(Self { checkpoint: manifest.checkpoint?.0, unix_us, logs, bytes })
    }
}

impl KeptLog {
    /// As a manifest has it.
    pub(super) const fn of(log: &ManifestLog) -> Self {
        Self { log: log.log.0, parts: log.parts, begins: log.begins.0 }
    }
}

impl About {
    /// # Errors
    /// It is not what was written.
    pub(super) fn read(manifest: &Manifest) -> Result<Self, DataError> {
        let what = || "what the manifest says about the world".to_owned();
        Self::decode(&*manifest.about).map_err(|source| DataError::About { what: what(), source })
    }

    /// The settings that it was launched with last.
    pub(crate) fn config(&self) -> Option<PathBuf> {
        (!self.config.is_empty()).then(|| PathBuf::from(&self.config))
    }

    /// By id.
    pub(in crate::server) fn spaces(&self) -> Vec<(SpaceId, String)> {
        self.spaces.iter().map(|space| (SpaceId(space.id), space.name.clone())).collect()
    }

    /// With another schema and these spaces.
    pub(in crate::server) fn with(self, schema: &Schema, spaces: &[(SpaceId, String)]) -> Self {
        let space = |(id, name): &(SpaceId, String)| SpaceAbout { id: id.0, name: name.clone() };
        Self {
            descriptor_set: schema.descriptor_set().to_vec(),
            spaces: spaces.iter().map(space).collect(),
            ..self
        }
    }
}

impl Given {
    /// # Errors
    /// It is not what was written.
    pub(super) fn read(record: &Record) -> Result<Self, DataError> {
        let what = || format!("record {} of the world's log", record.seq);
        Self::decode(&*record.body).map_err(|source| DataError::About { what: what(), source })
    }
}

impl Attached {
    /// # Errors
    /// As above.
    pub(super) fn read(record: &Record) -> Result<Self, DataError> {
        let what = || format!("record {} of the world's log", record.seq);
        Self::decode(&*record.body).map_err(|source| DataError::About { what: what(), source })
    }
}
