//! From lines of JSON to a snapshot.

use std::{collections::BTreeMap, io::BufRead, path::Path};

use serde::Deserialize;
use serde_json::Value;
use spatialdb_schema::Schema;
use spatialdb_types::{EntityId, ID_END};

use crate::{
    error::SnapshotError,
    header::{Header, SpaceEntry},
    json::{
        POSITION_NAME,
        entity::{At, Names, read_entity, read_id},
    },
    limits::JSON_LINE_BYTES_MAX,
    sorted::SortedWriter,
    writer::{Summary, WriterOptions},
};

/// How to read lines and write the snapshot.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The world's name if the lines have no header.
    pub world: String,
    /// How to write.
    pub writer: WriterOptions,
}

/// What was read and written.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The file.
    pub summary: Summary,
    /// Entities whose lines had no id and that were given one.
    pub ids_given: u64,
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportStep {
    /// A line of so many bytes has been read.
    Read {
        /// Its end included.
        bytes: u64,
    },
    /// One more entity has been written.
    Write {
        /// How many there are in all.
        of: u64,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine {
    world: String,
    #[serde(default)]
    spaces: Vec<SpaceLine>,
    next_entity_id: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpaceLine {
    id: u32,
    name: String,
}

/// Reads lines of JSON and writes them as a snapshot with that schema, in spatial order. Entities without an id get
/// the ones after the largest, in the order of their lines.
///
/// # Errors
/// `Json` with the line, the field and the reason; `Unwritable` and `Io` as [`SortedWriter::finish`]. No file is
/// left then.
pub fn import(
    input: &mut impl BufRead,
    schema: &Schema,
    path: impl AsRef<Path>,
    options: ImportOptions,
    mut progress: impl FnMut(ImportStep),
) -> Result<Imported, SnapshotError> {
    let mut lines = Lines { input, number: 0 };
    let mut header = Header::new(options.world, Vec::new(), schema);
    let mut next_id = options.writer.next_entity_id;
    let mut seen = BTreeMap::new();
    let (mut entities, mut without_id) = (Vec::new(), Vec::new());
    let mut names = Names::new(schema);
    let mut spaces_named = false;
    let mut first = true;
    while let Some(text) = lines.next()? {
        progress(ImportStep::Read { bytes: text.len() as u64 + 1 });
        if text.trim_ascii().is_empty() {
            continue;
        }
        let at = At { line: lines.number };
        let value: Value =
            serde_json::from_slice(&text).map_err(|error| at.wrong("JSON", json_reason(&error)))?;
        if std::mem::take(&mut first) && value.get("world").is_some() {
            next_id = next_id.max(read_header(value, &mut header, &at)?);
            spaces_named = !header.spaces.is_empty();
            continue;
        }
        let (id, entity) = read_entity(&value, &mut names, &at)?;
        let space = entity.position.map(|position| position.space.0);
        if let Some(space) = space.filter(|space| !header.has_space(*space)) {
            if spaces_named {
                let reason = format!("space {space} is not one of the header's");
                return Err(at.wrong(format!("components.{POSITION_NAME}.space"), reason));
            }
            add_space(&mut header, space);
        }
        match id {
            Some(id) => {
                if let Some(line) = seen.insert(id, at.line) {
                    return Err(at.wrong("id", format!("entity {id} is on line {line} already")));
                }
                next_id = next_id.max(id + 1);
                entities.push(entity);
            }
            None => without_id.push((at.line, entity)),
        }
    }
    let ids_given = without_id.len() as u64;
    for (line, mut entity) in without_id {
        if next_id >= ID_END {
            return Err(At { line }.wrong("id", "no ids are left below 2^53".to_owned()));
        }
        entity.id = EntityId(next_id);
        next_id += 1;
        entities.push(entity);
    }
    if header.spaces.is_empty() {
        add_space(&mut header, 0);
    }
    let writer_options = WriterOptions { next_entity_id: next_id, ..options.writer };
    let mut writer = SortedWriter::create(path, header, writer_options)?;
    let of = entities.len() as u64;
    entities.into_iter().for_each(|entity| writer.push(entity));
    Ok(Imported { summary: writer.finish(|| progress(ImportStep::Write { of }))?, ids_given })
}

/// A space that positions use and no header names.
fn add_space(header: &mut Header, id: u32) {
    header.spaces.push(SpaceEntry { id, name: format!("space{id}") });
    header.spaces.sort_by_key(|space| space.id);
}

struct Lines<'a, R> {
    input: &'a mut R,
    number: u64,
}

impl<R: BufRead> Lines<'_, R> {
    /// The next line without its end; `None` after the last.
    fn next(&mut self) -> Result<Option<Vec<u8>>, SnapshotError> {
        self.number += 1;
        let mut line = Vec::new();
        // One byte more than allowed shows that a line is too long without reading the rest.
        let mut limited = std::io::Read::take(&mut *self.input, JSON_LINE_BYTES_MAX + 1);
        let read = limited.read_until(b'\n', &mut line).map_err(|source| SnapshotError::Io {
            action: "read",
            path: "the JSON lines".into(),
            source,
        })?;
        if read as u64 > JSON_LINE_BYTES_MAX {
            let reason = format!("the line is longer than {JSON_LINE_BYTES_MAX} bytes");
            return Err(At { line: self.number }.wrong("JSON", reason));
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        Ok((read > 0).then_some(line))
    }
}

/// Reads the header line into `header` and says which id comes next, at least 1.
fn read_header(value: Value, header: &mut Header, at: &At) -> Result<u64, SnapshotError> {
    let line: HeaderLine =
        serde_json::from_value(value).map_err(|error| at.wrong("header", error.to_string()))?;
    let mut spaces: Vec<SpaceEntry> =
        line.spaces.into_iter().map(|space| SpaceEntry { id: space.id, name: space.name }).collect();
    spaces.sort_by_key(|space| space.id);
    if let Some(pair) = spaces.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(at.wrong("spaces", format!("space {} is there twice", pair[0].id)));
    }
    header.world = line.world;
    header.spaces = spaces;
    line.next_entity_id.map_or(Ok(1), |value| read_id(&value, "next_entity_id", at))
}

fn json_reason(error: &serde_json::Error) -> String {
    // Every line is a document of its own, so "line 1" would mislead.
    let text = error.to_string();
    match text.split_once(" at line ") {
        Some((reason, _)) => format!("{reason} at column {}", error.column()),
        None => text,
    }
}
