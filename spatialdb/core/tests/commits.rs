//! Commits that wait for the disk, step by step; the simulator has them in every world.

use std::sync::Arc;

use spatialdb_core::log::{Classes, Merge, images};
use spatialdb_core::{
    Batch, CreateColumn, CreateRows, Op, Outbox, Partition, PartitionMap, Removes, ValueWrites, WriteMode,
};
use spatialdb_types::{ComponentId, EntityId, Limits, PartitionId, Reason, Seq, SessionId};

const PURSE: ComponentId = ComponentId(1000);
const HAT: ComponentId = ComponentId(1001);
const ONE: EntityId = EntityId(1);
const TWO: EntityId = EntityId(2);
const WRITER: SessionId = SessionId(3);

/// Entity 1 has a purse and a hat, and is on disk.
fn partition() -> Partition {
    let map = Arc::new(PartitionMap::new(1, 10.0, &[]));
    let classes = Arc::new(Classes::new([], [PURSE]));
    let mut partition = Partition::new(PartitionId(0), map, Limits::default()).with_log(&classes);
    partition.load(&create(ONE)).expect("loaded");
    partition.forget_changes();
    partition
}

fn create(entity: EntityId) -> CreateRows {
    let column = |component| {
        let mut column = CreateColumn::new(component);
        column.push(0, b"0");
        column
    };
    let columns = vec![column(PURSE), column(HAT)];
    CreateRows { rows: vec![0], entities: vec![entity], columns, ..CreateRows::default() }
}

fn set(entity: EntityId, component: ComponentId, value: &[u8]) -> Op {
    let mut column = ValueWrites::new(component.0, WriteMode::Update, component, None);
    column.push(0, entity, value);
    Op::Values(column)
}

fn delete(entity: EntityId) -> Op {
    let mut column = Removes::new(0, None);
    column.push(0, entity);
    Op::Remove(column)
}

fn apply(partition: &mut Partition, seq: u64, ops: Vec<Op>) {
    partition.apply(&Batch { ops, ..Batch::new(WRITER, Seq(seq)) }, &mut Outbox::default());
}

/// The values of an entity that anybody may see.
fn seen(partition: &Partition, entity: EntityId) -> Option<Vec<(ComponentId, Vec<u8>)>> {
    let state = partition.entity(entity)?;
    Some(state.values.iter().map(|(component, _, value)| (*component, value.to_vec())).collect())
}

fn purse_and_hat(purse: &[u8], hat: &[u8]) -> Option<Vec<(ComponentId, Vec<u8>)>> {
    Some(vec![(PURSE, purse.to_vec()), (HAT, hat.to_vec())])
}

/// What the writer is told: messages with how many rows of them were decided, and reasons of refusals.
fn told(partition: &mut Partition) -> (Vec<(u64, u32)>, Vec<Reason>) {
    let mut outbox = Outbox::default();
    partition.tell_writers(&mut outbox);
    let mut told = (Vec::new(), Vec::new());
    for (session, message) in outbox.sessions {
        assert_eq!(session, WRITER);
        told.0.extend(message.outcome.decided.iter().map(|(seq, rows)| (seq.0, *rows)));
        told.1.extend(message.outcome.rejections.iter().map(|rejection| rejection.reason));
    }
    told
}

