//! Constraints, views and questions from JSON, by the SDK's own functions.
//!
//! Responsible for: every kind of constraint and view that the SDK can make.
//! Not responsible for: judging them; the server does.

use serde_json::Value;
use spatialdb_sdk::{
    Ask, Band, Bands, Box3, Constraint, Densities, Field, FieldValue, Point3, Position, SpaceId, View, ViewId,
};

use super::{Failed, POSITION, float, id, text, unknown};
use crate::components::with_component;

/// Names components to a view, band or question, which say so alike.
macro_rules! with_components {
    ($what:expr, $names:expr) => {{
        let mut what = $what;
        for name in $names.as_array().into_iter().flatten().map(text) {
            what = match name {
                POSITION => what.positions(),
                _ => with_component!(name, C => what.component::<C>()).ok_or_else(|| unknown(name))?,
            };
        }
        what
    }};
}

/// The view that an operation says.
pub(crate) fn view_of(number: ViewId, json: &Value) -> Result<View, Failed> {
    let mut view = match json.get("densities") {
        Some(densities) => View::of_densities(number, densities_of(densities)),
        None => View::new(number, constraint_of(&json["query"])?),
    };
    view = with_components!(view.rate_hz(float(&json["rate_hz"])), json["components"]);
    if let Some(bands) = json.get("bands") {
        view = view.bands(bands_of(bands)?);
    }
    Ok(if json["own_updates"] == true { view.own_updates() } else { view })
}

/// The question that an operation says.
pub(crate) fn ask_of(json: &Value) -> Result<Ask, Failed> {
    let constraint = constraint_of(&json["query"])?;
    let ask = if json["count_only"] == true { Ask::count(constraint) } else { Ask::new(constraint) };
    let ask = with_components!(ask, json["components"]).limit(json["limit"].as_u64().unwrap_or(0));
    Ok(match json.get("nearest_to") {
        Some(place) => ask.nearest_to(place_of(place)),
        None => ask,
    })
}

fn bands_of(json: &Value) -> Result<Bands, Failed> {
    let mut bands = match json.get("entity") {
        Some(entity) => Bands::around_entity(id(entity)),
        None => Bands::around(place_of(&json["place"])),
    };
    for one in json["bands"].as_array().into_iter().flatten() {
        let band = Band::new(float(&one["radius_m"]), float(&one["rate_hz"]));
        bands = bands.band(with_components!(band, one["components"]));
    }
    Ok(bands)
}

fn densities_of(json: &Value) -> Densities {
    let mut densities = Densities::new(space(json), float(&json["square_m"]));
    if json["per_type"] == true {
        densities = densities.per_type();
    }
    match json.get("min") {
        Some(min) => densities.within(Box3 { min: corner(min, 0.0), max: corner(&json["max"], 0.0) }),
        None => densities,
    }
}

fn place_of(json: &Value) -> Position {
    Position { space: space(json), point: corner(json, 0.0) }
}

fn field_test(json: &Value) -> Result<Constraint, Failed> {
    let path = text(&json["field"]);
    let field = match json["componentNamed"].as_str() {
        Some(name) => with_component!(name, C => Constraint::field::<C>(path))
            .unwrap_or_else(|| Constraint::field_named(name, path)),
        None => {
            let component = json["component"].as_u64().and_then(|number| u32::try_from(number).ok());
            Constraint::field_of(spatialdb_sdk::ComponentId(component.unwrap_or(0)), path)
        }
    };
    let values: Option<Vec<FieldValue>> =
        json["values"].as_array().into_iter().flatten().map(value_of).collect();
    let values = values.ok_or_else(|| Failed::new("QUERY_INVALID", format!("not values: {json}")))?;
    compared(field, text(&json["comparison"]), values)
        .ok_or_else(|| Failed::new("QUERY_INVALID", format!("not a comparison: {json}")))
}

