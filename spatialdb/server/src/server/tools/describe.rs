//! The world, its partitions and its sessions in the wire's words.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;

use spatialdb_core::authority::layers::Layer;
use spatialdb_proto::{PROTOCOL_VERSION, v1};
use spatialdb_schema::Schema;
use spatialdb_types::{ComponentId, SessionId};

use crate::server::edge::Edge;
use crate::server::port::Stats;

/// What a worker is told at first.
pub(in crate::server) fn welcome(edge: &Edge, session: SessionId, stats: &Stats) -> v1::Welcome {
    let schema = edge.schema();
    v1::Welcome {
        protocol: PROTOCOL_VERSION,
        features: Vec::new(),
        world_id: edge.info.id.clone(),
        incarnation: edge.info.incarnation,
        session_id: u64::from(session.0),
        // Nothing can be resumed yet: every session starts with Reset.
        resume_token: String::new(),
        schema_digest: schema.digest().to_owned(),
        components: components(&schema),
        spaces: spaces(edge),
        limits: limits(edge),
        flags: edge.flags.of(&stats.worker_type),
        name: stats.name.clone(),
        layers: layers(edge),
    }
}

/// What a session is told of a new schema.
pub(in crate::server) fn schema_changed(schema: &Schema) -> v1::SchemaChanged {
    v1::SchemaChanged { schema_digest: schema.digest().to_owned(), components: components(schema) }
}

pub(super) fn world(edge: &Edge) -> v1::World {
    let schema = edge.schema();
    v1::World {
        world_id: edge.info.id.clone(),
        name: edge.info.name.clone(),
        incarnation: edge.info.incarnation,
        schema_digest: schema.digest().to_owned(),
        entity_count: edge.entity_count(),
        partitions: partitions(edge),
        spaces: spaces(edge),
        components: components(&schema),
        limits: limits(edge),
        world_time_us: edge.clock.now() as i64,
        unix_time_us: edge.clock.unix_us(),
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        durability: if edge.log.is_some() { "disk" } else { "memory" }.to_owned(),
    }
}

pub(super) fn components(schema: &Schema) -> Vec<v1::ComponentInfo> {
    schema
        .components()
        .iter()
        .map(|c| v1::ComponentInfo { id: c.id().0, name: c.name().to_owned() })
        .collect()
}

pub(super) fn sessions(edge: &Edge) -> Vec<v1::SessionInfo> {
    let mut sessions: Vec<_> =
        edge.sessions.iter().map(|port| session(edge, *port.key(), &port.stats)).collect();
    sessions.sort_by_key(|s| s.session_id);
    sessions
}

/// Every session as its entity has it.
pub(in crate::server) fn worker_sessions(edge: &Edge) -> BTreeMap<SessionId, v1::WorkerSession> {
    let all = edge.sessions.iter();
    all.map(|port| (*port.key(), worker_session(session(edge, *port.key(), &port.stats)))).collect()
}

fn worker_session(info: v1::SessionInfo) -> v1::WorkerSession {
    v1::WorkerSession {
        session_id: info.session_id,
        worker_type: info.worker_type,
        name: info.name,
        instance: info.instance,
        connected_unix_time_us: info.connected_unix_time_us,
        load: info.load,
        tick_ms: info.tick_ms,
        heartbeat_age_us: info.heartbeat_age_us,
        staleness_us: info.staleness_us,
        view_count: info.view_count,
        entities_in_view: info.entities_in_view,
        frames_sent: info.frames_sent,
        updates_received: info.updates_received,
        rows_in_flight: info.rows_in_flight,
    }
}

fn session(edge: &Edge, id: SessionId, stats: &Stats) -> v1::SessionInfo {
    let get = |value: &std::sync::atomic::AtomicU64| value.load(Ordering::Relaxed);
    let now = edge.clock.now();
    let heartbeat_at = get(&stats.heartbeat_at);
    v1::SessionInfo {
        session_id: u64::from(id.0),
        worker_type: stats.worker_type.clone(),
        name: stats.name.clone(),
        instance: stats.instance.clone(),
        connected_unix_time_us: stats.connected_unix_us,
        load: f64::from_bits(get(&stats.load)),
        tick_ms: f64::from_bits(get(&stats.tick_ms)),
        heartbeat_age_us: if heartbeat_at == 0 { 0 } else { now.saturating_sub(heartbeat_at) as i64 },
        staleness_us: stats.staleness_us(now),
        view_count: get(&stats.views),
        entities_in_view: get(&stats.entities_in_view),
        frames_sent: get(&stats.frames_sent),
        updates_received: get(&stats.updates_received),
        rows_in_flight: get(&stats.rows_in_flight),
        applied_seq: get(&stats.applied),
    }
}

fn partitions(edge: &Edge) -> Vec<v1::PartitionInfo> {
    let describe = |p: &crate::server::partition::PartitionHandle| v1::PartitionInfo {
        id: u32::from(p.id.0),
        entity_count: p.gauges.entities.load(Ordering::Relaxed),
        cell_count: p.gauges.cells.load(Ordering::Relaxed),
        queue_rows: p.gauges.queue_rows.load(Ordering::Relaxed),
        updates_applied: p.gauges.updates_applied.load(Ordering::Relaxed),
    };
    edge.partitions.iter().map(describe).collect()
}

fn layers(edge: &Edge) -> Vec<v1::LayerInfo> {
    let numbers = |components: &[ComponentId]| components.iter().map(|component| component.0).collect();
    let describe = |layer: &Layer| v1::LayerInfo {
        name: layer.name.clone(),
        worker_type: layer.worker_type.clone(),
        with: numbers(&layer.with),
        without: numbers(&layer.without),
        writes: numbers(&layer.writes),
    };
    edge.layers.all().map(|(_, layer)| describe(layer)).collect()
}

fn spaces(edge: &Edge) -> Vec<v1::SpaceInfo> {
    edge.info.spaces.iter().map(|(id, name)| v1::SpaceInfo { id: id.0, name: name.clone() }).collect()
}

fn limits(edge: &Edge) -> HashMap<String, u64> {
    edge.limits.entries().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
