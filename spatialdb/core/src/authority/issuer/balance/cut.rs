//! Where to cut: at the weighted median, or beside it where fewer neighbours are cut apart.

use spatialdb_types::Box3;

use crate::authority::tiling::{Axis, Cut, Half};

/// How much there is in a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SquareLoad {
    /// The number of the square, from west to east.
    pub x: i32,
    /// From south to north.
    pub y: i32,
    /// How much: entities, or what they cost.
    pub load: u64,
}

impl SquareLoad {
    /// Where it lies, if the side of a square is so long.
    pub(super) fn area(&self, side_m: f64) -> Box3 {
        let side = |number: i32| (f64::from(number) * side_m, (f64::from(number) + 1.0) * side_m);
        let mut area = Box3::EVERYWHERE;
        (area.min.x, area.max.x) = side(self.x);
        (area.min.y, area.max.y) = side(self.y);
        area
    }
}

/// What is cut apart counts so many times as much as what is not shared evenly.
const APART_WEIGHT: u64 = 4;

/// The squares with one number on an axis.
struct Column {
    number: i32,
    load: u64,
    /// How much lies against the column before, if that is right beside it: of each pair of squares the smaller load.
    against: u64,
}

/// A place between two columns.
struct Place {
    cut: Cut,
    /// How much lies below.
    low: u64,
    /// How much is cut apart.
    apart: u64,
}

/// The best cut of a region in two, across the longer side of where its load is, and how much is below it. `None`: most
/// of it is in one square.
pub(in crate::authority::issuer) fn best_cut(
    squares: &[SquareLoad],
    side_m: f64,
    area: &Box3,
) -> Option<(Cut, u64)> {
    let total: u64 = squares.iter().map(|square| square.load).sum();
    let span = |of: fn(&SquareLoad) -> i32| {
        let loaded = squares.iter().filter(|square| square.load > 0).map(of);
        Some(i64::from(loaded.clone().max()?) - i64::from(loaded.min()?))
    };
    let longer = if span(|s| s.x)? >= span(|s| s.y)? { Axis::X } else { Axis::Y };
    [longer, longer.other()].into_iter().find_map(|axis| {
        let places = places(squares, side_m, area, axis);
        let fair = places.into_iter().filter(|place| (total / 5..=total - total / 5).contains(&place.low));
        let best = fair.min_by_key(|place| (2 * place.low).abs_diff(total) + APART_WEIGHT * place.apart);
        best.map(|place| (place.cut, place.low))
    })
}

/// A cut that makes a strip of about that load at one end of a region, and how much is in it.
pub(super) fn strip_cut(
    squares: &[SquareLoad],
    side_m: f64,
    area: &Box3,
    axis: Axis,
    strip: Half,
    load: u64,
) -> Option<(Cut, u64)> {
    let total: u64 = squares.iter().map(|square| square.load).sum();
    let places = places(squares, side_m, area, axis).into_iter();
    let sized = places.map(|place| (if strip == Half::Low { place.low } else { total - place.low }, place));
    let fair = sized.filter(|(size, _)| (load / 2..=load.saturating_mul(2)).contains(size) && *size > 0);
    let best = fair.min_by_key(|(size, place)| size.abs_diff(load) + APART_WEIGHT * place.apart);
    best.map(|(size, place)| (place.cut, size))
}

/// Every place on the axis where a region with something on both sides can be cut.
fn places(squares: &[SquareLoad], side_m: f64, area: &Box3, axis: Axis) -> Vec<Place> {
    let (min, max) = axis.range(area);
    let mut low = 0;
    let mut places = Vec::new();
    let columns = columns(squares, axis);
    for pair in columns.windows(2) {
        low += pair[0].load;
        // In the middle of a gap, still on the border of a square.
        let (end, start) = (i64::from(pair[0].number) + 1, i64::from(pair[1].number));
        let at = ((end + start).div_euclid(2)) as f64 * side_m;
        if min < at && at < max {
            places.push(Place { cut: Cut { axis, at }, low, apart: pair[1].against });
        }
    }
    places
}

