//! Splitting a message's rows by partition.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use spatialdb_core::{Batch, Op, Outcome, PositionWrites, Rejection, Removes, ValueWrites, WriteMode};
use spatialdb_types::{ComponentId, EntityId, Error, PartitionId, Point3, Reason, Seq, SpaceId};

/// One message on its way to partitions.
pub(super) struct Parts {
    seq: Seq,
    batches: Vec<Batch>,
    /// Refused before it goes anywhere.
    pub(super) refused: Outcome,
    rejections_max: u64,
    /// Where entities go, once looked up: a route may change between two columns, and what a message says of an entity
    /// must arrive together. `None` while one column is all there is.
    routes: Option<FxHashMap<EntityId, PartitionId>>,
}

/// The rows of one column by partition.
pub(super) struct Split<C> {
    columns: Vec<Option<C>>,
}

/// Which row of which column a rejection is about.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) column: u32,
    pub(super) row: u32,
    pub(super) entity: EntityId,
    pub(super) component: ComponentId,
}

impl Parts {
    /// Like an empty batch of the message, for each partition.
    pub(super) fn new(empty: &Batch, partitions: usize, rejections_max: u64) -> Self {
        let (seq, batches) = (empty.seq, (0..partitions).map(|_| empty.part()).collect());
        Self { seq, batches, refused: Outcome::default(), rejections_max, routes: None }
    }

    /// The message has so many columns: of several, each sends an entity where the first one sent it.
    pub(super) fn expect_columns(&mut self, columns: usize) {
        self.routes = (columns > 1).then(FxHashMap::default);
    }

    /// Where the message's rows of an entity go.
    pub(super) fn route(&mut self, entity: EntityId, look_up: impl FnOnce() -> PartitionId) -> PartitionId {
        match &mut self.routes {
            None => look_up(),
            Some(routes) => *routes.entry(entity).or_insert_with(look_up),
        }
    }

    pub(super) const fn partition_count(&self) -> usize {
        self.batches.len()
    }

    pub(super) fn reject(&mut self, at: At, reason: Reason, detail: String) {
        let At { column, row, entity, component } = at;
        let rejection = Rejection { seq: self.seq, column, row, reason, entity, component, detail };
        self.refused.reject(rejection, self.rejections_max);
    }

    /// Refuses the message as a whole.
    pub(super) fn reject_all(&mut self, error: &Error) {
        let at = At { column: 0, row: 0, entity: EntityId(0), component: ComponentId(0) };
        self.reject(at, error.reason, error.detail.clone());
    }

    /// Adds the rows of a column.
    pub(super) fn add<C>(&mut self, split: Split<C>, op: fn(C) -> Op) {
        for (batch, column) in self.batches.iter_mut().zip(split.columns) {
            batch.ops.extend(column.map(op));
        }
    }

    /// Adds a column for one partition.
    pub(super) fn add_op(&mut self, to: PartitionId, op: Op) {
        self.batches[usize::from(to.0)].ops.push(op);
    }

    /// Where and what to send; batches without rows are left out.
    pub(super) fn finish(self) -> (Vec<(PartitionId, Batch)>, Outcome) {
        let numbered = self.batches.into_iter().enumerate().map(|(i, batch)| (PartitionId(i as u16), batch));
        (numbered.filter(|(_, batch)| !batch.ops.is_empty()).collect(), self.refused)
    }
}

impl<C> Split<C> {
    pub(super) fn new(partitions: usize) -> Self {
        Self { columns: (0..partitions).map(|_| None).collect() }
    }

    /// The column of a partition, made when its first row comes.
    pub(super) fn of(&mut self, partition: PartitionId, make: impl FnOnce() -> C) -> &mut C {
        self.columns[usize::from(partition.0)].get_or_insert_with(make)
    }

    /// Puts what another split has for a partition into what this one has for it.
    pub(super) fn merge<D>(&mut self, other: Split<D>, mut put: impl FnMut(&mut C, D)) {
        for (own, other) in self.columns.iter_mut().zip(other.columns) {
            if let (Some(own), Some(other)) = (own, other) {
                put(own, other);
            }
        }
    }
}

impl Split<PositionWrites> {
    pub(super) fn push_position(
        &mut self,
        to: PartitionId,
        new: (u32, WriteMode, SpaceId, usize),
        row: (u32, EntityId, Point3),
    ) {
        let (column, mode, space, rows) = new;
        let make = || {
            let mut writes = PositionWrites::new(column, mode, space);
            for list in [&mut writes.x, &mut writes.y, &mut writes.z] {
                list.reserve(rows);
            }
            writes.rows.reserve(rows);
            writes.entities.reserve(rows);
            writes
        };
        self.of(to, make).push(row.0, row.1, row.2);
    }
}

impl Split<ValueWrites> {
    pub(super) fn push_value(
        &mut self,
        to: PartitionId,
        new: (u32, WriteMode, ComponentId, &Option<Arc<[u32]>>),
        row: (u32, EntityId, &[u8]),
    ) {
        let (column, mode, component, cleared) = new;
        self.of(to, || ValueWrites::new(column, mode, component, cleared.clone())).push(row.0, row.1, row.2);
    }
}

impl Split<Removes> {
    pub(super) fn push_remove(
        &mut self,
        to: PartitionId,
        new: (u32, Option<ComponentId>),
        row: (u32, EntityId),
    ) {
        self.of(to, || Removes::new(new.0, new.1)).push(row.0, row.1);
    }
}
