//! A scan: looking for all that a subscriber has not been told, in pieces that fit a frame.
//!
//! Between two pieces the store may change. What changes after the scan has begun is newer than its stamp, so the
//! next scan finds it; the cursors are chosen so that nothing unchanged is passed over (lists that rows are
//! swap-removed from are walked backwards).

use super::subscriber::{NEVER, Subscriber};
use super::{Candidates, DeltaBuilder};
use crate::partition::{CellRange, PublishSeq, RowId, Store};

/// How far a scan has come.
#[derive(Debug)]
pub(super) struct Scan {
    /// The views it is for.
    pub(super) due: Vec<usize>,
    /// The publish at which it began: what it is for is sent as of this when it ends.
    pub(super) stamp: PublishSeq,
    /// Rows that changed at or before this are known to every due view.
    oldest: PublishSeq,
    /// Look at every held row, changed or not.
    recheck: bool,
    /// Look only at what changed since the last publish.
    dirty_only: bool,
    /// Held rows from this index on have been looked at.
    held: usize,
    /// Where to look, and what is known of each place; those before `source` are done.
    sources: Vec<(Candidates, PublishSeq)>,
    source: usize,
    walk: Option<Walk>,
}

/// How far the walk through one source of candidates has come.
#[derive(Debug)]
enum Walk {
    /// Rows from 0 up.
    Rows(u32),
    /// Places in a list of ids.
    Entities(usize),
    /// Squares of a range, or slots of cells if there are fewer of those.
    Cells { range: CellRange, by_slot: bool, next: u64, inside: Option<(u32, usize)> },
}

impl Scan {
    pub(super) fn new(subscriber: &Subscriber, store: &Store, due: Vec<usize>, recheck: bool) -> Self {
        let since = || due.iter().map(|&i| subscriber.views[i].since);
        let caught_up = !recheck && since().all(|s| s != NEVER && s >= store.published_change());
        let dirty_only =
            caught_up && store.dirty().len() <= subscriber.held.len() + subscriber.scan_cost + 64;
        Self {
            stamp: store.publish(),
            oldest: since().min().unwrap_or(store.publish()),
            recheck,
            dirty_only,
            held: subscriber.held.len(),
            sources: sources(subscriber, &due),
            source: 0,
            walk: None,
            due,
        }
    }
}

/// Where the due views have candidates. A place that several views share is walked once.
fn sources(subscriber: &Subscriber, due: &[usize]) -> Vec<(Candidates, PublishSeq)> {
    let views = due.iter().map(|&i| &subscriber.views[i]);
    let all = || views.clone().flat_map(|view| view.candidates.iter().map(|place| (place, view.since)));
    // A row looked at is looked at for every view.
    if all().any(|(place, _)| *place == Candidates::All) {
        let since = all().map(|(_, since)| since).min().unwrap_or(NEVER);
        return vec![(Candidates::All, since)];
    }
    all().map(|(place, since)| (place.clone(), since)).collect()
}

impl Subscriber {
    /// Goes on with a scan until it is done (returns true) or the delta is full.
    pub(super) fn run(&mut self, scan: &mut Scan, store: &mut Store, builder: &mut DeltaBuilder) -> bool {
        if scan.dirty_only {
            if self.run_dirty(store, builder) {
                return true;
            }
            // The list of changes is gone with this publish: what is left is found by a full scan.
            scan.dirty_only = false;
            scan.held = self.held.len();
        }
        self.run_held(scan, store, builder) && self.run_candidates(scan, store, builder)
    }

    fn run_dirty(&mut self, store: &mut Store, builder: &mut DeltaBuilder) -> bool {
        for i in 0..store.dirty().len() {
            if builder.is_full() {
                return false;
            }
            let id = store.dirty()[i];
            if store.live_row(id).is_some() {
                self.examine(store, id, builder);
            }
        }
        true
    }

