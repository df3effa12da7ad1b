//! Where entities go. Each move is a metre up, so that the height counts moves; nothing but that and the entity decides the rest,
//! so that whoever gets the entity goes on with it.

use std::f64::consts::TAU;

use spatialdb_types::Point3;

/// So many moves east, then as many west.
const STROLL_MOVES: u64 = 100;

/// In a crowd each goes round in a circle so large, metres.
const CIRCLE_M: f64 = 10.0;

/// And so many moves are once round.
const CIRCLE_MOVES: u64 = 100;

/// How entities walk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::bench) enum Gait {
    /// A metre east at a time for a while, then back.
    Stroll,
    /// To a crowd, and about in it.
    Crowd {
        /// The corner of its square, metres.
        corner: [f64; 2],
        /// The side of that, metres.
        side_m: f64,
        /// How far an entity comes with one move, metres.
        step_m: f64,
    },
}

impl Gait {
    /// Where an entity goes from there.
    pub(super) fn next(self, entity: u64, at: Point3) -> Point3 {
        let (x, y) = match self {
            Self::Stroll if (moves(at.z) / STROLL_MOVES).is_multiple_of(2) => (at.x + 1.0, at.y),
            Self::Stroll => (at.x - 1.0, at.y),
            Self::Crowd { corner, side_m, step_m } => {
                let share = |salt: u64| (entity.wrapping_mul(salt) >> 40) as f64 / f64::from(1 << 24);
                let round = ((moves(at.z) + entity) % CIRCLE_MOVES) as f64 / CIRCLE_MOVES as f64;
                let (sin, cos) = (round * TAU).sin_cos();
                let x = corner[0] + share(0x9E37_79B9_7F4A_7C15) * side_m + cos * CIRCLE_M;
                let y = corner[1] + share(0xC2B2_AE3D_27D4_EB4F) * side_m + sin * CIRCLE_M;
                let (dx, dy) = (x - at.x, y - at.y);
                let part = (step_m / dx.hypot(dy)).min(1.0);
                (at.x + dx * part, at.y + dy * part)
            }
        };
        Point3::new(x, y, at.z + 1.0)
    }
}

/// How often an entity at that height was moved, in a world that was flat.
pub(in crate::bench) fn moves(height: f64) -> u64 {
    height.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_gathers_and_stays() {
        let crowd = Gait::Crowd { corner: [500.0, 100.0], side_m: 50.0, step_m: 5.0 };
        for entity in 1..50 {
            let mut at = Point3::new(0.0, 0.0, 0.0);
            for step in 0..400 {
                let to = crowd.next(entity, at);
                assert!((to.x - at.x).hypot(to.y - at.y) < 5.001 && moves(to.z) == step + 1);
                at = to;
            }
            let is_in = |v: f64, from: f64| v > from - 10.1 && v < from + 60.1;
            assert!(is_in(at.x, 500.0) && is_in(at.y, 100.0), "{at:?}");
        }
    }
}
