//! Which flight has which route.
//!
//! Responsible for: the home and the routes of each number, from a seed: the same seed and airports give the same routes.
//! Not responsible for: when it flies.

use spatialdb_sdk::EntityId;

use crate::{flight::Runway, sphere::GreatCircle};

// Shorter hops and longer hauls than an airline flies.
const LENGTH_M: std::ops::RangeInclusive<f64> = 300_000.0..=14_000_000.0;
// Destinations looked at before one of odd length is taken.
const TRIES: u64 = 16;
const CRUISE_ALTITUDE_M: std::ops::Range<f64> = 9_500.0..12_500.0;
// A hop does not climb higher than this share of its length.
const CLIMB_PER_METRE: f64 = 0.03;

/// A route and what is drawn with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Route {
    pub(crate) from: EntityId,
    pub(crate) to: EntityId,
    pub(crate) length_m: f64,
    pub(crate) cruise_altitude_m: f64,
    /// In [0, 1): how far along the way a flight is that is put in the air to fill an empty sky.
    pub(crate) head_start: f64,
}

/// The airport where the aircraft of a number is at home; `None` with fewer than two.
pub(crate) fn home(seed: u64, number: u64, airports: &[(EntityId, Runway)]) -> Option<EntityId> {
    (airports.len() >= 2).then(|| airports[Random::of(seed, number, 0).below(airports.len())].0)
}

/// The first route of a number, which leaves its home; `None` with fewer than two airports.
pub(crate) fn first(seed: u64, number: u64, airports: &[(EntityId, Runway)]) -> Option<Route> {
    let mut random = Random::of(seed, number, 0);
    let from = random.below(airports.len());
    draw(random, from, airports)
}

/// The route of a number that departs from there at that time; `None` with fewer than two airports.
pub(crate) fn onward(
    seed: u64,
    number: u64,
    departs_unix_us: i64,
    from: usize,
    airports: &[(EntityId, Runway)],
) -> Option<Route> {
    draw(Random::of(seed, number, departs_unix_us), from, airports)
}

fn draw(mut random: Random, from: usize, airports: &[(EntityId, Runway)]) -> Option<Route> {
    if airports.len() < 2 {
        return None;
    }
    let mut chosen = None;
    for _ in 0..TRIES {
        // Any airport but `from`.
        let to = (from + 1 + random.below(airports.len() - 1)) % airports.len();
        let length_m = GreatCircle::between(airports[from].1.place, airports[to].1.place).length_m();
        chosen = Some((to, length_m));
        if LENGTH_M.contains(&length_m) {
            break;
        }
    }
    let (to, length_m) = chosen?;
    let height_m =
        CRUISE_ALTITUDE_M.start + random.unit() * (CRUISE_ALTITUDE_M.end - CRUISE_ALTITUDE_M.start);
    Some(Route {
        from: airports[from].0,
        to: airports[to].0,
        length_m,
        cruise_altitude_m: height_m.min(length_m * CLIMB_PER_METRE),
        head_start: random.unit(),
    })
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn of(seed: u64, number: u64, time_us: i64) -> Self {
        let mixed =
            number.wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ (time_us as u64).wrapping_mul(0xA076_1D64_78BD_642F);
        Self(seed ^ mixed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sphere::Place;

    fn airports(count: u64) -> Vec<(EntityId, Runway)> {
        (0..count)
            .map(|i| {
                let place = Place::from_degrees((i * 37 % 140) as f64 - 70.0, (i * 101 % 360) as f64 - 180.0);
                (EntityId(i + 1), Runway { place, elevation_m: 0.0 })
            })
            .collect()
    }

    #[test]
    fn a_number_has_one_route_per_seed() {
        let airports = airports(500);
        let routes = |seed| (0..50).map(|number| first(seed, number, &airports)).collect::<Vec<_>>();
        assert_eq!(routes(1), routes(1));
        assert_ne!(routes(1), routes(2));
    }

    #[test]
    fn routes_join_two_airports_at_a_sane_distance() {
        let airports = airports(500);
        for number in 0..2000 {
            let route = first(7, number, &airports).expect("enough airports");
            assert_ne!(route.from, route.to);
            assert_eq!(Some(route.from), home(7, number, &airports));
            assert!(LENGTH_M.contains(&route.length_m), "{route:?}");
            assert!((0.0..1.0).contains(&route.head_start));
        }
    }

    #[test]
    fn who_flies_on_leaves_where_it_is_and_goes_elsewhere_each_time() {
        let airports = airports(500);
        let to = |time| {
            let route = onward(7, 3, time, 42, &airports).expect("enough airports");
            assert_eq!(route.from, airports[42].0);
            route.to
        };
        let places: std::collections::BTreeSet<_> = (0..50).map(|minute| to(minute * 60_000_000)).collect();
        assert!(places.len() > 40, "{places:?}");
        assert_eq!(to(60_000_000), to(60_000_000));
    }

    #[test]
    fn few_airports_are_no_panic() {
        assert_eq!((first(1, 1, &airports(0)), home(1, 1, &airports(0))), (None, None));
        assert_eq!((first(1, 1, &airports(1)), onward(1, 1, 1, 0, &airports(1))), (None, None));
        assert!(first(1, 1, &airports(2)).is_some());
    }
}
