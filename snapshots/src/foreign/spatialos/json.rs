//! The text form: one JSON object for each entity, one after the other.
//!
//! # Shape
//! `{"__entity_id": "1", "improbable.Position": {"coords": {"x": 1, "y": 2, "z": 3}}, ...}`, each component under
//! its full name with the field names of its `.schema` file. An option is a list of none or one, a map a list of
//! `{"key": .., "value": ..}`.

use std::{
    io::{BufReader, Read},
    path::Path,
};

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use spatialdb_schema::{Component, Schema};
use spatialdb_types::{EntityId, Position};

use super::{Counts, METADATA, Mapping, POSITION, mapping_of, position};
use crate::{
    error::SnapshotError,
    foreign::{
        map::MapFile,
        shape::Messages,
        stream::{Counted, Progress},
    },
    gather::{At, Gather, ImportOptions, ImportStep, Imported},
    json::read_id,
    limits::POSITION_ABS_M_MAX,
    sorted::Entity,
};

const ENTITY_ID: &str = "__entity_id";

/// Reads the JSON form of a snapshot of SpatialOS and writes it with that schema. Position and Metadata are taken as
/// they are, other components by the mapping; those without are counted.
///
/// # Errors
/// `Row` with the line, the field and the reason; `Map` if the mapping does not fit the schema; `Unwritable` and `Io`
/// as [`SortedWriter::finish`](crate::SortedWriter::finish). No file is left then.
pub fn import_spatialos_json(
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
    let messages = Messages::new(schema);
    let mut left_out = Counts::default();
    let place = Progress::default();
    let reader = Counted::new(BufReader::new(input), &place);
    let mut json = serde_json::Deserializer::from_reader(reader);
    while json.end().is_err() {
        let at = At::line(place.line());
        let entity = Map::<String, Value>::deserialize(&mut json)
            .map_err(|error| At::line(error.line() as u64).wrong("JSON", error.to_string()))?;
        let reader = EntityReader { mapping: &mapping, schema, messages: &messages, at };
        let (id, entity) = reader.read(&entity, &mut left_out)?;
        gather.add(Some(id), entity, at)?;
        progress(ImportStep::Read { bytes: place.more_bytes() });
    }
    let imported = gather.finish(path, progress)?;
    Ok(Imported { left_out: left_out.list(), ..imported })
}

struct EntityReader<'a> {
    mapping: &'a Mapping,
    schema: &'a Schema,
    messages: &'a Messages,
    at: At,
}

impl EntityReader<'_> {
    fn read(
        &self,
        object: &Map<String, Value>,
        left_out: &mut Counts,
    ) -> Result<(u64, Entity), SnapshotError> {
        let id = object.get(ENTITY_ID).ok_or_else(|| self.at.wrong(ENTITY_ID, "it is missing"))?;
        let id = read_id(id, ENTITY_ID, &self.at)?;
        let mut entity = Entity { id: EntityId(id), position: None, values: Vec::new() };
        for (name, value) in object.iter().filter(|(name, _)| *name != ENTITY_ID) {
            if name == POSITION.1 {
                let place = read_position(value).map_err(|reason| self.at.wrong(name, reason))?;
                entity.position = Some(place);
                continue;
            }
            let (component, value) = match self.mapping.by_name.get(name) {
                Some(component) => (component.clone(), self.as_proto(component, value)),
                None if name == METADATA.1 => {
                    let metadata = self.schema.component_named("spatialdb.v1.Metadata");
                    let kind = value
                        .get("entity_type")
                        .or_else(|| value.get("entityType"))
                        .cloned()
                        .unwrap_or_default();
                    let metadata = metadata.map_err(|error| self.at.wrong(name, error.detail))?;
                    (metadata.clone(), json!({ "type": kind }))
                }
                None => {
                    left_out.add(name.clone());
                    continue;
                }
            };
            if entity.values.iter().any(|(id, _)| *id == component.id()) {
                return Err(self.at.wrong(name, "the component is there twice"));
            }
            let bytes = component.from_json(&value).map_err(|error| {
                self.at.wrong(format!("{name} as {}.{}", component.name(), error.field), error.detail)
            })?;
            entity.values.push((component.id(), bytes));
        }
        Ok((id, entity))
    }

    fn as_proto(&self, component: &Component, value: &Value) -> Value {
        match self.messages.message(component.name()) {
            Some(message) => message_as_proto(&message, value),
            None => value.clone(),
        }
    }
}

fn read_position(value: &Value) -> Result<Position, String> {
    let axis = |name: &str| match value.get("coords").and_then(|coords| coords.get(name)) {
        None => Ok(0.0),
        Some(value) => {
            let number = value.as_f64().filter(|number| number.abs() <= POSITION_ABS_M_MAX);
            number.ok_or_else(|| {
                format!("coords.{name}: metres within +-{POSITION_ABS_M_MAX} are expected, found {value}")
            })
        }
    };
    Ok(position(axis("x")?, axis("y")?, axis("z")?))
}

// What does not fit stays as it is: the schema then says what is wrong.
fn message_as_proto(message: &MessageDescriptor, value: &Value) -> Value {
    let Value::Object(fields) = value else { return value.clone() };
    let mut object = Map::new();
    for (name, value) in fields {
        match message.get_field_by_name(name) {
            None => _ = object.insert(name.clone(), value.clone()),
            Some(field) => {
                if let Some(value) = field_as_proto(&field, value) {
                    object.insert(name.clone(), value);
                }
            }
        }
    }
    Value::Object(object)
}

fn field_as_proto(field: &FieldDescriptor, value: &Value) -> Option<Value> {
    let Value::Array(values) = value else { return Some(kind_as_proto(&field.kind(), value)) };
    if field.is_map() {
        return Some(map_as_proto(field, values).unwrap_or_else(|| value.clone()));
    }
    if field.is_list() {
        return Some(values.iter().map(|value| kind_as_proto(&field.kind(), value)).collect());
    }
    match values.as_slice() {
        [] => None,
        [value] => Some(kind_as_proto(&field.kind(), value)),
        _ => Some(value.clone()),
    }
}

fn map_as_proto(field: &FieldDescriptor, entries: &[Value]) -> Option<Value> {
    let Kind::Message(entry) = field.kind() else { return None };
    let kind = entry.get_field(2)?.kind();
    let mut object = Map::new();
    for entry in entries {
        let key = match entry.get("key")? {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        object.insert(key, kind_as_proto(&kind, entry.get("value")?));
    }
    Some(Value::Object(object))
}

fn kind_as_proto(kind: &Kind, value: &Value) -> Value {
    match kind {
        Kind::Message(message) => message_as_proto(message, value),
        _ => value.clone(),
    }
}
