//! A fill: looking at all that the views may match, and at all that is held, in pieces that fit a frame.
//!
//! Between two pieces the store may change. What changes after the run has begun is newer than its stamp, so the
//! next one finds it; the cursors are chosen so that nothing unchanged is passed over (lists that rows are
//! swap-removed from are walked backwards).

use super::lane::NEVER;
use super::subscriber::{Aim, Progress, Subscriber};
use super::{Candidates, DeltaBuilder};
use crate::partition::{CellRange, PublishSeq, RowId, Store};

/// How far a fill has come.
#[derive(Debug)]
pub(super) struct Fill {
    /// Rows that changed at or before this are known to every due lane.
    oldest: PublishSeq,
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

impl Fill {
    pub(super) fn new(subscriber: &Subscriber, aim: &Aim) -> Self {
        let sources = sources(subscriber, aim);
        let oldest = sources.iter().map(|&(_, since)| since).min().unwrap_or(aim.stamp);
        Self { oldest, held: subscriber.held.len(), sources, source: 0, walk: None }
    }
}

/// Where the due parts have candidates, and what is known there.
fn sources(subscriber: &Subscriber, aim: &Aim) -> Vec<(Candidates, PublishSeq)> {
    let due = subscriber.parts.iter().filter(|part| aim.due & (1 << part.lane) != 0 || !part.is_filled);
    let since = |part: &super::subscriber::ActivePart| {
        if part.is_filled { subscriber.lanes[usize::from(part.lane)].since } else { NEVER }
    };
    let all = || due.clone().flat_map(|part| part.candidates.iter().map(move |place| (place, since(part))));
    // A row looked at is looked at for every part.
    if all().any(|(place, _)| *place == Candidates::All) {
        let since = all().map(|(_, since)| since).min().unwrap_or(NEVER);
        return vec![(Candidates::All, since)];
    }
    all().map(|(place, since)| (place.clone(), since)).collect()
}

impl Subscriber {
    /// Goes on with a fill until it is done or the delta is full.
    pub(super) fn fill(
        &mut self,
        fill: &mut Fill,
        aim: &Aim,
        store: &Store,
        builder: &mut DeltaBuilder,
    ) -> Progress {
        let done =
            self.fill_held(fill, aim, store, builder) && self.fill_candidates(fill, aim, store, builder);
        if done { Progress::Done } else { Progress::Full }
    }

    /// Held rows: some may not match any longer, or in another way. After a change of views any of them.
    fn fill_held(&mut self, fill: &mut Fill, aim: &Aim, store: &Store, builder: &mut DeltaBuilder) -> bool {
        fill.held = fill.held.min(self.held.len());
        while fill.held > 0 {
            if builder.is_full() {
                return false;
            }
            fill.held -= 1;
            let Some(id) = self.held.at(fill.held) else { continue };
            builder.spend(1);
            if aim.recheck || store.row(id).changed_at > fill.oldest {
                self.examine(store, id, aim, builder);
            }
        }
        true
    }

    fn fill_candidates(
        &mut self,
        fill: &mut Fill,
        aim: &Aim,
        store: &Store,
        builder: &mut DeltaBuilder,
    ) -> bool {
        while let Some((source, since)) = fill.sources.get(fill.source) {
            let mut walk = fill.walk.take().unwrap_or_else(|| Walk::begin(source, store));
            if !self.walk(&mut walk, source, *since, aim, store, builder) {
                fill.walk = Some(walk);
                return false;
            }
            fill.source += 1;
        }
        true
    }

    /// Looks at the candidates of one source that changed after `since`.
    fn walk(
        &mut self,
        walk: &mut Walk,
        source: &Candidates,
        since: PublishSeq,
        aim: &Aim,
        store: &Store,
        builder: &mut DeltaBuilder,
    ) -> bool {
        match walk {
            Walk::Rows(next) => {
                while (*next as usize) < store.row_count() {
                    if builder.is_full() {
                        return false;
                    }
                    self.look(RowId(*next), since, aim, store, builder);
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
                        self.look(id, since, aim, store, builder);
                    }
                    *next += 1;
                }
            }
            Walk::Cells { range, by_slot, next, inside } => loop {
                if let Some((cell, left)) = inside {
                    if !self.walk_cell(*cell, left, since, aim, store, builder) {
                        return false;
                    }
                    *inside = None;
                }
                if builder.is_full() {
                    return false;
                }
                let end = if *by_slot { u64::from(store.grid.slot_count()) } else { range.len() };
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
        aim: &Aim,
        store: &Store,
        builder: &mut DeltaBuilder,
    ) -> bool {
        *left = (*left).min(store.grid.rows(cell).len());
        while *left > 0 {
            if builder.is_full() {
                return false;
            }
            *left -= 1;
            let id = store.grid.rows(cell)[*left].id;
            self.look(id, since, aim, store, builder);
        }
        true
    }

    fn look(&mut self, id: RowId, since: PublishSeq, aim: &Aim, store: &Store, builder: &mut DeltaBuilder) {
        builder.spend(1);
        if store.live_row(id).is_some_and(|row| row.changed_at > since) {
            self.examine(store, id, aim, builder);
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
                let by_slot = range.len() > u64::from(store.grid.slot_count());
                Self::Cells { range, by_slot, next: 0, inside: None }
            }
        }
    }
}
