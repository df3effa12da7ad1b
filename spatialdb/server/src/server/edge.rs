//! What sessions, services and partition threads share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Guard};
use dashmap::DashMap;
use rustc_hash::FxBuildHasher;
use spatialdb_core::authority::issuer::{Issuer, Memory};
use spatialdb_core::authority::layers::Layers;
use spatialdb_core::{Micros, PartitionMap, World};
use spatialdb_schema::{Component, Schema, additions, changes, losses};
use spatialdb_types::{ComponentId, Epoch, Error, Limits, PartitionId, Reason, SessionId, SpaceId};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::authority::Authority;
use super::cuts::Cuts;
use super::durable::LogStatus;
use super::flags::Flags;
use super::interests::Interests;
use super::partition::PartitionHandle;
use super::port::{Event, Port};
use super::roster::Roster;
use super::rounds::Rounds;
use super::routes::Routes;
use super::snapshots::Captures;
use crate::config::AuthorityConfig;
use crate::supervisor::ServerLink;

/// One running world as its connections see it.
pub(super) struct Edge {
    pub(super) info: WorldInfo,
    schema: ArcSwap<Schema>,
    pub(super) flags: Flags,
    pub(super) limits: Limits,
    pub(super) map: Arc<PartitionMap>,
    pub(super) routes: Routes,
    pub(super) partitions: Vec<PartitionHandle>,
    pub(super) sessions: DashMap<SessionId, Port, FxBuildHasher>,
    pub(super) draining: AtomicBool,
    /// The same, for whoever waits for it.
    pub(super) stopping: CancellationToken,
    pub(super) queries: Arc<Semaphore>,
    pub(super) cuts: Cuts,
    pub(super) rounds: Rounds,
    pub(super) captures: Captures,
    pub(super) roster: Roster,
    pub(super) interests: Interests,
    pub(super) traffic: Traffic,
    pub(super) access: Access,
    /// Who may write what.
    pub(super) layers: Arc<Layers>,
    /// How patient the world is with workers that own something.
    pub(super) patience: AuthorityConfig,
    pub(super) authority: Authority,
    /// The way to the supervisor of the world's workers, if there is one.
    pub(super) workers: Option<ServerLink>,
    /// How the logs stand; `None`: the world is in memory.
    pub(super) log: Option<LogStatus>,
    pub(super) clock: Clock,
    world: Mutex<World>,
    /// Unknown fields by component: they are kept, counted and warned of once.
    unknown_fields: DashMap<ComponentId, AtomicU64, FxBuildHasher>,
}

/// What an edge is made of.
pub(super) struct EdgeParts {
    pub(super) info: WorldInfo,
    pub(super) schema: Schema,
    pub(super) flags: Flags,
    pub(super) limits: Limits,
    pub(super) routes: Routes,
    pub(super) world: World,
    pub(super) partitions: Vec<PartitionHandle>,
    pub(super) access: Access,
    pub(super) layers: Arc<Layers>,
    pub(super) patience: AuthorityConfig,
    pub(super) workers: Option<ServerLink>,
    pub(super) log: Option<LogStatus>,
    /// Epochs up to that one were given before.
    pub(super) epochs: Epoch,
    /// The regions that there were.
    pub(super) regions: Option<Memory>,
}

/// What does not change while a world runs.
pub(super) struct WorldInfo {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) incarnation: u64,
    /// By id.
    pub(super) spaces: Vec<(SpaceId, String)>,
}

/// What a new schema brings.
pub(super) struct SchemaDifference {
    /// Components, and fields of others.
    pub(super) added: Vec<String>,
    /// What is other than before and loses nothing.
    pub(super) changed: Vec<String>,
}

/// Whether something is only tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DryRun {
    Yes,
    No,
}

/// Bytes of frames, of all sessions: what was encoded, and what was sent.
#[derive(Default)]
pub(super) struct Traffic {
    pub(super) encoded: AtomicU64,
    pub(super) sent: AtomicU64,
}

/// World time and Unix time.
pub(super) struct Clock {
    start: Instant,
    start_unix_us: i64,
}

impl Traffic {
    pub(super) fn note(&self, encoded: usize, sent: usize) {
        self.encoded.fetch_add(encoded as u64, Ordering::Relaxed);
        self.sent.fetch_add(sent as u64, Ordering::Relaxed);
    }
}

