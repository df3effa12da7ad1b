//! One entity that crosses the border of two regions and of two partitions, in any order, near the border and far from it,
//! while what its owners are told is on the way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use spatialdb_core::authority::layers::{Layer, Layers};
use spatialdb_core::authority::leases::{Carried, Crossing, Lease, LeaseTable, Order, Seen, Table, Writer};
use spatialdb_core::authority::tiling::{Axis, Cut, Half, Tiling};
use spatialdb_types::{
    ComponentId, EntityId, Epoch, Limits, PartitionId, Position, RegionId, Revision, SessionId,
};
use stateright::{Model, Property};

use crate::world::{LAYER, SPACE};

const ENTITY: EntityId = EntityId(9);
const HP: ComponentId = ComponentId(1000);

/// Where it may be: x, and in which partition. The border of the regions is at 0, with a hysteresis of 10 m.
const PLACES: [(f64, usize); 6] = [(-50.0, 0), (5.0, 0), (50.0, 0), (-50.0, 1), (-5.0, 1), (50.0, 1)];

/// Something wrong that the model must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Shortcut {
    /// A partition does not ask whether the writer knew that it owns the entity.
    GainsUnseen,
    /// A partition forgets a gain while older writes of its owner may still come.
    ForgetsEarly,
    /// A gain that was not told before the entity left its partition is not told by the next one.
    GainsUntold,
}

