//! The schema of a world: its components and events, and what their bytes may be.
//!
//! Responsible for: compiling `.proto` directories without `protoc`, reading a schema from a descriptor set,
//! checking payloads on the hot path, partial updates' field lists, JSON, and telling two schemas apart.
//! Not responsible for: storing values, applying partial updates, sessions, transport.

mod canonical;
mod check;
mod compat;
mod compile;
mod component;
mod error;
mod event;
mod fields;
mod json;
mod named;
mod options;
mod places;
mod scalar;
mod scalar_value;
mod schema;
mod shape;
mod sources;
mod told;
mod wire;

pub use compat::{additions, changes, incompatibilities, losses};
pub use component::{Component, Durability};
pub use error::{PayloadError, Place, SchemaError};
pub use event::EventType;
pub use fields::FieldPlan;
pub use scalar::{PathError, PathFault, Scalar};
pub use scalar_value::{Constant, ScalarField, ScalarKind, ScalarValue};
pub use schema::Schema;
