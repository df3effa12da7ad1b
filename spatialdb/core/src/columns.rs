//! Columns: many entities, one component, in parallel arrays.
//!
//! Responsible for: the shape of writes on their way to a partition and of values on their way out.
//! Not responsible for: applying them, or the wire.

use std::sync::Arc;

use spatialdb_types::{ComponentId, EntityId, Epoch, Point3, Position, Revision, Seq, SessionId, SpaceId};

use crate::authority::leases::{Hold, Seen, Writer};
use crate::events::EventWrites;

/// Whether a write may give an entity a component that it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// The entity must have the component.
    Update,
    /// The component is added if it is missing.
    Add,
}

/// Positions to write.
///
/// # Shape
/// `rows`, `entities`, `x`, `y`, `z` are parallel; `rows` are the row numbers in the client's column.
#[derive(Clone, Debug)]
pub struct PositionWrites {
    /// The index of the column in the client's message.
    pub column: u32,
    /// Whether the entity must have a position.
    pub mode: WriteMode,
    /// The space of every position.
    pub space: SpaceId,
    /// Row numbers in the client's column.
    pub rows: Vec<u32>,
    /// Which entities.
    pub entities: Vec<EntityId>,
    /// Metres.
    pub x: Vec<f64>,
    /// Metres.
    pub y: Vec<f64>,
    /// Metres.
    pub z: Vec<f64>,
}

/// Values of one component to write.
///
/// # Shape
/// `rows`, `entities`, `ends` are parallel; value `i` is `bytes[ends[i-1]..ends[i]]`.
#[derive(Clone, Debug)]
pub struct ValueWrites {
    /// The index of the column in the client's message.
    pub column: u32,
    /// Whether the entity must have the component.
    pub mode: WriteMode,
    /// Which component; never Position.
    pub component: ComponentId,
    /// `None`: whole values. Otherwise these top-level fields are removed from the stored value, then the
    /// payload is appended. Sorted.
    pub cleared: Option<Arc<[u32]>>,
    /// Row numbers in the client's column.
    pub rows: Vec<u32>,
    /// Which entities.
    pub entities: Vec<EntityId>,
    /// Where each value ends in `bytes`.
    pub ends: Vec<u32>,
    /// The payloads, one after the other.
    pub bytes: Vec<u8>,
}

/// Entities to delete, or entities to take a component from.
#[derive(Clone, Debug)]
pub struct Removes {
    /// The index of the column in the client's message.
    pub column: u32,
    /// `None`: the whole entity.
    pub component: Option<ComponentId>,
    /// Row numbers in the client's column.
    pub rows: Vec<u32>,
    /// Which entities.
    pub entities: Vec<EntityId>,
}

/// Components that a tool takes hold of, or lets go of: they travel to their entities as writes do.
#[derive(Clone, Debug)]
pub struct HoldWrites {
    /// The index of the column in the client's message.
    pub column: u32,
    /// Row numbers in the client's column.
    pub rows: Vec<u32>,
    /// Which entities.
    pub entities: Vec<EntityId>,
    /// Of each which component, and what of it.
    pub acts: Vec<(ComponentId, HoldAct)>,
}

/// What a tool does with a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldAct {
    /// Nobody else may write it.
    Take(Hold),
    /// The hold of that epoch is over.
    Release(Epoch),
}

/// New entities. Also how a snapshot is loaded.
#[derive(Clone, Debug, Default)]
pub struct CreateRows {
    /// Row numbers in the client's message, parallel to `entities`.
    pub rows: Vec<u32>,
    /// The ids, each unused so far.
    pub entities: Vec<EntityId>,
    /// Their positions, where they have one.
    pub positions: PlacedRows,
    /// Their other components.
    pub columns: Vec<CreateColumn>,
}

/// Positions of new entities; all arrays are parallel.
#[derive(Clone, Debug, Default)]
pub struct PlacedRows {
    /// Index into the entities of the [`CreateRows`].
    pub index: Vec<u32>,
    /// Where.
    pub positions: Vec<Position>,
}

/// Values of one component for new entities; `index` and `ends` are parallel.
#[derive(Clone, Debug)]
pub struct CreateColumn {
    /// Which component; never Position.
    pub component: ComponentId,
    /// Index into the entities of the [`CreateRows`].
    pub index: Vec<u32>,
    /// Where each value ends in `bytes`.
    pub ends: Vec<u32>,
    /// The values, one after the other.
    pub bytes: Vec<u8>,
}

/// One column of a batch.
#[derive(Clone, Debug)]
pub enum Op {
    /// Make entities.
    Create(CreateRows),
    /// Write positions.
    Positions(PositionWrites),
    /// Write values of a component.
    Values(ValueWrites),
    /// Delete entities or take components from them.
    Remove(Removes),
    /// Tell of events.
    Events(EventWrites),
    /// Take hold of components, or let go.
    Holds(HoldWrites),
}

