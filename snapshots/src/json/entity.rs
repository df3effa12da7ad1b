//! One line of JSON as one entity.

use std::collections::BTreeMap;

use serde_json::Value;
use spatialdb_schema::{Component, Schema};
use spatialdb_types::{ComponentId, EntityId, ID_END, Position, SpaceId};

use crate::{error::SnapshotError, gather::At, limits::POSITION_ABS_M_MAX, sorted::Entity};

/// Components by the names that lines use, found once each.
pub(super) struct Names<'a> {
    schema: &'a Schema,
    seen: BTreeMap<String, &'a Component>,
}

impl<'a> Names<'a> {
    pub(super) fn new(schema: &'a Schema) -> Self {
        Self { schema, seen: BTreeMap::new() }
    }

    fn get(&mut self, name: &str) -> Result<&'a Component, spatialdb_types::Error> {
        if let Some(component) = self.seen.get(name) {
            return Ok(component);
        }
        let component = self.schema.component_named(name)?;
        self.seen.insert(name.to_owned(), component);
        Ok(component)
    }
}

/// Reads one entity, and its id if the line has one.
pub(super) fn read_entity(
    value: &Value,
    names: &mut Names<'_>,
    at: &At,
) -> Result<(Option<u64>, Entity), SnapshotError> {
    let Value::Object(fields) = value else {
        return Err(at.wrong("JSON", "an entity is an object with \"id\" and \"components\"".to_owned()));
    };
    if let Some(other) = fields.keys().find(|key| *key != "id" && *key != "components") {
        return Err(at.wrong(other.as_str(), "an entity has only \"id\" and \"components\"".to_owned()));
    }
    let id = fields.get("id").map(|id| read_id(id, "id", at)).transpose()?;
    let mut entity = Entity { id: EntityId(id.unwrap_or(0)), position: None, values: Vec::new() };
    let none = serde_json::Map::new();
    let components = match fields.get("components") {
        Some(Value::Object(components)) => components,
        None => &none,
        Some(_) => return Err(at.wrong("components", "an object of component names is expected".to_owned())),
    };
    for (name, value) in components {
        let field = format!("components.{name}");
        let component = names.get(name).map_err(|error| at.wrong(&field, error.detail))?;
        if component.id() == ComponentId::POSITION {
            if entity.position.replace(read_position(value, &field, at)?).is_some() {
                return Err(at.wrong(field, "the component is there twice".to_owned()));
            }
            continue;
        }
        if entity.values.iter().any(|(id, _)| *id == component.id()) {
            return Err(at.wrong(field, "the component is there twice".to_owned()));
        }
        let bytes = component.from_json(value).map_err(|error| match error.field.as_str() {
            "" => at.wrong(&field, error.detail),
            inner => at.wrong(format!("{field}.{inner}"), error.detail),
        })?;
        entity.values.push((component.id(), bytes));
    }
    Ok((id, entity))
}

/// An id as a string, or as a number that a double holds exactly.
pub(crate) fn read_id(value: &Value, field: &str, at: &At) -> Result<u64, SnapshotError> {
    let id = match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    match id {
        Some(id) if id > 0 && id < ID_END => Ok(id),
        _ => Err(at.wrong(field, format!("a number from 1 to 2^53 - 1 is expected, found {value}"))),
    }
}

fn read_position(value: &Value, field: &str, at: &At) -> Result<Position, SnapshotError> {
    let Value::Object(fields) = value else {
        return Err(at.wrong(field, "an object with space, x, y and z is expected".to_owned()));
    };
    if let Some(other) = fields.keys().find(|key| !["space", "x", "y", "z"].contains(&key.as_str())) {
        return Err(at.wrong(format!("{field}.{other}"), "there is no such field".to_owned()));
    }
    let space = match fields.get("space") {
        None | Some(Value::Null) => 0,
        Some(value) => value.as_u64().and_then(|space| u32::try_from(space).ok()).ok_or_else(|| {
            at.wrong(
                format!("{field}.space"),
                format!("a number from 0 to 2^32 - 1 is expected, found {value}"),
            )
        })?,
    };
    let axis = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(0.0),
        Some(value) => {
            let number = value.as_f64().filter(|number| number.abs() <= POSITION_ABS_M_MAX);
            number.ok_or_else(|| {
                let limit = POSITION_ABS_M_MAX;
                at.wrong(
                    format!("{field}.{name}"),
                    format!("metres within +-{limit} are expected, found {value}"),
                )
            })
        }
    };
    Ok(Position::new(SpaceId(space), axis("x")?, axis("y")?, axis("z")?))
}
