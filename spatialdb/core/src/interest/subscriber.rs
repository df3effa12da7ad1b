//! What one session sees in one partition.
//!
//! Responsible for: which rows the session holds, what of them it has been sent, and which views are due.
//! Not responsible for: finding candidates (`scan`), or other partitions (the session machine).

use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};
use spatialdb_types::{ComponentId, EntityId, SessionId};

use super::scan::Scan;
use super::{Candidates, DeltaBuilder, View};
use crate::Micros;
use crate::message::{Delta, Filled, LeaveReason, Shape};
use crate::partition::{PublishSeq, Row, RowId, SetId, Store};

/// A view that has not been filled.
pub(super) const NEVER: PublishSeq = PublishSeq(0);

/// The views of one session over one partition, and what it holds in view.
#[derive(Debug)]
pub(crate) struct Subscriber {
    session: SessionId,
    pub(super) views: Vec<ActiveView>,
    version: u64,
    filled: u64,
    ready: bool,
    /// The views have changed: every held row is looked at again.
    recheck: bool,
    pub(super) held: IndexMap<RowId, Held, FxBuildHasher>,
    left: Vec<(EntityId, LeaveReason)>,
    flush: Option<u64>,
    scan: Option<Scan>,
    /// What remains of a set of components for the views in the mask.
    filtered: FxHashMap<(SetId, u64), SetId>,
    /// How many conditions it takes to look at one row.
    pub(super) conditions: u64,
    /// How many rows the last full scan looked at.
    pub(super) scan_cost: usize,
}

#[derive(Debug)]
pub(super) struct ActiveView {
    pub(super) view: Arc<View>,
    pub(super) candidates: Vec<Candidates>,
    /// All that matches the view has been sent as of this publish.
    pub(super) since: PublishSeq,
    due: Micros,
}

/// An entity in view.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// The components that were sent; `None`: it moved here and the session is owed an answer.
    set: Option<SetId>,
    sent_at: PublishSeq,
    /// The session's own updates are newer than what was sent: a view that asks for them gets them.
    withheld: bool,
}

impl Subscriber {
    pub(crate) fn new(session: SessionId) -> Self {
        Self {
            session,
            views: Vec::new(),
            version: 0,
            filled: 0,
            ready: true,
            recheck: false,
            held: IndexMap::default(),
            left: Vec::new(),
            flush: None,
            scan: None,
            filtered: FxHashMap::default(),
            conditions: 1,
            scan_cost: 0,
        }
    }

    pub(crate) const fn session(&self) -> SessionId {
        self.session
    }

    pub(crate) const fn ready(&mut self) {
        self.ready = true;
    }

    pub(crate) const fn flush(&mut self, token: u64) {
        self.flush = Some(token);
    }

    pub(crate) fn set_views(&mut self, version: u64, views: &[Arc<View>]) {
        assert!(views.len() <= 64, "session_views_max is at most 64: views are kept in a mask");
        let mut old = std::mem::take(&mut self.views);
        self.views = views
            .iter()
            .map(|view| {
                match old.iter().position(|o| o.view.id == view.id && o.view.version == view.version) {
                    Some(i) => old.swap_remove(i),
                    None => ActiveView {
                        view: view.clone(),
                        candidates: view.constraint.candidates(),
                        since: NEVER,
                        due: 0,
                    },
                }
            })
            .collect();
        self.conditions = 1 + views.iter().map(|view| view.constraint.nodes()).sum::<u64>();
        self.version = version;
        self.recheck = true;
        self.scan = None;
        self.filtered.clear();
    }

    /// The row leaves this partition. Returns whether the session holds it in view.
    pub(crate) fn hand_over(&mut self, row: RowId) -> bool {
        self.held.swap_remove(&row).is_some()
    }

    /// The row came from another partition, where the session held it: it is owed an answer.
    pub(crate) fn take_over(&mut self, row: RowId) {
        self.held.insert(row, Held { set: None, sent_at: NEVER, withheld: false });
        self.recheck |= self.views.is_empty();
    }

    /// The leaves to tell in place of what it has not been told of entities that moved here or are gone.
    pub(crate) fn into_owed(self, store: &Store) -> Vec<(EntityId, LeaveReason)> {
        let unanswered = self.held.iter().filter(|(_, held)| held.set.is_none());
        let moved = unanswered.map(|(&id, _)| (store.row(id).entity, LeaveReason::OutOfView));
        moved.chain(self.left.iter().copied()).collect()
    }

