//! A world that is kept in a data directory.
//!
//! Data flows one way: partition -> [`logger`] (a thread for each log: append, fsync) -> storage; and back comes only how far it is.
//! [`keeper`] begins rounds of checkpoints, and keeps what concerns the whole world: which ids, revisions, epochs and sessions may
//! have been given.
//!
//! Responsible for: making such a world, finding it again, and when what is written. Not responsible for: what is written of an entity
//! (`spatialdb_core::log`), or how it lies on disk (`spatialdb_durability`).

mod about;
mod create;
mod history;
mod keeper;
mod logger;
mod recover;
mod regions;
mod status;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;
use spatialdb_core::RestoreError;
use spatialdb_core::authority::issuer::Memory;
use spatialdb_core::log::LogError;
use spatialdb_durability::{
    AppendError, CheckpointId, LogId, LogSeq, Manifest, ManifestLog, Storage, StorageError, Term,
};
use spatialdb_schema::{Schema, SchemaError};
use spatialdb_types::{EntityId, Epoch, PartitionId};
use thiserror::Error;

use self::about::KeptLog;
use self::keeper::Reserved;
use super::partition::PartitionLog;
use crate::config::DurabilityConfig;

pub(crate) use self::about::About;
pub(super) use self::about::AttachedSession;
pub(super) use self::about::Given;
pub(super) use self::create::create;
pub(crate) use self::history::{EntityLog, Written, WrittenWhat};
pub(super) use self::keeper::{Keeper, ToKeeper};
pub(super) use self::logger::{LogItem, LogLink, Logger};
pub(crate) use self::recover::Recovered;
pub(super) use self::recover::recover;
pub(super) use self::status::LogStatus;

/// An open data directory.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    storage: Arc<dyn Storage>,
    /// What is there; `None`: nothing yet.
    found: Option<Found>,
    /// Held while the past is read: nothing of it is dropped meanwhile.
    reading: RwLock<()>,
}

/// A world in a data directory.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) manifest: Manifest,
    pub(crate) about: About,
}

/// A log that this process writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) log: LogId,
    pub(super) term: Term,
    /// What comes next.
    pub(super) next: LogSeq,
}

/// Why a world in a data directory cannot be made, or found again.
#[derive(Debug, Error)]
pub enum DataError {
    /// It cannot be read or written, or is damaged.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It cannot be appended to.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A record is not what was written.
    #[error("{what} is damaged: {source}")]
    Record {
        /// Which.
        what: String,
        /// What is wrong with it.
        source: LogError,
    },
    /// What is said of the world is not what was written.
    #[error("{what} is damaged: {source}")]
    About {
        /// Where.
        what: String,
        /// What is wrong with it.
        source: prost::DecodeError,
    },
    /// An entity is not what was written.
    #[error("what is stored is damaged: {0}")]
    Entity(#[from] RestoreError),
    /// All that is stored of an entity is changes.
    #[error("what is stored is damaged: of entity {0} there are only changes, and not what they change")]
    Cut(EntityId),
    /// There is a world already.
    #[error(
        "there is a world in {directory} already ({name:?}): leave the snapshot out to go on with it, or name another directory"
    )]
    Exists {
        /// Where.
        directory: String,
        /// Which world.
        name: String,
    },
    /// A moment before what is kept.
    #[error("{} is not kept any more: {}", moment(*asked), begins.map_or_else(
        || "history begins with the next checkpoint".to_owned(),
        |begins| format!("history begins at {}; durability.history says how far it reaches", moment(begins)),
    ))]
    TooEarly {
        /// Which moment, in microseconds of Unix time.
        asked: i64,
        /// Where history begins.
        begins: Option<i64>,
    },
    /// What is said of its schema is none.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The world has never had a partition.
    #[error("what is stored is damaged: there is no log of partition 0")]
    NoPartition,
    /// This program was made without it.
    #[error(
        "this spatialdb was built without RocksDB and keeps worlds in memory only: build it with `--features rocksdb` (the default) for --data-dir"
    )]
    NoRocks,
    /// A thread could not be started.
    #[error("cannot start a thread for the log: {0}")]
    Thread(std::io::Error),
}

impl DataDir {
    /// Opens a directory; makes it, if there is none. Nobody else has it as long as this lives.
    ///
    /// # Errors
    /// Another process has it, it is damaged, or holds something else.
    #[cfg(feature = "rocksdb")]
    pub fn open(path: &Path) -> Result<Self, DataError> {
        use spatialdb_durability::{Directory, KeyedStorage, RocksKeys};
        let keys = RocksKeys::open(Directory::take(path)?)?;
        Self::over(path, Arc::new(KeyedStorage::new(keys)))
    }

    /// # Errors
    /// Always: there is nothing to keep it in.
    #[cfg(not(feature = "rocksdb"))]
    pub fn open(_: &Path) -> Result<Self, DataError> {
        Err(DataError::NoRocks)
    }

    #[cfg_attr(not(feature = "rocksdb"), expect(dead_code, reason = "for tests"))]
    fn over(path: &Path, storage: Arc<dyn Storage>) -> Result<Self, DataError> {
        let found = match storage.manifest()? {
            None => None,
            Some(manifest) => {
                let about = About::read(&manifest)?;
                Some(Found { manifest, about })
            }
        };
        Ok(Self { path: path.to_owned(), storage, found, reading: RwLock::default() })
    }

