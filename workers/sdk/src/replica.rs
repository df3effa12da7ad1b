//! The local replica: what the session's views show, as of the last frame.
//!
//! Responsible for: applying frames whole, typed reads, noticing a server that breaks the rules of frames.
//! Not responsible for: I/O, and what this session wrote itself: own updates come back only to views with
//! [`View::own_updates`](crate::View::own_updates).

mod changes;
mod densities;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};
use spatialdb_types::{ComponentId, EntityId, Point3, Position, Revision, SpaceId, ViewId};

use self::changes::ChangeLog;
pub use self::{
    changes::{Changes, LeaveReason},
    densities::{DensityMap, Square},
};
use crate::{Component, ReadError, ReplicaError, v1};

/// A value and its revision. Bytes are copied out of the frame, so that a small value that stays for long does
/// not keep a whole frame in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    revision: Revision,
    value: Box<[u8]>,
}

/// What the session sees: entities, their positions, their components.
#[derive(Debug, Default)]
pub struct Replica {
    entities: FxHashSet<EntityId>,
    positions: FxHashMap<EntityId, (Revision, Position)>,
    components: BTreeMap<ComponentId, FxHashMap<EntityId, Stored>>,
    densities: BTreeMap<ViewId, DensityMap>,
    frame: u64,
    log: ChangeLog,
}

impl Replica {
    /// An empty replica, before the first frame of a session.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entities are in view.
    pub fn len(&self) -> usize {
        self.entities.len()
    }

