//! GeoJSON as entities, a feature each.
//!
//! Responsible for: `FeatureCollection`s of any size, features one after the other, and where a geometry is.
//! Not responsible for: keeping geometries; a mapping may put them in a field as text.
//!
//! # Source
//! RFC 7946; RFC 8142 without its separators for features one after the other.

use std::{
    borrow::Cow,
    cell::{Cell as Flag, RefCell},
    fmt,
    io::{BufReader, Read},
    path::Path,
};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use spatialdb_schema::Schema;

use super::{
    cell::Cell,
    map::MapFile,
    plan::{Column, Plan, Row},
    stream::{Counted, Progress},
};
use crate::{
    error::SnapshotError,
    gather::{At, Gather, ImportOptions, ImportStep, Imported},
};

/// Reads features of GeoJSON and writes them as a snapshot with that schema, by that mapping. A column is the name
/// of a property, or `@id`, `@longitude`, `@latitude`, `@height`, `@geometry`.
///
/// # Errors
/// `Row` with line, column and reason; `Map` if the mapping does not fit the schema; `Unwritable` and `Io` as
/// [`SortedWriter::finish`](crate::SortedWriter::finish). No file is left then.
pub fn import_geojson(
    input: impl Read,
    map: &MapFile,
    schema: &Schema,
    path: impl AsRef<Path>,
    mut options: ImportOptions,
    mut progress: impl FnMut(ImportStep),
) -> Result<Imported, SnapshotError> {
    let plan = Plan::new(map, schema)?;
    options.world = map.keys.world.clone().unwrap_or(options.world);
    let mut gather = Gather::new(options, schema);
    let place = Progress::default();
    let failure = RefCell::new(None);
    let seen: Vec<Flag<bool>> = plan.columns.iter().map(|_| Flag::new(false)).collect();
    let mut take = |feature: Map<String, Value>, line: u64| {
        progress(ImportStep::Read { bytes: place.more_bytes() });
        let at = At::line(line);
        let feature = Feature { feature: &feature, columns: &plan.columns, seen: &seen };
        plan.entity(&feature, at).and_then(|(id, entity)| gather.add(id, entity, at))
    };
    // Bytes are counted as the parser takes them, so that lines are exact.
    let reader = Counted::new(BufReader::new(input), &place);
    let mut json = serde_json::Deserializer::from_reader(reader);
    while json.end().is_err() {
        let document = Document { take: &mut take, place: &place, failure: &failure };
        if let Err(error) = document.deserialize(&mut json) {
            let parsed = At::line(error.line() as u64).wrong("JSON", reason(&error));
            return Err(failure.into_inner().unwrap_or(parsed));
        }
    }
    drop(json);
    // A property that no feature has is misspelled.
    let mut columns = plan.columns.iter().zip(&seen).filter(|(column, _)| !column.name.starts_with('@'));
    if let Some((column, _)) = columns.find(|(_, seen)| !seen.get()) {
        let reason = format!("no feature has a property {:?}", column.name);
        return Err(map.wrong(column.at.clone(), &column.key, reason).into());
    }
    gather.finish(path, progress)
}

fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once(" at line ") {
        Some((reason, _)) => format!("{reason} at column {}", error.column()),
        None => text,
    }
}

/// One value of the file: a collection, whose features are taken as they come, or a feature.
struct Document<'a, F> {
    take: &'a mut F,
    place: &'a Progress,
    failure: &'a RefCell<Option<SnapshotError>>,
}

impl<'de, F> DeserializeSeed<'de> for Document<'_, F>
where
    F: FnMut(Map<String, Value>, u64) -> Result<(), SnapshotError>,
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F> Visitor<'de> for Document<'_, F>
where
    F: FnMut(Map<String, Value>, u64) -> Result<(), SnapshotError>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a FeatureCollection or a Feature")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let line = self.place.line();
        let mut rest = Map::new();
        let mut has_features = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "features" {
                has_features = true;
                map.next_value_seed(Features(&mut self))?;
            } else {
                rest.insert(key, map.next_value()?);
            }
        }
        match rest.get("type").and_then(Value::as_str) {
            Some("FeatureCollection") if has_features => Ok(()),
            Some("Feature") if !has_features => self.feature(rest, line),
            other => {
                let found = other.unwrap_or("no type");
                let reason = format!("a FeatureCollection or a Feature is expected, found {found}");
                Err(self.fail(At::line(line).wrong("type", reason)))
            }
        }
    }
}

impl<F> Document<'_, F>
where
    F: FnMut(Map<String, Value>, u64) -> Result<(), SnapshotError>,
{
    fn feature<E: serde::de::Error>(&mut self, feature: Map<String, Value>, line: u64) -> Result<(), E> {
        (self.take)(feature, line).map_err(|error| self.fail(error))
    }

    // The parser only carries text.
    fn fail<E: serde::de::Error>(&self, error: SnapshotError) -> E {
        self.failure.replace(Some(error));
        E::custom("a feature is wrong")
    }
}

