//! RocksDB and real files: a process that is killed, and files that are damaged or gone.
#![cfg(feature = "rocksdb")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use spatialdb_durability::{
    AppendError, CheckpointId, Directory, KeyedStorage, LogId, LogSeq, Manifest, Outcome, RocksKeys, Storage,
    StorageError, Term,
};

const LOG: LogId = LogId::of_partition(0);
const WRITER: &str = "SPATIALDB_TEST_WRITER";

fn open(path: &Path) -> Result<KeyedStorage<RocksKeys>, StorageError> {
    Ok(KeyedStorage::new(RocksKeys::open(Directory::take(path)?)?))
}

/// The body of a record: its number, over and over.
fn body(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(1 + (number as usize * 37) % 500)
}

/// Not a test of its own: the process that the next one kills.
#[test]
fn writer() {
    let Ok(path) = std::env::var(WRITER) else { return };
    let storage = open(Path::new(&path)).expect("whole");
    let (_, mut next) = storage.bounds(LOG).expect("readable");
    let term = Term(next.0);
    storage.take(LOG, term).expect("free");
    loop {
        let bodies = [body(next.0), body(next.0 + 1), body(next.0 + 2)];
        let all: Vec<&[u8]> = bodies.iter().map(|body| &**body).collect();
        next = storage.append(LOG, term, next, 0, &all).expect("appended");
        println!("acknowledged {}", next.0 - 1);
        if next.0 % 50 == 0 {
            storage.truncate_before(LOG, LogSeq(next.0.saturating_sub(60).max(1))).expect("truncated");
        }
    }
}

#[test]
fn what_was_acknowledged_is_there_after_each_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut acknowledged = 0;
    for round in 0..12_u64 {
        let mut child = Command::new(std::env::current_exe().expect("this"))
            .args(["writer", "--exact", "--nocapture"])
            .env(WRITER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let out = child.stdout.take().expect("piped");
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(out).lines().map_while(Result::ok);
            lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok()).last()
        });
        std::thread::sleep(Duration::from_millis(150 + round * 31));
        child.kill().expect("killed");
        child.wait().expect("gone");
        let told: Option<u64> = reader.join().expect("read");
        acknowledged = told.unwrap_or(acknowledged);
        let storage = open(folder.path()).expect("whole");
        let (begins, next) = storage.bounds(LOG).expect("readable");
        assert!(next.0 > acknowledged, "{acknowledged} was acknowledged, {next} comes next");
        let mut from = begins;
        while from < next {
            for record in storage.read(LOG, from, 10_000).expect("whole") {
                assert_eq!(record.body, body(record.seq.0), "record {}", record.seq);
                from = record.seq.after(1);
            }
        }
    }
    assert!(acknowledged > 12, "they wrote something: {acknowledged}");
}

/// A directory with records, a checkpoint and a manifest. Returns how its file names begin and end.
fn written(path: &Path) {
    let storage = open(path).expect("new");
    storage.take(LOG, Term(1)).expect("free");
    storage.take(LogId::WORLD, Term(1)).expect("free");
    for number in 1..=40 {
        storage.append(LOG, Term(1), LogSeq(number), 0, &[&body(number)]).expect("appended");
    }
    for part in 0..20 {
        storage.put_checkpoint(CheckpointId(1), LOG, part, 0, &body(u64::from(part))).expect("put");
    }
    let manifest =
        Manifest { version: 1, checkpoint: Some(CheckpointId(1)), logs: Vec::new(), about: Vec::new() };
    storage.commit_manifest(Term(1), 0, &manifest).expect("committed");
    for number in 41..=60 {
        storage.append(LOG, Term(1), LogSeq(number), 0, &[&body(number)]).expect("appended");
    }
}

/// Reads everything; what is read must be what was written.
fn read(path: &Path) -> Result<(), StorageError> {
    let storage = open(path)?;
    let mut from = LogSeq::FIRST;
    while from.0 <= 60 {
        let records = storage.read(LOG, from, 1000)?;
        assert!(!records.is_empty(), "nothing from record {from} on, and no word of it");
        for record in records {
            assert_eq!(record.body, body(record.seq.0));
            from = record.seq.after(1);
        }
    }
    for part in 0..20 {
        assert_eq!(storage.checkpoint(CheckpointId(1), LOG, part)?, body(u64::from(part)));
    }
    assert_eq!(storage.manifest()?.expect("committed").checkpoint, Some(CheckpointId(1)));
    Ok(())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("there") {
        let entry = entry.expect("read");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("copied");
        }
    }
}

/// Whatever happens to whatever file: what is read is right, or an error says what is wrong. Returns how often there was one.
fn damage(what: impl Fn(&Path)) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = folder.path().join("whole");
    written(&whole);
    read(&whole).expect("whole");
    let mut noticed = 0;
    let names: Vec<_> = fs::read_dir(whole.join("db")).expect("there").map(|f| f.expect("read")).collect();
    for (number, file) in
        names.iter().enumerate().filter(|(_, file)| file.metadata().expect("there").len() > 0)
    {
        let broken = folder.path().join(format!("broken-{number}"));
        copy(&whole, &broken);
        what(&broken.join("db").join(file.file_name()));
        if let Err(error) = read(&broken) {
            assert!(!error.to_string().is_empty());
            noticed += 1;
        }
        fs::remove_dir_all(&broken).expect("removed");
    }
    noticed
}

#[test]
fn a_flipped_bit_is_never_read() {
    for share in [2, 3, 7] {
        let flip = |path: &Path| {
            let mut bytes = fs::read(path).expect("there");
            let at = bytes.len() / share;
            bytes[at] ^= 4;
            fs::write(path, bytes).expect("written");
        };
        assert!(damage(flip) > 0, "in the table, or in the log written ahead");
    }
}

#[test]
fn a_file_that_is_cut_off_or_gone_is_noticed() {
    let half = |path: &Path| {
        let bytes = fs::read(path).expect("there");
        fs::write(path, &bytes[..bytes.len() / 2]).expect("written");
    };
    assert!(damage(half) > 0);
    assert!(damage(|path| fs::remove_file(path).expect("removed")) > 0);
}

#[test]
fn a_database_that_is_gone_is_no_new_world() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path());
    fs::remove_dir_all(folder.path().join("db")).expect("removed");
    assert!(open(folder.path()).is_err(), "it was there");
}

#[test]
fn two_at_once_are_refused_and_a_second_term_takes_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = open(folder.path()).expect("new");
    let error = open(folder.path()).expect_err("taken").to_string();
    assert!(error.contains("is in use by process"), "{error}");
    first.take(LOG, Term(1)).expect("free");
    first.append(LOG, Term(1), LogSeq(1), 0, &[b"x"]).expect("appended");
    drop(first);
    let second = open(folder.path()).expect("free again");
    assert_eq!(second.take(LOG, Term(2)).expect("higher"), LogSeq(2));
    let error = second.append(LOG, Term(1), LogSeq(2), 0, &[b"y"]).expect_err("fenced");
    assert!(matches!(error, AppendError::Fenced { .. }));
    assert_eq!(second.outcome(LOG, Term(1), LogSeq(1), &[b"x"]).expect("readable"), Outcome::Stored);
}