    /// The row is gone.
    pub(crate) fn forget(&mut self, row: RowId, entity: EntityId, reason: LeaveReason) {
        if self.held.swap_remove(&row).is_some() {
            self.left.push((entity, reason));
        }
    }

    /// Whether all that the session is to see as of now has been put in its last delta, so that it may be told what became
    /// of its writes.
    pub(crate) const fn is_told(&self, was_ready: bool) -> bool {
        was_ready && self.scan.is_none() && self.left.is_empty()
    }

    /// Whether the session takes another delta.
    pub(crate) const fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether there is something to send that waits for nothing but the next publish.
    pub(crate) fn is_owed(&self) -> bool {
        self.ready
            && (self.scan.is_some()
                || self.recheck
                || self.flush.is_some()
                || !self.left.is_empty()
                || self.filled < self.version)
    }

    /// When the next view is due that has something new to look at.
    pub(crate) fn next_due(&self, last_change: PublishSeq) -> Option<Micros> {
        if !self.ready {
            return None;
        }
        self.views.iter().filter(|v| v.since < last_change).map(|v| v.due).min()
    }

    /// What the session has not been told yet, as far as it fits one delta; `None` if that is nothing, or if it
    /// has not taken its last delta.
    pub(crate) fn pump(&mut self, store: &mut Store, now: Micros, frame_bytes_max: usize) -> Option<Delta> {
        if !self.ready {
            return None;
        }
        let mut builder = DeltaBuilder::new(store.clock(), frame_bytes_max);
        self.drain_left(&mut builder);
        let scan = self.scan.take().or_else(|| self.start(store, now));
        if let Some(mut scan) = scan {
            if self.run(&mut scan, store, &mut builder) {
                self.finish(&scan, store, now, &mut builder);
            } else {
                self.scan = Some(scan);
            }
        }
        builder.delta.more = self.scan.is_some() || !self.left.is_empty();
        if self.left.is_empty() {
            builder.delta.flushed = self.flush.take();
        }
        if builder.delta.is_empty() {
            return None;
        }
        self.ready = false;
        Some(builder.delta)
    }

    /// Looks at one row, and tells what the session does not know of it.
    pub(super) fn examine(&mut self, store: &mut Store, id: RowId, builder: &mut DeltaBuilder) {
        builder.spend(self.conditions);
        let mask = self.mask(store, store.row(id));
        let held = self.held.get(&id).copied();
        if mask == 0 {
            if held.is_some() {
                self.held.swap_remove(&id);
                builder.delta.left.push((store.row(id).entity, LeaveReason::OutOfView));
                builder.count_id();
            }
            return;
        }
        let set = self.filtered_set(store, store.row(id).set(), mask);
        let row = store.row(id);
        let known = held.and_then(|h| h.set);
        let wants_own = self.wants_own(mask);
        let withheld = held.is_some_and(|h| h.withheld);
        let catches_up = withheld && wants_own;
        if known == Some(set) && !catches_up && held.is_some_and(|h| h.sent_at >= row.changed_at) {
            return;
        }
        if known != Some(set) {
            let shape = Shape { entity: row.entity, components: store.tables.get(set).components.clone() };
            let delta = &mut builder.delta;
            match (held, known) {
                (None, _) => delta.entered.push(shape),
                (Some(_), None) => delta.arrived.push(shape),
                (Some(_), Some(_)) => delta.reshaped.push(shape),
            }
            builder.count_id();
        }
        let whole = known.is_none();
        let sent = Sent {
            since: if whole || catches_up { NEVER } else { held.map_or(NEVER, |h| h.sent_at) },
            known: known.map(|k| store.tables.get(k).components.clone()),
            wanted: &store.tables.get(set).components,
            skip_writer: (!whole && !wants_own).then_some(self.session),
        };
        let withheld = sent.tell(store, row, builder) || (withheld && !whole && !catches_up);
        self.held.insert(id, Held { set: Some(set), sent_at: store.publish(), withheld });
    }

    /// Which views the row matches, one bit each.
    pub(super) fn mask(&self, store: &Store, row: &Row) -> u64 {
        let subject = store.subject(row);
        let matching = self.views.iter().enumerate().filter(|(_, v)| v.view.constraint.matches(&subject));
        matching.fold(0, |mask, (i, _)| mask | 1 << i)
    }

    fn wants_own(&self, mask: u64) -> bool {
        self.views.iter().enumerate().any(|(i, v)| mask & (1 << i) != 0 && v.view.own_updates)
    }

