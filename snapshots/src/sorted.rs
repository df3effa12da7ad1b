//! Buffers a world and writes it in spatial order.

use std::path::Path;

use spatialdb_types::{ComponentId, EntityId, Position};

use crate::{
    error::SnapshotError,
    header::Header,
    writer::{Summary, Writer, WriterOptions},
};

/// An entity with its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity<B = Vec<u8>> {
    /// Its id.
    pub id: EntityId,
    /// Where it is, if anywhere.
    pub position: Option<Position>,
    /// Serialised values of its other components.
    pub values: Vec<(ComponentId, B)>,
}

/// A snapshot being collected: takes entities in any order and writes them at the end by space and along a Hilbert
/// curve over x and y, those without a position last. Holds all of them in memory meanwhile.
pub struct SortedWriter<B = Vec<u8>> {
    writer: Writer,
    entities: Vec<Entity<B>>,
}

impl<B: AsRef<[u8]>> SortedWriter<B> {
    /// Starts a file beside `path`.
    ///
    /// # Errors
    /// As [`Writer::create`].
    pub fn create(
        path: impl AsRef<Path>,
        header: Header,
        options: WriterOptions,
    ) -> Result<Self, SnapshotError> {
        Self::create_with(path, header, options, Vec::new())
    }

    /// As [`Self::create`], with entities that are there already.
    pub(crate) fn create_with(
        path: impl AsRef<Path>,
        header: Header,
        options: WriterOptions,
        entities: Vec<Entity<B>>,
    ) -> Result<Self, SnapshotError> {
        Ok(Self { writer: Writer::create(path, header, options)?, entities })
    }

    /// Adds an entity. Rules of the format are checked by [`Self::finish`].
    pub fn push(&mut self, entity: Entity<B>) {
        self.entities.push(entity);
    }

    /// Sorts, writes and ends the file. `progress` is called after each entity.
    ///
    /// # Errors
    /// `Unwritable` if two entities have one id or one breaks a rule of the format; as [`Writer::finish`].
    pub fn finish(mut self, mut progress: impl FnMut()) -> Result<Summary, SnapshotError> {
        let mut ids: Vec<u64> = self.entities.iter().map(|entity| entity.id.0).collect();
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            let subject = format!("entity {}", pair[0]);
            return Err(SnapshotError::unwritable(subject, "the id is there twice"));
        }
        let extent = Extent::of(self.entities.iter().filter_map(|entity| entity.position));
        self.entities.sort_by_cached_key(|entity| match entity.position {
            Some(at) => (0, at.space.0, extent.along_curve(at), entity.id.0),
            None => (1, 0, 0, entity.id.0),
        });
        for entity in &self.entities {
            let values = entity.values.iter().map(|(component, bytes)| (*component, bytes.as_ref()));
            self.writer.push(entity.id, entity.position, values)?;
            progress();
        }
        self.writer.finish()
    }
}

/// The square that the curve fills.
struct Extent {
    x: f64,
    y: f64,
    side_m: f64,
}

impl Extent {
    fn of(positions: impl Iterator<Item = Position>) -> Self {
        let mut low = [f64::INFINITY; 2];
        let mut high = [f64::NEG_INFINITY; 2];
        for p in positions.map(|position| position.point) {
            low = [low[0].min(p.x), low[1].min(p.y)];
            high = [high[0].max(p.x), high[1].max(p.y)];
        }
        let side_m = (high[0] - low[0]).max(high[1] - low[1]).max(f64::MIN_POSITIVE);
        Self { x: low[0], y: low[1], side_m }
    }

    /// How far along the curve a position is.
    fn along_curve(&self, at: Position) -> u64 {
        let cell = |from: f64, value: f64| ((value - from) / self.side_m * f64::from(u32::MAX)) as u32;
        hilbert(cell(self.x, at.point.x), cell(self.y, at.point.y))
    }
}

/// The distance along the Hilbert curve of a grid of 2^32 by 2^32.
///
/// # Source
/// Warren, *Hacker's Delight*, chapter 16: rotate the quadrant at each level, from the highest bit down.
fn hilbert(mut x: u32, mut y: u32) -> u64 {
    let mut distance = 0_u64;
    for bit in (0..32).rev() {
        let (right, upper) = ((x >> bit) & 1, (y >> bit) & 1);
        distance = distance << 2 | u64::from((3 * right) ^ upper);
        if upper == 0 {
            if right == 1 {
                (x, y) = (!x, !y);
            }
            (x, y) = (y, x);
        }
    }
    distance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_goes_from_neighbour_to_neighbour() {
        let mut cells: Vec<(u64, u32, u32)> =
            (0..32).flat_map(|x| (0..32).map(move |y| (hilbert(x, y), x, y))).collect();
        cells.sort_unstable();
        for pair in cells.windows(2) {
            let ((a, ax, ay), (b, bx, by)) = (pair[0], pair[1]);
            assert_eq!(b, a + 1, "no two cells share a place and none is left out");
            assert_eq!(ax.abs_diff(bx) + ay.abs_diff(by), 1, "{a}");
        }
    }
}
