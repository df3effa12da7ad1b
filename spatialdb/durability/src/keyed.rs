//! What the storage means, over keys and values.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::blob::{Blob, BlobKind, Place};
use crate::error::{AppendError, Damage, StorageError};
use crate::keys::{Change, Family, Keys, WriteError};
use crate::manifest::Manifest;
use crate::storage::{CheckpointId, LogId, LogSeq, Record, Storage, Term, Usage};

const MANIFEST_KEY: &[u8] = b"manifest";
/// Followed by the log, big-endian: under which term it is written, and the first record that is kept.
const LOG_KEY: &[u8] = b"log:";

/// A storage over keys and values.
#[derive(Debug)]
pub struct KeyedStorage<K> {
    keys: K,
    logs: Mutex<BTreeMap<LogId, Arc<Mutex<Option<Log>>>>>,
    /// Locked while the manifest is replaced.
    manifest: Mutex<()>,
    /// Why nothing is written any more.
    dead: OnceLock<String>,
}

/// How a log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Log {
    term: Term,
    begins: LogSeq,
    next: LogSeq,
}

impl<K: Keys> KeyedStorage<K> {
    /// Over what is kept there.
    pub fn new(keys: K) -> Self {
        let (logs, manifest, dead) = (Mutex::default(), Mutex::default(), OnceLock::new());
        Self { keys, logs, manifest, dead }
    }

    /// What it is kept in.
    pub const fn keys(&self) -> &K {
        &self.keys
    }

    /// Ends it. Returns what it was kept in.
    pub fn into_keys(self) -> K {
        self.keys
    }

    fn log(&self, log: LogId) -> Arc<Mutex<Option<Log>>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).entry(log).or_default().clone()
    }

    /// Lets one at a time do something with a log.
    fn with_log<R, E: From<StorageError>>(
        &self,
        id: LogId,
        act: impl FnOnce(&mut Log) -> Result<R, E>,
    ) -> Result<R, E> {
        let log = self.log(id);
        let mut log = lock(&log);
        let mut state = match *log {
            Some(state) => state,
            None => self.load(id)?,
        };
        let result = act(&mut state);
        *log = Some(state);
        result
    }

    fn load(&self, log: LogId) -> Result<Log, StorageError> {
        let (term, begins) = match self.keys.get(Family::Meta, &log_key(log))? {
            None => (Term(0), LogSeq::FIRST),
            Some(bytes) => decode_log(log, &bytes)?,
        };
        let (from, to) = (record_key(log, begins), record_key(log, LogSeq(u64::MAX)));
        let last = self.keys.last(Family::Log, &from, &to)?.map(|key| number_in(log, &key)).transpose()?;
        let next = last.map_or(begins, |last| last.after(1));
        let acknowledged = self.keys.acknowledged(log).unwrap_or(LogSeq(0));
        if acknowledged >= next {
            let damage = Damage::CutOff { found: LogSeq(next.0 - 1), acknowledged };
            return Err(StorageError::Damaged { what: log.to_string(), damage });
        }
        Ok(Log { term, begins, next })
    }

    fn check_alive(&self) -> Result<(), StorageError> {
        self.dead.get().map_or(Ok(()), |why| Err(StorageError::Dead(why.clone())))
    }

    /// What follows from an error of a write: whatever it was, nothing is written any more. Returns whether something may have
    /// been written.
    fn died(&self, error: WriteError) -> (bool, StorageError) {
        let (may_be, error) = match error {
            WriteError::Refused(error) => (false, error),
            WriteError::Unknown(error) => (true, error),
        };
        // The first reason counts.
        let _ = self.dead.set(error.to_string());
        (may_be, error)
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), StorageError> {
        self.check_alive()?;
        self.keys.write(changes).map_err(|error| self.died(error).1)
    }
}

impl<K: Keys> Storage for KeyedStorage<K> {
    fn take(&self, log: LogId, term: Term) -> Result<LogSeq, AppendError> {
        self.with_log(log, |state| {
            check_term(log, state, term)?;
            let taken = Log { term, ..*state };
            self.write(vec![Change::Put(Family::Meta, log_key(log), encode_log(log, &taken))])?;
            *state = taken;
            Ok(state.next)
        })
    }

