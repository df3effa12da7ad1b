//! Keys and values in RocksDB.
//!
//! Records go through its write-ahead log, which is synced before anybody is told; parts of checkpoints do without, and are
//! flushed before the next thing that counts is written. Bounded memory: [`BUFFER_BYTES`] for each family, twice.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, Direction, ErrorKind,
    IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions,
};

use crate::directory::Directory;
use crate::error::{Damage, StorageError};
use crate::keys::{Change, Family, Keys, WriteError};
use crate::{LogId, LogSeq};

/// In the data directory.
const DATABASE: &str = "db";
const ACKNOWLEDGED: &str = "acknowledged";

/// What is written and not in a file of its own yet, of each family.
const BUFFER_BYTES: usize = 64 << 20;
/// Of the log that is written ahead, before buffers are written out for its sake.
const AHEAD_BYTES_MAX: u64 = 256 << 20;
/// Files of words about what RocksDB did.
const INFO_FILES: usize = 4;

/// Of each log: `u64` record, `u32` checksum of it and the log's id, 4 bytes that are 0.
const SLOT_BYTES: usize = 16;

/// Keys and values in a data directory.
#[derive(Debug)]
pub struct RocksKeys {
    database: DB,
    acknowledged: File,
    /// Something was written that a crash would take.
    has_loose: AtomicBool,
    directory: Directory,
}

impl RocksKeys {
    /// What is in a directory; nothing yet, if it is new.
    ///
    /// # Errors
    /// It is damaged, or cannot be opened.
    pub fn open(directory: Directory) -> Result<Self, StorageError> {
        let path = directory.path().join(DATABASE);
        let mut options = Options::default();
        // Of a directory that is not new a database that is missing is a loss, not a beginning.
        options.create_if_missing(directory.is_new());
        options.create_missing_column_families(directory.is_new());
        options.set_paranoid_checks(true);
        // A write that a crash cut off is no damage; whether it was acknowledged is known elsewhere.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_track_and_verify_wals_in_manifest(true);
        options.set_max_total_wal_size(AHEAD_BYTES_MAX);
        options.set_keep_log_file_num(INFO_FILES);
        let families = Family::ALL.map(|family| {
            let mut options = Options::default();
            options.set_write_buffer_size(BUFFER_BYTES);
            options.set_compression_type(DBCompressionType::Lz4);
            ColumnFamilyDescriptor::new(name(family), options)
        });
        let database = DB::open_cf_descriptors(&options, &path, families)
            .map_err(|error| failed("open", &path, &error))?;
        let path = directory.path().join(ACKNOWLEDGED);
        let acknowledged = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let acknowledged = acknowledged.map_err(|source| {
            let what = format!("open {}", path.display());
            StorageError::Io { what, source }
        })?;
        Ok(Self { database, acknowledged, has_loose: AtomicBool::new(false), directory })
    }

    fn family(&self, family: Family) -> &ColumnFamily {
        self.database.cf_handle(name(family)).expect("opened with all families")
    }

    fn failed(&self, what: &str, error: &rocksdb::Error) -> StorageError {
        failed(what, &self.directory.path().join(DATABASE), error)
    }

    fn batch(&self, changes: Vec<Change>) -> WriteBatch {
        let mut batch = WriteBatch::default();
        for change in changes {
            match change {
                Change::Put(family, key, value) => batch.put_cf(self.family(family), key, value),
                Change::DropRange(family, from, to) => {
                    batch.delete_range_cf(self.family(family), from, to);
                }
            }
        }
        batch
    }

    /// Puts what was written loosely where a crash does not take it.
    fn secure(&self) -> Result<(), StorageError> {
        if self.has_loose.swap(false, Ordering::AcqRel) {
            let flushed = self.database.flush_cf(self.family(Family::Checkpoint));
            flushed.map_err(|error| self.failed("write a checkpoint to", &error))?;
        }
        Ok(())
    }
}

