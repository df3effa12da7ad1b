//! The issuer with the tables of its partitions; messages arrive when a test says so.

mod chaos;
mod failures;
mod handovers;
mod memory;
mod players;
mod regions;
mod stalls;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use spatialdb_types::{
    ComponentId, Epoch, LayerId, Limits, PartitionId, Position, RegionId, SessionId, SpaceId,
};

use super::*;
use crate::authority::layers::Layer;
use crate::authority::leases::{Answer, LeaseTable, Refusal, Seen, Writer};
use crate::authority::tiling::{Axis, Cut};

pub(super) const LAYER: LayerId = LayerId(0);
pub(super) const SPACE: SpaceId = SpaceId(0);
pub(super) const R1: RegionId = RegionId(1);
pub(super) const ANN: SessionId = SessionId(1);
pub(super) const BOB: SessionId = SessionId(2);
pub(super) const EVE: SessionId = SessionId(3);
pub(super) const SECOND: Micros = 1_000_000;

/// An issuer, tables of partitions, and what is on the way between them.
pub(super) struct Rig {
    pub(super) issuer: Issuer,
    pub(super) now: Micros,
    pub(super) tables: BTreeMap<PartitionId, LeaseTable>,
    pub(super) orders: BTreeMap<PartitionId, VecDeque<Order>>,
    pub(super) answers: BTreeMap<PartitionId, VecDeque<Answer>>,
    pub(super) told: BTreeMap<SessionId, Vec<Notice>>,
    pub(super) changes: Vec<Change>,
    pub(super) outbox: IssuerOutbox,
}

/// A layer of placed entities with one region to begin with.
pub(super) fn placed(name: &str) -> Layer {
    let with = vec![ComponentId::POSITION];
    Layer { with, load_max: 100, ..Layer::new(name, "sim", vec![ComponentId::POSITION]) }
}

pub(super) fn cut_x(at: f64) -> Cut {
    Cut { axis: Axis::X, at }
}

impl Rig {
    pub(super) fn new(layers: Vec<Layer>) -> Self {
        let limits = Limits::default();
        let layers = Layers::new(layers, &[SPACE], &limits, |c| c.to_string()).expect("layers");
        let layers = Arc::new(layers);
        let partitions: Vec<_> = (0..3).map(PartitionId).collect();
        let issuer = Issuer::new(&layers, &[SPACE], partitions.clone(), Patience::default(), &limits);
        Self::around(issuer, &layers, partitions)
    }

    /// One that begins with what another one remembered.
    pub(super) fn again(layers: Vec<Layer>, memory: &Memory) -> Self {
        let limits = Limits::default();
        let layers = Layers::new(layers, &[SPACE], &limits, |c| c.to_string()).expect("layers");
        let layers = Arc::new(layers);
        let partitions: Vec<_> = (0..3).map(PartitionId).collect();
        let mut issuer = Issuer::new(&layers, &[SPACE], partitions.clone(), Patience::default(), &limits);
        issuer.remember(memory, 0);
        Self::around(issuer, &layers, partitions)
    }

    fn around(issuer: Issuer, layers: &Arc<Layers>, partitions: Vec<PartitionId>) -> Self {
        let mut rig = Self {
            issuer,
            now: 0,
            tables: partitions.iter().map(|&p| (p, LeaseTable::new(p, Arc::clone(layers)))).collect(),
            orders: BTreeMap::new(),
            answers: BTreeMap::new(),
            told: BTreeMap::new(),
            changes: Vec::new(),
            outbox: IssuerOutbox::default(),
        };
        for partition in partitions {
            rig.issuer.partition_started(partition, &mut rig.outbox);
        }
        rig.run();
        rig
    }

    /// Passes on what the issuer said.
    pub(super) fn post(&mut self) {
        let outbox = std::mem::take(&mut self.outbox);
        for (partition, order) in outbox.partitions {
            self.orders.entry(partition).or_default().push_back(order);
        }
        for (session, notice) in outbox.sessions {
            self.told.entry(session).or_default().push(notice);
        }
        self.changes.extend(outbox.changes);
    }

    /// One order reaches a partition.
    pub(super) fn deliver_order(&mut self, partition: PartitionId) -> bool {
        self.post();
        let Some(order) = self.orders.get_mut(&partition).and_then(VecDeque::pop_front) else { return false };
        let answer = self.tables.get_mut(&partition).expect("a partition").obey(&order);
        self.answers.entry(partition).or_default().extend(answer);
        true
    }

