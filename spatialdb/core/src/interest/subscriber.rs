//! What one session sees in one partition.
//!
//! Responsible for: which rows the session holds, under which stance, and when it is told how much.
//! Not responsible for: which rows to look at (`fill`, `increment`), what is told of one (`tell`), or other partitions (the
//! session machine).

use std::sync::Arc;

use spatialdb_types::{ComponentId, EntityId, Limits, SessionId, ViewId};

use super::anchors::Anchors;
use super::area::Area;
use super::counting::Counting;
use super::events::EventQueue;
use super::fill::Fill;
use super::held::{Held, HeldRows};
use super::increment::Increment;
use super::lane::{Lane, Mask, bits};
use super::stance::Stances;
use super::sweep::Swept;
use super::touched::Touched;
use super::view::Part;
use super::{Candidates, DeltaBuilder, SubscriberId, View, ViewSet};
use crate::Micros;
use crate::message::{Delta, Filled, Holder, LeaveReason};
use crate::partition::{PublishSeq, RowEvent, RowId, Store};

/// So many rows that are owed an answer are noted before it is looked whether they still are.
const OWED_MIN: usize = 64;

/// The views of one session over one partition, and what it holds in view.
#[derive(Debug)]
pub(crate) struct Subscriber {
    id: SubscriberId,
    session: SessionId,
    pub(super) parts: Vec<ActivePart>,
    /// Parallel to the parts.
    pub(super) areas: Vec<Area>,
    /// The rates of the parts, the highest first.
    pub(super) lanes: Vec<Lane>,
    pub(super) stances: Stances,
    pub(super) touched: Touched,
    anchors: Anchors,
    pub(super) counting: Counting,
    version: u64,
    filled: u64,
    /// Its lanes do not wait for their time.
    is_hastened: bool,
    ready: bool,
    /// The views have changed: every held row is looked at again.
    recheck: bool,
    pub(super) held: HeldRows,
    /// Rows that moved here whose holder is owed an answer, and those to be shown anew.
    pub(super) owed: Vec<RowId>,
    pub(super) swept: Swept,
    /// Memory for the places of rows that are to be told.
    pub(super) places: Vec<(u32, Mask)>,
    left: Vec<(EntityId, LeaveReason)>,
    pub(super) events: EventQueue,
    flush: Option<u64>,
    run: Option<Run>,
}

/// A part of a view in this partition.
#[derive(Debug)]
pub(super) struct ActivePart {
    pub(super) view: Arc<View>,
    index: usize,
    pub(super) lane: u8,
    /// All that matches has been told at least once.
    pub(super) is_filled: bool,
    pub(super) candidates: Vec<Candidates>,
}

/// Telling what some lanes lack, in pieces that fit a frame.
#[derive(Debug)]
struct Run {
    aim: Aim,
    way: Way,
}

/// What a run is to tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aim {
    /// The lanes that it is for.
    pub(super) due: Mask,
    /// The publish at which it began: all is told as of this when it ends.
    pub(super) stamp: PublishSeq,
    /// Look at every held row, changed or not.
    pub(super) recheck: bool,
}

/// Which rows a run looks at.
#[derive(Debug)]
enum Way {
    /// All that the views may match.
    Fill(Fill),
    /// What changed.
    Increment(Increment),
}

/// How far a run came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Done,
    /// The delta is full.
    Full,
}

impl ActivePart {
    pub(super) fn part(&self) -> &Part {
        &self.view.parts[self.index]
    }

    /// Whether the other shows as much of what it matches, as often.
    pub(super) fn wants_same(&self, other: &Self) -> bool {
        let is_same_view = (self.lane, self.view.own_updates) == (other.lane, other.view.own_updates);
        is_same_view && self.part().components == other.part().components
    }
}

