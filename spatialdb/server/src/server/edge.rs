//! What sessions, services and partition threads share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use dashmap::DashMap;
use rustc_hash::FxBuildHasher;
use spatialdb_core::{
    Batch, Constraint, EntityState, Micros, PartitionMap, PeerMessage, QueryAnswer, ToPartition, View, World,
};
use spatialdb_schema::{Component, Schema};
use spatialdb_types::{ComponentId, EntityId, Limits, PartitionId, SessionId, SpaceId};
use tokio::sync::{Notify, Semaphore, oneshot};

use super::port::{Event, Port};
use super::routes::Routes;

/// One running world as its connections see it.
pub(super) struct Edge {
    pub(super) info: WorldInfo,
    pub(super) schema: Schema,
    pub(super) limits: Limits,
    pub(super) map: Arc<PartitionMap>,
    pub(super) routes: Routes,
    pub(super) partitions: Vec<PartitionHandle>,
    pub(super) sessions: DashMap<SessionId, Port, FxBuildHasher>,
    pub(super) draining: AtomicBool,
    pub(super) queries: Arc<Semaphore>,
    pub(super) clock: Clock,
    world: Mutex<World>,
    /// Unknown fields by component: they are kept, counted and warned of once.
    unknown_fields: DashMap<ComponentId, AtomicU64, FxBuildHasher>,
}

/// What does not change while a world runs.
pub(super) struct WorldInfo {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) incarnation: u64,
    /// By id.
    pub(super) spaces: Vec<(SpaceId, String)>,
}

/// World time and Unix time.
pub(super) struct Clock {
    start: Instant,
    start_unix_us: i64,
}

/// The way to a partition's thread.
pub(super) struct PartitionHandle {
    pub(super) id: PartitionId,
    work: Sender<Batch>,
    control: Sender<Control>,
    pub(super) gauges: Gauges,
}

/// What a partition's thread tells about itself.
#[derive(Default)]
pub(super) struct Gauges {
    pub(super) queue_rows: AtomicU64,
    pub(super) entities: AtomicU64,
    pub(super) cells: AtomicU64,
    pub(super) updates_applied: AtomicU64,
    pub(super) moves_in_flight: AtomicU64,
    /// Too many moves are under way: the edge holds back.
    pub(super) holds_back: AtomicBool,
    /// Told when there is room in the queue again.
    pub(super) room: Notify,
}

/// What goes to a partition past its queue of updates.
pub(super) enum Control {
    /// The session's views have changed: the newest set is in its slot.
    Views(SessionId, Arc<ViewSlots>),
    Session(SessionId, ToPartition),
    Peer(PartitionId, PeerMessage),
    Query {
        constraint: Constraint,
        components: Vec<ComponentId>,
        limit: usize,
        answer: oneshot::Sender<QueryAnswer>,
    },
    Entity {
        entity: EntityId,
        answer: oneshot::Sender<Whereabouts>,
    },
    Stop,
}

/// A session's views on their way to each partition. Only the newest set waits, however often they change.
pub(super) struct ViewSlots {
    slots: Vec<Mutex<Option<VersionedViews>>>,
}

/// A version, and the session's views in it.
pub(super) type VersionedViews = (u64, Arc<[Arc<View>]>);

impl ViewSlots {
    pub(super) fn new(partitions: usize) -> Self {
        Self { slots: (0..partitions).map(|_| Mutex::new(None)).collect() }
    }

    /// Leaves a set for a partition. Returns whether the partition must be told: no older one was waiting.
    pub(super) fn put(&self, to: PartitionId, views: VersionedViews) -> bool {
        self.slot(to).replace(views).is_none()
    }

    pub(super) fn take(&self, partition: PartitionId) -> Option<VersionedViews> {
        self.slot(partition).take()
    }

    fn slot(&self, partition: PartitionId) -> MutexGuard<'_, Option<VersionedViews>> {
        self.slots[usize::from(partition.0)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a partition knows of an entity.
pub(super) enum Whereabouts {
    Here(EntityState),
    MovedTo(PartitionId),
    Unknown,
}

impl Edge {
    pub(super) fn new(
        info: WorldInfo,
        schema: Schema,
        limits: Limits,
        routes: Routes,
        world: World,
        partitions: Vec<PartitionHandle>,
    ) -> Self {
        let queries = limits.queries_at_once_max as usize;
        Self {
            info,
            schema,
            limits,
            map: world.map().clone(),
            routes,
            partitions,
            sessions: DashMap::with_hasher(FxBuildHasher),
            draining: AtomicBool::new(false),
            queries: Arc::new(Semaphore::new(queries)),
            clock: Clock::new(),
            world: Mutex::new(world),
            unknown_fields: DashMap::with_hasher(FxBuildHasher),
        }
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
        for port in &self.sessions {
            port.send(Event::Drain);
        }
    }

    /// Waits until every partition has room for a message more.
    pub(super) async fn wait_for_room(&self) {
        for partition in &self.partitions {
            while !partition.has_room(&self.limits) {
                let room = partition.gauges.room.notified();
                if partition.has_room(&self.limits) {
                    break;
                }
                room.await;
            }
        }
    }
}

impl PartitionHandle {
    /// A handle, and the queues for its thread.
    pub(super) fn new(id: PartitionId, limits: &Limits) -> (Self, Receiver<Batch>, Receiver<Control>) {
        // The bound on rows is kept by `wait_for_room`; past it each session may still put one message, so that many
        // more places make `send` never fail.
        let places = limits.partition_queue_rows_max + limits.sessions_max;
        let (work, work_queue) = crossbeam_channel::bounded(places as usize);
        // Bounded by what is sent here: for each session one set of views, one `Ready` a delta, one flush; moves in
        // flight; queries at once.
        let (control, control_queue) = crossbeam_channel::unbounded();
        (Self { id, work, control, gauges: Gauges::default() }, work_queue, control_queue)
    }

    /// Queues a batch. Only while inside the gate of the routes, and after `wait_for_room`.
    pub(super) fn send(&self, batch: Batch) {
        let rows = batch.row_count() as u64;
        self.gauges.queue_rows.fetch_add(rows, Ordering::Relaxed);
        match self.work.try_send(batch) {
            // The thread is gone only when the world stops.
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                panic!("the queue of partition {} has a place for every session", self.id)
            }
        }
    }

    pub(super) fn tell(&self, control: Control) {
        // The thread is gone only when the world stops.
        let _ = self.control.send(control);
    }

    fn has_room(&self, limits: &Limits) -> bool {
        self.gauges.queue_rows.load(Ordering::Relaxed) < limits.partition_queue_rows_max
            && !self.gauges.holds_back.load(Ordering::Relaxed)
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
