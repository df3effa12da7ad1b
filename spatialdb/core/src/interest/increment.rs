//! An increment: telling what changed since the lanes were last told, cell by cell.
//!
//! A sweep may have found already what is to be told. A cell that is covered is told by its shared rows; in one that is cut, or that this session writes in itself, each changed
//! row is looked at. When the delta is full the same cell is begun again with the next one: rows that were told by
//! themselves know it, and shared rows come last.

use super::lane::{Mask, bits};
use super::subscriber::{Aim, Progress, Subscriber};
use super::tell::Seen;
use super::touched::Touch;
use super::{Candidates, Coverage, Crowd, DeltaBuilder, Place};
use crate::partition::{CellRow, EVERYWHERE, PublishSeq, Row, RowId, SetId, Store};

/// About what a changed row takes on the wire, to guess whether all fit.
pub(super) const CHANGE_BYTES: usize = 48;

/// Up to so many rows in view for each noted cell it costs less to look at all of them than at who left the cells.
const HELD_PER_CELL: usize = 4;

/// Who is to look for one in so many of the rows in view goes through all of them before, in order: that costs less than a
/// wait for memory each.
const HELD_PER_SUSPECT: usize = 4;

/// How far an increment has come.
#[derive(Debug)]
pub(super) struct Increment {
    /// Rows that changed at or before this are known to every due lane.
    oldest: PublishSeq,
    phase: Phase,
    /// Who left a cell is found among the rows in view: few are, or some cell does not know any longer who left it.
    by_held: bool,
    /// Cells of which a sweep found something, for which there was no room.
    rest: Vec<u32>,
}

/// So many rows are brought together before they are looked at: each is a wait for memory, and these wait together.
const AT_ONCE: usize = 16;

/// Which cells are looked at, and from which on they have not been.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// All at once: every part looks at everything.
    Everything,
    /// Those that changed since the last publish: only within one publish.
    Changed(usize),
    /// What a sweep found: only within one publish.
    Swept,
    /// Those of which a sweep found something.
    Rest(usize),
    /// Those that the parts have noted.
    Noted(usize),
    /// All there are.
    Slots(u32),
    /// Rows that left cells which are gone.
    Orphans,
    /// So many of the rows in view, from the first on.
    Held(usize),
    /// Entities by id, of this part on.
    Listed(usize),
}

impl Increment {
    pub(super) fn new(subscriber: &Subscriber, store: &Store, aim: &Aim, frame_bytes_max: usize) -> Self {
        let oldest = subscriber.oldest(aim.due).unwrap_or(aim.stamp);
        let is_caught_up = store.is_caught_up(oldest);
        let fits = |rows: usize| rows * CHANGE_BYTES <= frame_bytes_max / 2;
        let all_fit = fits(store.len()) || (is_caught_up && fits(store.dirty().len()));
        let fits = is_caught_up && fits(store.dirty().len());
        let is_swept = subscriber.swept.is_of(aim.stamp);
        let touched = &subscriber.touched;
        let noted = touched.noted_count();
        let phase = if is_swept {
            Phase::Swept
        } else if all_fit && subscriber.sees_all() {
            Phase::Everything
        } else if fits && !(touched.is_noted() && noted < store.grid.changed().len()) {
            Phase::Changed(0)
        } else if touched.is_noted() {
            Phase::Noted(0)
        } else {
            Phase::Slots(0)
        };
        let by_held = !is_caught_up && !is_swept && subscriber.held.len() <= noted * HELD_PER_CELL;
        Self { oldest, phase, by_held, rest: Vec::new() }
    }
}

impl Subscriber {
    /// Whether there is one rate, and it does not matter to any view where an entity is.
    fn sees_all(&self) -> bool {
        self.lanes.len() == 1 && self.touched.is_everywhere(self.all_parts())
    }

