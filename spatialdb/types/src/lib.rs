//! The nouns that every part of spatialdb shares.
//!
//! Responsible for: ids, positions and boxes, limits, error codes and reasons.
//! Not responsible for: anything with behaviour. `std` only.

mod error;
mod ids;
mod limits;
mod space;

pub use error::{Error, ErrorCode, Reason};
pub use ids::{
    ComponentId, EntityId, Epoch, EventId, ID_END, Incarnation, LayerId, PartitionId, RegionId, Revision,
    Seq, SessionId, SpaceId, ViewId,
};
pub use limits::Limits;
pub use space::{Box3, Point3, Position};
