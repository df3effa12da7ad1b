//! A schema with a field of every kind, and short words for constraints.

use std::{fs, path::Path, sync::OnceLock};

use spatialdb_proto::v1::{self, Comparison, constraint::Kind, field_value};
use spatialdb_schema::Schema;

pub(crate) const SHIP: u32 = 1000;
pub(crate) const METADATA: u32 = 2;

const SHIPS: &str = r#"
syntax = "proto3";
package sea;
import "spatialdb/v1/schema.proto";

enum Mood { MOOD_UNSPECIFIED = 0; MOOD_CALM = 1; MOOD_WILD = -3; }
message Engine { uint32 rpm = 1; Fuel fuel = 2; }
message Fuel { double litres = 1; }
message Ship {
  option (spatialdb.v1.component) = { id: 1000 };
  int32 hp = 1;
  sint64 far = 2;
  uint64 serial = 3;
  double draught_m = 4;
  float heading_deg = 5;
  bool afloat = 6;
  Mood mood = 7;
  string name = 8;
  bytes seal = 9;
  Engine engine = 10;
  repeated int32 marks = 11;
  map<string, int64> stock = 12;
  oneof cargo { string tea = 13; uint32 sheep = 14; }
  string in = 15;
}
message Harbour { option (spatialdb.v1.component) = { id: 1001 }; uint32 depth_cm = 1; }
message Sunk {
  option (spatialdb.v1.event) = { id: 1, component: 1000 };
  string by = 1;
}
message Nothing { option (spatialdb.v1.component) = { id: 1002 }; }
"#;

// Two of the same short name, a package that is named like a component, and components named like words of the grammar.
const OTHERS: &str = r#"
syntax = "proto3";
package Ship;
import "spatialdb/v1/schema.proto";

message Harbour { option (spatialdb.v1.component) = { id: 1010 }; uint32 depth_cm = 1; }
message Engine { option (spatialdb.v1.component) = { id: 1011 }; uint32 rpm = 1; uint32 fuel = 2; }
message near { option (spatialdb.v1.component) = { id: 1012 }; bool all = 1; }
"#;

/// The ships.
pub(crate) fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ships.proto"), SHIPS).unwrap();
        fs::write(folder.path().join("others.proto"), OTHERS).unwrap();
        Schema::compile(&[folder.path().to_owned()]).unwrap()
    })
}

/// The earth world.
pub(crate) fn earth() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| Schema::compile(&[repository().join("snapshots/earth/schema")]).unwrap())
}

pub(crate) fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

pub(crate) fn of(kind: Kind) -> v1::Constraint {
    v1::Constraint { kind: Some(kind) }
}

pub(crate) fn all() -> v1::Constraint {
    of(Kind::All(v1::All {}))
}

pub(crate) fn has(component: u32) -> v1::Constraint {
    of(Kind::HasComponent(component))
}

pub(crate) fn ids(entities: &[u64]) -> v1::Constraint {
    of(Kind::EntityIds(v1::EntityIds { entities: entities.to_vec() }))
}

pub(crate) fn not(inner: v1::Constraint) -> v1::Constraint {
    of(Kind::Not(Box::new(inner)))
}

pub(crate) fn and(constraints: &[v1::Constraint]) -> v1::Constraint {
    of(Kind::And(v1::ConstraintList { constraints: constraints.to_vec() }))
}

pub(crate) fn or(constraints: &[v1::Constraint]) -> v1::Constraint {
    of(Kind::Or(v1::ConstraintList { constraints: constraints.to_vec() }))
}

pub(crate) fn point(x: f64, y: f64, z: Option<f64>) -> Option<v1::Point> {
    Some(v1::Point { x, y, z })
}

pub(crate) fn test(
    component: u32,
    field: &str,
    comparison: Comparison,
    values: &[field_value::Kind],
) -> v1::Constraint {
    let value = |kind: &field_value::Kind| v1::FieldValue { kind: Some(kind.clone()) };
    of(Kind::Field(v1::FieldTest {
        component,
        component_named: String::new(),
        field: field.to_owned(),
        comparison: comparison.into(),
        values: values.iter().map(value).collect(),
    }))
}