    /// Goes on with an increment.
    pub(super) fn tell_changes(
        &mut self,
        increment: &mut Increment,
        aim: &Aim,
        store: &mut Store,
        builder: &mut DeltaBuilder,
    ) -> Progress {
        if aim.due == 0 {
            return Progress::Done;
        }
        loop {
            if builder.is_full() {
                increment.phase = increment.phase.lasting();
                return Progress::Full;
            }
            let (cell, next) = match increment.phase {
                Phase::Everything => {
                    let touch = self.touched.anywhere();
                    let told = self.tell_shared(EVERYWHERE, touch, increment.oldest, aim, store, builder);
                    if told {
                        return Progress::Done;
                    }
                    increment.phase = Phase::Slots(0);
                    continue;
                }
                Phase::Changed(i) => (store.grid.changed().get(i).copied(), Phase::Changed(i + 1)),
                Phase::Swept => {
                    match self.tell_swept(increment, aim, store, builder) {
                        Progress::Done => increment.phase = self.after_cells(increment.by_held),
                        Progress::Full => {
                            increment.phase = Phase::Rest(0);
                            return Progress::Full;
                        }
                    }
                    continue;
                }
                Phase::Rest(i) => (increment.rest.get(i).copied(), Phase::Rest(i + 1)),
                Phase::Noted(i) => (self.touched.noted(i), Phase::Noted(i + 1)),
                Phase::Slots(cell) => {
                    ((cell < store.grid.slot_count()).then_some(cell), Phase::Slots(cell + 1))
                }
                Phase::Orphans => {
                    match store.grid.orphans(increment.oldest).map(Vec::from_iter) {
                        _ if increment.by_held => {}
                        Some(left) => self.examine_departed(&left, aim, store, builder),
                        None => increment.by_held = true,
                    }
                    if !builder.is_full() {
                        increment.phase = self.after_cells(increment.by_held);
                    }
                    continue;
                }
                Phase::Held(count) => {
                    increment.phase = self.tell_held(count, increment.oldest, aim, store, builder);
                    continue;
                }
                Phase::Listed(part) if part < self.parts.len() => {
                    self.tell_listed(part, aim, store, builder);
                    if !builder.is_full() {
                        increment.phase = Phase::Listed(part + 1);
                    }
                    continue;
                }
                Phase::Listed(_) => return Progress::Done,
            };
            let Some(cell) = cell else {
                // Noted cells do not go.
                let is_noted = self.touched.is_noted();
                increment.phase = if is_noted { self.after_cells(increment.by_held) } else { Phase::Orphans };
                continue;
            };
            match self.tell_cell(cell, increment, aim, store, builder) {
                Progress::Done => increment.phase = next,
                Progress::Full => {
                    increment.phase = increment.phase.lasting();
                    return Progress::Full;
                }
            }
        }
    }

    fn after_cells(&self, by_held: bool) -> Phase {
        if by_held { Phase::Held(self.held.len()) } else { Phase::Listed(0) }
    }

    /// Tells what a sweep found.
    fn tell_swept(
        &mut self,
        increment: &mut Increment,
        aim: &Aim,
        store: &mut Store,
        builder: &mut DeltaBuilder,
    ) -> Progress {
        let (since, swept) = self.swept.take();
        // Each was looked at in the sweep.
        builder.spend(swept.suspects.len() as u64);
        builder.expect(swept.suspects.len());
        increment.by_held |= swept.by_held;
        self.examine_departed(&swept.left, aim, store, builder);
        if swept.suspects.len() * HELD_PER_SUSPECT > self.held.len() {
            self.held.warm_up();
        }
        for &(id, entity) in &swept.gone {
            let row = CellRow { id, entity, ..CellRow::NOBODY };
            let seen = Seen { row: &row, space: None, mask: 0, place: self.held.find(id) };
            self.tell(store, &seen, aim, builder);
        }
        let (mut suspects, mut shared) = (0, 0);
        for some in swept.suspects.chunks(AT_ONCE) {
            if builder.is_full() {
                break;
            }
            let mut rows = [CellRow::NOBODY; AT_ONCE];
            let noted = store.noted_rows(since);
            some.iter().zip(&mut rows).for_each(|(suspect, row)| *row = noted[suspect.row as usize]);
            let places = rows.map(|row| self.held.find(row.id));
            for ((suspect, row), mut place) in some.iter().zip(&rows).zip(places) {
                // Another one has left.
                if place.is_some_and(|place| self.held.at(place) != Some(row.id)) {
                    place = self.held.find(row.id);
                }
                if suspect.mask != 0 || place.is_some() {
                    let space = store.grid.space(suspect.cell);
                    let seen = Seen { row, space, mask: suspect.mask, place };
                    self.tell(store, &seen, aim, builder);
                }
            }
            suspects += some.len();
        }
        // Shared rows come last: they do not know to whom they have been told.
        while suspects == swept.suspects.len() && !builder.is_full() && shared < swept.shared.len() {
            match self.tell_cell(swept.shared[shared], increment, aim, store, builder) {
                Progress::Done => shared += 1,
                Progress::Full => break,
            }
        }
        increment.rest = swept.cells_from(suspects, shared);
        self.swept.give_back(swept);
        if increment.rest.is_empty() { Progress::Done } else { Progress::Full }
    }

