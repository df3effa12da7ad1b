//! Sessions as entities: each has one with a `WorkerSession`, made when it opens, written once a second, and deleted
//! when it ends.
//!
//! Responsible for: those entities, through the same queues as everybody's writes. Not responsible for: sessions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashSet;
use prost::Message;
use rustc_hash::FxBuildHasher;
use spatialdb_core::{Batch, CreateColumn, CreateRows, Op, Removes, Role, ValueWrites, WriteMode};
use spatialdb_types::{ComponentId, EntityId, ID_END, PartitionId, Seq, SessionId};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::edge::Edge;
use super::tools::describe;

const INTERVAL: Duration = Duration::from_secs(1);

/// Who writes them: no session has this id.
const SERVER: SessionId = SessionId(0);

/// How many ids are set aside.
const SESSIONS_MAX: u64 = 1 << 32;

/// The entities of sessions.
#[derive(Default)]
pub(super) struct Roster {
    entities: DashSet<EntityId, FxBuildHasher>,
    changed: Notify,
}

impl Roster {
    /// A session has come or gone.
    pub(super) fn note_change(&self) {
        self.changed.notify_one();
    }

    /// Whether the entity stands for a session.
    pub(super) fn has(&self, entity: EntityId) -> bool {
        self.entities.contains(&entity)
    }
}

/// Keeps the entities as long as the world runs.
pub(super) async fn keep(edge: Arc<Edge>) {
    let mut known = BTreeMap::new();
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let all = tokio::select! {
            _ = interval.tick() => Which::All,
            () = edge.roster.changed.notified() => Which::New,
        };
        edge.wait_for_room().await;
        write(&edge, &mut known, all);
    }
}

/// Which entities are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    New,
}

fn write(edge: &Edge, known: &mut BTreeMap<SessionId, EntityId>, which: Which) {
    let sessions = describe::worker_sessions(edge);
    let batch = || Batch { role: Role::Server, ..Batch::new(SERVER, Seq(0)) };
    let mut batches: Vec<Batch> = edge.partitions.iter().map(|_| batch()).collect();
    let gate = edge.routes.enter();
    known.retain(|session, entity| {
        let is_there = sessions.contains_key(session);
        if !is_there {
            let mut removes = Removes::new(0, None);
            removes.push(0, *entity);
            batches[place(edge, *entity)].ops.push(Op::Remove(removes));
            edge.roster.entities.remove(entity);
        }
        is_there
    });
    for (session, state) in sessions {
        let value = state.encode_to_vec();
        match known.get(&session) {
            None => {
                let entity = entity_of(session);
                // The world may have one there already; then this session has none.
                if edge.routes.get(entity).is_some() {
                    continue;
                }
                edge.roster.entities.insert(entity);
                known.insert(session, entity);
                batches[place(edge, entity)].ops.push(Op::Create(created(entity, &value)));
            }
            Some(&entity) if which == Which::All => {
                let mut writes = ValueWrites::new(0, WriteMode::Update, ComponentId::WORKER_SESSION, None);
                writes.push(0, entity, &value);
                batches[place(edge, entity)].ops.push(Op::Values(writes));
            }
            Some(_) => {}
        }
    }
    for (partition, batch) in edge.partitions.iter().zip(batches) {
        if !batch.ops.is_empty() {
            partition.send(edge, batch);
        }
    }
    drop(gate);
}

/// Ids of their own, at the end of all: who watches a world must not change which ids its entities get.
fn entity_of(session: SessionId) -> EntityId {
    EntityId(ID_END - SESSIONS_MAX + u64::from(session.0))
}

fn created(entity: EntityId, value: &[u8]) -> CreateRows {
    let mut column = CreateColumn::new(ComponentId::WORKER_SESSION);
    column.push(0, value);
    CreateRows { rows: vec![0], entities: vec![entity], columns: vec![column], ..CreateRows::default() }
}

fn place(edge: &Edge, entity: EntityId) -> usize {
    let PartitionId(partition) = edge.routes.get(entity).unwrap_or_else(|| edge.map.home(entity, None));
    usize::from(partition)
}
