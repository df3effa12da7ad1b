//! One flight: where an aircraft is at any instant.
//!
//! Responsible for: position and heading from the Aircraft component, the clock and two airports; climb and descent.
//! Not responsible for: which flights there are.

use spatialdb_sdk::{Position, SpaceId};

use crate::{
    earth::Aircraft,
    sphere::{GreatCircle, Place},
};

/// The space of the earth world.
const SPACE: SpaceId = SpaceId(0);
// An airliner climbs and descends over about this distance.
const CLIMB_M: f64 = 220_000.0;
// A short flight is at its height for at least a fifth of the way.
const CLIMB_SHARE_MAX: f64 = 0.4;

/// An airport, as a flight needs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Runway {
    /// Where it is.
    pub(crate) place: Place,
    /// Its height above the sea, in metres.
    pub(crate) elevation_m: f64,
}

impl Runway {
    /// From the position of an airport.
    pub(crate) fn from_position(position: Position) -> Self {
        let point = position.point;
        Self { place: Place::from_map(point.x, point.y), elevation_m: point.z }
    }
}

/// A flight with its way worked out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Flight {
    circle: GreatCircle,
    departed_unix_us: i64,
    arrives_unix_us: i64,
    climb_share: f64,
    heights_m: [f64; 3],
}

impl Flight {
    /// The flight of that aircraft between its two airports.
    pub(crate) fn new(aircraft: &Aircraft, from: Runway, to: Runway) -> Self {
        let circle = GreatCircle::between(from.place, to.place);
        let climb_share = (CLIMB_M / circle.length_m().max(1.0)).min(CLIMB_SHARE_MAX);
        Self {
            circle,
            departed_unix_us: aircraft.departed_unix_us,
            arrives_unix_us: aircraft.arrives_unix_us,
            climb_share,
            heights_m: [from.elevation_m, aircraft.cruise_altitude_m, to.elevation_m],
        }
    }

    /// Whether it has landed.
    pub(crate) fn has_landed(&self, now_unix_us: i64) -> bool {
        now_unix_us >= self.arrives_unix_us
    }

    /// Where it is: on the ground before take-off and after landing.
    pub(crate) fn position_at(&self, now_unix_us: i64) -> Position {
        let fraction = self.fraction(now_unix_us);
        let (x, y) = self.circle.place_at(fraction).to_map();
        Position::new(SPACE, x, y, self.height_m(fraction))
    }

    /// Where it points.
    pub(crate) fn heading_deg(&self, now_unix_us: i64) -> f32 {
        self.circle.heading_deg(self.fraction(now_unix_us)) as f32
    }

    fn fraction(&self, now_unix_us: i64) -> f64 {
        // Any times may stand in the database: no difference of theirs may overflow.
        let flown = now_unix_us as f64 - self.departed_unix_us as f64;
        let whole = (self.arrives_unix_us as f64 - self.departed_unix_us as f64).max(1.0);
        (flown / whole).clamp(0.0, 1.0)
    }

    fn height_m(&self, fraction: f64) -> f64 {
        let [from, cruise, to] = self.heights_m;
        let (ground, share) = if fraction < 0.5 { (from, fraction) } else { (to, 1.0 - fraction) };
        ground + (cruise - ground) * smooth_step(share / self.climb_share)
    }
}

/// From 0 to 1 without a kink at either end.
fn smooth_step(share: f64) -> f64 {
    let share = share.clamp(0.0, 1.0);
    share * share * (3.0 - 2.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight() -> Flight {
        let from = Runway { place: Place::from_degrees(51.4706, -0.461941), elevation_m: 25.0 };
        let to = Runway { place: Place::from_degrees(40.639801, -73.7789), elevation_m: 4.0 };
        let aircraft = Aircraft {
            departed_unix_us: 1_000_000,
            arrives_unix_us: 101_000_000,
            cruise_altitude_m: 11_000.0,
            ..Default::default()
        };
        Flight::new(&aircraft, from, to)
    }

    #[test]
    fn it_starts_cruises_and_lands_at_the_right_heights() {
        let z = |now| flight().position_at(now).point.z;
        assert_eq!((z(0), z(1_000_000)), (25.0, 25.0));
        assert_eq!(z(51_000_000), 11_000.0);
        assert_eq!((z(101_000_000), z(i64::MAX)), (4.0, 4.0));
        assert!(z(2_000_000) > 25.0 && z(2_000_000) < 11_000.0);
    }

    #[test]
    fn it_lands_on_time_at_its_airport() {
        assert!(!flight().has_landed(100_999_999));
        assert!(flight().has_landed(101_000_000));
        let end = flight().position_at(101_000_000).point;
        let (x, y) = Place::from_degrees(40.639801, -73.7789).to_map();
        assert!((end.x - x).abs() < 0.01 && (end.y - y).abs() < 0.01, "{end:?}");
    }

    #[test]
    fn it_never_jumps() {
        let flight = flight();
        let speed_mps = flight.circle.length_m() / 100.0;
        for step in 0..1000_i64 {
            let here = flight.position_at(1_000_000 + step * 100_000).point;
            let next = flight.position_at(1_000_000 + (step + 1) * 100_000).point;
            // On the map a metre east at 53 N is about 1.7 m.
            assert!(here.distance_squared(next).sqrt() < 2.0 * speed_mps * 0.1, "{here:?} {next:?}");
        }
    }

    #[test]
    fn odd_times_do_no_harm() {
        let runway = Runway { place: Place::from_degrees(0.0, 0.0), elevation_m: 0.0 };
        let aircraft =
            Aircraft { departed_unix_us: i64::MAX, arrives_unix_us: i64::MIN, ..Default::default() };
        let flight = Flight::new(&aircraft, runway, runway);
        assert!(flight.position_at(0).point.is_finite());
        assert!(flight.has_landed(0));
    }
}