impl Edge {
    pub(super) fn new(parts: EdgeParts) -> Self {
        let EdgeParts {
            info,
            schema,
            flags,
            limits,
            routes,
            world,
            partitions,
            access,
            layers,
            patience,
            workers,
            log,
            epochs,
            regions,
        } = parts;
        let spaces: Vec<SpaceId> = info.spaces.iter().map(|(id, _)| *id).collect();
        let ids = world.map().ids();
        let issuer = (!layers.is_open()).then(|| {
            let mut issuer = Issuer::new(&layers, &spaces, ids, patience.patience, &limits);
            issuer.begin_after(epochs);
            if let Some(regions) = &regions {
                issuer.remember(regions, 0);
            }
            issuer
        });
        let queries = limits.queries_at_once_max as usize;
        let partition_count = partitions.len();
        Self {
            info,
            schema: ArcSwap::from_pointee(schema),
            flags,
            limits,
            map: world.map().clone(),
            routes,
            partitions,
            sessions: DashMap::with_hasher(FxBuildHasher),
            draining: AtomicBool::new(false),
            stopping: CancellationToken::new(),
            queries: Arc::new(Semaphore::new(queries)),
            cuts: Cuts::default(),
            rounds: Rounds::new(partition_count),
            captures: Captures::default(),
            roster: Roster::default(),
            interests: Interests::default(),
            traffic: Traffic::default(),
            access,
            authority: Authority::new(&layers, issuer),
            layers,
            patience,
            workers,
            log,
            clock: Clock::new(),
            world: Mutex::new(world),
            unknown_fields: DashMap::with_hasher(FxBuildHasher),
        }
    }

    /// The schema as it is now.
    pub(super) fn schema(&self) -> Guard<Arc<Schema>> {
        self.schema.load()
    }

    /// Replaces the schema by one that adds to it, and tells every session. Returns what is added.
    ///
    /// # Errors
    /// `SCHEMA_INVALID` with what data would no longer fit, field by field; `LIMIT_REACHED`.
    pub(super) fn apply_schema(&self, new: Schema, dry_run: DryRun) -> Result<SchemaDifference, Error> {
        // Sessions come and go with this lock held: each is told, or is welcomed with the new schema.
        let _world = self.world();
        let old = self.schema.load_full();
        let list = losses(&old, &new);
        if !list.is_empty() {
            return Err(Error::new(Reason::SchemaInvalid, list.join("; ")));
        }
        let (count, max) = (new.components().len() as u64, self.limits.schema_components_max);
        if count > max {
            let detail = format!("the schema has {count} components; schema_components_max = {max}");
            return Err(Error::new(Reason::LimitReached, detail));
        }
        let (count, max) = (new.events().len() as u64, self.limits.schema_events_max);
        if count > max {
            let detail = format!("the schema has {count} events; schema_events_max = {max}");
            return Err(Error::new(Reason::LimitReached, detail));
        }
        let difference = SchemaDifference { added: additions(&old, &new), changed: changes(&old, &new) };
        if dry_run == DryRun::No && new.digest() != old.digest() {
            let new = Arc::new(new);
            // First told, then in force: no frame can have what its session does not know.
            for port in &self.sessions {
                port.send(Event::SchemaChanged(new.clone()));
            }
            self.schema.store(new);
        }
        Ok(difference)
    }

    /// A value had fields that the schema does not know, as happens while workers are being upgraded.
    pub(super) fn warn_of_unknown_fields(&self, component: &Component, count: u32) {
        if count == 0 {
            return;
        }
        let known = self.unknown_fields.entry(component.id()).or_default();
        if known.fetch_add(u64::from(count), Ordering::Relaxed) == 0 {
            tracing::warn!(
                component = component.name(),
                "values have fields that the schema does not know; they are kept"
            );
        }
        metrics::counter!("spatialdb_edge_unknown_fields_total").increment(u64::from(count));
    }

    /// The world machine. Held for a moment, never across an await.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn partition(&self, id: PartitionId) -> &PartitionHandle {
        &self.partitions[usize::from(id.0)]
    }

    pub(super) fn has_space(&self, space: SpaceId) -> bool {
        self.info.spaces.binary_search_by_key(&space, |(id, _)| *id).is_ok()
    }

    pub(super) fn entity_count(&self) -> u64 {
        self.partitions.iter().map(|p| p.gauges.entities.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// No new sessions; those there are say goodbye.
    pub(super) fn drain_sessions(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.stopping.cancel();
        for port in &self.sessions {
            port.send(Event::Drain);
        }
    }

    /// Waits until every partition has room for a message more.
    pub(super) async fn wait_for_room(&self) {
        for partition in &self.partitions {
            let has_room = || partition.has_room(&self.limits) && !self.captures.is_paused();
            while !has_room() {
                let room = partition.gauges.room.notified();
                if has_room() {
                    break;
                }
                room.await;
            }
        }
    }
}

impl Clock {
    fn new() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_unix_us: unix.as_micros() as i64 }
    }

    /// Since the world's start.
    pub(super) fn now(&self) -> Micros {
        self.start.elapsed().as_micros() as Micros
    }

    /// Steady: Unix time at the start plus what has passed since.
    pub(super) fn unix_us(&self) -> i64 {
        self.start_unix_us + self.now() as i64
    }
}
