//! Which aircraft there are, and which there should be.
//!
//! Responsible for: keeping the world at exactly the wanted number of aircraft: adopting those in the database, retiring the
//! landed, creating the missing. A pure state machine: facts and the time go in, orders come out.
//! Not responsible for: I/O (`run.rs`).
//!
//! Nothing here has to survive a crash: a fleet that starts empty and adopts what its view shows is as good as the
//! one before it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use spatialdb_sdk::{EntityId, Position};

use crate::{
    earth::Aircraft,
    flight::{Flight, Runway},
    routes::{Route, route},
};

// Aircraft of one create: well within the rows of a message.
const LAUNCH_ROWS_MAX: usize = 5_000;
// Flights that are planned at once, those of others too: more wait for the next tick.
const LAUNCH_TRIES_MAX: usize = 1_000_000;
// After a refused create the next one waits.
const REFUSED_PAUSE_US: i64 = 1_000_000;
// Each aircraft's heading is looked at every so many ticks, and written if it has turned by this much.
const HEADING_TICKS: u64 = 50;
const HEADING_STEP_DEG: f32 = 1.0;
const CALLSIGN_PREFIX: &str = "SDB";

/// What does not change while the worker runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FleetPlan {
    /// How many aircraft there should be.
    pub(crate) aircraft: usize,
    /// Where the routes come from.
    pub(crate) seed: u64,
    /// The speed over the ground, in metres a second.
    pub(crate) cruise_mps: f64,
    /// Differs in each run of the worker, so that no request id is used twice.
    pub(crate) run_id: u64,
}

/// One create.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Launch {
    pub(crate) request_id: String,
    pub(crate) aircraft: Vec<(Aircraft, Position)>,
}

/// What to write now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Orders {
    pub(crate) moves: Vec<(EntityId, Position)>,
    pub(crate) headings: Vec<(EntityId, f32)>,
    pub(crate) retire: Vec<EntityId>,
    pub(crate) launches: Vec<Launch>,
}

/// What of the fleet is this worker's to do. Where several share the work, each aircraft and each airport is one's.
pub(crate) struct Duty<'a> {
    /// Whether it moves and retires the aircraft.
    pub(crate) flies: &'a dyn Fn(EntityId) -> bool,
    /// Whether it keeps up the flights that depart there.
    pub(crate) serves: &'a dyn Fn(EntityId) -> bool,
}

#[cfg(test)]
impl Duty<'static> {
    /// Of one who does it alone.
    pub(crate) const ALL: Self = Self { flies: &|_| true, serves: &|_| true };
}

#[derive(Debug)]
struct Flying {
    aircraft: Aircraft,
    /// Worked out at the first tick, when the airports are known.
    flight: Option<Flight>,
}

/// The aircraft of the world as the worker knows them.
#[derive(Debug)]
pub(crate) struct Fleet {
    plan: FleetPlan,
    airports: BTreeMap<EntityId, Runway>,
    flying: BTreeMap<EntityId, Flying>,
    /// Creates without an answer.
    pending: BTreeMap<String, Vec<Aircraft>>,
    next_number: u64,
    next_request: u64,
    launch_not_before_us: i64,
    ticks: u64,
}

