//! What goes to a partition past its queue of updates.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spatialdb_core::authority::issuer::Loads;
use spatialdb_core::authority::leases::Order;
use spatialdb_core::{EntityState, Explained, PeerMessage, Query, Refused, ToPartition, ViewSet};
use spatialdb_types::{EntityId, PartitionId, SessionId};
use tokio::sync::oneshot;

/// What a session leaves for a partition: it matters to the next publish.
pub(in crate::server) enum Note {
    /// The session's views have changed: the newest set is in its slot.
    Views(SessionId, Arc<ViewSlots>),
    Session(SessionId, ToPartition),
}

/// A message to a partition that does not wait.
pub(in crate::server) enum Control {
    Peer(PartitionId, PeerMessage),
    /// Queries over all partitions, and their number.
    Cut(u64, Arc<[Query]>),
    Entity {
        entity: EntityId,
        answer: oneshot::Sender<Whereabouts<EntityState>>,
    },
    /// Why an entity is as it is.
    Explain {
        entity: EntityId,
        answer: oneshot::Sender<Whereabouts<Explained>>,
    },
    /// The last write of an entity that was refused there.
    Refused {
        entity: EntityId,
        answer: oneshot::Sender<Option<Refused>>,
    },
    /// Of the issuer.
    Order(Order),
    /// All records of its log up to that number are on disk.
    Stored(u64),
    /// Nothing more will be.
    LogFailed,
    /// A round of checkpoints begins.
    Round(u64),
    /// What sessions send is held until the capture of that number begins.
    Hold(u64),
    /// It begins.
    Capture(u64),
    /// Nobody wants it any more.
    EndCapture(u64),
    /// Is nothing under way?
    Calm(oneshot::Sender<bool>),
    /// What it counts, in squares that were doubled so often at least.
    Load {
        doublings: u32,
        answer: oneshot::Sender<(u32, Loads)>,
    },
    Stop,
}

/// A session's views on their way to each partition. Only the newest set waits, however often they change.
pub(in crate::server) struct ViewSlots {
    slots: Vec<Mutex<Option<VersionedViews>>>,
}

/// A version, and the session's views in it.
pub(in crate::server) type VersionedViews = (u64, ViewSet);

impl ViewSlots {
    pub(in crate::server) fn new(partitions: usize) -> Self {
        Self { slots: (0..partitions).map(|_| Mutex::new(None)).collect() }
    }

    /// Leaves a set for a partition. Returns whether the partition must be told: no older one was waiting.
    pub(in crate::server) fn put(&self, to: PartitionId, views: VersionedViews) -> bool {
        self.slot(to).replace(views).is_none()
    }

    pub(in crate::server) fn take(&self, partition: PartitionId) -> Option<VersionedViews> {
        self.slot(partition).take()
    }

    fn slot(&self, partition: PartitionId) -> MutexGuard<'_, Option<VersionedViews>> {
        self.slots[usize::from(partition.0)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a partition knows of an entity.
pub(in crate::server) enum Whereabouts<T> {
    Here(T),
    MovedTo(PartitionId),
    Unknown,
}