impl Subscriber {
    pub(crate) fn new(id: SubscriberId, session: SessionId) -> Self {
        Self {
            id,
            session,
            parts: Vec::new(),
            areas: Vec::new(),
            lanes: Vec::new(),
            stances: Stances::default(),
            touched: Touched::new(id),
            anchors: Anchors::default(),
            counting: Counting::default(),
            version: 0,
            filled: 0,
            is_hastened: false,
            ready: true,
            recheck: false,
            held: HeldRows::default(),
            owed: Vec::new(),
            swept: Swept::default(),
            places: Vec::new(),
            left: Vec::new(),
            events: EventQueue::default(),
            flush: None,
            run: None,
        }
    }

    pub(crate) const fn id(&self) -> SubscriberId {
        self.id
    }

    pub(crate) const fn session(&self) -> SessionId {
        self.session
    }

    pub(crate) fn ready(&mut self) {
        self.ready = true;
        self.events.confirm();
    }

    pub(crate) const fn flush(&mut self, token: u64) {
        self.flush = Some(token);
    }

    pub(crate) fn set_views(&mut self, version: u64, set: &ViewSet, store: &mut Store) {
        let views = &*set.views;
        self.anchors.set(set);
        self.stances.grow_old(&self.lanes);
        let lanes = lanes_of(views, &self.lanes);
        let mut old = std::mem::take(&mut self.parts);
        for view in views {
            for index in 0..view.parts.len() {
                let lane = lanes.iter().position(|l| l.interval_us == view.parts[index].interval_us);
                let lane = lane.expect("every part has a lane") as u8;
                let same =
                    |p: &ActivePart| (p.view.id, p.view.version, p.index) == (view.id, view.version, index);
                self.parts.push(match old.iter().position(same) {
                    Some(i) => ActivePart { lane, ..old.swap_remove(i) },
                    None => ActivePart {
                        view: view.clone(),
                        index,
                        lane,
                        is_filled: false,
                        candidates: view.parts[index].constraint.candidates(),
                    },
                });
            }
        }
        assert!(
            self.parts.len() <= 64,
            "session_views_max bounds the parts of views: they are kept in a mask"
        );
        self.lanes = lanes;
        self.areas = self.parts.iter().map(|part| Area::of(&part.part().constraint)).collect();
        self.stances.set(&self.parts);
        self.touched.set(&mut store.grid, &self.parts, &self.areas);
        self.counting.set(views, store);
        self.version = version;
        self.recheck = true;
        self.run = None;
    }

    /// The session is over: lets its cells go.
    pub(crate) fn end(self, store: &mut Store) {
        self.touched.release(&mut store.grid);
        self.counting.end(store);
    }

    /// The row leaves this partition. Returns what the next one must know if the session holds it in view.
    pub(crate) fn hand_over(&mut self, row: RowId, entity: EntityId) -> Option<Holder> {
        self.anchors.hand_over(entity);
        let held = self.held.remove(row)?;
        let overlaps = held.overlaps || self.events.is_unconfirmed(entity);
        Some(Holder { session: self.session, events: self.events.take(row), overlaps })
    }

    /// The row came from another partition, where the session held it: it is owed an answer.
    pub(crate) fn take_over(&mut self, row: RowId, holder: Holder, limits: &Limits) {
        let Holder { events, overlaps, .. } = holder;
        self.held.insert(row, Held { overlaps, ..Held::OWED });
        self.note_owed(row);
        self.inherit_events(row, &events, limits);
    }

    /// The next delta that looks at the row shows all of it, if it is in view. Returns whether it is.
    pub(crate) fn show_anew(&mut self, row: RowId) -> bool {
        let Some(held) = self.held.find(row).and_then(|place| self.held.get_at(place)) else { return false };
        held.anew = true;
        self.note_owed(row);
        true
    }

    fn note_owed(&mut self, row: RowId) {
        if self.owed.len() >= OWED_MIN.max(2 * self.held.len()) {
            self.forget_answered();
        }
        self.owed.push(row);
    }

