//! Snapshots as lines of JSON, for people, scripts and version control.
//!
//! The first line may be a header, `{"world":"earth","spaces":[{"id":0,"name":"earth"}]}`; every other line is one
//! entity, `{"id":"123","components":{"spatialdb.v1.Position":{"space":0,"x":1.0,"y":2.0,"z":0.0},...}}`.
//! An id may be left out, and so may any field that is at its default; a component's short name does if only one
//! has it. Components are in the JSON mapping of protobuf. Fields that the schema does not know are lost on the way.

mod entity;
mod import;
mod print;
mod unique;

pub use import::import;
pub use print::{Exported, export};

pub use crate::gather::{ImportOptions, ImportStep, Imported};
pub(crate) use entity::read_id;
pub(crate) use print::position_value;

pub(crate) const POSITION_NAME: &str = "spatialdb.v1.Position";
