//! Images as bytes.

use spatialdb_types::{EntityId, Revision};

use super::{Form, StoredValue, VERSION};
use crate::Micros;

/// Writes a record, image by image, without an allocation for each.
#[derive(Debug, Default)]
pub struct LogWriter {
    bytes: Vec<u8>,
    /// Where the number of values of the last image stands.
    count_at: usize,
}

impl LogWriter {
    /// A record without images: of a partition with that revision counter, at that time of the world.
    pub fn new(clock: Revision, now: Micros) -> Self {
        let mut bytes = Vec::with_capacity(1 << 12);
        bytes.push(VERSION);
        bytes.extend(clock.0.to_le_bytes());
        bytes.extend(now.to_le_bytes());
        Self { bytes, count_at: 0 }
    }

    /// Begins an image. What follows by [`LogWriter::value`] is of it.
    pub fn image(&mut self, entity: EntityId, form: Form) {
        let (number, as_of) = match form {
            Form::Whole(as_of) => (1, as_of),
            Form::Part => (2, Revision(0)),
            Form::Absent(as_of) => (3, as_of),
            Form::Gone => (4, Revision(0)),
        };
        self.bytes.extend(entity.0.to_le_bytes());
        self.bytes.push(number);
        self.bytes.extend(as_of.0.to_le_bytes());
        self.count_at = self.bytes.len();
        self.bytes.extend(0_u16.to_le_bytes());
    }

    /// Adds a value to the last image. Components come by rising id.
    ///
    /// # Panics
    /// There is no image, or it has 65,535 values already.
    pub fn value(&mut self, value: &StoredValue<'_>) {
        let count = self.bytes[self.count_at..].first_chunk().copied().expect("an image was begun");
        let count = u16::from_le_bytes(count).checked_add(1).expect("an entity has fewer components");
        self.bytes[self.count_at..self.count_at + 2].copy_from_slice(&count.to_le_bytes());
        self.bytes.extend(value.component.0.to_le_bytes());
        self.bytes.extend(value.revision.0.to_le_bytes());
        self.bytes.extend(value.writer.0.to_le_bytes());
        self.bytes.extend(value.epoch.0.to_le_bytes());
        self.bytes.extend((value.bytes.len() as u32).to_le_bytes());
        self.bytes.extend(value.bytes);
    }

    /// How long the record is so far.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no image.
    pub const fn is_empty(&self) -> bool {
        self.count_at == 0
    }

    /// The body of the record.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