    /// Leaves: held rows that no view matches any longer. After a change of views also other filters.
    fn run_held(&mut self, scan: &mut Scan, store: &mut Store, builder: &mut DeltaBuilder) -> bool {
        scan.held = scan.held.min(self.held.len());
        while scan.held > 0 {
            if builder.is_full() {
                return false;
            }
            scan.held -= 1;
            let Some((&id, _)) = self.held.get_index(scan.held) else { continue };
            let row = store.row(id);
            builder.spend(1);
            if scan.recheck || (row.changed_at > scan.oldest && self.mask(store, row) == 0) {
                self.examine(store, id, builder);
            }
        }
        true
    }

    fn run_candidates(&mut self, scan: &mut Scan, store: &mut Store, builder: &mut DeltaBuilder) -> bool {
        if scan.source == 0 && scan.walk.is_none() {
            self.scan_cost = 0;
        }
        while let Some((source, since)) = scan.sources.get(scan.source) {
            let mut walk = scan.walk.take().unwrap_or_else(|| Walk::begin(source, store));
            if !self.walk(&mut walk, source, *since, store, builder) {
                scan.walk = Some(walk);
                return false;
            }
            scan.source += 1;
        }
        true
    }

    /// Looks at the candidates of one source that changed after `since`.
    fn walk(
        &mut self,
        walk: &mut Walk,
        source: &Candidates,
        since: PublishSeq,
        store: &mut Store,
        builder: &mut DeltaBuilder,
    ) -> bool {
        match walk {
            Walk::Rows(next) => {
                while (*next as usize) < store.row_count() {
                    if builder.is_full() {
                        return false;
                    }
                    self.look(RowId(*next), since, store, builder);
                    *next += 1;
                }
            }
            Walk::Entities(next) => {
                let Candidates::Entities(ids) = source else { return true };
                while let Some(&entity) = ids.get(*next) {
                    if builder.is_full() {
                        return false;
                    }
                    if let Some(id) = store.find(entity) {
                        self.look(id, since, store, builder);
                    }
                    *next += 1;
                }
            }
            Walk::Cells { range, by_slot, next, inside } => loop {
                if let Some((cell, left)) = inside {
                    if !self.walk_cell(*cell, left, since, store, builder) {
                        return false;
                    }
                    *inside = None;
                }
                if builder.is_full() {
                    return false;
                }
                let end = if *by_slot { store.grid.slot_count() as u64 } else { range.len() };
                if *next >= end {
                    return true;
                }
                let cell = if *by_slot {
                    let cell = *next as u32;
                    store.grid.is_in(range, cell).then_some(cell)
                } else {
                    store.grid.cell_at(range, *next)
                };
                *next += 1;
                builder.spend(1);
                *inside = cell.map(|cell| (cell, store.grid.rows(cell).len()));
            },
        }
        true
    }

    /// Backwards, since rows are swap-removed from cells.
    fn walk_cell(
        &mut self,
        cell: u32,
        left: &mut usize,
        since: PublishSeq,
        store: &mut Store,
        builder: &mut DeltaBuilder,
    ) -> bool {
        *left = (*left).min(store.grid.rows(cell).len());
        while *left > 0 {
            if builder.is_full() {
                return false;
            }
            *left -= 1;
            let id = store.grid.rows(cell)[*left];
            self.look(id, since, store, builder);
        }
        true
    }

    fn look(&mut self, id: RowId, since: PublishSeq, store: &mut Store, builder: &mut DeltaBuilder) {
        self.scan_cost += 1;
        builder.spend(1);
        if store.live_row(id).is_some_and(|row| row.changed_at > since) {
            self.examine(store, id, builder);
        }
    }
}

impl Walk {
    fn begin(source: &Candidates, store: &Store) -> Self {
        match source {
            Candidates::All => Self::Rows(0),
            Candidates::Entities(_) => Self::Entities(0),
            Candidates::Cells(space, bounds) => {
                let range = store.grid.range(*space, bounds);
                let by_slot = range.len() > store.grid.slot_count() as u64;
                Self::Cells { range, by_slot, next: 0, inside: None }
            }
        }
    }
}
