//! From a client message to batches for partitions.
//!
//! Responsible for: checking columns and payloads, refusing bad rows alone, routing.
//! Not responsible for: whether entities exist or have a component (the partition knows).

mod columns;
mod create;
mod events;
mod holds;

pub(super) use self::create::row_count;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use spatialdb_core::authority::leases::Seen;
use spatialdb_core::world::Owner;
use spatialdb_core::{Batch, Op, Outcome, Role, WriteMode};
use spatialdb_proto::v1;
use spatialdb_schema::Component;
use spatialdb_types::{ComponentId, EntityId, Error, PartitionId, Point3, Reason, Seq, SessionId};

use super::parts::{At, Parts, Split};
use crate::auth::Kind;
use crate::server::edge::Edge;
use crate::server::port::{Event, Port};

/// Takes in the writes of one session.
pub(super) struct Intake {
    edge: Arc<Edge>,
    session: SessionId,
    owner: Owner,
    port: Port,
    /// What the worker had processed when it wrote, and whether it needs to own what it writes.
    seen: Seen,
    role: Role,
}

impl Intake {
    pub(super) fn new(edge: Arc<Edge>, session: SessionId, owner: Owner, port: Port) -> Self {
        let role = if port.stats.principal.kind == Kind::Tool { Role::Tool } else { Role::Worker };
        Self { edge, session, owner, port, seen: Seen::default(), role }
    }

    /// What comes from now on was written by a worker that had processed that.
    pub(super) fn note_seen(&mut self, seen: Seen) {
        self.seen = seen;
    }

    /// A message that needs no partition.
    pub(super) fn decided(&self, seq: Seq) {
        self.port.send(Event::Received { seq, rows: 0, refused: Outcome::default() });
    }

    /// A message that is refused as a whole.
    pub(super) fn refuse(&self, seq: Seq, error: &Error) {
        let mut parts = self.parts(seq);
        parts.reject_all(error);
        self.send(seq, parts);
    }

    pub(super) fn update(&self, seq: Seq, update: &v1::Update) {
        self.write(seq, WriteMode::Update, &update.positions, &update.columns, &update.events);
    }

    pub(super) fn add_components(&self, seq: Seq, add: &v1::AddComponents) {
        self.write(seq, WriteMode::Add, &add.positions, &add.columns, &[]);
    }

    fn write(
        &self,
        seq: Seq,
        mode: WriteMode,
        positions: &[v1::PositionColumn],
        columns: &[v1::Column],
        events: &[v1::EventColumn],
    ) {
        let mut parts = self.parts(seq);
        let rows = positions.iter().map(|c| c.entities.len()).chain(columns.iter().map(|c| c.entities.len()));
        let rows = rows.chain(events.iter().map(|c| c.entities.len()));
        let column_count = positions.len() + columns.len() + events.len();
        if let Err(error) = self.check_columns(column_count).and_then(|()| self.check_rows(rows.sum())) {
            parts.reject_all(&error);
            return self.send(seq, parts);
        }
        parts.expect_columns(column_count);
        // Until all is queued no partition may think that its old routes are out of use.
        let gate = self.edge.routes.enter();
        for (i, column) in positions.iter().enumerate() {
            self.positions(i as u32, mode, column, &mut parts);
        }
        for (i, column) in columns.iter().enumerate() {
            self.values((positions.len() + i) as u32, mode, column, &mut parts);
        }
        for (i, column) in events.iter().enumerate() {
            self.events((positions.len() + columns.len() + i) as u32, column, &mut parts);
        }
        self.send(seq, parts);
        drop(gate);
    }

    pub(super) fn delete(&self, seq: Seq, delete: &v1::Delete) {
        let mut parts = self.parts(seq);
        if let Err(error) = self.check_rows(delete.entities.len()) {
            parts.reject_all(&error);
            return self.send(seq, parts);
        }
        let gate = self.edge.routes.enter();
        self.removes(0, None, &delete.entities, &mut parts);
        self.send(seq, parts);
        drop(gate);
    }

    pub(super) fn remove_components(&self, seq: Seq, remove: &v1::RemoveComponents) {
        let mut parts = self.parts(seq);
        let rows = remove.columns.iter().map(|c| c.entities.len()).sum();
        if let Err(error) = self.check_columns(remove.columns.len()).and_then(|()| self.check_rows(rows)) {
            parts.reject_all(&error);
            return self.send(seq, parts);
        }
        parts.expect_columns(remove.columns.len());
        let gate = self.edge.routes.enter();
        for (i, column) in remove.columns.iter().enumerate() {
            let component = ComponentId(column.component);
            if let Err(error) = self.known(component) {
                parts.reject(whole_column(i as u32, component), error.reason, error.detail);
                continue;
            }
            self.removes(i as u32, Some(component), &column.entities, &mut parts);
        }
        self.send(seq, parts);
        drop(gate);
    }

