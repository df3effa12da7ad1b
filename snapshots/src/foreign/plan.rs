//! A mapping checked against a schema, ready for rows.
//!
//! Responsible for: which columns are read, and one row as one entity.
//! Not responsible for: reading rows (`csv`, `geojson`), the keys of the file (`map`).

use serde_json::{Map, Value};
use spatialdb_schema::{Component, Schema};
use spatialdb_types::{ComponentId, EntityId, ID_END, Point3, Position, SpaceId};
use toml::Spanned;

use super::{
    cell::{self, Cell},
    map::{MapFile, PositionKeys, Rule, RuleKeys},
    map_error::MapError,
    shape::{FieldPath, Messages, Shape},
};
use crate::{error::SnapshotError, gather::At, limits::POSITION_ABS_M_MAX, sorted::Entity};

/// The mean radius of the Earth, in metres. The projection is that of the earth world: x = R * longitude,
/// y = R * latitude.
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// What each row becomes.
pub(super) struct Plan {
    /// Every column that is read.
    pub(super) columns: Vec<Column>,
    id: Option<Source>,
    /// `None` if the mapping says nothing of positions.
    position: Option<Place>,
    components: Vec<Planned>,
}

/// A column that is read, and where the mapping says so.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) key: String,
    pub(super) at: std::ops::Range<usize>,
}

/// A row: its cells by the index of the column in [`Plan::columns`].
pub(super) trait Row {
    fn cell(&self, column: usize) -> Cell<'_>;
    /// Where the row is if the mapping does not say.
    fn place(&self) -> Result<Option<[f64; 3]>, String>;
}

struct Source {
    column: Option<usize>,
    rule: RuleKeys,
}

struct Field {
    path: FieldPath,
    source: Source,
}

struct Planned {
    component: Component,
    fields: Vec<Field>,
}

struct Place {
    axes: Axes,
    z: Option<Source>,
    space: SpaceId,
    round_m: Option<f64>,
}

enum Axes {
    /// Longitude and latitude, in degrees.
    Globe(Source, Source),
    /// x and y, in metres.
    Plane(Source, Source),
}

impl Plan {
    /// Checks the mapping against the schema.
    pub(super) fn new(map: &MapFile, schema: &Schema) -> Result<Self, MapError> {
        let messages = Messages::new(schema);
        let mut plan = Self { columns: Vec::new(), id: None, position: None, components: Vec::new() };
        if let Some(rule) = &map.keys.entity.id {
            plan.id = Some(plan.source(map, "entity.id", rule.span(), rule.get_ref())?);
        }
        if let Some(position) = &map.keys.position {
            plan.position = Some(plan.place(map, position)?);
        }
        for (name, fields) in &map.keys.components {
            let key = format!("components.{}", name.get_ref());
            let component = schema
                .component_named(name.get_ref())
                .map_err(|error| map.wrong(name.span(), &key, hint(error.detail, name.get_ref())))?;
            if component.id() == ComponentId::POSITION {
                return Err(map.wrong(name.span(), key, "positions have a table of their own: [position]"));
            }
            let mut planned = Planned { component: component.clone(), fields: Vec::new() };
            for (field, rule) in fields {
                let key = format!("{key}.{}", field.get_ref());
                let path = messages
                    .field(component.name(), field.get_ref())
                    .map_err(|reason| map.wrong(field.span(), &key, reason))?;
                let source = plan.source(map, &key, field.span(), rule)?;
                planned.fields.push(Field { path, source });
            }
            plan.components.push(planned);
        }
        Ok(plan)
    }

    fn place(&mut self, map: &MapFile, keys: &Spanned<PositionKeys>) -> Result<Place, MapError> {
        let at = keys.span();
        let keys = keys.get_ref();
        let mut axis = |name: &str, rule: &Option<Spanned<Rule>>| {
            let key = format!("position.{name}");
            rule.as_ref().map(|rule| self.source(map, &key, rule.span(), rule.get_ref())).transpose()
        };
        let (longitude, latitude) = (axis("longitude", &keys.longitude)?, axis("latitude", &keys.latitude)?);
        let (x, y, z) = (axis("x", &keys.x)?, axis("y", &keys.y)?, axis("z", &keys.z)?);
        let axes = match (longitude, latitude, x, y) {
            (Some(longitude), Some(latitude), None, None) => Axes::Globe(longitude, latitude),
            (None, None, Some(x), Some(y)) => Axes::Plane(x, y),
            _ => {
                let reason = "either longitude and latitude (degrees), or x and y (metres) are needed";
                return Err(map.wrong(at, "position", reason));
            }
        };
        if let Some(step) =
            keys.round_m.as_ref().filter(|step| !(*step.get_ref() > 0.0 && step.get_ref().is_finite()))
        {
            return Err(map.wrong(step.span(), "position.round_m", "must be above 0"));
        }
        let round_m = keys.round_m.as_ref().map(|step| *step.get_ref());
        Ok(Place { axes, z, space: SpaceId(keys.space), round_m })
    }

    fn source(
        &mut self,
        map: &MapFile,
        key: &str,
        at: std::ops::Range<usize>,
        rule: &Rule,
    ) -> Result<Source, MapError> {
        let rule = rule.0.clone();
        let column = match (&rule.column, &rule.constant) {
            (Some(name), None) => {
                let column = Column { name: name.clone(), key: key.to_owned(), at };
                self.columns.push(column);
                Some(self.columns.len() - 1)
            }
            (None, Some(_)) => None,
            _ => return Err(map.wrong(at, key, "either a column or a constant is needed")),
        };
        Ok(Source { column, rule })
    }