#[test]
fn nobody_sees_what_is_not_on_disk() {
    let mut partition = partition();
    apply(&mut partition, 1, vec![set(ONE, PURSE, b"1"), set(ONE, HAT, b"a")]);
    assert!(partition.awaits_record() && partition.has_commit(ONE));
    assert_eq!(seen(&partition, ONE), purse_and_hat(b"0", b"0"), "all that the message says of it waits");
    assert_eq!(told(&mut partition), (vec![], vec![]));
    let (number, _) = partition.take_log_record().expect("a record");
    // On top of what waits, in a record of its own.
    apply(&mut partition, 2, vec![set(ONE, PURSE, b"2")]);
    partition.stored(number, &mut Outbox::default());
    assert_eq!(seen(&partition, ONE), purse_and_hat(b"1", b"a"));
    assert_eq!(told(&mut partition), (vec![(1, 2)], vec![]));
    let (number, _) = partition.take_log_record().expect("a record");
    partition.stored(number, &mut Outbox::default());
    assert_eq!(seen(&partition, ONE), purse_and_hat(b"2", b"a"));
    assert!(!partition.has_commit(ONE) && !partition.awaits_record());
    // What is not DURABLE waits for nothing.
    apply(&mut partition, 3, vec![set(ONE, HAT, b"b")]);
    assert_eq!(seen(&partition, ONE), purse_and_hat(b"2", b"b"));
}

#[test]
fn the_record_says_how_it_will_be() {
    let mut partition = partition();
    apply(&mut partition, 1, vec![set(ONE, HAT, b"a")]);
    apply(&mut partition, 2, vec![set(ONE, PURSE, b"1")]);
    apply(&mut partition, 3, vec![Op::Create(create(TWO))]);
    let (_, record) = partition.take_log_record().expect("a record");
    let mut merge = Merge::default();
    let record = images(&record).expect("a record");
    record.images.iter().for_each(|image| merge.add(image));
    let found: Vec<_> = merge.finish().collect();
    let values = |at: usize| -> Vec<(ComponentId, Vec<u8>)> {
        found[at].values.iter().map(|(component, value)| (*component, value.bytes.to_vec())).collect()
    };
    assert_eq!(Some(values(0)), purse_and_hat(b"1", b"a"), "with what was not swept yet");
    assert_eq!((found[1].entity, Some(values(1))), (TWO, purse_and_hat(b"0", b"0")));
    assert_eq!(seen(&partition, TWO), None);
}

#[test]
fn what_comes_after_a_deletion_waits_behind_it() {
    let mut partition = partition();
    apply(&mut partition, 1, vec![delete(ONE)]);
    apply(&mut partition, 2, vec![set(ONE, HAT, b"a")]);
    assert_eq!(seen(&partition, ONE), purse_and_hat(b"0", b"0"));
    assert_eq!(told(&mut partition), (vec![], vec![]));
    let (number, _) = partition.take_log_record().expect("a record");
    partition.stored(number, &mut Outbox::default());
    assert_eq!(seen(&partition, ONE), None);
    assert_eq!(told(&mut partition), (vec![(1, 1), (2, 1)], vec![Reason::EntityNotFound]));
}

#[test]
fn a_disk_that_fails_refuses_what_has_to_be_on_it() {
    let mut partition = partition();
    apply(&mut partition, 1, vec![set(ONE, PURSE, b"1")]);
    apply(&mut partition, 2, vec![Op::Create(create(TWO))]);
    apply(&mut partition, 3, vec![set(TWO, HAT, b"a")]);
    partition.log_failed(&mut Outbox::default());
    let refused = vec![Reason::StorageFailed, Reason::StorageFailed, Reason::EntityNotFound];
    assert_eq!(told(&mut partition), (vec![(1, 1), (2, 1), (3, 1)], refused));
    assert_eq!((seen(&partition, ONE), seen(&partition, TWO)), (purse_and_hat(b"0", b"0"), None));
    apply(&mut partition, 4, vec![set(ONE, PURSE, b"2"), set(ONE, HAT, b"b")]);
    apply(&mut partition, 5, vec![delete(ONE)]);
    let refused = vec![Reason::StorageFailed; 3];
    assert_eq!(told(&mut partition), (vec![(4, 2), (5, 1)], refused), "what one message says counts whole");
    apply(&mut partition, 6, vec![set(ONE, HAT, b"c")]);
    assert_eq!(seen(&partition, ONE), purse_and_hat(b"0", b"c"), "the rest goes on in memory");
}
