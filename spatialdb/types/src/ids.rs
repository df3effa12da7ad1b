//! Newtypes for every id, so that two of them cannot be swapped.

use std::fmt;

/// Ids, revisions, sequence numbers and epochs on the wire stay below this, so that they survive a double.
pub const ID_END: u64 = 1 << 53;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// An entity: never 0, below 2^53, never reused.
    EntityId(u64)
);
id!(
    /// A component type: 1..999 are built in, a world's own start at 1000.
    ComponentId(u32)
);
id!(
    /// An event of a component: 1..2^29 - 1, unique in its component.
    EventId(u32)
);
id!(
    /// Per (entity, component); rises with each write, gaps allowed, never restarts.
    Revision(u64)
);
id!(
    /// A coordinate system inside a world.
    SpaceId(u32)
);
id!(
    /// A storage shard.
    PartitionId(u16)
);
id!(
    /// One attachment of a worker. Unique within an incarnation of the world.
    SessionId(u32)
);
id!(
    /// A view, unique in its session, chosen by the worker.
    ViewId(u64)
);
id!(
    /// The number of a client message in its session, from 1, no gaps.
    Seq(u64)
);
id!(
    /// Rises with each start of a world, and of a partition.
    Incarnation(u64)
);

id!(
    /// A rule of who may write what, numbered in the order of the configuration.
    LayerId(u16)
);
id!(
    /// A part of a space for one layer, owned by at most one worker; never reused.
    RegionId(u64)
);
id!(
    /// Names one grant of one region: rises with every grant, never repeats.
    Epoch(u64)
);

impl ViewId {
    /// Whether a worker may choose the id: not 0, below [`ID_END`]. The server uses others for views of its own.
    pub const fn is_valid(self) -> bool {
        self.0 != 0 && self.0 < ID_END
    }
}

impl EntityId {
    /// Whether the id may name an entity: not 0, below [`ID_END`].
    pub const fn is_valid(self) -> bool {
        self.0 != 0 && self.0 < ID_END
    }
}

impl EventId {
    /// The last id: the range of protobuf field numbers.
    pub const LAST: Self = Self((1 << 29) - 1);
}

impl ComponentId {
    /// `spatialdb.v1.Position`.
    pub const POSITION: Self = Self(1);
    /// `spatialdb.v1.Metadata`.
    pub const METADATA: Self = Self(2);
    /// `spatialdb.v1.Interest`: views that follow the entity.
    pub const INTEREST: Self = Self(3);
    /// `spatialdb.v1.PlayerOwner`: whose entity it is.
    pub const PLAYER_OWNER: Self = Self(4);
    /// The first id that a world's own schema may use.
    pub const FIRST_CUSTOM: Self = Self(1000);
    /// The last id: the range of protobuf field numbers.
    pub const LAST: Self = Self((1 << 29) - 1);
    /// `spatialdb.v1.WorkerSession`: only the server writes it.
    pub const WORKER_SESSION: Self = Self(6);
    /// `spatialdb.v1.Follows`: it belongs to whom another entity belongs to.
    pub const FOLLOWS: Self = Self(7);

    /// Whether it belongs to spatialdb and not to a world's own schema.
    pub const fn is_built_in(self) -> bool {
        self.0 < Self::FIRST_CUSTOM.0
    }
}