struct Features<'a, 'b, F>(&'a mut Document<'b, F>);

impl<'de, F> DeserializeSeed<'de> for Features<'_, '_, F>
where
    F: FnMut(Map<String, Value>, u64) -> Result<(), SnapshotError>,
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F> Visitor<'de> for Features<'_, '_, F>
where
    F: FnMut(Map<String, Value>, u64) -> Result<(), SnapshotError>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of features")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut features: A) -> Result<(), A::Error> {
        // The first byte of each feature has been looked at when its line is asked for.
        while let Some((line, value)) = features.next_element_seed(Lined(self.0.place))? {
            let Value::Object(feature) = value else {
                let error = At::line(line).wrong("features", "a Feature is expected");
                return Err(self.0.fail(error));
            };
            if feature.get("type").and_then(Value::as_str) != Some("Feature") {
                let error = At::line(line).wrong("type", "\"Feature\" is expected");
                return Err(self.0.fail(error));
            }
            self.0.feature(feature, line).map_err(|error: A::Error| A::Error::custom(error))?;
        }
        Ok(())
    }
}

struct Lined<'a>(&'a Progress);

impl<'de> DeserializeSeed<'de> for Lined<'_> {
    type Value = (u64, Value);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let line = self.0.line();
        serde::Deserialize::deserialize(deserializer).map(|value| (line, value))
    }
}

struct Feature<'a> {
    feature: &'a Map<String, Value>,
    columns: &'a [Column],
    /// Which properties there are at all.
    seen: &'a [Flag<bool>],
}

impl Row for Feature<'_> {
    fn cell(&self, column: usize) -> Cell<'_> {
        let name = self.columns[column].name.as_str();
        let geometry = || self.feature.get("geometry").filter(|geometry| !geometry.is_null());
        let axis = |axis: usize| match self.place() {
            Ok(Some(place)) => Cell::Json(Cow::Owned(Value::from(place[axis]))),
            _ => Cell::Missing,
        };
        match name {
            "@id" => self.feature.get("id").map_or(Cell::Missing, |id| Cell::Json(Cow::Borrowed(id))),
            "@longitude" => axis(0),
            "@latitude" => axis(1),
            "@height" => axis(2),
            "@geometry" => {
                geometry().map_or(Cell::Missing, |found| Cell::Text(Cow::Owned(found.to_string())))
            }
            _ => {
                let value = self.feature.get("properties").and_then(|properties| properties.get(name));
                if value.is_some() {
                    self.seen[column].set(true);
                }
                value.map_or(Cell::Missing, |value| Cell::Json(Cow::Borrowed(value)))
            }
        }
    }

    fn place(&self) -> Result<Option<[f64; 3]>, String> {
        let Some(geometry) = self.feature.get("geometry").filter(|geometry| !geometry.is_null()) else {
            return Ok(None);
        };
        let mut bounds = Bounds::default();
        bounds.add_geometry(geometry)?;
        Ok(bounds.middle())
    }
}

/// The box around a geometry; of a point the point itself.
#[derive(Default)]
struct Bounds(Option<([f64; 3], [f64; 3])>);

impl Bounds {
    fn add_geometry(&mut self, geometry: &Value) -> Result<(), String> {
        if let Some(Value::Array(inner)) = geometry.get("geometries") {
            return inner.iter().try_for_each(|geometry| self.add_geometry(geometry));
        }
        let coordinates = geometry.get("coordinates").and_then(Value::as_array);
        self.add(coordinates.ok_or("a geometry with coordinates is expected")?)
    }

    fn add(&mut self, coordinates: &[Value]) -> Result<(), String> {
        if coordinates.first().is_some_and(Value::is_array) {
            return coordinates.iter().try_for_each(|inner| match inner {
                Value::Array(inner) => self.add(inner),
                other => Err(format!("a list of coordinates is expected, found {other}")),
            });
        }
        let numbers: Option<Vec<f64>> = coordinates.iter().map(Value::as_f64).collect();
        let (x, y, z) = match numbers.as_deref() {
            Some([]) => return Ok(()),
            Some([x, y]) => (*x, *y, 0.0),
            Some([x, y, z, ..]) => (*x, *y, *z),
            _ => {
                let found = Value::from(coordinates);
                return Err(format!("longitude, latitude and perhaps a height are expected, found {found}"));
            }
        };
        let place = [x, y, z];
        let (low, high) = self.0.get_or_insert((place, place));
        for axis in 0..3 {
            low[axis] = low[axis].min(place[axis]);
            high[axis] = high[axis].max(place[axis]);
        }
        Ok(())
    }

    fn middle(&self) -> Option<[f64; 3]> {
        let (low, high) = self.0?;
        Some(std::array::from_fn(|axis| {
            if low[axis] == high[axis] { low[axis] } else { f64::midpoint(low[axis], high[axis]) }
        }))
    }
}
