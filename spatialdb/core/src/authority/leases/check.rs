//! Whether a write is accepted.

use std::fmt;
use std::sync::Arc;

use spatialdb_types::{
    ComponentId, EntityId, Epoch, Error, LayerId, PartitionId, Reason, RegionId, Revision, SessionId,
};

use super::{Gained, Lease, LeaseTable, Slot};

/// What a batch's `authority_seen` means to partitions. The session translates it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// The highest epoch of a grant that its worker had been told.
    pub epoch: Epoch,
    /// For each partition, its clock up to which the worker had been told what it gained there.
    pub gains: Arc<[Revision]>,
}

/// Who writes, and what it knew.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Writer {
    /// The session.
    pub session: SessionId,
    /// What its worker had processed when it wrote.
    pub seen: Seen,
}

/// Why a write is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The partition has not been told of regions yet.
    Unknown,
    /// No layer has the component of such an entity, or, where none is named, such an entity at all.
    NoLayer(EntityId, Option<ComponentId>),
    /// The entity belongs to that player, of whom no session is attached; or, where none is named, to no player.
    PlayerAway(EntityId, Option<Arc<str>>),
    /// Somebody else owns the region, or nobody.
    NotOwner(RegionId, Lease),
    /// The writer owns the region, but wrote before it was told so.
    RegionNotSeen(RegionId, Lease, Epoch),
    /// The writer owns the entity, but wrote before it was told so.
    EntityNotSeen(EntityId, Gained, Revision),
    /// A tool holds the component.
    Held(EntityId, ComponentId, SessionId, Epoch),
}

impl LeaseTable {
    /// Whether a write to an ordinary row of a region is accepted: the row is in no list of exceptions.
    ///
    /// # Errors
    /// Why not.
    #[inline]
    pub fn check(&self, slot: Slot, writer: &Writer) -> Result<(), Refusal> {
        let (region, lease) = self.leases[slot.0 as usize];
        if lease.owner != Some(writer.session) {
            return Err(Refusal::NotOwner(region, lease));
        }
        if lease.epoch > writer.seen.epoch {
            return Err(Refusal::RegionNotSeen(region, lease, writer.seen.epoch));
        }
        Ok(())
    }

    /// Whether a write to a row that may be an exception is accepted. `place` is the region where it lies.
    ///
    /// # Errors
    /// Why not.
    pub fn check_apart(
        &self,
        entity: EntityId,
        layer: LayerId,
        component: ComponentId,
        place: Option<Slot>,
        writer: &Writer,
    ) -> Result<(), Refusal> {
        if let Some(hold) = self.apart.hold(entity, component) {
            let held = Refusal::Held(entity, component, hold.by, hold.epoch);
            return if hold.by == writer.session { Ok(()) } else { Err(held) };
        }
        let entry = self.apart.entry(entity, layer);
        let own = entry.and_then(|entry| entry.region).map(|region| self.slot(region));
        let slot = own.unwrap_or(place).ok_or(Refusal::Unknown)?;
        self.check(slot, writer)?;
        match entry.and_then(|entry| entry.gained) {
            Some(gained) if gained.owner == writer.session && !writer.has_seen(&gained) => {
                Err(Refusal::EntityNotSeen(entity, gained, writer.seen.gains_of(gained.partition)))
            }
            _ => Ok(()),
        }
    }
}

impl Writer {
    /// Whether it gained the entity, and had been told so.
    pub(super) fn has_seen(&self, gained: &Gained) -> bool {
        gained.owner == self.session && self.seen.includes(gained)
    }
}

impl Seen {
    /// Whether its worker had been told of the gain.
    pub(super) fn includes(&self, gained: &Gained) -> bool {
        let has_seen = |(partition, at)| at <= self.gains_of(partition);
        let is_told = has_seen((gained.partition, gained.at)) || gained.again.is_some_and(has_seen);
        is_told || gained.fence.is_some_and(|fence| fence <= self.epoch)
    }

    fn gains_of(&self, partition: PartitionId) -> Revision {
        self.gains.get(usize::from(partition.0)).copied().unwrap_or_default()
    }
}

impl Refusal {
    /// The reason that a client is told.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NoLayer(_, Some(_)) => Reason::ComponentInNoLayer,
            Self::Unknown | Self::NoLayer(_, None) | Self::PlayerAway(..) | Self::NotOwner(..) => {
                Reason::NotOwner
            }
            Self::RegionNotSeen(..) | Self::EntityNotSeen(..) => Reason::OwnershipNotSeen,
            Self::Held(..) => Reason::ComponentHeld,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => write!(f, "the partition is starting and does not know the owner yet"),
            Self::NoLayer(entity, Some(component)) => {
                write!(f, "no layer writes component {component} of entity {entity}: only tools do")
            }
            Self::NoLayer(entity, None) => write!(f, "no layer has entity {entity}: only tools delete it"),
            Self::PlayerAway(entity, Some(player)) => {
                write!(f, "entity {entity} belongs to player {player}, who is not attached")
            }
            Self::PlayerAway(entity, None) => {
                write!(f, "the PlayerOwner of entity {entity} names nobody: only tools write it")
            }
            Self::NotOwner(region, Lease { epoch, owner: Some(owner) }) => {
                write!(f, "region {region} is owned by session {owner} since epoch {epoch}")
            }
            Self::NotOwner(region, Lease { epoch, owner: None }) => {
                write!(f, "region {region} has no owner since the end of epoch {epoch}")
            }
            Self::RegionNotSeen(region, lease, seen) => {
                let epoch = lease.epoch;
                write!(f, "region {region} was granted with epoch {epoch}, the writer had seen {seen}")
            }
            Self::EntityNotSeen(entity, Gained { partition, at, .. }, seen) => {
                write!(
                    f,
                    "entity {entity} was gained at clock {at} of partition {partition}, the writer had seen {seen}"
                )
            }
            Self::Held(entity, component, by, epoch) => {
                write!(f, "component {component} of entity {entity} is held by session {by}, epoch {epoch}")
            }
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.reason(), refusal.to_string())
    }
}
