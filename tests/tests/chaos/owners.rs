//! Who owns what, as watchers of authority are told it: at each moment each place has one region, and that has one owner or
//! none.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use spatialdb_proto::v1::{self, RegionPhase};
use spatialdb_tests::World;
use tokio::{sync::oneshot, task::JoinHandle};

/// Places that are looked at lie so far apart, metres.
const STEP_M: usize = 100;

/// And so far from the middle at most.
const REACH_M: i32 = 1200;

/// A watcher of authority.
pub(crate) struct Watcher {
    seen: Arc<Mutex<Owners>>,
    stop: oneshot::Sender<()>,
    watching: JoinHandle<()>,
}

/// What it has been told.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    regions: BTreeMap<u64, v1::Region>,
    workers: BTreeMap<u64, v1::WorkerAuthority>,
    /// Who got each grant, by epoch.
    grants: BTreeMap<u64, u64>,
    /// Since when nobody may write a region.
    unowned: BTreeMap<u64, Instant>,
    /// The longest that was so, and of which region.
    pub(crate) unowned_max: (Duration, u64),
    /// Sessions of workers that were killed, or are silent, and when that was.
    lost: BTreeMap<u64, Instant>,
    /// The longest that one of them owned something after that.
    pub(crate) lost_max: Duration,
    /// How often a region lost its owner, by why.
    pub(crate) losses: BTreeMap<v1::LossReason, usize>,
    number: u64,
}

impl Watcher {
    /// Looks on from now on.
    pub(crate) async fn start(world: &World) -> Self {
        let request = v1::WatchAuthorityRequest::default();
        let mut updates = world.admin().await.watch_authority(request).await.expect("it may").into_inner();
        let seen = Arc::new(Mutex::new(Owners::default()));
        let (stop, mut stopped) = oneshot::channel();
        let owners = Arc::clone(&seen);
        let watching = tokio::spawn(async move {
            loop {
                let update = tokio::select! {
                    _ = &mut stopped => return,
                    update = updates.message() => update.expect("no error").expect("it goes on"),
                };
                lock(&owners).hear(update, Instant::now());
            }
        });
        Self { seen, stop, watching }
    }

    /// What it has been told so far.
    pub(crate) fn owners(&self) -> MutexGuard<'_, Owners> {
        lock(&self.seen)
    }

    /// Whether it has been told what must not be: [`Watcher::stop`] says what.
    pub(crate) fn has_failed(&self) -> bool {
        self.watching.is_finished()
    }

    /// Stops. Gives what it has been told.
    ///
    /// # Panics
    /// If that must not be.
    pub(crate) async fn stop(self) -> Owners {
        // If it has failed, nobody hears it.
        let _ = self.stop.send(());
        self.watching.await.expect("each region has one owner or none");
        std::mem::take(&mut lock(&self.seen))
    }
}

impl Owners {
    /// Whether every region has an owner, all of these own something, and nobody who was to lose it.
    pub(crate) fn are(&self, names: &BTreeSet<&str>) -> bool {
        let owners = self.regions.values().filter(|region| is_owned(region));
        let owners: Vec<_> = owners.filter_map(|region| Some(region.owner.as_ref()?.name.as_str())).collect();
        let is_all = owners.len() == self.regions.len() && self.lost.is_empty();
        is_all && owners.into_iter().collect::<BTreeSet<_>>() == *names
    }

    /// How many grants there were.
    pub(crate) fn grants(&self) -> usize {
        self.grants.len()
    }

    /// The worker of that name is about to be killed or silenced: what it owns becomes others'.
    pub(crate) fn lose(&mut self, name: &str) {
        let of_it = self.workers.values().filter(|worker| worker.name == name);
        self.lost.extend(of_it.map(|worker| (worker.session_id, Instant::now())));
    }

    fn hear(&mut self, update: v1::AuthorityUpdate, now: Instant) {
        self.number += 1;
        assert_eq!(update.number, self.number, "no update is missed");
        for gone in &update.regions_gone {
            self.regions.remove(gone);
            self.unowned.remove(gone);
        }
        for gone in &update.workers_gone {
            self.workers.remove(gone);
        }
        self.workers.extend(update.workers.into_iter().map(|worker| (worker.session_id, worker)));
        for region in update.regions {
            self.region(region, now);
        }
        if update.complete {
            self.judge();
            let owners = self.regions.values().filter_map(|region| Some(region.owner.as_ref()?.session_id));
            let owners: BTreeSet<u64> = owners.collect();
            for (_, since) in self.lost.extract_if(.., |session, _| !owners.contains(session)) {
                self.lost_max = self.lost_max.max(now - since);
            }
        }
    }

    /// Takes in a region: its epochs only rise, an epoch is of one owner, and once it is over it stays so.
    fn region(&mut self, region: v1::Region, now: Instant) {
        let id = lease(&region).region;
        if let Some(owner) = &region.owner {
            let first = *self.grants.entry(lease(&region).epoch).or_insert(owner.session_id);
            assert_eq!(owner.session_id, first, "one grant, two owners: {region:?}");
        }
        let before = self.regions.get(&id);
        if let Some(before) = before {
            assert!(
                age(&region) >= age(before),
                "its grant is older than the one before: {before:?}, {region:?}"
            );
        }
        let past = region.before.clone();
        let past = past.filter(|past| before.is_some_and(|before| before.before.as_ref() != Some(past)));
        if let Some(past) = past {
            *self.losses.entry(past.reason()).or_default() += 1;
        }
        if !is_owned(&region) {
            self.unowned.entry(id).or_insert(now);
        } else if let Some(since) = self.unowned.remove(&id) {
            self.unowned_max = self.unowned_max.max((now - since, id));
        }
        self.regions.insert(id, region);
    }

    /// Of one moment: each place has one region, and only workers that are there and speak own any.
    fn judge(&self) {
        for x in (-REACH_M..=REACH_M).step_by(STEP_M).map(f64::from) {
            for y in (-REACH_M..=REACH_M).step_by(STEP_M).map(f64::from) {
                let at: Vec<_> = self.regions.values().filter(|region| holds(lease(region), x, y)).collect();
                assert_eq!(at.len(), 1, "regions at ({x}, {y}): {at:?}");
            }
        }
        for region in self.regions.values() {
            let Some(owner) = &region.owner else { continue };
            let worker = self.workers.get(&owner.session_id);
            assert!(worker.is_some_and(|worker| !worker.silent), "{worker:?} owns {region:?}");
        }
    }
}

fn is_owned(region: &v1::Region) -> bool {
    matches!(region.phase(), RegionPhase::Owned | RegionPhase::HandingOver)
}

/// Revoked is later than granted.
fn age(region: &v1::Region) -> (u64, bool) {
    (lease(region).epoch, region.owner.is_none())
}

fn lease(region: &v1::Region) -> &v1::Lease {
    region.lease.as_ref().expect("every region has one")
}

/// Whether a place in space 0 belongs to it.
fn holds(lease: &v1::Lease, x: f64, y: f64) -> bool {
    let is_in = |at: f64, min: f64, max: f64| min <= at && at < max;
    lease.space == Some(0) && is_in(x, lease.min_x, lease.max_x) && is_in(y, lease.min_y, lease.max_y)
}

fn lock(seen: &Mutex<Owners>) -> MutexGuard<'_, Owners> {
    // What it was told before it failed is as good as ever.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
