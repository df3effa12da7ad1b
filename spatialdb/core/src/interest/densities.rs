//! What a view of densities asks for: squares of a size, in an area.

use spatialdb_types::{Error, Position, Reason, SpaceId};

use crate::partition::{Area, TOP_LEVEL};
use crate::{CellSize, Micros};

/// How many entities there are in each square.
#[derive(Clone, Debug, PartialEq)]
pub struct Densities {
    space: SpaceId,
    cell_m: f64,
    /// The first and the last column of cells, and row.
    x: (i32, i32),
    y: (i32, i32),
    level: u8,
    /// Each type is counted apart.
    pub per_type: bool,
    /// The least time between two deltas; 0 means as often as the partition publishes.
    pub interval_us: Micros,
}

impl Densities {
    /// The squares that touch the area from `min` to `max` (x, y; the far sides are outside of it), at least `square_m` wide:
    /// rounded up to the side of a cell times a power of two.
    ///
    /// # Errors
    /// `QUERY_INVALID` if a number is NaN, `min` lies beyond `max`, or the squares would be negative or too large.
    pub fn new(
        space: SpaceId,
        min: (f64, f64),
        max: (f64, f64),
        square_m: f64,
        cell_m: f64,
    ) -> Result<Self, Error> {
        let invalid = |detail: String| Error::new(Reason::QueryInvalid, detail);
        let is_box = |(min, max): (f64, f64)| min <= max;
        if !(is_box((min.0, max.0)) && is_box((min.1, max.1))) {
            let detail = format!("densities: the box goes from {min:?} to {max:?}: min <= max is needed");
            return Err(invalid(detail));
        }
        let square_m_max = side_m(cell_m, TOP_LEVEL);
        if !(0.0..=square_m_max).contains(&square_m) {
            let detail =
                format!("densities: square_m = {square_m}; 0 <= square_m <= {square_m_max} is needed");
            return Err(invalid(detail));
        }
        let level = (0..TOP_LEVEL).find(|&level| side_m(cell_m, level) >= square_m).unwrap_or(TOP_LEVEL);
        let size = CellSize::new(cell_m);
        let sides = |(min, max): (f64, f64)| {
            let from = size.number(min);
            (from, size.number_below(max).max(from))
        };
        let (x, y) = (sides((min.0, max.0)), sides((min.1, max.1)));
        Ok(Self { space, cell_m, x, y, level, per_type: false, interval_us: 0 })
    }

    /// The side of a square, metres.
    pub fn square_m(&self) -> f64 {
        side_m(self.cell_m, self.level)
    }

    /// The square that a position is counted in, if that is one of these.
    pub fn square_of(&self, at: Position) -> Option<(i32, i32)> {
        let size = CellSize::new(self.cell_m);
        let (x, y) = (size.number(at.point.x) >> self.level, size.number(at.point.y) >> self.level);
        let is_in = |(from, to): (i32, i32), v: i32| (from >> self.level..=to >> self.level).contains(&v);
        (at.space == self.space && is_in(self.x, x) && is_in(self.y, y)).then_some((x, y))
    }

    /// The same with squares that many times twice as large; `None`: there are none so large.
    pub fn coarser(&self, doublings: u8) -> Option<Self> {
        let level = self.level.checked_add(doublings).filter(|level| *level <= TOP_LEVEL)?;
        Some(Self { level, ..self.clone() })
    }

    /// The same squares where the other one has its own.
    pub fn elsewhere(&self, other: &Self) -> Self {
        Self { x: other.x, y: other.y, ..self.clone() }
    }

    /// Whether the other one counts in the same squares, wherever it does.
    pub(crate) fn counts_like(&self, other: &Self) -> bool {
        (self.space, self.level, self.per_type) == (other.space, other.level, other.per_type)
    }

    pub(crate) const fn area(&self) -> Area {
        Area { space: self.space, level: self.level, x: self.x, y: self.y }
    }
}

fn side_m(cell_m: f64, level: u8) -> f64 {
    cell_m * f64::from(level).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFINITY: f64 = f64::INFINITY;
    const ALL: (f64, f64) = (INFINITY, INFINITY);

    fn squares(min: (f64, f64), max: (f64, f64), square_m: f64) -> Result<Densities, Error> {
        Densities::new(SpaceId(0), min, max, square_m, 10.0)
    }

    fn at(x: f64, y: f64) -> Position {
        Position::new(SpaceId(0), x, y, 5.0)
    }

    #[test]
    fn squares_are_as_large_as_asked_or_larger() {
        for (asked, is) in [(0.0, 10.0), (3.0, 10.0), (10.0, 10.0), (10.5, 20.0), (70.0, 80.0), (80.0, 80.0)]
        {
            assert_eq!(squares((0.0, 0.0), ALL, asked).map(|d| d.square_m()), Ok(is), "{asked}");
        }
        let largest = 10.0 * f64::from(1u32 << 31);
        assert_eq!(squares((0.0, 0.0), ALL, largest).map(|d| d.square_m()), Ok(largest));
        for wrong in [f64::NAN, -1.0, INFINITY, largest * 1.01] {
            let error = squares((0.0, 0.0), ALL, wrong).expect_err("refused");
            assert!(error.detail.contains("square_m"), "{error:?}");
        }
        for (min, max) in [((1.0, 0.0), (0.0, 5.0)), ((f64::NAN, 0.0), ALL), ((0.0, 0.0), (1.0, f64::NAN))] {
            let error = squares(min, max, 10.0).expect_err("refused");
            assert!(error.detail.contains("min <= max"), "{error:?}");
        }
    }

    #[test]
    fn squares_that_touch_the_box_are_counted_whole() {
        let densities = squares((0.0, -25.0), (40.0, 0.0), 20.0).expect("valid");
        assert_eq!(densities.square_of(at(0.0, -39.9)), Some((0, -2)));
        assert_eq!(densities.square_of(at(39.0, -0.1)), Some((1, -1)));
        for outside in [at(40.0, -1.0), at(0.0, 0.0), at(-0.1, -1.0), at(1.0, -40.1)] {
            assert_eq!(densities.square_of(outside), None, "{outside:?}");
        }
        assert_eq!(densities.square_of(Position::new(SpaceId(1), 0.0, -5.0, 0.0)), None);
        // A point has a square.
        let point = squares((20.0, 20.0), (20.0, 20.0), 10.0).expect("valid");
        assert_eq!(point.square_of(at(20.0, 29.0)), Some((2, 2)));
        let everywhere = squares((-INFINITY, -INFINITY), ALL, 1e9).expect("valid");
        assert_eq!(everywhere.square_of(at(-1e12, 1e12)), Some((-16, 15)));
    }
}
