//! Commits: what must be on disk before anybody may see it.
//!
//! What a message says of an entity is a commit if it touches a DURABLE component. It is checked and accepted at once; the image as it
//! will be goes to the log, and the rows wait. The store changes when the record is on disk. So whoever reads the store knows nothing
//! of commits that wait.
//!
//! Further values of the entity are accepted on top. What changes where it is, what it has, or who owns it closes it: later rows wait
//! behind, as they do behind an arrival.
//!
//! Responsible for: which rows wait, how an entity will be, and applying it. Not responsible for: images as bytes (`sweeping`).

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};
use spatialdb_types::{ComponentId, EntityId, PartitionId, Position, Reason, Revision, SessionId};

use super::apply::{Run, Source};
use super::{Partition, RowId};
use crate::authority::leases::Order;
use crate::columns::{Batch, CreateRows, Op, Removes, ValueWrites, WriteMode};
use crate::log::encode_position;
use crate::message::{Outbox, PeerBody, PeerMessage};
use crate::wire;

/// What waits for the disk.
#[derive(Debug, Default)]
pub(super) struct Commits {
    /// In the order in which they were accepted.
    waiting: VecDeque<Commit>,
    /// Of each entity how it will be.
    coming: FxHashMap<EntityId, Coming>,
    rows: u64,
    /// Orders of the issuer, each behind the record of that number: who loses a region loses it after its commits.
    orders: VecDeque<(u64, Order)>,
    /// Messages of other partitions that wait behind a closed entity, in order.
    peers: VecDeque<(PartitionId, PeerMessage)>,
    /// Nothing can be written any more.
    has_failed: bool,
}

/// What a message says of entities that have to be on disk.
#[derive(Debug)]
struct Commit {
    /// The record that has it.
    record: u64,
    /// What all that it writes carries.
    revision: Revision,
    entities: Vec<EntityId>,
    batch: Batch,
}

/// How an entity will be.
#[derive(Debug)]
pub(super) struct Coming {
    /// How many commits are about it.
    commits: u32,
    /// It is in the store as of this revision.
    pub(super) as_of: Revision,
    /// What they write, by rising component; `None`: it is removed. Of Position as it is stored.
    pub(super) values: Vec<(ComponentId, Option<ComingValue>)>,
    /// The last commit about it.
    last: Revision,
    /// Rows of later messages wait until it is so.
    closes: bool,
    /// They do: the message that closed it is over.
    pub(super) is_closed: bool,
    /// It will have other components, or it is made.
    pub(super) is_reshaped: bool,
    pub(super) is_deleted: bool,
}

/// A value that is not in the store yet.
#[derive(Debug)]
pub(super) struct ComingValue {
    pub(super) revision: Revision,
    pub(super) writer: SessionId,
    pub(super) bytes: Box<[u8]>,
}

impl Commits {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.peers.is_empty()
    }

    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    /// Whoever gave them begins anew.
    pub(super) fn forget_orders(&mut self) {
        self.orders.clear();
    }

    /// How an entity will be; `None`: as it is.
    pub(super) fn coming(&self, entity: EntityId) -> Option<&Coming> {
        self.coming.get(&entity)
    }

    /// The oldest record that has something that waits.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.waiting.front().map(|commit| commit.record)
    }

    fn begin(&mut self, entity: EntityId, revision: Revision) -> &mut Coming {
        self.coming.entry(entity).or_insert_with(|| Coming {
            commits: 0,
            as_of: Revision(revision.0 - 1),
            values: Vec::new(),
            last: Revision(0),
            closes: false,
            is_closed: false,
            is_reshaped: false,
            is_deleted: false,
        })
    }

    fn touches_closed(&self, batch: &Batch) -> bool {
        batch
            .ops
            .iter()
            .flat_map(entities_of)
            .any(|entity| self.coming(*entity).is_some_and(|coming| coming.is_closed))
    }
}

impl Coming {
    fn value(&self, component: ComponentId) -> Option<Option<&[u8]>> {
        let at = self.values.binary_search_by_key(&component, |(c, _)| *c).ok()?;
        Some(self.values[at].1.as_ref().map(|value| &*value.bytes))
    }

    fn set(&mut self, component: ComponentId, value: Option<ComingValue>) {
        match self.values.binary_search_by_key(&component, |(c, _)| *c) {
            Ok(at) => self.values[at].1 = value,
            Err(at) => self.values.insert(at, (component, value)),
        }
    }
}

