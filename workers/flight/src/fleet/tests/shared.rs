//! Fleets that share a world which loses, delays and refuses: whatever happens, each number comes right.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const WORKERS: usize = 3;
const REGIONS: usize = 5;

/// What a fleet wrote and the world has not decided; of aircraft under which grant of their region.
enum Written {
    Launch(Launch),
    Depart(EntityId, Aircraft, u64),
    Retire(EntityId, u64),
}

/// What the world did and a fleet has not heard.
enum Heard {
    Shown(EntityId, Aircraft),
    Left(EntityId),
    Refused(EntityId),
    Created(String, Vec<Option<EntityId>>),
    /// A region, and which grant.
    Gained(usize, u64),
}

/// One run of a worker, and the wire in both directions.
struct Worker {
    fleet: Fleet,
    /// The regions that it knows to be its own.
    owned: [bool; REGIONS],
    written: VecDeque<Written>,
    heard: VecDeque<Heard>,
}

struct World {
    now_us: i64,
    runs: u64,
    next_id: u64,
    multiplier: u64,
    aircraft: BTreeMap<EntityId, Aircraft>,
    /// Which worker has which region. Airports and aircraft lie in regions by their ids.
    owners: [usize; REGIONS],
    /// Which grant of each region it is.
    epochs: [u64; REGIONS],
    workers: Vec<Worker>,
}

fn region(entity: EntityId) -> usize {
    entity.0 as usize % REGIONS
}

impl World {
    fn new() -> Self {
        let (written, heard) = (VecDeque::new, VecDeque::new);
        let worker = |_| Worker {
            fleet: Fleet::new(plan(0)),
            owned: [false; REGIONS],
            written: written(),
            heard: heard(),
        };
        let mut world = Self {
            now_us: 1_000_000,
            runs: 0,
            next_id: 1,
            multiplier: 1,
            aircraft: BTreeMap::new(),
            owners: [0, 1, 2, 0, 1],
            epochs: [1; REGIONS],
            workers: (0..WORKERS).map(worker).collect(),
        };
        (0..WORKERS).for_each(|worker| world.start(worker));
        world
    }

    /// A new run: its view is filled from the world as it is, with nothing of the old run still to be applied.
    fn start(&mut self, worker: usize) {
        self.runs += 1;
        self.workers[worker].fleet = Fleet::new(plan(self.runs));
        self.workers[worker].written.clear();
        self.fill(worker);
    }

    fn fill(&mut self, worker: usize) {
        let Worker { fleet, heard, owned, .. } = &mut self.workers[worker];
        heard.clear();
        *owned = self.owners.map(|owner| owner == worker);
        fleet.multiply(self.multiplier);
        airports().for_each(|(entity, runway)| fleet.airport(entity, runway));
        for (entity, aircraft) in &self.aircraft {
            fleet.adopt(*entity, aircraft.clone());
        }
    }

    /// SIGKILL: the world applies the first `applied` messages on the wire and loses the others.
    fn kill(&mut self, worker: usize, applied: usize) {
        (0..applied).for_each(|_| self.apply_one(worker));
        self.start(worker);
    }

    /// The connection drops and comes back: unanswered creates are repeated and answered, then the view is filled.
    fn reconnect(&mut self, worker: usize, applied: usize) {
        (0..applied).for_each(|_| self.apply_one(worker));
        self.workers[worker].written.retain(|written| matches!(written, Written::Launch(_)));
        while !self.workers[worker].written.is_empty() {
            self.apply_one(worker);
        }
        self.workers[worker].heard.retain(|heard| matches!(heard, Heard::Created(..)));
        while !self.workers[worker].heard.is_empty() {
            self.hear_one(worker);
        }
        self.workers[worker].fleet.reset();
        self.fill(worker);
    }

    /// Who loses a region hears it at once; who gains it, once it has been shown what is there.
    fn hand_over(&mut self, to: usize, worker: usize) {
        let here = || self.aircraft.iter().filter(|(entity, _)| region(**entity) == to);
        let loser = &mut self.workers[self.owners[to]];
        loser.owned[to] = false;
        here().for_each(|(entity, _)| loser.fleet.lost(*entity));
        self.owners[to] = worker;
        self.epochs[to] += 1;
        let shown = here().map(|(entity, aircraft)| Heard::Shown(*entity, aircraft.clone()));
        self.workers[worker].heard.extend(shown.chain([Heard::Gained(to, self.epochs[to])]));
    }

    fn multiply(&mut self, multiplier: u64) {
        self.multiplier = multiplier;
        self.workers.iter_mut().for_each(|worker| _ = worker.fleet.multiply(multiplier));
    }

    fn tick(&mut self, worker: usize, seconds: i64) {
        self.now_us += seconds * 1_000_000;
        let Worker { fleet, written, owned, .. } = &mut self.workers[worker];
        let is_ours = |entity| owned[region(entity)];
        let epoch = |entity| self.epochs[region(entity)];
        let orders = fleet.tick(self.now_us, &Duty { flies: &is_ours, serves: &is_ours });
        let depart = |(entity, next)| Written::Depart(entity, next, epoch(entity));
        written.extend(orders.departures.into_iter().map(depart));
        written.extend(orders.retire.into_iter().map(|entity| Written::Retire(entity, epoch(entity))));
        written.extend(orders.launches.into_iter().map(Written::Launch));
    }

