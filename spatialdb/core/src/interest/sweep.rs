//! A sweep: what changed is looked for cell by cell, for many subscribers at once.
//!
//! Who goes through its own cells brings their rows into the processor's cache once for each subscriber; a sweep does so
//! once for all. It only finds what to look at: each subscriber tells it by itself afterwards, as it is the rest.

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use spatialdb_types::{EntityId, Limits, SessionId, SpaceId};

use super::SubscriberId;
use super::delta::WORK_MAX;
use super::held::RowFilter;
use super::increment::CHANGE_BYTES;
use super::lane::{Mask, bits};
use super::subscriber::Subscriber;
use super::watch::{Watch, Watchers};
use crate::Micros;
use crate::partition::{CellRow, PublishSeq, RowId, Store};

/// So many ways of being behind are swept at once, beside those who only lack the last changes: one for each rate, and some for
/// who fell behind.
const GROUPS_MAX: usize = 8;

/// Takes no part.
const AWAY: u32 = u32::MAX;

/// Memory of a sweep.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// By subscriber.
    members: Vec<Member>,
    left: Vec<Departed>,
}

/// A row that left a cell.
#[derive(Clone, Copy, Debug)]
struct Departed {
    id: RowId,
    entity: EntityId,
    /// Where it is now.
    cell: u32,
}

/// What is asked of a subscriber for each cell, in one piece of memory.
#[derive(Debug)]
struct Member {
    /// Where it is among all, if it takes part.
    place: u32,
    /// All that it looks for in a cell stands there.
    is_simple: bool,
    filter: RowFilter,
    found: Found,
}

/// What a sweep found for one subscriber.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Changed rows that may be in view or are to be.
    pub(super) suspects: Vec<Suspect>,
    /// Rows that left all cells that matter, and may be in view.
    pub(super) gone: Vec<(RowId, EntityId)>,
    /// Rows that left a cell, and may be in view.
    pub(super) left: Vec<RowId>,
    /// Cells that are told by their shared rows.
    pub(super) shared: Vec<u32>,
    /// Some cell does not know any longer who left it.
    pub(super) by_held: bool,
    /// How many conditions were looked at; more than there may be if it is too much.
    work: u64,
}

/// What a sweep found for a subscriber that has not been told yet.
#[derive(Debug, Default)]
pub(super) struct Swept {
    /// In this publish.
    publish: PublishSeq,
    /// All that changed after this was found.
    since: PublishSeq,
    found: Found,
}

/// A changed row that may have to be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspect {
    /// Which of [`Store::noted_rows`].
    pub(super) row: u32,
    pub(super) cell: u32,
    /// The parts that it matches.
    pub(super) mask: Mask,
}

/// Subscribers that lack the same.
struct Group {
    oldest: PublishSeq,
    /// Only what changed since the last publish.
    is_caught_up: bool,
    members: Vec<(SubscriberId, u32)>,
    cells: usize,
}

/// What changed in a cell.
struct CellNews<'a> {
    cell: u32,
    space: Option<SpaceId>,
    rows: &'a [CellRow],
    /// The number of the first row among all changed ones.
    first: u32,
    /// `None`: it is not known any longer.
    left: Option<&'a [Departed]>,
    is_worth_sharing: bool,
    /// So many suspects can be told at once.
    suspects_max: usize,
}

