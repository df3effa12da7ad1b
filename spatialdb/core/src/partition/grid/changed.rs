//! What changed in cells since the last publish, and who left them.

use std::ops::Range;

use super::cell::CellRow;
use super::departures::Departures;
use super::{CellKey, Grid, PublishSeq, RowId};

/// So many cells are brought together before they are looked through: each is a wait for memory, and these wait together.
const CELLS_AT_ONCE: usize = 8;

impl Grid {
    /// Notes that a row changed. Returns it.
    pub(crate) fn change(&mut self, cell: u32, place: u32, publish: PublishSeq) -> &mut CellRow {
        let row = self.row(cell, place);
        if row.changed != publish.into() {
            self.mark(cell, Some(row.id), publish);
        }
        let at = &mut self.cells[cell as usize];
        at.note(place as usize, true);
        let row = &mut at.rows[place as usize];
        row.changed = publish.into();
        row
    }

    /// The same, if the cell is the one of this square; nothing is noted while nobody looks.
    pub(crate) fn change_at(
        &mut self,
        key: CellKey,
        cell: u32,
        place: u32,
        publish: PublishSeq,
    ) -> Option<&mut CellRow> {
        if self.cells[cell as usize].key != Some(key) {
            return None;
        }
        if self.watched_from.is_none() {
            return Some(self.row_mut(cell, place));
        }
        Some(self.change(cell, place, publish))
    }

    /// Notes that a row is about to leave a cell for another.
    pub(crate) fn note_departure(&mut self, cell: u32, row: RowId, publish: PublishSeq) {
        if self.watched_from.is_some() {
            let rows = self.cells[cell as usize].rows.len();
            self.looks[cell as usize].departures.push(publish, row, rows + self.tuning.departures_kept);
            self.mark(cell, None, publish);
            self.left.push((cell, row));
            let stamp = &mut self.stamps[cell as usize];
            if stamp.departed_at != publish {
                (stamp.departed_at, stamp.departures) = (publish, (0, 0));
            }
            stamp.departures.1 += 1;
        }
    }

    /// Whether changes and departures are noted.
    pub(crate) const fn is_watched(&self) -> bool {
        self.watched_from.is_some()
    }

    /// Notes changes and departures from now on.
    pub(crate) fn start_watching(&mut self, publish: PublishSeq) {
        self.watched_from = Some(publish);
    }

    /// Puts the changed rows of each changed cell together, and who left it.
    pub(crate) fn collect_changes(
        &mut self,
        publish: PublishSeq,
        rows: &mut Vec<CellRow>,
        find: impl Fn(RowId) -> Option<(u32, u32)>,
    ) {
        self.listed.sort_unstable();
        self.listed.dedup();
        let mut departures = 0;
        for chunk in 0..self.changed.len().div_ceil(CELLS_AT_ONCE) {
            let cells = chunk * CELLS_AT_ONCE..((chunk + 1) * CELLS_AT_ONCE).min(self.changed.len());
            let first = |&cell: &u32| {
                let at = &self.cells[cell as usize];
                let row = if at.listed.is_some() { None } else { at.changed_rows(publish).next() };
                row.map_or(0, |row| row.entity.0)
            };
            std::hint::black_box(self.changed[cells.clone()].iter().map(first).fold(0, u64::max));
            for i in cells {
                let cell = self.changed[i];
                let start = rows.len();
                let at = &self.cells[cell as usize];
                if at.listed.is_some() {
                    let from = self.listed.partition_point(|&(other, _)| other < cell);
                    let listed = self.listed[from..].iter().take_while(|(other, _)| *other == cell);
                    let places = listed.filter_map(|&(_, id)| find(id)).filter(|(now, _)| *now == cell);
                    rows.extend(places.map(|(_, place)| at.rows[place as usize]));
                } else {
                    rows.extend(at.changed_rows(publish));
                }
                rows[start..].iter().for_each(|row| self.note_height(cell, row.point.z));
                let stamp = &mut self.stamps[cell as usize];
                stamp.changes = (start as u32, rows.len() as u32);
                if stamp.departed_at == publish {
                    stamp.departures = allot(&mut departures, stamp.departures);
                }
            }
        }
        self.left_by_cell.resize(departures as usize, RowId(0));
        for (cell, row) in self.left.drain(..) {
            let next = &mut self.stamps[cell as usize].departures.1;
            self.left_by_cell[*next as usize] = row;
            *next += 1;
        }
    }

    /// Something happened in a cell; a row of it changed.
    pub(super) fn mark(&mut self, cell: u32, row: Option<RowId>, publish: PublishSeq) {
        if self.watched_from.is_none() {
            return;
        }
        let at = &mut self.cells[cell as usize];
        if at.changed_at != publish {
            at.begin(publish, (at.rows.len() > self.tuning.looked_through).then_some(0));
            self.changed.push(cell);
        }
        if let (Some(listed), Some(row)) = (at.listed, row) {
            let is_few = (listed as usize + 1) * self.tuning.rows_per_listed < at.rows.len();
            at.listed = is_few.then_some(listed + 1);
            self.listed.push((cell, row));
        }
    }

    /// Changes from now on belong to the next publish.
    pub(crate) fn finish_publish(&mut self) {
        self.changed.clear();
        self.listed.clear();
        self.left.clear();
    }

    /// The cells with changes since the last publish.
    pub(crate) fn changed(&self) -> &[u32] {
        &self.changed
    }

    /// The last publish that has something to show of the cell.
    pub(crate) fn changed_at(&self, cell: u32) -> PublishSeq {
        self.cells[cell as usize].changed_at
    }

    /// Who left the cell since the last publish.
    pub(crate) fn just_departed(&self, cell: u32, publish: PublishSeq) -> &[RowId] {
        let stamp = &self.stamps[cell as usize];
        let (start, end) = if stamp.departed_at == publish { stamp.departures } else { (0, 0) };
        &self.left_by_cell[start as usize..end as usize]
    }

    /// The range of the cell's changed rows since the last publish.
    pub(crate) fn changed_range(&self, cell: u32, publish: PublishSeq) -> Range<usize> {
        let is_changed = self.cells[cell as usize].changed_at == publish;
        let (start, end) = if is_changed { self.stamps[cell as usize].changes } else { (0, 0) };
        start as usize..end as usize
    }

    /// Whether somebody left the cell after `since`.
    pub(crate) fn has_departures(&self, cell: u32, since: PublishSeq) -> bool {
        self.stamps[cell as usize].departed_at > since
    }

    /// Who left the cell after `since`; `None` if that is not known any longer.
    pub(crate) fn departures(&self, cell: u32, since: PublishSeq) -> Option<impl Iterator<Item = RowId>> {
        self.known(&self.looks[cell as usize].departures, since)
    }

    /// Who left a cell after `since` that is gone now; `None` if that is not known any longer.
    pub(crate) fn orphans(&self, since: PublishSeq) -> Option<impl Iterator<Item = RowId>> {
        self.known(&self.orphans, since)
    }

    fn known<'a>(
        &self,
        departures: &'a Departures,
        since: PublishSeq,
    ) -> Option<impl Iterator<Item = RowId> + use<'a>> {
        let from = self.watched_from?;
        (since >= departures.after.max(from)).then(|| departures.since(since))
    }
}

/// A range of as many as are counted, from `next` on; its end comes as they are put there.
fn allot(next: &mut u32, counted: (u32, u32)) -> (u32, u32) {
    let start = *next;
    *next += counted.1;
    (start, start)
}
