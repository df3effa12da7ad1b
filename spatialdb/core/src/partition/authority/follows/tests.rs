//! Two partitions with their border at x = 0, two regions with theirs at x = 30: who follows goes where its leader goes.

use spatialdb_types::{Limits, Point3, Position, RegionId, Seq, SessionId, SpaceId};

use super::*;
use crate::authority::issuer::{Issuer, IssuerOutbox, Patience};
use crate::authority::layers::{GridShape, Layer, Layers, Strategy};
use crate::columns::{
    Batch, CreateColumn, CreateRows, Op, PositionWrites, Removes, Role, ValueWrites, WriteMode,
};
use crate::message::{PeerMessage, RouteChange};
use crate::world::PartitionMap;

const CAR: EntityId = EntityId(1);
const DOG: EntityId = EntityId(2);
const LAYER: LayerId = LayerId(0);
const SPACE: SpaceId = SpaceId(0);

struct Rig {
    partitions: Vec<Partition>,
    queues: Vec<(PartitionId, PartitionId, PeerMessage)>,
    west: RegionId,
    east: RegionId,
}

fn at(x: f64) -> Position {
    Position::new(SPACE, x, 0.0, 0.0)
}

fn follows(leader: u64) -> Vec<u8> {
    vec![0x08, leader as u8]
}

impl Rig {
    fn new() -> Self {
        let grid = GridShape { x: 30.0, y: 0.0, side_m: 1000.0, columns: 2, rows: 1 };
        let layer =
            Layer { strategy: Strategy::Grid(grid), ..Layer::new("all", "sim", vec![ComponentId(1000)]) };
        let limits = Limits::default();
        let layers = Layers::new(vec![layer], &[SPACE], &limits, |c| c.to_string()).expect("one layer");
        let layers = Arc::new(layers);
        let map = Arc::new(PartitionMap::new(2, 10.0, &[at(-15.0), at(-5.0), at(5.0), at(15.0)]));
        let new = |id| Partition::new(id, Arc::clone(&map), limits.clone()).with_layers(&layers);
        let partitions = map.ids().map(new).collect();
        let mut issuer = Issuer::new(&layers, &[SPACE], map.ids(), Patience::default(), &limits);
        let mut rig = Self { partitions, queues: Vec::new(), west: RegionId(0), east: RegionId(0) };
        let mut outbox = IssuerOutbox::default();
        map.ids().for_each(|id| issuer.partition_started(id, &mut outbox));
        while !outbox.partitions.is_empty() {
            for (to, order) in std::mem::take(&mut outbox.partitions) {
                let mut told = Outbox::default();
                rig.partitions[usize::from(to.0)].order(&order, &mut told);
                told.authority.iter().for_each(|answer| issuer.answer(to, *answer, 0, &mut outbox));
            }
        }
        let table = rig.partitions[0].lease_table().expect("there are layers");
        let region = |x| table.region_of(CAR, LAYER, Some(at(x))).expect("the whole table came");
        (rig.west, rig.east) = (region(29.0), region(31.0));
        rig
    }

    fn collect(&mut self, from: usize, outbox: Outbox) {
        let id = PartitionId(from as u16);
        self.queues.extend(outbox.peers.into_iter().map(|(to, message)| (id, to, message)));
        for route in outbox.routes {
            if let RouteChange::Fence(token) = route {
                let mut told = Outbox::default();
                self.partitions[from].fence(token, &mut told);
                self.collect(from, told);
            }
        }
    }

    /// What partitions say to each other is heard.
    fn settle(&mut self) {
        while !self.queues.is_empty() {
            let (from, to, message) = self.queues.remove(0);
            let mut told = Outbox::default();
            self.partitions[usize::from(to.0)].peer(from, message, &mut told);
            self.collect(usize::from(to.0), told);
        }
    }

    fn home(&self, entity: EntityId) -> usize {
        (0..2).find(|p| self.partitions[*p].entity(entity).is_some()).expect("it is somewhere")
    }

    fn write_at(&mut self, p: usize, op: Op) {
        let batch = Batch { ops: vec![op], role: Role::Tool, ..Batch::new(SessionId(1), Seq(1)) };
        let mut told = Outbox::default();
        self.partitions[p].apply(&batch, &mut told);
        self.collect(p, told);
    }

