//! Two partitions with their border at x = 0: what belongs to whom, wherever it goes.

use spatialdb_types::{
    Epoch, Limits, PartitionId, Point3, Position, Reason, Revision, Seq, SessionId, SpaceId,
};

use super::*;
use crate::authority::issuer::{Issuer, IssuerOutbox, Patience, WorkerInfo};
use crate::authority::layers::{Layer, Strategy};
use crate::authority::leases::Seen;
use crate::columns::{Batch, CreateColumn, CreateRows, Op, PositionWrites, Role, ValueWrites, WriteMode};
use crate::message::{Outbox, RouteChange};
use crate::partition::Partition;
use crate::world::PartitionMap;

const CAR: EntityId = EntityId(7);
const INPUT: ComponentId = ComponentId(1000);
const OWNER: ComponentId = ComponentId::PLAYER_OWNER;
const SPACE: SpaceId = SpaceId(0);
const ANN: SessionId = SessionId(1);
const BOB: SessionId = SessionId(2);
const TOOL: SessionId = SessionId(9);

struct Rig {
    issuer: Issuer,
    partitions: Vec<Partition>,
}

fn owner(name: &str) -> Vec<u8> {
    [&[0x0a, name.len() as u8], name.as_bytes()].concat()
}

fn value(component: ComponentId, bytes: &[u8]) -> Op {
    let mut writes = ValueWrites::new(0, WriteMode::Add, component, None);
    writes.push(0, CAR, bytes);
    Op::Values(writes)
}

impl Rig {
    /// Ann and Bob are there, and a car of Ann's in the west.
    fn new() -> Self {
        let limits = Limits::default();
        let layer = Layer {
            strategy: Strategy::Client,
            with: vec![OWNER],
            ..Layer::new("input", "client", vec![INPUT])
        };
        let layers = Layers::new(vec![layer], &[SPACE], &limits, |c| c.to_string()).expect("one layer");
        let layers = Arc::new(layers);
        let at = |x| Position::new(SPACE, x, 0.0, 0.0);
        let map = Arc::new(PartitionMap::new(2, 10.0, &[at(-15.0), at(-5.0), at(5.0), at(15.0)]));
        let new = |id| Partition::new(id, Arc::clone(&map), limits.clone()).with_layers(&layers);
        let issuer = Issuer::new(&layers, &[SPACE], map.ids(), Patience::default(), &limits);
        let mut rig = Self { issuer, partitions: map.ids().map(new).collect() };
        rig.issue(|issuer, outbox| map.ids().for_each(|id| issuer.partition_started(id, outbox)));
        rig.attach(ANN, "ann");
        rig.attach(BOB, "bob");
        let mut rows = CreateRows { rows: vec![0], entities: vec![CAR], ..CreateRows::default() };
        rows.positions.index.push(0);
        rows.positions.positions.push(at(-5.0));
        let mut column = CreateColumn::new(OWNER);
        column.push(0, &owner("ann"));
        rows.columns.push(column);
        assert_eq!(rig.apply(TOOL, Seen::default(), Op::Create(rows)), []);
        rig
    }

    fn issue(&mut self, act: impl FnOnce(&mut Issuer, &mut IssuerOutbox)) {
        let mut outbox = IssuerOutbox::default();
        act(&mut self.issuer, &mut outbox);
        while !outbox.partitions.is_empty() {
            for (to, order) in std::mem::take(&mut outbox.partitions) {
                let mut told = Outbox::default();
                self.partitions[usize::from(to.0)].order(&order, &mut told);
                told.authority.iter().for_each(|answer| self.issuer.answer(to, *answer, 0, &mut outbox));
            }
        }
    }

    fn attach(&mut self, session: SessionId, name: &str) {
        let info = WorkerInfo { worker_type: "client".to_owned(), name: name.to_owned(), regions_max: 1 };
        self.issue(|issuer, outbox| issuer.attach(session, info, 0, outbox));
    }

    fn home(&self) -> usize {
        (0..2).find(|p| self.partitions[*p].entity(CAR).is_some()).unwrap_or_default()
    }

    /// What is refused of a write, and why.
    fn apply(&mut self, session: SessionId, seen: Seen, op: Op) -> Vec<(Reason, String)> {
        let role = if session == TOOL { Role::Tool } else { Role::Worker };
        let batch = Batch { ops: vec![op], role, seen, ..Batch::new(session, Seq(1)) };
        let (p, mut outbox) = (self.home(), Outbox::default());
        self.partitions[p].apply(&batch, &mut outbox);
        self.carry(p, outbox);
        let mut outbox = Outbox::default();
        self.partitions[p].publish(0, &mut outbox);
        let refused = outbox.sessions.into_iter().flat_map(|(_, told)| told.outcome.rejections);
        refused.map(|rejection| (rejection.reason, rejection.detail)).collect()
    }

