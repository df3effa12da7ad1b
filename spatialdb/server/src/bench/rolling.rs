//! `rolling`: all workers are restarted one by one while they write.
//!
//! Each is drained, ends, and comes back as a new process; the next one follows once it has something again. A viewer of
//! everything sees how long an entity stands still at most: that is more than the time without owner.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use spatialdb_proto::v1::{Frame, View};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    BenchError, Plan, Report,
    error::cannot,
    link::Link,
    owned::{self, Admin, Owned},
    owner::{self, process::OwnerProcess, tally::Tally},
    server::ServerProcess,
    tools::{self, Tools},
};

const WORKERS: usize = 4;

/// So long all is quiet between two restarts, and before the first.
const BETWEEN: Duration = Duration::from_millis(500);

/// Runs the scenario.
///
/// # Errors
/// The server fails, or a worker does not come back.
pub(super) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let entities = plan.entities as usize;
    let tallies = tempfile::tempdir().map_err(cannot("make a temporary folder"))?;
    // So many regions that each worker has some.
    let settings = format!("load_max = {}\n", entities.div_ceil(2 * WORKERS));
    let server = ServerProcess::start(&owned::world(entities, &settings)?, plan.partitions)?;
    let mut tools = Tools::connect(&server).await?;
    let durability = tools.world().await?.durability;
    let mut admin = Admin::connect(&server).await?;
    let stop = CancellationToken::new();
    let viewer = Viewer::start(&server, entities, &stop).await?;
    let start = |name: &str| OwnerProcess::start(&server, name, entities, tallies.path());
    let names: Vec<String> = (0..WORKERS).map(owner::name).collect();
    let mut workers = BTreeMap::new();
    for name in &names {
        workers.insert(name, start(name)?);
    }
    let has =
        |regions: &[Owned], name: &str| regions.iter().any(|region| region.owner.as_deref() == Some(name));
    let all_have = |regions: &[Owned]| names.iter().all(|name| has(regions, name));
    admin.until("every worker has a region", all_have).await?;
    let (mut restarts_ms, mut regions) = (Vec::new(), 0);
    for name in &names {
        sleep(BETWEEN).await;
        let begun = Instant::now();
        admin.drain(name).await?;
        if let Some(worker) = workers.remove(name) {
            worker.ended().await?;
        }
        workers.insert(name, start(name)?);
        regions = admin.until("the worker has a region again", |regions| has(regions, name)).await?.len();
        restarts_ms.push(begun.elapsed().as_millis());
    }
    sleep(BETWEEN).await;
    stop.cancel();
    let seen = viewer.await.map_err(|crash| BenchError::crashed(&crash))??;
    for worker in workers.into_values() {
        worker.terminate()?.ended().await?;
    }
    let outcome = owned::compare(&Tally::of_folder(entities, tallies.path())?, &mut tools).await?;
    server.stop()?;
    let report = Report::new(plan.scenario, durability).figure(
        "unowned_max_ms",
        seen.still_max.as_secs_f64() * 1e3,
        "ms",
    );
    Ok(owned::with_outcome(report, outcome)
        .fact("restarts_ms", format!("{restarts_ms:?}"))
        .fact("regions", regions)
        .fact("workers", WORKERS)
        .fact("entities", plan.entities)
        .fact("partitions", plan.partitions))
}

/// What a viewer of everything sees.
#[derive(Debug, Default)]
struct Viewer {
    /// Where each entity was, and since when.
    last: BTreeMap<u64, (f64, Instant)>,
    /// The longest that one was there.
    still_max: Duration,
}

impl Viewer {
    /// Looks on from now until it is told to stop. The time counts from an entity's first move on.
    async fn start(
        server: &ServerProcess,
        entities: usize,
        stop: &CancellationToken,
    ) -> Result<JoinHandle<Result<Self, BenchError>>, BenchError> {
        let mut link = Link::attach(server, "viewer").await?;
        let view = View { view_id: 1, constraint: Some(tools::everything()), ..View::default() };
        link.fill_view(view, entities as u64, |_| ()).await?;
        let stop = stop.clone();
        Ok(tokio::spawn(async move {
            let Link { sender: _open, mut receiver } = link;
            let mut viewer = Self::default();
            while let Some(frame) = stop.run_until_cancelled(receiver.frame()).await {
                viewer.see(&frame?)?;
            }
            let now = Instant::now();
            let still = viewer.last.values().map(|(_, since)| now - *since).max();
            Ok(Self { still_max: viewer.still_max.max(still.unwrap_or_default()), ..viewer })
        }))
    }

    fn see(&mut self, frame: &Frame) -> Result<(), BenchError> {
        let now = Instant::now();
        for column in &frame.positions {
            for (entity, height) in column.entities.iter().zip(&column.z) {
                let (before, since) = *self.last.entry(*entity).or_insert((*height, now));
                if *height < before {
                    let what = format!("entity {entity} at {height} after {before}");
                    return Err(BenchError::unexpected("a viewer", "entities that rise", what));
                }
                // It may be shown again as it was, by the partition that it came to.
                if *height > before {
                    self.last.insert(*entity, (*height, now));
                }
                self.still_max = self.still_max.max(now - since);
            }
        }
        Ok(())
    }
}
