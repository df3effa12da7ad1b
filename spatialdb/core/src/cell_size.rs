//! Which square of the grid a coordinate lies in: the one arithmetic for all that counts, cuts or stores by squares.
//!
//! A square holds exactly what lies from its low side to just below its high side, rounding or not. So a border that stands
//! on a side cuts no square, wherever the two are computed.

/// The size of a square.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellSize {
    side_m: f64,
    per_m: f64,
}

impl CellSize {
    /// Squares with sides of so many metres: a positive number.
    pub const fn new(side_m: f64) -> Self {
        Self { side_m, per_m: 1.0 / side_m }
    }

    /// The side of a square, metres.
    pub const fn side_m(self) -> f64 {
        self.side_m
    }

    /// The number of the square that a coordinate lies in. What is further out than numbers reach is in the last one.
    #[inline]
    pub fn number(self, v: f64) -> i32 {
        // Multiplied and rounded it may be off by one, right at a side.
        let near = (v * self.per_m).floor() as i32;
        if v < self.low(near) {
            near.saturating_sub(1)
        } else if v >= self.high(near) {
            near.saturating_add(1)
        } else {
            near
        }
    }

    /// The number of the square that lies just below a coordinate.
    pub fn number_below(self, v: f64) -> i32 {
        let number = self.number(v);
        if v <= self.low(number) { number.saturating_sub(1) } else { number }
    }

    /// From where to just below where the square of that number reaches.
    pub fn range(self, number: i32) -> (f64, f64) {
        let low = if number == i32::MIN { f64::NEG_INFINITY } else { self.low(number) };
        (low, if number == i32::MAX { f64::INFINITY } else { self.high(number) })
    }

    fn low(self, number: i32) -> f64 {
        f64::from(number) * self.side_m
    }

    fn high(self, number: i32) -> f64 {
        (f64::from(number) + 1.0) * self.side_m
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_square_holds_exactly_its_range(
            side_m in prop_oneof![Just(0.1), Just(16.0), Just(100.0), Just(1.0 / 3.0), 0.01..1e5],
            number in prop_oneof![-50..50, i32::MIN + 1..i32::MAX],
            ulps in -3..4i64,
        ) {
            let size = CellSize::new(side_m);
            let side = size.range(number).0;
            // As near to the side as numbers go.
            let v = f64::from_bits((side.to_bits() as i64 + ulps) as u64);
            prop_assume!(v.is_finite());
            let (low, high) = size.range(size.number(v));
            prop_assert!(low <= v && v < high, "{v:?} is not from {low:?} to {high:?}");
            let (low, high) = size.range(size.number_below(v));
            prop_assert!(low < v && v <= high, "{v:?} is not just above {low:?} to {high:?}");
        }
    }

    #[test]
    fn what_is_far_out_is_in_the_last_square() {
        let size = CellSize::new(10.0);
        assert_eq!((size.number(1e300), size.number(-1e300)), (i32::MAX, i32::MIN));
        assert_eq!((size.number(f64::INFINITY), size.number(f64::NEG_INFINITY)), (i32::MAX, i32::MIN));
        assert_eq!((size.range(i32::MIN).0, size.range(i32::MAX).1), (f64::NEG_INFINITY, f64::INFINITY));
        assert_eq!((size.number(0.0), size.number(-0.0), size.number_below(0.0)), (0, 0, -1));
    }
}
