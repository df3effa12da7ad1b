//! A fleet against a world that loses, delays and answers: whatever happens, the number of aircraft comes right.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::sphere::Place;

const AIRCRAFT: usize = 7;

/// What a fleet wrote and the world has not applied.
enum Written {
    Launch(Launch),
    Retire(EntityId),
}

/// What the world did and the fleet has not heard.
enum Heard {
    Entered(EntityId, Aircraft),
    Left(EntityId),
    Created(String, Vec<Option<EntityId>>),
}

/// The world, the wire in both directions, and one run of the worker.
struct World {
    now_us: i64,
    runs: u64,
    next_id: u64,
    aircraft: BTreeMap<EntityId, Aircraft>,
    ids_ever: BTreeSet<EntityId>,
    written: VecDeque<Written>,
    heard: VecDeque<Heard>,
    fleet: Fleet,
}

fn plan(run_id: u64) -> FleetPlan {
    FleetPlan { aircraft: AIRCRAFT, seed: 3, cruise_mps: 250.0, run_id }
}

fn airports() -> impl Iterator<Item = (EntityId, Runway)> {
    (0..20_u64).map(|i| {
        let place = Place::from_degrees((i * 7) as f64 - 60.0, (i * 17) as f64 - 170.0);
        (EntityId(1_000_000 + i), Runway { place, elevation_m: 10.0 })
    })
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            now_us: 1_000_000,
            runs: 0,
            next_id: 1,
            aircraft: BTreeMap::new(),
            ids_ever: BTreeSet::new(),
            written: VecDeque::new(),
            heard: VecDeque::new(),
            fleet: Fleet::new(plan(0)),
        };
        world.start();
        world
    }

    /// A new run: its view is filled from the world as it is, with nothing of the old run still to be applied.
    fn start(&mut self) {
        self.runs += 1;
        self.fleet = Fleet::new(plan(self.runs));
        self.fill();
    }

    fn fill(&mut self) {
        self.heard.clear();
        airports().for_each(|(entity, runway)| self.fleet.airport(entity, runway));
        for (entity, aircraft) in &self.aircraft {
            self.fleet.adopt(*entity, aircraft.clone());
        }
    }

    /// SIGKILL: the world applies the first `applied` messages on the wire and loses the others.
    fn kill(&mut self, applied: usize) {
        for _ in 0..applied {
            self.apply_one();
        }
        self.written.clear();
        self.start();
    }

    /// The connection drops and comes back: unanswered creates are repeated and answered, then the view is
    /// filled.
    fn reconnect(&mut self, applied: usize) {
        for _ in 0..applied {
            self.apply_one();
        }
        self.written.retain(|written| matches!(written, Written::Launch(_)));
        while !self.written.is_empty() {
            self.apply_one();
        }
        self.heard.retain(|heard| matches!(heard, Heard::Created(..)));
        while !self.heard.is_empty() {
            self.hear_one();
        }
        self.fleet.reset();
        self.fill();
    }

    fn tick(&mut self, seconds: i64) {
        self.now_us += seconds * 1_000_000;
        let orders = self.fleet.tick(self.now_us, &Duty::ALL);
        self.written.extend(orders.retire.into_iter().map(Written::Retire));
        self.written.extend(orders.launches.into_iter().map(Written::Launch));
    }

    fn apply_one(&mut self) {
        match self.written.pop_front() {
            Some(Written::Retire(entity)) => {
                if let Some(aircraft) = self.aircraft.remove(&entity) {
                    assert!(self.now_us >= aircraft.arrives_unix_us, "{entity} was deleted in flight");
                    self.heard.push_back(Heard::Left(entity));
                }
            }
            Some(Written::Launch(launch)) => {
                let mut entities = Vec::new();
                for (aircraft, _) in launch.aircraft {
                    let entity = EntityId(self.next_id);
                    self.next_id += 1;
                    assert!(self.ids_ever.insert(entity));
                    self.heard.push_back(Heard::Entered(entity, aircraft.clone()));
                    self.aircraft.insert(entity, aircraft);
                    entities.push(Some(entity));
                }
                self.heard.push_back(Heard::Created(launch.request_id, entities));
            }
            None => {}
        }
        // A landed one whose delete was lost may still stand about beside its replacement.
        let flying = self.aircraft.values().filter(|aircraft| self.now_us < aircraft.arrives_unix_us).count();
        assert!(flying <= AIRCRAFT, "{flying} aircraft in flight");
    }

    fn hear_one(&mut self) {
        match self.heard.pop_front() {
            Some(Heard::Entered(entity, aircraft)) => self.fleet.adopt(entity, aircraft),
            Some(Heard::Left(entity)) => self.fleet.forget(entity),
            Some(Heard::Created(request_id, entities)) => {
                self.fleet.created(&request_id, &entities, self.now_us);
            }
            None => {}
        }
    }

    fn settle(&mut self) {
        for _ in 0..4 {
            self.tick(1);
            while !self.written.is_empty() || !self.heard.is_empty() {
                self.apply_one();
                self.hear_one();
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Tick(i64),
    Apply,
    Hear,
    Kill(usize),
    Reconnect(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..40_000_i64).prop_map(Step::Tick),
        4 => Just(Step::Apply),
        4 => Just(Step::Hear),
        1 => (0..4_usize).prop_map(Step::Kill),
        1 => (0..4_usize).prop_map(Step::Reconnect),
    ]
}

proptest! {
    #[test]
    fn no_kill_or_reconnect_doubles_or_loses_an_aircraft(steps in proptest::collection::vec(step(), 0..80)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Tick(seconds) => world.tick(seconds),
                Step::Apply => world.apply_one(),
                Step::Hear => world.hear_one(),
                Step::Kill(applied) => world.kill(applied),
                Step::Reconnect(applied) => world.reconnect(applied),
            }
        }
        world.settle();
        prop_assert_eq!(world.aircraft.len(), AIRCRAFT);
        let callsigns: BTreeSet<_> = world.aircraft.values().map(|aircraft| &aircraft.callsign).collect();
        prop_assert_eq!(callsigns.len(), AIRCRAFT, "two aircraft with one callsign");
    }
}

