//! New entities, row by row.
//!
//! Responsible for: building a create that is safe to retry.
//! Not responsible for: sending and repeating it (`session.rs`).

use spatialdb_types::{EntityId, Position};

use crate::{
    Component, SendError,
    batch::Columns,
    v1::{self, client_message::Body},
};

/// A row of [`NewEntities`]: one entity to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row(pub u32);

/// Entities to create in one message. Answered by [`Event::Created`](crate::Event::Created), one id a row.
#[derive(Clone, Debug)]
pub struct NewEntities {
    request_id: String,
    chosen: Vec<u64>,
    rows: u32,
    columns: Columns,
}

impl NewEntities {
    /// Entities with ids that the server gives. `request_id` is any text that this worker uses for no other
    /// create, at most 64 bytes: it makes a retry after a lost connection harmless.
    pub fn new(request_id: impl Into<String>) -> Self {
        Self { request_id: request_id.into(), chosen: Vec::new(), rows: 0, columns: Columns::default() }
    }

    /// Entities with no ids yet that are added by [`Self::row_with_id`], from a block that this worker reserved.
    pub fn with_chosen_ids() -> Self {
        Self::new("")
    }

    /// Adds an entity whose id the server gives.
    pub fn row(&mut self) -> Row {
        self.rows += 1;
        Row(self.rows - 1)
    }

    /// Adds an entity with a reserved id. Do not mix with [`Self::row`]: either all rows choose or none.
    pub fn row_with_id(&mut self, entity: EntityId) -> Row {
        self.chosen.push(entity.0);
        self.row()
    }

    /// Where the entity is. Units: metres.
    pub fn position(&mut self, row: Row, position: Position) {
        self.columns.position(u64::from(row.0), position);
    }

    /// A component of the entity.
    pub fn component<C: Component>(&mut self, row: Row, value: &C) {
        self.columns.value(u64::from(row.0), C::ID, &[], value.encode_to_vec().into());
    }

    /// How many entities.
    pub fn len(&self) -> usize {
        self.rows as usize
    }

    /// Whether there is nothing to create.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// # Errors
    /// When some rows chose their ids and some did not.
    pub(crate) fn check_ids(&self) -> Result<(), SendError> {
        let (chosen, rows) = (self.chosen.len(), self.len());
        if chosen == 0 || chosen == rows { Ok(()) } else { Err(SendError::IdsMixed { chosen, rows }) }
    }

    pub(crate) fn size(&self) -> (usize, usize) {
        let bytes = self.columns.bytes() + self.chosen.len() * 8 + self.request_id.len() + 16;
        (self.columns.rows().max(self.len()), bytes)
    }

    pub(crate) fn into_body(self) -> Body {
        let count = if self.chosen.is_empty() { self.rows } else { 0 };
        let (positions, columns, _) = self.columns.into_wire();
        Body::Create(v1::Create {
            authority_seen: 0,
            request_id: self.request_id,
            entities: self.chosen,
            count,
            positions,
            columns,
        })
    }
}