impl Partition {
    /// The entities of which what a batch says is a commit, as far as that can be told before it is looked at row by row.
    pub(super) fn commits_of(&self, batch: &Batch) -> Option<FxHashSet<EntityId>> {
        let classes = &self.classes;
        let is_durable = |op: &&Op| match op {
            Op::Values(column) => classes.is_durable(column.component),
            Op::Positions(_) => classes.is_durable(ComponentId::POSITION),
            Op::Remove(column) => column.component.is_some_and(|component| classes.is_durable(component)),
            Op::Create(_) | Op::Events(_) | Op::Holds(_) => false,
        };
        if classes.has_durable() && batch.ops.iter().any(|op| is_durable(&op)) {
            let entities = batch.ops.iter().filter(is_durable).flat_map(entities_of);
            return Some(entities.copied().collect());
        }
        None
    }

    /// Whether an entity has, or will have, something that must be on disk.
    pub(super) fn has_durable(&self, id: RowId) -> bool {
        let classes = &self.classes;
        let row = self.store.row(id);
        let is_durable = |component: &ComponentId| classes.is_durable(*component);
        classes.has_durable()
            && (self.store.components(row).iter().any(is_durable)
                || self
                    .commits
                    .coming(row.entity)
                    .is_some_and(|c| c.values.iter().any(|(c, _)| is_durable(c))))
    }

    /// A position is accepted.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn commit_position(
        &mut self,
        id: RowId,
        at: Position,
        mode: WriteMode,
        run: &mut Run,
    ) -> Result<(), Reason> {
        let has = self.will_have(id, ComponentId::POSITION);
        if !has && mode == WriteMode::Update {
            return Err(Reason::ComponentNotFound);
        }
        self.commit_one(id, ComponentId::POSITION, Some(Box::new(encode_position(at))), run)?;
        self.close(id, !has);
        Ok(())
    }

    /// A value is accepted.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn commit_value(
        &mut self,
        id: RowId,
        column: &ValueWrites,
        i: usize,
        run: &mut Run,
    ) -> Result<(), Reason> {
        let component = column.component;
        let entity = self.store.row(id).entity;
        let coming = self.commits.coming(entity).and_then(|coming| coming.value(component));
        let old = coming.unwrap_or_else(|| self.store.value(id, component));
        if old.is_none() && column.mode == WriteMode::Update {
            return Err(Reason::ComponentNotFound);
        }
        let bytes: Box<[u8]> = match (old, &column.cleared) {
            (Some(old), Some(cleared)) => {
                run.scratch.clear();
                wire::replace_fields(old, cleared, column.value(i), &mut run.scratch);
                if run.scratch.len() as u64 > self.limits.value_bytes_max {
                    return Err(Reason::ValueTooLarge);
                }
                run.scratch.as_slice().into()
            }
            _ => column.value(i).into(),
        };
        let is_new = old.is_none();
        self.commit_one(id, component, Some(bytes), run)?;
        if is_new || component == ComponentId::PLAYER_OWNER || component == ComponentId::FOLLOWS {
            self.close(id, is_new);
        }
        Ok(())
    }

    /// The loss of a component is accepted.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn commit_removal(
        &mut self,
        id: RowId,
        component: ComponentId,
        run: &mut Run,
    ) -> Result<(), Reason> {
        if !self.will_have(id, component) {
            return Err(Reason::ComponentNotFound);
        }
        self.commit_one(id, component, None, run)?;
        self.close(id, true);
        Ok(())
    }

    /// A deletion is accepted.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn commit_deletion(&mut self, id: RowId, run: &mut Run) -> Result<(), Reason> {
        self.begin_commit(self.store.row(id).entity, run)?.is_deleted = true;
        self.close(id, false);
        Ok(())
    }

    /// New entities are accepted, if one of them has something that must be on disk. Returns whether that is so.
    pub(super) fn commit_creation(&mut self, create: &CreateRows, run: &mut Run) -> bool {
        let classes = &self.classes;
        if run.source == Source::Disk || !create.components().any(|component| classes.is_durable(component)) {
            return false;
        }
        let mut fresh = Vec::with_capacity(create.entities.len());
        for (&row, &entity) in create.rows.iter().zip(&create.entities) {
            let is_there = self.store.find(entity).is_some() || self.commits.coming(entity).is_some();
            let begun =
                if is_there { Err(Reason::EntityExists) } else { self.begin_commit(entity, run).map(drop) };
            if let Err(reason) = begun {
                run.decided += 1;
                run.reject(0, row, entity, ComponentId(0), reason);
            }
            fresh.push(begun.is_ok());
        }
        let kept = create.filtered(&fresh);
        let revision = run.revision.unwrap_or_default();
        let value = |bytes: Box<[u8]>| Some(ComingValue { revision, writer: run.session, bytes });
        let Commits { coming, .. } = &mut self.commits;
        for (&index, &at) in kept.positions.index.iter().zip(&kept.positions.positions) {
            if let Some(coming) = coming.get_mut(&kept.entities[index as usize]) {
                coming.set(ComponentId::POSITION, value(Box::new(encode_position(at))));
            }
        }
        for column in &kept.columns {
            for (i, &index) in column.index.iter().enumerate() {
                if let Some(coming) = coming.get_mut(&kept.entities[index as usize]) {
                    coming.set(column.component, value(column.value(i).into()));
                }
            }
        }
        for entity in &kept.entities {
            if let Some(coming) = coming.get_mut(entity) {
                (coming.is_reshaped, coming.closes) = (true, true);
            }
        }
        if !kept.entities.is_empty() {
            run.push_commit(Op::Create(kept));
        }
        true
    }
}

