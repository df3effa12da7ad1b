//! The census: how many entities are in each square, at every size, of each type if somebody asks.
//!
//! There is one only while a view asks for densities. Rows that come to another cell, or whose type changes, are noted as
//! they do, and counted again at the next publish; one that moves within its cell touches nothing. To count a row again is
//! to compare where it was counted last with where it is, so it does not matter how often or in which order rows are noted,
//! and the first count of all rows is the same thing, some at each publish.
//!
//! Responsible for: which rows are counted, and when. Not responsible for: the squares (`squares`), types (`kinds`), or who is
//! told (`interest::counting`).

mod check;
mod kinds;
mod squares;
mod zorder;

use std::collections::VecDeque;
use std::sync::Arc;

use spatialdb_types::{ComponentId, Limits};

use self::kinds::Kinds;
pub(crate) use self::kinds::{KindId, UNTYPED};
pub(crate) use self::squares::{Area, Square, TOP_LEVEL};
use self::squares::{NO_SQUARE, Spot, Squares};
use super::{PublishSeq, RowId, Store};
use crate::wire;

/// The field of `Metadata` that is the type.
const TYPE_FIELD: u32 = 1;

/// Counts of one partition.
#[derive(Debug)]
pub(crate) struct Census {
    squares: Squares,
    kinds: Kinds,
    /// By row, where it is counted.
    counted: Vec<Counted>,
    /// Rows to be counted again.
    noted: Vec<RowId>,
    /// Rows from this one on have not been looked at.
    next: u32,
    /// All rows are counted, and of their types.
    is_complete: bool,
    is_typed: bool,
    has_all_types: bool,
    /// Squares that have become empty, or have lost all of a type: who is not told of that yet must find them.
    emptied: VecDeque<Emptied>,
    /// What became empty up to this publish may be forgotten.
    forgotten: PublishSeq,
    last_change: PublishSeq,
    views: usize,
    typed_views: usize,
}

/// Where a row is counted.
#[derive(Clone, Copy, Debug)]
struct Counted {
    spot: Spot,
    is_noted: bool,
}

/// Nothing is left in a square; or nothing of that type.
#[derive(Clone, Copy, Debug)]
struct Emptied {
    at: PublishSeq,
    square: u32,
    kind: Option<KindId>,
}

const NOT_COUNTED: Counted = Counted { spot: Spot { square: NO_SQUARE, kind: UNTYPED }, is_noted: false };

impl Census {
    fn new() -> Self {
        Self {
            squares: Squares::default(),
            kinds: Kinds::new(),
            counted: Vec::new(),
            noted: Vec::new(),
            next: 0,
            is_complete: false,
            is_typed: false,
            has_all_types: false,
            emptied: VecDeque::new(),
            forgotten: PublishSeq(0),
            last_change: PublishSeq(0),
            views: 0,
            typed_views: 0,
        }
    }

    /// Notes that a row has come to another cell, or is gone.
    pub(super) fn note(&mut self, id: RowId) {
        let counted = self.counted_mut(id);
        if !std::mem::replace(&mut counted.is_noted, true) {
            self.noted.push(id);
        }
    }

    /// Notes that a component of a row has another value, or none.
    pub(super) fn note_value(&mut self, id: RowId, component: ComponentId) {
        if self.is_typed && component == ComponentId::METADATA {
            self.note(id);
        }
    }

    /// Whether rows wait to be counted again.
    pub(crate) fn is_pending(&self) -> bool {
        !self.noted.is_empty()
    }

    /// Whether it can be told how many there are, of each type if asked.
    pub(crate) const fn is_ready(&self, per_type: bool) -> bool {
        self.is_complete && (!per_type || self.has_all_types)
    }

    /// The last publish that changed a count.
    pub(crate) const fn last_change(&self) -> PublishSeq {
        self.last_change
    }

    /// Whether all that has changed after `since` can still be found.
    pub(crate) fn remembers(&self, since: PublishSeq) -> bool {
        since >= self.forgotten
    }

    /// How many squares there are, of all sizes.
    pub(super) const fn square_count(&self) -> usize {
        self.squares.len()
    }

    /// Goes on with a walk through the squares of an area that changed after `since`, from `cursor` on. `visit` is given each
    /// square that is looked at on the way, too, and says whether to go on. Returns whether the walk is over.
    pub(crate) fn walk(
        &self,
        area: &Area,
        since: PublishSeq,
        cursor: &mut u64,
        visit: &mut impl FnMut(&Square) -> bool,
    ) -> bool {
        self.squares.walk(area, since, cursor, visit)
    }

    /// What a type is called.
    pub(crate) fn kind_name(&self, kind: KindId) -> &Arc<str> {
        self.kinds.name(kind)
    }

