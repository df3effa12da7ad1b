//! Great circles on a sphere, and the flat map of the earth world.
//!
//! Responsible for: places, distances, points along a great circle, headings, the projection.
//! Not responsible for: time and height.
//!
//! # Source
//! Spherical linear interpolation of unit vectors; the radius is the mean radius of the earth (IUGG R1).

use std::f64::consts::PI;

/// The mean radius of the earth, in metres.
pub(crate) const EARTH_RADIUS_M: f64 = 6_371_008.8;

// Below this sine the two ends are the same place, or opposite ones, and no single great circle joins them.
const SINE_MIN: f64 = 1e-9;

/// A place on the sphere, as a unit vector: x to (0 N, 0 E), y to (0 N, 90 E), z to the north pole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place([f64; 3]);

impl Place {
    /// From latitude and longitude in degrees, north and east.
    #[cfg(test)]
    pub(crate) fn from_degrees(latitude_deg: f64, longitude_deg: f64) -> Self {
        Self::from_radians(latitude_deg.to_radians(), longitude_deg.to_radians())
    }

    fn from_radians(latitude: f64, longitude: f64) -> Self {
        let (sin_lat, cos_lat) = latitude.sin_cos();
        let (sin_lon, cos_lon) = longitude.sin_cos();
        Self([cos_lat * cos_lon, cos_lat * sin_lon, sin_lat])
    }

    /// From the map: x east, y north, in metres.
    pub(crate) fn from_map(x_m: f64, y_m: f64) -> Self {
        Self::from_radians(y_m / EARTH_RADIUS_M, x_m / EARTH_RADIUS_M)
    }

    /// On the map: (x, y) in metres. x is at most half a circumference from 0.
    pub(crate) fn to_map(self) -> (f64, f64) {
        let [x, y, z] = self.0;
        (EARTH_RADIUS_M * y.atan2(x), EARTH_RADIUS_M * z.clamp(-1.0, 1.0).asin())
    }

    /// The angle to another place as seen from the centre, in radians.
    fn angle(self, other: Self) -> f64 {
        // More exact than the arc cosine for near and for opposite places.
        length(cross(self.0, other.0)).atan2(dot(self.0, other.0))
    }
}

/// The shorter great circle between two places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct GreatCircle {
    from: Place,
    /// A quarter of a circle on from `from`, in the direction of travel.
    ahead: [f64; 3],
    angle: f64,
}

impl GreatCircle {
    /// Between opposite places any great circle is the shortest; this takes one over the north pole, or, from a
    /// pole, along the meridian of 0 E.
    pub(crate) fn between(from: Place, to: Place) -> Self {
        let angle = from.angle(to);
        let towards = if angle.sin() > SINE_MIN { to.0 } else { [0.0, 0.0, 1.0] };
        let mut ahead = without(towards, from.0);
        if length(ahead) < SINE_MIN {
            ahead = without([1.0, 0.0, 0.0], from.0);
        }
        let scale = 1.0 / length(ahead);
        Self { from, ahead: ahead.map(|part| part * scale), angle }
    }

    /// Its length, in metres along the sphere.
    pub(crate) fn length_m(&self) -> f64 {
        self.angle * EARTH_RADIUS_M
    }

    /// The place at a fraction of the way, 0 to 1.
    pub(crate) fn place_at(&self, fraction: f64) -> Place {
        let (sin, cos) = (self.angle * fraction).sin_cos();
        Place(combine(cos, self.from.0, sin, self.ahead))
    }

