use std::sync::Arc;

use spatialdb_types::{Limits, PartitionId, Reason, Seq, SpaceId};

use super::*;
use crate::columns::{Batch, CreateColumn, CreateRows, Op, PositionWrites, ValueWrites, WriteMode};
use crate::message::Outbox;
use crate::partition::refusals::Cause;
use crate::world::PartitionMap;

const HP: ComponentId = ComponentId(1000);
const ANN: SessionId = SessionId(11);
const E: EntityId = EntityId(9);

fn partition(kept_max: u64) -> Partition {
    let limits = Limits { refusals_kept_max: kept_max, ..Limits::default() };
    let mut partition = Partition::new(PartitionId(0), Arc::new(PartitionMap::new(1, 10.0, &[])), limits);
    let mut rows = CreateRows { rows: vec![0], entities: vec![E], ..CreateRows::default() };
    rows.positions.index.push(0);
    rows.positions.positions.push(Position::new(SpaceId(0), 1.0, 2.0, 3.0));
    let mut column = CreateColumn::new(HP);
    column.push(0, &[0x08, 7]);
    rows.columns.push(column);
    partition.load(&rows).expect("new");
    partition
}

fn apply(partition: &mut Partition, op: Op) {
    let batch = Batch { ops: vec![op], ..Batch::new(ANN, Seq(1)) };
    partition.apply(&batch, &mut Outbox::default());
}

fn writes(component: u32, entities: &[EntityId]) -> Op {
    let mut writes = ValueWrites::new(0, WriteMode::Update, ComponentId(component), None);
    entities.iter().zip(0..).for_each(|(entity, row)| writes.push(row, *entity, &[0x08, 1]));
    Op::Values(writes)
}

#[test]
fn who_wrote_what_last_is_told() {
    let mut partition = partition(9);
    let before = partition.explain(E).expect("it is here");
    assert_eq!(
        (before.position.map(|(.., mover)| mover), before.values[0].writer),
        (Some(SessionId(0)), SessionId(0))
    );
    let mut moves = PositionWrites::new(0, WriteMode::Update, SpaceId(0));
    moves.push(0, E, spatialdb_types::Point3::new(4.0, 5.0, 6.0));
    apply(&mut partition, Op::Positions(moves));
    let after = partition.explain(E).expect("it is here");
    let (at, revision, mover) = after.position.expect("placed");
    assert_eq!((at.point.x, mover, after.values[0].writer), (4.0, ANN, SessionId(0)));
    assert!(revision > before.position.expect("placed").1);
    assert_eq!(
        (after.components.clone(), after.value(HP)),
        (vec![ComponentId::POSITION, HP], Some(&[0x08, 7][..]))
    );
    assert!(partition.explain(EntityId(10)).is_none());
    assert_eq!(partition.refused(E), None, "nothing was refused");
}

#[test]
fn the_last_refused_write_is_remembered_with_its_time() {
    let mut partition = partition(9);
    partition.set_time(50);
    apply(&mut partition, writes(1001, &[E]));
    partition.set_time(60);
    apply(&mut partition, writes(1002, &[E]));
    apply(&mut partition, writes(1000, &[E]));
    let refused = partition.refused(E).expect("it was");
    assert_eq!((refused.at, refused.session, refused.component), (60, ANN, ComponentId(1002)));
    assert_eq!(refused.why, Cause::Reason(Reason::ComponentNotFound));
    assert_eq!(refused.detail(E), "entity 9 has no component 1002", "as the writer was told");
    // What is not there has nothing to explain.
    apply(&mut partition, writes(1000, &[EntityId(77)]));
    assert_eq!(partition.refused(EntityId(77)), None);
}

#[test]
fn a_flood_of_refused_writes_leaves_as_many_as_the_limit() {
    let mut partition = partition(100);
    let mut rows = CreateRows::default();
    for id in 1000..3000 {
        rows.rows.push(id);
        rows.entities.push(EntityId(u64::from(id)));
    }
    partition.load(&rows).expect("new");
    let entities: Vec<EntityId> = (1000..3000).map(EntityId).collect();
    (0..3).for_each(|_| apply(&mut partition, writes(1000, &entities)));
    let kept: Vec<u64> = (0..3000).filter(|id| partition.refused(EntityId(*id)).is_some()).collect();
    assert_eq!(kept, (2900..3000).collect::<Vec<_>>());
}