impl Sweep {
    /// Looks for what subscribers lack that are due.
    pub(crate) fn run(
        &mut self,
        subscribers: &mut IndexMap<SessionId, Subscriber, FxBuildHasher>,
        store: &mut Store,
        now: Micros,
        limits: &Limits,
    ) {
        let suspects_max = limits.frame_bytes_max as usize / 2 / CHANGE_BYTES;
        for group in groups(subscribers, store, now) {
            let all = if group.is_caught_up {
                store.grid.changed().len()
            } else {
                store.grid.slot_count() as usize
            };
            if all > group.cells.saturating_mul(store.grid.tuning.sweep_cells_max) {
                continue;
            }
            for &(subscriber, place) in &group.members {
                self.join(subscriber, place, subscribers);
            }
            for i in 0..all {
                let cell = if group.is_caught_up { store.grid.changed()[i] } else { i as u32 };
                if store.grid.watchers(cell) > 0 && store.grid.changed_at(cell) > group.oldest {
                    self.sweep_cell(cell, group.oldest, subscribers, store, suspects_max);
                }
            }
            for &(subscriber, place) in &group.members {
                let member = &mut self.members[subscriber.0 as usize];
                member.place = AWAY;
                let subscriber = &mut subscribers[place as usize];
                subscriber.held.put_filter(std::mem::take(&mut member.filter));
                std::mem::swap(&mut subscriber.swept.found, &mut member.found);
                let found = &subscriber.swept.found;
                if !found.is_too_much() {
                    (subscriber.swept.publish, subscriber.swept.since) = (store.publish(), group.oldest);
                }
            }
        }
    }

    fn join(
        &mut self,
        subscriber: SubscriberId,
        place: u32,
        subscribers: &mut IndexMap<SessionId, Subscriber, FxBuildHasher>,
    ) {
        while self.members.len() <= subscriber.0 as usize {
            self.members.push(Member::default());
        }
        let member = &mut self.members[subscriber.0 as usize];
        let subscriber = &mut subscribers[place as usize];
        member.place = place;
        member.is_simple = subscriber.touched.is_in_cells();
        member.filter = subscriber.held.take_filter();
        member.found.clear();
    }

    fn sweep_cell(
        &mut self,
        cell: u32,
        oldest: PublishSeq,
        subscribers: &IndexMap<SessionId, Subscriber, FxBuildHasher>,
        store: &mut Store,
        suspects_max: usize,
    ) {
        let is_member = |id: &SubscriberId| self.members.get(id.0 as usize).is_some_and(|m| m.place != AWAY);
        if !store.grid.all_watchers(cell).keys().any(is_member) {
            return;
        }
        let range = store.note_changed(cell, oldest);
        self.left.clear();
        let departed = |id: &RowId| {
            let row = store.live_row(*id)?;
            Some(Departed { id: *id, entity: row.entity, cell: row.cell() })
        };
        let knows_left = !store.grid.has_departures(cell, oldest)
            || store.left_since(cell, oldest).is_some_and(|left| {
                self.left.extend(left.iter().filter_map(departed));
                true
            });
        let mut watchers: Watchers = store.grid.take_watchers(cell);
        let news = CellNews {
            cell,
            space: store.grid.space(cell),
            first: range.start as u32,
            rows: &store.noted_rows(oldest)[range],
            left: knows_left.then_some(&self.left),
            is_worth_sharing: store.grid.rows(cell).len().saturating_mul(watchers.len())
                >= store.grid.tuning.share_from,
            suspects_max,
        };
        for (subscriber, watch) in &mut watchers {
            let Some(member) = self.members.get_mut(subscriber.0 as usize).filter(|m| m.place != AWAY) else {
                continue;
            };
            let subscriber = &subscribers[member.place as usize];
            if !watch.is_up_to_date(&store.grid, cell) {
                watch.update(&store.grid, &subscriber.parts, cell);
            }
            member.look_at(&news, watch, subscriber, store);
        }
        store.grid.put_watchers(cell, watchers);
    }
}

/// Who is due, by what they lack.
fn groups(
    subscribers: &IndexMap<SessionId, Subscriber, FxBuildHasher>,
    store: &Store,
    now: Micros,
) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (place, subscriber) in subscribers.values().enumerate() {
        let Some(oldest) = subscriber.may_be_swept(store, now) else { continue };
        let is_caught_up = store.is_caught_up(oldest);
        let is_alike = |group: &Group| group.oldest == oldest || (group.is_caught_up && is_caught_up);
        let member = (subscriber.id(), place as u32);
        let cells = subscriber.touched.noted_count();
        match groups.iter().position(is_alike) {
            Some(group) => {
                let group = &mut groups[group];
                group.oldest = group.oldest.min(oldest);
                group.cells += cells;
                group.members.push(member);
            }
            None if is_caught_up || groups.len() < GROUPS_MAX => {
                groups.push(Group { oldest, is_caught_up, members: vec![member], cells });
            }
            None => {}
        }
    }
    groups
}