    /// Keeps each row that is owed an answer once: while the session takes no deltas, the same ones may come and go.
    fn forget_answered(&mut self) {
        self.owed.retain(|id| self.held.get(*id).is_some_and(Held::is_awaited));
        self.owed.sort_unstable();
        self.owed.dedup();
    }

    /// The leaves to tell in place of what it has not been told of entities that moved here or are gone; and lets its
    /// cells go.
    pub(crate) fn into_owed(self, store: &mut Store) -> Vec<(EntityId, LeaveReason)> {
        let unanswered = self.held.iter().filter(|(_, held)| held.is_owed());
        let moved = unanswered.map(|(id, _)| (store.row(id).entity, LeaveReason::OutOfView));
        let owed = moved.chain(self.left.iter().copied()).collect();
        self.end(store);
        owed
    }

    /// The row is gone.
    pub(crate) fn forget(&mut self, row: RowId, entity: EntityId, reason: LeaveReason) {
        self.anchors.forget(entity);
        if self.held.remove(row).is_some() {
            self.left.push((entity, reason));
            self.events.forget(row);
        }
    }

    /// Whether all that the session is to see as of now has been put in its last delta, so that it may be told what became
    /// of its writes.
    pub(crate) fn is_told(&self, was_ready: bool) -> bool {
        let is_cut = self.run.is_some() || self.counting.is_running() || self.events.is_cut();
        was_ready && !is_cut && self.left.is_empty()
    }

    /// Whatever the rates of its views, all of them are due until all is shown; a delta says when that is.
    pub(crate) const fn hasten(&mut self) {
        self.is_hastened = true;
    }

    /// Whether its session waits for a delta that shows all.
    pub(crate) const fn is_hastened(&self) -> bool {
        self.is_hastened
    }

    /// Whether it has been told of all that has changed up to now.
    pub(crate) fn shows_all(&self, store: &Store) -> bool {
        let is_new = |lane: &Lane| lane.since < store.last_change();
        self.is_at_rest() && self.left.is_empty() && !self.lanes.iter().any(is_new)
    }

    /// Whether the session takes another delta.
    pub(crate) const fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether there is something to send that waits for nothing but the next publish.
    pub(crate) fn is_owed(&self) -> bool {
        self.ready
            && (self.run.is_some()
                || self.recheck
                || self.is_hastened
                || self.anchors.is_owed()
                || self.flush.is_some()
                || !self.left.is_empty()
                || self.owes_events()
                || (!self.owed.is_empty() && self.lanes.is_empty())
                || self.filled < self.version
                || self.counting.is_owed())
    }

    /// When the next lane is due that has something new to look at; counts changed last at `last_count`.
    pub(crate) fn next_due(&self, last_change: PublishSeq, last_count: PublishSeq) -> Option<Micros> {
        if !self.ready {
            return None;
        }
        let due = |lane: &Lane| if self.is_hastened { 0 } else { lane.due };
        let lanes = self.lanes.iter().filter(|lane| lane.since < last_change).map(due);
        lanes.chain(self.counting.next_due(last_count)).min()
    }

    /// What the session has not been told yet, as far as it fits one delta; `None` if that is nothing, or if it
    /// has not taken its last delta. `pending` is what happened since the last publish, and has been heard.
    pub(crate) fn pump(
        &mut self,
        store: &mut Store,
        now: Micros,
        pending: &[RowEvent],
        limits: &Limits,
    ) -> Option<Delta> {
        if !self.ready {
            return None;
        }
        let frame_bytes_max = limits.frame_bytes_max as usize;
        let mut builder = DeltaBuilder::new(store.clock(), frame_bytes_max);
        builder.reserve(self.events.bytes());
        self.events.begin(pending);
        self.drain_left(&mut builder);
        self.counting.tell(store, now, &mut builder);
        if self.anchors.is_owed() {
            self.anchors.tell(store, &mut builder);
        }
        let run = self.run.take().or_else(|| {
            let run = self.start(store, now, frame_bytes_max)?;
            // At the highest rate that the views have.
            if run.aim.recheck || run.aim.due & 1 != 0 {
                self.anchors.tell(store, &mut builder);
            }
            Some(run)
        });
        let aim = run.as_ref().map(|run| run.aim);
        if let Some(run) = run {
            self.go_on(run, store, now, &mut builder);
        }
        self.tell_events(pending, aim.as_ref(), store, &mut builder, limits);
        let is_cut = self.run.is_some() || self.counting.is_running() || self.events.is_cut();
        builder.delta.more = is_cut || !self.left.is_empty();
        if self.left.is_empty() {
            builder.delta.flushed = self.flush.take();
        }
        builder.delta.shows_all = self.shows_all(store);
        let is_awaited = builder.delta.shows_all && std::mem::take(&mut self.is_hastened);
        if builder.delta.is_empty() && !is_awaited {
            return None;
        }
        self.ready = false;
        Some(builder.delta)
    }

