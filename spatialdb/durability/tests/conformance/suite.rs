//! The suite, once for each kind.

use spatialdb_durability::{
    AppendError, CheckpointId, LogId, LogSeq, Manifest, ManifestLog, Outcome, Record, Storage, StorageError,
    Term,
};

use super::kinds::Kind;

const LOG: LogId = LogId::of_partition(0);
const OTHER: LogId = LogId::of_partition(1);
const TERM: Term = Term(1);
const EVERYTHING: usize = usize::MAX;

fn append(storage: &impl Storage, log: LogId, expected: u64, bodies: &[&[u8]]) -> LogSeq {
    storage.append(log, TERM, LogSeq(expected), 7, bodies).expect("appended")
}

fn bodies(records: &[Record]) -> Vec<&[u8]> {
    records.iter().map(|record| &*record.body).collect()
}

fn manifest(version: u64, checkpoint: Option<u64>, begins: u64) -> Manifest {
    let log = ManifestLog { log: LOG, parts: 2, begins: LogSeq(begins) };
    let checkpoint = checkpoint.map(CheckpointId);
    Manifest { version, checkpoint, logs: vec![log], about: b"a world".to_vec() }
}

fn records_come_back_in_order<K: Kind>() {
    let (kind, storage) = K::begin();
    assert_eq!(storage.take(LOG, TERM).expect("free"), LogSeq(1));
    storage.take(OTHER, TERM).expect("free");
    assert_eq!(append(&storage, LOG, 1, &[b"one", b"two"]), LogSeq(3));
    assert_eq!(append(&storage, OTHER, 1, &[b"other"]), LogSeq(2));
    assert_eq!(append(&storage, LOG, 3, &[&[9; 1000]]), LogSeq(4));
    assert_eq!(append(&storage, LOG, 4, &[]), LogSeq(4));
    let storage = kind.reopen(storage);
    assert_eq!(append(&storage, LOG, 4, &[b""]), LogSeq(5));
    let all = storage.read(LOG, LogSeq(1), EVERYTHING).expect("whole");
    assert_eq!(bodies(&all), [&b"one"[..], b"two", &[9; 1000], b""]);
    assert!(all.iter().zip(1..).all(|(record, number)| record.seq == LogSeq(number)));
    assert!(all.iter().all(|record| (record.term, record.unix_us) == (TERM, 7)));
    // As much as was asked for, at least one.
    assert_eq!(storage.read(LOG, LogSeq(2), 1).expect("one").len(), 1);
    assert_eq!(storage.read(LOG, LogSeq(1), 4).expect("two").len(), 2);
    assert_eq!(storage.read(LOG, LogSeq(5), EVERYTHING).expect("none yet"), []);
    assert_eq!(storage.bounds(LOG).expect("known"), (LogSeq(1), LogSeq(5)));
    assert_eq!(storage.bounds(OTHER).expect("known"), (LogSeq(1), LogSeq(2)));
    assert_eq!(storage.bounds(LogId(99)).expect("nothing there"), (LogSeq(1), LogSeq(1)));
}

fn another_number_is_a_conflict<K: Kind>() {
    let (_kind, storage) = K::begin();
    storage.take(LOG, TERM).expect("free");
    for expected in [0, 2, u64::MAX] {
        let error = storage.append(LOG, TERM, LogSeq(expected), 0, &[b"x"]).expect_err("not next");
        assert!(matches!(error, AppendError::Conflict { next: LogSeq(1), .. }), "{error}");
    }
    assert_eq!(append(&storage, LOG, 1, &[b"x"]), LogSeq(2), "no harm done");
}

fn a_lower_term_is_fenced<K: Kind>() {
    let (kind, storage) = K::begin();
    let error = storage.append(LOG, TERM, LogSeq(1), 0, &[b"x"]).expect_err("not taken").to_string();
    assert!(error.contains("has to be taken under term 1"), "{error}");
    storage.take(LOG, TERM).expect("free");
    append(&storage, LOG, 1, &[b"x"]);
    assert_eq!(storage.take(LOG, Term(5)).expect("higher"), LogSeq(2));
    let storage = kind.reopen(storage);
    let fenced = |result: Result<LogSeq, AppendError>| {
        let error = result.expect_err("fenced");
        assert!(
            matches!(error, AppendError::Fenced { term: Term(5), own: Term(4) | Term(1), .. }),
            "{error}"
        );
    };
    fenced(storage.append(LOG, TERM, LogSeq(2), 0, &[b"y"]));
    fenced(storage.take(LOG, Term(4)));
    assert_eq!(storage.take(LOG, Term(5)).expect("the same again"), LogSeq(2));
    storage.append(LOG, Term(5), LogSeq(2), 0, &[b"y"]).expect("its own");
    assert_eq!(storage.take(OTHER, TERM).expect("each has its own"), LogSeq(1));
    let read = storage.read(LOG, LogSeq(1), EVERYTHING).expect("both");
    assert_eq!(read.iter().map(|record| record.term.0).collect::<Vec<_>>(), [1, 5]);
}