    fn make(&mut self, entity: EntityId, x: f64, leader: Option<u64>) {
        let mut rows = CreateRows { rows: vec![0], entities: vec![entity], ..CreateRows::default() };
        rows.positions.index.push(0);
        rows.positions.positions.push(at(x));
        if let Some(leader) = leader {
            let mut column = CreateColumn::new(ComponentId::FOLLOWS);
            column.push(0, &follows(leader));
            rows.columns.push(column);
        }
        self.write_at(usize::from(x > 0.0), Op::Create(rows));
    }

    fn go(&mut self, entity: EntityId, x: f64) {
        let mut moves = PositionWrites::new(0, WriteMode::Update, SPACE);
        moves.push(0, entity, Point3::new(x, 0.0, 0.0));
        self.write_at(self.home(entity), Op::Positions(moves));
    }

    fn follow(&mut self, entity: EntityId, leader: u64) {
        let mut writes = ValueWrites::new(0, WriteMode::Add, ComponentId::FOLLOWS, None);
        writes.push(0, entity, &follows(leader));
        self.write_at(self.home(entity), Op::Values(writes));
    }

    fn region(&self, entity: EntityId) -> RegionId {
        let partition = &self.partitions[self.home(entity)];
        let (at, _) = partition.authority_of(entity).expect("it is here");
        partition.lease_table().and_then(|table| table.region_of(entity, LAYER, at)).expect("it is somewhere")
    }
}

#[test]
fn a_group_in_one_partition_changes_its_region_at_once() {
    let mut rig = Rig::new();
    rig.make(CAR, 20.0, None);
    rig.make(DOG, 40.0, Some(CAR.0));
    assert_eq!((rig.region(CAR), rig.region(DOG)), (rig.west, rig.west));
    rig.go(CAR, 60.0);
    assert_eq!((rig.region(CAR), rig.region(DOG)), (rig.east, rig.east));
    rig.go(DOG, 10.0);
    assert_eq!(rig.region(DOG), rig.east, "it lies in the west");
    rig.follow(DOG, 0);
    assert_eq!(rig.region(DOG), rig.west);
}

#[test]
fn followers_in_another_partition_hear_of_every_change() {
    let mut rig = Rig::new();
    // It is there before its leader.
    rig.make(DOG, -20.0, Some(CAR.0));
    rig.settle();
    assert_eq!(rig.region(DOG), rig.west);
    rig.make(CAR, 60.0, None);
    rig.settle();
    assert_eq!(rig.region(DOG), rig.east);
    for (x, region) in [(-30.0, rig.west), (40.0, rig.east), (20.0, rig.west), (50.0, rig.east)] {
        rig.go(CAR, x);
        rig.settle();
        assert_eq!(rig.region(DOG), region, "the leader is at {x}");
    }
    // Each goes to where the other one was.
    rig.go(DOG, 50.0);
    rig.go(CAR, -25.0);
    rig.settle();
    assert_eq!((rig.home(DOG), rig.home(CAR), rig.region(DOG)), (1, 0, rig.west));
    let mut removes = Removes::new(0, None);
    removes.push(0, CAR);
    rig.write_at(0, Op::Remove(removes));
    rig.settle();
    assert_eq!(rig.region(DOG), rig.east, "nobody leads it any more");
    assert!(rig.partitions[0].authority.as_ref().is_some_and(|authority| authority.follows.told.is_empty()));
}

#[test]
fn who_follows_leads_nobody_and_nobody_follows_itself() {
    let mut rig = Rig::new();
    rig.make(CAR, 60.0, Some(DOG.0));
    rig.make(DOG, -20.0, Some(CAR.0));
    rig.settle();
    assert_eq!((rig.region(CAR), rig.region(DOG)), (rig.east, rig.west));
    rig.follow(CAR, CAR.0);
    rig.settle();
    assert_eq!((rig.region(CAR), rig.region(DOG)), (rig.east, rig.west), "one with Follows is no leader");
    let mut removes = Removes::new(0, Some(ComponentId::FOLLOWS));
    removes.push(0, CAR);
    rig.write_at(1, Op::Remove(removes));
    rig.settle();
    assert_eq!(rig.region(DOG), rig.east);
}