    fn go_on(&mut self, run: Run, store: &mut Store, now: Micros, builder: &mut DeltaBuilder) {
        let Run { aim, mut way } = run;
        self.answer_owed(&aim, store, builder);
        let progress = match &mut way {
            Way::Increment(increment) => self.tell_changes(increment, &aim, store, builder),
            Way::Fill(fill) => self.fill(fill, &aim, store, builder),
        };
        match progress {
            Progress::Done => self.finish(&aim, store, now, builder),
            Progress::Full => self.run = Some(Run { aim, way }),
        }
    }

    /// A run for the lanes that are due, if there is anything to look for.
    fn start(&mut self, store: &Store, now: Micros, frame_bytes_max: usize) -> Option<Run> {
        let mut due = self.due_lanes(store, now);
        let unfilled = self.parts.iter().filter(|part| !part.is_filled);
        due |= unfilled.fold(0, |mask, part| mask | 1 << part.lane);
        let owes = !self.owed.is_empty() && self.lanes.is_empty();
        if due == 0 && !self.recheck && !owes && self.filled == self.version {
            return None;
        }
        let recheck = std::mem::take(&mut self.recheck);
        let aim = Aim { due, stamp: store.publish(), recheck };
        let way = if recheck || self.parts.iter().any(|part| !part.is_filled) {
            Way::Fill(Fill::new(self, &aim))
        } else {
            Way::Increment(Increment::new(self, store, &aim, frame_bytes_max))
        };
        Some(Run { aim, way })
    }

    /// The lanes whose time has come, as far as there is something new to look at.
    fn due_lanes(&self, store: &Store, now: Micros) -> Mask {
        let last_change = store.last_change();
        let is_due = |lane: &Lane| lane.since < last_change && (lane.due <= now || self.is_hastened);
        self.lanes.iter().enumerate().filter(|(_, lane)| is_due(lane)).fold(0, |m, (i, _)| m | 1 << i)
    }

    /// The lanes that are about to be told what changed, if that is all that there is to do.
    pub(super) fn due_for_increment(&self, store: &Store, now: Micros) -> Option<Mask> {
        if !self.ready || self.run.is_some() || self.recheck || self.parts.iter().any(|part| !part.is_filled)
        {
            return None;
        }
        Some(self.due_lanes(store, now)).filter(|due| *due != 0)
    }

    /// As of when all of these lanes have been told; `None`: there are none.
    pub(super) fn oldest(&self, due: Mask) -> Option<PublishSeq> {
        bits(due).map(|lane| self.lanes[lane].since).min()
    }

    fn finish(&mut self, aim: &Aim, store: &Store, now: Micros, builder: &mut DeltaBuilder) {
        bits(aim.due).for_each(|lane| self.lanes[lane].ran(aim.stamp, now));
        let mut fresh: Vec<ViewId> = Vec::new();
        for part in self.parts.iter_mut().filter(|part| !part.is_filled) {
            part.is_filled = true;
            if part.index == 0 {
                fresh.push(part.view.id);
            }
        }
        if aim.recheck {
            self.stances.forget_old();
        }
        if self.filled < self.version {
            self.filled = self.version;
            let counts = fresh.into_iter().map(|view| (view, self.count(store, view))).collect();
            builder.delta.filled = Some(Filled { version: self.version, counts });
        }
    }

