//! The components of the test world as Rust types, chosen by name at run time.
//!
//! Responsible for: the types, and calling typed functions of the SDK for a name.
//! Not responsible for: JSON, which the schema of the world translates.

use std::collections::BTreeMap;

use prost::Message;

/// `probe.Leg`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Leg {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(double, tag = "2")]
    pub metres: f64,
}

/// `probe.Vitals`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Vitals {
    #[prost(int32, tag = "1")]
    pub hp: i32,
    #[prost(string, tag = "2")]
    pub label: String,
    #[prost(bool, tag = "3")]
    pub alive: bool,
    #[prost(int32, repeated, tag = "4")]
    pub marks: Vec<i32>,
    #[prost(bytes = "vec", tag = "5")]
    pub seal: Vec<u8>,
    #[prost(oneof = "State", tags = "6, 7")]
    pub state: Option<State>,
    #[prost(message, repeated, tag = "8")]
    pub legs: Vec<Leg>,
    #[prost(btree_map = "string, int64", tag = "9")]
    pub stock: BTreeMap<String, i64>,
}

/// The arms of `Vitals.state`.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub(crate) enum State {
    #[prost(string, tag = "6")]
    Awake(String),
    #[prost(uint32, tag = "7")]
    AsleepS(u32),
}

/// `probe.Hit`, an event.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Hit {
    #[prost(int32, tag = "1")]
    pub power: i32,
    #[prost(string, tag = "2")]
    pub by: String,
}

/// `probe.Tag`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Tag {}

/// `spatialdb.v1.WorkerSession`, which only the server writes: to tell sessions from other entities.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct WorkerSession {}

/// `spatialdb.v1.Position` by its id alone, to take it away. Its values travel as `Position`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct AnyPosition {}

spatialdb_sdk::component!(AnyPosition, 1, "spatialdb.v1.Position");
spatialdb_sdk::component!(WorkerSession, 6, "spatialdb.v1.WorkerSession");
spatialdb_sdk::component!(Vitals, 1000, "probe.Vitals");
spatialdb_sdk::component!(Tag, 1001, "probe.Tag");
spatialdb_sdk::event!(Hit, 1, 1000, "probe.Hit");

/// Runs the body with `C` as the component of that name; `None` if this driver has no type for it.
macro_rules! with_component {
    ($name:expr, $component:ident => $body:expr) => {
        match $name {
            "spatialdb.v1.Metadata" => {
                type $component = spatialdb_sdk::v1::Metadata;
                Some($body)
            }
            "spatialdb.v1.Interest" => {
                type $component = spatialdb_sdk::v1::Interest;
                Some($body)
            }
            "spatialdb.v1.PlayerOwner" => {
                type $component = spatialdb_sdk::v1::PlayerOwner;
                Some($body)
            }
            "spatialdb.v1.WorkerSession" => {
                type $component = $crate::components::WorkerSession;
                Some($body)
            }
            "probe.Vitals" => {
                type $component = $crate::components::Vitals;
                Some($body)
            }
            "probe.Tag" => {
                type $component = $crate::components::Tag;
                Some($body)
            }
            _ => None,
        }
    };
}
pub(crate) use with_component;

/// Every name that is shown.
pub(crate) const NAMES: [&str; 5] = [
    "spatialdb.v1.Metadata",
    "spatialdb.v1.Interest",
    "spatialdb.v1.PlayerOwner",
    "probe.Vitals",
    "probe.Tag",
];
