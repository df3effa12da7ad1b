use std::sync::Arc;

use spatialdb_types::{Box3, PartitionId, Point3, Position, Seq, ViewId};

use super::*;
use crate::columns::{CreateRows, PlacedRows, PositionWrites, WriteMode};
use crate::interest::{Constraint, Part, View, ViewSet};
use crate::{Batch, Delta, Op, Outbox, Partition, PartitionMap, Rows, Tuning};

const SPACE: SpaceId = SpaceId(0);
const SIDE_M: f64 = 200.0;
const ENTITIES: u64 = 300;
const SESSIONS: u32 = 12;

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: f64) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64 * end
    }

    fn point(&mut self) -> Point3 {
        Point3::new(self.below(SIDE_M), self.below(SIDE_M), 0.0)
    }
}

/// Balls, boxes, several parts over a cell, rates, and entities by id.
fn views(numbers: &mut Numbers, session: u32) -> ViewSet {
    let mut view = |id: u64| {
        let (center, radius_m) = (numbers.point(), 5.0 + numbers.below(30.0));
        let max = Point3::new(center.x + 40.0, center.y + 40.0, f64::INFINITY);
        let min = Point3::new(center.x, center.y, f64::NEG_INFINITY);
        let constraint = match (session + id as u32) % 3 {
            0 => Constraint::Sphere { space: SPACE, center, radius_m },
            1 => Constraint::Box { space: SPACE, bounds: Box3 { min, max } },
            _ if session == 5 => Constraint::Entities((1..9).map(EntityId).collect()),
            _ => Constraint::Not(Box::new(Constraint::Not(Box::new(Constraint::Sphere {
                space: SPACE,
                center,
                radius_m,
            })))),
        };
        let interval_us = if (session + id as u32) % 4 == 3 { 50_000 } else { 0 };
        let part = Part { constraint, components: Arc::new([]), interval_us };
        Arc::new(View::new(ViewId(id), part))
    };
    ViewSet { views: (1..=5).map(&mut view).collect(), ..ViewSet::default() }
}

fn world(tuning: Tuning) -> Partition {
    let mut numbers = Numbers(3);
    let at: Vec<Position> =
        (0..ENTITIES).map(|_| Position { space: SPACE, point: numbers.point() }).collect();
    let map = Arc::new(PartitionMap::new(1, 10.0, &at));
    let mut partition = Partition::new(PartitionId(0), map, Limits::default());
    partition.tune(tuning);
    let index: Vec<u32> = (0..ENTITIES as u32).collect();
    let positions = PlacedRows { index: index.clone(), positions: at };
    let entities = (1..=ENTITIES).map(EntityId).collect();
    let rows = CreateRows { rows: index, entities, positions, ..CreateRows::default() };
    partition.load(&rows).expect("new ids");
    for session in 0..SESSIONS {
        partition.set_views(SessionId(session), 1, &views(&mut numbers, session));
    }
    partition
}

/// What a delta tells, in an order of its own.
fn told(delta: &Delta) -> Vec<String> {
    let entered = delta.entered.iter().map(|shape| format!("enter {}", shape.entity));
    let left = delta.left.iter().map(|(entity, _)| format!("leave {entity}"));
    let shared = delta.shared.iter().filter_map(|shared| match shared.rows() {
        Rows::Positions(rows) => Some(rows),
        Rows::Values(_) => None,
    });
    let positions = delta.positions.iter().chain(shared).flat_map(|rows| {
        let at =
            |i: usize| format!("{} at {} {} {}", rows.entities[i], rows.x[i], rows.y[i], rows.revisions[i]);
        (0..rows.entities.len()).map(at).collect::<Vec<_>>()
    });
    let mut told: Vec<String> = entered.chain(left).chain(positions).collect();
    told.sort();
    told
}

#[test]
fn a_sweep_finds_what_each_finds_alone() {
    let alone = Tuning { sweep_cells_max: 0, ..Tuning::default() };
    let together = Tuning { sweep_cells_max: usize::MAX, ..Tuning::default() };
    let mut worlds = [world(alone), world(together)];
    let mut numbers = Numbers(11);
    let mut rows = 0;
    for step in 1..200_u64 {
        let mut writes = PositionWrites::new(0, WriteMode::Update, SPACE);
        for row in 0..numbers.below(80.0) as u32 {
            writes.push(row, EntityId(1 + numbers.below(ENTITIES as f64) as u64), numbers.point());
        }
        let mut batch = Batch::new(SessionId(99), Seq(step));
        batch.ops.push(Op::Positions(writes));
        let late = SessionId(step as u32 % SESSIONS);
        let [one, other] = worlds.each_mut().map(|world| {
            let mut outbox = Outbox::default();
            world.apply(&batch, &mut outbox);
            world.publish(step * 10_000, &mut outbox);
            // One of them does not take it at once.
            for (session, _) in outbox.sessions.iter().filter(|(session, _)| *session != late) {
                world.ready(*session);
            }
            world.ready(SessionId((step as u32 + 4) % SESSIONS));
            let deltas = outbox
                .sessions
                .iter()
                .filter_map(|(session, message)| Some((*session, told(message.delta.as_deref()?))));
            deltas.collect::<Vec<_>>()
        });
        assert_eq!(one, other, "step {step}");
        rows += one.iter().map(|(_, told)| told.len()).sum::<usize>();
    }
    assert!(rows > 10_000, "{rows}");
}
