//! A cell: what lies in one square, in one piece of memory.

use spatialdb_types::{EntityId, Point3, Revision, SessionId};

use super::{CellKey, Departures};
use crate::interest::{Watchers, bits};
use crate::partition::{PublishSeq, RowId, SetId};

/// Of so many rows a cell knows which changed without looking at them.
pub(super) const MARKED: usize = u64::BITS as usize;

/// An entity as its cell knows it: where it is, and what is asked of many entities at once. Without a position the point
/// means nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(64))] // A line of the processor's cache.
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
    /// In which publish it changed last: the low bits of its number.
    pub(crate) changed: ChangedIn,
}

/// A publish, as far as it matters for telling whether something changed since the last one: 2^32 of them take months.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChangedIn(u32);

impl From<PublishSeq> for ChangedIn {
    fn from(publish: PublishSeq) -> Self {
        Self(publish.0 as u32)
    }
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
        changed: ChangedIn(0),
    };
}

/// What is touched whenever a row moves, in one line of the processor's cache.
#[derive(Debug)]
#[repr(align(64))]
#[repr(align(64))] // A line of the processor's cache.
pub(super) struct Cell {
    /// `None`: of the rows without a position, or free.
    pub(super) key: Option<CellKey>,
    pub(super) rows: Vec<CellRow>,
    /// The last publish that had something to show of it.
    pub(super) changed_at: PublishSeq,
    /// In that publish: how many changed rows are listed; `None`: they are not.
    pub(super) listed: Option<u32>,
    /// In that publish: which of the first rows changed, one bit each.
    changed: u64,
}

/// Who looks at a cell, and who left it.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) watchers: Watchers,
    pub(super) departures: Departures,
}

impl Cell {
    pub(super) const fn new(key: Option<CellKey>) -> Self {
        Self { key, rows: Vec::new(), changed_at: PublishSeq(0), listed: None, changed: 0 }
    }

    /// Something happens for the first time in a publish.
    pub(super) const fn begin(&mut self, publish: PublishSeq, listed: Option<u32>) {
        (self.changed_at, self.listed, self.changed) = (publish, listed, 0);
    }

    /// Notes that the row at a place changed, or that another one is there now which did not.
    pub(super) const fn note(&mut self, place: usize, has_changed: bool) {
        if place < MARKED {
            self.changed = self.changed & !(1 << place) | (has_changed as u64) << place;
        }
    }

    /// The rows that changed in a publish, unless they are listed.
    pub(super) fn changed_rows(&self, publish: PublishSeq) -> impl Iterator<Item = &CellRow> {
        let is_marked = self.rows.len() <= MARKED;
        let marked = bits(if is_marked { self.changed } else { 0 }).map(|place| &self.rows[place]);
        let all = if is_marked { &[] } else { &*self.rows };
        marked.chain(all.iter().filter(move |row| row.changed == publish.into()))
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
