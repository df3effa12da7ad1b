//! What changed since a publish, by place: grouped once, put in columns once, for all who look.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::grid::CellRow;
use super::{PublishSeq, Row, RowId, Store};
use crate::columns::{PositionRows, ValueRows};
use crate::interest::{Rows, SharedPlace, SharedRows, SharedSet};

/// Not a cell: all rows of the partition.
pub(crate) const EVERYWHERE: u32 = u32::MAX;

/// Memory for more rows than this is given back after the publish.
const EARLIER_KEPT: usize = 1 << 16;

/// About how many bytes one column of shared rows takes at most, values that are larger apart: it is not divided to
/// fit a frame.
const COLUMN_BYTES_MAX: usize = 32 << 10;

/// About what a row takes on the wire, without its value.
const ROW_BYTES: usize = 12;

/// The changes of one publish, and what was made of them.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The changed rows as their cells know them, those of a cell together.
    rows: Vec<CellRow>,
    /// Rows that changed since some earlier publish, as far as they were noted.
    earlier: Vec<CellRow>,
    /// By place and by the publish that its rows changed after.
    shared: FxHashMap<(u32, PublishSeq), Arc<SharedPlace>>,
}

impl Changes {
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        if self.earlier.len() > EARLIER_KEPT {
            self.earlier = Vec::new();
        }
        self.earlier.clear();
        self.shared.clear();
    }
}

impl Store {
    /// Groups what changed since the last publish by cell. Before anything is asked of it.
    pub(super) fn collect_changes(&mut self) {
        if !self.grid.is_watched() {
            self.start_watching();
        }
        let mut rows = std::mem::take(&mut self.changes.rows);
        let (publish, all) = (self.publish(), &self.rows);
        self.grid.collect_changes(publish, &mut rows, |id| {
            all.get(id.0 as usize).filter(|row| row.entity.0 != 0).map(Row::place)
        });
        self.changes.rows = rows;
    }

    /// The first subscriber has come: cells must know how far up their rows go.
    fn start_watching(&mut self) {
        self.grid.start_watching(self.publish());
        for id in (0..self.row_count() as u32).map(RowId) {
            if let Some((cell, place)) = self.live_row(id).map(Row::place) {
                self.grid.note_height(cell, self.grid.row(cell, place).point.z);
            }
        }
    }

    /// Whoever has been told all as of `since` lacks only what changed since the last publish.
    pub(crate) fn is_caught_up(&self, since: PublishSeq) -> bool {
        since >= self.published_change()
    }

    /// The rows of a cell that changed since the last publish.
    fn changed_rows(&self, cell: u32) -> &[CellRow] {
        &self.changes.rows[self.grid.changed_range(cell, self.publish())]
    }

    /// The rows of a cell that may have changed after `since`.
    pub(crate) fn rows_since(&self, cell: u32, since: PublishSeq) -> &[CellRow] {
        if self.is_caught_up(since) { self.changed_rows(cell) } else { self.grid.rows(cell) }
    }

    /// Notes which rows of a cell changed after `since`: these of [`Store::noted_rows`].
    pub(crate) fn note_changed(&mut self, cell: u32, since: PublishSeq) -> Range<usize> {
        if self.is_caught_up(since) {
            return self.grid.changed_range(cell, self.publish());
        }
        let start = self.changes.earlier.len();
        let rows = &self.rows;
        let has_changed = |row: &&CellRow| row.moved_at > since || rows[row.id.0 as usize].changed_at > since;
        self.changes.earlier.extend(self.grid.rows(cell).iter().filter(has_changed));
        start..self.changes.earlier.len()
    }

    /// The changed rows for who has been told all as of `since`.
    pub(crate) fn noted_rows(&self, since: PublishSeq) -> &[CellRow] {
        if self.is_caught_up(since) { &self.changes.rows } else { &self.changes.earlier }
    }

