//! Snapshots as lines of JSON, for people, scripts and version control.
//!
//! The first line may be a header, `{"world":"earth","spaces":[{"id":0,"name":"earth"}]}`; every other line is one
//! entity, `{"id":"123","components":{"spatialdb.v1.Position":{"space":0,"x":1.0,"y":2.0,"z":0.0},...}}`.
//! Components are in the JSON mapping of protobuf. Fields that the schema does not know are lost on the way.

mod entity;
mod import;
mod print;

pub use import::{ImportOptions, ImportStep, Imported, import};
pub use print::{Exported, export};

pub(crate) use print::position_value;

const POSITION_NAME: &str = "spatialdb.v1.Position";
