//! Positions and boxes.

use crate::SpaceId;

/// A point.
///
/// # Units
/// Metres; x east, y north, z up, right-handed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point3 {
    /// East.
    pub x: f64,
    /// North.
    pub y: f64,
    /// Up.
    pub z: f64,
}

/// A point in a space.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Position {
    /// The space whose coordinates `point` uses.
    pub space: SpaceId,
    /// Where in that space.
    pub point: Point3,
}

/// A half-open box: `min <= p < max` on each axis. Infinite coordinates leave a side open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Box3 {
    /// The corner with the smallest coordinates, inside.
    pub min: Point3,
    /// The corner with the largest coordinates, outside.
    pub max: Point3,
}

impl Point3 {
    /// A point from its coordinates in metres.
    pub const fn new(x: f64, y: f64, z: f64) -> Self {
        Self { x, y, z }
    }

    /// Whether no coordinate is NaN or infinite.
    pub fn is_finite(self) -> bool {
        self.x.is_finite() && self.y.is_finite() && self.z.is_finite()
    }

    /// The square of the distance between two points.
    #[inline]
    pub fn distance_squared(self, other: Self) -> f64 {
        let (dx, dy, dz) = (self.x - other.x, self.y - other.y, self.z - other.z);
        dx * dx + dy * dy + dz * dz
    }
}

impl Position {
    /// A position from a space and coordinates in metres.
    pub const fn new(space: SpaceId, x: f64, y: f64, z: f64) -> Self {
        Self { space, point: Point3::new(x, y, z) }
    }
}

impl Box3 {
    /// The box that holds every point.
    pub const EVERYWHERE: Self = Self {
        min: Point3::new(f64::NEG_INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY),
        max: Point3::new(f64::INFINITY, f64::INFINITY, f64::INFINITY),
    };

    /// Whether the point is inside.
    #[inline]
    pub fn contains(&self, p: Point3) -> bool {
        self.min.x <= p.x
            && p.x < self.max.x
            && self.min.y <= p.y
            && p.y < self.max.y
            && self.min.z <= p.z
            && p.z < self.max.z
    }

    /// The box with so much more on each side.
    pub const fn grown(&self, by_m: f64) -> Self {
        let (a, b) = (self.min, self.max);
        Self {
            min: Point3::new(a.x - by_m, a.y - by_m, a.z - by_m),
            max: Point3::new(b.x + by_m, b.y + by_m, b.z + by_m),
        }
    }

    /// The smallest box that holds both.
    pub const fn united(&self, other: &Self) -> Self {
        let (a, b) = (other.min, other.max);
        Self {
            min: Point3::new(self.min.x.min(a.x), self.min.y.min(a.y), self.min.z.min(a.z)),
            max: Point3::new(self.max.x.max(b.x), self.max.y.max(b.y), self.max.z.max(b.z)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_half_open() {
        let unit = Box3 { min: Point3::new(0.0, 0.0, 0.0), max: Point3::new(1.0, 1.0, 1.0) };
        assert!(unit.contains(Point3::new(0.0, 0.0, 0.0)));
        assert!(!unit.contains(Point3::new(1.0, 0.0, 0.0)));
        assert!(!unit.contains(Point3::new(0.0, 0.0, 1.0)));
        assert!(Box3::EVERYWHERE.contains(Point3::new(-1e300, 1e300, 0.0)));
    }

    #[test]
    fn boxes_grow_and_unite() {
        let unit = Box3 { min: Point3::new(0.0, 0.0, 0.0), max: Point3::new(1.0, 1.0, 1.0) };
        let far = Box3 { min: Point3::new(5.0, -5.0, 0.0), max: Point3::new(6.0, -4.0, 1.0) };
        assert_eq!(unit.grown(2.0).min, Point3::new(-2.0, -2.0, -2.0));
        assert_eq!(unit.grown(2.0).max, Point3::new(3.0, 3.0, 3.0));
        assert_eq!(Box3::EVERYWHERE.grown(2.0), Box3::EVERYWHERE);
        let both = Box3 { min: Point3::new(0.0, -5.0, 0.0), max: Point3::new(6.0, 1.0, 1.0) };
        assert_eq!(unit.united(&far), both);
    }
}
