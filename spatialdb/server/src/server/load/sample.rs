//! A sample of positions, to cut the world by.

use spatialdb_snapshots::{Reader, SnapshotError};
use spatialdb_types::{Position, SpaceId};

/// Blocks to look into, spread over the file.
const BLOCKS: usize = 24;

/// Positions to take, about.
const POSITIONS: usize = 100_000;

/// How many entities a cell should hold, about.
const ENTITIES_A_CELL: f64 = 16.0;

/// With more others in its cell, on the average, an entity stands in a crowd: cells are to be smaller. An even world never has
/// so many.
const CROWD_MAX: f64 = 80.0;

/// So much smaller than in an even world they are at the least.
const SHRINK_MAX: f64 = 64.0;

/// Without entities: a cell of about a kilometre.
const CELL_M_DEFAULT: f64 = 1024.0;

/// Positions spread over the file.
pub(super) fn sample(reader: &Reader) -> Result<Vec<Position>, SnapshotError> {
    let count = reader.blocks().len();
    let step = count.div_ceil(BLOCKS).max(1);
    let mut sample = Vec::new();
    for index in (0..count).step_by(step) {
        let block = reader.read_block(index)?;
        let positions = block.positions.rows.len();
        let stride = (positions * count.min(BLOCKS) / POSITIONS).max(1);
        sample.extend((0..positions).step_by(stride).map(|i| block.positions.get(i)));
    }
    Ok(sample)
}

/// For a world without positions: a square around the origin of space 0, so that every partition gets a part.
pub(super) fn around_origin(cell_m: f64) -> Vec<Position> {
    let at = |i: i32| (f64::from(i) + 0.5) * cell_m;
    (-32..32).flat_map(|y| (-32..32).map(move |x| Position::new(SpaceId(0), at(x), at(y), 0.0))).collect()
}

/// A side that puts a handful of entities in a cell: the area that the sample covers, shared evenly; less where they stand
/// together. A power of two.
pub(super) fn cell_m(sample: &[Position], entities: u64) -> f64 {
    let span = |on: fn(&Position) -> f64| {
        let (min, max) = sample
            .iter()
            .map(on)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), v| (min.min(v), max.max(v)));
        (max - min).max(1.0)
    };
    if sample.is_empty() {
        return CELL_M_DEFAULT;
    }
    let area = span(|p| p.point.x) * span(|p| p.point.y);
    let side = (area * ENTITIES_A_CELL / entities.max(1) as f64).sqrt();
    let mut side = side.clamp(1.0, 1e8).log2().ceil().exp2();
    let smallest = (side / SHRINK_MAX).max(1.0);
    while side > smallest && crowd(sample, side, entities) > CROWD_MAX {
        side /= 2.0;
    }
    side
}

/// How many others an entity has in its cell, on the average over entities.
fn crowd(sample: &[Position], side: f64, entities: u64) -> f64 {
    let cell =
        |at: &Position| (at.space, (at.point.x / side).floor() as i64, (at.point.y / side).floor() as i64);
    let mut cells: Vec<_> = sample.iter().map(cell).collect();
    cells.sort_unstable();
    let others: usize = cells.chunk_by(|a, b| a == b).map(|all| all.len() * (all.len() - 1)).sum();
    let count = sample.len() as f64;
    others as f64 / count * (entities as f64 / count).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_holds_a_handful() {
        let at =
            |i: u32| Position::new(SpaceId(0), f64::from(i % 100) * 10.0, f64::from(i / 100) * 10.0, 0.0);
        let sample: Vec<_> = (0..10_000).map(at).collect();
        let side = cell_m(&sample, 10_000);
        let held = side * side / 100.0;
        assert!((8.0..=64.0).contains(&held), "side {side} holds {held}");
        assert_eq!(cell_m(&[], 0), CELL_M_DEFAULT);
        // The same, and a tenth of them in a hundred towns: of these cells are to hold fewer.
        let town = |i: u32| {
            let (town, house) = (f64::from(i % 100), f64::from(i / 100));
            Position::new(SpaceId(0), (town % 10.0) * 100_000.0 + house, town * 10_000.0, 0.0)
        };
        let towns: Vec<_> = (0..100_000).map(town).collect();
        let even = (1e6_f64 * 1e6 * ENTITIES_A_CELL / 1e5).sqrt();
        assert!(cell_m(&towns, 100_000) <= even / 8.0, "{} of {even}", cell_m(&towns, 100_000));
        assert!(cell_m(&sample[..1], 1) >= 1.0);
    }
}
