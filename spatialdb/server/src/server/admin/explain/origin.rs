//! Who wrote the components of an entity, and who may.

use spatialdb_core::Explained;
use spatialdb_proto::v1;
use spatialdb_types::{ComponentId, SessionId};

use super::component_name;
use crate::server::edge::Edge;

/// A snapshot, or the server itself, writes as this one.
const NOBODY: SessionId = SessionId(0);

/// Each component, by rising id.
pub(super) fn components(edge: &Edge, known: &Explained) -> Vec<v1::ComponentOrigin> {
    let position = known.position.map(|(_, revision, mover)| (ComponentId::POSITION, revision, mover));
    let values = known.values.iter().map(|value| (value.component, value.revision, value.writer));
    let origin = |(component, revision, writer): (ComponentId, _, _)| {
        let held_by = known.holds.iter().find(|(held, _)| *held == component);
        let (may_write, layer) = may_write(edge, known, component);
        let revision: spatialdb_types::Revision = revision;
        v1::ComponentOrigin {
            id: component.0,
            name: component_name(edge, component),
            revision: revision.0,
            origin: origin_of(component, writer).into(),
            writer: (writer != NOBODY).then(|| session_ref(edge, writer)),
            may_write: may_write.into(),
            layer,
            held_by: held_by.map(|(_, hold)| session_ref(edge, hold.by)),
        }
    };
    position.into_iter().chain(values).map(origin).collect()
}

fn origin_of(component: ComponentId, writer: SessionId) -> v1::Origin {
    match writer {
        NOBODY if component == ComponentId::WORKER_SESSION => v1::Origin::Server,
        NOBODY => v1::Origin::Snapshot,
        _ => v1::Origin::Session,
    }
}

fn may_write(edge: &Edge, known: &Explained, component: ComponentId) -> (v1::MayWrite, String) {
    if component == ComponentId::WORKER_SESSION {
        return (v1::MayWrite::Server, String::new());
    }
    if edge.layers.is_open() {
        return (v1::MayWrite::Anybody, String::new());
    }
    match edge.layers.layer_of(component, &known.components) {
        Some(layer) => (v1::MayWrite::Owner, edge.layers.get(layer).name.clone()),
        None => (v1::MayWrite::Tools, String::new()),
    }
}

/// A session, with its name if it is still attached.
pub(super) fn session_ref(edge: &Edge, session: SessionId) -> v1::SessionRef {
    let stats = edge.sessions.get(&session).map(|port| port.stats.clone());
    let (name, worker_type) =
        stats.map(|stats| (stats.name.clone(), stats.worker_type.clone())).unwrap_or_default();
    v1::SessionRef { session_id: u64::from(session.0), name, worker_type }
}
