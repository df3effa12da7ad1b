//! What makes a generated protobuf message a typed component.
//!
//! Responsible for: [`Component`] and the macro that implements it.
//! Not responsible for: checking the ids against a running world (`connection.rs` does, at Welcome).

use prost::Message;
use spatialdb_proto::v1;
use spatialdb_types::ComponentId;

/// A protobuf message that is a component of the world. Implement it with [`component!`](crate::component).
pub trait Component: Message + Default {
    /// The `id` of the component option in the schema.
    const ID: ComponentId;
    /// The full name of the message, e.g. `earth.Aircraft`.
    const NAME: &'static str;
}

/// Makes a generated message a [`Component`]: its type, its id, its full name.
///
/// ```
/// use spatialdb_sdk::{Component, ComponentId};
///
/// // Such types are generated from your .proto files.
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct Fuel {
///     #[prost(double, tag = "1")]
///     litres: f64,
/// }
/// spatialdb_sdk::component!(Fuel, 1001, "example.Fuel");
/// assert_eq!((Fuel::ID, Fuel::NAME), (ComponentId(1001), "example.Fuel"));
/// ```
#[macro_export]
macro_rules! component {
    ($message:ty, $id:literal, $name:literal) => {
        impl $crate::Component for $message {
            const ID: $crate::ComponentId = $crate::ComponentId($id);
            const NAME: &'static str = $name;
        }
    };
}

component!(v1::Metadata, 2, "spatialdb.v1.Metadata");