/// What a writer may do beyond what it owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Nothing.
    #[default]
    Worker,
    /// Write components that no layer has, and delete anything.
    Tool,
    /// Anything: it is the server.
    Server,
}

/// What one client message asks of one partition: applied as a whole, in order.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Who writes.
    pub session: SessionId,
    /// What it had been told of what it owns when it wrote.
    pub seen: Seen,
    /// Whether it needs to own what it writes.
    pub role: Role,
    /// The number of the client message.
    pub seq: Seq,
    /// Its columns, as far as they concern this partition.
    pub ops: Vec<Op>,
}

/// Positions on their way to a subscriber; all arrays are parallel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PositionRows {
    /// The space of every position.
    pub space: SpaceId,
    /// Which entities.
    pub entities: Vec<EntityId>,
    /// Their revisions.
    pub revisions: Vec<Revision>,
    /// Metres.
    pub x: Vec<f64>,
    /// Metres.
    pub y: Vec<f64>,
    /// Metres.
    pub z: Vec<f64>,
}

/// Values of one component on their way to a subscriber: `entities`, `revisions`, `ends` are parallel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValueRows {
    /// Which component.
    pub component: ComponentId,
    /// Which entities.
    pub entities: Vec<EntityId>,
    /// Their revisions.
    pub revisions: Vec<Revision>,
    /// Where each value ends in `bytes`.
    pub ends: Vec<u32>,
    /// Whole values, one after the other.
    pub bytes: Vec<u8>,
}

impl PositionWrites {
    /// A column without rows.
    pub fn new(column: u32, mode: WriteMode, space: SpaceId) -> Self {
        let (rows, entities) = (Vec::new(), Vec::new());
        Self { column, mode, space, rows, entities, x: Vec::new(), y: Vec::new(), z: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: u32, entity: EntityId, point: Point3) {
        self.rows.push(row);
        self.entities.push(entity);
        self.x.push(point.x);
        self.y.push(point.y);
        self.z.push(point.z);
    }

    /// The point of row `i`.
    pub fn point(&self, i: usize) -> Point3 {
        Point3::new(self.x[i], self.y[i], self.z[i])
    }
}

impl ValueWrites {
    /// A column without rows.
    pub fn new(column: u32, mode: WriteMode, component: ComponentId, cleared: Option<Arc<[u32]>>) -> Self {
        let (rows, entities, ends, bytes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { column, mode, component, cleared, rows, entities, ends, bytes }
    }

    /// Adds a row.
    pub fn push(&mut self, row: u32, entity: EntityId, value: &[u8]) {
        self.rows.push(row);
        self.entities.push(entity);
        push_value(&mut self.ends, &mut self.bytes, value);
    }

    /// The payload of row `i`.
    pub fn value(&self, i: usize) -> &[u8] {
        value_at(&self.ends, &self.bytes, i)
    }
}

impl Removes {
    /// A column without rows.
    pub fn new(column: u32, component: Option<ComponentId>) -> Self {
        Self { column, component, rows: Vec::new(), entities: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: u32, entity: EntityId) {
        self.rows.push(row);
        self.entities.push(entity);
    }
}

impl CreateRows {
    /// The components that any of the entities gets, Position too; some may come twice.
    pub(crate) fn components(&self) -> impl Iterator<Item = ComponentId> {
        let placed = (!self.positions.index.is_empty()).then_some(ComponentId::POSITION);
        placed.into_iter().chain(self.columns.iter().map(|column| column.component))
    }

    /// Those entities of which `keeps` says so.
    pub(crate) fn filtered(&self, keeps: &[bool]) -> Self {
        if keeps.iter().all(|keeps| *keeps) {
            return self.clone();
        }
        let mut kept = Self::default();
        let mut places = vec![None; keeps.len()];
        for (i, (&row, &entity)) in
            self.rows.iter().zip(&self.entities).enumerate().filter(|(i, _)| keeps[*i])
        {
            places[i] = Some(kept.entities.len() as u32);
            kept.rows.push(row);
            kept.entities.push(entity);
        }
        for (&index, &position) in self.positions.index.iter().zip(&self.positions.positions) {
            if let Some(place) = places[index as usize] {
                kept.positions.index.push(place);
                kept.positions.positions.push(position);
            }
        }
        for column in &self.columns {
            let mut column_kept = CreateColumn::new(column.component);
            for (i, &index) in column.index.iter().enumerate() {
                if let Some(place) = places[index as usize] {
                    column_kept.push(place, column.value(i));
                }
            }
            kept.columns.push(column_kept);
        }
        kept
    }
}

impl CreateColumn {
    /// A column without rows.
    pub fn new(component: ComponentId) -> Self {
        Self { component, index: Vec::new(), ends: Vec::new(), bytes: Vec::new() }
    }