    /// Ids that only this owner may create entities with.
    pub(super) fn reserve_ids(&self, seq: Seq, reserve: &v1::ReserveIds) -> Result<v1::IdsReserved, Error> {
        let first = self.edge.world().ids.reserve(&self.owner, u64::from(reserve.count))?;
        Ok(v1::IdsReserved { seq: seq.0, first: first.0, count: reserve.count })
    }

    fn removes(&self, column: u32, component: Option<ComponentId>, entities: &[u64], parts: &mut Parts) {
        let mut split = Split::new(parts.partition_count());
        for (row, &id) in entities.iter().enumerate() {
            let entity = EntityId(id);
            let row = row as u32;
            let at = At { column, row, entity, component: component.unwrap_or_default() };
            if component.is_none() && self.edge.roster.has(entity) {
                let detail = format!("entity {entity} stands for a session");
                parts.reject(at, Reason::ComponentReserved, detail);
                continue;
            }
            if self.is_entity(at, parts) {
                split.push_remove(self.route(entity, parts), (column, component), (row, entity));
            }
        }
        parts.add(split, Op::Remove);
    }

    /// A component of the schema that workers may write.
    fn known(&self, id: ComponentId) -> Result<Component, Error> {
        if id == ComponentId::WORKER_SESSION {
            let detail = "spatialdb.v1.WorkerSession is written by the server only";
            return Err(Error::new(Reason::ComponentReserved, detail));
        }
        let component = self.edge.schema().component(id).cloned();
        component
            .ok_or_else(|| Error::new(Reason::ComponentUnknown, format!("the schema has no component {id}")))
    }

    fn parts(&self, seq: Seq) -> Parts {
        let max = self.edge.limits.rejections_per_frame_max;
        let empty = Batch { seen: self.seen.clone(), role: self.role, ..Batch::new(self.session, seq) };
        Parts::new(&empty, self.edge.partitions.len(), max)
    }

    /// Tells the session's task first, so that it knows of the rows before it hears what became of them.
    fn send(&self, seq: Seq, parts: Parts) {
        let (batches, refused) = parts.finish();
        let rows = batches.iter().map(|(_, batch)| batch.row_count() as u32).sum();
        self.port.stats.updates_received.fetch_add(u64::from(rows), Ordering::Relaxed);
        self.port.send(Event::Received { seq, rows, refused });
        for (to, batch) in batches {
            self.edge.partition(to).send(&self.edge, batch);
        }
    }

    fn route(&self, entity: EntityId, parts: &mut Parts) -> PartitionId {
        parts.route(entity, || {
            self.edge.routes.get(entity).unwrap_or_else(|| self.edge.map.home(entity, None))
        })
    }

    fn check_columns(&self, columns: usize) -> Result<(), Error> {
        let max = self.edge.limits.message_columns_max;
        if columns as u64 <= max {
            return Ok(());
        }
        Err(Error::new(Reason::MessageTooLarge, format!("{columns} columns; message_columns_max = {max}")))
    }

    pub(super) fn check_rows(&self, rows: usize) -> Result<(), Error> {
        let max = self.edge.limits.message_rows_max;
        if rows as u64 <= max {
            return Ok(());
        }
        Err(Error::new(Reason::MessageTooLarge, format!("{rows} rows; message_rows_max = {max}")))
    }

    fn is_entity(&self, at: At, parts: &mut Parts) -> bool {
        if at.entity.is_valid() {
            return true;
        }
        let detail = format!("entity {}: ids are above 0 and below 2^53", at.entity);
        parts.reject(at, Reason::EntityIdInvalid, detail);
        false
    }

    /// Whether a position may be stored.
    fn is_point(&self, point: Point3, at: At, parts: &mut Parts) -> bool {
        let max = self.edge.limits.position_abs_m_max as f64;
        if [point.x, point.y, point.z].iter().all(|v| v.abs() <= max) {
            return true;
        }
        let detail = format!(
            "entity {}: ({}, {}, {}); finite numbers up to position_abs_m_max = {max} are needed",
            at.entity, point.x, point.y, point.z
        );
        parts.reject(at, Reason::PositionInvalid, detail);
        false
    }
}

fn whole_column(column: u32, component: ComponentId) -> At {
    At { column, row: 0, entity: EntityId(0), component }
}