    /// Who left a cell after `since`; `None` if that is not known any longer.
    pub(crate) fn left_since(&self, cell: u32, since: PublishSeq) -> Option<Cow<'_, [RowId]>> {
        if self.is_caught_up(since) {
            return Some(self.grid.just_departed(cell, self.publish()).into());
        }
        self.grid.departures(cell, since).map(|left| left.collect())
    }

    /// The rows of a cell that changed after `since`.
    fn for_changed(&self, cell: u32, since: PublishSeq, mut each: impl FnMut(&CellRow, &Row)) {
        if self.is_caught_up(since) {
            self.changed_rows(cell).iter().for_each(|row| each(row, self.row(row.id)));
        } else {
            for in_cell in self.grid.rows(cell) {
                let row = self.row(in_cell.id);
                if row.changed_at > since {
                    each(in_cell, row);
                }
            }
        }
    }

    /// What changed in a place after `since`, for whoever looks at all of it.
    pub(crate) fn shared(&mut self, place: u32, since: PublishSeq) -> Arc<SharedPlace> {
        // Everybody who is caught up lacks the same.
        let since = since.min(self.published_change());
        if let Some(shared) = self.changes.shared.get(&(place, since)) {
            return shared.clone();
        }
        let mut sharing = Sharing { since, place: SharedPlace::default(), open: Vec::new() };
        if place == EVERYWHERE {
            let mut add = |in_cell: &CellRow, row: &Row| sharing.add(self, in_cell, row, row.here_since);
            if self.is_caught_up(since) {
                self.changes.rows.iter().for_each(|in_cell| add(in_cell, self.row(in_cell.id)));
            } else {
                (0..self.grid.slot_count()).for_each(|cell| self.for_changed(cell, since, &mut add));
            }
        } else {
            self.for_changed(place, since, |in_cell, row| sharing.add(self, in_cell, row, row.cell_since));
        }
        let shared = Arc::new(sharing.finish());
        self.changes.shared.insert((place, since), shared.clone());
        shared
    }
}

/// Shared rows in the making.
struct Sharing {
    since: PublishSeq,
    place: SharedPlace,
    /// Columns that may grow, of the sets in `place`.
    open: Vec<OpenColumn>,
}

/// A column that is not full, and about how large it is.
struct OpenColumn {
    /// Which of the sets in the place.
    set: usize,
    rows: Rows,
    bytes: usize,
}

impl Sharing {
    /// Adds a changed row that is as it is since `settled`.
    fn add(&mut self, store: &Store, in_cell: &CellRow, row: &Row, settled: PublishSeq) {
        if settled > self.since {
            self.place.loose.push(in_cell.id);
            return;
        }
        let sets = &mut self.place.sets;
        let set = sets.iter().position(|shared| shared.set == row.set()).unwrap_or_else(|| {
            sets.push(SharedSet { set: row.set(), columns: Vec::new() });
            sets.len() - 1
        });
        if in_cell.moved_at > self.since
            && let Some(space) = store.grid.space(row.cell())
        {
            self.place.writers.add(in_cell.mover);
            let is_column = |rows: &Rows| matches!(rows, Rows::Positions(rows) if rows.space == space);
            let new = || Rows::Positions(PositionRows { space, ..PositionRows::default() });
            self.put(set, is_column, new, 24, |rows| {
                if let Rows::Positions(rows) = rows {
                    rows.push(row.entity, in_cell.revision, in_cell.point);
                }
            });
        }
        for (component, slot) in store.slots(row) {
            if slot.changed_at <= self.since {
                continue;
            }
            self.place.writers.add(slot.writer);
            let is_column = |rows: &Rows| matches!(rows, Rows::Values(rows) if rows.component == component);
            let new = || Rows::Values(ValueRows { component, ..ValueRows::default() });
            self.put(set, is_column, new, slot.value.len(), |rows| {
                if let Rows::Values(rows) = rows {
                    rows.push(row.entity, slot.revision, &slot.value);
                }
            });
        }
    }

    /// Puts a row in the open column that takes it, or in a new one.
    fn put(
        &mut self,
        set: usize,
        is_column: impl Fn(&Rows) -> bool,
        new: impl Fn() -> Rows,
        value_bytes: usize,
        push: impl Fn(&mut Rows),
    ) {
        let at =
            self.open.iter().position(|open| open.set == set && is_column(&open.rows)).unwrap_or_else(|| {
                self.open.push(OpenColumn { set, rows: new(), bytes: 0 });
                self.open.len() - 1
            });
        let open = &mut self.open[at];
        push(&mut open.rows);
        open.bytes += ROW_BYTES + value_bytes;
        if open.bytes > COLUMN_BYTES_MAX {
            let full = self.open.swap_remove(at);
            self.close(full);
        }
    }

    fn close(&mut self, OpenColumn { set, rows, bytes }: OpenColumn) {
        self.place.bytes += bytes;
        self.place.sets[set].columns.push(Arc::new(SharedRows::new(rows, bytes)));
    }

    fn finish(mut self) -> SharedPlace {
        for open in std::mem::take(&mut self.open) {
            self.close(open);
        }
        self.place
    }
}
