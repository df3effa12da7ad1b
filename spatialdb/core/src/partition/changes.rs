//! What changed since a publish, by place: grouped once, put in columns once, for all who look.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use spatialdb_types::SpaceId;

use super::{PublishSeq, Row, RowId, Store};
use crate::columns::{PositionRows, ValueRows};
use crate::interest::{Rows, SharedPlace, SharedRows};

/// Not a cell: all rows of the partition.
pub(crate) const EVERYWHERE: u32 = u32::MAX;

/// About how many bytes one column of shared rows takes at most, values that are larger apart: it is not divided to
/// fit a frame.
const COLUMN_BYTES_MAX: usize = 32 << 10;

/// About what a row takes on the wire, without its value.
const ROW_BYTES: usize = 12;

/// The changes of one publish, and what was made of them.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// For each changed row the next one of its cell, by number.
    next: Vec<u32>,
    /// By place and by the publish that its rows changed after.
    shared: FxHashMap<(u32, PublishSeq), Arc<SharedPlace>>,
}

impl Changes {
    pub(super) fn clear(&mut self) {
        self.shared.clear();
    }
}

impl Store {
    /// Groups what changed since the last publish by cell. Before anything is asked of it.
    pub(super) fn collect_changes(&mut self) {
        if !self.grid.is_watched() {
            self.start_watching();
        }
        let publish = self.publish();
        let mut next = std::mem::take(&mut self.changes.next);
        next.clear();
        for i in 0..self.dirty().len() {
            let id = self.dirty()[i];
            let row = self.live_row(id).map(|row| (row.cell(), row.point.z));
            next.push(row.map_or(u32::MAX, |(cell, z)| self.grid.note_change(cell, publish, i as u32, z)));
        }
        self.changes.next = next;
    }

    /// The first subscriber has come: cells must know how far up their rows go.
    fn start_watching(&mut self) {
        self.grid.start_watching(self.publish());
        for id in (0..self.row_count() as u32).map(RowId) {
            if let Some((cell, z)) = self.live_row(id).map(|row| (row.cell(), row.point.z)) {
                self.grid.note_height(cell, z);
            }
        }
    }

    /// Whoever has been told all as of `since` lacks only what changed since the last publish.
    pub(crate) fn is_caught_up(&self, since: PublishSeq) -> bool {
        since >= self.published_change()
    }

    /// The rows of a cell that changed after `since`.
    pub(crate) fn for_changed(&self, cell: u32, since: PublishSeq, mut each: impl FnMut(RowId, &Row)) {
        if self.is_caught_up(since) {
            for i in self.grid.changed_rows(cell, self.publish(), &self.changes.next) {
                let id = self.dirty()[i];
                each(id, self.row(id));
            }
        } else {
            for &id in self.grid.rows(cell) {
                let row = self.row(id);
                if row.changed_at > since {
                    each(id, row);
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
        let mut sharing =
            Sharing { since, place: SharedPlace::default(), positions: Vec::new(), values: Vec::new() };
        if place == EVERYWHERE {
            let mut add = |id, row: &Row| sharing.add(self, id, row, row.here_since);
            if self.is_caught_up(since) {
                self.dirty()
                    .iter()
                    .filter_map(|&id| Some((id, self.live_row(id)?)))
                    .for_each(|(id, row)| add(id, row));
            } else {
                (0..self.grid.slot_count()).for_each(|cell| self.for_changed(cell, since, &mut add));
            }
        } else {
            self.for_changed(place, since, |id, row| sharing.add(self, id, row, row.cell_since));
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
    /// The open column of each space, and about how large it is.
    positions: Vec<(PositionRows, usize)>,
    values: Vec<(ValueRows, usize)>,
}

impl Sharing {
    /// Adds a changed row that is as it is since `settled`.
    fn add(&mut self, store: &Store, id: RowId, row: &Row, settled: PublishSeq) {
        if settled > self.since {
            self.place.loose.push(id);
            return;
        }
        if let Some(at) = row.position()
            && row.position_changed_at > self.since
        {
            self.place.writers.add(row.position_writer);
            let (rows, bytes) = self.positions(at.space);
            rows.push(row.entity, row.position_revision, at.point);
            *bytes += ROW_BYTES + 24;
            if *bytes > COLUMN_BYTES_MAX {
                self.flush_positions(at.space);
            }
        }
        for (component, slot) in store.slots(row) {
            if slot.changed_at <= self.since {
                continue;
            }
            self.place.writers.add(slot.writer);
            let at = self.values_at(component);
            let (rows, bytes) = &mut self.values[at];
            rows.push(row.entity, slot.revision, &slot.value);
            *bytes += ROW_BYTES + slot.value.len();
            if *bytes > COLUMN_BYTES_MAX {
                let (rows, bytes) = self.values.swap_remove(at);
                self.flush(Rows::Values(rows), bytes);
            }
        }
    }

    fn positions(&mut self, space: SpaceId) -> &mut (PositionRows, usize) {
        let at = self.positions.iter().position(|(rows, _)| rows.space == space).unwrap_or_else(|| {
            self.positions.push((PositionRows { space, ..PositionRows::default() }, 0));
            self.positions.len() - 1
        });
        &mut self.positions[at]
    }

    fn flush_positions(&mut self, space: SpaceId) {
        if let Some(at) = self.positions.iter().position(|(rows, _)| rows.space == space) {
            let (rows, bytes) = self.positions.swap_remove(at);
            self.flush(Rows::Positions(rows), bytes);
        }
    }

    fn values_at(&mut self, component: spatialdb_types::ComponentId) -> usize {
        self.values.iter().position(|(rows, _)| rows.component == component).unwrap_or_else(|| {
            self.values.push((ValueRows { component, ..ValueRows::default() }, 0));
            self.values.len() - 1
        })
    }

    fn flush(&mut self, rows: Rows, bytes: usize) {
        self.place.bytes += bytes;
        self.place.columns.push(Arc::new(SharedRows::new(rows, bytes)));
    }

    fn finish(mut self) -> SharedPlace {
        for (rows, bytes) in std::mem::take(&mut self.positions) {
            self.flush(Rows::Positions(rows), bytes);
        }
        for (rows, bytes) in std::mem::take(&mut self.values) {
            self.flush(Rows::Values(rows), bytes);
        }
        self.place
    }
}
