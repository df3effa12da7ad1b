//! From lines of JSON to a snapshot.

use std::{io::BufRead, path::Path};

use serde::Deserialize;
use serde_json::Value;
use spatialdb_schema::Schema;

use crate::{
    error::SnapshotError,
    gather::{At, Gather, ImportOptions, ImportStep, Imported},
    header::SpaceEntry,
    json::{
        entity::{Names, read_entity, read_id},
        unique::Unique,
    },
    limits::JSON_LINE_BYTES_MAX,
};

// Some editors put it before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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
/// `Row` with the line, the field and the reason; `Unwritable` and `Io` as
/// [`SortedWriter::finish`](crate::SortedWriter::finish). No file is left then.
pub fn import(
    input: &mut impl BufRead,
    schema: &Schema,
    path: impl AsRef<Path>,
    options: ImportOptions,
    mut progress: impl FnMut(ImportStep),
) -> Result<Imported, SnapshotError> {
    let mut lines = Lines { input, number: 0 };
    let mut gather = Gather::new(options, schema);
    let mut names = Names::new(schema);
    let mut first = true;
    while let Some(text) = lines.next()? {
        progress(ImportStep::Read { bytes: text.len() as u64 + 1 });
        let text = match lines.number {
            1 => text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text),
            _ => &text,
        };
        if text.trim_ascii().is_empty() {
            continue;
        }
        let at = At::line(lines.number);
        let Unique(value) =
            serde_json::from_slice(text).map_err(|error| at.wrong("JSON", json_reason(&error)))?;
        if std::mem::take(&mut first) && value.get("world").is_some() {
            read_header(value, &mut gather, &at)?;
            continue;
        }
        let (id, entity) = read_entity(&value, &mut names, &at)?;
        gather.add(id, entity, at)?;
    }
    gather.finish(path, progress)
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
            return Err(At::line(self.number).wrong("JSON", reason));
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        Ok((read > 0).then_some(line))
    }
}

/// Reads the header line.
fn read_header(value: Value, gather: &mut Gather, at: &At) -> Result<(), SnapshotError> {
    let line: HeaderLine =
        serde_json::from_value(value).map_err(|error| at.wrong("header", error.to_string()))?;
    let mut spaces: Vec<SpaceEntry> =
        line.spaces.into_iter().map(|space| SpaceEntry { id: space.id, name: space.name }).collect();
    spaces.sort_by_key(|space| space.id);
    if let Some(pair) = spaces.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(at.wrong("spaces", format!("space {} is there twice", pair[0].id)));
    }
    gather.header.world = line.world;
    gather.name_spaces(spaces);
    if let Some(value) = line.next_entity_id {
        gather.next_id = gather.next_id.max(read_id(&value, "next_entity_id", at)?);
    }
    Ok(())
}

fn json_reason(error: &serde_json::Error) -> String {
    // Every line is a document of its own, so "line 1" would mislead.
    let text = error.to_string();
    match text.split_once(" at line ") {
        Some((reason, _)) => format!("{reason} at column {}", error.column()),
        None => text,
    }
}
