//! The issuer of a running world: who owns which region, and whoever is to know.
//!
//! Responsible for: giving the issuer the time, what partitions answer and what workers say; and carrying what it wants sent,
//! in its order. Not responsible for: what it decides (`spatialdb_core::authority`), or checking writes (the partition does).

mod picture;
mod timing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use spatialdb_core::authority::issuer::{
    Border, Issuer, IssuerOutbox, Loads, LossReason, Memory, Notice, Said, Signs, WorkerInfo,
};
use spatialdb_core::authority::layers::Layers;
use spatialdb_core::authority::leases::Answer;
use spatialdb_core::{Batch, HoldAct, HoldWrites, Micros, Op, Role};
use spatialdb_types::{ComponentId, EntityId, Epoch, LayerId, PartitionId, RegionId, Seq, SessionId};
use tokio::sync::{oneshot, watch};
use tokio::time::MissedTickBehavior;

pub(super) use self::picture::{Difference, Picture, Staff};
use self::timing::Timing;
use super::edge::Edge;
use super::partition::Control;
use super::port::{Event, Stats};
use crate::supervisor::Demand;

/// How often the issuer looks who is silent, and what has waited too long.
const TICK: Duration = Duration::from_millis(50);

/// How often it looks at load.
const TICKS_PER_PASS: u64 = 10;

/// The issuer, if the world has layers. Locked for a moment, by nobody who holds another lock and waits.
pub(super) struct Authority {
    issuer: Option<Mutex<Issuer>>,
    /// Locked for a moment, also by who has locked the issuer.
    timing: Mutex<Timing>,
    worker_types: BTreeSet<String>,
    /// Holds that are over, on their way to their entities.
    releases: Mutex<Vec<(EntityId, ComponentId, Epoch)>>,
    /// As the issuer has it, for whoever watches.
    picture: watch::Sender<Arc<Picture>>,
}

/// How the issuer stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Of each layer: its regions, and those of them that nobody owns.
    pub(super) regions: BTreeMap<LayerId, (u64, u64)>,
    /// How many workers of each type should be there.
    pub(super) wanted: BTreeMap<String, u32>,
}

impl Authority {
    pub(super) fn new(layers: &Layers, issuer: Option<Issuer>) -> Self {
        let worker_types = layers.all().map(|(_, layer)| layer.worker_type.clone()).collect();
        let mut picture = Picture::default();
        let keyframe = issuer.as_ref().map(Issuer::keyframe).unwrap_or_default();
        keyframe.into_iter().for_each(|change| picture.apply(change));
        let picture = watch::Sender::new(Arc::new(picture));
        Self {
            issuer: issuer.map(Mutex::new),
            timing: Mutex::default(),
            worker_types,
            releases: Mutex::default(),
            picture,
        }
    }

    /// The regions, for a world that begins again; `None`: it is open.
    pub(super) fn memory(&self) -> Option<Memory> {
        let issuer = self.issuer.as_ref().map(|issuer| issuer.lock().unwrap_or_else(PoisonError::into_inner));
        issuer.map(|issuer| issuer.memory())
    }

    /// The last epoch that was given.
    pub(super) fn last_epoch(&self) -> Epoch {
        let issuer = self.issuer.as_ref().map(|issuer| issuer.lock().unwrap_or_else(PoisonError::into_inner));
        issuer.map_or(Epoch(0), |issuer| issuer.last_epoch())
    }

    /// Whether a session of that type is told what it may write.
    pub(super) fn concerns(&self, worker_type: &str) -> bool {
        self.issuer.is_some() && self.worker_types.contains(worker_type)
    }

    /// Partitions are told who owns what: nobody yet.
    pub(super) fn start(&self, edge: &Edge) {
        self.act(edge, |issuer, _, outbox| {
            edge.map.ids().for_each(|id| issuer.partition_started(id, outbox));
        });
    }

    /// A partition has obeyed, or an owner has written there.
    pub(super) fn answer(&self, edge: &Edge, from: PartitionId, answers: impl Iterator<Item = Answer>) {
        let mut obeyed = Vec::new();
        for answer in answers {
            match answer {
                Answer::Written(region, epoch) => {
                    self.timing().wrote(&edge.layers, region, epoch, edge.clock.now());
                }
                answer => obeyed.push(answer),
            }
        }
        if !obeyed.is_empty() {
            self.act(edge, |issuer, now, outbox| {
                obeyed.into_iter().for_each(|answer| issuer.answer(from, answer, now, outbox));
            });
        }
    }

