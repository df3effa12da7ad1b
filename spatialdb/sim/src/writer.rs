//! What clients write.
//!
//! Responsible for: random messages that exercise every operation. This is where a new workload goes: add a column
//! to [`Writer::message`] and teach the model what it means.

use std::sync::Arc;

use spatialdb_core::{EventKind, WriteMode};
use spatialdb_types::{ComponentId, EntityId, EventId, Point3, Position, Seq, SessionId};

use crate::edge::{Column, Message, NewEntity};
use crate::interests::NAMES;
use crate::model::{Model, TWIN, Writers};
use crate::rng::Rng;
use crate::values::{self, FIELDS, STAMP_FIELD, Stamp};
use crate::world::Plan;

/// With both an entity gives its owner views.
const GIVING: [ComponentId; 2] = [ComponentId::INTEREST, ComponentId::PLAYER_OWNER];

/// Makes the messages of one session.
pub(crate) struct Writer<'a> {
    /// The world.
    pub(crate) plan: &'a Plan,
    /// What is known to be.
    pub(crate) model: &'a Model,
    /// Chance.
    pub(crate) rng: &'a mut Rng,
    /// The number of the last stamp; rises.
    pub(crate) stamps: &'a mut u32,
    /// What events were sent of last.
    pub(crate) eventful: &'a mut Vec<EntityId>,
    /// Who writes.
    pub(crate) session: SessionId,
}

