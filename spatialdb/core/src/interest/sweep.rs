//! A sweep: what changed is looked for cell by cell, for many subscribers at once.
//!
//! Who goes through its own cells brings their rows into the processor's cache once for each subscriber; a sweep does so
//! once for all. It only finds what to look at: each subscriber tells it by itself afterwards, as it is the rest.

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use spatialdb_types::{Limits, SessionId, SpaceId};

use super::increment::CHANGE_BYTES;
use super::lane::{Mask, bits};
use super::subscriber::Subscriber;
use super::watch::{Watch, Watchers};
use crate::Micros;
use crate::partition::{CellRow, PublishSeq, RowId, Store};

/// So many ways of being behind are swept at once: one for each rate.
const GROUPS_MAX: usize = 8;

/// Takes no part.
const NOT_MEMBER: u32 = u32::MAX;

/// Memory of a sweep.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// For each subscriber its place among all.
    members: Vec<u32>,
    left: Vec<RowId>,
}

/// What a sweep found for one subscriber.
#[derive(Debug, Default)]
pub(super) struct Swept {
    /// All that changed after this is found.
    pub(super) oldest: PublishSeq,
    /// Changed rows that are in view or are to be.
    pub(super) suspects: Vec<Suspect>,
    /// Rows that left a cell, and may be in view.
    pub(super) left: Vec<RowId>,
    /// Cells that are told by their shared rows.
    pub(super) shared: Vec<u32>,
    /// Some cell does not know any longer who left it.
    pub(super) by_held: bool,
    state: State,
    work: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The subscriber takes no part.
    #[default]
    Away,
    Member,
    /// It was too much to be told at once.
    GivenUp,
}

/// A changed row that may have to be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspect {
    /// Which of the changed rows.
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
    members: Vec<(u32, u32)>,
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
    left: Option<&'a [RowId]>,
    is_worth_sharing: bool,
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
        for group in groups(subscribers, store, now) {
            let cells = if group.is_caught_up {
                store.grid.changed().len()
            } else {
                store.grid.slot_count() as usize
            };
            if group.cells < cells.saturating_mul(store.grid.tuning.sweep_from) {
                continue;
            }
            for &(subscriber, place) in &group.members {
                if self.members.len() <= subscriber as usize {
                    self.members.resize(subscriber as usize + 1, NOT_MEMBER);
                }
                self.members[subscriber as usize] = place;
                subscribers[place as usize].swept.begin(group.oldest);
            }
            let rows_max = limits.frame_bytes_max as usize / 2 / CHANGE_BYTES;
            for i in 0..cells {
                let cell = if group.is_caught_up { store.grid.changed()[i] } else { i as u32 };
                if store.grid.watchers(cell) > 0 && store.grid.changed_at(cell) > group.oldest {
                    self.sweep_cell(cell, &group, subscribers, store, rows_max);
                }
            }
            for &(subscriber, _) in &group.members {
                self.members[subscriber as usize] = NOT_MEMBER;
            }
        }
    }

    fn sweep_cell(
        &mut self,
        cell: u32,
        group: &Group,
        subscribers: &mut IndexMap<SessionId, Subscriber, FxBuildHasher>,
        store: &mut Store,
        rows_max: usize,
    ) {
        let mut watchers: Watchers = store.grid.take_watchers(cell);
        let range = store.note_changed(cell, group.oldest);
        self.left.clear();
        let knows_left = match store.left_since(cell, group.oldest) {
            _ if !store.grid.has_departures(cell, group.oldest) => true,
            Some(left) => {
                self.left.extend_from_slice(&left);
                true
            }
            None => false,
        };
        let news = CellNews {
            cell,
            space: store.grid.space(cell),
            first: range.start as u32,
            rows: &store.noted_rows(group.oldest)[range],
            left: knows_left.then_some(&self.left),
            is_worth_sharing: store.grid.rows(cell).len().saturating_mul(watchers.len())
                >= store.grid.tuning.share_from,
        };
        for (subscriber, watch) in &mut watchers {
            let place = self.members.get(subscriber.0 as usize).copied().unwrap_or(NOT_MEMBER);
            if let Some((_, subscriber)) = subscribers.get_index_mut(place as usize) {
                watch.update(&store.grid, &subscriber.parts, cell);
                subscriber.look_at(&news, watch, store, rows_max);
            }
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
        let member = (subscriber.id().0, place as u32);
        let cells = subscriber.touched.noted().len();
        match groups.iter().position(is_alike) {
            Some(group) => {
                let group = &mut groups[group];
                group.oldest = group.oldest.min(oldest);
                group.cells += cells;
                group.members.push(member);
            }
            None if groups.len() < GROUPS_MAX => {
                groups.push(Group { oldest, is_caught_up, members: vec![member], cells });
            }
            None => {}
        }
    }
    groups
}

