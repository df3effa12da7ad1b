//! A disk that fails: what was promised holds, and whatever is damaged is named.

use spatialdb_durability::{
    AppendError, CheckpointId, Family, Fault, FaultyKeys, KeyedStorage, LogId, LogSeq, Manifest, Outcome,
    Storage, StorageError, Term,
};

const LOG: LogId = LogId::of_partition(0);
const TERM: Term = Term(1);

fn storage(faults: &[(u64, Fault)]) -> KeyedStorage<FaultyKeys> {
    let storage = KeyedStorage::new(FaultyKeys::new(faults.iter().copied()));
    storage.take(LOG, TERM).expect("free");
    storage
}

fn append(
    storage: &KeyedStorage<FaultyKeys>,
    expected: u64,
    bodies: &[&[u8]],
) -> Result<LogSeq, AppendError> {
    storage.append(LOG, TERM, LogSeq(expected), 0, bodies)
}

fn reopened(storage: KeyedStorage<FaultyKeys>) -> KeyedStorage<FaultyKeys> {
    KeyedStorage::new(storage.into_keys().crashed())
}

#[test]
fn a_full_disk_takes_nothing_and_nothing_is_written_after() {
    let storage = storage(&[(2, Fault::Full)]);
    append(&storage, 1, &[b"a"]).expect("room");
    let error = append(&storage, 2, &[b"b"]).expect_err("full");
    assert!(matches!(error, AppendError::Storage(StorageError::Io { .. })), "{error}");
    let error = append(&storage, 2, &[b"b"]).expect_err("dead").to_string();
    assert!(error.contains("nothing is written any more since this went wrong: cannot write"), "{error}");
    assert!(storage.truncate_before(LOG, LogSeq(2)).is_err() && storage.take(LOG, Term(2)).is_err());
    assert!(storage.put_checkpoint(CheckpointId(1), LOG, 0, 0, b"x").is_err());
    assert_eq!(storage.read(LOG, LogSeq(1), 99).expect("it still reads").len(), 1);
    let storage = reopened(storage);
    assert_eq!(append(&storage, 2, &[b"b"]).expect("room again"), LogSeq(3));
}

#[test]
fn what_is_unknown_is_found_out_by_reading_back() {
    let bodies: [&[u8]; 3] = [b"a", b"b", b"c"];
    for (fault, expected) in [
        (Fault::Silent, Outcome::Stored),
        (Fault::Torn(0), Outcome::Torn(0)),
        (Fault::Torn(2), Outcome::Torn(2)),
    ] {
        let storage = storage(&[(1, fault)]);
        let error = append(&storage, 1, &bodies).expect_err("no answer");
        assert!(matches!(error, AppendError::Unknown { expected: LogSeq(1), .. }), "{error}");
        let storage = reopened(storage);
        assert_eq!(storage.outcome(LOG, TERM, LogSeq(1), &bodies).expect("readable"), expected);
        let stored = if let Outcome::Torn(count) = expected { count } else { 3 };
        let next = append(&storage, stored as u64 + 1, &bodies[stored..]).expect("the rest");
        assert_eq!(next, LogSeq(4));
    }
}

#[test]
fn parts_of_a_checkpoint_without_a_manifest_may_be_lost() {
    let storage = storage(&[]);
    storage.take(LogId::WORLD, TERM).expect("free");
    storage.put_checkpoint(CheckpointId(1), LOG, 0, 0, b"part").expect("put");
    let storage = reopened(storage);
    assert_eq!(storage.checkpoints().expect("readable"), []);
    storage.put_checkpoint(CheckpointId(1), LOG, 0, 0, b"part").expect("put");
    let manifest =
        Manifest { version: 1, checkpoint: Some(CheckpointId(1)), logs: Vec::new(), about: Vec::new() };
    storage.commit_manifest(TERM, 0, &manifest).expect("committed");
    assert_eq!(reopened(storage).checkpoint(CheckpointId(1), LOG, 0).expect("safe"), b"part");
}

#[test]
fn each_bit_of_what_is_stored_is_under_a_checksum() {
    let storage = storage(&[]);
    storage.take(LogId::WORLD, TERM).expect("free");
    append(&storage, 1, &[b"record"]).expect("appended");
    storage.put_checkpoint(CheckpointId(1), LOG, 0, 0, b"part").expect("put");
    let manifest =
        Manifest { version: 1, checkpoint: Some(CheckpointId(1)), logs: Vec::new(), about: b"w".to_vec() };
    storage.commit_manifest(TERM, 0, &manifest).expect("committed");
    let keys = storage.into_keys();
    let read = |storage: &KeyedStorage<FaultyKeys>| -> Result<(), StorageError> {
        storage.read(LOG, LogSeq(1), 99)?;
        storage.checkpoint(CheckpointId(1), LOG, 0)?;
        storage.manifest()?;
        storage.bounds(LogId::WORLD).map(drop)
    };
    read(&KeyedStorage::new(keys.crashed())).expect("whole");
    for family in Family::ALL {
        for key in keys.keys(family) {
            for bit in 0..8 * 60 {
                let broken = keys.crashed();
                assert!(broken.flip(family, &key, bit));
                let error = read(&KeyedStorage::new(broken)).expect_err("damaged");
                assert!(matches!(error, StorageError::Damaged { .. }), "{family:?} {key:?} {bit}: {error}");
            }
            for bytes in 0..20 {
                let broken = keys.crashed();
                broken.cut(family, &key, bytes);
                let result = read(&KeyedStorage::new(broken));
                assert!(matches!(result, Err(StorageError::Damaged { .. })), "{family:?} {key:?} {bytes}");
            }
        }
    }
}

#[test]
fn what_is_missing_or_lies_elsewhere_is_named() {
    let storage = storage(&[]);
    append(&storage, 1, &[b"a", b"b", b"c"]).expect("appended");
    let keys = storage.into_keys();
    let records = keys.keys(Family::Log);
    let error = |broken: FaultyKeys| {
        let storage = KeyedStorage::new(broken);
        storage.read(LOG, LogSeq(1), 99).expect_err("not whole").to_string()
    };
    let broken = keys.crashed();
    broken.lose(Family::Log, &records[1], &records[2]);
    assert_eq!(error(broken), "record 2 of partition 0 is missing");
    let broken = keys.crashed();
    broken.lose(Family::Log, &records[0], &records[1]);
    assert_eq!(error(broken), "record 1 of partition 0 is missing");
    let broken = keys.crashed();
    broken.misplace(Family::Log, &records[0], &records[1]);
    assert_eq!(error(broken), "record 2 of partition 0 is damaged: it is record 1 of partition 0");
    // The end is missed because it was acknowledged.
    let broken = keys.crashed();
    broken.lose(Family::Log, &records[1], &[0xff]);
    assert_eq!(error(broken), "partition 0 is damaged: it ends with 1, and 3 was acknowledged");
}
