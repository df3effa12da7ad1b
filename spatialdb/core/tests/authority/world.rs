//! One state of the model: machines, what is on the way between them, and what there is to remember for the judges.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use spatialdb_core::Micros;
use spatialdb_core::authority::issuer::{Issuer, IssuerOutbox, LeaseInfo, Notice, Patience, WorkerInfo};
use spatialdb_core::authority::layers::{Layer, Layers};
use spatialdb_core::authority::leases::{Answer, Lease, LeaseTable, Order, Table};
use spatialdb_types::{
    ComponentId, Epoch, LayerId, Limits, PartitionId, Point3, Position, RegionId, SessionId, SpaceId,
};

use crate::model::Bug;

pub(crate) const LAYER: LayerId = LayerId(0);
pub(crate) const SPACE: SpaceId = SpaceId(0);

/// Two places, one on each side of where a region may be cut.
pub(crate) const PLACES: [Point3; 2] = [Point3::new(-1.0, 0.0, 0.0), Point3::new(1.0, 0.0, 0.0)];

/// A worker that says nothing for so long loses all.
pub(crate) const TTL: Micros = 1000;

/// So long may each half of a hand-over take.
pub(crate) const HANDOVER: Micros = 100;

/// An ownership of a place from a grant to a revoke, counted from the first.
pub(crate) type Tenure = u32;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) issuer: Issuer,
    pub(crate) now: Micros,
    pub(crate) tables: [LeaseTable; 2],
    pub(crate) orders: [VecDeque<Order>; 2],
    pub(crate) answers: [VecDeque<Answer>; 2],
    /// What came along with an entity that is on its way to a partition.
    pub(crate) moving: [Option<Vec<(RegionId, Lease)>>; 2],
    pub(crate) workers: [Worker; 2],
    /// Every write that there could be, and whether it is decided.
    pub(crate) writes: BTreeMap<Write, bool>,
    /// Which ownership of a place a grant belongs to.
    pub(crate) tenures: [BTreeMap<Epoch, Tenure>; 2],
    pub(crate) left: crate::model::Limits,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    pub(crate) session: SessionId,
    pub(crate) is_up: bool,
    pub(crate) is_silent: bool,
    pub(crate) is_draining: bool,
    pub(crate) notices: VecDeque<Note>,
    /// The highest epoch that it was told; and has said that it was.
    pub(crate) seen: Epoch,
    pub(crate) said: Epoch,
    /// What it believes to own of the two places.
    pub(crate) held: [Option<Held>; 2],
    pub(crate) warm: BTreeSet<RegionId>,
    pub(crate) imminent: BTreeSet<(RegionId, Epoch)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub(crate) region: RegionId,
    pub(crate) tenure: Tenure,
    /// It has said that it writes no more.
    pub(crate) is_flushed: bool,
}

/// A write of one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Write {
    pub(crate) session: SessionId,
    pub(crate) place: usize,
    pub(crate) seen: Epoch,
    /// What the worker believed when it wrote.
    pub(crate) tenure: Tenure,
}

/// What of a notice matters here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Note {
    Gained(RegionId, Epoch, [bool; 2]),
    Shaped(RegionId, [bool; 2]),
    Joined(RegionId, RegionId),
    Lost(RegionId, Epoch),
    Imminent(RegionId, Epoch),
    Kept(RegionId, Epoch),
    Warm(RegionId),
    Cool(RegionId),
}