    fn update(&mut self, store: &Store, limits: &Limits) {
        for id in std::mem::take(&mut self.noted) {
            self.counted_mut(id).is_noted = false;
            self.recount(store, id, limits);
        }
        let rows = store.row_count() as u32;
        if self.is_ready(self.is_typed) {
            // Rows that have come since were noted.
            self.next = rows;
        }
        let end = rows.min(self.next.saturating_add(store.grid.tuning.counted_at_once));
        (self.next..end).for_each(|id| self.recount(store, RowId(id), limits));
        self.next = self.next.max(end);
        if self.next >= rows {
            self.is_complete = true;
            self.has_all_types = self.is_typed;
        }
        self.forget(self.squares.occupied() + store.grid.tuning.emptied_kept);
    }

    /// Counts a row where it is now.
    fn recount(&mut self, store: &Store, id: RowId, limits: &Limits) {
        let (publish, before) = (store.publish(), self.counted_mut(id).spot);
        let row = store.live_row(id);
        let now = match row.and_then(|row| store.grid.square(row.cell())) {
            Some(key) if self.is_typed => {
                let metadata = store.value(id, ComponentId::METADATA);
                let (kind, reused) = self.kinds.intern(&type_of(metadata), limits);
                self.forgotten = self.forgotten.max(reused);
                Spot { square: self.squares.open(key), kind }
            }
            Some(key) => Spot { square: self.squares.open(key), kind: UNTYPED },
            None => NOT_COUNTED.spot,
        };
        if now == before {
            return;
        }
        self.counted_mut(id).spot = now;
        self.kinds.shift(before.kind, now.kind, publish);
        let left = self.squares.shift(before, now, publish);
        self.last_change = publish;
        let emptied = |kind| Emptied { at: publish, square: before.square, kind };
        self.emptied.extend(left.has_lost_kind.then(|| emptied(Some(before.kind))));
        self.emptied.extend(left.is_empty.then(|| emptied(None)));
    }

    /// Forgets what became empty first, beyond so many.
    fn forget(&mut self, kept: usize) {
        while self.emptied.len() > kept {
            let Some(Emptied { at, square, kind }) = self.emptied.pop_front() else { return };
            self.forgotten = self.forgotten.max(at);
            match kind {
                Some(kind) => self.squares.forget_kind(square, kind, at),
                None => self.squares.forget(square, at),
            }
        }
    }

    fn counted_mut(&mut self, id: RowId) -> &mut Counted {
        let at = id.0 as usize;
        if at >= self.counted.len() {
            self.counted.resize(at + 1, NOT_COUNTED);
        }
        &mut self.counted[at]
    }

    /// From now on types are counted too: all rows are looked at again.
    fn start_types(&mut self) {
        (self.is_typed, self.has_all_types, self.next) = (true, false, 0);
    }

    fn stop_types(&mut self) {
        (self.is_typed, self.has_all_types) = (false, false);
        self.kinds = Kinds::new();
        self.squares.drop_kinds();
        self.counted.iter_mut().for_each(|counted| counted.spot.kind = UNTYPED);
        self.emptied.retain(|emptied| emptied.kind.is_none());
    }
}

impl Store {
    /// So many more views want densities, and so many of those of each type.
    pub(crate) fn watch_squares(&mut self, views: usize, typed_views: usize) {
        if views == 0 {
            return;
        }
        let census = self.census.get_or_insert_with(|| Box::new(Census::new()));
        census.views += views;
        if typed_views > 0 && census.typed_views == 0 {
            census.start_types();
        }
        census.typed_views += typed_views;
    }

    /// The end of a `watch_squares`. The last one ends the census.
    pub(crate) fn unwatch_squares(&mut self, views: usize, typed_views: usize) {
        let Some(census) = &mut self.census else { return };
        census.views -= views;
        census.typed_views -= typed_views;
        if census.views == 0 {
            self.census = None;
        } else if census.typed_views == 0 && census.is_typed {
            census.stop_types();
        }
    }

    /// Counts what was noted. Before anything is asked of the census in a publish.
    pub(super) fn update_census(&mut self, limits: &Limits) {
        let Some(mut census) = self.census.take() else { return };
        census.update(self, limits);
        self.census = Some(census);
    }
}

/// The type in a value of `Metadata`; empty: none.
fn type_of(metadata: Option<&[u8]>) -> std::borrow::Cow<'_, str> {
    let fields = metadata.into_iter().flat_map(wire::fields);
    let texts = fields.filter_map(|(number, field)| match field {
        wire::Field::Bytes(text) if number == TYPE_FIELD => Some(text),
        _ => None,
    });
    // Of a field that is there twice the last one counts.
    String::from_utf8_lossy(texts.last().unwrap_or_default())
}

#[cfg(test)]
mod tests;
