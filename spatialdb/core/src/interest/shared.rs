//! Shared rows: what many subscribers are told alike is put in columns once, and encoded once.

use std::sync::{Arc, OnceLock};

use spatialdb_types::{ComponentId, EntityId, SessionId};

use crate::columns::{PositionRows, ValueRows};
use crate::partition::{RowId, SetId};

/// A column of values that any number of subscribers are told.
#[derive(Debug)]
pub struct SharedRows {
    rows: Rows,
    wire_bytes: usize,
    /// As the edge sends it; made by whoever sends it first.
    encoded: OnceLock<Box<[u8]>>,
}

/// A column of one component.
#[derive(Clone, Debug, PartialEq)]
pub enum Rows {
    /// Of positions.
    Positions(PositionRows),
    /// Of another component.
    Values(ValueRows),
}

impl SharedRows {
    pub(crate) const fn new(rows: Rows, wire_bytes: usize) -> Self {
        Self { rows, wire_bytes, encoded: OnceLock::new() }
    }

    /// About how much it is on the wire.
    pub const fn wire_bytes(&self) -> usize {
        self.wire_bytes
    }

    /// What it tells.
    pub const fn rows(&self) -> &Rows {
        &self.rows
    }

    /// The rows as the edge sends them: what `encode` gave when it was first asked for.
    pub fn encoded(&self, encode: impl FnOnce(&Rows) -> Box<[u8]>) -> &[u8] {
        self.encoded.get_or_init(|| encode(&self.rows))
    }
}

/// As the edge sends them; nothing before they are encoded.
impl AsRef<[u8]> for SharedRows {
    fn as_ref(&self) -> &[u8] {
        self.encoded.get().map_or(&[], |bytes| bytes)
    }
}

impl Rows {
    /// Of which component.
    pub const fn component(&self) -> ComponentId {
        match self {
            Self::Positions(_) => ComponentId::POSITION,
            Self::Values(rows) => rows.component,
        }
    }

    /// Of which entities.
    pub fn entities(&self) -> &[EntityId] {
        match self {
            Self::Positions(rows) => &rows.entities,
            Self::Values(rows) => &rows.entities,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entities().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What changed in a place, for whoever looks at all of it.
#[derive(Debug, Default)]
pub(crate) struct SharedPlace {
    /// By set of components.
    pub(crate) sets: Vec<SharedSet>,
    /// About how much that is on the wire.
    pub(crate) bytes: usize,
    /// The changed rows that came to the place or changed their components: to be looked at one by one.
    pub(crate) loose: Vec<RowId>,
    pub(crate) writers: Writers,
}

/// The changed rows of one place with one set of components that were there before with the same, in columns.
#[derive(Debug)]
pub(crate) struct SharedSet {
    pub(crate) set: SetId,
    pub(crate) columns: Vec<Arc<SharedRows>>,
}

/// Who wrote the values of a place, as far as it can be told cheaply.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    some: Vec<SessionId>,
    many: bool,
}

impl Writers {
    const MAX: usize = 8;

    pub(crate) fn add(&mut self, writer: SessionId) {
        if self.many || self.some.contains(&writer) {
            return;
        }
        if self.some.len() == Self::MAX {
            self.many = true;
        } else {
            self.some.push(writer);
        }
    }

    /// Whether the session may be one of them.
    pub(crate) fn may_contain(&self, session: SessionId) -> bool {
        self.many || self.some.contains(&session)
    }
}
