//! `crowd-split`: a crowd gathers in one region; how soon that is split, and whether it stays so.
//!
//! Four owners walk their entities to one place and about in it. A viewer counts what each region holds. Once one holds more
//! than it should, the time runs until it is cut and two own it, or it holds less; people go on coming meanwhile. From the moment at which all have
//! come, places are looked at that go back to the owner from whom they were taken within the last minute.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use spatialdb_proto::v1::View;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    BenchError, Plan, Report,
    link::Link,
    owned::{self, Admin, Owned},
    owner::{self, Gait, Owner, tally::Tally},
    server::ServerProcess,
    tools::{self, Tools},
    walk::Walk,
};

const WORKERS: usize = 4;

/// Where the crowd is, as a share of the side of the world, and how large its square is, metres.
const CROWD_AT: f64 = 0.2;
const CROWD_M: f64 = 300.0;

/// Owners move every 10 ms.
const STEP_M: f64 = 2.0;

const POLL: Duration = Duration::from_millis(20);

/// In so many places on each side of the crowd's square it is looked at whose they are.
const PLACES: usize = 24;

/// Whoever gets a place back within this took part in a reversal.
const REVERSAL: Duration = Duration::from_secs(60);

/// Runs the scenario.
///
/// # Errors
/// The server fails, or the crowd's region is never split.
pub(super) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let entities = plan.entities as usize;
    // Before they gather, each region has about half of what it may have.
    let load_max = entities.div_ceil(WORKERS / 2) as u64;
    let settings = format!("load_max = {load_max}\nborder_hysteresis_m = 10.0\n");
    let server = ServerProcess::start(&owned::world(entities, &settings)?, plan.partitions)?;
    let mut tools = Tools::connect(&server).await?;
    let durability = tools.world().await?.durability;
    let corner = [Walk::flat(entities).side_m() * CROWD_AT; 2];
    let (gait, gaits) = watch::channel(Gait::Stroll);
    let (stop, (told, _)) = (CancellationToken::new(), mpsc::unbounded_channel());
    let mut owners = Vec::new();
    for index in 0..WORKERS {
        let link = Link::attach_owner(server.address(), owner::TYPE, &owner::name(index)).await?;
        let owner = Owner::new(link, index, Tally::new(entities), told.clone())?.with_gait(gaits.clone());
        owners.push(tokio::spawn(owner.run(stop.clone())));
    }
    let mut scene = Scene::new(&server, entities, corner).await?;
    let mut crowded = Crowded::default();
    scene.wait("regions of a size", |scene, regions| scene.largest(regions) <= load_max).await?;
    gait.send_replace(Gait::Crowd { corner, side_m: CROWD_M, step_m: STEP_M });
    scene
        .wait("the crowd to come", |scene, regions| {
            crowded.see(regions, &scene.counts(regions), load_max);
            scene.have_all_come()
        })
        .await?;
    scene
        .wait("regions of a size", |scene, regions| {
            crowded.see(regions, &scene.counts(regions), load_max);
            scene.largest(regions) <= load_max
        })
        .await?;
    let (mut reversals, mut most) = (Reversals::default(), 0);
    let (gathered, watched) = (Instant::now(), Duration::from_secs(plan.seconds));
    scene
        .wait("the end", |scene, regions| {
            most = most.max(regions.len());
            reversals.see(&scene.owners(regions));
            gathered.elapsed() >= watched
        })
        .await?;
    stop.cancel();
    let tally = owned::joined(owners, entities).await?;
    let outcome = owned::compare(&tally, &mut tools).await?;
    server.stop()?;
    let split_s = crowded.split_s;
    let slowest = split_s.iter().copied().reduce(f64::max);
    let slowest = slowest.ok_or_else(|| BenchError::unexpected("the regions", "to be split", "no crowd"))?;
    let report = Report::new(plan.scenario, durability).figure("split_s", slowest, "s").figure(
        "reversals_per_minute",
        f64::from(reversals.count) * 60.0 / watched.as_secs_f64(),
        "1/min",
    );
    Ok(owned::with_outcome(report, outcome)
        .fact("splits_s", format!("{split_s:.2?}"))
        .fact("changes_of_owner", reversals.changes)
        .fact("regions", most)
        .fact("load_max", load_max)
        .fact("workers", WORKERS)
        .fact("entities", plan.entities)
        .fact("partitions", plan.partitions)
        .fact("seconds", plan.seconds))
}

/// What the scenario sees.
struct Scene {
    link: Link,
    admin: Admin,
    corner: [f64; 2],
    positions: BTreeMap<u64, (f64, f64)>,
}

impl Scene {
    async fn new(server: &ServerProcess, entities: usize, corner: [f64; 2]) -> Result<Self, BenchError> {
        let mut link = Link::attach(server, "viewer").await?;
        let view =
            View { view_id: 1, constraint: Some(tools::everything()), rate_hz: 30.0, ..View::default() };
        let mut positions = BTreeMap::new();
        link.fill_view(view, entities as u64, |frame| see(&mut positions, frame)).await?;
        Ok(Self { link, admin: Admin::connect(server).await?, corner, positions })
    }