    /// The world that is there.
    pub(crate) const fn found(&self) -> Option<&Found> {
        self.found.as_ref()
    }

    /// The schema that the world has.
    ///
    /// # Errors
    /// What is said of it is none.
    pub(crate) fn schema(&self) -> Result<Schema, DataError> {
        let about = self.found.as_ref().map(|found| &*found.about.descriptor_set);
        Ok(Schema::from_descriptor_set(about.unwrap_or_default())?)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Takes a log over from whoever wrote it before. The directory is locked: nobody else does.
    pub(super) fn take(&self, log: LogId, at_least: Term) -> Result<Taken, DataError> {
        let mut term = at_least;
        loop {
            match self.storage.take(log, term) {
                Ok(next) => return Ok(Taken { log, term, next }),
                Err(AppendError::Fenced { term: higher, .. }) => term = Term(higher.0 + 1),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A moment, for people.
pub(crate) fn moment(unix_us: i64) -> String {
    let since = Duration::from_micros(unix_us.max(0) as u64);
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

/// The latest moment that was told, or found on disk.
static LATEST: AtomicI64 = AtomicI64::new(0);

/// Now, in microseconds of Unix time; never before what was told, or found, already: what is written later is stamped later.
pub(super) fn unix_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
    note_moment(now)
}

/// Something was written at that moment. Returns the latest of all.
fn note_moment(unix_us: i64) -> i64 {
    LATEST.fetch_max(unix_us, Ordering::Relaxed).max(unix_us)
}

/// All that the threads of a durable world need.
pub(super) struct Durable {
    pub(super) data: Arc<DataDir>,
    /// Of each partition.
    pub(super) logs: Vec<PartitionLog>,
    pub(super) loggers: Vec<Logger>,
    pub(super) keeper: Keeper,
    pub(super) to_keeper: crossbeam_channel::Sender<ToKeeper>,
    /// Epochs up to that one were given before.
    pub(super) epochs: Epoch,
    /// The regions that there were.
    pub(super) regions: Option<Memory>,
}

impl Durable {
    /// Takes over the logs of a world that is in the directory by now. `given` is what may have been given before.
    ///
    /// # Errors
    /// They cannot be read or written.
    pub(super) fn begin(
        data: DataDir,
        config: &DurabilityConfig,
        partitions: impl Iterator<Item = PartitionId>,
        given: Given,
        regions: Option<Memory>,
        found_bytes: u64,
        about: About,
    ) -> Result<Self, DataError> {
        let mut about = about;
        let data = Arc::new(data);
        let mut manifest = data
            .storage
            .manifest()?
            .ok_or_else(|| StorageError::Missing { what: "the manifest".to_owned() })?;
        let checkpoints = data.storage.checkpoints()?.into_iter().max().max(manifest.checkpoint);
        let checkpoints = checkpoints.unwrap_or(CheckpointId(0));
        // Of rounds that were cut off.
        for id in data.storage.checkpoints()? {
            if Some(id) != manifest.checkpoint && about.kept.iter().all(|kept| kept.checkpoint != id.0) {
                data.storage.drop_checkpoint(id)?;
            }
        }
        let world = data.take(LogId::WORLD, Term(1))?;
        let (to_keeper, from_logs) = crossbeam_channel::unbounded();
        let (mut logs, mut loggers) = (Vec::new(), Vec::new());
        let interval = config.checkpoint_interval.as_micros() as u64;
        for partition in partitions {
            let taken = data.take(LogId::of_partition(partition.0), world.term)?;
            let (link, logger) = Logger::new(partition, taken, checkpoints, to_keeper.clone());
            logs.push(PartitionLog::new(link, interval));
            loggers.push(logger);
        }
        // A log counts from the manifest on that names it.
        let new: Vec<ManifestLog> = loggers
            .iter()
            .map(Logger::log)
            .filter(|(log, _)| manifest.logs.iter().all(|known| known.log != *log))
            .map(|(log, begins)| ManifestLog { log, parts: 0, begins })
            .collect();
        // So the checkpoint that counts says all that comes with them too.
        if let Some(kept) = about.kept.last_mut() {
            kept.logs.extend(new.iter().map(KeptLog::of));
        }
        let bytes = about.encode_to_vec();
        if !new.is_empty() || manifest.about != bytes {
            manifest.logs.extend(new);
            manifest.logs.sort_unstable_by_key(|log| log.log);
            manifest.about = bytes;
            manifest.version += 1;
            data.storage.commit_manifest(world.term, unix_us(), &manifest)?;
        }
        let reserved = Reserved::begin(&data, world, given, regions.as_ref())?;
        let (kept, config) = (data.clone(), config.clone());
        let mut keeper = Keeper::new(kept, config, reserved, manifest, about, checkpoints, from_logs);
        keeper.count_found(found_bytes);
        let epochs = Epoch(given.epochs);
        Ok(Self { data, logs, loggers, keeper, to_keeper, epochs, regions })
    }
}