    /// Moves to the other partition, and what follows from them.
    fn carry(&mut self, from: usize, outbox: Outbox) {
        for (to, message) in outbox.peers {
            let mut told = Outbox::default();
            self.partitions[usize::from(to.0)].peer(PartitionId(from as u16), message, &mut told);
            self.carry(usize::from(to.0), told);
        }
        for route in outbox.routes {
            if let RouteChange::Fence(token) = route {
                let mut told = Outbox::default();
                self.partitions[from].fence(token, &mut told);
                self.carry(from, told);
            }
        }
    }

    /// The car is another one's.
    fn give(&mut self, name: &str) {
        assert_eq!(self.apply(TOOL, Seen::default(), value(OWNER, &owner(name))), []);
    }

    /// Whether the session, which has seen all grants, and what it gained up to now or nothing, may write.
    fn writes(&mut self, session: SessionId, has_seen: bool) -> Result<(), (Reason, String)> {
        let clock = if has_seen { Revision(u64::MAX) } else { Revision(0) };
        let seen = Seen { epoch: Epoch(99), gains: Arc::new([clock, clock]) };
        self.apply(session, seen, value(INPUT, &[1])).pop().map_or(Ok(()), Err)
    }

    fn refuses(&mut self, session: SessionId, has_seen: bool) -> Reason {
        self.writes(session, has_seen).expect_err("refused").0
    }

    /// What the session is told of the car when the next publish comes.
    fn told(&mut self, session: SessionId, op: Op) -> Vec<bool> {
        let batch = Batch { ops: vec![op], role: Role::Tool, ..Batch::new(TOOL, Seq(1)) };
        let (p, mut outbox) = (self.home(), Outbox::default());
        self.partitions[p].apply(&batch, &mut outbox);
        self.partitions[p].publish(0, &mut outbox);
        let words = outbox.sessions.into_iter().filter(|(to, _)| *to == session);
        let words = words.flat_map(|(_, told)| told.authority).flat_map(|delta| delta.changes);
        words.map(|word| word.is_gain()).collect()
    }
}

#[test]
fn only_the_player_that_it_names_writes_it() {
    let mut rig = Rig::new();
    assert_eq!(rig.writes(ANN, false), Ok(()), "it was hers from the start");
    assert_eq!(rig.refuses(BOB, true), Reason::NotOwner);
    rig.give("bob");
    assert_eq!(rig.refuses(ANN, true), Reason::NotOwner);
    assert_eq!(rig.refuses(BOB, false), Reason::OwnershipNotSeen);
    assert_eq!(rig.writes(BOB, true), Ok(()));
}

#[test]
fn what_was_written_before_it_was_lost_and_came_back_is_refused() {
    let mut rig = Rig::new();
    rig.give("bob");
    rig.give("ann");
    assert_eq!(rig.refuses(ANN, false), Reason::OwnershipNotSeen);
    assert_eq!(rig.writes(ANN, true), Ok(()));
    rig.give("ann");
    assert_eq!(rig.writes(ANN, false), Ok(()), "that changes nothing");
}

#[test]
fn of_who_is_not_there_it_is_nobodys() {
    let mut rig = Rig::new();
    rig.give("eve");
    let (reason, why) = rig.writes(ANN, true).expect_err("not hers");
    assert!(reason == Reason::NotOwner && why.contains("player eve, who is not attached"), "{why}");
    rig.attach(SessionId(3), "eve");
    assert_eq!(rig.writes(SessionId(3), false), Ok(()), "the grant says that it is hers");
    rig.give("");
    let (_, why) = rig.writes(ANN, true).expect_err("nobody's");
    assert!(why.contains("names nobody"), "{why}");
}

#[test]
fn it_is_the_same_players_in_another_partition() {
    let mut rig = Rig::new();
    let mut moves = PositionWrites::new(0, WriteMode::Update, SPACE);
    moves.push(0, CAR, Point3::new(50.0, 0.0, 0.0));
    assert_eq!(rig.apply(TOOL, Seen::default(), Op::Positions(moves)), []);
    assert_eq!(rig.home(), 1);
    assert_eq!((rig.writes(ANN, false), rig.refuses(BOB, true)), (Ok(()), Reason::NotOwner));
    rig.give("bob");
    assert_eq!(rig.writes(BOB, true), Ok(()));
}

#[test]
fn loser_and_gainer_are_told_at_once() {
    let mut rig = Rig::new();
    assert_eq!(rig.told(BOB, value(OWNER, &owner("bob"))), [true]);
    assert_eq!(rig.told(BOB, value(INPUT, &[1])), [], "it is his still");
    assert_eq!(rig.told(BOB, value(OWNER, &owner("ann"))), [false]);
    assert_eq!(rig.told(ANN, value(OWNER, &owner("eve"))), [false]);
}

#[test]
fn the_last_name_counts_and_garbage_is_nobody() {
    assert_eq!(name_in(&[owner("ann"), owner("bob")].concat()), Some("bob"));
    assert_eq!(name_in(&[0x0a, 2, 0xff, 0xff]), None);
    assert_eq!(name_in(&[0x08, 2]), None);
    assert_eq!(name_in(&owner("")), None);
}
