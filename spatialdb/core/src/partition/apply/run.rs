//! What applying one batch leaves: decisions, refusals, and rows that wait or go on to other partitions.

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashSet};
use spatialdb_types::{ComponentId, EntityId, PartitionId, Reason, Revision, Seq, SessionId};

use super::Source;
use crate::Micros;
use crate::authority::leases::{Refusal, Writer};
use crate::columns::{Batch, HoldWrites, Op, PositionWrites, Removes, Role, ValueWrites};
use crate::events::EventWrites;
use crate::message::{Outcome, Rejection};
use crate::partition::Partition;
use crate::partition::authority::Authority;
use crate::partition::refusals::{Cause, Refusals, Refused, detail};

/// What applying one batch leaves to be done.
pub(in crate::partition) struct Run {
    pub(in crate::partition) session: SessionId,
    pub(super) writer: Writer,
    pub(super) role: Role,
    pub(super) seq: Seq,
    pub(in crate::partition) source: Source,
    pub(in crate::partition) decided: u32,
    pub(super) outcome: Outcome,
    pub(super) rejections_max: u64,
    /// What the partition remembers of refused writes, while this goes on.
    pub(super) refusals: Option<Box<Refusals>>,
    pub(super) refusals_max: u64,
    pub(super) now: Micros,
    /// Entities that may lie in another partition now.
    pub(in crate::partition) crossed: Vec<EntityId>,
    pub(in crate::partition) deleted: Vec<EntityId>,
    pub(in crate::partition) park: Batch,
    pub(in crate::partition) forwards: IndexMap<Onward, Batch, FxBuildHasher>,
    /// What the batch says of these is a commit.
    pub(super) durable: Option<FxHashSet<EntityId>>,
    /// The revision of what it commits.
    pub(in crate::partition) revision: Option<Revision>,
    /// The entities of which it commits something.
    pub(in crate::partition) committed: Vec<EntityId>,
    pub(in crate::partition) scratch: Vec<u8>,
}

/// Where rows go that are not applied here and now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::partition) enum Onward {
    /// To where their entities went.
    Peer(PartitionId),
    /// They wait until they are on disk.
    Disk,
}

impl Run {
    pub(in crate::partition) fn new(batch: &Batch, source: Source, partition: &mut Partition) -> Self {
        Self {
            session: batch.session,
            writer: batch.writer(),
            role: batch.role,
            seq: batch.seq,
            source,
            decided: 0,
            outcome: Outcome::default(),
            rejections_max: partition.limits.rejections_per_frame_max,
            refusals: partition.refusals.take(),
            refusals_max: partition.limits.refusals_kept_max,
            now: partition.now,
            crossed: Vec::new(),
            deleted: Vec::new(),
            park: batch.part(),
            forwards: IndexMap::default(),
            durable: if source == Source::Disk { None } else { partition.commits_of(batch) },
            revision: None,
            committed: Vec::new(),
            scratch: Vec::new(),
        }
    }

    pub(in crate::partition) fn reject(
        &mut self,
        column: u32,
        row: u32,
        entity: EntityId,
        component: ComponentId,
        reason: Reason,
    ) {
        if reason != Reason::EntityNotFound {
            self.note(entity, component, Cause::Reason(reason));
        }
        let detail = detail(reason, entity, component);
        let rejection = Rejection { seq: self.seq, column, row, reason, entity, component, detail };
        self.outcome.reject(rejection, self.rejections_max);
    }

    pub(super) fn refuse(
        &mut self,
        column: u32,
        row: u32,
        entity: EntityId,
        component: ComponentId,
        why: &Refusal,
    ) {
        self.note(entity, component, Cause::Authority(why.clone()));
        let (seq, reason) = (self.seq, why.reason());
        // Who writes what it lost may write a lot of it.
        let is_told = (self.outcome.rejections.len() as u64) < self.rejections_max;
        let detail = if is_told { why.to_string() } else { String::new() };
        let rejection = Rejection { seq, column, row, reason, entity, component, detail };
        self.outcome.reject(rejection, self.rejections_max);
    }

    /// Remembers why, for whoever asks later.
    pub(super) fn note(&mut self, entity: EntityId, component: ComponentId, why: Cause) {
        let refused = Refused { at: self.now, session: self.session, component, why };
        let max = self.refusals_max;
        self.refusals.get_or_insert_with(|| Box::new(Refusals::new(max))).note(entity, refused);
    }