impl Swept {
    fn begin(&mut self, oldest: PublishSeq) {
        self.suspects.clear();
        self.left.clear();
        self.shared.clear();
        (self.oldest, self.by_held, self.state, self.work) = (oldest, false, State::Member, 0);
    }

    /// Whether all was found. Once.
    pub(super) fn take(&mut self) -> bool {
        std::mem::take(&mut self.state) == State::Member
    }

    /// The cells of what was found, from some suspect and some shared one on.
    pub(super) fn cells_from(&self, suspect: usize, shared: usize) -> Vec<u32> {
        let mut cells: Vec<u32> = self.suspects[suspect..].iter().map(|suspect| suspect.cell).collect();
        cells.dedup();
        cells.extend_from_slice(&self.shared[shared..]);
        cells
    }
}

impl Subscriber {
    /// As of when it knows all, if all that it is about to be told is what changed in its cells.
    fn may_be_swept(&self, store: &Store, now: Micros) -> Option<PublishSeq> {
        let due = self.due_for_increment(store, now)?;
        self.touched.is_noted().then(|| self.oldest(due))?
    }

    /// Notes what of a cell's news may have to be told.
    fn look_at(&mut self, news: &CellNews<'_>, watch: &Watch, store: &Store, rows_max: usize) {
        if self.swept.state != State::Member {
            return;
        }
        match news.left {
            Some(left) => {
                let held = &self.held;
                self.swept.left.extend(left.iter().filter(|&&id| held.may_hold(id)));
            }
            None => self.swept.by_held = true,
        }
        let Some(touch) = self.touched.touch_besides(&store.grid, &self.parts, news.cell, watch) else {
            return;
        };
        if touch.is_sharable && news.is_worth_sharing {
            self.swept.shared.push(news.cell);
            return;
        }
        let suspect = |row: u32, mask| Suspect { row: news.first + row, cell: news.cell, mask };
        if touch.parts == watch.touch && watch.area.is_all() {
            for (i, row) in (0..).zip(news.rows) {
                let is_inside = watch.area.contains(news.space, row.point) == Some(true);
                if is_inside || self.held.may_hold(row.id) {
                    let mask = if is_inside { touch.parts } else { 0 };
                    self.swept.suspects.push(suspect(i, mask));
                }
            }
            self.swept.work += news.rows.len() as u64;
        } else {
            for (i, row) in (0..).zip(news.rows) {
                let mask = self.mask(store, row, news.space, touch.parts);
                if mask != 0 || self.held.may_hold(row.id) {
                    self.swept.suspects.push(suspect(i, mask));
                }
            }
            let conditions = |bit: usize| self.parts[bit].part().constraint.nodes();
            self.swept.work += news.rows.len() as u64 * bits(touch.parts).map(conditions).sum::<u64>();
        }
        if self.swept.suspects.len() > rows_max || self.swept.work > super::delta::WORK_MAX {
            self.swept.state = State::GivenUp;
        }
    }
}