impl Default for Member {
    fn default() -> Self {
        Self { place: AWAY, is_simple: false, filter: RowFilter::default(), found: Found::default() }
    }
}

impl Member {
    /// Notes what of a cell's news may have to be told.
    fn look_at(&mut self, news: &CellNews<'_>, watch: &Watch, subscriber: &Subscriber, store: &Store) {
        let Self { filter, found, .. } = self;
        let more = news.rows.len() + news.left.map_or(0, <[Departed]>::len);
        if found.len() + more > news.suspects_max {
            found.work = u64::MAX;
        }
        if found.is_too_much() {
            return;
        }
        match news.left {
            Some(left) => {
                for &Departed { id, entity, cell } in left.iter().filter(|left| filter.may_hold(left.id)) {
                    if !self.is_simple {
                        found.left.push(id);
                    } else if !subscriber.touched.notes(cell) {
                        found.gone.push((id, entity));
                    }
                }
            }
            None => found.by_held = true,
        }
        let suspect = |row: u32, mask| Suspect { row: news.first + row, cell: news.cell, mask };
        if self.is_simple && watch.cover == 0 && watch.area.is_all() {
            for (i, row) in (0..).zip(news.rows) {
                let is_inside = watch.area.contains(news.space, row.point) == Some(true);
                if is_inside || filter.may_hold(row.id) {
                    found.suspects.push(suspect(i, if is_inside { watch.touch } else { 0 }));
                }
            }
            found.work += news.rows.len() as u64;
            return;
        }
        let touched = &subscriber.touched;
        let Some(touch) = touched.touch_besides(&store.grid, &subscriber.parts, news.cell, watch) else {
            return;
        };
        if touch.is_sharable && news.is_worth_sharing {
            found.shared.push(news.cell);
            return;
        }
        for (i, row) in (0..).zip(news.rows) {
            let mask = subscriber.mask(store, row, news.space, touch.parts);
            if mask != 0 || filter.may_hold(row.id) {
                found.suspects.push(suspect(i, mask));
            }
        }
        let conditions = |bit: usize| subscriber.parts[bit].part().constraint.nodes();
        found.work += news.rows.len() as u64 * bits(touch.parts).map(conditions).sum::<u64>();
    }
}

impl Found {
    fn clear(&mut self) {
        self.suspects.clear();
        self.gone.clear();
        self.left.clear();
        self.shared.clear();
        (self.by_held, self.work) = (false, 0);
    }

    /// Whether it is more than can be told at once: then it is looked for in the way that can be interrupted.
    const fn is_too_much(&self) -> bool {
        self.work > WORK_MAX
    }

    const fn len(&self) -> usize {
        self.suspects.len() + self.gone.len() + self.left.len()
    }

    /// The cells of what was found, from some suspect and some shared one on.
    pub(super) fn cells_from(&self, suspect: usize, shared: usize) -> Vec<u32> {
        let mut cells: Vec<u32> = self.suspects[suspect..].iter().map(|suspect| suspect.cell).collect();
        cells.dedup();
        cells.extend_from_slice(&self.shared[shared..]);
        cells
    }
}

impl Swept {
    /// Whether there was a sweep for this publish that found no more than can be told at once.
    pub(super) fn is_of(&self, publish: PublishSeq) -> bool {
        self.publish == publish
    }

    /// As of when all is known besides what was found; and that, to be given back for its memory.
    pub(super) fn take(&mut self) -> (PublishSeq, Found) {
        (self.since, std::mem::take(&mut self.found))
    }

    pub(super) fn give_back(&mut self, found: Found) {
        self.found = found;
    }
}

impl Subscriber {
    /// As of when it knows all, if all that it is about to be told is what changed in its cells.
    fn may_be_swept(&self, store: &Store, now: Micros) -> Option<PublishSeq> {
        let due = self.due_for_increment(store, now)?;
        self.touched.is_noted().then(|| self.oldest(due))?
    }
}

#[cfg(test)]
mod tests;