    fn append(
        &self,
        log: LogId,
        term: Term,
        expected: LogSeq,
        unix_us: i64,
        bodies: &[&[u8]],
    ) -> Result<LogSeq, AppendError> {
        self.with_log(log, |state| {
            self.check_alive()?;
            check_term(log, state, term)?;
            if term > state.term {
                let why = format!("{log} has to be taken under term {term} before it is appended to");
                return Err(AppendError::Storage(StorageError::Refused(why)));
            }
            if expected != state.next {
                return Err(AppendError::Conflict { log, next: state.next, expected });
            }
            let change = |(i, body): (usize, &&[u8])| {
                let seq = expected.after(i as u64);
                let blob = Blob::encode(&record_place(log, seq), term.0, unix_us, body);
                Change::Put(Family::Log, record_key(log, seq), blob)
            };
            let changes: Vec<Change> = bodies.iter().enumerate().map(change).collect();
            self.keys.write(changes).map_err(|error| match self.died(error) {
                (true, error) => AppendError::Unknown { log, expected, why: error.to_string() },
                (false, error) => AppendError::Storage(error),
            })?;
            state.next = expected.after(bodies.len() as u64);
            if let Some(last) = state.next.0.checked_sub(1).filter(|_| !bodies.is_empty()) {
                self.keys.note_acknowledged(log, LogSeq(last));
            }
            Ok(state.next)
        })
    }