    /// One answer of a partition reaches the issuer.
    pub(super) fn deliver_answer(&mut self, partition: PartitionId) -> bool {
        let Some(answer) = self.answers.get_mut(&partition).and_then(VecDeque::pop_front) else {
            return false;
        };
        self.issuer.answer(partition, answer, self.now, &mut self.outbox);
        self.post();
        true
    }

    /// Everything arrives at one partition, and its answers.
    pub(super) fn run_at(&mut self, partition: PartitionId) -> bool {
        let mut has_moved = false;
        while self.deliver_order(partition) || self.deliver_answer(partition) {
            has_moved = true;
        }
        has_moved
    }

    /// Everything arrives everywhere.
    pub(super) fn run(&mut self) {
        self.post();
        while (0..3).any(|p| self.run_at(PartitionId(p))) {}
    }

    pub(super) fn attach(&mut self, session: SessionId) {
        self.attach_as(session, &format!("w{session}"), 8);
    }

    pub(super) fn attach_as(&mut self, session: SessionId, name: &str, regions_max: u32) {
        let info = WorkerInfo { worker_type: "sim".to_owned(), name: name.to_owned(), regions_max };
        self.issuer.attach(session, info, self.now, &mut self.outbox);
        self.run();
    }

    pub(super) fn detach(&mut self, session: SessionId) {
        self.issuer.detach(session, self.now, &mut self.outbox);
        self.run();
    }

    /// Time passes while all these are heard.
    pub(super) fn pass(&mut self, time: Micros, heard: &[SessionId]) {
        let end = self.now + time;
        while self.now < end {
            self.now = end.min(self.now + 200_000);
            for &session in heard {
                self.issuer.heard(session, self.now, &mut self.outbox);
            }
            self.issuer.tick(self.now, &mut self.outbox);
            self.run();
        }
    }

    /// The new owner gets warm, the old one flushes.
    pub(super) fn finish_handover(&mut self, region: RegionId) {
        let state = self.issuer.region(region).clone();
        let to = state.handover().expect("a hand-over").to;
        self.issuer.warmed(to, region, self.now, &mut self.outbox);
        self.run();
        let owner = state.owner().expect("an owner");
        self.issuer.flushed(owner, region, state.epoch, self.now, &mut self.outbox);
        self.run();
    }

    /// Both see all that they were told.
    pub(super) fn see_all(&mut self) {
        let sessions: Vec<_> = self.issuer.workers.keys().copied().collect();
        for session in sessions {
            self.issuer.seen(session, self.issuer.last_epoch, self.now, &mut self.outbox);
            self.run();
        }
    }

    pub(super) fn owner(&self, region: RegionId) -> Option<SessionId> {
        self.issuer.region(region).owner()
    }

    pub(super) fn owner_at(&self, x: f64) -> Option<SessionId> {
        self.owner(self.region_at(x))
    }

    pub(super) fn region_at(&self, x: f64) -> RegionId {
        self.issuer.tilings[&(LAYER, SPACE)].find(Position::new(SPACE, x, 0.0, 0.0).point)
    }

    pub(super) fn region_count(&self) -> usize {
        self.issuer.regions.len()
    }

    /// Whether a partition takes a session's write, which had seen an epoch.
    pub(super) fn write(
        &self,
        partition: u16,
        session: SessionId,
        x: f64,
        epoch: u64,
    ) -> Result<(), Refusal> {
        let table = &self.tables[&PartitionId(partition)];
        let slot = table.slot_at(LAYER, Some(Position::new(SPACE, x, 0.0, 0.0))).ok_or(Refusal::Unknown)?;
        let seen = Seen { epoch: Epoch(epoch), gains: Arc::default() };
        table.check(slot, &Writer { session, seen })
    }

    /// How many partitions take the write.
    pub(super) fn accepted(&self, session: SessionId, x: f64, epoch: u64) -> usize {
        (0..3).filter(|&p| self.write(p, session, x, epoch).is_ok()).count()
    }

    pub(super) fn last(&self, session: SessionId) -> Option<&Notice> {
        self.told.get(&session).and_then(|told| told.last())
    }

    pub(super) fn was_told(&self, session: SessionId, is_it: impl Fn(&Notice) -> bool) -> bool {
        self.told.get(&session).is_some_and(|told| told.iter().any(is_it))
    }
}