impl Fleet {
    pub(crate) fn new(plan: FleetPlan) -> Self {
        Self {
            plan,
            airports: BTreeMap::new(),
            flying: BTreeMap::new(),
            pending: BTreeMap::new(),
            next_number: 1,
            next_request: 1,
            launch_not_before_us: i64::MIN,
            ticks: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.flying.len()
    }

    pub(crate) fn airports_len(&self) -> usize {
        self.airports.len()
    }

    /// The view is empty and will be filled again.
    pub(crate) fn reset(&mut self) {
        self.flying.clear();
        self.airports.clear();
    }

    pub(crate) fn airport(&mut self, entity: EntityId, runway: Runway) {
        self.airports.insert(entity, runway);
    }

    /// The view shows an aircraft: of this run or of an earlier one makes no difference.
    pub(crate) fn adopt(&mut self, entity: EntityId, aircraft: Aircraft) {
        self.next_number = self.next_number.max(number_of(&aircraft.callsign).saturating_add(1));
        self.flying.insert(entity, Flying { aircraft, flight: None });
    }

    /// The entity is gone, or no longer an aircraft or an airport.
    pub(crate) fn forget(&mut self, entity: EntityId) {
        self.flying.remove(&entity);
        self.airports.remove(&entity);
    }

    /// A create is answered. Rows without an id were refused.
    pub(crate) fn created(&mut self, request_id: &str, entities: &[Option<EntityId>], now_unix_us: i64) {
        let Some(aircraft) = self.pending.remove(request_id) else { return };
        if entities.len() < aircraft.len() || entities.contains(&None) {
            self.launch_not_before_us = now_unix_us.saturating_add(REFUSED_PAUSE_US);
        }
        for (entity, aircraft) in entities.iter().zip(aircraft) {
            if let Some(entity) = entity {
                // The view may have shown it before.
                self.flying.entry(*entity).or_insert(Flying { aircraft, flight: None });
            }
        }
    }

    /// A create was not sent, or refused whole.
    pub(crate) fn not_created(&mut self, request_id: &str, now_unix_us: i64) {
        self.created(request_id, &[], now_unix_us);
    }

    /// What to write at this instant. To be asked only while the view is whole: what is not there is missing.
    pub(crate) fn tick(&mut self, now_unix_us: i64, duty: &Duty<'_>) -> Orders {
        let mut orders = Orders::default();
        self.ticks += 1;
        self.fly(now_unix_us, duty, &mut orders);
        let landed = orders.retire.len();
        self.retire_excess(duty, &mut orders);
        for entity in &orders.retire {
            self.flying.remove(entity);
        }
        self.launch_missing(now_unix_us, landed, duty, &mut orders);
        orders
    }

    /// How many aircraft should be in the air that departed from airports of ours: each airport has its share.
    fn wanted(&self, duty: &Duty<'_>) -> usize {
        let (wanted, all) = (self.plan.aircraft, self.airports.len());
        if all == 0 {
            return wanted;
        }
        let ours = self.airports.keys().enumerate().filter(|(_, airport)| (duty.serves)(**airport));
        ours.map(|(index, _)| wanted * (index + 1) / all - wanted * index / all).sum()
    }

    fn fly(&mut self, now_unix_us: i64, duty: &Duty<'_>, orders: &mut Orders) {
        orders.moves.reserve(self.flying.len());
        for (entity, flying) in self.flying.iter_mut().filter(|(entity, _)| (duty.flies)(**entity)) {
            if flying.flight.is_none() {
                let runway = |id| self.airports.get(&EntityId(id)).copied();
                let ends = runway(flying.aircraft.from).zip(runway(flying.aircraft.to));
                flying.flight = ends.map(|(from, to)| Flight::new(&flying.aircraft, from, to));
            }
            match &flying.flight {
                Some(flight) if !flight.has_landed(now_unix_us) => {
                    orders.moves.push((*entity, flight.position_at(now_unix_us)));
                    if (entity.0 + self.ticks).is_multiple_of(HEADING_TICKS) {
                        let heading_deg = flight.heading_deg(now_unix_us);
                        if turned(flying.aircraft.heading_deg, heading_deg) {
                            flying.aircraft.heading_deg = heading_deg;
                            orders.headings.push((*entity, heading_deg));
                        }
                    }
                }
                // Landed, or on the way between airports that are not there.
                _ => orders.retire.push(*entity),
            }
        }
    }

    /// More than wanted: the worker was told to fly fewer, or a create of a killed run was applied late. The
    /// newest go.
    fn retire_excess(&self, duty: &Duty<'_>, orders: &mut Orders) {
        let is_ours = |entity: &EntityId| self.departed_here(duty, &self.flying[entity].aircraft);
        let ours: Vec<EntityId> = orders.moves.iter().map(|(entity, _)| *entity).filter(is_ours).collect();
        let too_many: BTreeSet<EntityId> = ours.into_iter().skip(self.wanted(duty)).collect();
        if !too_many.is_empty() {
            orders.moves.retain(|(entity, _)| !too_many.contains(entity));
            orders.headings.retain(|(entity, _)| !too_many.contains(entity));
            orders.retire.extend(too_many);
        }
    }

    /// Whether it departed from an airport of ours; from one that is not there it is for whoever flies it.
    fn departed_here(&self, duty: &Duty<'_>, aircraft: &Aircraft) -> bool {
        let from = EntityId(aircraft.from);
        !self.airports.contains_key(&from) || (duty.serves)(from)
    }

    /// An aircraft whose create is not answered counts as there, also if the view shows it already: then too
    /// few are launched now and the rest at the next tick, but never too many.
    fn launch_missing(&mut self, now_unix_us: i64, landed: usize, duty: &Duty<'_>, orders: &mut Orders) {
        let pending: usize = self.pending.values().map(Vec::len).sum();
        let ours = self.flying.values().filter(|flying| self.departed_here(duty, &flying.aircraft)).count();
        let missing = self.wanted(duty).saturating_sub(ours + pending);
        if missing == 0 || now_unix_us < self.launch_not_before_us {
            return;
        }
        let airports: Vec<(EntityId, Runway)> =
            self.airports.iter().map(|(id, runway)| (*id, *runway)).collect();
        let mut planned = Vec::new();
        for _ in 0..LAUNCH_TRIES_MAX {
            if planned.len() == missing {
                break;
            }
            let Some(route) = route(self.plan.seed, self.next_number, &airports) else { break };
            // A number stands for one route: so it is the number of the one who serves the airport.
            if (duty.serves)(route.from) {
                // Those that replace a landed one take off now; the others fill the sky.
                let head_start = if planned.len() < landed { 0.0 } else { route.head_start };
                planned.push(self.plan_flight(route, head_start, now_unix_us));
            }
            self.next_number += 1;
        }
        for chunk in planned.chunks(LAUNCH_ROWS_MAX) {
            let request_id = format!("flight-{:x}-{}", self.plan.run_id, self.next_request);
            self.next_request += 1;
            self.pending
                .insert(request_id.clone(), chunk.iter().map(|(aircraft, _)| aircraft.clone()).collect());
            orders.launches.push(Launch { request_id, aircraft: chunk.to_vec() });
        }
    }

    fn plan_flight(&self, route: Route, head_start: f64, now_unix_us: i64) -> (Aircraft, Position) {
        let lasts_us = (route.length_m / self.plan.cruise_mps * 1e6).max(1.0) as i64;
        let departed_unix_us = now_unix_us - (head_start * lasts_us as f64) as i64;
        let mut aircraft = Aircraft {
            callsign: format!("{CALLSIGN_PREFIX}{}", self.next_number),
            from: route.from.0,
            to: route.to.0,
            departed_unix_us,
            arrives_unix_us: departed_unix_us + lasts_us,
            cruise_altitude_m: route.cruise_altitude_m,
            heading_deg: 0.0,
        };
        let flight = Flight::new(&aircraft, self.airports[&route.from], self.airports[&route.to]);
        aircraft.heading_deg = flight.heading_deg(now_unix_us);
        (aircraft, flight.position_at(now_unix_us))
    }
}

fn turned(before_deg: f32, after_deg: f32) -> bool {
    let turn = (after_deg - before_deg).rem_euclid(360.0);
    turn.min(360.0 - turn) >= HEADING_STEP_DEG
}

/// The number in a callsign of ours; 0 for any other.
fn number_of(callsign: &str) -> u64 {
    let digits = callsign.strip_prefix(CALLSIGN_PREFIX);
    digits.and_then(|digits| digits.parse::<u64>().ok()).filter(|number| *number < 1 << 53).unwrap_or(0)
}
