//! Results on stdout: tables for people, one JSON object a line for scripts.

use std::io::{self, BufWriter, StdoutLock, Write};

use prost::Message;
use serde_json::{Map, Value, json};
use spatialdb_proto::v1;
use spatialdb_schema::Schema;
use spatialdb_types::{ComponentId, EventId};

/// stdout, buffered.
pub(super) fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

/// A text of the world's as part of a line: what would end the line, or speak to the terminal, is escaped.
pub(super) fn plain(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// Writes a table whose columns are as wide as they need be; numbers stand right.
///
/// # Shape
/// Every row is as long as `header`.
///
/// # Errors
/// stdout is gone.
pub(super) fn table(mut out: impl Write, header: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let mut widths: Vec<usize> = header.iter().map(|name| name.chars().count()).collect();
    let mut right = vec![!rows.is_empty(); header.len()];
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            widths[column] = widths[column].max(cell.chars().count());
            right[column] &= cell.is_empty() || cell.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (column, cell) in cells.enumerate() {
            let width = widths[column];
            line += &if right[column] { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
        }
        line.trim_end().to_owned()
    };
    writeln!(out, "{}", line(&mut header.iter().copied()))?;
    for row in &rows {
        writeln!(out, "{}", line(&mut row.iter().map(String::as_str)))?;
    }
    Ok(())
}

/// A box, from west-south to east-north; `...` where it has no border.
///
/// # Units
/// Metres.
pub(super) fn area(min: [f64; 2], max: [f64; 2]) -> String {
    let at = |number: f64| if number.is_finite() { number.to_string() } else { "...".to_owned() };
    format!("({}, {})-({}, {})", at(min[0]), at(min[1]), at(max[0]), at(max[1]))
}

/// An entity as JSON: `{"entity": "7", "partition": 0, "components": {"earth.City": {...}}}`.
pub(super) fn entity_json(entity: &v1::Entity, schema: &Schema) -> Value {
    let components: Map<String, Value> =
        entity.components.iter().map(|value| (value.name.clone(), component_json(value, schema))).collect();
    let mut json = json!({
        "entity": entity.entity.to_string(),
        "partition": entity.partition,
        "components": components,
    });
    if let Some(distance_m) = entity.distance_m {
        json["distance_m"] = distance_m.into();
    }
    json
}

/// A component value as JSON. One that this schema cannot read says why, and does not spoil the rest.
pub(super) fn component_json(value: &v1::ComponentValue, schema: &Schema) -> Value {
    let bytes = value.value.as_ref().map_or(&[][..], |any| &any.value);
    value_json(ComponentId(value.id), bytes, schema)
}

/// The same, of the bytes of a value.
pub(super) fn value_json(component: ComponentId, bytes: &[u8], schema: &Schema) -> Value {
    let read = match schema.component(component) {
        Some(component) => component.to_json(bytes).map_err(|error| error.to_string()),
        None => Err(format!("component {component} is not in the schema")),
    };
    read.unwrap_or_else(|error| json!({ "unreadable": error }))
}

/// What an event says as JSON.
pub(super) fn event_json(component: ComponentId, event: EventId, bytes: &[u8], schema: &Schema) -> Value {
    let read = match schema.event(component, event) {
        Some(event) => event.to_json(bytes).map_err(|error| error.to_string()),
        None => Err(format!("event {event} of component {component} is not in the schema")),
    };
    read.unwrap_or_else(|error| json!({ "unreadable": error }))
}

/// Where the entity is, if anywhere.
pub(super) fn position_of(entity: &v1::Entity) -> Option<v1::Position> {
    decode(entity, ComponentId::POSITION)
}

/// What the entity says it is, if it does.
pub(super) fn metadata_of(entity: &v1::Entity) -> Option<v1::Metadata> {
    decode(entity, ComponentId::METADATA)
}

fn decode<T: Message + Default>(entity: &v1::Entity, id: ComponentId) -> Option<T> {
    let value = entity.components.iter().find(|value| value.id == id.0)?;
    T::decode(value.value.as_ref()?.value.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_to_terminals_is_escaped() {
        assert_eq!(plain("x\n\u{1b}[31mred\u{9b}1m Zürich"), "x\\n\\u{1b}[31mred\\u{9b}1m Zürich");
        let mut out = Vec::new();
        table(&mut out, &["type"], &[vec!["a\r\nb".to_owned()]]).expect("written");
        assert_eq!(String::from_utf8_lossy(&out), "type\na\\r\\nb\n");
    }

    #[test]
    fn columns_fit_and_numbers_stand_right() {
        let rows = [vec!["7".to_owned(), "Zürich".to_owned()], vec!["123".to_owned(), String::new()]];
        let mut out = Vec::new();
        table(&mut out, &["id", "name"], &rows).expect("written");
        assert_eq!(String::from_utf8_lossy(&out), " id  name\n  7  Zürich\n123\n");
    }
}