impl Keys for RocksKeys {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.database.get_cf(self.family(family), key).map_err(|error| self.failed("read", &error))
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StorageError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(to);
        let mode = IteratorMode::From(from, Direction::Forward);
        for entry in self.database.iterator_cf_opt(self.family(family), options, mode) {
            let (key, value) = entry.map_err(|error| self.failed("read", &error))?;
            if !each(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    fn last(&self, family: Family, from: &[u8], to: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        let mode = IteratorMode::From(to, Direction::Reverse);
        for entry in self.database.iterator_cf_opt(self.family(family), options, mode) {
            let (key, _) = entry.map_err(|error| self.failed("read", &error))?;
            if &*key < to {
                return Ok(Some(key.into()));
            }
        }
        Ok(None)
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), WriteError> {
        self.secure().map_err(WriteError::Refused)?;
        let ranges: Vec<_> = changes
            .iter()
            .filter_map(|change| match change {
                Change::DropRange(family, from, to) => Some((*family, from.clone(), to.clone())),
                Change::Put(..) => None,
            })
            .collect();
        let mut options = WriteOptions::default();
        options.set_sync(true);
        let written = self.database.write_opt(self.batch(changes), &options);
        written.map_err(|error| WriteError::Unknown(self.failed("write to", &error)))?;
        for (family, from, to) in ranges {
            // Whole files of it are gone at once; that it is gone is written already. Here the end is dropped too: what is kept is not
            // to be the end of a file that goes.
            if let Some(last) = before(&to) {
                let _ = self.database.delete_file_in_range_cf(self.family(family), from, last);
            }
        }
        Ok(())
    }

    fn write_loosely(&self, changes: Vec<Change>) -> Result<(), WriteError> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.has_loose.store(true, Ordering::Release);
        let written = self.database.write_opt(self.batch(changes), &options);
        written.map_err(|error| WriteError::Unknown(self.failed("write to", &error)))
    }

    fn note_acknowledged(&self, log: LogId, seq: LogSeq) {
        // It is a help, and not relied on.
        let _ = self.acknowledged.write_all_at(&slot(log, seq), u64::from(log.0) * SLOT_BYTES as u64);
    }

    fn acknowledged(&self, log: LogId) -> Option<LogSeq> {
        let mut bytes = [0; SLOT_BYTES];
        self.acknowledged.read_exact_at(&mut bytes, u64::from(log.0) * SLOT_BYTES as u64).ok()?;
        let seq = LogSeq(u64::from_le_bytes(*bytes.first_chunk()?));
        // The machine may have stopped while it was written.
        (slot(log, seq) == bytes).then_some(seq)
    }

    fn bytes(&self) -> Result<u64, StorageError> {
        let path = self.directory.path().join(DATABASE);
        let sum = || -> io::Result<u64> {
            let files = std::fs::read_dir(&path)?.map(|entry| Ok(entry?.metadata()?.len()));
            files.filter(|file| !file.as_ref().is_err_and(is_gone)).sum()
        };
        sum().map_err(|source| StorageError::Io { what: format!("read {}", path.display()), source })
    }
}

/// The key of the same length that comes before; `None`: there is none.
fn before(key: &[u8]) -> Option<Vec<u8>> {
    let mut key = key.to_vec();
    for byte in key.iter_mut().rev() {
        let (less, borrows) = byte.overflowing_sub(1);
        *byte = less;
        if !borrows {
            return Some(key);
        }
    }
    None
}

/// Files come and go while they are counted.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

const fn name(family: Family) -> &'static str {
    match family {
        Family::Meta => "default",
        Family::Log => "log",
        Family::Checkpoint => "checkpoint",
    }
}

fn slot(log: LogId, seq: LogSeq) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[..8].copy_from_slice(&seq.0.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&log.0.to_le_bytes()), &bytes[..8]);
    bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn failed(what: &str, path: &Path, error: &rocksdb::Error) -> StorageError {
    let is_damage = matches!(error.kind(), ErrorKind::Corruption | ErrorKind::InvalidArgument);
    if is_damage {
        let damage = Damage::Database(error.to_string());
        return StorageError::Damaged { what: path.display().to_string(), damage };
    }
    let kind = if error.to_string().contains("No space left") {
        io::ErrorKind::StorageFull
    } else {
        io::ErrorKind::Other
    };
    let source = io::Error::new(kind, error.to_string());
    StorageError::Io { what: format!("{what} {}", path.display()), source }
}

#[cfg(test)]
mod tests {
    use super::before;

    #[test]
    fn what_comes_before_a_key_is_one_less() {
        assert_eq!(before(&[0, 0, 5]), Some(vec![0, 0, 4]));
        assert_eq!(before(&[0, 1, 0]), Some(vec![0, 0, 255]));
        assert_eq!((before(&[0, 0]), before(&[])), (None, None));
    }
}