fn compared(field: Field, comparison: &str, values: Vec<FieldValue>) -> Option<Constraint> {
    let value = values.first().cloned();
    Some(match comparison.strip_prefix("COMPARISON_")? {
        "EQUAL" => field.equals(value?),
        "NOT_EQUAL" => field.not_equals(value?),
        "LESS" => field.less_than(value?),
        "AT_MOST" => field.at_most(value?),
        "GREATER" => field.greater_than(value?),
        "AT_LEAST" => field.at_least(value?),
        "IN" => field.is_in(values),
        _ => return None,
    })
}

fn value_of(json: &Value) -> Option<FieldValue> {
    let (kind, value) = json.as_object()?.iter().next()?;
    Some(match kind.as_str() {
        "integer" => text(value).parse::<i64>().ok()?.into(),
        "unsigned" => text(value).parse::<u64>().ok()?.into(),
        "number" => value.as_f64()?.into(),
        "boolean" => value.as_bool()?.into(),
        "text" => value.as_str()?.into(),
        _ => return None,
    })
}

/// The constraint that the JSON says.
pub(crate) fn constraint_of(json: &Value) -> Result<Constraint, Failed> {
    let wrong = || Failed::new("QUERY_INVALID", format!("not a constraint: {json}"));
    let (kind, value) = json.as_object().and_then(|object| object.iter().next()).ok_or_else(wrong)?;
    let list = || -> Result<Vec<Constraint>, Failed> {
        value["constraints"].as_array().into_iter().flatten().map(constraint_of).collect()
    };
    Ok(match kind.as_str() {
        "all" => Constraint::all(),
        "box" => {
            let (min, max) = (corner(&value["min"], f64::NEG_INFINITY), corner(&value["max"], f64::INFINITY));
            Constraint::in_box(space(value), Box3 { min, max })
        }
        "sphere" => {
            Constraint::in_sphere(space(value), corner(&value["center"], 0.0), float(&value["radiusM"]))
        }
        "cylinder" => {
            let center = Point3::new(float(&value["centerX"]), float(&value["centerY"]), 0.0);
            let height = |name: &str, open| value.get(name).map_or(open, float);
            let height = height("minZ", f64::NEG_INFINITY)..height("maxZ", f64::INFINITY);
            Constraint::in_cylinder(space(value), center, float(&value["radiusM"]), height)
        }
        "space" => Constraint::in_space(space(value)),
        "entityIds" => {
            let ids = value["entities"].as_array().into_iter().flatten();
            Constraint::entities(ids.map(id))
        }
        "hasComponentNamed" => with_component!(text(value), C => Constraint::has::<C>())
            .unwrap_or_else(|| Constraint::has_named(text(value))),
        "field" => field_test(value)?,
        "near" => Constraint::near(id(&value["entity"]), float(&value["radiusM"])),
        "owned" if value["layer"].is_string() => Constraint::owned_in(text(&value["layer"])),
        "owned" => Constraint::owned(),
        "text" => Constraint::text(text(value)),
        "and" => joined(list()?, |a, b| a & b, Constraint::all_of),
        "or" => joined(list()?, |a, b| a | b, Constraint::any_of),
        "not" => !constraint_of(value)?,
        _ => return Err(wrong()),
    })
}

/// By the operator where there is something to join.
fn joined(
    list: Vec<Constraint>,
    join: impl Fn(Constraint, Constraint) -> Constraint,
    of_list: impl Fn(Vec<Constraint>) -> Constraint,
) -> Constraint {
    if list.len() < 2 { of_list(list) } else { list.into_iter().reduce(join).expect("two at least") }
}

fn space(value: &Value) -> SpaceId {
    SpaceId(value["space"].as_u64().and_then(|space| u32::try_from(space).ok()).unwrap_or(0))
}

fn corner(point: &Value, open_z: f64) -> Point3 {
    Point3::new(float(&point["x"]), float(&point["y"]), point["z"].as_f64().unwrap_or(open_z))
}
