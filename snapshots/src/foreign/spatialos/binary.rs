//! The binary form: gzip of messages, each behind its length.
//!
//! # Shape
//! An empty message; for each entity `{2: {1: id, 3: {COMPONENT: value, ...}}}`; at the end `{1: 1}`. A value is in
//! the encoding of protobuf, with the field numbers of its `.schema` file.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use serde_json::json;
use spatialdb_schema::Schema;
use spatialdb_types::{ComponentId, EntityId, ID_END, Position};

use super::{
    Counts, METADATA, Mapping, POSITION, mapping_of, position,
    wire::{Field, Fields},
};
use crate::{
    error::SnapshotError,
    foreign::{
        map::MapFile,
        stream::{Counted, Progress},
    },
    gather::{At, Gather, ImportOptions, ImportStep, Imported},
    limits::{ENTITY_BYTES_MAX, POSITION_ABS_M_MAX},
    sorted::Entity,
};

/// Reads a snapshot of SpatialOS and writes it with that schema. Position and Metadata are taken as they are, other
/// components by the mapping; those without are counted.
///
/// # Errors
/// `Row` with the message, the field and the reason; `Map` if the mapping does not fit the schema; `Unwritable` and
/// `Io` as [`SortedWriter::finish`](crate::SortedWriter::finish). No file is left then.
pub fn import_spatialos(
    input: impl Read,
    map: Option<&MapFile>,
    schema: &Schema,
    path: impl AsRef<Path>,
    mut options: ImportOptions,
    mut progress: impl FnMut(ImportStep),
) -> Result<Imported, SnapshotError> {
    let mapping = mapping_of(map, schema)?;
    if let Some(name) = map.and_then(|map| map.keys.world.as_ref()) {
        options.world.clone_from(name);
    }
    let mut gather = Gather::new(options, schema);
    let mut left_out = Counts::default();
    let place = Progress::default();
    let mut messages = Messages {
        input: BufReader::new(MultiGzDecoder::new(Counted::new(input, &place))),
        at: At { unit: "message", number: 0 },
        message: Vec::new(),
    };
    if !messages.next()?.is_empty() {
        return Err(messages.at.wrong("start", "the first message of a SpatialOS snapshot is empty"));
    }
    loop {
        messages.next()?;
        let at = messages.at;
        let wrong = |reason| at.wrong("message", reason);
        let mut entity = None;
        let mut is_end = false;
        for field in Fields(&messages.message) {
            match field.map_err(wrong)? {
                (2, Field::Bytes(bytes)) => entity = Some(bytes),
                (1, Field::Varint(1)) => is_end = true,
                (number, _) => return Err(at.wrong(format!("field {number}"), "there is no such field")),
            }
        }
        match (entity, is_end) {
            (Some(bytes), false) => {
                let (id, entity) = read_entity(bytes, &mapping, schema, at, &mut left_out)?;
                gather.add(Some(id), entity, at)?;
            }
            (None, true) => {
                messages.end()?;
                break;
            }
            _ => return Err(at.wrong("message", "an entity or the end is expected")),
        }
        progress(ImportStep::Read { bytes: place.more_bytes() });
    }
    let imported = gather.finish(path, progress)?;
    Ok(Imported { left_out: left_out.list(), ..imported })
}

fn read_entity(
    bytes: &[u8],
    mapping: &Mapping,
    schema: &Schema,
    at: At,
    left_out: &mut Counts,
) -> Result<(u64, Entity), SnapshotError> {
    let (mut id, mut components) = (0, Vec::new());
    for field in Fields(bytes) {
        match field.map_err(|reason| at.wrong("entity", reason))? {
            (1, Field::Varint(number)) => id = number,
            (3, Field::Bytes(bytes)) => components.push(bytes),
            _ => {}
        }
    }
    if !(1..ID_END).contains(&id) {
        return Err(at.wrong("id", format!("a number from 1 to 2^53 - 1 is expected, found {id}")));
    }
    let mut entity = Entity { id: EntityId(id), position: None, values: Vec::new() };
    for field in components.into_iter().flat_map(Fields) {
        let (number, value) = field.map_err(|reason| at.wrong(format!("entity {id}"), reason))?;
        let name = format!("entity {id}: component {}", mapping.name_of(number));
        let Field::Bytes(value) = value else {
            return Err(at.wrong(name, "a message is expected"));
        };
        if number == POSITION.0 {
            entity.position = Some(read_position(value).map_err(|reason| at.wrong(name, reason))?);
            continue;
        }
        let taken = match mapping.by_id.get(&number) {
            Some(component) => {
                let checked = component.check(value).map(|_| (component.id(), value.to_vec()));
                Some(checked.map_err(|error| {
                    at.wrong(format!("{name} as {}.{}", component.name(), error.field), error.detail)
                })?)
            }
            None if number == METADATA.0 => {
                Some(read_metadata(value, schema).map_err(|reason| at.wrong(&name, reason))?)
            }
            None => None,
        };
        match taken {
            Some((component, _)) if entity.values.iter().any(|(id, _)| *id == component) => {
                return Err(at.wrong(name, "the component is there twice"));
            }
            Some(value) => entity.values.push(value),
            None => left_out.add(mapping.name_of(number)),
        }
    }
    Ok((id, entity))
}