impl World {
    /// Both workers are there, and the first has everything.
    pub(crate) fn new(left: crate::model::Limits) -> Self {
        let with = vec![ComponentId::POSITION];
        let layer = Layer { with: with.clone(), handover_timeout: HANDOVER, ..Layer::new("l", "sim", with) };
        let layers = Layers::new(vec![layer], &[SPACE], &Limits::default(), |c| c.to_string());
        let layers = Arc::new(layers.expect("one layer"));
        let patience = Patience { lease_ttl: TTL, stall_after: None, tick_max: Micros::MAX, rest: 0 };
        let partitions = [PartitionId(0), PartitionId(1)];
        let mut world = Self {
            issuer: Issuer::new(&layers, &[SPACE], partitions, patience, &Limits::default()),
            now: 0,
            tables: partitions.map(|partition| LeaseTable::new(partition, Arc::clone(&layers))),
            orders: Default::default(),
            answers: Default::default(),
            moving: [None, None],
            workers: [Worker::new(SessionId(1)), Worker::new(SessionId(2))],
            writes: BTreeMap::new(),
            tenures: Default::default(),
            left,
        };
        world.ask(None, |issuer, _, out| {
            partitions.into_iter().for_each(|partition| issuer.partition_started(partition, out));
        });
        world.attach(0);
        world.attach(1);
        world.come_to_rest();
        world
    }

    /// Lets the issuer do something, passes on what it says, and notes whose places are.
    pub(crate) fn ask(
        &mut self,
        bug: Option<Bug>,
        action: impl FnOnce(&mut Issuer, Micros, &mut IssuerOutbox),
    ) {
        let before = self.issuer.table();
        let mut outbox = IssuerOutbox::default();
        action(&mut self.issuer, self.now, &mut outbox);
        let after = self.issuer.table();
        for place in 0..2 {
            self.note_tenure(place, lease_at(&before, place), lease_at(&after, place));
        }
        for (partition, order) in outbox.partitions {
            let at = usize::from(partition.0);
            if let (Some(Bug::AnswersEarly), 1, Order::Revoke(region, epoch)) = (bug, at, &order) {
                self.answers[at].push_back(Answer::Revoked(*region, *epoch));
            }
            self.orders[at].push_back(order);
        }
        for (session, notice) in outbox.sessions {
            if let Some(worker) =
                self.workers.iter_mut().find(|worker| worker.session == session && worker.is_up)
            {
                worker.notices.extend(note(&notice));
            }
        }
    }

    pub(crate) fn attach(&mut self, worker: usize) {
        let session = self.workers[worker].session;
        let info = WorkerInfo { worker_type: "sim".to_owned(), name: format!("w{worker}"), regions_max: 4 };
        self.workers[worker].is_up = true;
        self.ask(None, |issuer, now, out| issuer.attach(session, info, now, out));
    }

    /// Every worker that is awake is heard.
    pub(crate) fn hear_all(&mut self) {
        for worker in 0..2 {
            let Worker { session, is_up, is_silent, .. } = self.workers[worker];
            if is_up && !is_silent {
                self.ask(None, |issuer, now, out| issuer.heard(session, now, out));
            }
        }
    }

    /// What workers could write now is remembered.
    pub(crate) fn note_writes(&mut self) {
        for worker in self.workers.iter().filter(|worker| worker.is_up) {
            for (place, held) in worker.held.iter().enumerate() {
                if let Some(Held { tenure, is_flushed: false, .. }) = *held {
                    let write = Write { session: worker.session, place, seen: worker.seen, tenure };
                    self.writes.insert(write, false);
                }
            }
        }
    }

    /// The ownership that a grant of a place belongs to.
    pub(crate) fn tenure(&self, place: usize, epoch: Epoch) -> Option<Tenure> {
        self.tenures[place].get(&epoch).copied()
    }

    /// The worker hears the next of what it was told.
    pub(crate) fn take_note(&mut self, worker: usize) {
        let Some(note) = self.workers[worker].notices.pop_front() else { return };
        let tenures = &self.tenures;
        let worker = &mut self.workers[worker];
        match note {
            Note::Gained(region, epoch, places) => {
                worker.seen = epoch;
                for place in (0..2).filter(|&place| places[place]) {
                    let tenure = tenures[place][&epoch];
                    worker.held[place] = Some(Held { region, tenure, is_flushed: false });
                }
            }
            Note::Shaped(region, places) => {
                let held = worker.held.iter_mut().zip(places).filter(|(_, is_in)| *is_in);
                held.filter_map(|(held, _)| held.as_mut()).for_each(|held| held.region = region);
            }
            Note::Joined(gone, keep) => {
                worker
                    .held
                    .iter_mut()
                    .flatten()
                    .filter(|held| held.region == gone)
                    .for_each(|held| held.region = keep);
            }
            Note::Lost(region, epoch) => {
                worker
                    .held
                    .iter_mut()
                    .filter(|held| held.is_some_and(|held| held.region == region))
                    .for_each(|held| *held = None);
                worker.imminent.remove(&(region, epoch));
            }
            Note::Imminent(region, epoch) => _ = worker.imminent.insert((region, epoch)),
            Note::Kept(region, epoch) => {
                worker.imminent.remove(&(region, epoch));
                let held = worker.held.iter_mut().flatten().filter(|held| held.region == region);
                held.for_each(|held| held.is_flushed = false);
            }
            Note::Warm(region) => _ = worker.warm.insert(region),
            Note::Cool(region) => _ = worker.warm.remove(&region),
        }
    }

