//! Layers, the issuer, and workers that write what they own, beside all that goes on in a world anyway.
//!
//! In a world with layers all other writes are a tool's, and a few components belong to layers: sessions of the right type
//! get regions, write those components with what they know, and blindly too.
//!
//! Responsible for: the queues between the issuer, partitions and sessions, and what workers do. Not responsible for: what
//! must hold (`authority::judge`).

mod client;
mod groups;
mod holds;
mod judge;
mod load;
mod players;
mod views;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use spatialdb_core::authority::issuer::{Issuer, IssuerOutbox, Loads, Notice, Patience, Signs, WorkerInfo};
use spatialdb_core::authority::layers::{GridShape, Layer, Layers, Strategy};
use spatialdb_core::authority::leases::{Answer, Order, Seen};
use spatialdb_core::{AuthorityBody, Micros, Outbox, WriteMode};
use spatialdb_types::{ComponentId, EntityId, Epoch, PartitionId, RegionId, Seq, SessionId, SpaceId};

use self::client::Worker;
use self::holds::Holds;
pub(crate) use self::judge::Leases;
use self::judge::Watch;
use self::views::Asked;
pub(crate) use self::views::{Inside, Regions};
use crate::bug::Bug;
use crate::driver::Sim;
use crate::edge::{Column, Message};
use crate::interests::TYPES;
use crate::judge::Failure;
use crate::rng::Rng;
use crate::values::{self, FIELDS, Stamp};
use crate::world::{FIRST_COMPONENT, Plan};

/// Components that layers write: nothing else in the world does.
pub(crate) const OWNED: [ComponentId; 3] = [ComponentId(3000), ComponentId(3001), ComponentId(3002)];

/// The last of them is written by players, in worlds that have a layer of theirs.
const OWNED_BY_PLAYERS: usize = 2;

/// Whether only owners write the component.
pub(crate) fn is_owned(component: ComponentId) -> bool {
    component >= OWNED[0]
}

/// What a world with layers has beside the others.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) layers: Arc<Layers>,
    issuer: Issuer,
    /// As it was at the beginning.
    begun: Issuer,
    rng: Rng,
    orders: Vec<VecDeque<Order>>,
    answers: Vec<VecDeque<Answer>>,
    notices: BTreeMap<SessionId, VecDeque<Notice>>,
    workers: BTreeMap<SessionId, Worker>,
    looks: u64,
    watch: Watch,
    holds: Holds,
    /// On their way from the issuer.
    releases: Vec<(EntityId, ComponentId, Epoch)>,
    asked: Asked,
}

impl Authority {
    /// Layers for one world in three.
    pub(crate) fn new(seed: u64, plan: &Plan) -> Option<Self> {
        let mut rng = Rng::new(seed ^ 0xa074);
        if !rng.one_in(3) {
            return None;
        }
        let spaces: Vec<SpaceId> = (0..plan.spaces).map(SpaceId).collect();
        let layers = Arc::new(layers(&mut rng, plan, &spaces, Rng::new(seed ^ 0x91a7).one_in(3)));
        let partitions = usize::from(plan.map.partitions());
        let stall_after = seed.is_multiple_of(2).then_some(300_000);
        let patience = Patience { rest: 1_000_000, stall_after, ..Patience::default() };
        let issuer = Issuer::new(&layers, &spaces, plan.map.ids(), patience, &plan.limits);
        Some(Self {
            begun: issuer.clone(),
            issuer,
            layers,
            rng,
            orders: (0..partitions).map(|_| VecDeque::new()).collect(),
            answers: (0..partitions).map(|_| VecDeque::new()).collect(),
            notices: BTreeMap::new(),
            workers: BTreeMap::new(),
            looks: 0,
            watch: Watch::default(),
            holds: Holds::default(),
            releases: Vec::new(),
            asked: Asked::new(),
        })
    }

    fn take_in(&mut self, outbox: IssuerOutbox) {
        for (to, order) in outbox.partitions {
            self.orders[usize::from(to.0)].push_back(order);
        }
        self.releases.extend(outbox.releases);
        for (session, notice) in outbox.sessions {
            if let Some(queue) = self.notices.get_mut(&session) {
                queue.push_back(notice);
            }
        }
    }

    /// What layers of this world write.
    fn owned(&self) -> &'static [ComponentId] {
        let has_players = self.layers.all().any(|(_, layer)| layer.is_client());
        if has_players { &OWNED } else { &OWNED[..OWNED_BY_PLAYERS] }
    }

    fn has_mail(&self) -> bool {
        self.orders.iter().any(|orders| !orders.is_empty())
            || self.notices.values().any(|notices| !notices.is_empty())
    }

    fn issue(&mut self, act: impl FnOnce(&mut Issuer, &mut IssuerOutbox)) {
        let mut outbox = IssuerOutbox::default();
        act(&mut self.issuer, &mut outbox);
        self.take_in(outbox);
    }
}