    /// Adds the value of the entity at `index`.
    pub fn push(&mut self, index: u32, value: &[u8]) {
        self.index.push(index);
        push_value(&mut self.ends, &mut self.bytes, value);
    }

    /// Value `i`.
    pub fn value(&self, i: usize) -> &[u8] {
        value_at(&self.ends, &self.bytes, i)
    }
}

impl Op {
    /// How many rows of the client's message this column carries.
    pub fn row_count(&self) -> usize {
        match self {
            Self::Create(create) => create.entities.len(),
            Self::Positions(column) => column.entities.len(),
            Self::Values(column) => column.entities.len(),
            Self::Remove(column) => column.entities.len(),
            Self::Events(column) => column.entities.len(),
            Self::Holds(column) => column.entities.len(),
        }
    }

    /// The index of the column in the client's message.
    pub(crate) fn column(&self) -> u32 {
        match self {
            Self::Create(_) => 0,
            Self::Positions(column) => column.column,
            Self::Values(column) => column.column,
            Self::Remove(column) => column.column,
            Self::Events(column) => column.column,
            Self::Holds(column) => column.column,
        }
    }
}

impl HoldWrites {
    /// A column without rows.
    pub fn new(column: u32) -> Self {
        Self { column, rows: Vec::new(), entities: Vec::new(), acts: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: u32, entity: EntityId, component: ComponentId, act: HoldAct) {
        self.rows.push(row);
        self.entities.push(entity);
        self.acts.push((component, act));
    }
}

impl Batch {
    /// A batch of a worker that was told nothing, without columns.
    pub fn new(session: SessionId, seq: Seq) -> Self {
        Self { session, seen: Seen::default(), role: Role::Worker, seq, ops: Vec::new() }
    }

    /// A batch of the same message, without columns.
    pub fn part(&self) -> Self {
        Self { seen: self.seen.clone(), ops: Vec::new(), ..*self }
    }

    /// Who writes, and what it knew.
    pub(crate) fn writer(&self) -> Writer {
        Writer { session: self.session, seen: self.seen.clone() }
    }

    /// How many rows of the client's message the batch carries.
    pub fn row_count(&self) -> usize {
        self.ops.iter().map(Op::row_count).sum()
    }
}

impl PositionRows {
    /// A column of a space with room for so many rows.
    pub(crate) fn with_capacity(space: SpaceId, rows: usize) -> Self {
        Self {
            space,
            entities: Vec::with_capacity(rows),
            revisions: Vec::with_capacity(rows),
            x: Vec::with_capacity(rows),
            y: Vec::with_capacity(rows),
            z: Vec::with_capacity(rows),
        }
    }

    /// Adds a row.
    pub fn push(&mut self, entity: EntityId, revision: Revision, point: Point3) {
        self.entities.push(entity);
        self.revisions.push(revision);
        self.x.push(point.x);
        self.y.push(point.y);
        self.z.push(point.z);
    }

    /// Keeps the rows whose entity passes.
    pub fn retain(&mut self, mut keep: impl FnMut(EntityId) -> bool) {
        let mut kept = Self { space: self.space, ..Self::default() };
        for (i, &entity) in self.entities.iter().enumerate() {
            if keep(entity) {
                kept.push(entity, self.revisions[i], Point3::new(self.x[i], self.y[i], self.z[i]));
            }
        }
        *self = kept;
    }
}

impl ValueRows {
    /// Adds a row.
    pub fn push(&mut self, entity: EntityId, revision: Revision, value: &[u8]) {
        self.entities.push(entity);
        self.revisions.push(revision);
        push_value(&mut self.ends, &mut self.bytes, value);
    }

    /// Value `i`.
    pub fn value(&self, i: usize) -> &[u8] {
        value_at(&self.ends, &self.bytes, i)
    }

    /// Keeps the rows whose entity passes.
    pub fn retain(&mut self, mut keep: impl FnMut(EntityId) -> bool) {
        let mut kept = Self { component: self.component, ..Self::default() };
        for (i, &entity) in self.entities.iter().enumerate() {
            if keep(entity) {
                kept.push(entity, self.revisions[i], self.value(i));
            }
        }
        *self = kept;
    }
}

pub(crate) fn push_value(ends: &mut Vec<u32>, bytes: &mut Vec<u8>, value: &[u8]) {
    bytes.extend_from_slice(value);
    ends.push(u32::try_from(bytes.len()).expect("a column of values is far below 4 GiB"));
}

pub(crate) fn value_at<'a>(ends: &[u32], bytes: &'a [u8], i: usize) -> &'a [u8] {
    let start = if i == 0 { 0 } else { ends[i - 1] as usize };
    &bytes[start..ends[i] as usize]
}
