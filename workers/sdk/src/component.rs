//! What makes a generated protobuf message a typed component, or an event of one.
//!
//! Responsible for: [`Component`], [`EventMessage`], and the macros that implement them.
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
component!(v1::Interest, 3, "spatialdb.v1.Interest");
component!(v1::PlayerOwner, 4, "spatialdb.v1.PlayerOwner");

/// A protobuf message that is an event of a component. Implement it with [`event!`](crate::event).
pub trait EventMessage: Message + Default {
    /// The `id` of the event option in the schema.
    const ID: u32;
    /// Its `component`.
    const COMPONENT: ComponentId;
    /// The full name of the message, e.g. `game.Explosion`.
    const NAME: &'static str;
}

/// Makes a generated message an [`EventMessage`]: its type, its id, the id of its component, its full name.
///
/// ```
/// use spatialdb_sdk::{Batch, EntityId};
///
/// // Such types are generated from your .proto files, from a message with
/// //   option (spatialdb.v1.event) = { id: 1, component: 1001 };
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct Explosion {
///     #[prost(double, tag = "1")]
///     power: f64,
/// }
/// spatialdb_sdk::event!(Explosion, 1, 1001, "game.Explosion");
///
/// let mut batch = Batch::new();
/// batch.emit(EntityId(7), &Explosion { power: 3.5 });
/// ```
#[macro_export]
macro_rules! event {
    ($message:ty, $id:literal, $component:literal, $name:literal) => {
        impl $crate::EventMessage for $message {
            const ID: u32 = $id;
            const COMPONENT: $crate::ComponentId = $crate::ComponentId($component);
            const NAME: &'static str = $name;
        }
    };
}
