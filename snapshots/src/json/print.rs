//! From a snapshot to lines of JSON.

use std::io::{self, Write};

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use spatialdb_schema::Schema;
use spatialdb_types::Position;

use crate::{
    block::EntityRow,
    error::{Part, SnapshotError},
    json::POSITION_NAME,
    reader::Reader,
    verify::{check_values, unknown_component},
};

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Entities, a line each.
    pub entity_count: u64,
    /// Fields that the schema does not know and JSON therefore does not have.
    pub fields_lost: u64,
}

/// Writes a snapshot as lines of JSON, the header first, entities in the order of the file. `progress` is told the
/// entities of each block.
///
/// # Errors
/// As reading; `Payload` if a value does not fit the schema; `Io` for `out`.
pub fn export(
    reader: &Reader,
    out: &mut impl Write,
    mut progress: impl FnMut(u64),
) -> Result<Exported, SnapshotError> {
    let schema = reader.schema()?;
    let mut exported = Exported { entity_count: 0, fields_lost: 0 };
    write_line(out, &header_line(reader))?;
    for index in 0..reader.blocks().len() {
        let (block, part) = (reader.read_block(index)?, reader.part(index));
        exported.fields_lost += check_values(&block, &schema, part)?;
        for row in block.iter() {
            write_line(out, &entity_line(&row, &schema, part)?)?;
            exported.entity_count += 1;
        }
        progress(block.entities.len() as u64);
    }
    out.flush().map_err(output_error)?;
    Ok(exported)
}

/// The first line. Fields are printed in this order.
#[derive(Serialize)]
struct HeaderLine<'a> {
    world: &'a str,
    spaces: Vec<SpaceLine<'a>>,
    next_entity_id: String,
}

#[derive(Serialize)]
struct SpaceLine<'a> {
    id: u32,
    name: &'a str,
}

/// Every other line.
#[derive(Serialize)]
struct EntityLine<'a> {
    id: String,
    components: Components<'a>,
}

/// Values by name, in the order of component ids.
struct Components<'a>(Vec<(&'a str, Value)>);

impl Serialize for Components<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

fn header_line(reader: &Reader) -> HeaderLine<'_> {
    let header = reader.header();
    let spaces = header.spaces.iter().map(|space| SpaceLine { id: space.id, name: &space.name }).collect();
    HeaderLine { world: &header.world, spaces, next_entity_id: reader.totals().next_entity_id.to_string() }
}

fn entity_line<'a>(
    row: &EntityRow<'_>,
    schema: &'a Schema,
    part: Part,
) -> Result<EntityLine<'a>, SnapshotError> {
    let mut components = Vec::with_capacity(row.values.len() + 1);
    if let Some(position) = row.position {
        components.push((POSITION_NAME, position_value(position)));
    }
    for (id, bytes) in &row.values {
        let component = schema.component(*id).ok_or_else(|| unknown_component(part, row.id.0, *id))?;
        let value =
            component.to_json(bytes).map_err(|error| SnapshotError::payload(part, row.id.0, error))?;
        components.push((component.name(), value));
    }
    Ok(EntityLine { id: row.id.0.to_string(), components: Components(components) })
}

/// A position in JSON, every coordinate named.
pub(crate) fn position_value(at: Position) -> Value {
    json!({"space": at.space.0, "x": at.point.x, "y": at.point.y, "z": at.point.z})
}

fn write_line(out: &mut impl Write, value: &impl Serialize) -> Result<(), SnapshotError> {
    serde_json::to_writer(&mut *out, value).map_err(|error| output_error(error.into()))?;
    out.write_all(b"\n").map_err(output_error)
}

fn output_error(source: io::Error) -> SnapshotError {
    SnapshotError::Io { action: "write", path: "the JSON lines".into(), source }
}