    fn timing(&self) -> MutexGuard<'_, Timing> {
        self.timing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session has opened, and others find it.
    pub(super) fn open(&self, edge: &Edge, session: SessionId, stats: &Stats) {
        if self.concerns(&stats.worker_type) {
            let (worker_type, name) = (stats.worker_type.clone(), stats.name.clone());
            let info = WorkerInfo { worker_type, name, regions_max: u32::MAX };
            self.act(edge, |issuer, now, outbox| issuer.attach(session, info, now, outbox));
        }
    }

    /// A session is over: it loses what it has at once.
    pub(super) fn close(&self, edge: &Edge, session: SessionId, stats: &Stats) {
        let is_worker = self.concerns(&stats.worker_type);
        self.act(edge, |issuer, now, outbox| match is_worker {
            true => issuer.detach(session, now, outbox),
            false => issuer.release_all(session, outbox),
        });
        self.send_releases(edge);
    }

    /// Tells the entities of holds that are over. Not while the issuer is locked: a partition that is idle applies it at once,
    /// and may have an answer for the issuer.
    pub(super) fn send_releases(&self, edge: &Edge) {
        let releases = std::mem::take(&mut *self.releases.lock().unwrap_or_else(PoisonError::into_inner));
        for (entity, component, epoch) in releases {
            let mut holds = HoldWrites::new(0);
            holds.push(0, entity, component, HoldAct::Release(epoch));
            let batch =
                Batch { role: Role::Server, ops: vec![Op::Holds(holds)], ..Batch::new(SessionId(0), Seq(0)) };
            let gate = edge.routes.enter();
            let to = edge.routes.get(entity).unwrap_or_else(|| edge.map.home(entity, None));
            edge.partition(to).send(edge, batch);
            drop(gate);
        }
    }

    /// A worker has said something, and all that it sent before is decided.
    pub(super) fn hear(&self, edge: &Edge, session: SessionId, said: Said) {
        self.act(edge, |issuer, now, outbox| issuer.hear(session, said, now, outbox));
    }

    /// How it stands; `None`: the world is open.
    pub(super) fn standing(&self) -> Option<Standing> {
        self.issuer.as_ref()?;
        let picture = self.picture();
        let wanted = picture.staff().into_iter().map(|(worker_type, staff)| (worker_type, staff.wanted));
        let mut standing = Standing { wanted: wanted.collect(), ..Standing::default() };
        for region in picture.regions.values() {
            let (regions, unowned) = standing.regions.entry(region.layer).or_default();
            *regions += 1;
            *unowned += u64::from(region.lease.owner.is_none());
        }
        Some(standing)
    }

    /// Who owns what now; nobody anything, if the world is open.
    pub(super) fn picture(&self) -> Arc<Picture> {
        self.picture.borrow().clone()
    }

    /// Who owns what, from now on.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<Picture>> {
        self.picture.subscribe()
    }

    /// Who is beyond each border of a region.
    pub(super) fn borders(&self, edge: &Edge, region: RegionId) -> Vec<Border> {
        self.act(edge, |issuer, _, _| issuer.borders(region)).unwrap_or_default()
    }

    /// Of each type how many workers there should be and are, and the name of one that could go.
    pub(super) fn staff(&self, edge: &Edge) -> Vec<(String, Staff, Option<String>)> {
        let picture = self.picture();
        let surplus = |worker_type: &str| {
            let session = self.act(edge, |issuer, _, _| issuer.surplus(worker_type))??;
            Some(picture.workers.get(&session)?.name.clone())
        };
        let staff = picture.staff().into_iter();
        staff.map(|(worker_type, staff)| (worker_type.clone(), staff, surplus(&worker_type))).collect()
    }

    /// What it wants sent goes out before anybody else lets it do anything: so orders keep their order. `None`: the world
    /// is open.
    pub(super) fn act<R>(
        &self,
        edge: &Edge,
        act: impl FnOnce(&mut Issuer, Micros, &mut IssuerOutbox) -> R,
    ) -> Option<R> {
        let mut issuer = self.issuer.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outbox = IssuerOutbox::default();
        let now = edge.clock.now();
        let result = act(&mut issuer, now, &mut outbox);
        self.timing().note(&edge.layers, &outbox, now);
        for (to, order) in outbox.partitions {
            edge.partition(to).tell(Control::Order(order));
        }
        tell_of_losses(edge, &outbox.sessions);
        for (session, notice) in outbox.sessions {
            if let Some(port) = edge.sessions.get(&session) {
                port.send(Event::Notice(notice));
            }
        }
        if !outbox.releases.is_empty() {
            self.releases.lock().unwrap_or_else(PoisonError::into_inner).extend(outbox.releases);
        }
        if !outbox.changes.is_empty() {
            self.picture.send_modify(|picture| {
                let picture = Arc::make_mut(picture);
                outbox.changes.into_iter().for_each(|change| picture.apply(change));
            });
        }
        Some(result)
    }
}