    /// Whether a run is under way.
    pub(super) const fn is_running(&self) -> bool {
        self.run.is_some()
    }

    /// Whether all has been told as of when its lanes were told.
    pub(super) fn is_at_rest(&self) -> bool {
        self.run.is_none() && !self.recheck && self.parts.iter().all(|part| part.is_filled)
    }

    /// What is shown of a row; `None`: it is not in view, or (inside) an answer is owed.
    pub(super) fn known_components(&self, id: RowId) -> Option<Option<&[ComponentId]>> {
        let held = self.held.get(id)?;
        Some(self.stances.get(held.stance).map(|stance| &*stance.wanted))
    }

    /// How many conditions it takes to look at one row.
    pub(crate) fn conditions(&self) -> u64 {
        1 + self.parts.iter().map(|part| part.part().constraint.nodes()).sum::<u64>()
    }

    /// How many held entities match a view.
    fn count(&self, store: &Store, view: ViewId) -> u64 {
        let Some(part) = self.parts.iter().find(|p| p.view.id == view && p.index == 0) else { return 0 };
        let rows = self.held.iter().map(|(id, _)| store.row(id));
        rows.filter(|row| store.matches(row, &part.part().constraint)).count() as u64
    }

    fn drain_left(&mut self, builder: &mut DeltaBuilder) {
        while !builder.is_full() {
            let Some(left) = self.left.pop() else { return };
            builder.delta.left.push(left);
            builder.count_id();
        }
    }

    /// Looks at what moved here or is to be shown anew, as far as it is due.
    fn answer_owed(&mut self, aim: &Aim, store: &Store, builder: &mut DeltaBuilder) {
        let owed = std::mem::take(&mut self.owed);
        for &id in &owed {
            if self.held.get(id).is_some_and(Held::is_awaited) && !builder.is_full() {
                self.examine(store, id, aim, builder);
            }
        }
        self.owed = owed;
        self.owed.retain(|id| self.held.get(*id).is_some_and(Held::is_awaited));
    }

    /// Every part, one bit each.
    pub(super) fn all_parts(&self) -> Mask {
        u64::MAX.checked_shr(64 - self.parts.len() as u32).unwrap_or(0)
    }
}

/// The rates of the parts, the highest first; those that were there before go on.
fn lanes_of(views: &[Arc<View>], before: &[Lane]) -> Vec<Lane> {
    let mut intervals: Vec<Micros> =
        views.iter().flat_map(|view| view.parts.iter().map(|part| part.interval_us)).collect();
    intervals.sort_unstable();
    intervals.dedup();
    let lane = |interval| before.iter().find(|lane| lane.interval_us == interval).copied();
    intervals.into_iter().map(|interval| lane(interval).unwrap_or(Lane::new(interval))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_while_the_session_takes_nothing_takes_no_more_room() {
        let session = SessionId(1);
        let mut subscriber = Subscriber::new(SubscriberId(0), session);
        let limits = Limits::default();
        let comes = |subscriber: &mut Subscriber, row| {
            let holder = Holder { session, events: Vec::new(), overlaps: false };
            subscriber.take_over(RowId(row), holder, &limits);
        };
        (0..100).for_each(|row| comes(&mut subscriber, row));
        for turn in 0..10_000 {
            subscriber.hand_over(RowId(turn % 10), EntityId(1)).expect("it is in view");
            comes(&mut subscriber, turn % 10);
            assert!(subscriber.owed.len() <= 200, "{} are noted", subscriber.owed.len());
        }
        subscriber.forget_answered();
        let rows: Vec<u32> = subscriber.owed.iter().map(|row| row.0).collect();
        assert_eq!(rows, (0..100).collect::<Vec<_>>());
    }
}
