//! What the flights of a number are.
//!
//! Responsible for: the first flight of a number, and the one that follows another.
//! Not responsible for: routes (`routes.rs`), which numbers there are (`roll.rs`).

use spatialdb_sdk::EntityId;

use super::roll::callsign;
use crate::{
    earth::Aircraft,
    flight::{Flight, Runway},
    routes::{self, Route},
};

// Who lands takes off at that moment, if it is not longer ago than that: then nobody flew it meanwhile.
const ON_TIME_US: i64 = 60_000_000;

/// What does not change while the worker runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FleetPlan {
    /// How many aircraft there should be, at a multiplier of 1.
    pub(crate) aircraft: u64,
    /// Where the routes come from.
    pub(crate) seed: u64,
    /// The speed over the ground, in metres a second.
    pub(crate) cruise_mps: f64,
    /// Differs in each run of the worker, so that no request id is used twice.
    pub(crate) run_id: u64,
}

/// The airports of the world, by rising id.
#[derive(Debug, Default)]
pub(super) struct Airports(Vec<(EntityId, Runway)>);

impl Airports {
    pub(super) fn put(&mut self, entity: EntityId, runway: Runway) {
        match self.at(entity) {
            Ok(at) => self.0[at].1 = runway,
            Err(at) => self.0.insert(at, (entity, runway)),
        }
    }

    pub(super) fn remove(&mut self, entity: EntityId) {
        if let Ok(at) = self.at(entity) {
            self.0.remove(at);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The flight of an aircraft; `None` if one of its airports is not there.
    pub(super) fn flight(&self, aircraft: &Aircraft) -> Option<Flight> {
        let runway = |id| self.at(EntityId(id)).ok().map(|at| self.0[at].1);
        Some(Flight::new(aircraft, runway(aircraft.from)?, runway(aircraft.to)?))
    }

    fn at(&self, entity: EntityId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&entity, |(id, _)| *id)
    }
}

impl FleetPlan {
    /// The airport where the aircraft of a number is at home: who has that creates it.
    pub(super) fn home(&self, number: u64, airports: &Airports) -> Option<EntityId> {
        routes::home(self.seed, number, &airports.0)
    }

    /// The first flight of a number, some of the way flown: it fills the sky.
    pub(super) fn first(&self, number: u64, airports: &Airports, now_unix_us: i64) -> Option<Aircraft> {
        let route = routes::first(self.seed, number, &airports.0)?;
        let flown_us = route.head_start * self.lasts_us(&route) as f64;
        Some(self.flight_on(number, &route, now_unix_us - flown_us as i64))
    }

    /// The flight after one that has landed. It follows from that alone, so everybody plans the same one.
    pub(super) fn next(
        &self,
        number: u64,
        landed: &Aircraft,
        airports: &Airports,
        now_unix_us: i64,
    ) -> Option<Aircraft> {
        let from = airports.at(EntityId(landed.to)).ok()?;
        let is_on_time = now_unix_us.saturating_sub(landed.arrives_unix_us) <= ON_TIME_US;
        let departs_unix_us = if is_on_time { landed.arrives_unix_us } else { now_unix_us };
        let route = routes::onward(self.seed, number, departs_unix_us, from, &airports.0)?;
        Some(self.flight_on(number, &route, departs_unix_us))
    }

    fn flight_on(&self, number: u64, route: &Route, departed_unix_us: i64) -> Aircraft {
        Aircraft {
            callsign: callsign(number),
            from: route.from.0,
            to: route.to.0,
            departed_unix_us,
            arrives_unix_us: departed_unix_us.saturating_add(self.lasts_us(route)),
            cruise_altitude_m: route.cruise_altitude_m,
            heading_deg: 0.0,
        }
    }

    fn lasts_us(&self, route: &Route) -> i64 {
        (route.length_m / self.cruise_mps * 1e6).max(1.0) as i64
    }
}