fn layers(rng: &mut Rng, plan: &Plan, spaces: &[SpaceId], has_players: bool) -> Layers {
    let own = ComponentId(FIRST_COMPONENT);
    let both = OWNED[..OWNED_BY_PLAYERS].to_vec();
    let strategy = |rng: &mut Rng| match rng.below(4) {
        0 => Strategy::Single,
        1 => Strategy::Grid(GridShape {
            x: 0.0,
            y: 0.0,
            side_m: plan.side_m / 4.0,
            columns: rng.between(1, 3) as u32,
            rows: rng.between(1, 3) as u32,
        }),
        _ => Strategy::Balanced,
    };
    let worker_type = |rng: &mut Rng| TYPES[rng.index(TYPES.len())];
    let layer = |rng: &mut Rng, name: &str, writes: Vec<ComponentId>| Layer {
        strategy: strategy(rng),
        border_hysteresis_m: *rng.pick(&[0.0, plan.cell_m * 0.2, plan.cell_m]),
        handover_timeout: rng.between(10_000, 500_000),
        load_max: rng.between(2, 30),
        ..Layer::new(name, worker_type(rng), writes)
    };
    let mut all = match rng.below(3) {
        // Both write one component, of different entities.
        0 => {
            let with = Layer { with: vec![own], ..layer(rng, "with", vec![OWNED[0]]) };
            let without = Layer { without: vec![own], ..layer(rng, "without", both) };
            vec![with, without]
        }
        1 => {
            let placed = Layer { with: vec![ComponentId::POSITION], ..layer(rng, "placed", vec![OWNED[0]]) };
            vec![placed, Layer { with: vec![own], ..layer(rng, "own", vec![OWNED[1]]) }]
        }
        _ => vec![layer(rng, "all", both)],
    };
    if has_players {
        all.push(players::layer(rng, own));
    }
    Layers::new(all, spaces, &plan.limits, |component| component.to_string())
        .expect("layers that go together")
}

impl Sim {
    /// The issuer starts: partitions know nothing yet.
    pub(crate) fn start_authority(&mut self) {
        for id in self.plan.map.ids() {
            self.issue(|issuer, outbox| issuer.partition_started(id, outbox));
        }
    }

    /// A partition was restarted.
    pub(crate) fn authority_restarts(&mut self, p: usize) {
        self.issue(|issuer, outbox| issuer.partition_started(PartitionId(p as u16), outbox));
    }

    /// A session has come.
    pub(crate) fn worker_comes(&mut self, a: usize) {
        let Some(authority) = &mut self.authority else { return };
        let (session, worker_type) = (self.actors[a].id, self.actors[a].owner.worker_type.clone());
        let name = self.actors[a].owner.name.clone();
        let regions_max = authority.rng.between(1, 8) as u32;
        authority.notices.insert(session, VecDeque::new());
        authority.workers.insert(session, Worker::default());
        let info = WorkerInfo { worker_type, name, regions_max };
        let now = self.now;
        self.issue(|issuer, outbox| issuer.attach(session, info, now, outbox));
    }

    /// A session is over.
    pub(crate) fn worker_goes(&mut self, session: SessionId) {
        let Some(authority) = &mut self.authority else { return };
        authority.notices.remove(&session);
        authority.workers.remove(&session);
        authority.forget_asked(session);
        let now = self.now;
        self.issue(|issuer, outbox| issuer.detach(session, now, outbox));
    }

    /// What partitions answer the issuer.
    pub(crate) fn send_answers(&mut self, p: usize, answers: Vec<Answer>) {
        let Some(authority) = &mut self.authority else { return };
        authority.answers[p].extend(answers);
    }

    /// Something happens that concerns authority. Returns whether anything did.
    ///
    /// # Errors
    /// What a worker was told out of order, or a judge found.
    pub(crate) fn authority_step(&mut self) -> Result<bool, Failure> {
        let Some(authority) = &mut self.authority else { return Ok(false) };
        match authority.rng.below(100) {
            0..50 => self.authority_delivers(),
            50..70 => self.worker_hears(),
            70..80 => Ok(self.worker_says()),
            80..82 => Ok(self.tool_holds()),
            82..95 => Ok(self.worker_writes(false)),
            95..98 => Ok(self.issuer_looks()),
            _ => Ok(self.issuer_balances()),
        }
    }

    /// Everything that can go on does. Returns whether anything did.
    ///
    /// # Errors
    /// As [`Sim::authority_step`].
    pub(crate) fn settle_authority(&mut self) -> Result<bool, Failure> {
        let mut any = false;
        while self.authority_delivers()? || self.worker_hears()? || self.worker_says() {
            any = true;
        }
        // Who is told that it stood still has gone on when it has heard that.
        Ok(any | self.issuer_looks())
    }