    /// One row as an entity, and its id if it has one.
    pub(super) fn entity(&self, row: &impl Row, at: At) -> Result<(Option<u64>, Entity), SnapshotError> {
        let id = self.id.as_ref().map(|source| self.read_id(source, row, at)).transpose()?.flatten();
        let position = match &self.position {
            Some(place) => Some(self.read_place(place, row, at)?),
            None => {
                let found = row.place().map_err(|reason| at.wrong("geometry", reason))?;
                found
                    .map(|[lon, lat, z]| globe(lon, lat).map(|[x, y]| Position::new(SpaceId(0), x, y, z)))
                    .transpose()
                    .map_err(|reason| at.wrong("geometry", reason))?
            }
        };
        if let Some(position) = position {
            within_limits(position.point).map_err(|reason| at.wrong("position", reason))?;
        }
        let mut values = Vec::with_capacity(self.components.len());
        for planned in &self.components {
            values.push((planned.component.id(), self.read_component(planned, row, at)?));
        }
        Ok((id, Entity { id: EntityId(0), position, values }))
    }

    fn read_component(&self, planned: &Planned, row: &impl Row, at: At) -> Result<Vec<u8>, SnapshotError> {
        let name = planned.component.name();
        let mut object = Map::new();
        for Field { path, source } in &planned.fields {
            let value = cell::value(&source.rule, path.shape, path.is_list, &cell_of(source, row)).map_err(
                |reason| self.wrong(source, &format!("{name}.{}", path.names.join(".")), reason, at),
            )?;
            if let Some(value) = value {
                put(&mut object, &path.names, value);
            }
        }
        planned.component.from_json(&Value::Object(object)).map_err(|error| {
            let source = planned.fields.iter().find(|field| field.path.names.join(".") == error.field);
            match source {
                Some(field) => {
                    self.wrong(&field.source, &format!("{name}.{}", error.field), error.detail, at)
                }
                None => at.wrong(format!("{name}.{}", error.field), error.detail),
            }
        })
    }

    fn read_id(&self, source: &Source, row: &impl Row, at: At) -> Result<Option<u64>, SnapshotError> {
        let wrong = |reason: String| self.wrong(source, "id", reason, at);
        let value = cell::value(&source.rule, Shape::Whole, false, &cell_of(source, row)).map_err(wrong)?;
        let Some(value) = value else { return Ok(None) };
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let id = text.parse().ok().filter(|id| (1..ID_END).contains(id));
        id.map(Some).ok_or_else(|| wrong(format!("a number from 1 to 2^53 - 1 is expected, found {text}")))
    }

    fn read_place(&self, place: &Place, row: &impl Row, at: At) -> Result<Position, SnapshotError> {
        let axis = |source: &Source, name: &str| {
            let number = cell::number(&source.rule, &cell_of(source, row))
                .and_then(|found| found.ok_or_else(|| "a number is expected, found nothing".to_owned()));
            number.map_err(|reason| self.wrong(source, &format!("position.{name}"), reason, at))
        };
        let [x, y] = match &place.axes {
            Axes::Plane(x, y) => [axis(x, "x")?, axis(y, "y")?],
            Axes::Globe(longitude, latitude) => {
                let (lon, lat) = (axis(longitude, "longitude")?, axis(latitude, "latitude")?);
                // The latitude is at fault only if the longitude is not.
                let source = if lon.abs() > 180.0 { longitude } else { latitude };
                globe(lon, lat).map_err(|reason| self.wrong(source, "position", reason, at))?
            }
        };
        let z = match &place.z {
            // Often only some rows have a height.
            Some(source) => cell::number(&source.rule, &cell_of(source, row))
                .map_err(|reason| self.wrong(source, "position.z", reason, at))?
                .unwrap_or(0.0),
            None => 0.0,
        };
        let rounded = |value: f64| place.round_m.map_or(value, |step| (value / step).round() * step);
        Ok(Position::new(place.space, rounded(x), rounded(y), rounded(z)))
    }

    fn wrong(&self, source: &Source, field: &str, reason: impl Into<String>, at: At) -> SnapshotError {
        let field = match source.column {
            Some(column) => format!("column {}: {field}", self.columns[column].name),
            None => field.to_owned(),
        };
        at.wrong(field, reason)
    }
}

fn cell_of<'a>(source: &Source, row: &'a impl Row) -> Cell<'a> {
    source.column.map_or(Cell::Missing, |column| row.cell(column))
}

fn put(object: &mut Map<String, Value>, names: &[String], value: Value) {
    let Some((last, path)) = names.split_last() else { return };
    let mut object = object;
    for name in path {
        let inner = object.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(inner) = inner else { return };
        object = inner;
    }
    object.insert(last.clone(), value);
}

/// A place on the globe, in degrees, on the map, in metres.
fn globe(longitude: f64, latitude: f64) -> Result<[f64; 2], String> {
    if longitude.abs() > 180.0 {
        return Err(format!("a longitude from -180 to 180 degrees is expected, found {longitude}"));
    }
    if latitude.abs() > 90.0 {
        return Err(format!("a latitude from -90 to 90 degrees is expected, found {latitude}"));
    }
    Ok([longitude, latitude].map(|degrees| EARTH_RADIUS_M * degrees.to_radians()))
}

fn within_limits(point: Point3) -> Result<(), String> {
    match [point.x, point.y, point.z].into_iter().find(|axis| axis.abs() > POSITION_ABS_M_MAX) {
        Some(axis) => Err(format!("metres within +-{POSITION_ABS_M_MAX} are expected, found {axis}")),
        None => Ok(()),
    }
}

// `[components.earth.City]` is a table in a table.
fn hint(detail: String, name: &str) -> String {
    if detail.contains("near:") {
        return detail;
    }
    format!("{detail} (a name with dots is written in quotes: [components.\"{name}.NAME\"])")
}