    /// The direction of travel at a fraction of the way, clockwise from north, 0 up to 360 degrees.
    pub(crate) fn heading_deg(&self, fraction: f64) -> f64 {
        let (sin, cos) = (self.angle * fraction).sin_cos();
        let [x, y, z] = combine(cos, self.from.0, sin, self.ahead);
        let travel = combine(-sin, self.from.0, cos, self.ahead);
        let longitude = y.atan2(x);
        let east = [-longitude.sin(), longitude.cos(), 0.0];
        let north = cross([x, y, z], east);
        let heading = dot(travel, east).atan2(dot(travel, north));
        // A tiny negative angle rounds up to a whole turn.
        let degrees = heading.rem_euclid(2.0 * PI).to_degrees();
        if degrees >= 360.0 { 0.0 } else { degrees }
    }
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn length(a: [f64; 3]) -> f64 {
    dot(a, a).sqrt()
}

fn combine(p: f64, a: [f64; 3], q: f64, b: [f64; 3]) -> [f64; 3] {
    [p * a[0] + q * b[0], p * a[1] + q * b[1], p * a[2] + q * b[2]]
}

/// The part of `a` that is at right angles to the unit vector `b`.
fn without(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    combine(1.0, a, -dot(a, b), b)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LHR: (f64, f64) = (51.4706, -0.461941);
    const JFK: (f64, f64) = (40.639801, -73.7789);
    const SYD: (f64, f64) = (-33.946098, 151.177002);
    const SCL: (f64, f64) = (-33.393001, -70.785797);
    const SIN: (f64, f64) = (1.35019, 103.994003);

    fn between(from: (f64, f64), to: (f64, f64)) -> GreatCircle {
        GreatCircle::between(Place::from_degrees(from.0, from.1), Place::from_degrees(to.0, to.1))
    }

    #[test]
    fn distances_are_those_of_the_atlas() {
        for (from, to, km) in [(LHR, JFK, 5540.0), (SYD, SCL, 11_340.0), (SIN, LHR, 10_880.0)] {
            let got = between(from, to).length_m() / 1000.0;
            assert!((got - km).abs() < 0.003 * km, "{from:?} to {to:?}: {got} km, not {km}");
        }
        let quarter = between((0.0, 0.0), (0.0, 90.0)).length_m();
        assert!((quarter - EARTH_RADIUS_M * PI / 2.0).abs() < 1e-6);
    }

    #[test]
    fn headings_are_those_of_the_compass() {
        for (to, heading) in
            [((10.0, 0.0), 0.0), ((0.0, 10.0), 90.0), ((-10.0, 0.0), 180.0), ((0.0, -10.0), 270.0)]
        {
            let got = between((0.0, 0.0), to).heading_deg(0.0);
            assert!((got - heading).abs() < 1e-9, "{to:?}: {got}");
        }
        // London to New York leaves to the north-west and arrives from the north-east.
        let atlantic = between(LHR, JFK);
        assert!((atlantic.heading_deg(0.0) - 288.0).abs() < 1.0, "{}", atlantic.heading_deg(0.0));
        assert!((atlantic.heading_deg(1.0) - 231.0).abs() < 1.0, "{}", atlantic.heading_deg(1.0));
    }

    #[test]
    fn sydney_to_santiago_goes_far_south_and_over_the_date_line() {
        let circle = between(SYD, SCL);
        let southmost =
            (0..=100).map(|i| circle.place_at(f64::from(i) / 100.0).to_map().1).fold(0.0, f64::min);
        let latitude_deg = (southmost / EARTH_RADIUS_M).to_degrees();
        assert!(latitude_deg < -60.0, "{latitude_deg}");
    }

    #[test]
    fn same_and_opposite_places_have_a_way() {
        for (from, to) in
            [(LHR, LHR), ((90.0, 0.0), (90.0, 0.0)), ((90.0, 0.0), (-90.0, 0.0)), ((0.0, 0.0), (0.0, 180.0))]
        {
            let circle = between(from, to);
            let end = circle.place_at(1.0);
            assert!(end.angle(Place::from_degrees(to.0, to.1)) < 1e-6, "{from:?} to {to:?}: {end:?}");
            assert!(circle.heading_deg(0.5).is_finite());
        }
    }

    proptest! {
        #[test]
        fn the_way_is_even_and_ends_where_it_should(
            lat1 in -90.0..90.0_f64, lon1 in -180.0..180.0_f64,
            lat2 in -90.0..90.0_f64, lon2 in -180.0..180.0_f64, fraction in 0.0..1.0_f64,
        ) {
            let (from, to) = (Place::from_degrees(lat1, lon1), Place::from_degrees(lat2, lon2));
            let circle = GreatCircle::between(from, to);
            let here = circle.place_at(fraction);
            prop_assert!((length(here.0) - 1.0).abs() < 1e-9);
            prop_assert!((from.angle(here) - circle.angle * fraction).abs() < 1e-6);
            prop_assert!((here.angle(to) - circle.angle * (1.0 - fraction)).abs() < 1e-6);
            let heading = circle.heading_deg(fraction);
            prop_assert!((0.0..360.0).contains(&heading), "{heading}");
            let (x, y) = here.to_map();
            prop_assert!(Place::from_map(x, y).angle(here) < 1e-9);
            prop_assert!(x.abs() <= EARTH_RADIUS_M * PI && y.abs() <= EARTH_RADIUS_M * PI / 2.0);
        }
    }
}