#[test]
fn a_new_run_goes_on_where_the_world_is() {
    let mut world = World::new();
    world.settle();
    let before = world.aircraft.clone();
    world.kill(0);
    let orders = world.fleet.tick(world.now_us, &Duty::ALL);
    assert_eq!((orders.launches.as_slice(), orders.retire.as_slice()), ([].as_slice(), [].as_slice()));
    let moved: Vec<_> = orders.moves.iter().map(|(entity, _)| *entity).collect();
    assert_eq!(moved, before.keys().copied().collect::<Vec<_>>());
}

#[test]
fn too_many_aircraft_are_retired_newest_first() {
    let mut fleet = Fleet::new(plan(1));
    airports().for_each(|(entity, runway)| fleet.airport(entity, runway));
    let (from, to) = (1_000_000, 1_000_001);
    let aircraft = Aircraft { from, to, arrives_unix_us: i64::MAX, ..Default::default() };
    for id in 1..=AIRCRAFT as u64 + 2 {
        fleet.adopt(EntityId(id), aircraft.clone());
    }
    let orders = fleet.tick(1_000_000, &Duty::ALL);
    assert_eq!(orders.retire, [EntityId(8), EntityId(9)]);
    assert_eq!((orders.moves.len(), orders.launches.len(), fleet.len()), (AIRCRAFT, 0, AIRCRAFT));
}

#[test]
fn a_landed_aircraft_is_retired_and_replaced_by_one_that_takes_off() {
    let mut world = World::new();
    world.settle();
    let first = world.aircraft.values().map(|aircraft| aircraft.arrives_unix_us).min().expect("aircraft");
    let landed =
        world.aircraft.iter().find(|(_, aircraft)| aircraft.arrives_unix_us == first).expect("first").0;
    let orders = world.fleet.tick(first, &Duty::ALL);
    assert_eq!(orders.retire, [*landed]);
    let [launch] = orders.launches.as_slice() else { panic!("{orders:?}") };
    let [(aircraft, position)] = launch.aircraft.as_slice() else { panic!("{launch:?}") };
    assert_eq!((aircraft.departed_unix_us, position.point.z), (first, 10.0));
}

#[test]
fn a_refused_create_is_tried_again_after_a_pause() {
    let mut fleet = Fleet::new(plan(1));
    airports().for_each(|(entity, runway)| fleet.airport(entity, runway));
    let request_id = fleet.tick(1_000_000, &Duty::ALL).launches[0].request_id.clone();
    assert_eq!(fleet.tick(1_100_000, &Duty::ALL).launches, [], "the create is pending");
    fleet.not_created(&request_id, 1_200_000);
    assert_eq!(fleet.tick(1_300_000, &Duty::ALL).launches, [], "the pause");
    assert_eq!(fleet.tick(2_200_000, &Duty::ALL).launches.len(), 1);
}

#[test]
fn an_aircraft_between_unknown_airports_is_retired() {
    let mut fleet = Fleet::new(FleetPlan { aircraft: 1, ..plan(1) });
    fleet.adopt(EntityId(5), Aircraft { from: 98, to: 99, arrives_unix_us: i64::MAX, ..Default::default() });
    assert_eq!(fleet.tick(1, &Duty::ALL).retire, [EntityId(5)]);
}

#[test]
fn many_aircraft_are_launched_in_messages_of_a_sane_size() {
    let mut fleet = Fleet::new(FleetPlan { aircraft: 12_000, ..plan(1) });
    airports().for_each(|(entity, runway)| fleet.airport(entity, runway));
    let rows: Vec<_> =
        fleet.tick(1_000_000, &Duty::ALL).launches.iter().map(|launch| launch.aircraft.len()).collect();
    assert_eq!(rows, [5000, 5000, 2000]);
}

#[test]
fn who_share_the_work_have_each_aircraft_and_each_number_once() {
    let wanted = FleetPlan { aircraft: 101, ..plan(0) };
    let mut numbers = BTreeSet::new();
    let mut ids = 1..;
    let mut all: Vec<(EntityId, Aircraft)> = Vec::new();
    for part in 0..3 {
        let serves = |airport: EntityId| airport.0 % 3 == part;
        let mut fleet = Fleet::new(wanted);
        airports().for_each(|(entity, runway)| fleet.airport(entity, runway));
        let orders = fleet.tick(1_000_000, &Duty { flies: &|_| false, serves: &serves });
        for (aircraft, _) in orders.launches.iter().flat_map(|launch| &launch.aircraft) {
            assert!(serves(EntityId(aircraft.from)));
            assert!(numbers.insert(aircraft.callsign.clone()), "{} is there twice", aircraft.callsign);
            all.push((EntityId(ids.next().expect("without end")), aircraft.clone()));
        }
    }
    assert_eq!(all.len(), 101);

    let mut fleet = Fleet::new(wanted);
    airports().for_each(|(entity, runway)| fleet.airport(entity, runway));
    all.iter().for_each(|(entity, aircraft)| fleet.adopt(*entity, aircraft.clone()));
    let duty = Duty { flies: &|entity| entity.0 % 2 == 0, serves: &|airport| airport.0 % 3 == 1 };
    let orders = fleet.tick(1_000_000, &duty);
    assert_eq!((orders.moves.len(), orders.retire.len(), orders.launches.len()), (50, 0, 0));
}
