//! The way to a session's task, and what it tells about itself.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spatialdb_core::authority::issuer::{Notice, Said, Signs};
use spatialdb_core::world::Owner;
use spatialdb_core::{Micros, Outcome, SeenTable, Sight, ToSession, View};
use spatialdb_schema::Schema;
use spatialdb_types::{EntityId, PartitionId, Seq, SessionId, ViewId};
use tokio::sync::{Notify, mpsc, oneshot};

use super::durable::AttachedSession;
use crate::auth::Principal;

/// What a session's task is told.
///
/// The channel has no bound of its own; what is in it has: a partition gives one delta until it is taken, and the
/// reader stops at `session_messages_in_flight_max` undecided messages.
pub(super) enum Event {
    /// A message was received, and that many of its rows are on their way.
    Received {
        seq: Seq,
        rows: u32,
        refused: Outcome,
    },
    /// What a session asked has been answered.
    Answered(Outcome),
    Subscribe(Seq, View),
    ChangeView(Seq, View),
    EndView(Seq, ViewId),
    Partition {
        from: PartitionId,
        at: Micros,
        message: ToSession,
    },
    /// The issuer has something to tell the worker.
    Notice(Notice),
    /// Somebody asks what the session sees of an entity.
    Sight(EntityId, oneshot::Sender<Sight>),
    /// The worker has something to tell the issuer, once its messages up to that one are decided.
    Said(Seq, Said),
    /// The flags of its worker type are others now.
    FlagsChanged,
    SchemaChanged(Arc<Schema>),
    /// The worker said goodbye, or its stream ended.
    Ended,
    /// The worker broke the protocol.
    Broken(tonic::Status),
    /// Its token no longer holds.
    Revoked,
    /// A newer session took over.
    Replaced,
    /// The server stops.
    Drain,
}

/// A session as others see it.
#[derive(Clone)]
pub(super) struct Port {
    events: mpsc::UnboundedSender<Event>,
    pub(super) stats: Arc<Stats>,
}

/// What is known of a session from outside.
#[derive(Debug)]
pub(super) struct Stats {
    pub(super) principal: Arc<Principal>,
    pub(super) worker_type: String,
    pub(super) name: String,
    pub(super) instance: String,
    pub(super) connected_unix_us: i64,
    /// As bits.
    pub(super) load: AtomicU64,
    /// As bits.
    pub(super) tick_ms: AtomicU64,
    pub(super) heartbeat_at: AtomicU64,
    /// How many came, and the last frame that they named.
    pub(super) beats: AtomicU64,
    pub(super) frame_seen: AtomicU64,
    /// How many other messages came.
    pub(super) said: AtomicU64,
    /// When the worker said anything last.
    pub(super) heard_at: AtomicU64,
    /// The server waits for room, and does not read the session meanwhile.
    pub(super) is_unread: AtomicBool,
    /// What the numbers mean that the worker names as seen.
    pub(super) seen: Mutex<SeenTable>,
    /// When the oldest frame that waits was published; 0 if none does.
    pub(super) waiting_since: AtomicU64,
    pub(super) last_staleness_us: AtomicI64,
    pub(super) views: AtomicU64,
    pub(super) entities_in_view: AtomicU64,
    pub(super) frames_sent: AtomicU64,
    pub(super) updates_received: AtomicU64,
    pub(super) rows_in_flight: AtomicU64,
    pub(super) applied: AtomicU64,
    /// Told when entities give the session other views.
    pub(super) page_turned: Notify,
}

impl Port {
    pub(super) fn new(stats: Arc<Stats>) -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (events, queue) = mpsc::unbounded_channel();
        (Self { events, stats }, queue)
    }

    pub(super) fn send(&self, event: Event) {
        // The task may have ended: then nobody needs to know.
        let _ = self.events.send(event);
    }
}

impl Stats {
    /// Its names, for those who read later what it wrote.
    pub(super) fn attached(&self, session: SessionId) -> AttachedSession {
        let (worker_type, name) = (self.worker_type.clone(), self.name.clone());
        AttachedSession { session: session.0, worker_type, name }
    }

    /// Of a session that has done nothing yet.
    pub(super) fn new(
        principal: Arc<Principal>,
        owner: &Owner,
        instance: String,
        connected_unix_us: i64,
    ) -> Self {
        Self {
            principal,
            worker_type: owner.worker_type.clone(),
            name: owner.name.clone(),
            instance,
            connected_unix_us,
            load: AtomicU64::default(),
            tick_ms: AtomicU64::default(),
            heartbeat_at: AtomicU64::default(),
            beats: AtomicU64::default(),
            frame_seen: AtomicU64::default(),
            said: AtomicU64::default(),
            heard_at: AtomicU64::default(),
            is_unread: AtomicBool::default(),
            seen: Mutex::default(),
            waiting_since: AtomicU64::default(),
            last_staleness_us: AtomicI64::default(),
            views: AtomicU64::default(),
            entities_in_view: AtomicU64::default(),
            frames_sent: AtomicU64::default(),
            updates_received: AtomicU64::default(),
            rows_in_flight: AtomicU64::default(),
            applied: AtomicU64::default(),
            page_turned: Notify::new(),
        }
    }

    /// What the numbers mean that the worker names as seen. Locked for a moment.
    pub(super) fn seen(&self) -> MutexGuard<'_, SeenTable> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it said something since then, or could not be heard.
    pub(super) fn was_heard_since(&self, since: Micros) -> bool {
        self.is_unread.load(Ordering::Relaxed) || self.heard_at.load(Ordering::Relaxed) >= since
    }

    /// What the worker has shown of its own loop.
    pub(super) fn signs(&self) -> Signs {
        // A heartbeat counts when all that it says does.
        let beats = self.beats.load(Ordering::Acquire);
        Signs {
            beats,
            said: self.said.load(Ordering::Relaxed),
            tick: self.tick_ms.load(Ordering::Relaxed),
            frame_seen: self.frame_seen.load(Ordering::Relaxed),
            frame_sent: self.frames_sent.load(Ordering::Relaxed),
        }
    }

    /// How old the oldest change is that waits for the connection, or how old the last one was when it was taken.
    pub(super) fn staleness_us(&self, now: Micros) -> i64 {
        match self.waiting_since.load(Ordering::Relaxed) {
            0 => self.last_staleness_us.load(Ordering::Relaxed),
            since => now.saturating_sub(since) as i64,
        }
    }
}
