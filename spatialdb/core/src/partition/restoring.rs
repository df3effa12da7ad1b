//! Entities as they were found on disk.

use std::fmt;

use spatialdb_types::{ComponentId, EntityId, Revision};

use super::{Partition, PublishSeq, Slot};
use crate::log::{Merged, decode_position};

/// Why an entity cannot be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// It is there already.
    Doubled(EntityId),
    /// Its Position is none.
    Position(EntityId),
}

impl Partition {
    /// Puts an entity back as it was found on disk. It must lie in this partition. What is put back is known to be on disk.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub fn restore(&mut self, found: Merged) -> Result<(), RestoreError> {
        let entity = found.entity;
        if self.store.find(entity).is_some() {
            return Err(RestoreError::Doubled(entity));
        }
        let components: Vec<ComponentId> = found.values.iter().map(|(component, _)| *component).collect();
        let (mut at, changed_at) = (None, self.store.publish());
        let mut slots = Vec::with_capacity(components.len());
        for (component, value) in found.values {
            let (revision, writer) = (value.revision, value.writer);
            if component == ComponentId::POSITION {
                let position = decode_position(&value.bytes).ok_or(RestoreError::Position(entity))?;
                at = Some((position, revision, writer));
            } else {
                let (value, foreign_at) = (value.bytes, PublishSeq(0));
                slots.push(Slot { revision, changed_at, value, writer, foreign_at });
            }
        }
        let set = self.store.tables.intern(&components);
        let id = self.store.insert(entity, set, slots, at.map(|(at, _, writer)| (at, writer)));
        if let Some((_, revision, _)) = at {
            self.store.set_position_revision(id, revision);
        }
        if let Some(authority) = &mut self.authority {
            authority.created(&self.store, id);
        }
        self.interests.note_restored(entity, &components);
        self.forget_unswept(entity);
        Ok(())
    }

    /// Revisions from now on are above that one.
    pub fn begin_after(&mut self, revision: Revision) {
        self.store.raise_clock(revision);
    }
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Doubled(entity) => write!(f, "entity {entity} is there twice"),
            Self::Position(entity) => write!(f, "the Position of entity {entity} is none"),
        }
    }
}

impl std::error::Error for RestoreError {}
