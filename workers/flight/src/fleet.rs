//! Which aircraft there are, and which there should be.
//!
//! Responsible for: keeping each number of the fleet in the air exactly once: adopting the aircraft in the database, sending
//! on those that have landed, creating the missing, retiring the surplus. A pure state machine: facts and the time go in,
//! orders come out.
//! Not responsible for: I/O (`run.rs`).
//!
//! # Who does what
//! The fleet is the numbers from 1 to `aircraft` times the multiplier. An aircraft tells its number by its callsign: SDB1,
//! SDB2 and so on. So a lower multiplier takes the highest numbers away, and the first `aircraft` of them stay.
//!
//! Where several workers share the work, what each of them does follows from what the world shows and what it owns:
//! - A number has a home, an airport that the seed gives. Whoever has the region of the home creates the aircraft of the
//!   number while there is none.
//! - Whoever owns an aircraft moves it, sends it on when it has landed, and deletes it if its number is not wanted, or if
//!   there is an older aircraft of the number. Two of a number come about where an airport changes hands while a create is
//!   on its way.
//!
//! Nothing here has to survive a crash: a fleet that starts empty and adopts what its view shows is as good as the
//! one before it.

mod flying;
mod orders;
mod plan;
mod roll;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use spatialdb_sdk::{EntityId, Position};

use self::{
    flying::{Departure, Flying},
    plan::Airports,
    roll::{Roll, number_of},
};
pub(crate) use self::{
    orders::{Duty, Launch, Orders},
    plan::FleetPlan,
};
use crate::{
    earth::Aircraft,
    flight::{Flight, Runway},
};

// Aircraft of one create, and orders of one tick: well within the rows of a message. More wait for the next tick.
const LAUNCH_ROWS_MAX: usize = 5_000;
const LAUNCHES_MAX: usize = 20_000;
const RETIRED_MAX: usize = 5_000;
// A view shows what was created well within that time.
const SHOWN_AFTER_US: i64 = 5_000_000;
// After a refused create the next one waits.
const REFUSED_PAUSE_US: i64 = 1_000_000;
// Each aircraft's heading is looked at every so many ticks, and written if it has turned by this much.
const HEADING_TICKS: u64 = 50;
const HEADING_STEP_DEG: f32 = 1.0;

/// The aircraft of the world as the worker knows them.
#[derive(Debug)]
pub(crate) struct Fleet {
    plan: FleetPlan,
    roll: Roll,
    airports: Airports,
    flying: BTreeMap<EntityId, Flying>,
    /// Creates without an answer.
    pending: BTreeMap<String, Vec<(u64, Aircraft)>>,
    /// Created, and not in the view: until when that is believed. Who owns it may have deleted it at once.
    unshown: BTreeMap<EntityId, i64>,
    next_request: u64,
    launch_not_before_us: i64,
    ticks: u64,
}

impl Fleet {
    /// Empty, with a multiplier of 1.
    pub(crate) fn new(plan: FleetPlan) -> Self {
        Self {
            plan,
            roll: Roll::new(plan.aircraft),
            airports: Airports::default(),
            flying: BTreeMap::new(),
            pending: BTreeMap::new(),
            unshown: BTreeMap::new(),
            next_request: 1,
            launch_not_before_us: i64::MIN,
            ticks: 0,
        }
    }

    /// How many aircraft the view shows.
    pub(crate) fn len(&self) -> usize {
        self.flying.len()
    }

    pub(crate) fn airports_len(&self) -> usize {
        self.airports.len()
    }

    /// How many aircraft there should be at a multiplier of 1.
    pub(crate) fn originals(&self) -> u64 {
        self.plan.aircraft
    }

    /// So many times the aircraft of the plan are wanted. Returns how many those are.
    pub(crate) fn multiply(&mut self, multiplier: u64) -> u64 {
        let wanted = self.plan.aircraft.saturating_mul(multiplier);
        self.roll.want(wanted);
        wanted
    }

    /// The view is empty and will be filled again.
    pub(crate) fn reset(&mut self) {
        self.flying.clear();
        self.unshown.clear();
        self.roll.clear();
        self.airports.clear();
    }

    pub(crate) fn airport(&mut self, entity: EntityId, runway: Runway) {
        self.airports.put(entity, runway);
    }

    /// The view shows an aircraft: of this run or of another one makes no difference.
    pub(crate) fn adopt(&mut self, entity: EntityId, aircraft: Aircraft) {
        let departed_unix_us = aircraft.departed_unix_us;
        let is_older = |flying: &Flying| departed_unix_us < flying.aircraft.departed_unix_us;
        let before = self.flying.get(&entity);
        // As long as it is ours, what we wrote last is what counts.
        if before.is_some_and(|flying| flying.departure != Departure::None && is_older(flying)) {
            return;
        }
        let is_retired = before.is_some_and(|flying| flying.is_retired);
        self.forget_aircraft(entity);
        let number = number_of(&aircraft.callsign);
        if let Some(number) = number {
            self.roll.enter(number, entity);
        }
        let departure = Departure::None;
        self.flying.insert(entity, Flying { number, aircraft, flight: None, departure, is_retired });
    }

    /// The entity is gone, or no longer an aircraft or an airport.
    pub(crate) fn forget(&mut self, entity: EntityId) {
        self.forget_aircraft(entity);
        self.airports.remove(entity);
    }

    fn forget_aircraft(&mut self, entity: EntityId) {
        self.unshown.remove(&entity);
        if let Some(Flying { number: Some(number), .. }) = self.flying.remove(&entity) {
            self.roll.leave(number, entity);
        }
    }

    /// Others have it from now on: nothing that was written to it counts any more.
    pub(crate) fn lost(&mut self, entity: EntityId) {
        if let Some(flying) = self.flying.get_mut(&entity) {
            (flying.departure, flying.is_retired) = (Departure::None, false);
        }
    }