    /// Everything arrives.
    fn come_to_rest(&mut self) {
        loop {
            let mut has_moved = false;
            for partition in 0..2 {
                while let Some(order) = self.orders[partition].pop_front() {
                    let answer = self.tables[partition].obey(&order);
                    self.answers[partition].extend(answer);
                    has_moved = true;
                }
                while let Some(answer) = self.answers[partition].pop_front() {
                    let from = PartitionId(partition as u16);
                    self.ask(None, |issuer, now, out| issuer.answer(from, answer, now, out));
                    has_moved = true;
                }
            }
            for worker in 0..2 {
                has_moved |= !self.workers[worker].notices.is_empty();
                self.take_note(worker);
            }
            if !has_moved {
                break;
            }
        }
        self.note_writes();
    }

    fn note_tenure(&mut self, place: usize, before: Lease, after: Lease) {
        if after.owner.is_none() || before == after {
            return;
        }
        let last = self.tenures[place].values().max().copied().unwrap_or_default();
        // A region that grew has a later epoch, but who owns the place stayed the same.
        let same = self.tenures[place].get(&before.epoch).filter(|_| before.owner == after.owner).copied();
        self.tenures[place].entry(after.epoch).or_insert(same.unwrap_or(last + 1));
    }
}

impl Worker {
    pub(crate) fn new(session: SessionId) -> Self {
        Self {
            session,
            is_up: false,
            is_silent: false,
            is_draining: false,
            notices: VecDeque::new(),
            seen: Epoch(0),
            said: Epoch(0),
            held: [None, None],
            warm: BTreeSet::new(),
            imminent: BTreeSet::new(),
        }
    }
}

/// What a table says of a place.
pub(crate) fn lease_at(table: &Table, place: usize) -> Lease {
    let Some(tiling) = table.tilings.get(&(LAYER, SPACE)) else { return Lease::default() };
    let region = tiling.find(PLACES[place]);
    table.leases.iter().find(|(id, _)| *id == region).map(|(_, lease)| *lease).unwrap_or_default()
}

/// What a partition says of a place; `None`: it knows nothing yet.
pub(crate) fn slot_at(table: &LeaseTable, place: usize) -> Option<spatialdb_core::authority::leases::Slot> {
    table.slot_at(LAYER, Some(Position { space: SPACE, point: PLACES[place] }))
}

fn note(notice: &Notice) -> Option<Note> {
    let places = |info: &LeaseInfo| PLACES.map(|place| info.area.contains(place));
    Some(match notice {
        Notice::Gained(info) => Note::Gained(info.region, info.epoch, places(info)),
        Notice::Shaped(info) => Note::Shaped(info.region, places(info)),
        Notice::Joined(gone, keep) => Note::Joined(*gone, *keep),
        Notice::Lost(region, epoch, _) => Note::Lost(*region, *epoch),
        Notice::LossImminent(region, epoch, _) => Note::Imminent(*region, *epoch),
        Notice::Kept(region, epoch) => Note::Kept(*region, *epoch),
        Notice::Warm(info) => Note::Warm(info.region),
        Notice::Cool(region) => Note::Cool(*region),
        Notice::Borders(..) | Notice::Drain => return None,
    })
}