    /// Tells what changed in a cell, and who left it.
    fn tell_cell(
        &mut self,
        cell: u32,
        increment: &mut Increment,
        aim: &Aim,
        store: &mut Store,
        builder: &mut DeltaBuilder,
    ) -> Progress {
        let oldest = increment.oldest;
        if store.grid.changed_at(cell) <= oldest {
            return Progress::Done;
        }
        builder.spend(1);
        let touch = self.touched.touch(&mut store.grid, &self.parts, cell);
        let Some(touch) = touch else { return Progress::Done };
        if !increment.by_held && store.grid.has_departures(cell, oldest) {
            match store.left_since(cell, oldest) {
                Some(left) => self.examine_departed(&left, aim, store, builder),
                None => increment.by_held = true,
            }
        }
        if touch.is_sharable && self.is_worth_sharing(cell, store) {
            if self.tell_shared(cell, touch, oldest, aim, store, builder) {
                return Progress::Done;
            }
            if builder.is_full() {
                return Progress::Full;
            }
        }
        self.examine_changed(cell, touch, oldest, aim, store, builder)
    }

    fn is_worth_sharing(&self, cell: u32, store: &Store) -> bool {
        let from = store.grid.tuning.share_from;
        // Who looks at large areas is not counted by cell.
        let watchers = if self.touched.is_noted() { store.grid.watchers(cell) } else { from };
        store.grid.rows(cell).len().saturating_mul(watchers) >= from
    }

    /// Tells a place by its shared rows. Returns whether it did: all due lanes of the place must have been told as of the
    /// same publish, this session must not have written there, and it must fit.
    fn tell_shared(
        &mut self,
        place: u32,
        touch: Touch,
        oldest: PublishSeq,
        aim: &Aim,
        store: &mut Store,
        builder: &mut DeltaBuilder,
    ) -> bool {
        let due = self.stances.lanes(&self.parts, touch.parts) & aim.due;
        let mut sinces = bits(due).map(|lane| self.lanes[lane].since);
        let Some(since) = sinces.next() else { return false };
        let is_same = |other| other == since || (store.is_caught_up(since) && store.is_caught_up(other));
        if !is_same(oldest) || !sinces.all(is_same) {
            return false;
        }
        let shared = store.shared(place, since);
        if shared.writers.may_contain(self.session()) || !builder.has_room(shared.bytes) {
            return false;
        }
        // Of each set of components either all rows match a part, or none does.
        let mut masks = Vec::with_capacity(shared.sets.len());
        for shared in &shared.sets {
            let Some(mask) = self.mask_of(place, shared.set, touch, store) else { return false };
            masks.push(mask);
        }
        for &id in &shared.loose {
            if builder.is_full() {
                return false;
            }
            self.examine(store, id, aim, builder);
        }
        for (shared, mask) in shared.sets.iter().zip(masks) {
            for column in &shared.columns {
                let pair = self.stances.pair(&self.parts, mask, column.rows().component());
                if pair.is_some_and(|(lane, _)| due & (1 << lane) != 0) {
                    builder.share(column);
                }
            }
        }
        true
    }

    /// Which parts match all in the place that has these components; `None`: one matches some of them.
    fn mask_of(&self, place: u32, set: SetId, touch: Touch, store: &Store) -> Option<Mask> {
        let mut mask = touch.cover;
        let open = touch.parts & !touch.cover;
        if open == 0 {
            return Some(mask);
        }
        let extent = if place == EVERYWHERE { None } else { store.grid.extent(place) };
        let place = match &extent {
            _ if place == EVERYWHERE => Place::Anywhere,
            Some(extent) => Place::Cell(extent),
            None => Place::Nowhere,
        };
        let crowd = Crowd { place, components: Some(&store.tables.get(set).components) };
        for bit in bits(open) {
            match self.parts[bit].part().constraint.coverage(&crowd) {
                Coverage::Everything => mask |= 1 << bit,
                Coverage::Nothing => {}
                Coverage::Cut => return None,
            }
        }
        Some(mask)
    }

