//! The world: what concerns all partitions at once.
//!
//! Responsible for: the partition map, entity ids and who may choose them, retries of creates, and which session
//! holds a worker's name. Not responsible for: entities themselves, or who may write them (`authority`).

mod ids;
mod map;
mod names;

pub use ids::{CreateAnswer, Ids, Owner};
pub use map::PartitionMap;
pub use names::{Attached, Names, check_name};

use std::sync::Arc;

use spatialdb_types::{EntityId, Limits};

/// The machine that is asked what no partition can know.
#[derive(Debug)]
pub struct World {
    map: Arc<PartitionMap>,
    /// Entity ids.
    pub ids: Ids,
    /// Sessions by worker.
    pub names: Names,
}

impl World {
    /// A world whose next free entity id is `next`.
    pub fn new(map: Arc<PartitionMap>, next: EntityId, limits: &Limits) -> Self {
        Self { map, ids: Ids::new(next, limits), names: Names::new(limits.sessions_max) }
    }

    /// Where the partitions lie.
    pub const fn map(&self) -> &Arc<PartitionMap> {
        &self.map
    }
}