fn columns(squares: &[SquareLoad], axis: Axis) -> Vec<Column> {
    let on = |square: &SquareLoad| if axis == Axis::X { (square.x, square.y) } else { (square.y, square.x) };
    let loaded = squares.iter().filter(|square| square.load > 0);
    let mut sorted: Vec<(i32, i32, u64)> =
        loaded.map(|square| (on(square).0, on(square).1, square.load)).collect();
    sorted.sort_unstable();
    let mut columns: Vec<Column> = Vec::new();
    let mut before: &[(i32, i32, u64)] = &[];
    for column in sorted.chunk_by(|a, b| a.0 == b.0) {
        let (number, load) = (column[0].0, column.iter().map(|square| square.2).sum());
        let is_beside = columns.last().is_some_and(|last| i64::from(last.number) + 1 == i64::from(number));
        let against = if is_beside { lies_against(before, column) } else { 0 };
        columns.push(Column { number, load, against });
        before = column;
    }
    columns
}

/// Of each pair of squares in one row, the smaller load. Both are sorted by row.
fn lies_against(a: &[(i32, i32, u64)], b: &[(i32, i32, u64)]) -> u64 {
    let mut rest = a.iter().peekable();
    let mut sum = 0;
    for &(_, row, load) in b {
        while rest.next_if(|square| square.1 < row).is_some() {}
        if let Some(square) = rest.peek().filter(|square| square.1 == row) {
            sum += square.2.min(load);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(x: i32, y: i32, load: u64) -> SquareLoad {
        SquareLoad { x, y, load }
    }

    fn block(x: std::ops::Range<i32>, y: std::ops::Range<i32>, load: u64) -> Vec<SquareLoad> {
        x.flat_map(|x| y.clone().map(move |y| square(x, y, load))).collect()
    }

    #[test]
    fn an_even_load_is_cut_in_the_middle_of_its_longer_side() {
        let (cut, low) = best_cut(&block(0..40, 0..10, 3), 100.0, &Box3::EVERYWHERE).expect("a cut");
        assert_eq!((cut, low), (Cut { axis: Axis::X, at: 2000.0 }, 600));
        let (cut, _) = best_cut(&block(0..10, -20..20, 3), 100.0, &Box3::EVERYWHERE).expect("a cut");
        assert_eq!(cut, Cut { axis: Axis::Y, at: 0.0 });
    }

    #[test]
    fn the_median_is_weighted() {
        let mut squares = block(0..100, 0..1, 1);
        squares[90..].iter_mut().for_each(|square| square.load = 100);
        let (cut, low) = best_cut(&squares, 1.0, &Box3::EVERYWHERE).expect("a cut");
        assert!((94.0..=96.0).contains(&cut.at) && (490..=600).contains(&low), "{cut} {low}");
    }

    #[test]
    fn a_dense_group_stays_whole_if_there_is_a_gap_beside_it() {
        let squares = [block(0..10, 0..10, 11), block(30..40, 0..10, 9)].concat();
        let (cut, low) = best_cut(&squares, 1.0, &Box3::EVERYWHERE).expect("a cut");
        assert_eq!((cut, low), (Cut { axis: Axis::X, at: 20.0 }, 1100));
    }

    #[test]
    fn what_lies_in_one_square_is_not_cut() {
        assert_eq!(best_cut(&[square(3, 3, 1000)], 1.0, &Box3::EVERYWHERE), None);
        assert_eq!(best_cut(&[square(3, 3, 1000), square(9, 3, 10)], 1.0, &Box3::EVERYWHERE), None);
        assert_eq!(best_cut(&[], 1.0, &Box3::EVERYWHERE), None);
        let one_column = block(0..1, 0..6, 5);
        assert_eq!(best_cut(&one_column, 1.0, &Box3::EVERYWHERE).expect("on the other axis").0.axis, Axis::Y);
    }

    #[test]
    fn a_cut_lies_inside_of_the_region() {
        let mut area = Box3::EVERYWHERE;
        area.max.x = 0.5;
        let squares = [square(0, 0, 10), square(5, 0, 10)];
        assert_eq!(best_cut(&squares, 1.0, &area), None);
    }

    #[test]
    fn a_strip_has_about_the_load_that_is_asked_for() {
        let squares = block(0..20, 0..1, 10);
        let strip = |half| strip_cut(&squares, 1.0, &Box3::EVERYWHERE, Axis::X, half, 50);
        assert_eq!(strip(Half::Low), Some((Cut { axis: Axis::X, at: 5.0 }, 50)));
        assert_eq!(strip(Half::High), Some((Cut { axis: Axis::X, at: 15.0 }, 50)));
        assert_eq!(strip_cut(&squares, 1.0, &Box3::EVERYWHERE, Axis::X, Half::Low, 2), None);
    }
}
