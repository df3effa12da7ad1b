//! The edge: takes client messages apart by partition.
//!
//! Responsible for: the table of hints, and one batch per message and partition.
//! Not responsible for: queues (the driver's), or checking messages (they are well formed here).

use std::collections::BTreeMap;
use std::sync::Arc;

use spatialdb_core::{
    Batch, CreateColumn, CreateRows, EventKind, EventWrites, Op, PartitionMap, PositionWrites, Removes,
    ValueWrites, WriteMode,
};
use spatialdb_types::{ComponentId, EntityId, PartitionId, Point3, Position, Seq, SessionId, SpaceId};

use crate::bug::{Bug, Bugs};
use crate::values::Stamp;

/// A message of a client, as rows.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Who sends it.
    pub(crate) session: SessionId,
    /// Its number.
    pub(crate) seq: Seq,
    /// Its columns.
    pub(crate) columns: Vec<Column>,
}

/// A column of a message.
#[derive(Clone, Debug)]
pub(crate) enum Column {
    /// New entities; only ever the first column.
    Create(Vec<NewEntity>),
    /// Positions in one space.
    Positions(WriteMode, SpaceId, Vec<(EntityId, Point3)>),
    /// Values of one component; whole, or replacing the listed fields.
    Values(WriteMode, ComponentId, Option<Arc<[u32]>>, Vec<(EntityId, Vec<u8>)>),
    /// Takes a component, or everything.
    Remove(Option<ComponentId>, Vec<EntityId>),
    /// Events of one kind; with the stamp of the values that the component is given by the same message, if it is.
    Events(EventKind, Option<Stamp>, Vec<(EntityId, Vec<u8>)>),
}

/// An entity to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewEntity {
    /// Its id, unused unless the create is to be refused.
    pub(crate) entity: EntityId,
    /// Where it is, if anywhere.
    pub(crate) position: Option<Position>,
    /// Its other components.
    pub(crate) values: Vec<(ComponentId, Vec<u8>)>,
}

/// The table of hints.
#[derive(Debug)]
pub(crate) struct Edge {
    map: Arc<PartitionMap>,
    hints: BTreeMap<EntityId, PartitionId>,
}

impl Column {
    /// How many rows it has.
    pub(crate) const fn row_count(&self) -> usize {
        match self {
            Self::Create(rows) => rows.len(),
            Self::Positions(.., rows) => rows.len(),
            Self::Values(.., rows) => rows.len(),
            Self::Remove(_, rows) => rows.len(),
            Self::Events(.., rows) => rows.len(),
        }
    }
}

impl Edge {
    /// An edge that knows of no entity.
    pub(crate) const fn new(map: Arc<PartitionMap>) -> Self {
        Self { map, hints: BTreeMap::new() }
    }

    /// Writes for the entity go there from now on.
    pub(crate) fn set(&mut self, entity: EntityId, to: PartitionId) {
        self.hints.insert(entity, to);
    }

    /// The entity is gone.
    pub(crate) fn clear(&mut self, entity: EntityId) {
        self.hints.remove(&entity);
    }

    /// Every hint.
    pub(crate) fn hints(&self) -> impl Iterator<Item = (EntityId, PartitionId)> + '_ {
        self.hints.iter().map(|(&entity, &to)| (entity, to))
    }

    /// Where a write for the entity goes.
    pub(crate) fn target(&self, entity: EntityId, bugs: &mut Bugs) -> PartitionId {
        let home = self.map.home(entity, None);
        if bugs.hits(Bug::IgnoreHints) {
            return home;
        }
        self.hints.get(&entity).copied().unwrap_or(home)
    }

    /// Notes where the entities of a create are, before anything else is routed.
    pub(crate) fn note_created(&mut self, message: &Message) {
        if let Some(Column::Create(rows)) = message.columns.first() {
            for row in rows {
                self.hints.insert(row.entity, self.map.home(row.entity, row.position));
            }
        }
    }

    /// One batch per partition that the message concerns.
    pub(crate) fn route(&self, message: &Message, bugs: &mut Bugs) -> BTreeMap<PartitionId, Batch> {
        let mut batches = Batches { message, batches: BTreeMap::new() };
        for (i, column) in message.columns.iter().enumerate() {
            self.route_column(i as u32, column, &mut batches, bugs);
        }
        batches.batches
    }

    fn route_column(&self, i: u32, column: &Column, batches: &mut Batches<'_>, bugs: &mut Bugs) {
        let mut made: BTreeMap<PartitionId, Op> = BTreeMap::new();
        for row in 0..column.row_count() {
            let number = row as u32;
            match column {
                Column::Create(rows) => {
                    let to = self.map.home(rows[row].entity, rows[row].position);
                    let op = made.entry(to).or_insert_with(|| Op::Create(CreateRows::default()));
                    if let Op::Create(create) = op {
                        push_new(create, number, &rows[row]);
                    }
                }
                Column::Positions(mode, space, rows) => {
                    let (entity, point) = rows[row];
                    let fresh = || Op::Positions(PositionWrites::new(i, *mode, *space));
                    if let Op::Positions(op) = made.entry(self.target(entity, bugs)).or_insert_with(fresh) {
                        op.push(number, entity, point);
                    }
                }
                Column::Values(mode, component, cleared, rows) => {
                    let (entity, value) = &rows[row];
                    let cleared = cleared.clone().filter(|_| !bugs.hits(Bug::PartialAsWhole));
                    let fresh = || Op::Values(ValueWrites::new(i, *mode, *component, cleared));
                    if let Op::Values(op) = made.entry(self.target(*entity, bugs)).or_insert_with(fresh) {
                        op.push(number, *entity, value);
                    }
                }
                Column::Remove(component, rows) => {
                    let fresh = || Op::Remove(Removes::new(i, *component));
                    if let Op::Remove(op) = made.entry(self.target(rows[row], bugs)).or_insert_with(fresh) {
                        op.push(number, rows[row]);
                    }
                }
                Column::Events(kind, _, rows) => {
                    let (entity, payload) = &rows[row];
                    let fresh = || Op::Events(EventWrites::new(i, *kind));
                    if let Op::Events(op) = made.entry(self.target(*entity, bugs)).or_insert_with(fresh) {
                        op.push(number, *entity, payload);
                    }
                }
            }
        }
        for (to, op) in made {
            batches.push(to, op);
        }
    }
}

struct Batches<'a> {
    message: &'a Message,
    batches: BTreeMap<PartitionId, Batch>,
}

impl Batches<'_> {
    fn push(&mut self, to: PartitionId, op: Op) {
        let fresh = || Batch::new(self.message.session, self.message.seq);
        self.batches.entry(to).or_insert_with(fresh).ops.push(op);
    }
}

/// Adds an entity to the rows of a create.
pub(crate) fn push_new(create: &mut CreateRows, row: u32, new: &NewEntity) {
    let index = create.entities.len() as u32;
    create.rows.push(row);
    create.entities.push(new.entity);
    if let Some(position) = new.position {
        create.positions.index.push(index);
        create.positions.positions.push(position);
    }
    for (component, value) in &new.values {
        let at = create.columns.iter().position(|c| c.component == *component).unwrap_or_else(|| {
            create.columns.push(CreateColumn::new(*component));
            create.columns.len() - 1
        });
        create.columns[at].push(index, value);
    }
}
