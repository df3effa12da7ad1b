//! What a view looks at, as the tool knows it, and which entities are there.
//!
//! Responsible for: brute force, sped up by squares. Not responsible for: the server's answer.

use spatialdb_proto::v1::{self, Constraint, EntityIds, Point, Sphere, constraint::Kind};
use spatialdb_types::{Box3, Point3};

use super::{tools, walk::CELL_M, world::SPACE};

/// Which entities a view is to show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Area {
    /// All.
    Everything,
    /// Those with ids from 1 up to this.
    FirstIds(u64),
    /// Those in a box, whatever their height.
    Square {
        /// The smallest corner, inside.
        min: (f64, f64),
        /// The length of a side.
        side_m: f64,
    },
    /// Those in a ball.
    Ball {
        /// Its middle.
        center: Point3,
        /// Metres.
        radius_m: f64,
    },
}

impl Area {
    /// The condition that says the same to the server.
    pub(super) fn constraint(&self) -> Constraint {
        let flat = |(x, y)| Some(Point { x, y, z: None });
        let kind = match *self {
            Self::Everything => return tools::everything(),
            Self::FirstIds(last) => Kind::EntityIds(EntityIds { entities: (1..=last).collect() }),
            Self::Square { min, side_m } => {
                let max = (min.0 + side_m, min.1 + side_m);
                Kind::Box(v1::Box { space: SPACE.0, min: flat(min), max: flat(max) })
            }
            Self::Ball { center, radius_m } => {
                let center = Point { x: center.x, y: center.y, z: Some(center.z) };
                Kind::Sphere(Sphere { space: SPACE.0, center: Some(center), radius_m })
            }
        };
        Constraint { kind: Some(kind) }
    }

    /// Whether the entity at this place of the walk is there.
    pub(super) fn contains(&self, place: usize, at: Point3) -> bool {
        match *self {
            Self::Everything => true,
            Self::FirstIds(last) => (place as u64) < last,
            Self::Square { min, side_m } => {
                min.0 <= at.x && at.x < min.0 + side_m && min.1 <= at.y && at.y < min.1 + side_m
            }
            Self::Ball { center, radius_m } => at.distance_squared(center) <= radius_m * radius_m,
        }
    }

    /// A box around it; `None` where that does not help.
    pub(super) fn bounds(&self) -> Option<Box3> {
        let around = |min: (f64, f64), side_m: f64| Box3 {
            min: Point3::new(min.0, min.1, f64::NEG_INFINITY),
            max: Point3::new(min.0 + side_m, min.1 + side_m, f64::INFINITY),
        };
        match *self {
            Self::Everything | Self::FirstIds(_) => None,
            Self::Square { min, side_m } => Some(around(min, side_m)),
            Self::Ball { center, radius_m } => {
                Some(around((center.x - radius_m, center.y - radius_m), 2.0 * radius_m))
            }
        }
    }
}

/// Things by squares of a cell's size, from the origin on.
pub(super) struct Squares {
    columns: usize,
    rows: usize,
    squares: Vec<Vec<u32>>,
}

impl Squares {
    /// As many as these points need.
    pub(super) fn over(points: &[Point3]) -> Self {
        let end = |along: fn(&Point3) -> f64| points.iter().map(along).fold(0.0, f64::max);
        let count = |end: f64| (end / CELL_M) as usize + 1;
        let (columns, rows) = (count(end(|p| p.x)), count(end(|p| p.y)));
        Self { columns, rows, squares: vec![Vec::new(); columns * rows] }
    }

    /// With each point in its square.
    pub(super) fn of(points: &[Point3]) -> Self {
        let mut squares = Self::over(points);
        for (place, at) in points.iter().enumerate() {
            let square = squares.at(*at);
            squares.squares[square].push(place as u32);
        }
        squares
    }

    /// Puts a thing into each square that the box touches.
    pub(super) fn put(&mut self, thing: u32, bounds: &Box3) {
        for square in self.touched(bounds) {
            self.squares[square].push(thing);
        }
    }

    /// What is in the square of that point.
    pub(super) fn near(&self, at: Point3) -> &[u32] {
        &self.squares[self.at(at)]
    }

    /// The places of all points that are in the area, in no order.
    pub(super) fn inside(&self, area: &Area, points: &[Point3]) -> Vec<u32> {
        let is_inside = |place: &u32| area.contains(*place as usize, points[*place as usize]);
        match area.bounds() {
            None => (0..points.len() as u32).filter(is_inside).collect(),
            Some(bounds) => {
                let near = self.touched(&bounds).into_iter().flat_map(|square| &self.squares[square]);
                near.copied().filter(is_inside).collect()
            }
        }
    }

    // Casts bring what is below the first square or beyond the last one into it.
    fn at(&self, at: Point3) -> usize {
        let column = ((at.x / CELL_M) as usize).min(self.columns - 1);
        column + ((at.y / CELL_M) as usize).min(self.rows - 1) * self.columns
    }

    fn touched(&self, bounds: &Box3) -> Vec<usize> {
        let (first, last) = (self.at(bounds.min), self.at(bounds.max));
        let columns = first % self.columns..=last % self.columns;
        let rows = first / self.columns..=last / self.columns;
        rows.flat_map(|row| columns.clone().map(move |column| column + row * self.columns)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{random::Random, walk::Walk};

    #[test]
    fn squares_find_what_brute_force_finds() {
        let walk = Walk::new(5000);
        let points = walk.round(0);
        let squares = Squares::of(points);
        let mut random = Random::new(5);
        let mut along = |reach: f64| random.unit() * reach;
        for n in 0..200 {
            let center = Point3::new(along(2500.0) - 100.0, along(2500.0) - 100.0, along(1000.0));
            let area = match n {
                0 => Area::Everything,
                1 => Area::FirstIds(70),
                n if n % 2 == 0 => Area::Ball { center, radius_m: along(300.0) },
                _ => Area::Square { min: (center.x, center.y), side_m: along(400.0) },
            };
            let mut found = squares.inside(&area, points);
            found.sort_unstable();
            let all = 0..points.len() as u32;
            let expected: Vec<u32> =
                all.filter(|p| area.contains(*p as usize, points[*p as usize])).collect();
            assert_eq!(found, expected, "{area:?}");
        }
    }

    #[test]
    fn what_is_put_is_near() {
        let points = [Point3::new(950.0, 450.0, 0.0)];
        let mut squares = Squares::over(&points);
        let ball = Area::Ball { center: Point3::new(110.0, 205.0, 0.0), radius_m: 30.0 };
        squares.put(7, &ball.bounds().expect("a box"));
        for (x, y) in [(99.0, 201.0), (101.0, 199.0), (90.0, 190.0), (110.0, 210.0)] {
            assert_eq!(squares.near(Point3::new(x, y, 0.0)), [7]);
        }
        assert!(squares.near(Point3::new(210.0, 205.0, 0.0)).is_empty());
    }
}