    /// Looks at each row of a cell that changed.
    fn examine_changed(
        &mut self,
        cell: u32,
        touch: Touch,
        oldest: PublishSeq,
        aim: &Aim,
        store: &Store,
        builder: &mut DeltaBuilder,
    ) -> Progress {
        let mut suspects = std::mem::take(&mut self.places);
        self.find_suspects(cell, touch, oldest, store, builder, &mut suspects);
        let mut progress = Progress::Done;
        let space = store.grid.space(cell);
        let rows = store.rows_since(cell, oldest);
        for (place, mask) in suspects.drain(..) {
            if builder.is_full() {
                progress = Progress::Full;
                break;
            }
            let row = &rows[place as usize];
            let seen = Seen { row, space, mask, place: self.held.find(row.id) };
            self.tell(store, &seen, aim, builder);
        }
        self.places = suspects;
        progress
    }

    /// The changed rows of a cell that are in view or are to be, by their places in [`Store::rows_since`], with the parts
    /// that they match. Most are neither, and of those nothing is looked at but what the cell knows.
    fn find_suspects(
        &self,
        cell: u32,
        touch: Touch,
        oldest: PublishSeq,
        store: &Store,
        builder: &mut DeltaBuilder,
        suspects: &mut Vec<(u32, Mask)>,
    ) {
        let space = store.grid.space(cell);
        let rows = store.rows_since(cell, oldest);
        let all_changed = store.is_caught_up(oldest);
        let suspect = |(place, row): (usize, &CellRow)| {
            let mask = self.mask(store, row, space, touch.parts);
            let is_suspect = (mask != 0 || self.held.contains(row.id))
                && (all_changed || row.moved_at > oldest || store.row(row.id).changed_at > oldest);
            is_suspect.then_some((place as u32, mask))
        };
        suspects.extend(rows.iter().enumerate().filter_map(suspect));
        builder.spend(rows.len() as u64);
    }

    /// Looks at the changed rows among the first `count` in view that are not to be found in a cell. Backwards, since rows
    /// that leave are swap-removed.
    fn tell_held(
        &mut self,
        count: usize,
        oldest: PublishSeq,
        aim: &Aim,
        store: &Store,
        builder: &mut DeltaBuilder,
    ) -> Phase {
        builder.spend(count as u64 / 8);
        for i in (0..count.min(self.held.len())).rev() {
            if builder.is_full() {
                return Phase::Held(i + 1);
            }
            let Some(id) = self.held.at(i) else { continue };
            let row = store.row(id);
            if row.changed_at > oldest && !self.is_found_elsewhere(row, aim, store) {
                self.examine(store, id, aim, builder);
            }
        }
        Phase::Listed(0)
    }

    /// Looks at rows that left a cell, as far as they are in view and not to be found in another one.
    fn examine_departed(&mut self, left: &[RowId], aim: &Aim, store: &Store, builder: &mut DeltaBuilder) {
        for some in left.chunks(AT_ONCE) {
            let is_gone = |id: &RowId| {
                self.held.contains(*id)
                    && store.live_row(*id).is_some_and(|row| !self.is_found_elsewhere(row, aim, store))
            };
            let mut gone = [false; AT_ONCE];
            some.iter().zip(&mut gone).for_each(|(id, gone)| *gone = is_gone(id));
            for (&id, _) in some.iter().zip(gone).filter(|(_, gone)| *gone) {
                self.examine(store, id, aim, builder);
            }
        }
    }

    /// Whether this run finds the row in its cell: not if it came there after the run had begun, for the cell may have
    /// been looked at before.
    fn is_found_elsewhere(&self, row: &Row, aim: &Aim, store: &Store) -> bool {
        row.cell_since <= aim.stamp && self.touched.touches(&store.grid, row.cell())
    }

    /// Looks at the changed entities that a part lists, as far as they are not to be found in a cell.
    fn tell_listed(&mut self, part: usize, aim: &Aim, store: &Store, builder: &mut DeltaBuilder) {
        let lane = self.parts[part].lane;
        if aim.due & (1 << lane) == 0 || self.touched.listed() & (1 << part) == 0 {
            return;
        }
        let since = self.lanes[usize::from(lane)].since;
        for place in 0..self.parts[part].candidates.len() {
            let Candidates::Entities(ids) = &self.parts[part].candidates[place] else { continue };
            for id in ids.clone().iter().filter_map(|&entity| store.find(entity)) {
                builder.spend(1);
                if builder.is_full() {
                    return;
                }
                let row = store.row(id);
                if row.changed_at > since && !self.is_found_elsewhere(row, aim, store) {
                    self.examine(store, id, aim, builder);
                }
            }
        }
    }
}

impl Phase {
    /// The same with other means that survive this publish.
    const fn lasting(self) -> Self {
        match self {
            Self::Everything | Self::Changed(_) => Self::Slots(0),
            Self::Swept => Self::Noted(0),
            other => other,
        }
    }
}