/// The model: so many moves of the entity.
pub(crate) struct Walk {
    pub(crate) moves: u8,
    pub(crate) shortcut: Option<Shortcut>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    tables: [LeaseTable; 2],
    clocks: [Revision; 2],
    /// Up to where each partition has told what there was to tell.
    told: [Revision; 2],
    place: usize,
    flying: Option<(Carried, Revision)>,
    /// What partitions have to tell at their next publish.
    pending: [Vec<(SessionId, News)>; 2],
    news: BTreeMap<(usize, SessionId), VecDeque<News>>,
    workers: BTreeMap<SessionId, Worker>,
    /// Every write that there could be: by whom, what it had seen, what it believed.
    writes: BTreeSet<(SessionId, [Revision; 2], u32)>,
    /// Who owns the entity, and how often that changed.
    owner: Option<SessionId>,
    tenure: u32,
    moves: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct News {
    clock: Revision,
    /// It owns the entity now; `None`: not any more.
    tenure: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Worker {
    belief: Option<u32>,
    /// Of what it was told, the latest counts, whichever partition said it.
    as_of: Revision,
    seen: [Revision; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Move(usize),
    Land,
    Publish(usize),
    Hear(usize, SessionId),
    /// The worker writes something else, which reaches the entity's partition after all that it wrote before.
    Write(SessionId),
}

impl State {
    fn new(moves: u8) -> Self {
        let layer = Layer { border_hysteresis_m: 10.0, ..Layer::new("l", "t", vec![HP]) };
        let layers = Layers::new(vec![layer], &[SPACE], &Limits::default(), |c| c.to_string());
        let layers = Arc::new(layers.expect("one layer"));
        let (west, east) = (RegionId(1), RegionId(2));
        let (ann, bob) = (SessionId(1), SessionId(2));
        let mut tiling = Tiling::new(west);
        tiling.split(west, Cut { axis: Axis::X, at: 0.0 }, east, Half::High).expect("split");
        let leases = vec![(west, Lease::granted(Epoch(1), ann)), (east, Lease::granted(Epoch(2), bob))];
        let tilings = BTreeMap::from([((LAYER, SPACE), Arc::new(tiling))]);
        let all = Arc::new(Table { tilings, nowhere: BTreeMap::new(), players: BTreeMap::new(), leases });
        let tables = [0, 1].map(|partition| {
            let mut table = LeaseTable::new(PartitionId(partition), Arc::clone(&layers));
            table.obey(&Order::Reset(1, Arc::clone(&all)));
            table
        });
        let owns = Worker { belief: Some(1), ..Worker::default() };
        let mut state = Self {
            tables,
            clocks: Default::default(),
            told: Default::default(),
            place: 0,
            flying: None,
            pending: Default::default(),
            news: BTreeMap::new(),
            workers: BTreeMap::from([(ann, owns), (bob, Worker::default())]),
            writes: BTreeSet::new(),
            owner: Some(ann),
            tenure: 1,
            moves,
        };
        state.note_writes();
        state
    }

    fn partition(&self) -> usize {
        PLACES[self.place].1
    }

    fn travel(&mut self, to: usize) {
        let (from, at) = (self.partition(), position(to));
        self.clocks[from].0 += 1;
        let now = self.clocks[from];
        let crossing = self.tables[from].moved(ENTITY, LAYER, position(self.place), at, now);
        self.place = to;
        self.note_owner(from);
        self.note_news(from, crossing);
        if self.partition() != from {
            let regions = self.tables[from].regions_of(ENTITY, [LAYER], at);
            let carried = self.tables[from].take(ENTITY, regions, |_| self.told[from]);
            // The next partition tells who gained it.
            self.pending[from].retain(|(_, news)| news.tenure.is_none());
            self.flying = Some((carried, now));
        }
    }

    fn land(&mut self, shortcut: Option<Shortcut>) {
        let Some((carried, clock)) = self.flying.take() else { return };
        let to = self.partition();
        self.clocks[to] = Revision(self.clocks[to].max(clock).0 + 1);
        let crossings = self.tables[to].arrive(ENTITY, &carried, position(self.place), self.clocks[to]);
        self.note_owner(to);
        let told = crossings.into_iter().filter(|_| shortcut != Some(Shortcut::GainsUntold));
        told.for_each(|crossing| self.note_news(to, Some(crossing)));
    }

    fn publish(&mut self, partition: usize) {
        self.told[partition] = self.clocks[partition];
        for (session, news) in std::mem::take(&mut self.pending[partition]) {
            self.news.entry((partition, session)).or_default().push_back(news);
        }
    }

    fn hear(&mut self, partition: usize, session: SessionId) {
        let Some(queue) = self.news.get_mut(&(partition, session)) else { return };
        let Some(news) = queue.pop_front() else { return };
        if queue.is_empty() {
            self.news.remove(&(partition, session));
        }
        let Some(worker) = self.workers.get_mut(&session) else { return };
        worker.seen[partition] = worker.seen[partition].max(news.clock);
        if news.clock > worker.as_of {
            (worker.as_of, worker.belief) = (news.clock, news.tenure);
        }
    }

    fn note_owner(&mut self, partition: usize) {
        let table = &self.tables[partition];
        let region = table.region_of(ENTITY, LAYER, position(self.place)).expect("known");
        let owner = table.slot(region).and_then(|slot| table.lease(slot).owner);
        if owner != self.owner {
            (self.owner, self.tenure) = (owner, self.tenure + 1);
        }
    }

    fn note_news(&mut self, partition: usize, crossing: Option<Crossing>) {
        let Some(Crossing { from, to, is_gain, .. }) = crossing else { return };
        let clock = self.clocks[partition];
        let loser = from.and_then(|(_, lease)| lease.owner).filter(|loser| Some(*loser) != to.1.owner);
        self.pending[partition].extend(loser.map(|loser| (loser, News { clock, tenure: None })));
        let gainer = to.1.owner.filter(|_| is_gain);
        let gained = News { clock, tenure: Some(self.tenure) };
        self.pending[partition].extend(gainer.map(|gainer| (gainer, gained)));
    }

    fn note_writes(&mut self) {
        for (session, worker) in &self.workers {
            self.writes.extend(worker.belief.map(|tenure| (*session, worker.seen, tenure)));
        }
    }

    /// Whether a write is accepted where the entity is.
    fn accepts(&self, session: SessionId, seen: [Revision; 2]) -> bool {
        let table = &self.tables[self.partition()];
        let place = table.slot_at(LAYER, position(self.place));
        let seen = Seen { epoch: Epoch(2), gains: Arc::new(seen) };
        table.check_apart(ENTITY, LAYER, HP, place, &Writer { session, seen }).is_ok()
    }
}

impl Model for Walk {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.moves)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.flying.is_some() {
            actions.push(Action::Land);
        } else if state.moves > 0 {
            actions.extend((0..PLACES.len()).filter(|place| *place != state.place).map(Action::Move));
        }
        actions.extend((0..2).filter(|p| !state.pending[*p].is_empty()).map(Action::Publish));
        actions.extend(state.news.keys().map(|(partition, session)| Action::Hear(*partition, *session)));
        if state.flying.is_none() {
            actions.extend(state.workers.keys().copied().map(Action::Write));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Move(place) => {
                state.moves -= 1;
                state.travel(place);
            }
            Action::Land => state.land(self.shortcut),
            Action::Publish(partition) => state.publish(partition),
            Action::Hear(partition, session) => state.hear(partition, session),
            Action::Write(session) => {
                let own = state.workers[&session].seen;
                let seen = Seen { epoch: Epoch(2), gains: Arc::new(own) };
                let partition = state.partition();
                state.tables[partition].seen(session, &seen, |_| true);
                let is_older = |who: SessionId, seen: &[Revision; 2]| who == session && *seen != own;
                if self.shortcut != Some(Shortcut::ForgetsEarly) {
                    state.writes.retain(|(who, seen, _)| !is_older(*who, seen));
                }
            }
        }
        state.note_writes();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing late is accepted", |walk: &Self, state: &State| {
                let all_seen = walk.shortcut == Some(Shortcut::GainsUnseen);
                let seen = |seen| if all_seen { [Revision(u64::MAX); 2] } else { seen };
                let late = state.writes.iter().filter(|(_, _, tenure)| *tenure != state.tenure);
                state.flying.is_some()
                    || late.into_iter().all(|(who, with, _)| !state.accepts(*who, seen(*with)))
            }),
            Property::always("who was told is accepted", |_, state: &State| {
                let knows = state.workers.iter().filter(|(_, worker)| worker.belief == Some(state.tenure));
                state.flying.is_some()
                    || knows.into_iter().all(|(who, worker)| state.accepts(*who, worker.seen))
            }),
            Property::always("its owner gets to know", |_, state: &State| {
                let is_at_rest = state.flying.is_none()
                    && state.news.is_empty()
                    && state.pending.iter().all(Vec::is_empty);
                let belief = |session: &SessionId| (state.owner == Some(*session)).then_some(state.tenure);
                !is_at_rest || state.workers.iter().all(|(session, worker)| worker.belief == belief(session))
            }),
            Property::sometimes("it keeps its owner beyond the border", |_, state: &State| {
                state.place == 1 && state.owner == Some(SessionId(1)) && state.tables[0].apart_count() == 1
            }),
            Property::sometimes("a write from an earlier ownership is refused", |_, state: &State| {
                let owner = state.owner;
                let late = state
                    .writes
                    .iter()
                    .filter(|(who, _, tenure)| Some(*who) == owner && *tenure < state.tenure);
                state.flying.is_none() && late.into_iter().any(|(who, seen, _)| !state.accepts(*who, *seen))
            }),
            Property::sometimes("nothing is special in the end", |_, state: &State| {
                state.moves == 0
                    && state.tenure > 2
                    && state.tables.iter().all(|table| table.apart_count() == 0)
            }),
        ]
    }
}

fn position(place: usize) -> Option<Position> {
    Some(Position::new(SPACE, PLACES[place].0, 0.0, 0.0))
}