    /// When something under way goes on although nothing else happens.
    pub(crate) fn authority_due(&self) -> Option<Micros> {
        let authority = self.authority.as_ref()?;
        authority.is_busy().then(|| authority.issuer.next_due()).flatten()
    }

    /// A worker is about to send what it owns, or anything.
    fn worker_writes(&mut self, only_own: bool) -> bool {
        let Some(authority) = &mut self.authority else { return false };
        let sessions: Vec<SessionId> = authority.workers.keys().copied().collect();
        if sessions.is_empty() {
            return false;
        }
        let session = *authority.rng.pick(&sessions);
        self.write_owned(session, only_own)
    }

    /// What a worker says that it has processed, as its session understands it.
    pub(crate) fn what_it_saw(&mut self, session: SessionId) -> Seen {
        let worker = self.authority.as_mut().and_then(|authority| authority.workers.get_mut(&session));
        worker
            .map(|worker| worker.table.seen(worker.number).expect("it was told so much"))
            .unwrap_or_default()
    }

    fn write_owned(&mut self, session: SessionId, only_own: bool) -> bool {
        let Some(a) = self.actors.iter().position(|actor| actor.id == session && actor.live) else {
            return false;
        };
        let Some(authority) = &mut self.authority else { return false };
        let owned = authority.owned();
        let (worker, rng) = (&authority.workers[&session], &mut authority.rng);
        let mut own: Vec<(EntityId, ComponentId)> = worker.own(&authority.layers);
        if !only_own && (own.is_empty() || rng.one_in(4)) {
            // Blindly: it is refused, or it has become right meanwhile.
            let all: Vec<EntityId> = self.model.entities.keys().copied().collect();
            own = (0..3).map(|_| (*rng.pick(&all), *rng.pick(owned))).collect();
        }
        if own.is_empty() {
            return false;
        }
        if only_own {
            own.retain(|key| !worker.held.contains_key(key));
        }
        if own.is_empty() {
            return false;
        }
        let component = rng.pick(&own).1;
        own.retain(|(_, c)| *c == component);
        if !only_own {
            let count = rng.between(1, 6) as usize;
            own = (0..count).map(|_| *rng.pick(&own)).collect();
        }
        let mut rows = Vec::new();
        for (entity, _) in own {
            self.stamps += 1;
            let stamp = Stamp { writer: session, number: self.stamps };
            rows.push((entity, values::encode(&values::random_fields(rng, component, stamp, &FIELDS))));
        }
        let seq = Seq(self.actors[a].seq.0 + 1);
        let columns = vec![Column::Values(WriteMode::Add, component, None, rows)];
        self.send_owned(a, &Message { session, seq, columns })
    }

    /// One thing comes to a partition, to the issuer, or to a session.
    fn authority_delivers(&mut self) -> Result<bool, Failure> {
        let Some(authority) = &mut self.authority else { return Ok(false) };
        let orders = (0..authority.orders.len()).filter(|&p| !authority.orders[p].is_empty());
        let answers = (0..authority.answers.len()).filter(|&p| !authority.answers[p].is_empty());
        let notices = authority.notices.iter().filter(|(_, queue)| !queue.is_empty());
        let mut links: Vec<(u8, usize, SessionId)> = orders.map(|p| (0, p, SessionId(0))).collect();
        links.extend(answers.map(|p| (1, p, SessionId(0))));
        links.extend(notices.map(|(session, _)| (2, 0, *session)));
        if links.is_empty() {
            return Ok(false);
        }
        let (kind, p, session) = *authority.rng.pick(&links);
        match kind {
            0 => {
                let mut order = authority.orders[p].pop_front().expect("not empty");
                self.say(|| format!("issuer -> partition {p}: {order:?}"));
                if let Order::Revoke(region, epoch) = order
                    && self.bugs.hits(Bug::LoseRevoke)
                {
                    self.send_answers(p, vec![Answer::Revoked(region, epoch)]);
                    order = Order::Grant(RegionId(0), Epoch(0), SessionId(0));
                }
                if matches!(order, Order::Begin(..)) && self.bugs.hits(Bug::LosePlayer) {
                    return Ok(true);
                }
                let mut outbox = Outbox::default();
                self.partitions[p].order(&order, &mut outbox);
                self.collect(p, outbox);
                self.watch_leases()?;
                self.watch_entities(p, None)?;
            }
            1 => {
                let answer = authority.answers[p].pop_front().expect("not empty");
                self.say(|| format!("partition {p} -> issuer: {answer:?}"));
                let now = self.now;
                self.issue(|issuer, outbox| issuer.answer(PartitionId(p as u16), answer, now, outbox));
            }
            _ => {
                let queue = authority.notices.get_mut(&session).expect("it has one");
                let notice = queue.pop_front().expect("not empty");
                self.say(|| format!("issuer -> session {session}: {notice:?}"));
                if let Some(a) = self.actors.iter().position(|actor| actor.id == session) {
                    self.session_hears(a, notice)?;
                    self.collect_session(a);
                }
            }
        }
        Ok(true)
    }

