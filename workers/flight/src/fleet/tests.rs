//! What one fleet does; `shared` has several in one world.

mod shared;

use super::*;
use crate::sphere::Place;

const AIRCRAFT: u64 = 7;
const NOW: i64 = 1_000_000;

fn plan(run_id: u64) -> FleetPlan {
    FleetPlan { aircraft: AIRCRAFT, seed: 3, cruise_mps: 250.0, run_id }
}

fn airports() -> impl Iterator<Item = (EntityId, Runway)> {
    (0..20_u64).map(|i| {
        let place = Place::from_degrees((i * 7) as f64 - 60.0, (i * 17) as f64 - 170.0);
        (EntityId(1_000_000 + i), Runway { place, elevation_m: 10.0 })
    })
}

fn empty(plan: FleetPlan) -> Fleet {
    let mut fleet = Fleet::new(plan);
    airports().for_each(|(entity, runway)| fleet.airport(entity, runway));
    fleet
}

/// Carries out all launches, as entities from `first` on.
fn launch(fleet: &mut Fleet, orders: Orders, first: u64) -> Vec<(EntityId, Aircraft)> {
    let mut made = Vec::new();
    for launch in orders.launches {
        let start = first + made.len() as u64;
        let ids: Vec<EntityId> = (start..start + launch.aircraft.len() as u64).map(EntityId).collect();
        let all = ids.iter().copied().zip(launch.aircraft.into_iter().map(|(aircraft, _)| aircraft));
        made.extend(all);
        fleet.created(&launch.request_id, &ids.into_iter().map(Some).collect::<Vec<_>>(), NOW);
    }
    made.iter().for_each(|(entity, aircraft)| fleet.adopt(*entity, aircraft.clone()));
    made
}

fn filled() -> (Fleet, Vec<(EntityId, Aircraft)>) {
    let mut fleet = empty(plan(1));
    let orders = fleet.tick(NOW, &Duty::ALL);
    let made = launch(&mut fleet, orders, 1);
    assert_eq!(made.len() as u64, AIRCRAFT);
    (fleet, made)
}

#[test]
fn a_new_run_goes_on_where_the_world_is() {
    let (_, made) = filled();
    let mut fleet = empty(plan(2));
    made.iter().for_each(|(entity, aircraft)| fleet.adopt(*entity, aircraft.clone()));
    let orders = fleet.tick(NOW, &Duty::ALL);
    assert_eq!((orders.launches.as_slice(), orders.retire.as_slice()), ([].as_slice(), [].as_slice()));
    let moved: Vec<_> = orders.moves.iter().map(|(entity, _)| *entity).collect();
    assert_eq!(moved, made.into_iter().map(|(entity, _)| entity).collect::<Vec<_>>());
}

#[test]
fn a_higher_multiplier_adds_numbers_and_a_lower_one_takes_them_away() {
    let (mut fleet, _) = filled();
    assert_eq!(fleet.multiply(3), 3 * AIRCRAFT);
    let orders = fleet.tick(NOW, &Duty::ALL);
    let made = launch(&mut fleet, orders, 100);
    let numbers: Vec<_> = made.iter().map(|(_, aircraft)| number_of(&aircraft.callsign)).collect();
    assert_eq!(numbers, (8..=21).map(Some).collect::<Vec<_>>());
    assert_eq!(fleet.tick(NOW, &Duty::ALL).moves.len() as u64, 3 * AIRCRAFT);

    fleet.multiply(2);
    let orders = fleet.tick(NOW, &Duty::ALL);
    assert_eq!(orders.retire, (107..114).map(EntityId).collect::<Vec<_>>());
    assert_eq!((orders.moves.len() as u64, orders.launches.len()), (2 * AIRCRAFT, 0));
    assert_eq!(fleet.tick(NOW, &Duty::ALL).retire, [], "it is told once");
    fleet.refused(EntityId(107));
    assert_eq!(fleet.tick(NOW, &Duty::ALL).retire, [EntityId(107)], "it was refused");
}

#[test]
fn who_has_landed_takes_off_from_there_at_that_moment() {
    let (mut fleet, made) = filled();
    let (entity, landed) =
        made.into_iter().min_by_key(|(_, aircraft)| aircraft.arrives_unix_us).expect("one");
    let mut other = empty(plan(2));
    other.adopt(entity, landed.clone());
    let at = landed.arrives_unix_us;
    let orders = fleet.tick(at + 300_000, &Duty::ALL);
    let [(departed, next)] = orders.departures.as_slice() else { panic!("{orders:?}") };
    assert_eq!((*departed, &next.callsign, next.from), (entity, &landed.callsign, landed.to));
    assert_eq!((next.departed_unix_us, orders.retire.len(), orders.launches.len()), (at, 0, 0));
    assert_eq!(orders.moves.len() as u64, AIRCRAFT);
    assert_eq!(fleet.tick(at + 400_000, &Duty::ALL).departures, []);
    // Another worker that knows only the flight which has ended plans the same.
    let planned = &other.tick(at + 900_000, &Duty::ALL).departures[0].1;
    assert_eq!((planned.to, planned.arrives_unix_us), (next.to, next.arrives_unix_us));
    // After a long time without workers nobody has been on the way.
    let mut late = empty(plan(3));
    late.adopt(entity, landed);
    let now = at + 3_600_000_000;
    assert_eq!(late.tick(now, &Duty::ALL).departures[0].1.departed_unix_us, now);
}

