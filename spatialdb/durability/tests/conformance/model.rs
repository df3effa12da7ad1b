//! Whatever is asked of them in whatever order, all storages answer as a few lines do that keep everything in vectors.

use proptest::prelude::*;
use spatialdb_durability::{AppendError, LogId, LogSeq, Storage, Term};

use super::kinds::{Faulty, Kind, Memory};

#[derive(Clone, Debug)]
enum Act {
    Take(u32, u64),
    /// To the log, under the term, at the number that comes next and so much further, so many records.
    Append(u32, u64, u64, usize),
    Truncate(u32, u64),
    Read(u32, u64),
    Reopen,
}

#[derive(Clone, Default)]
struct Model {
    term: u64,
    /// How many were dropped.
    dropped: usize,
    bodies: Vec<Vec<u8>>,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let log = 0..2_u32;
    let act = prop_oneof![
        1 => (log.clone(), 0..4_u64).prop_map(|(log, term)| Act::Take(log, term)),
        6 => (log.clone(), 0..4_u64, prop_oneof![4 => Just(0), 1 => 1..3_u64], 0..4_usize)
            .prop_map(|(log, term, off, count)| Act::Append(log, term, off, count)),
        1 => (log.clone(), 0..30_u64).prop_map(|(log, seq)| Act::Truncate(log, seq)),
        2 => (log, 0..30_u64).prop_map(|(log, seq)| Act::Read(log, seq)),
        1 => Just(Act::Reopen),
    ];
    prop::collection::vec(act, 1..60)
}

fn run<K: Kind>(acts: &[Act]) {
    let (kind, mut storage) = K::begin();
    let mut models = [Model::default(), Model::default()];
    let mut written = 0_u32;
    for act in acts {
        match *act {
            Act::Take(log, term) => {
                let model = &mut models[log as usize];
                let result = storage.take(LogId(log), Term(term));
                assert_eq!(result.is_ok(), term >= model.term, "{act:?}");
                model.term = model.term.max(term);
            }
            Act::Append(log, term, off, count) => {
                let model = &mut models[log as usize];
                let bodies: Vec<Vec<u8>> =
                    (0..count as u32).map(|i| (written + i).to_le_bytes().into()).collect();
                written += count as u32;
                let expected = LogSeq(model.bodies.len() as u64 + 1 + off);
                let all: Vec<&[u8]> = bodies.iter().map(|body| &**body).collect();
                match storage.append(LogId(log), Term(term), expected, 0, &all) {
                    Ok(next) => {
                        assert!(term == model.term && off == 0, "{act:?}");
                        model.bodies.extend(bodies);
                        assert_eq!(next.0, model.bodies.len() as u64 + 1);
                    }
                    Err(AppendError::Fenced { .. }) => assert!(term < model.term, "{act:?}"),
                    Err(AppendError::Conflict { .. }) => assert!(term == model.term && off > 0, "{act:?}"),
                    Err(_) => assert!(term > model.term, "{act:?}"),
                }
            }
            Act::Truncate(log, seq) => {
                let model = &mut models[log as usize];
                storage.truncate_before(LogId(log), LogSeq(seq)).expect("truncated");
                let before = (seq.max(1) as usize - 1).min(model.bodies.len());
                model.dropped = model.dropped.max(before);
            }
            Act::Read(log, seq) => {
                let model = &models[log as usize];
                let from = seq.max(1) as usize - 1;
                let read = storage.read(LogId(log), LogSeq(seq.max(1)), usize::MAX);
                if from < model.dropped {
                    assert!(read.is_err(), "{act:?}");
                } else {
                    let read: Vec<_> = read.expect("kept").into_iter().map(|record| record.body).collect();
                    assert_eq!(read, model.bodies.get(from..).unwrap_or_default(), "{act:?}");
                }
            }
            Act::Reopen => storage = kind.reopen(storage),
        }
    }
}

proptest! {
    #[test]
    fn in_memory(acts in acts()) {
        run::<Memory>(&acts);
    }

    #[test]
    fn with_faults(acts in acts()) {
        run::<Faulty>(&acts);
    }
}

#[cfg(feature = "rocksdb")]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn on_rocksdb(acts in acts()) {
        run::<super::kinds::rocks::Rocks>(&acts);
    }
}