    /// Something that was written to the aircraft was refused.
    pub(crate) fn refused(&mut self, entity: EntityId) {
        self.flying.get_mut(&entity).into_iter().for_each(Flying::undo);
    }

    /// Some writes were refused, and nobody says which.
    pub(crate) fn some_refused(&mut self) {
        self.flying.values_mut().for_each(Flying::undo);
    }

    /// A create is answered. Rows without an id were refused.
    pub(crate) fn created(&mut self, request_id: &str, entities: &[Option<EntityId>], now_unix_us: i64) {
        let Some(ordered) = self.pending.remove(request_id) else { return };
        if entities.len() < ordered.len() || entities.contains(&None) {
            self.launch_not_before_us = now_unix_us.saturating_add(REFUSED_PAUSE_US);
        }
        let entities = entities.iter().copied().chain(std::iter::repeat(None));
        for (entity, (number, aircraft)) in entities.zip(ordered) {
            // The view may have shown it before.
            if let Some(entity) = entity.filter(|entity| !self.flying.contains_key(entity)) {
                self.adopt(entity, aircraft);
                self.unshown.insert(entity, now_unix_us.saturating_add(SHOWN_AFTER_US));
            }
            self.roll.answered(number);
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
        let given_up = self.unshown.iter().filter(|(_, until_us)| **until_us < now_unix_us);
        let given_up: Vec<EntityId> = given_up.map(|(entity, _)| *entity).collect();
        given_up.into_iter().for_each(|entity| self.forget_aircraft(entity));
        self.fly(now_unix_us, duty, &mut orders);
        self.launch_missing(now_unix_us, duty, &mut orders);
        orders
    }

    fn fly(&mut self, now_unix_us: i64, duty: &Duty<'_>, orders: &mut Orders) {
        let Self { plan, roll, airports, flying, .. } = self;
        orders.moves.reserve(flying.len());
        let ours = |entity: &EntityId, flying: &Flying| !flying.is_retired && (duty.flies)(*entity);
        for (entity, flying) in flying.iter_mut().filter(|(entity, flying)| ours(entity, flying)) {
            if flying.number.is_some_and(|number| roll.is_surplus(number, *entity)) {
                retire(*entity, flying, orders);
                continue;
            }
            flying.flight = flying.flight.take().or_else(|| airports.flight(&flying.aircraft));
            let has_landed = |flight: &Flight| flight.has_landed(now_unix_us);
            if flying.flight.as_ref().is_some_and(has_landed) {
                let next = |number| plan.next(number, &flying.aircraft, airports, now_unix_us);
                let next = flying.number.and_then(next);
                flying.flight = next.as_ref().and_then(|next| airports.flight(next));
                if let (Some(mut next), Some(flight)) = (next, &flying.flight) {
                    next.heading_deg = flight.heading_deg(now_unix_us);
                    flying.aircraft = next;
                    flying.departure = Departure::Due;
                }
            }
            let Some(flight) = &flying.flight else {
                // Landed, and not of the fleet; or on the way between airports that are not there.
                retire(*entity, flying, orders);
                continue;
            };
            if flying.departure == Departure::Due {
                flying.departure = Departure::Written;
                orders.departures.push((*entity, flying.aircraft.clone()));
            }
            orders.moves.push((*entity, flight.position_at(now_unix_us)));
            if (entity.0 + self.ticks).is_multiple_of(HEADING_TICKS) {
                let heading_deg = flight.heading_deg(now_unix_us);
                if turned(flying.aircraft.heading_deg, heading_deg) {
                    flying.aircraft.heading_deg = heading_deg;
                    orders.headings.push((*entity, heading_deg));
                }
            }
        }
    }

    /// An aircraft whose create is not answered counts as there, also if the view shows it already.
    fn launch_missing(&mut self, now_unix_us: i64, duty: &Duty<'_>, orders: &mut Orders) {
        if now_unix_us < self.launch_not_before_us {
            return;
        }
        let (plan, airports) = (&self.plan, &self.airports);
        let is_ours = |number: &u64| plan.home(*number, airports).is_some_and(duty.serves);
        let first = |number| {
            let mut aircraft = plan.first(number, airports, now_unix_us)?;
            let flight = airports.flight(&aircraft)?;
            aircraft.heading_deg = flight.heading_deg(now_unix_us);
            Some((number, aircraft, flight.position_at(now_unix_us)))
        };
        let ours = self.roll.missing().filter(is_ours).take(LAUNCHES_MAX);
        let planned: Vec<(u64, Aircraft, Position)> = ours.filter_map(first).collect();
        for chunk in planned.chunks(LAUNCH_ROWS_MAX) {
            let request_id = format!("flight-{:x}-{}", self.plan.run_id, self.next_request);
            self.next_request += 1;
            chunk.iter().for_each(|(number, ..)| self.roll.order(*number));
            let ordered = chunk.iter().map(|(number, aircraft, _)| (*number, aircraft.clone()));
            self.pending.insert(request_id.clone(), ordered.collect());
            let aircraft = chunk.iter().map(|(_, aircraft, place)| (aircraft.clone(), *place)).collect();
            orders.launches.push(Launch { request_id, aircraft });
        }
    }
}

fn retire(entity: EntityId, flying: &mut Flying, orders: &mut Orders) {
    if orders.retire.len() < RETIRED_MAX {
        flying.is_retired = true;
        orders.retire.push(entity);
    }
}

fn turned(before_deg: f32, after_deg: f32) -> bool {
    let turn = (after_deg - before_deg).rem_euclid(360.0);
    turn.min(360.0 - turn) >= HEADING_STEP_DEG
}
