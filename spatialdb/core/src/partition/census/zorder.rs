//! Squares in an order in which all that lies in a larger square stands together.

use crate::partition::CellKey;

/// Turns numbers from below 0 up into numbers from 0 up.
const SIGN: u32 = 1 << 31;

/// The first and the last cell of a square of a level, by their place in the order.
pub(super) fn span(level: u8, x: i32, y: i32) -> (u64, u64) {
    let first = spread(scaled(level, x)) | spread(scaled(level, y)) << 1;
    (first, first | ((1 << (2 * u32::from(level))) - 1))
}

/// Which quarter of the next larger square the square of that level is that a cell lies in.
pub(super) fn quarter(cell: CellKey, level: u8) -> usize {
    let bit = |v: i32| ((v as u32 ^ SIGN) >> level & 1) as usize;
    bit(cell.y) << 1 | bit(cell.x)
}

const fn scaled(level: u8, number: i32) -> u32 {
    (number << level) as u32 ^ SIGN
}

/// The bits of a number with a gap after each.
const fn spread(number: u32) -> u64 {
    let mut v = number as u64;
    v = (v | v << 16) & 0x0000_ffff_0000_ffff;
    v = (v | v << 8) & 0x00ff_00ff_00ff_00ff;
    v = (v | v << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    v = (v | v << 2) & 0x3333_3333_3333_3333;
    (v | v << 1) & 0x5555_5555_5555_5555
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_spans_its_quarters_in_order() {
        for (level, x, y) in [(1, 0, 0), (1, -1, 5), (4, -3, -7), (31, -1, 0), (31, 0, 0)] {
            let (first, last) = span(level, x, y);
            let quarters = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(dx, dy)| (x * 2 + dx, y * 2 + dy));
            let spans = quarters.map(|(x, y)| span(level - 1, x, y));
            assert_eq!((spans[0].0, spans[3].1), (first, last));
            assert!(spans.windows(2).all(|pair| pair[0].1.wrapping_add(1) == pair[1].0), "{spans:?}");
        }
        assert_eq!(span(31, 0, 0).1, u64::MAX);
    }
}
