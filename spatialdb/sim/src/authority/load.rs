//! How much a partition counts where, and how much there is.

use std::collections::BTreeMap;

use spatialdb_core::CellSize;
use spatialdb_core::authority::issuer::Loads;
use spatialdb_types::{LayerId, Position, SpaceId};

/// Where something is counted: the layer, and the square if it has a position.
pub(super) type Key = (LayerId, Option<(SpaceId, i32, i32)>);

/// The square of a position, after cells were doubled so often.
pub(super) fn square_of(at: Position, cell_m: f64, doublings: u32) -> (SpaceId, i32, i32) {
    let size = CellSize::new(cell_m);
    let number = |v: f64| (i64::from(size.number(v)) >> doublings) as i32;
    (at.space, number(at.point.x), number(at.point.y))
}

/// What is counted, by place. A square that is told twice is there twice as much.
pub(super) fn by_square(loads: Loads) -> BTreeMap<Key, u64> {
    let mut all: BTreeMap<Key, u64> = BTreeMap::new();
    for ((layer, space), squares) in loads.squares {
        for square in squares {
            *all.entry((layer, Some((space, square.x, square.y)))).or_default() += square.load;
        }
    }
    for (layer, load) in loads.nowhere {
        *all.entry((layer, None)).or_default() += load;
    }
    all
}