impl Writer<'_> {
    /// A message that makes the entities.
    pub(crate) fn create(&mut self, seq: Seq, ids: &[EntityId]) -> (Message, Vec<Writers>) {
        let writers: Vec<Writers> = ids.iter().map(|_| self.writers()).collect();
        let mut rows: Vec<NewEntity> =
            ids.iter().zip(&writers).map(|(&id, &w)| self.new_entity(id, w)).collect();
        if self.rng.one_in(6) {
            // Refused: the id is taken by a row before.
            rows.push(self.rng.pick(&rows).clone());
        }
        (Message { session: self.session, seq, columns: vec![Column::Create(rows)] }, writers)
    }

    /// An entity with random components.
    pub(crate) fn new_entity(&mut self, entity: EntityId, writers: Writers) -> NewEntity {
        let stamp = self.stamp();
        let position = self.rng.percent(85).then(|| self.position(stamp));
        let mut values = Vec::new();
        let own = (0..self.plan.components).map(|c| ComponentId(crate::world::FIRST_COMPONENT + c));
        for component in [ComponentId::METADATA].into_iter().chain(own) {
            let is_twin = matches!(writers, Writers::Twin(_));
            if (is_twin && TWIN.contains(&component)) || self.rng.percent(50) {
                values.push((component, self.whole(component, stamp)));
            }
        }
        for component in GIVING {
            if self.rng.percent(self.plan.interests) {
                values.push((component, self.giving(component, stamp)));
            }
        }
        if self.plan.follows > 0 && self.rng.percent(self.plan.follows) {
            values.push((ComponentId::FOLLOWS, self.following(stamp)));
        }
        NewEntity { entity, position, values }
    }

    /// A message that changes what is there; `None` if the session may write nothing.
    pub(crate) fn message(&mut self, seq: Seq) -> Option<Message> {
        let open: Vec<EntityId> = self.open();
        if open.is_empty() {
            return None;
        }
        let movers: Vec<EntityId> = self.eventful.iter().copied().filter(|e| open.contains(e)).collect();
        if !movers.is_empty() && self.rng.percent(if self.plan.is_eventful { 90 } else { 40 }) {
            // Events on both sides of a border.
            let stamp = self.stamp();
            let space = self.position(stamp).space;
            let rows = movers.iter().map(|&e| (e, self.point(e, stamp, space, true))).collect();
            let moves = Column::Positions(WriteMode::Add, space, rows);
            return Some(Message { session: self.session, seq, columns: vec![moves, self.events(&movers)] });
        }
        let focus = self.rng.percent(40).then(|| *self.rng.pick(&open));
        let columns = (0..self.rng.between(1, 3)).flat_map(|_| self.columns(&open, focus)).collect();
        Some(Message { session: self.session, seq, columns })
    }

    /// Entities to write: some may be deleted, so that a few rows are refused.
    fn open(&mut self) -> Vec<EntityId> {
        let stale = self.rng.percent(10);
        let entities = self.model.entities.iter();
        entities
            .filter(|(_, k)| k.is_open_to(self.session) && (k.exists || stale))
            .map(|(&id, _)| id)
            .collect()
    }

    fn columns(&mut self, open: &[EntityId], focus: Option<EntityId>) -> Vec<Column> {
        let rows = if self.rng.one_in(10) { open.len() } else { self.rng.between(1, 5) as usize };
        let mut entities: Vec<EntityId> =
            (0..rows).map(|_| focus.unwrap_or_else(|| *self.rng.pick(open))).collect();
        if focus.is_some() {
            entities.truncate(2);
        }
        let twins: Vec<EntityId> = entities.iter().copied().filter(|&e| self.is_twin(e)).collect();
        let others: Vec<EntityId> = entities.iter().copied().filter(|&e| !self.is_twin(e)).collect();
        if self.plan.follows > 0 && self.rng.one_in(8) {
            return vec![self.follows(entities)];
        }
        let giving = if self.plan.interests > 0 { 28 } else { 24 };
        match self.rng.below(giving) {
            0..=8 => vec![self.positions(&entities)],
            9..=11 => self.with_twins(&twins, |w| w.values(&others, false)),
            12..=15 => self.with_twins(&twins, |w| w.values(&others, true)),
            16 => vec![Column::Remove(Some(ComponentId::POSITION), entities)],
            17 => vec![Column::Remove(Some(self.plan.component(self.rng)), others)],
            24..=26 => vec![self.interests(&entities)],
            27 => vec![Column::Remove(Some(*self.rng.pick(&GIVING)), entities)],
            18 => vec![Column::Remove(None, entities.into_iter().take(1).collect())],
            19..=22 => vec![self.events(&entities)],
            _ => self.with_twins(&twins, |w| w.values(&others, false)),
        }
    }

    fn is_twin(&self, entity: EntityId) -> bool {
        self.model.entities.get(&entity).is_some_and(|k| matches!(k.writers, Writers::Twin(_)))
    }

    /// Twins get both of their components, with one stamp, and at times a move in between.
    fn with_twins(&mut self, twins: &[EntityId], rest: impl FnOnce(&mut Self) -> Column) -> Vec<Column> {
        let mut columns = vec![rest(self)];
        if twins.is_empty() {
            return columns;
        }
        let stamp = self.stamp();
        for component in TWIN {
            let values = twins.iter().map(|&e| (e, self.whole(component, stamp))).collect();
            columns.push(Column::Values(WriteMode::Update, component, None, values));
        }
        if self.rng.percent(50) {
            let positions = self.positions(twins);
            columns.insert(2, positions);
        }
        if self.rng.percent(50) {
            let kind = EventKind { component: *self.rng.pick(&TWIN), event: EventId(1) };
            let rows = self.event_rows(twins);
            columns.push(Column::Events(kind, Some(stamp), rows));
        }
        columns
    }

    fn events(&mut self, entities: &[EntityId]) -> Column {
        let any = self.plan.component(self.rng);
        let component = if self.rng.one_in(4) { ComponentId::POSITION } else { any };
        let kind = EventKind { component, event: EventId(self.rng.between(1, 2) as u32) };
        *self.eventful = entities.to_vec();
        Column::Events(kind, None, self.event_rows(entities))
    }

    /// Each has a stamp of its own, by which it is known.
    fn event_rows(&mut self, entities: &[EntityId]) -> Vec<(EntityId, Vec<u8>)> {
        let row = |w: &mut Self, e| {
            let stamp = w.stamp();
            (e, w.whole(ComponentId(crate::world::FIRST_COMPONENT), stamp))
        };
        entities.iter().map(|&e| row(self, e)).collect()
    }

    fn positions(&mut self, entities: &[EntityId]) -> Column {
        let stamp = self.stamp();
        let mode = self.mode();
        let teleport = self.rng.percent(25);
        let space = self.position(stamp).space;
        let rows = entities.iter().map(|&e| (e, self.point(e, stamp, space, teleport))).collect();
        Column::Positions(mode, space, rows)
    }

    /// A point in the space: mostly near where the entity was last known to be.
    fn point(
        &mut self,
        entity: EntityId,
        stamp: Stamp,
        space: spatialdb_types::SpaceId,
        teleport: bool,
    ) -> Point3 {
        let before = self.model.entities.get(&entity).and_then(|k| k.state.position);
        let at = match before {
            Some(at) if !teleport => self.plan.near(self.rng, Position { space, point: at.point }),
            _ => self.plan.position(self.rng),
        };
        Point3::new(at.point.x, at.point.y, values::stamped_z(at.point.z, stamp))
    }

    fn values(&mut self, entities: &[EntityId], partial: bool) -> Column {
        let (component, mode) = (self.plan.component(self.rng), self.mode());
        if !partial {
            let stamp = self.stamp();
            let rows = entities.iter().map(|&e| (e, self.whole(component, stamp))).collect();
            return Column::Values(mode, component, None, rows);
        }
        let mut cleared: Vec<u32> = FIELDS.into_iter().filter(|_| self.rng.percent(40)).collect();
        cleared.push(STAMP_FIELD);
        let stamp = self.stamp();
        let payload =
            |w: &mut Self| values::encode(&values::random_fields(w.rng, component, stamp, &cleared));
        let rows = entities.iter().map(|&e| (e, payload(self))).collect();
        Column::Values(mode, component, Some(Arc::from(cleared)), rows)
    }

    /// Interests or owners, whole or all of their fields.
    fn interests(&mut self, entities: &[EntityId]) -> Column {
        let (component, mode, stamp) = (*self.rng.pick(&GIVING), self.mode(), self.stamp());
        let rows = entities.iter().map(|&e| (e, self.giving(component, stamp))).collect();
        let cleared = self.rng.one_in(3).then(|| Arc::from([1, STAMP_FIELD]));
        Column::Values(mode, component, cleared, rows)
    }

    /// Entities get another leader, or none.
    fn follows(&mut self, entities: Vec<EntityId>) -> Column {
        if self.rng.one_in(4) {
            return Column::Remove(Some(ComponentId::FOLLOWS), entities);
        }
        let (mode, stamp) = (self.mode(), self.stamp());
        let rows = entities.iter().map(|&e| (e, self.following(stamp))).collect();
        Column::Values(mode, ComponentId::FOLLOWS, None, rows)
    }

    /// A leader that is or was there, or, before there are any, may come.
    fn following(&mut self, stamp: Stamp) -> Vec<u8> {
        let known: Vec<EntityId> = self.model.entities.keys().copied().collect();
        let leader = if known.is_empty() { EntityId(self.rng.below(20)) } else { *self.rng.pick(&known) };
        values::numbered(leader.0, stamp)
    }

    fn giving(&mut self, component: ComponentId, stamp: Stamp) -> Vec<u8> {
        if component == ComponentId::INTEREST {
            // Few of them, so that some are written again.
            return values::numbered(self.rng.below(40), stamp);
        }
        let name = if self.rng.one_in(8) { "" } else { *self.rng.pick(&NAMES) };
        values::owner(name, stamp)
    }

    fn whole(&mut self, component: ComponentId, stamp: Stamp) -> Vec<u8> {
        values::encode(&values::random_fields(self.rng, component, stamp, &FIELDS))
    }

    fn position(&mut self, stamp: Stamp) -> Position {
        let at = self.plan.position(self.rng);
        Position::new(at.space, at.point.x, at.point.y, values::stamped_z(at.point.z, stamp))
    }

    fn mode(&mut self) -> WriteMode {
        if self.rng.percent(40) { WriteMode::Add } else { WriteMode::Update }
    }

    fn writers(&mut self) -> Writers {
        match self.rng.below(10) {
            0..=3 => Writers::Shared,
            4..=7 => Writers::One(self.session),
            _ => Writers::Twin(self.session),
        }
    }

    fn stamp(&mut self) -> Stamp {
        *self.stamps += 1;
        Stamp { writer: self.session, number: *self.stamps }
    }
}
