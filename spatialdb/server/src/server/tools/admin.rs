//! What tools may change of a running world besides its entities: its schema, and flags.

use spatialdb_core::world::check_name;
use spatialdb_proto::v1;
use spatialdb_schema::Schema;
use spatialdb_types::{Error, Reason};

use crate::server::edge::{DryRun, Edge, SchemaDifference};
use crate::server::port::Event;

/// Adds to the schema.
pub(super) fn apply_schema(
    edge: &Edge,
    descriptor_set: &[u8],
    dry_run: bool,
) -> Result<v1::ApplySchemaResponse, Error> {
    let schema = Schema::from_descriptor_set(descriptor_set)
        .map_err(|error| Error::new(Reason::SchemaInvalid, error.to_string()))?;
    let digest = schema.digest().to_owned();
    let SchemaDifference { added, changed } =
        edge.apply_schema(schema, if dry_run { DryRun::Yes } else { DryRun::No })?;
    if !dry_run {
        tracing::info!(digest, added = added.join(", "), changed = changed.join(", "), "schema applied");
    }
    Ok(v1::ApplySchemaResponse { digest, added, changed })
}

/// Changes flags of a worker type, and tells its sessions.
pub(super) fn set_flags(edge: &Edge, request: v1::SetFlagsRequest) -> Result<v1::Flags, Error> {
    let v1::SetFlagsRequest { worker_type, flags, removed } = request;
    check_name("worker_type", &worker_type)?;
    edge.flags.change(&worker_type, flags, &removed, &edge.limits)?;
    for port in edge.sessions.iter().filter(|port| port.stats.worker_type == worker_type) {
        port.send(Event::FlagsChanged);
    }
    Ok(v1::Flags { flags: edge.flags.of(&worker_type) })
}