    fn read(&self, log: LogId, from: LogSeq, bytes_max: usize) -> Result<Vec<Record>, StorageError> {
        let (begins, next) = self.bounds(log)?;
        if from < begins {
            return Err(StorageError::Truncated { log, seq: from, begins });
        }
        if from >= next {
            return Ok(Vec::new());
        }
        let (mut records, mut bytes, mut failed) = (Vec::new(), 0, None);
        self.keys.scan(Family::Log, &record_key(log, from), &record_key(log, next), &mut |key, value| {
            match record_of(log, from.after(records.len() as u64), key, value) {
                Ok(record) => {
                    bytes += record.body.len();
                    records.push(record);
                    bytes < bytes_max
                }
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        })?;
        match failed {
            Some(error) => Err(error),
            None if records.is_empty() => Err(missing(record_place(log, from))),
            None => Ok(records),
        }
    }

    fn bounds(&self, log: LogId) -> Result<(LogSeq, LogSeq), StorageError> {
        self.with_log(log, |state| Ok((state.begins, state.next)))
    }

    fn truncate_before(&self, log: LogId, seq: LogSeq) -> Result<(), StorageError> {
        self.with_log(log, |state| {
            let begins = seq.min(state.next);
            if begins <= state.begins {
                return Ok(());
            }
            let shorter = Log { begins, ..*state };
            self.write(vec![
                Change::Put(Family::Meta, log_key(log), encode_log(log, &shorter)),
                Change::DropRange(Family::Log, record_key(log, LogSeq(0)), record_key(log, begins)),
            ])?;
            *state = shorter;
            Ok(())
        })
    }

    fn put_checkpoint(
        &self,
        id: CheckpointId,
        log: LogId,
        part: u32,
        unix_us: i64,
        body: &[u8],
    ) -> Result<(), StorageError> {
        self.check_alive()?;
        let blob = Blob::encode(&part_place(id, log, part), 0, unix_us, body);
        let put = Change::Put(Family::Checkpoint, part_key(id, log, part), blob);
        self.keys.write_loosely(vec![put]).map_err(|error| self.died(error).1)
    }

    fn checkpoint(&self, id: CheckpointId, log: LogId, part: u32) -> Result<Vec<u8>, StorageError> {
        let place = part_place(id, log, part);
        let bytes = self.keys.get(Family::Checkpoint, &part_key(id, log, part))?;
        Ok(Blob::decode(&place, &bytes.ok_or_else(|| missing(place))?)?.body)
    }

    fn drop_checkpoint(&self, id: CheckpointId) -> Result<(), StorageError> {
        let _one = lock(&self.manifest);
        if self.manifest()?.is_some_and(|manifest| manifest.checkpoint == Some(id)) {
            return Err(StorageError::Refused(format!("checkpoint {id} is the one that counts")));
        }
        let from = part_key(id, LogId(0), 0);
        let to = part_key(CheckpointId(id.0 + 1), LogId(0), 0);
        self.write(vec![Change::DropRange(Family::Checkpoint, from, to)])
    }

    fn checkpoints(&self) -> Result<Vec<CheckpointId>, StorageError> {
        let mut ids: Vec<CheckpointId> = Vec::new();
        let mut next = Some(0);
        let end = part_key(CheckpointId(u64::MAX), LogId(0), 0);
        while let Some(from) = next.take() {
            let from = part_key(CheckpointId(from), LogId(0), 0);
            self.keys.scan(Family::Checkpoint, &from, &end, &mut |key, _| {
                let id = key.first_chunk().map_or(0, |id| u64::from_be_bytes(*id));
                ids.push(CheckpointId(id));
                next = Some(id + 1);
                false
            })?;
        }
        Ok(ids)
    }

    fn commit_manifest(&self, term: Term, unix_us: i64, manifest: &Manifest) -> Result<(), AppendError> {
        let _one = lock(&self.manifest);
        self.with_log(LogId::WORLD, |state| check_term(LogId::WORLD, state, term))?;
        let expected = self.manifest()?.map_or(0, |manifest| manifest.version) + 1;
        if manifest.version != expected {
            let (next, expected) = (LogSeq(expected), LogSeq(manifest.version));
            return Err(AppendError::Conflict { log: LogId::WORLD, next, expected });
        }
        let place = manifest_place(manifest.version);
        let mut value = manifest.version.to_le_bytes().to_vec();
        value.extend(Blob::encode(&place, term.0, unix_us, &manifest.encode()));
        Ok(self.write(vec![Change::Put(Family::Meta, MANIFEST_KEY.to_vec(), value)])?)
    }

    fn manifest(&self) -> Result<Option<Manifest>, StorageError> {
        let Some(bytes) = self.keys.get(Family::Meta, MANIFEST_KEY)? else { return Ok(None) };
        let damaged = |damage| StorageError::Damaged { what: "the manifest".to_owned(), damage };
        let short = Damage::Short { bytes: bytes.len() as u64, least: 8 };
        let (version, blob) = bytes.split_first_chunk().ok_or_else(|| damaged(short))?;
        let version = u64::from_le_bytes(*version);
        let blob = Blob::decode(&manifest_place(version), blob)?;
        Manifest::decode(version, &blob.body).map(Some).map_err(damaged)
    }

    fn usage(&self) -> Result<Usage, StorageError> {
        Ok(Usage { bytes: self.keys.bytes()? })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check_term(log: LogId, state: &Log, own: Term) -> Result<(), AppendError> {
    let term = state.term;
    if own < term { Err(AppendError::Fenced { log, term, own }) } else { Ok(()) }
}

fn record_of(log: LogId, expected: LogSeq, key: &[u8], value: &[u8]) -> Result<Record, StorageError> {
    let seq = number_in(log, key)?;
    if seq != expected {
        return Err(missing(record_place(log, expected)));
    }
    let blob = Blob::decode(&record_place(log, seq), value)?;
    Ok(Record { seq, term: Term(blob.term), unix_us: blob.unix_us, body: blob.body })
}

fn missing(place: Place) -> StorageError {
    StorageError::Missing { what: place.to_string() }
}

fn log_key(log: LogId) -> Vec<u8> {
    [LOG_KEY, &log.0.to_be_bytes()].concat()
}

fn record_key(log: LogId, seq: LogSeq) -> Vec<u8> {
    [&log.0.to_be_bytes()[..], &seq.0.to_be_bytes()].concat()
}

fn part_key(id: CheckpointId, log: LogId, part: u32) -> Vec<u8> {
    [&id.0.to_be_bytes()[..], &log.0.to_be_bytes(), &part.to_be_bytes()].concat()
}

/// The number in a record's key.
fn number_in(log: LogId, key: &[u8]) -> Result<LogSeq, StorageError> {
    let number = key.get(4..).and_then(|number| number.try_into().ok()).map(u64::from_be_bytes);
    let damage = Damage::Body(format!("a key of {} bytes is no record's", key.len()));
    number.map(LogSeq).ok_or_else(|| StorageError::Damaged { what: log.to_string(), damage })
}

const fn record_place(log: LogId, seq: LogSeq) -> Place {
    Place { kind: BlobKind::Record, log: log.0, number: seq.0, part: 0 }
}

const fn part_place(id: CheckpointId, log: LogId, part: u32) -> Place {
    Place { kind: BlobKind::Checkpoint, log: log.0, number: id.0, part }
}

const fn manifest_place(version: u64) -> Place {
    Place { kind: BlobKind::Manifest, log: 0, number: version, part: 0 }
}

/// `u64` term, `u64` begin, `u32` checksum of both and of the log's id.
fn encode_log(log: LogId, state: &Log) -> Vec<u8> {
    let mut bytes = [state.term.0.to_le_bytes(), state.begins.0.to_le_bytes()].concat();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&log.0.to_le_bytes()), &bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

fn decode_log(log: LogId, bytes: &[u8]) -> Result<(Term, LogSeq), StorageError> {
    let damaged = |damage| StorageError::Damaged { what: format!("the head of {log}"), damage };
    let short = Damage::Short { bytes: bytes.len() as u64, least: 20 };
    let bytes: &[u8; 20] = bytes.try_into().map_err(|_| damaged(short))?;
    let number = |at: usize| bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk));
    let (term, begins) = (Term(number(0)), LogSeq(number(8)));
    if encode_log(log, &Log { term, begins, next: begins }) != *bytes {
        return Err(damaged(Damage::Checksum));
    }
    Ok((term, begins))
}