/// Says of workers that lost what they owned because they were not heard, or stood still.
fn tell_of_losses(edge: &Edge, notices: &[(SessionId, Notice)]) {
    let mut lost: BTreeMap<SessionId, (LossReason, usize)> = BTreeMap::new();
    for (session, notice) in notices {
        if let Notice::Lost(.., reason @ (LossReason::Silent | LossReason::Stalled)) = notice {
            lost.entry(*session).or_insert((*reason, 0)).1 += 1;
        }
    }
    for (session, (reason, regions)) in lost {
        let name = edge.sessions.get(&session).map(|port| port.stats.name.clone()).unwrap_or_default();
        let why = if reason == LossReason::Silent {
            "said nothing for lease_ttl"
        } else {
            "stood still for stall_after"
        };
        tracing::info!(worker = name, %session, regions, "worker {why}: others get what it owned");
    }
}

/// Looks after time and load as long as the world runs.
pub(super) async fn keep(edge: Arc<Edge>) {
    if edge.layers.is_open() {
        return;
    }
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Ticks come late, never early: what is said between any two of them is heard.
    let (mut ticks, mut looked) = (0, edge.clock.now());
    loop {
        interval.tick().await;
        ticks += 1;
        let loads = if ticks % TICKS_PER_PASS == 0 { loads(&edge).await } else { None };
        let now = edge.clock.now();
        let workers: Vec<(SessionId, bool, u32, Signs)> = edge
            .sessions
            .iter()
            .map(|port| (*port.key(), port.stats.clone()))
            .filter(|(_, stats)| edge.authority.concerns(&stats.worker_type))
            .map(|(id, stats)| (id, stats.was_heard_since(looked), load_of(&stats), stats.signs()))
            .collect();
        looked = now;
        edge.authority.act(&edge, |issuer, now, outbox| {
            for (session, is_heard, load, signs) in workers {
                if is_heard {
                    issuer.heard(session, now, outbox);
                    issuer.reported(session, load);
                }
                issuer.noted(session, signs, now, outbox);
            }
            issuer.tick(now, outbox);
            if let Some(loads) = loads {
                let start = Instant::now();
                issuer.balance(&loads, now, outbox);
                metrics::histogram!("spatialdb_authority_pass_seconds").record(start.elapsed().as_secs_f64());
            }
        });
        edge.authority.send_releases(&edge);
        if ticks % TICKS_PER_PASS == 1 {
            tell_supervisor(&edge);
        }
    }
}

/// How many workers are wanted, if there is somebody who starts and stops them.
fn tell_supervisor(edge: &Edge) {
    let (Some(link), Some(standing)) = (&edge.workers, edge.authority.standing()) else { return };
    let wanted: Demand = standing.wanted.into_iter().collect();
    link.demand.send_if_modified(|demand| {
        let is_new = *demand != wanted;
        *demand = wanted;
        is_new
    });
}

/// Thousandths of what it can do.
fn load_of(stats: &Stats) -> u32 {
    let load = f64::from_bits(stats.load.load(Ordering::Relaxed));
    (load.clamp(0.0, 1000.0) * 1000.0) as u32
}

/// What partitions count, in squares of one size; `None`: they are about to agree on one.
pub(super) async fn loads(edge: &Edge) -> Option<Loads> {
    let mut doublings = 0;
    for _ in 0..2 {
        let mut answers = Vec::new();
        for partition in &edge.partitions {
            let (answer, receiver) = oneshot::channel();
            partition.tell(Control::Load { doublings, answer });
            answers.push(receiver);
        }
        let mut all = Vec::new();
        for answer in answers {
            all.push(answer.await.ok()?);
        }
        let most = all.iter().map(|(doublings, _)| *doublings).max().unwrap_or(0);
        if all.iter().all(|(doublings, _)| *doublings == most) {
            let mut loads = Loads::default();
            all.into_iter().for_each(|(_, part)| loads.merge(part));
            return Some(loads);
        }
        doublings = most;
    }
    None
}
