//! A partition: the entities of its boxes of space, and the single order in which they change.
//!
//! Responsible for: applying batches in order, moves between partitions, and saying what each session's views see.
//! Not responsible for: threads, pacing, the wire, or which session is to own what.

mod answer;
mod apply;
mod authority;
mod capturing;
mod census;
mod changes;
mod commits;
mod cut;
mod events;
mod explain;
mod grid;
mod interests;
mod moves;
mod publish;
mod query;
mod refusals;
mod restoring;
mod rounds;
mod row_bits;
mod row_map;
mod store;
mod sweeping;
mod table;

use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};
use spatialdb_types::{EntityId, Incarnation, Limits, PartitionId, Revision, SessionId};

pub use self::answer::{HitRef, QueryAnswer};
pub use self::capturing::CaptureSlice;
pub(crate) use self::census::{Area, Census, KindId, Square, TOP_LEVEL, UNTYPED};
pub(crate) use self::changes::EVERYWHERE;
pub(crate) use self::events::RowEvent;
pub use self::explain::Explained;
pub(crate) use self::grid::{CellKey, CellRange, CellRow, Grid, NOWHERE};
pub use self::query::{EntityState, Query};
pub use self::refusals::{Cause, Refused};
pub use self::restoring::RestoreError;
pub use self::rounds::{RoundEnd, RoundSlice};
pub(crate) use self::store::{PublishSeq, Row, RowId, Store};
pub(crate) use self::table::SetId;
use self::table::Slot;
use crate::columns::{Batch, CreateRows};
use crate::interest::{Subscriber, SubscriberIds, Sweep, ViewSet};
use crate::log::Classes;
use crate::message::{Outbox, Outcome, ToSession};
use crate::world::PartitionMap;
use crate::{LeaveReason, Micros};

/// Where one way of doing the same thing gives way to another. It changes what things cost and when, never what is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// From how many (row, watcher) pairs on sharing a cell's rows costs less than telling each to each.
    pub share_from: usize,
    /// How many departures a cell remembers beside as many as it has rows.
    pub departures_kept: usize,
    /// Of a cell with more rows those that changed are listed.
    pub looked_through: usize,
    /// Unless one in so many changes.
    pub rows_per_listed: usize,
    /// What changed is looked for together for all who look at cells, if no more than so many cells have to be gone through
    /// for each one that somebody looks at.
    pub sweep_cells_max: usize,
    /// How many cells a part of a view notes one by one.
    pub part_cells_max: u64,
    /// Beyond so many bytes of answers in one cut the other queries are postponed.
    pub answer_bytes_at_once: usize,
    /// How many rows a census counts for the first time in one publish.
    pub counted_at_once: u32,
    /// How many squares that became empty a census remembers beside as many as there are.
    pub emptied_kept: usize,
    /// From how many entities on that a session remembers to have left, it asks partitions that say nothing whether older
    /// news of them may come.
    pub tombstones_many: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            share_from: 16,
            departures_kept: 16,
            looked_through: 64,
            rows_per_listed: 8,
            sweep_cells_max: 4,
            part_cells_max: 1024,
            answer_bytes_at_once: 16 << 20,
            counted_at_once: 1 << 16,
            emptied_kept: 4096,
            tombstones_many: 256,
        }
    }
}

/// One storage shard, as a state machine.
#[derive(Debug)]
pub struct Partition {
    id: PartitionId,
    map: Arc<PartitionMap>,
    limits: Limits,
    store: Store,
    moves: moves::Moves,
    cuts: cut::Cuts,
    interests: interests::Interests,
    events: events::Pending,
    /// `None`: the world is open, any worker may write anything.
    authority: Option<Box<authority::Authority>>,
    subscribers: IndexMap<SessionId, Subscriber, FxBuildHasher>,
    subscriber_ids: SubscriberIds,
    sweep: Sweep,
    outcomes: IndexMap<SessionId, Outcome, FxBuildHasher>,
    /// The last refused writes; `None`: there was none.
    refusals: Option<Box<refusals::Refusals>>,
    /// As the driver told the time last.
    now: Micros,
    /// Of how many rows the outcomes of sessions without views tell.
    untold_rows: u64,
    /// After a restart, until the session is greeted: leaves that it was not told of.
    owed: IndexMap<SessionId, Vec<(EntityId, LeaveReason)>, FxBuildHasher>,
    /// Departed entities and where they went, until the move is settled.
    departed: FxHashMap<EntityId, PartitionId>,
    updates_applied: u64,
    incarnation: Incarnation,
    /// How many shadow checks there were.
    shadow_turn: u64,
    /// Where the entities of the column are that is being applied.
    places: Vec<apply::Place>,
    /// What waits for the disk.
    commits: commits::Commits,
    round: rounds::Round,
    capture: capturing::Capture,
    /// Which promise holds for which component; if there is a log.
    classes: Arc<Classes>,
    /// `None`: nothing is written to a log.
    sweeping: Option<Box<sweeping::Sweeping>>,
}

