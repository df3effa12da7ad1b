//! Constraints from proto3 JSON, by the SDK's own functions.
//!
//! Responsible for: every kind of constraint that the SDK can make.
//! Not responsible for: judging them; the server does.

use serde_json::Value;
use spatialdb_sdk::{Box3, Constraint, EntityId, Point3, SpaceId};

use super::{Failed, float, text};
use crate::components::with_component;

/// The constraint that the JSON says.
pub(crate) fn constraint_of(json: &Value) -> Result<Constraint, Failed> {
    let unknown = || Failed::new("QUERY_INVALID", format!("not a constraint: {json}"));
    let (kind, value) = json.as_object().and_then(|object| object.iter().next()).ok_or_else(unknown)?;
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
            Constraint::entities(ids.map(|id| EntityId(text(id).parse().unwrap_or(0))))
        }
        "hasComponentNamed" => {
            with_component!(text(value), C => Constraint::has::<C>()).ok_or_else(unknown)?
        }
        "and" => Constraint::all_of(list()?),
        "or" => Constraint::any_of(list()?),
        "not" => Constraint::none_of(constraint_of(value)?),
        _ => return Err(unknown()),
    })
}

fn space(value: &Value) -> SpaceId {
    SpaceId(value["space"].as_u64().and_then(|space| u32::try_from(space).ok()).unwrap_or(0))
}

fn corner(point: &Value, open_z: f64) -> Point3 {
    Point3::new(float(&point["x"]), float(&point["y"]), point["z"].as_f64().unwrap_or(open_z))
}