    fn apply_one(&mut self, worker: usize) {
        let is_late = |entity: EntityId, epoch| {
            (self.owners[region(entity)], self.epochs[region(entity)]) != (worker, epoch)
        };
        match self.workers[worker].written.pop_front() {
            Some(Written::Retire(entity, epoch) | Written::Depart(entity, _, epoch))
                if is_late(entity, epoch) =>
            {
                self.workers[worker].heard.push_back(Heard::Refused(entity));
            }
            Some(Written::Retire(entity, _)) => {
                let Some(gone) = self.aircraft.remove(&entity) else { return };
                let number = number_of(&gone.callsign).expect("one of the fleet");
                let mut others = self.aircraft.values().map(|one| number_of(&one.callsign));
                assert!(number > AIRCRAFT || others.any(|one| one == Some(number)), "SDB{number} is lost");
                self.workers.iter_mut().for_each(|one| one.heard.push_back(Heard::Left(entity)));
            }
            Some(Written::Depart(entity, next, _)) => {
                let Some(aircraft) = self.aircraft.get_mut(&entity) else { return };
                // It may be written once more.
                let is_known = next.arrives_unix_us == aircraft.arrives_unix_us;
                let expected = if is_known { aircraft.from } else { aircraft.to };
                assert_eq!((&next.callsign, next.from), (&aircraft.callsign, expected));
                aircraft.clone_from(&next);
                // Own writes do not come back.
                let others = self.workers.iter_mut().enumerate().filter(|(other, _)| *other != worker);
                others.for_each(|(_, other)| other.heard.push_back(Heard::Shown(entity, next.clone())));
            }
            Some(Written::Launch(launch)) => {
                let mut entities = Vec::new();
                for (aircraft, _) in launch.aircraft {
                    let entity = EntityId(self.next_id);
                    self.next_id += 1;
                    let show = |one: &mut Worker| one.heard.push_back(Heard::Shown(entity, aircraft.clone()));
                    self.workers.iter_mut().for_each(show);
                    self.aircraft.insert(entity, aircraft);
                    entities.push(Some(entity));
                }
                self.workers[worker].heard.push_back(Heard::Created(launch.request_id, entities));
            }
            None => {}
        }
    }

    fn hear_one(&mut self, worker: usize) {
        let Worker { fleet, heard, owned, .. } = &mut self.workers[worker];
        match heard.pop_front() {
            Some(Heard::Gained(region, epoch)) => {
                owned[region] = (self.owners[region], self.epochs[region]) == (worker, epoch);
            }
            Some(Heard::Shown(entity, aircraft)) => fleet.adopt(entity, aircraft),
            Some(Heard::Left(entity)) => fleet.forget(entity),
            Some(Heard::Refused(entity)) => fleet.refused(entity),
            Some(Heard::Created(request_id, entities)) => fleet.created(&request_id, &entities, self.now_us),
            None => {}
        }
    }

    fn settle(&mut self) {
        for turn in 0..30 {
            let worker = turn % WORKERS;
            self.tick(worker, 1);
            while !self.workers[worker].written.is_empty() {
                self.apply_one(worker);
            }
            for worker in 0..WORKERS {
                while !self.workers[worker].heard.is_empty() {
                    self.hear_one(worker);
                }
            }
        }
    }

    fn numbers(&self) -> Vec<u64> {
        let number = |aircraft: &Aircraft| number_of(&aircraft.callsign).expect("one of the fleet");
        let mut numbers: Vec<u64> = self.aircraft.values().map(number).collect();
        numbers.sort_unstable();
        numbers
    }
}

#[derive(Clone, Debug)]
enum Step {
    Tick(usize, i64),
    Apply(usize),
    Hear(usize),
    Kill(usize, usize),
    Reconnect(usize, usize),
    HandOver(usize, usize),
    Multiply(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let worker = || 0..WORKERS;
    prop_oneof![
        3 => (worker(), 1..40_000_i64).prop_map(|(worker, seconds)| Step::Tick(worker, seconds)),
        6 => worker().prop_map(Step::Apply),
        6 => worker().prop_map(Step::Hear),
        1 => (worker(), 0..4_usize).prop_map(|(worker, applied)| Step::Kill(worker, applied)),
        1 => (worker(), 0..4_usize).prop_map(|(worker, applied)| Step::Reconnect(worker, applied)),
        2 => (0..REGIONS, worker()).prop_map(|(region, worker)| Step::HandOver(region, worker)),
        1 => (1..4_u64).prop_map(Step::Multiply),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_each_number_is_there_once(steps in proptest::collection::vec(step(), 0..120)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Tick(worker, seconds) => world.tick(worker, seconds),
                Step::Apply(worker) => world.apply_one(worker),
                Step::Hear(worker) => world.hear_one(worker),
                Step::Kill(worker, applied) => world.kill(worker, applied),
                Step::Reconnect(worker, applied) => world.reconnect(worker, applied),
                Step::HandOver(region, worker) => world.hand_over(region, worker),
                Step::Multiply(multiplier) => world.multiply(multiplier),
            }
        }
        world.settle();
        prop_assert_eq!(world.numbers(), (1..=world.multiplier * AIRCRAFT).collect::<Vec<_>>());
    }
}
