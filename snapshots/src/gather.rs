//! Entities on their way into a new snapshot, from whatever text they were read.
//!
//! Responsible for: ids that are there twice, ids for entities that have none, spaces that nobody named.
//! Not responsible for: reading (`json`, `foreign`), the order in the file (`sorted`).

use std::{collections::BTreeMap, path::Path};

use spatialdb_schema::Schema;
use spatialdb_types::{EntityId, ID_END};

use crate::{
    error::SnapshotError,
    header::{Header, SpaceEntry},
    json::POSITION_NAME,
    sorted::{Entity, SortedWriter},
    writer::{Summary, WriterOptions},
};

/// How to read a text and write the snapshot.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The world's name if the text gives none.
    pub world: String,
    /// How to write.
    pub writer: WriterOptions,
}

/// What was read and written.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The file.
    pub summary: Summary,
    /// Entities that had no id and were given one.
    pub ids_given: u64,
    /// What the text has and the snapshot does not, because nothing says where it belongs.
    pub left_out: Vec<LeftOut>,
}

/// A kind of component that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// What the text calls it.
    pub name: String,
    /// How many entities have it.
    pub count: u64,
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportStep {
    /// So many more bytes have been read.
    Read {
        /// Of the file as it is on disk.
        bytes: u64,
    },
    /// One more entity has been written.
    Write {
        /// How many there are in all.
        of: u64,
    },
}

/// Where in a text an entity stands, for errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) unit: &'static str,
    pub(crate) number: u64,
}

impl At {
    pub(crate) fn line(number: u64) -> Self {
        Self { unit: "line", number }
    }

    pub(crate) fn wrong(&self, field: impl Into<String>, reason: impl Into<String>) -> SnapshotError {
        SnapshotError::Row {
            unit: self.unit,
            number: self.number,
            field: field.into(),
            reason: reason.into(),
        }
    }
}

/// The entities read so far. Each is held once.
pub(crate) struct Gather {
    pub(crate) header: Header,
    pub(crate) next_id: u64,
    options: WriterOptions,
    // Whether the text said which spaces there are.
    spaces_named: bool,
    entities: Vec<Entity>,
    // Where each id was seen.
    seen: BTreeMap<u64, u64>,
    without_id: Vec<(usize, At)>,
}

impl Gather {
    pub(crate) fn new(options: ImportOptions, schema: &Schema) -> Self {
        Self {
            header: Header::new(options.world, Vec::new(), schema),
            next_id: options.writer.next_entity_id,
            options: options.writer,
            spaces_named: false,
            entities: Vec::new(),
            seen: BTreeMap::new(),
            without_id: Vec::new(),
        }
    }

    /// What the text says of its spaces; none leaves them to be found.
    pub(crate) fn name_spaces(&mut self, mut spaces: Vec<SpaceEntry>) {
        spaces.sort_by_key(|space| space.id);
        self.spaces_named = !spaces.is_empty();
        self.header.spaces = spaces;
    }

    /// Takes an entity; the id in it counts only if `id` says so.
    pub(crate) fn add(&mut self, id: Option<u64>, mut entity: Entity, at: At) -> Result<(), SnapshotError> {
        let space = entity.position.map(|position| position.space.0);
        if let Some(space) = space.filter(|space| !self.header.has_space(*space)) {
            if self.spaces_named {
                let reason = format!("space {space} is not one of the header's");
                return Err(at.wrong(format!("components.{POSITION_NAME}.space"), reason));
            }
            self.add_space(space);
        }
        match id {
            Some(id) => {
                if let Some(first) = self.seen.insert(id, at.number) {
                    let reason = format!("entity {id} is on {} {first} already", at.unit);
                    return Err(at.wrong("id", reason));
                }
                entity.id = EntityId(id);
                self.next_id = self.next_id.max(id + 1);
            }
            None => self.without_id.push((self.entities.len(), at)),
        }
        self.entities.push(entity);
        Ok(())
    }

    /// Gives the missing ids, after the largest and in the order of the text, and writes the snapshot.
    pub(crate) fn finish(
        mut self,
        path: impl AsRef<Path>,
        mut progress: impl FnMut(ImportStep),
    ) -> Result<Imported, SnapshotError> {
        let ids_given = self.without_id.len() as u64;
        for (index, at) in std::mem::take(&mut self.without_id) {
            if self.next_id >= ID_END {
                return Err(at.wrong("id", "no ids are left below 2^53"));
            }
            self.entities[index].id = EntityId(self.next_id);
            self.next_id += 1;
        }
        if self.header.spaces.is_empty() {
            self.add_space(0);
        }
        let of = self.entities.len() as u64;
        let options = WriterOptions { next_entity_id: self.next_id, ..self.options };
        let writer = SortedWriter::create_with(path, self.header, options, self.entities)?;
        let summary = writer.finish(|| progress(ImportStep::Write { of }))?;
        Ok(Imported { summary, ids_given, left_out: Vec::new() })
    }

    fn add_space(&mut self, id: u32) {
        self.header.spaces.push(SpaceEntry { id, name: format!("space{id}") });
        self.header.spaces.sort_by_key(|space| space.id);
    }
}
