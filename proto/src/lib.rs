//! The wire of spatialdb.
//!
//! Responsible for: the types generated from `proto/spatialdb/v1`, the sources of those files, conversions
//! between wire and [`spatialdb_types`], and the one mapping of errors to gRPC.
//! Not responsible for: the schema of a world (`spatialdb-schema`), sessions, transport.

mod incoming;
mod outgoing;
mod packed;
mod positions;
mod status;

pub use incoming::{Incoming, IncomingSend};
pub use outgoing::{Encoded, Outgoing};
pub use positions::PositionColumn;
pub use status::{error_of_status, grpc_code, status_of, wire_code};

/// Generated from `proto/spatialdb/v1/*.proto`.
#[allow(missing_docs, clippy::all, unreachable_pub, unused_qualifications)]
pub mod v1 {
    pub use crate::PositionColumn;

    tonic::include_proto!("spatialdb.v1");
}

/// The services of [`v1`] for a server whose sessions send [`Outgoing`] messages and are sent [`Incoming`] ones.
#[allow(missing_docs, clippy::all, unreachable_pub, unused_qualifications)]
pub mod server {
    include!(concat!(env!("OUT_DIR"), "/outgoing/spatialdb.v1.rs"));
}

/// The version of the protocol that this crate speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// A serialised `FileDescriptorSet` of every file in `spatialdb/v1`, imports included.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/spatialdb.v1.fds"));

/// The `.proto` files that a world's own schema may import, as (import path, text).
pub const BUILT_IN_FILES: [(&str, &str); 10] = [
    ("spatialdb/v1/schema.proto", include_str!("../spatialdb/v1/schema.proto")),
    ("spatialdb/v1/components.proto", include_str!("../spatialdb/v1/components.proto")),
    ("spatialdb/v1/authority.proto", include_str!("../spatialdb/v1/authority.proto")),
    ("spatialdb/v1/query.proto", include_str!("../spatialdb/v1/query.proto")),
    ("spatialdb/v1/worker.proto", include_str!("../spatialdb/v1/worker.proto")),
    ("spatialdb/v1/world.proto", include_str!("../spatialdb/v1/world.proto")),
    ("spatialdb/v1/region.proto", include_str!("../spatialdb/v1/region.proto")),
    ("spatialdb/v1/explain.proto", include_str!("../spatialdb/v1/explain.proto")),
    ("spatialdb/v1/snapshot.proto", include_str!("../spatialdb/v1/snapshot.proto")),
    ("spatialdb/v1/admin.proto", include_str!("../spatialdb/v1/admin.proto")),
];
