//! The pure core of spatialdb: three state machines that share nothing and speak only in messages.
//!
//! - [`Partition`] holds the entities of its boxes and applies writes in order.
//! - [`Session`] merges what the partitions say into exact frames for one subscriber.
//! - [`World`] gives out ids and names, and knows where the partitions lie.
//!
//! Responsible for: what happens. Not responsible for: when and where. There is no async, thread, clock,
//! randomness, I/O, protobuf or hash-map iteration order in this crate; time comes in as an argument.

pub mod authority;
mod cell_size;
mod columns;
mod events;
pub mod interest;
mod interest_book;
pub mod log;
mod message;
pub mod partition;
pub mod session;
mod wire;
pub mod world;

pub use cell_size::CellSize;
pub use columns::{
    Batch, CreateColumn, CreateRows, HoldAct, HoldWrites, Op, PlacedRows, PositionRows, PositionWrites,
    Removes, Role, ValueRows, ValueWrites, WriteMode,
};
pub use events::{Event, EventKind, EventWrites, Missed};
pub use interest::{
    Constraint, Densities, OwnedLayer, Part, Rows, ShadowMismatch, SharedRows, View, ViewSet,
};
pub use interest_book::{Gift, InterestBook, InterestChange, InterestPage};
pub use message::{
    AuthorityDelta, Delta, DensityDelta, DensityRows, EntityAuthority, Filled, FollowWords, HoldWord, Holder,
    Lead, LeaveReason, MovedEntity, MovedValue, Outbox, Outcome, PeerBody, PeerMessage, Rejection,
    RouteChange, Shape, ToSession,
};
pub use partition::{
    CaptureSlice, Cause, EntityState, Explained, HitRef, Partition, Query, QueryAnswer, Refused,
    RestoreError, RoundEnd, RoundSlice, Tuning,
};
pub use session::{
    AuthorityBody, AuthorityMessage, DensityColumn, FrameBody, SeenTable, Session, Sight, ToPartition,
    ViewSight, check_interest,
};
pub use world::{PartitionMap, World};

/// A point in time as the driver tells it.
///
/// # Units
/// Microseconds since an origin of the driver's choice; never goes back.
pub type Micros = u64;