// Position{1: Coordinates{1: x, 2: y, 3: z}}; what is not there is 0.
fn read_position(bytes: &[u8]) -> Result<Position, String> {
    let mut axes = [0.0; 3];
    for field in Fields(bytes) {
        let (1, Field::Bytes(coordinates)) = field? else { continue };
        for field in Fields(coordinates) {
            if let (number @ 1..=3, Field::Fixed64(bytes)) = field? {
                axes[number as usize - 1] = f64::from_le_bytes(bytes);
            }
        }
    }
    let [x, y, z] = axes;
    match axes.into_iter().find(|axis| axis.is_nan() || axis.abs() > POSITION_ABS_M_MAX) {
        Some(axis) => Err(format!("metres within +-{POSITION_ABS_M_MAX} are expected, found {axis}")),
        None => Ok(position(x, y, z)),
    }
}

// Metadata{1: entity_type}: ours has a type and a name.
fn read_metadata(bytes: &[u8], schema: &Schema) -> Result<(ComponentId, Vec<u8>), String> {
    let mut kind = "";
    for field in Fields(bytes) {
        if let (1, Field::Bytes(bytes)) = field? {
            kind = std::str::from_utf8(bytes).map_err(|_| "entity_type is not UTF-8".to_owned())?;
        }
    }
    let component = schema.component_named("spatialdb.v1.Metadata").map_err(|error| error.detail)?;
    let value = component.from_json(&json!({ "type": kind })).map_err(|error| error.detail)?;
    Ok((component.id(), value))
}

struct Messages<R> {
    input: R,
    at: At,
    message: Vec<u8>,
}

impl<R: BufRead> Messages<R> {
    /// The next message, which must be there.
    fn next(&mut self) -> Result<&[u8], SnapshotError> {
        self.at.number += 1;
        let length = self.length()?;
        if length > u64::from(ENTITY_BYTES_MAX) {
            let reason = format!("{length} bytes are more than {ENTITY_BYTES_MAX}");
            return Err(self.at.wrong("length", reason));
        }
        self.message.clear();
        let read = Read::take(&mut self.input, length).read_to_end(&mut self.message);
        let read = read.map_err(|error| self.damaged(&error))?;
        if (read as u64) < length {
            return Err(self.at.wrong("message", format!("cut off: {read} of {length} bytes are there")));
        }
        Ok(&self.message)
    }

    /// Makes sure that nothing follows. Only then has the checksum of gzip been compared.
    fn end(&mut self) -> Result<(), SnapshotError> {
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.at.wrong("end", "something follows the last message")),
            Err(error) => Err(self.damaged(&error)),
        }
    }

    fn length(&mut self) -> Result<u64, SnapshotError> {
        let mut length = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            match self.input.read(&mut byte) {
                Ok(0) => {
                    let reason =
                        "the file is cut off: its last message, which says that it is whole, is missing";
                    return Err(self.at.wrong("length", reason));
                }
                Ok(_) => {}
                Err(error) => return Err(self.damaged(&error)),
            }
            length |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(length);
            }
        }
        Err(self.at.wrong("length", "a number is longer than 10 bytes"))
    }

    fn damaged(&self, error: &std::io::Error) -> SnapshotError {
        self.at.wrong("gzip", error.to_string())
    }
}
