//! A cell: what lies in one square, in one piece of memory.

use spatialdb_types::{EntityId, Point3, Revision, SessionId};

use super::{CellKey, Departures};
use crate::interest::Watchers;
use crate::partition::{PublishSeq, RowId, SetId};

/// An entity as its cell knows it: where it is, and what is asked of many entities at once. Without a position the point
/// means nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CellRow {
    pub(crate) point: Point3,
    /// Of the position.
    pub(crate) revision: Revision,
    /// When the position was written.
    pub(crate) moved_at: PublishSeq,
    pub(crate) entity: EntityId,
    pub(crate) id: RowId,
    /// What it has.
    pub(crate) set: SetId,
    /// Who wrote the position.
    pub(crate) mover: SessionId,
}

impl CellRow {
    /// Holds a place; or of nobody yet.
    pub(crate) const NOBODY: Self = Self {
        point: Point3::new(0.0, 0.0, 0.0),
        revision: Revision(0),
        moved_at: PublishSeq(0),
        entity: EntityId(0),
        id: RowId(0),
        set: SetId(0),
        mover: SessionId(0),
    };
}

#[derive(Debug)]
pub(super) struct Cell {
    /// `None`: of the rows without a position, or free.
    pub(super) key: Option<CellKey>,
    pub(super) rows: Vec<CellRow>,
    pub(super) watchers: Watchers,
    pub(super) departures: Departures,
}

impl Cell {
    pub(super) fn new(key: Option<CellKey>) -> Self {
        Self { key, rows: Vec::new(), watchers: Watchers::default(), departures: Departures::default() }
    }

    /// Adds a row. Returns its place.
    pub(super) fn push(&mut self, row: CellRow) -> u32 {
        // Doubling would leave a third of all memory of cells empty.
        if self.rows.len() == self.rows.capacity() {
            self.rows.reserve_exact((self.rows.len() / 4).max(4));
        }
        self.rows.push(row);
        (self.rows.len() - 1) as u32
    }
}