fn what_is_truncated_is_gone_and_numbers_go_on<K: Kind>() {
    let (kind, storage) = K::begin();
    for log in [LOG, OTHER] {
        storage.take(log, TERM).expect("free");
        append(&storage, log, 1, &[b"1", b"2", b"3", b"4"]);
    }
    storage.truncate_before(LOG, LogSeq(3)).expect("truncated");
    storage.truncate_before(LOG, LogSeq(2)).expect("nothing to do");
    let storage = kind.reopen(storage);
    assert_eq!(storage.bounds(LOG).expect("known"), (LogSeq(3), LogSeq(5)));
    assert_eq!(bodies(&storage.read(LOG, LogSeq(3), EVERYTHING).expect("kept")), [b"3", b"4"]);
    let error = storage.read(LOG, LogSeq(2), EVERYTHING).expect_err("gone");
    assert!(matches!(error, StorageError::Truncated { begins: LogSeq(3), .. }), "{error}");
    assert_eq!(storage.read(OTHER, LogSeq(1), EVERYTHING).expect("untouched").len(), 4);
    // All of it, and no more than there is.
    storage.truncate_before(LOG, LogSeq(1000)).expect("truncated");
    let storage = kind.reopen(storage);
    assert_eq!(storage.bounds(LOG).expect("known"), (LogSeq(5), LogSeq(5)));
    assert_eq!(append(&storage, LOG, 5, &[b"5"]), LogSeq(6));
    assert_eq!(bodies(&storage.read(LOG, LogSeq(5), EVERYTHING).expect("kept")), [b"5"]);
}

fn a_checkpoint_counts_from_its_manifest_on<K: Kind>() {
    let (kind, storage) = K::begin();
    let put = |storage: &KeyedStorageOf<K>, id, part, body: &[u8]| {
        storage.put_checkpoint(CheckpointId(id), LOG, part, 3, body).expect("put");
    };
    assert_eq!(storage.manifest().expect("readable"), None);
    storage.take(LogId::WORLD, TERM).expect("free");
    put(&storage, 4, 0, b"first");
    put(&storage, 4, 1, b"second");
    storage.commit_manifest(TERM, 3, &manifest(1, Some(4), 1)).expect("committed");
    put(&storage, 5, 0, b"third");
    let storage = kind.reopen(storage);
    assert_eq!(storage.manifest().expect("whole"), Some(manifest(1, Some(4), 1)));
    assert_eq!(storage.checkpoint(CheckpointId(4), LOG, 0).expect("whole"), b"first");
    assert_eq!(storage.checkpoint(CheckpointId(4), LOG, 1).expect("whole"), b"second");
    let error = storage.checkpoint(CheckpointId(4), LOG, 2).expect_err("never put").to_string();
    assert_eq!(error, "part 2 of checkpoint 4 of partition 0 is missing");
    // Another manifest, and the first checkpoint may go.
    let error = storage.commit_manifest(TERM, 3, &manifest(3, None, 1)).expect_err("no second one");
    assert!(matches!(error, AppendError::Conflict { next: LogSeq(2), .. }), "{error}");
    let error = storage.drop_checkpoint(CheckpointId(4)).expect_err("it counts").to_string();
    assert!(error.contains("checkpoint 4 is the one that counts"), "{error}");
    put(&storage, 6, 0, b"new");
    storage.commit_manifest(TERM, 4, &manifest(2, Some(6), 9)).expect("committed");
    storage.drop_checkpoint(CheckpointId(4)).expect("it counts no longer");
    storage.drop_checkpoint(CheckpointId(5)).expect("if it is there");
    let storage = kind.reopen(storage);
    assert_eq!(storage.checkpoints().expect("readable"), [CheckpointId(6)]);
    assert_eq!(storage.checkpoint(CheckpointId(6), LOG, 0).expect("whole"), b"new");
    storage.take(LogId::WORLD, Term(2)).expect("higher");
    let error = storage.commit_manifest(TERM, 4, &manifest(3, Some(6), 9)).expect_err("fenced");
    assert!(matches!(error, AppendError::Fenced { .. }), "{error}");
}

fn what_became_of_an_append_can_be_read_back<K: Kind>() {
    let (kind, storage) = K::begin();
    storage.take(LOG, TERM).expect("free");
    append(&storage, LOG, 1, &[b"a", b"b"]);
    let storage = kind.reopen(storage);
    let outcome =
        |expected, bodies: &[&[u8]]| storage.outcome(LOG, TERM, LogSeq(expected), bodies).expect("readable");
    assert_eq!(outcome(1, &[b"a", b"b"]), Outcome::Stored);
    assert_eq!(outcome(2, &[b"b"]), Outcome::Stored);
    assert_eq!(outcome(2, &[b"b", b"c"]), Outcome::Torn(1));
    assert_eq!(outcome(3, &[b"c"]), Outcome::Torn(0));
    assert_eq!(outcome(2, &[b"c"]), Outcome::Overtaken);
    let other = storage.outcome(LOG, Term(2), LogSeq(2), &[b"b"]).expect("readable");
    assert_eq!(other, Outcome::Overtaken, "somebody else wrote the same");
}

fn it_says_how_much_it_takes<K: Kind>() {
    let (_kind, storage) = K::begin();
    storage.take(LOG, TERM).expect("free");
    let before = storage.usage().expect("known").bytes;
    // Nothing that can be made smaller.
    let body: Vec<u8> = (0..100_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    append(&storage, LOG, 1, &[&body]);
    let grown = storage.usage().expect("known").bytes - before;
    assert!((400_000..1_000_000).contains(&grown), "{grown}");
}

type KeyedStorageOf<K> = spatialdb_durability::KeyedStorage<<K as Kind>::Keys>;

macro_rules! suite {
    ($($kind:ident: $type:ty),*) => {$(
        mod $kind {
            suite!(@ $type: records_come_back_in_order, another_number_is_a_conflict, a_lower_term_is_fenced,
                what_is_truncated_is_gone_and_numbers_go_on, a_checkpoint_counts_from_its_manifest_on,
                what_became_of_an_append_can_be_read_back, it_says_how_much_it_takes);
        }
    )*};
    (@ $type:ty: $($name:ident),*) => {$(
        #[test]
        fn $name() {
            super::$name::<$type>();
        }
    )*};
}

suite!(memory: super::super::kinds::Memory, faulty: super::super::kinds::Faulty);
#[cfg(feature = "rocksdb")]
suite!(rocks: super::super::kinds::rocks::Rocks);