    /// A worker processes one message.
    fn worker_hears(&mut self) -> Result<bool, Failure> {
        let Some(authority) = &mut self.authority else { return Ok(false) };
        let waiting =
            self.actors.iter().enumerate().filter(|(_, actor)| actor.live && actor.session.has_authority());
        let waiting: Vec<usize> = waiting.map(|(a, _)| a).collect();
        if waiting.is_empty() {
            return Ok(false);
        }
        let a = *authority.rng.pick(&waiting);
        let Some(mut message) = self.actors[a].session.take_authority() else { return Ok(false) };
        let (session, seq) = (self.actors[a].id, self.actors[a].seq);
        if self.bugs.hits(Bug::SeenTooMuch) {
            message.seen.epoch = Epoch(u64::MAX);
            message.seen.gains =
                message.seen.gains.iter().map(|_| spatialdb_types::Revision(u64::MAX)).collect();
        }
        let worker = authority.workers.get_mut(&session).expect("live sessions are workers");
        let what = format!("session {session} hears {message:?}");
        let fresh = match &message.body {
            AuthorityBody::Entities(words) => worker.fresh(words),
            AuthorityBody::Notice(_) | AuthorityBody::Holds(_) => Vec::new(),
        };
        worker.take(&message, seq).map_err(|failure| failure.of_session(session))?;
        self.say(|| what);
        match &message.body {
            AuthorityBody::Notice(notice) => self.judge_warm(a, notice)?,
            AuthorityBody::Entities(_) => self.judge_gained(a, &fresh)?,
            AuthorityBody::Holds(_) => {}
        }
        Ok(true)
    }

    /// A worker's word reaches the issuer.
    fn worker_says(&mut self) -> bool {
        let Some(authority) = &mut self.authority else { return false };
        let mut due: Vec<SessionId> = Vec::new();
        for actor in self.actors.iter().filter(|actor| actor.live) {
            let worker = &authority.workers[&actor.id];
            if worker.said.front().is_some_and(|(seq, _)| actor.session.applied() >= *seq) {
                due.push(actor.id);
            }
        }
        if due.is_empty() {
            return false;
        }
        let session = *authority.rng.pick(&due);
        let worker = authority.workers.get_mut(&session).expect("it is there");
        let (_, said) = worker.said.pop_front().expect("it is due");
        self.say(|| format!("session {session} says {said:?}"));
        let now = self.now;
        self.issue(|issuer, outbox| issuer.hear(session, said, now, outbox));
        true
    }

    /// Workers are heard, whether they go on or not, and time has passed. Returns whether anything came of it.
    fn issuer_looks(&mut self) -> bool {
        let now = self.now;
        let said = |session| {
            let actor = self.actors.iter().find(|actor| actor.id == session);
            actor.map_or(0, |actor| actor.seq.0)
        };
        let Some(authority) = &mut self.authority else { return false };
        let signs = |(session, worker): (&SessionId, &Worker)| {
            let looks = authority.looks;
            (*session, Signs { beats: looks, said: said(*session), tick: worker.number, ..Signs::default() })
        };
        let workers: Vec<_> = authority.workers.iter().map(signs).collect();
        authority.looks += 1;
        self.issue(|issuer, outbox| {
            for (session, signs) in workers {
                issuer.heard(session, now, outbox);
                issuer.noted(session, signs, now, outbox);
            }
            issuer.tick(now, outbox);
        });
        self.authority.as_ref().is_some_and(Authority::has_mail)
    }

    fn issuer_balances(&mut self) -> bool {
        let now = self.now;
        let doublings =
            self.partitions.iter().map(spatialdb_core::Partition::load_doublings).max().unwrap_or(0);
        let mut loads = Loads::default();
        for partition in &mut self.partitions {
            partition.coarsen_load(doublings);
            if partition.add_load_to(&mut loads) {
                partition.coarsen_load(doublings + 1);
            }
        }
        self.issue(|issuer, outbox| issuer.balance(&loads, now, outbox));
        true
    }

    fn issue(&mut self, act: impl FnOnce(&mut Issuer, &mut IssuerOutbox)) {
        if let Some(authority) = &mut self.authority {
            authority.issue(act);
        }
        self.send_releases();
    }
}