impl Partition {
    /// An empty partition of the map.
    pub fn new(id: PartitionId, map: Arc<PartitionMap>, limits: Limits) -> Self {
        let store = Store::new(map.cell_m());
        Self {
            id,
            map,
            limits,
            store,
            moves: moves::Moves::default(),
            cuts: cut::Cuts::default(),
            interests: interests::Interests::default(),
            events: events::Pending::default(),
            authority: None,
            subscribers: IndexMap::default(),
            subscriber_ids: SubscriberIds::default(),
            sweep: Sweep::default(),
            outcomes: IndexMap::default(),
            refusals: None,
            now: 0,
            untold_rows: 0,
            owed: IndexMap::default(),
            departed: FxHashMap::default(),
            updates_applied: 0,
            incarnation: Incarnation(1),
            shadow_turn: 0,
            places: Vec::new(),
            commits: commits::Commits::default(),
            round: rounds::Round::default(),
            capture: capturing::Capture::default(),
            classes: Arc::default(),
            sweeping: None,
        }
    }

    /// Replaces what is tuned by default.
    pub fn tune(&mut self, tuning: Tuning) {
        self.store.grid.tuning = tuning;
    }

    /// Which partition of the world this is.
    pub const fn id(&self) -> PartitionId {
        self.id
    }

    /// The revision counter: every revision given so far is at most this.
    pub const fn clock(&self) -> Revision {
        self.store.clock()
    }

    /// How many entities are here.
    pub fn entity_count(&self) -> usize {
        self.store.len()
    }

    /// How many cells hold an entity.
    pub fn cell_count(&self) -> usize {
        self.store.grid.occupied_count()
    }

    /// How many squares of all sizes entities are counted in; 0 unless a view asks for densities.
    pub fn square_count(&self) -> usize {
        self.store.census.as_ref().map_or(0, |census| census.square_count())
    }

    /// How many rows of client messages were applied so far.
    pub const fn updates_applied(&self) -> u64 {
        self.updates_applied
    }

    /// How many entities have left whose moves have not settled.
    pub fn moves_in_flight(&self) -> usize {
        self.departed.len()
    }

    /// Whether batches from outside may be given to [`Partition::apply`]. If not, only peers' messages and fences
    /// may be, until moves have settled.
    pub fn accepts_work(&self) -> bool {
        (self.departed.len() as u64) < self.limits.partition_moves_in_flight_max
            && self.moves.parked_rows() + self.commits.rows() < self.limits.partition_writes_parked_max
    }

    /// Whether nothing is on its way between this partition and others, or to the disk, as far as it knows.
    pub fn is_calm(&self) -> bool {
        self.departed.is_empty() && self.moves.parked_rows() == 0 && self.commits.is_empty()
    }

    /// Loads entities at launch. They must lie in this partition.
    ///
    /// # Errors
    /// The ids that exist already; they keep their first state.
    pub fn load(&mut self, rows: &CreateRows) -> Result<(), Vec<EntityId>> {
        let mut doubled = Vec::new();
        let authority = &mut self.authority;
        apply::create_each(&mut self.store, rows, SessionId(0), |store, _, entity, created| {
            match (created, &mut *authority) {
                (None, _) => doubled.push(entity),
                (Some(id), Some(authority)) => authority.created(store, id),
                (Some(_), None) => {}
            }
        });
        self.interests.note_created(rows);
        if doubled.is_empty() { Ok(()) } else { Err(doubled) }
    }

    /// Makes room for entities that are about to be loaded.
    pub fn reserve(&mut self, entities: usize) {
        self.store.reserve(entities);
    }

    /// Replaces the views of a session. `version` rises with each call for the session.
    pub fn set_views(&mut self, session: SessionId, version: u64, views: &ViewSet) {
        let ids = &mut self.subscriber_ids;
        let subscriber =
            self.subscribers.entry(session).or_insert_with(|| Subscriber::new(ids.take(), session));
        subscriber.set_views(version, views, &mut self.store);
    }

    /// The session has taken the last delta: it may be given another one. Returns when, if nothing else happens; 0: at the
    /// next publish; `None`: there is nothing to tell it.
    pub fn ready(&mut self, session: SessionId) -> Option<Micros> {
        let (change, count) = self.last_changes();
        let subscriber = self.subscribers.get_mut(&session)?;
        subscriber.ready();
        let is_owed = subscriber.is_owed() || self.outcomes.contains_key(&session);
        if is_owed { Some(0) } else { subscriber.next_due(change, count) }
    }

