//! A client's replica: applies frames whole, and refuses what no frame may say.

use std::collections::{BTreeMap, BTreeSet};

use spatialdb_core::{Event, FrameBody, LeaveReason, Rejection, Rows, View};
use spatialdb_types::{ComponentId, EntityId, Position, Reason, Revision, Seq, SessionId, ViewId};

use crate::events::{Heard, Sent};
use crate::judge::Failure;
use crate::model::TWIN;
use crate::squares::Squares;
use crate::values;

/// What a client has been shown of a component.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A position.
    At(Position),
    /// Any other value.
    Bytes(Vec<u8>),
}

impl Value {
    /// Who wrote it.
    pub(crate) fn writer(&self) -> Option<SessionId> {
        match self {
            Self::At(at) => Some(values::position_writer(at.point)),
            Self::Bytes(bytes) => values::stamp_of(bytes).map(|stamp| stamp.writer),
        }
    }
}

/// How often the client asked for a view and was told that it is filled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asks {
    /// Subscribed or changed.
    pub(crate) asked: u64,
    /// The last message that did so.
    pub(crate) by: Seq,
    /// Told that it is filled.
    pub(crate) answered: u64,
    /// What it was told last.
    pub(crate) count: u64,
    /// The view was ended.
    pub(crate) ended: bool,
    /// It is one of densities.
    pub(crate) of_densities: bool,
}

/// What a client has been shown.
#[derive(Debug, Default)]
pub(crate) struct Replica {
    /// The session, where its own updates must not come back: one partition, no restart, and no view asks for them.
    pub(crate) no_echo_of: Option<SessionId>,
    /// Entities that nobody but the session ever wrote.
    pub(crate) sole: BTreeSet<EntityId>,
    /// Entities in view, and what is shown of them.
    pub(crate) held: BTreeMap<EntityId, BTreeMap<ComponentId, (Revision, Value)>>,
    /// The last revision and value ever shown; never forgotten.
    last: BTreeMap<(EntityId, ComponentId), (Revision, Value)>,
    /// Entities that were told to be deleted: they never come back.
    deleted: BTreeSet<EntityId>,
    /// How far the client's messages are decided.
    pub(crate) applied: Seq,
    /// Views, by what was asked and answered.
    pub(crate) views: BTreeMap<ViewId, Asks>,
    /// Rows that were refused.
    pub(crate) rejections: Vec<Rejection>,
    /// A view has asked for halves of a message at rates of their own.
    pub(crate) may_tear: bool,
    /// What views of densities show.
    pub(crate) squares: Squares,
    /// Events.
    pub(crate) heard: Heard,
    /// How many more were refused.
    pub(crate) collapsed: BTreeMap<Reason, u64>,
}

impl Replica {
    /// A replica that was shown nothing; `no_echo_of` is where own updates must not come back.
    pub(crate) fn new(own: SessionId, no_echo_of: Option<SessionId>) -> Self {
        Self { no_echo_of, heard: Heard::new(own), ..Self::default() }
    }

    /// A view is asked for.
    pub(crate) fn note_asked(&mut self, view: &View, by: Seq) {
        let asks = self.views.entry(view.id).or_default();
        asks.asked += 1;
        asks.by = by;
        asks.of_densities = view.densities.is_some();
        self.note_halves(view);
    }

    /// A view may ask for halves of messages.
    pub(crate) fn note_halves(&mut self, view: &View) {
        let halves = |part: &spatialdb_core::Part| part.wants(TWIN[0]) != part.wants(TWIN[1]);
        self.may_tear |= view.parts.iter().any(halves);
        self.heard.has_rates |= view.parts.iter().any(|part| part.interval_us > 0);
    }

    /// Applies a frame.
    ///
    /// # Errors
    /// Which rule the frame breaks. The replica is of no use then.
    pub(crate) fn apply(
        &mut self,
        frame: &FrameBody,
        twins: &BTreeSet<EntityId>,
        sent: &Sent,
    ) -> Result<(), Failure> {
        if frame.applied < self.applied {
            return broken(
                "applied",
                format!("applied went back from {} to {}", self.applied, frame.applied),
            );
        }
        self.applied = frame.applied;
        let has = |replica: &Self, event: &Event| {
            let held = replica.held.get(&event.entity);
            held.is_some_and(|held| held.contains_key(&event.kind.component))
        };
        let before: Vec<bool> = frame.events.iter().map(|event| has(self, event)).collect();
        self.apply_membership(frame)?;
        let shared = frame.shared.iter().map(|shared| shared.rows());
        let positions = shared.clone().filter_map(|rows| match rows {
            Rows::Positions(rows) => Some(rows),
            Rows::Values(_) => None,
        });
        let columns = shared.filter_map(|rows| match rows {
            Rows::Values(rows) => Some(rows),
            Rows::Positions(_) => None,
        });
        for group in frame.positions.iter().chain(positions) {
            for (i, &entity) in group.entities.iter().enumerate() {
                let point = spatialdb_types::Point3::new(group.x[i], group.y[i], group.z[i]);
                let at = Value::At(Position { space: group.space, point });
                self.set(entity, ComponentId::POSITION, group.revisions[i], at)?;
            }
        }
        for group in frame.columns.iter().chain(columns) {
            for (i, &entity) in group.entities.iter().enumerate() {
                let value = Value::Bytes(group.value(i).to_vec());
                self.set(entity, group.component, group.revisions[i], value)?;
            }
        }
        let ended = |view: &ViewId| self.views.get(view).is_none_or(|asks| asks.ended);
        for column in frame.densities.iter().filter(|column| !ended(&column.view)) {
            self.squares.apply(column)?;
        }
        self.apply_events(frame, &before, sent)?;
        self.apply_answers(frame)?;
        self.check_twins(frame, twins)
    }

