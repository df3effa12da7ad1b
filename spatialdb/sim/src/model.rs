//! What must be, as a plain sequential model.
//!
//! Responsible for: which entities exist, the exact state of those that one session alone writes, and which rows of
//! that session must be refused. Not responsible for: entities that several sessions write, beyond whether they exist.

use std::collections::{BTreeMap, BTreeSet};

use spatialdb_core::WriteMode;
use spatialdb_types::{ComponentId, EntityId, Position, Reason, Seq, SessionId};

use crate::edge::{Column, Message, NewEntity};
use crate::values::{self, Fields};
use crate::world::FIRST_COMPONENT;

/// Who writes an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writers {
    /// Anybody.
    Shared,
    /// One session only.
    One(SessionId),
    /// One session only, and the first two components always together, with one stamp.
    Twin(SessionId),
}

/// An entity that was ever made.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// Who writes it.
    pub(crate) writers: Writers,
    /// Whether no delete of it was sent.
    pub(crate) exists: bool,
    /// What it must be, if one session writes it.
    pub(crate) state: State,
}

/// The state of an entity.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State {
    /// Where it is.
    pub(crate) position: Option<Position>,
    /// Its other components.
    pub(crate) values: BTreeMap<ComponentId, Fields>,
}

/// A row that must be refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Refusal {
    /// The message.
    pub(crate) seq: Seq,
    /// The column.
    pub(crate) column: u32,
    /// The row.
    pub(crate) row: u32,
    /// Why.
    pub(crate) reason: Reason,
    /// Which entity.
    pub(crate) entity: EntityId,
    /// Which component.
    pub(crate) component: ComponentId,
}

/// The world as it must be.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Every entity that was ever made.
    pub(crate) entities: BTreeMap<EntityId, Known>,
    /// The rows of each session that must be refused.
    pub(crate) refusals: BTreeMap<SessionId, BTreeSet<Refusal>>,
}

/// The two components of a twin.
pub(crate) const TWIN: [ComponentId; 2] = [ComponentId(FIRST_COMPONENT), ComponentId(FIRST_COMPONENT + 1)];

impl Known {
    /// Whether that session alone writes it.
    pub(crate) fn is_only_of(&self, session: SessionId) -> bool {
        self.writers == Writers::One(session) || self.writers == Writers::Twin(session)
    }

    /// Whether the session may write it.
    pub(crate) fn is_open_to(&self, session: SessionId) -> bool {
        self.writers == Writers::Shared || self.is_only_of(session)
    }
}

impl Model {
    /// An entity is made.
    pub(crate) fn create(&mut self, new: &NewEntity, writers: Writers) {
        let values = new.values.iter().filter_map(|(c, v)| Some((*c, values::parse(v)?))).collect();
        let state = State { position: new.position, values };
        self.entities.insert(new.entity, Known { writers, exists: true, state });
    }

    /// A message is sent. Its creates have been told by [`Model::create`] before.
    pub(crate) fn send(&mut self, message: &Message) {
        let mut refused = Vec::new();
        for (i, column) in message.columns.iter().enumerate() {
            for row in 0..column.row_count() {
                if let Some((entity, component, reason)) = self.send_row(message.session, column, row) {
                    let (column, row) = (i as u32, row as u32);
                    refused.push(Refusal { seq: message.seq, column, row, reason, entity, component });
                }
            }
        }
        self.refusals.entry(message.session).or_default().extend(refused);
    }

    /// Whether the rejections of rows for the entity are known exactly.
    pub(crate) fn is_exact(&self, entity: EntityId) -> bool {
        self.entities.get(&entity).is_some_and(|known| known.writers != Writers::Shared)
    }

    /// Whether it is known that a row of a message that was sent is accepted.
    pub(crate) fn is_accepted(&self, message: &Message, column: u32, row: u32, entity: EntityId) -> bool {
        let is_known = self.entities.get(&entity).is_some_and(|known| known.is_only_of(message.session));
        let refused = self.refusals.get(&message.session);
        let is_this = |r: &Refusal| (r.seq, r.column, r.row) == (message.seq, column, row);
        is_known && !refused.is_some_and(|refused| refused.iter().any(is_this))
    }

    fn send_row(
        &mut self,
        by: SessionId,
        column: &Column,
        row: usize,
    ) -> Option<(EntityId, ComponentId, Reason)> {
        let (entity, component) = match column {
            Column::Create(rows) => {
                let entity = rows[row].entity;
                let again = rows[..row].iter().any(|other| other.entity == entity);
                return again.then_some((entity, ComponentId(0), Reason::EntityExists));
            }
            Column::Positions(.., rows) => (rows[row].0, ComponentId::POSITION),
            Column::Values(_, component, _, rows) => (rows[row].0, *component),
            Column::Remove(component, rows) => (rows[row], component.unwrap_or_default()),
            Column::Events(kind, _, rows) => (rows[row].0, kind.component),
        };
        if crate::authority::is_owned(component) {
            // Judged apart.
            return None;
        }
        let known = self.entities.get_mut(&entity)?;
        let refused = if known.exists { apply(known, column, row) } else { Some(Reason::EntityNotFound) };
        refused.filter(|_| known.is_only_of(by)).map(|reason| (entity, component, reason))
    }
}

/// Applies one row. Returns why it is refused, if it is.
fn apply(known: &mut Known, column: &Column, row: usize) -> Option<Reason> {
    let state = &mut known.state;
    let missing = Some(Reason::ComponentNotFound);
    match column {
        Column::Create(_) => {}
        Column::Positions(mode, space, rows) => {
            if state.position.is_none() && *mode == WriteMode::Update {
                return missing;
            }
            state.position = Some(Position { space: *space, point: rows[row].1 });
        }
        Column::Values(mode, component, cleared, rows) => {
            if !state.values.contains_key(component) && *mode == WriteMode::Update {
                return missing;
            }
            let payload = values::parse(&rows[row].1).unwrap_or_default();
            let value = state.values.entry(*component).or_default();
            match cleared {
                None => *value = payload,
                Some(cleared) => {
                    value.retain(|field, _| !cleared.contains(field));
                    value.extend(payload);
                }
            }
        }
        Column::Events(kind, ..) => {
            let has = match kind.component {
                ComponentId::POSITION => state.position.is_some(),
                component => state.values.contains_key(&component),
            };
            return if has { None } else { missing };
        }
        Column::Remove(None, _) => known.exists = false,
        Column::Remove(Some(ComponentId::POSITION), _) => {
            if state.position.take().is_none() {
                return missing;
            }
        }
        Column::Remove(Some(component), _) => {
            if state.values.remove(component).is_none() {
                return missing;
            }
        }
    }
    None
}