    /// Whether nothing is in view.
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }

    /// Whether the entity is in view.
    pub fn contains(&self, entity: EntityId) -> bool {
        self.entities.contains(&entity)
    }

    /// Every entity in view, in no particular order.
    pub fn entities(&self) -> impl Iterator<Item = EntityId> + '_ {
        self.entities.iter().copied()
    }

    /// Where the entity is; `None` if it is not in view or has no position there.
    pub fn position(&self, entity: EntityId) -> Option<Position> {
        self.positions.get(&entity).map(|(_, position)| *position)
    }

    /// The entity's `C`; `None` if it is not in view or has none.
    ///
    /// # Errors
    /// When the value does not decode as `C`.
    pub fn get<C: Component>(&self, entity: EntityId) -> Result<Option<C>, ReadError> {
        let stored = self.components.get(&C::ID).and_then(|column| column.get(&entity));
        stored.map(|stored| decode::<C>(entity, &stored.value)).transpose()
    }

    /// Whether the entity has the component.
    pub fn has(&self, entity: EntityId, component: ComponentId) -> bool {
        if component == ComponentId::POSITION {
            return self.positions.contains_key(&entity);
        }
        self.components.get(&component).is_some_and(|column| column.contains_key(&entity))
    }

    /// Every entity with a `C`, in no particular order.
    ///
    /// # Errors
    /// An item is an error when its value does not decode as `C`.
    pub fn with<C: Component>(&self) -> impl Iterator<Item = Result<(EntityId, C), ReadError>> + '_ {
        self.with_where::<C>(|_| true)
    }

    /// As [`Self::with`], of the entities that pass; the others are not decoded.
    pub(crate) fn with_where<'a, C: Component>(
        &'a self,
        passes: impl Fn(EntityId) -> bool + 'a,
    ) -> impl Iterator<Item = Result<(EntityId, C), ReadError>> + 'a {
        let column = self.components.get(&C::ID);
        column
            .into_iter()
            .flatten()
            .filter(move |(entity, _)| passes(**entity))
            .map(|(entity, stored)| decode::<C>(*entity, &stored.value).map(|value| (*entity, value)))
    }

    /// The revision of a component of an entity in view.
    pub fn revision(&self, entity: EntityId, component: ComponentId) -> Option<Revision> {
        if component == ComponentId::POSITION {
            return self.positions.get(&entity).map(|(revision, _)| *revision);
        }
        Some(self.components.get(&component)?.get(&entity)?.revision)
    }

    /// How many entities there are where, of a view of densities; `None` before its first square.
    pub fn densities(&self, view: ViewId) -> Option<&DensityMap> {
        self.densities.get(&view)
    }

    /// The number of the last frame applied; 0 before the first.
    pub fn frame(&self) -> u64 {
        self.frame
    }

    /// What changed since the last call, in net: see [`Changes`].
    pub fn take_changes(&mut self) -> Changes {
        let log = std::mem::take(&mut self.log);
        log.finish(|entity| self.contains(entity), |entity, component| self.has(entity, component))
    }

    /// Empties the replica for a new session.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets the densities of a view that has ended.
    pub(crate) fn end_view(&mut self, view: ViewId) {
        self.densities.remove(&view);
    }

    /// Applies one frame: what entered, left and is gone, then values, then densities.
    ///
    /// # Errors
    /// When the frame breaks the protocol. Part of it may be applied: [`Self::clear`] and start again.
    pub fn apply(&mut self, frame: &v1::Frame) -> Result<(), ReplicaError> {
        // The first frame after a reset may have any number.
        if self.frame != 0 && frame.frame != self.frame + 1 {
            return Err(ReplicaError::FrameGap { expected: self.frame + 1, got: frame.frame });
        }
        self.frame = frame.frame;
        self.apply_entered(frame)?;
        self.apply_left(frame)?;
        self.apply_gone(frame)?;
        frame.positions.iter().try_for_each(|column| self.apply_positions(column))?;
        frame.columns.iter().try_for_each(|column| self.apply_column(column))?;
        frame.densities.iter().try_for_each(|column| self.apply_densities(column))
    }

    fn apply_entered(&mut self, frame: &v1::Frame) -> Result<(), ReplicaError> {
        for entity in frame.entered.iter().map(|id| EntityId(*id)) {
            if !self.entities.insert(entity) {
                return Err(ReplicaError::EnteredTwice(entity));
            }
            self.log.entered(entity);
        }
        Ok(())
    }

    fn apply_left(&mut self, frame: &v1::Frame) -> Result<(), ReplicaError> {
        for left in &frame.left {
            let reason = LeaveReason::from(left.reason());
            for entity in left.entities.iter().map(|id| EntityId(*id)) {
                if !self.entities.remove(&entity) {
                    return Err(ReplicaError::NotInView { entity, what: "left" });
                }
                self.positions.remove(&entity);
                self.components.values_mut().for_each(|column| {
                    column.remove(&entity);
                });
                self.log.left(entity, reason);
            }
        }
        Ok(())
    }

    fn apply_gone(&mut self, frame: &v1::Frame) -> Result<(), ReplicaError> {
        for gone in &frame.gone {
            let component = ComponentId(gone.component);
            for entity in gone.entities.iter().map(|id| EntityId(*id)) {
                self.check_in_view(entity, "lost a component")?;
                let was_here = if component == ComponentId::POSITION {
                    self.positions.remove(&entity).is_some()
                } else {
                    self.components.get_mut(&component).is_some_and(|column| column.remove(&entity).is_some())
                };
                // A component added and removed between two frames was never here.
                if was_here {
                    self.log.gone(entity, component);
                }
            }
        }
        Ok(())
    }

    fn apply_positions(&mut self, column: &v1::PositionColumn) -> Result<(), ReplicaError> {
        let component = ComponentId::POSITION;
        let rows = column.entities.len();
        let z_fits = column.z.is_empty() || column.z.len() == rows;
        if column.revisions.len() != rows || column.x.len() != rows || column.y.len() != rows || !z_fits {
            return Err(ReplicaError::LengthsDiffer { component });
        }
        for row in 0..rows {
            let entity = EntityId(column.entities[row]);
            let revision = Revision(column.revisions[row]);
            self.check_in_view(entity, "has a position")?;
            let z = column.z.get(row).copied().unwrap_or(0.0);
            let point = Point3::new(column.x[row], column.y[row], z);
            let before = self
                .positions
                .insert(entity, (revision, Position { space: SpaceId(column.space), point }))
                .map(|(before, _)| before);
            check_revision(entity, component, before, revision)?;
            self.log.updated(entity, component);
        }
        Ok(())
    }

    fn apply_column(&mut self, column: &v1::Column) -> Result<(), ReplicaError> {
        let component = ComponentId(column.component);
        let rows = column.entities.len();
        if column.revisions.len() != rows || column.values.len() != rows {
            return Err(ReplicaError::LengthsDiffer { component });
        }
        for (row, value) in column.values.iter().enumerate() {
            let entity = EntityId(column.entities[row]);
            let revision = Revision(column.revisions[row]);
            self.check_in_view(entity, "has a value")?;
            let stored = Stored { revision, value: value.as_ref().into() };
            let values = self.components.entry(component).or_default();
            let before = values.insert(entity, stored).map(|before| before.revision);
            check_revision(entity, component, before, revision)?;
            self.log.updated(entity, component);
        }
        Ok(())
    }

    fn apply_densities(&mut self, column: &v1::DensityColumn) -> Result<(), ReplicaError> {
        let view = ViewId(column.view_id);
        let squares = self.densities.entry(view).or_default().apply(column);
        for square in squares.ok_or(ReplicaError::SquaresDiffer { view })? {
            self.log.counted(view, square);
        }
        Ok(())
    }

    fn check_in_view(&self, entity: EntityId, what: &'static str) -> Result<(), ReplicaError> {
        if self.entities.contains(&entity) { Ok(()) } else { Err(ReplicaError::NotInView { entity, what }) }
    }
}

/// The same revision may come again, when another view starts to show the pair; an older one may not.
fn check_revision(
    entity: EntityId,
    component: ComponentId,
    before: Option<Revision>,
    after: Revision,
) -> Result<(), ReplicaError> {
    match before {
        Some(before) if after < before => {
            Err(ReplicaError::RevisionFell { entity, component, before, after })
        }
        _ => Ok(()),
    }
}

fn decode<C: Component>(entity: EntityId, value: &[u8]) -> Result<C, ReadError> {
    C::decode(value).map_err(|source| ReadError { entity, component: C::NAME, source })
}