    /// Takes in what frames there are. Returns the regions as they are now.
    async fn look(&mut self) -> Result<Vec<Owned>, BenchError> {
        while let Ok(frame) = tokio::time::timeout(Duration::ZERO, self.link.receiver.frame()).await {
            see(&mut self.positions, &frame?);
        }
        self.admin.regions().await
    }

    /// Looks again and again until that is so.
    async fn wait(
        &mut self,
        what: &str,
        mut is_so: impl FnMut(&Self, &[Owned]) -> bool,
    ) -> Result<(), BenchError> {
        let (begun, patience) = (Instant::now(), 30 * owned::PATIENCE);
        while begun.elapsed() < patience {
            let regions = self.look().await?;
            if is_so(self, &regions) {
                return Ok(());
            }
            sleep(POLL).await;
        }
        Err(BenchError::Timeout { what: what.to_owned(), waited: patience })
    }

    /// How many lie in the region with the most.
    fn largest(&self, regions: &[Owned]) -> u64 {
        self.counts(regions).into_iter().max().unwrap_or_default()
    }

    /// How many entities lie in each region.
    fn counts(&self, regions: &[Owned]) -> Vec<u64> {
        let mut counts = vec![0; regions.len()];
        for at in self.positions.values() {
            if let Some(found) = regions.iter().position(|region| region.holds(*at)) {
                counts[found] += 1;
            }
        }
        counts
    }

    fn have_all_come(&self) -> bool {
        let is_in = |v: f64, from: f64| v > from - 20.0 && v < from + CROWD_M + 20.0;
        self.positions.values().all(|(x, y)| is_in(*x, self.corner[0]) && is_in(*y, self.corner[1]))
    }

    /// Who has each place of the crowd's square; none: nobody.
    fn owners(&self, regions: &[Owned]) -> Vec<Option<String>> {
        let along = |place: usize| (place as f64 + 0.5) / PLACES as f64 * CROWD_M;
        let places = (0..PLACES * PLACES).map(|at| (along(at % PLACES), along(at / PLACES)));
        let owner = |(x, y): (f64, f64)| {
            let at = (self.corner[0] + x, self.corner[1] + y);
            regions.iter().find(|region| region.holds(at))?.owner.clone()
        };
        places.map(owner).collect()
    }
}

fn see(positions: &mut BTreeMap<u64, (f64, f64)>, frame: &spatialdb_proto::v1::Frame) {
    for column in &frame.positions {
        for (i, entity) in column.entities.iter().enumerate() {
            positions.insert(*entity, (column.x[i], column.y[i]));
        }
    }
}

/// Regions that hold more than they should.
#[derive(Default)]
struct Crowded {
    /// Since when, and where they lay then.
    now: BTreeMap<u64, (Instant, Owned)>,
    /// How long it took until they were cut, or held less.
    split_s: Vec<f64>,
}

impl Crowded {
    fn see(&mut self, regions: &[Owned], counts: &[u64], load_max: u64) {
        for (region, count) in regions.iter().zip(counts) {
            let is_over = |(_, was): &mut (Instant, Owned)| *count <= load_max || was.is_shared(regions);
            let over = self.now.get_mut(&region.region).is_some_and(is_over);
            let over = over.then(|| self.now.remove(&region.region)).flatten();
            self.split_s.extend(over.map(|(since, _)| since.elapsed().as_secs_f64()));
            if *count > load_max {
                self.now.entry(region.region).or_insert_with(|| (Instant::now(), region.clone()));
            }
        }
    }
}

/// Places that go back to whom they were taken from.
#[derive(Default)]
struct Reversals {
    /// Of each place: its owner, and from whom it was taken when.
    places: Vec<(String, Option<(String, Instant)>)>,
    /// How often some place went back, those that did at once together.
    count: u32,
    /// How often some place got another owner.
    changes: u32,
}

impl Reversals {
    fn see(&mut self, owners: &[Option<String>]) {
        if self.places.is_empty() {
            self.places = vec![(String::new(), None); owners.len()];
        }
        let (mut is_change, mut is_reversal) = (false, false);
        for ((owner, before), now) in self.places.iter_mut().zip(owners) {
            let Some(now) = now.as_ref().filter(|now| **now != *owner) else { continue };
            let was = std::mem::replace(owner, now.clone());
            if was.is_empty() {
                continue;
            }
            is_change = true;
            is_reversal |= before.take().is_some_and(|(from, at)| from == *now && at.elapsed() < REVERSAL);
            *before = Some((was, Instant::now()));
        }
        self.changes += u32::from(is_change);
        self.count += u32::from(is_reversal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_goes_back_is_a_reversal_and_one_that_goes_on_is_not() {
        let mut reversals = Reversals::default();
        let mut see = |owners: [&str; 2]| {
            let owner = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
            reversals.see(&owners.map(owner));
            (reversals.changes, reversals.count)
        };
        assert_eq!(see(["a", "a"]), (0, 0));
        assert_eq!(see(["b", "b"]), (1, 0));
        assert_eq!(see(["", "c"]), (2, 0));
        assert_eq!(see(["a", "b"]), (3, 1), "both at once count once");
        assert_eq!(see(["c", "b"]), (4, 1));
    }
}