    pub(super) fn not_found(&mut self, column: u32, row: u32, entity: EntityId, component: ComponentId) {
        self.decided += 1;
        self.reject(column, row, entity, component, Reason::EntityNotFound);
    }

    /// Whether what the batch says of an entity has to be on disk first.
    pub(super) fn commits(&self, entity: EntityId) -> bool {
        self.durable.as_ref().is_some_and(|durable| durable.contains(&entity))
    }

    /// What decides whether rows are accepted, unless they were.
    pub(super) fn is_checked<'a>(
        &self,
        authority: &'a mut Option<Box<Authority>>,
    ) -> Option<&'a mut Authority> {
        authority.as_deref_mut().filter(|_| self.source != Source::Disk)
    }

    /// Whether a row of a commit is accepted; if not, that is decided.
    pub(super) fn accepts(
        &mut self,
        column: u32,
        row: u32,
        entity: EntityId,
        component: ComponentId,
        accepted: Result<Result<(), Reason>, Refusal>,
    ) -> bool {
        match accepted {
            Ok(Ok(())) => return true,
            Ok(Err(reason)) => self.reject(column, row, entity, component, reason),
            Err(why) => self.refuse(column, row, entity, component, &why),
        }
        self.decided += 1;
        false
    }

    /// Whole columns wait until they are on disk.
    pub(in crate::partition) fn push_commit(&mut self, op: Op) {
        let Self { park, forwards, .. } = self;
        forwards.entry(Onward::Disk).or_insert_with(|| park.part()).ops.push(op);
    }

    /// What waits until it is on disk.
    pub(in crate::partition) fn take_commit(&mut self) -> Option<Batch> {
        self.forwards.shift_remove(&Onward::Disk)
    }

    /// A row goes on, in the column that it came in.
    pub(super) fn forward(
        &mut self,
        to: Onward,
        column: u32,
        fresh: impl FnOnce() -> Op,
        push: impl FnOnce(&mut Op),
    ) {
        let Self { park, forwards, .. } = self;
        let ops = &mut forwards.entry(to).or_insert_with(|| park.part()).ops;
        if ops.last().is_none_or(|op| op.column() != column) {
            ops.push(fresh());
        }
        if let Some(last) = ops.last_mut() {
            push(last);
        }
    }

    pub(super) fn forward_position(&mut self, to: Onward, from: &PositionWrites, i: usize) {
        let fresh = || Op::Positions(PositionWrites::new(from.column, from.mode, from.space));
        self.forward(to, from.column, fresh, |op| {
            if let Op::Positions(column) = op {
                column.push(from.rows[i], from.entities[i], from.point(i));
            }
        });
    }

    pub(super) fn forward_value(&mut self, to: Onward, from: &ValueWrites, i: usize) {
        let fresh =
            || Op::Values(ValueWrites::new(from.column, from.mode, from.component, from.cleared.clone()));
        self.forward(to, from.column, fresh, |op| {
            if let Op::Values(column) = op {
                column.push(from.rows[i], from.entities[i], from.value(i));
            }
        });
    }

    pub(super) fn forward_event(&mut self, to: Onward, from: &EventWrites, i: usize) {
        self.forward(
            to,
            from.column,
            || Op::Events(EventWrites::new(from.column, from.kind)),
            |op| {
                if let Op::Events(column) = op {
                    column.push(from.rows[i], from.entities[i], from.payload(i));
                }
            },
        );
    }

    pub(super) fn forward_remove(&mut self, to: Onward, from: &Removes, i: usize) {
        self.forward(
            to,
            from.column,
            || Op::Remove(Removes::new(from.column, from.component)),
            |op| {
                if let Op::Remove(column) = op {
                    column.push(from.rows[i], from.entities[i]);
                }
            },
        );
    }

    pub(super) fn forward_hold(&mut self, to: Onward, from: &HoldWrites, i: usize) {
        self.forward(
            to,
            from.column,
            || Op::Holds(HoldWrites::new(from.column)),
            |op| {
                if let Op::Holds(column) = op {
                    let (component, act) = from.acts[i];
                    column.push(from.rows[i], from.entities[i], component, act);
                }
            },
        );
    }
}
