//! How many entities there are where, as a view of densities shows it.
//!
//! Responsible for: taking columns of squares in, reading them.
//! Not responsible for: which views there are (`session.rs`).

use std::collections::BTreeMap;

use crate::v1;

/// One square of a view of densities: from `(x, y)` times `square_m` to `(x + 1, y + 1)` times `square_m`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Square {
    /// The `Metadata.type` that is counted if the view counts each apart; empty otherwise, and for entities without.
    pub r#type: String,
    /// The number of the square from west to east.
    pub x: i32,
    /// The number of the square from south to north.
    pub y: i32,
}

/// The counts of one view: squares without entities are not in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DensityMap {
    square_m: f64,
    counts: BTreeMap<Square, u64>,
}

impl DensityMap {
    /// The side of a square in metres.
    pub fn square_m(&self) -> f64 {
        self.square_m
    }

    /// How many entities are in the square now.
    pub fn count(&self, square: &Square) -> u64 {
        self.counts.get(square).copied().unwrap_or(0)
    }

    /// How many entities there are in all squares.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Every square that has entities, by type, x and y.
    pub fn iter(&self) -> impl Iterator<Item = (&Square, u64)> {
        self.counts.iter().map(|(square, count)| (square, *count))
    }

    /// Takes a column in; gives its squares, or `None` if its arrays have different lengths. Squares of another size
    /// replace all.
    pub(super) fn apply(&mut self, column: &v1::DensityColumn) -> Option<Vec<Square>> {
        if column.x.len() != column.y.len() || column.x.len() != column.counts.len() {
            return None;
        }
        if self.square_m != column.square_m {
            *self = Self { square_m: column.square_m, counts: BTreeMap::new() };
        }
        let places = column.x.iter().zip(&column.y);
        let squares: Vec<_> =
            places.map(|(x, y)| Square { r#type: column.r#type.clone(), x: *x, y: *y }).collect();
        for (square, count) in squares.iter().zip(&column.counts) {
            match count {
                0 => self.counts.remove(square),
                count => self.counts.insert(square.clone(), *count),
            };
        }
        Some(squares)
    }
}