    /// Its views are shown all, whatever their rates; a delta says when that is done.
    pub fn show_all(&mut self, session: SessionId) {
        if let Some(subscriber) = self.subscribers.get_mut(&session) {
            subscriber.hasten();
        }
    }

    /// Asks for `token` back in a delta that follows all that was sent before.
    pub fn flush(&mut self, session: SessionId, token: u64, outbox: &mut Outbox) {
        match self.subscribers.get_mut(&session) {
            Some(subscriber) => subscriber.flush(token),
            None => {
                let (store, clock) = (&self.store, self.store.clock());
                let delta = Some(Box::new(crate::Delta {
                    clock,
                    shows_all: true,
                    flushed: Some(token),
                    ..Default::default()
                }));
                let news =
                    self.authority.as_mut().and_then(|authority| authority.take_news(session, store, true));
                outbox.sessions.push((session, ToSession { delta, authority: news, ..Default::default() }));
            }
        }
    }

    /// The session is over.
    pub fn end_session(&mut self, session: SessionId) {
        if let Some(subscriber) = self.subscribers.swap_remove(&session) {
            self.subscriber_ids.give_back(subscriber.id());
            subscriber.end(&mut self.store);
        }
        self.outcomes.swap_remove(&session);
        self.owed.swap_remove(&session);
        if let Some(authority) = &mut self.authority {
            authority.end_session(session);
        }
    }

    /// Comes up again after a crash of its process, with what was stored: the entities, moves and decisions, but
    /// not who was looking, nor events, nor who owns what. Every session must be told by [`Partition::greet`].
    pub fn restart(&mut self) {
        for (session, subscriber) in self.subscribers.drain(..) {
            self.subscriber_ids.give_back(subscriber.id());
            self.owed.entry(session).or_default().extend(subscriber.into_owed(&mut self.store));
        }
        self.cuts.forget_answer();
        self.interests.restart();
        self.events.clear();
        self.commits.forget_orders();
        if let Some(authority) = &mut self.authority {
            authority.restart();
        }
        self.incarnation.0 += 1;
    }

    /// Tells a session that this partition was restarted, and gives it the answers that it is owed for entities that
    /// moved here: only this partition can. What is still in view enters again.
    pub fn greet(&mut self, session: SessionId, outbox: &mut Outbox) {
        let left = self.owed.swap_remove(&session).unwrap_or_default();
        let delta = crate::Delta { clock: self.store.clock(), left, ..Default::default() };
        let delta = (!delta.is_empty()).then(|| Box::new(delta));
        let restarted = Some(self.incarnation);
        outbox.sessions.push((session, ToSession { delta, restarted, ..Default::default() }));
    }

    /// Ends the view of an entity that is deleted here, for everybody who holds it.
    fn forget_everywhere(&mut self, row: RowId, entity: EntityId) {
        for subscriber in self.subscribers.values_mut() {
            subscriber.forget(row, entity, LeaveReason::Deleted);
        }
    }

    /// Whether the last changes have not been published to anybody yet.
    pub fn has_unpublished(&self) -> bool {
        !self.store.dirty().is_empty()
            || self.interests.has_news()
            || !self.events.all().is_empty()
            || self.authority.as_ref().is_some_and(|authority| authority.has_news())
            || self.outcomes.keys().any(|session| self.may_tell(*session))
            || self.store.census.as_ref().is_some_and(|census| census.is_pending())
            || self.subscribers.values().any(Subscriber::is_owed)
    }

    /// When a view is due although nothing else happens; `None`: nobody waits.
    pub fn next_due(&self) -> Option<Micros> {
        let (change, count) = self.last_changes();
        self.subscribers.values().filter_map(|s| s.next_due(change, count)).min()
    }

    /// Of entities, and of counts.
    fn last_changes(&self) -> (PublishSeq, PublishSeq) {
        let counted = self.store.census.as_ref().map_or(PublishSeq(0), |census| census.last_change());
        (self.store.last_change(), counted)
    }

    /// Whether the session may be told what became of its writes at the next publish.
    fn may_tell(&self, session: SessionId) -> bool {
        self.subscribers.get(&session).is_none_or(Subscriber::is_ready)
    }

    fn note_decided(&mut self, batch: &Batch, rows: u32) {
        if rows > 0 {
            if !self.subscribers.contains_key(&batch.session) {
                self.untold_rows += u64::from(rows);
            }
            self.outcomes.entry(batch.session).or_default().decided.push((batch.seq, rows));
        }
    }
}