    /// `before` tells of which events the component was in view before the frame.
    fn apply_events(&mut self, frame: &FrameBody, before: &[bool], sent: &Sent) -> Result<(), Failure> {
        let value = |event: &Event| self.held.get(&event.entity)?.get(&event.kind.component);
        let shown = |event: &Event| match value(event)? {
            (_, Value::Bytes(bytes)) => values::stamp_of(bytes),
            (_, Value::At(_)) => None,
        };
        let events = frame.events.iter().zip(before);
        let seen: Vec<bool> = events.map(|(event, &before)| before || value(event).is_some()).collect();
        self.heard.take(frame, self.no_echo_of, sent, &seen, shown)
    }

    fn apply_membership(&mut self, frame: &FrameBody) -> Result<(), Failure> {
        for &entity in &frame.entered {
            if self.held.insert(entity, BTreeMap::new()).is_some() {
                return broken("enter", format!("entity {entity} entered and was in view already"));
            }
            if self.deleted.contains(&entity) {
                return broken("enter", format!("entity {entity} entered after it was deleted"));
            }
        }
        for &(entity, reason) in &frame.left {
            if self.held.remove(&entity).is_none() {
                return broken("leave", format!("entity {entity} left and was not in view"));
            }
            self.heard.note_left(entity, reason);
            if reason == LeaveReason::Deleted {
                self.deleted.insert(entity);
            }
        }
        for (component, entities) in &frame.gone {
            for &entity in entities {
                self.heard.note_gone(entity, *component);
                if self.held.get_mut(&entity).and_then(|held| held.remove(component)).is_none() {
                    return broken(
                        "gone",
                        format!("component {component} of {entity} is gone and was not in view"),
                    );
                }
            }
        }
        Ok(())
    }

    fn set(
        &mut self,
        entity: EntityId,
        c: ComponentId,
        revision: Revision,
        value: Value,
    ) -> Result<(), Failure> {
        let Some(held) = self.held.get_mut(&entity) else {
            return broken(
                "value",
                format!("component {c} of {entity} came while the entity is not in view"),
            );
        };
        if let Some((before, known)) = self.last.get(&(entity, c)) {
            if *before > revision {
                let detail =
                    format!("component {c} of {entity} went back from revision {before} to {revision}");
                return broken("revision", detail);
            }
            if *before == revision && *known != value {
                let detail = format!("component {c} of {entity} has two values at revision {revision}");
                return broken("revision", detail);
            }
        }
        // Of what others write too, a part may have been written over a value that the session had not seen: that comes
        // back.
        let is_known = c == ComponentId::POSITION || self.sole.contains(&entity);
        if is_known && held.contains_key(&c) && self.no_echo_of.is_some() && self.no_echo_of == value.writer()
        {
            return broken(
                "echo",
                format!("component {c} of {entity} came back to the session that wrote it"),
            );
        }
        held.insert(c, (revision, value.clone()));
        self.last.insert((entity, c), (revision, value));
        Ok(())
    }

    fn apply_answers(&mut self, frame: &FrameBody) -> Result<(), Failure> {
        for &(view, count) in &frame.view_ready {
            let asks = self.views.entry(view).or_default();
            asks.answered += 1;
            if frame.applied < asks.by {
                let (applied, by) = (frame.applied, asks.by);
                return broken(
                    "view ready",
                    format!("view {view} is ready at {applied}, and was asked for by {by}"),
                );
            }
            asks.count = count;
            if asks.of_densities && !asks.ended && self.squares.sum(view) != count {
                let sum = self.squares.sum(view);
                return broken("squares", format!("view {view} is told to count {count}, its squares {sum}"));
            }
            if asks.answered > asks.asked {
                let Asks { asked, answered, .. } = asks;
                return broken(
                    "view ready",
                    format!("view {view} was asked {asked} times and ready {answered} times"),
                );
            }
        }
        self.rejections.extend(frame.outcome.rejections.iter().cloned());
        for &(reason, count) in &frame.outcome.collapsed {
            *self.collapsed.entry(reason).or_default() += count;
        }
        Ok(())
    }

    /// What one message says of one entity shows in one frame.
    fn check_twins(&self, frame: &FrameBody, twins: &BTreeSet<EntityId>) -> Result<(), Failure> {
        if self.may_tear {
            return Ok(());
        }
        let shared = frame.shared.iter().map(|shared| (shared.rows().component(), shared.rows().entities()));
        let own = frame.columns.iter().map(|group| (group.component, &*group.entities));
        let shown = own.chain(shared).filter(|(c, _)| TWIN.contains(c)).flat_map(|(_, entities)| entities);
        for entity in shown.filter(|e| twins.contains(e)) {
            let stamp = |c: ComponentId| match self.held.get(entity)?.get(&c)? {
                (_, Value::Bytes(value)) => values::stamp_of(value),
                _ => None,
            };
            if let (Some(a), Some(b)) = (stamp(TWIN[0]), stamp(TWIN[1]))
                && a != b
            {
                return broken(
                    "torn",
                    format!("entity {entity} shows halves of two messages: {a:?} and {b:?}"),
                );
            }
        }
        Ok(())
    }
}

fn broken<T>(judge: &'static str, detail: String) -> Result<T, Failure> {
    Err(Failure { judge, detail })
}