impl Partition {
    /// An event of an entity with commits that wait: it is told after them.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn commit_event(
        &mut self,
        id: RowId,
        component: ComponentId,
        run: &mut Run,
    ) -> Result<(), Reason> {
        if !self.will_have(id, component) {
            return Err(Reason::ComponentNotFound);
        }
        self.begin_commit(self.store.row(id).entity, run).map(drop)
    }

    fn commit_one(
        &mut self,
        id: RowId,
        component: ComponentId,
        bytes: Option<Box<[u8]>>,
        run: &mut Run,
    ) -> Result<(), Reason> {
        let writer = run.session;
        let coming = self.begin_commit(self.store.row(id).entity, run)?;
        let revision = coming.last;
        coming.set(component, bytes.map(|bytes| ComingValue { revision, writer, bytes }));
        Ok(())
    }

    /// What the batch says of an entity waits. Until now it was as the store says, or as others that wait.
    fn begin_commit(&mut self, entity: EntityId, run: &mut Run) -> Result<&mut Coming, Reason> {
        if self.commits.has_failed {
            return Err(Reason::StorageFailed);
        }
        let revision = *run.revision.get_or_insert_with(|| self.store.tick());
        if let Some(id) = self.store.find(entity) {
            self.store.set_commits(id, true);
        }
        let coming = self.commits.begin(entity, revision);
        if coming.last != revision {
            coming.last = revision;
            coming.commits += 1;
            run.committed.push(entity);
        }
        Ok(coming)
    }

    fn close(&mut self, id: RowId, is_reshaped: bool) {
        if let Some(coming) = self.commits.coming.get_mut(&self.store.row(id).entity) {
            coming.closes = true;
            coming.is_reshaped |= is_reshaped;
        }
    }

    /// Whether an entity has a component once all that waits is applied.
    fn will_have(&self, id: RowId, component: ComponentId) -> bool {
        let row = self.store.row(id);
        let coming = self.commits.coming(row.entity).and_then(|coming| coming.value(component));
        coming.map_or_else(
            || self.store.components(row).binary_search(&component).is_ok(),
            |value| value.is_some(),
        )
    }

    /// The batch is over: what it says of entities that have to be on disk is written, and waits.
    pub(super) fn accept_commit(&mut self, run: &mut Run) {
        let entities = std::mem::take(&mut run.committed);
        let (Some(revision), Some(batch)) = (run.revision, run.take_commit()) else { return };
        let record = self.log_commit(&entities, revision);
        for entity in &entities {
            if let Some(coming) = self.commits.coming.get_mut(entity) {
                coming.is_closed = coming.closes;
            }
        }
        self.commits.rows += batch.row_count() as u64;
        self.commits.waiting.push_back(Commit { record, revision, entities, batch });
    }

    /// All records up to that number are on disk: what they have is so now.
    pub fn stored(&mut self, record: u64, outbox: &mut Outbox) {
        let mut has_opened = false;
        while let Some(mut commit) = self.commits.waiting.pop_front_if(|commit| commit.record <= record) {
            has_opened |= self.release(&commit);
            commit.entities.retain(|entity| !self.is_unswept(*entity));
            self.store.plan_revision(Some(commit.revision));
            self.apply_from(&commit.batch, Source::Disk, outbox);
            self.store.plan_revision(None);
            // All of them is in the log as it is now.
            commit.entities.iter().for_each(|entity| self.forget_unswept(*entity));
        }
        while let Some((_, order)) = self.commits.orders.pop_front_if(|(behind, _)| *behind <= record) {
            self.obey(&order, outbox);
        }
        if has_opened {
            self.open(outbox);
        }
        self.send_overhang(outbox);
    }

    /// Whether somebody waits for the record that is being made.
    pub fn awaits_record(&self) -> bool {
        let next = self.sweeping.as_ref().map_or(0, |sweeping| sweeping.record_number());
        self.commits.waiting.back().is_some_and(|commit| commit.record == next)
    }

    /// Whether something of an entity waits for the disk.
    pub fn has_commit(&self, entity: EntityId) -> bool {
        self.commits.coming(entity).is_some()
    }

    /// Messages of other partitions that wait for commits.
    pub fn waiting_messages(&self) -> impl Iterator<Item = &PeerMessage> {
        self.commits.peers.iter().map(|(_, message)| message)
    }

    /// Nothing more will be on disk: what waits is refused, and whatever else must be.
    pub fn log_failed(&mut self, outbox: &mut Outbox) {
        self.commits.has_failed = true;
        while let Some(commit) = self.commits.waiting.pop_front() {
            self.release(&commit);
            self.refuse_commit(&commit.batch);
        }
        while let Some((_, order)) = self.commits.orders.pop_front() {
            self.obey(&order, outbox);
        }
        self.open(outbox);
    }

    /// Whether an order of the issuer has to wait: it does then.
    pub(super) fn waits_for_commits(&mut self, order: &Order) -> bool {
        let Some(last) = self.commits.waiting.back().map(|commit| commit.record) else { return false };
        self.commits.orders.push_back((last, order.clone()));
        true
    }

    /// Whether a message of another partition has to wait.
    pub(super) fn waits_behind_closed(&self, from: PartitionId, body: &PeerBody) -> bool {
        self.commits.peers.iter().any(|(peer, _)| *peer == from)
            || matches!(body, PeerBody::Forward(batch) if self.commits.touches_closed(batch))
    }

    /// It does.
    pub(super) fn park_peer(&mut self, from: PartitionId, message: PeerMessage) {
        self.commits.peers.push_back((from, message));
    }

    /// A commit waits no longer. Returns whether an entity is open again.
    fn release(&mut self, commit: &Commit) -> bool {
        self.commits.rows -= commit.batch.row_count() as u64;
        let mut has_opened = false;
        for entity in &commit.entities {
            let Some(coming) = self.commits.coming.get_mut(entity) else { continue };
            coming.commits -= 1;
            if coming.commits > 0 {
                continue;
            }
            has_opened |= coming.is_closed;
            self.commits.coming.remove(entity);
            if let Some(id) = self.store.find(*entity) {
                self.store.set_commits(id, false);
            }
        }
        has_opened
    }

    /// What waited behind closed entities goes on.
    fn open(&mut self, outbox: &mut Outbox) {
        self.unpark(outbox);
        for (from, message) in std::mem::take(&mut self.commits.peers) {
            self.peer(from, message, outbox);
        }
    }

    fn refuse_commit(&mut self, batch: &Batch) {
        let mut run = Run::new(batch, Source::Disk, self);
        for op in &batch.ops {
            let (rows, component) = match op {
                Op::Create(create) => (&create.rows, ComponentId(0)),
                Op::Positions(column) => (&column.rows, ComponentId::POSITION),
                Op::Values(column) => (&column.rows, column.component),
                Op::Remove(Removes { rows, component, .. }) => (rows, component.unwrap_or_default()),
                Op::Events(column) => (&column.rows, column.kind.component),
                Op::Holds(column) => (&column.rows, ComponentId(0)),
            };
            for (&row, &entity) in rows.iter().zip(entities_of(op)) {
                run.decided += 1;
                run.reject(op.column(), row, entity, component, Reason::StorageFailed);
            }
        }
        self.end_run(batch, &mut run);
    }
}

fn entities_of(op: &Op) -> &[EntityId] {
    match op {
        Op::Create(create) => &create.entities,
        Op::Positions(column) => &column.entities,
        Op::Values(column) => &column.entities,
        Op::Remove(column) => &column.entities,
        Op::Events(column) => &column.entities,
        Op::Holds(column) => &column.entities,
    }
}