    fn filtered_set(&mut self, store: &mut Store, set: SetId, mask: u64) -> SetId {
        let matching =
            || self.views.iter().enumerate().filter(|(i, _)| mask & (1 << i) != 0).map(|(_, v)| &v.view);
        if matching().any(|view| view.components.is_empty()) {
            return set;
        }
        if let Some(&filtered) = self.filtered.get(&(set, mask)) {
            return filtered;
        }
        let all = store.tables.get(set).components.clone();
        let wanted: Vec<ComponentId> =
            all.iter().copied().filter(|&c| matching().any(|v| v.wants(c))).collect();
        let filtered = store.tables.intern(&wanted);
        self.filtered.insert((set, mask), filtered);
        filtered
    }

    fn drain_left(&mut self, builder: &mut DeltaBuilder) {
        while !builder.is_full() {
            let Some(left) = self.left.pop() else { return };
            builder.delta.left.push(left);
            builder.count_id();
        }
    }

    /// A scan for the views that are due, if there is anything to look for.
    fn start(&mut self, store: &Store, now: Micros) -> Option<Scan> {
        let last_change = store.last_change();
        let is_due = |v: &ActiveView| v.since == NEVER || (v.since < last_change && v.due <= now);
        let due: Vec<usize> = (0..self.views.len()).filter(|&i| is_due(&self.views[i])).collect();
        if due.is_empty() && !self.recheck && self.filled == self.version {
            return None;
        }
        let recheck = std::mem::take(&mut self.recheck);
        Some(Scan::new(self, store, due, recheck))
    }

    fn finish(&mut self, scan: &Scan, store: &Store, now: Micros, builder: &mut DeltaBuilder) {
        let mut fresh = Vec::new();
        for &i in &scan.due {
            let view = &mut self.views[i];
            if view.since == NEVER {
                fresh.push(i);
            }
            view.since = scan.stamp;
            view.due = now.saturating_add(view.view.interval_us);
        }
        if self.filled < self.version {
            self.filled = self.version;
            let counts = fresh.into_iter().map(|i| (self.views[i].view.id, self.count(store, i))).collect();
            builder.delta.filled = Some(Filled { version: self.version, counts });
        }
    }

    fn count(&self, store: &Store, view: usize) -> u64 {
        let constraint = &self.views[view].view.constraint;
        let rows = self.held.keys().map(|&id| store.row(id));
        rows.filter(|row| constraint.matches(&store.subject(row))).count() as u64
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum IsOwn {
    Yes,
    No,
}

/// What of a row has been sent and what is wanted.
struct Sent<'a> {
    since: PublishSeq,
    known: Option<Arc<[ComponentId]>>,
    wanted: &'a [ComponentId],
    skip_writer: Option<SessionId>,
}

/// What there is to say of a component.
enum News {
    Nothing,
    /// Only what the session wrote itself.
    Own,
    Value,
}

impl Sent<'_> {
    /// Returns whether something is not told because the session wrote it.
    fn tell(&self, store: &Store, row: &Row, builder: &mut DeltaBuilder) -> bool {
        let mut withheld = false;
        if let Some(at) = row.position() {
            match self.news(
                ComponentId::POSITION,
                row.position_changed_at,
                self.is_own(row.position_writer, NEVER),
            ) {
                News::Nothing => {}
                News::Own => withheld = true,
                News::Value => builder.position(row.entity, row.position_revision, at),
            }
        }
        for (component, slot) in store.slots(row) {
            match self.news(component, slot.changed_at, self.is_own(slot.writer, slot.foreign_at)) {
                News::Nothing => {}
                News::Own => withheld = true,
                News::Value => builder.value(component, row.entity, slot.revision, &slot.value),
            }
        }
        withheld
    }

    /// Whether the session wrote the value itself, knowing what it wrote over.
    fn is_own(&self, writer: SessionId, foreign_at: PublishSeq) -> IsOwn {
        let is_own = self.skip_writer == Some(writer) && foreign_at <= self.since;
        if is_own { IsOwn::Yes } else { IsOwn::No }
    }

    fn news(&self, component: ComponentId, changed_at: PublishSeq, is_own: IsOwn) -> News {
        if self.wanted.binary_search(&component).is_err() {
            return News::Nothing;
        }
        let was_sent = self.known.as_ref().is_some_and(|known| known.binary_search(&component).is_ok());
        match was_sent {
            true if changed_at <= self.since => News::Nothing,
            true if is_own == IsOwn::Yes => News::Own,
            _ => News::Value,
        }
    }
}