#[test]
fn a_refused_create_is_tried_again_after_a_pause() {
    let mut fleet = empty(plan(1));
    let request_id = fleet.tick(1_000_000, &Duty::ALL).launches[0].request_id.clone();
    assert_eq!(fleet.tick(1_100_000, &Duty::ALL).launches, [], "the create is pending");
    fleet.not_created(&request_id, 1_200_000);
    assert_eq!(fleet.tick(1_300_000, &Duty::ALL).launches, [], "the pause");
    assert_eq!(fleet.tick(2_200_000, &Duty::ALL).launches.len(), 1);
}

#[test]
fn one_that_was_created_and_is_never_shown_is_created_again() {
    let mut fleet = empty(FleetPlan { aircraft: 1, ..plan(1) });
    let request_id = fleet.tick(NOW, &Duty::ALL).launches[0].request_id.clone();
    fleet.created(&request_id, &[Some(EntityId(5))], NOW);
    assert_eq!(fleet.tick(NOW + 1_000_000, &Duty::ALL).launches, []);
    assert_eq!(fleet.tick(NOW + 6_000_000, &Duty::ALL).launches.len(), 1);
}

#[test]
fn an_aircraft_between_unknown_airports_is_retired() {
    let mut fleet = Fleet::new(FleetPlan { aircraft: 1, ..plan(1) });
    fleet.adopt(EntityId(5), Aircraft { from: 98, to: 99, arrives_unix_us: i64::MAX, ..Default::default() });
    assert_eq!(fleet.tick(1, &Duty::ALL).retire, [EntityId(5)]);
}

#[test]
fn one_that_is_not_of_the_fleet_flies_until_it_lands() {
    let mut fleet = empty(FleetPlan { aircraft: 0, ..plan(1) });
    let (from, to, arrives_unix_us) = (1_000_000, 1_000_001, 5_000_000);
    fleet.adopt(EntityId(5), Aircraft { from, to, arrives_unix_us, ..Default::default() });
    assert_eq!(fleet.tick(1_000_000, &Duty::ALL).moves.len(), 1);
    assert_eq!(fleet.tick(5_000_000, &Duty::ALL).retire, [EntityId(5)]);
}

#[test]
fn many_aircraft_are_launched_in_messages_of_a_sane_size() {
    let mut fleet = empty(FleetPlan { aircraft: 32_000, ..plan(1) });
    let rows = |orders: Orders| -> Vec<_> { orders.launches.iter().map(|one| one.aircraft.len()).collect() };
    assert_eq!(rows(fleet.tick(1_000_000, &Duty::ALL)), [5000, 5000, 5000, 5000]);
    assert_eq!(rows(fleet.tick(1_000_000, &Duty::ALL)), [5000, 5000, 2000]);
}

#[test]
fn who_share_the_work_have_each_aircraft_and_each_number_once() {
    let wanted = FleetPlan { aircraft: 101, ..plan(0) };
    let mut all: Vec<(EntityId, Aircraft)> = Vec::new();
    for part in 0..3 {
        let serves = |airport: EntityId| airport.0 % 3 == part;
        let orders = empty(wanted).tick(NOW, &Duty { flies: &|_| false, serves: &serves });
        for (aircraft, _) in orders.launches.iter().flat_map(|launch| &launch.aircraft) {
            assert!(serves(EntityId(aircraft.from)), "the first flight leaves its home");
            all.push((EntityId(1 + all.len() as u64), aircraft.clone()));
        }
    }
    let mut callsigns: Vec<_> = all.iter().map(|(_, aircraft)| aircraft.callsign.as_str()).collect();
    callsigns.sort_unstable();
    callsigns.dedup();
    assert_eq!((all.len(), callsigns.len()), (101, 101));

    let mut fleet = empty(wanted);
    all.iter().for_each(|(entity, aircraft)| fleet.adopt(*entity, aircraft.clone()));
    let duty = Duty { flies: &|entity| entity.0 % 2 == 0, serves: &|airport| airport.0 % 3 == 1 };
    let orders = fleet.tick(NOW, &duty);
    assert_eq!((orders.moves.len(), orders.retire.len(), orders.launches.len()), (50, 0, 0));
}
