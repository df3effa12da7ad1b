//! `ingest`: how many positions a second the server takes, while somebody watches all of them.
//!
//! Responsible for: the order of things, and the check that writers, viewer and store agree at the end.
//! Not responsible for: where entities go (`walk`), its messages (`pool`), sessions (`writer`, `viewer`).
//!
//! Each stream writes entities of its own, whole rounds at a time. Nothing is dropped or merged by the tool: a row
//! counts once the server has told that it is decided, and a row that is refused ends the run.

mod pool;
mod viewer;
mod writer;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use prost::Message;
use spatialdb_proto::v1;
use spatialdb_types::{ComponentId, Point3};
use tokio::{
    sync::oneshot,
    task::{JoinError, JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{
    BenchError, Plan, Report, link::Link, procfs, server::ServerProcess, tools::Tools, walk::Walk,
    world::WorldFiles,
};
use pool::Pool;
use viewer::Replica;
use writer::Shared;

const WARM_UP: Duration = Duration::from_secs(1);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);
const CELL_CHANGES_LEAST_PERCENT: f64 = 10.0;
const PARTITION_CHANGES_LEAST_PERCENT: f64 = 0.5;

/// An ingest under way.
pub(super) struct Ingest {
    plan: Plan,
    load: Load,
    server: ServerProcess,
    tools: Tools,
    durability: String,
    writers: Writers,
    follower: JoinHandle<Result<Replica, BenchError>>,
    finished: oneshot::Sender<Vec<Point3>>,
    // The server reads them, and writes its log there.
    _files: WorldFiles,
}

/// What is sent.
struct Load {
    walk: Arc<Walk>,
    pools: Vec<Arc<Pool>>,
}

/// The writing sessions.
struct Writers {
    tasks: JoinSet<(usize, Result<u64, BenchError>)>,
    shared: Vec<Arc<Shared>>,
}

/// What the counters rose by.
pub(super) struct Span {
    /// How long it was.
    pub(super) seconds: f64,
    /// Rows decided.
    pub(super) rows: f64,
    server_cpu_seconds: f64,
    client_cpu_seconds: f64,
}

/// How an ingest ended, once all was compared.
pub(super) struct Ended {
    /// What the server promises.
    pub(super) durability: String,
    cell_change_percent: f64,
    partition_change_percent: f64,
    viewer: Replica,
}

/// Runs the scenario.
///
/// # Errors
/// The server fails or refuses something, or the results are wrong.
pub(super) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let mut ingest = Ingest::start(plan, Ok).await?;
    ingest.run_for(WARM_UP).await?;
    let span = ingest.run_for(Duration::from_secs(plan.seconds)).await?;
    Ok(report(plan, &span, ingest.end().await?))
}

impl Ingest {
    /// Starts a server with the world of the plan, as `furnish` changes it; then the viewer, then the writers.
    ///
    /// # Errors
    /// The server fails or refuses something.
    pub(super) async fn start(
        plan: &Plan,
        furnish: impl FnOnce(WorldFiles) -> Result<WorldFiles, BenchError>,
    ) -> Result<Self, BenchError> {
        let load = Load::new(plan);
        let files = furnish(WorldFiles::of_walk(&load.walk)?)?;
        let server = ServerProcess::start(&files, plan.partitions)?;
        let mut tools = Tools::connect(&server).await?;
        let durability = tools.world().await?.durability;
        let mut viewer = Link::attach(&server, "viewer").await?;
        let mut replica = Replica::new(plan.entities as usize);
        viewer::fill(&mut viewer, &mut replica).await?;
        let (finished, expected) = oneshot::channel();
        let follower = tokio::spawn(viewer::follow(viewer, replica, expected));
        let writers = Writers::start(&load, &server).await?;
        Ok(Self { plan: *plan, load, server, tools, durability, writers, follower, finished, _files: files })
    }

    /// The server.
    pub(super) const fn server(&self) -> &ServerProcess {
        &self.server
    }

    /// Goes on for that long. Returns what the counters rose by.
    ///
    /// # Errors
    /// A writer failed.
    pub(super) async fn run_for(&mut self, time: Duration) -> Result<Span, BenchError> {
        let from = self.read()?;
        self.writers.run_for(time).await?;
        Ok(self.read()?.since(&from))
    }

    /// Stops writing, and compares what writers, viewer and store have.
    ///
    /// # Errors
    /// They differ, or the server fails.
    pub(super) async fn end(mut self) -> Result<Ended, BenchError> {
        let sent = self.writers.stop().await?;
        let expected = self.load.positions_after(&sent);
        // If the viewer has gone, it says why.
        let _ = self.finished.send(expected.clone());
        let viewer = self.follower.await.map_err(|error| crashed(&error))??;
        check_store(&mut self.tools, &expected).await?;
        self.server.stop()?;
        let (cell_change_percent, partition_change_percent) =
            self.load.crossing_percents(&self.plan, &sent)?;
        Ok(Ended { durability: self.durability, cell_change_percent, partition_change_percent, viewer })
    }

    fn read(&self) -> Result<Reading, BenchError> {
        Ok(Reading {
            at: Instant::now(),
            rows: self.writers.rows_decided(&self.load),
            server_cpu_seconds: self.server.cpu_seconds()?,
            client_cpu_seconds: procfs::cpu_seconds(std::process::id())?,
        })
    }
}

/// What the counters show at one instant.
struct Reading {
    at: Instant,
    rows: u64,
    server_cpu_seconds: f64,
    client_cpu_seconds: f64,
}

impl Reading {
    fn since(&self, before: &Self) -> Span {
        Span {
            seconds: self.at.duration_since(before.at).as_secs_f64(),
            rows: (self.rows - before.rows) as f64,
            server_cpu_seconds: self.server_cpu_seconds - before.server_cpu_seconds,
            client_cpu_seconds: self.client_cpu_seconds - before.client_cpu_seconds,
        }
    }
}

impl Load {
    fn new(plan: &Plan) -> Self {
        let walk = Walk::new(plan.entities as usize);
        let map = walk.partition_map(plan.partitions);
        let border = |stream: u64| (plan.entities * stream / plan.streams) as usize;
        let pool = |stream| Pool::new(&walk, &map, border(stream)..border(stream + 1), plan.batch as usize);
        let pools = (0..plan.streams).map(|stream| Arc::new(pool(stream))).collect();
        Self { walk: Arc::new(walk), pools }
    }

    fn positions_after(&self, sent: &[u64]) -> Vec<Point3> {
        let mut positions = self.walk.round(0).to_vec();
        for (pool, sent) in self.pools.iter().zip(sent) {
            pool.place(&self.walk, *sent, &mut positions);
        }
        positions
    }

    // Over all that was sent.
    fn crossing_percents(&self, plan: &Plan, sent: &[u64]) -> Result<(f64, f64), BenchError> {
        let (mut rows, mut cells, mut partitions) = (0, 0, 0);
        for (pool, sent) in self.pools.iter().zip(sent) {
            let crossings = pool.crossings(&self.walk, *sent);
            rows += pool.rows(*sent);
            cells += crossings.cell;
            partitions += crossings.partition;
        }
        let percent = |count: u64| count as f64 * 100.0 / rows.max(1) as f64;
        let enough = |what, percent, least_percent| match percent < least_percent {
            true => Err(BenchError::TooEasy { what, percent, least_percent }),
            false => Ok(percent),
        };
        let cells = enough("cell", percent(cells), CELL_CHANGES_LEAST_PERCENT)?;
        if plan.partitions == 1 {
            return Ok((cells, 0.0));
        }
        Ok((cells, enough("partition", percent(partitions), PARTITION_CHANGES_LEAST_PERCENT)?))
    }
}

impl Writers {
    async fn start(load: &Load, server: &ServerProcess) -> Result<Self, BenchError> {
        let mut links = Vec::new();
        for stream in 0..load.pools.len() {
            links.push(Link::attach(server, &format!("writer-{stream}")).await?);
        }
        let mut writers = Self { tasks: JoinSet::new(), shared: Vec::new() };
        for (stream, (link, pool)) in links.into_iter().zip(&load.pools).enumerate() {
            let shared = Arc::new(Shared::default());
            let write = writer::write(link, load.walk.clone(), pool.clone(), shared.clone());
            writers.tasks.spawn(async move { (stream, write.await) });
            writers.shared.push(shared);
        }
        Ok(writers)
    }

    // A writer ends early only if something is wrong.
    async fn run_for(&mut self, time: Duration) -> Result<(), BenchError> {
        tokio::select! {
            () = sleep(time) => Ok(()),
            ended = self.tasks.join_next() => match ended {
                Some(Ok((_, Err(error)))) => Err(error),
                other => Err(BenchError::unexpected("a writer", "to go on", format!("{other:?}"))),
            },
        }
    }

    // Waits until all is decided. Returns how many messages each stream sent.
    async fn stop(mut self) -> Result<Vec<u64>, BenchError> {
        self.shared.iter().for_each(|shared| shared.stop.store(true, Ordering::Relaxed));
        let mut sent = vec![0; self.shared.len()];
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                let (stream, count) = ended.map_err(|error| crashed(&error))?;
                sent[stream] = count?;
            }
            Ok::<_, BenchError>(())
        };
        let late =
            |_| BenchError::Timeout { what: "deciding what was sent".to_owned(), waited: DRAIN_TIMEOUT };
        timeout(DRAIN_TIMEOUT, all).await.map_err(late)??;
        Ok(sent)
    }

    fn rows_decided(&self, load: &Load) -> u64 {
        let rows =
            |(shared, pool): (&Arc<Shared>, &Arc<Pool>)| pool.rows(shared.applied.load(Ordering::Relaxed));
        self.shared.iter().zip(&load.pools).map(rows).sum()
    }
}

async fn check_store(tools: &mut Tools, expected: &[Point3]) -> Result<(), BenchError> {
    let mut store = Replica::new(expected.len());
    let mut found = 0;
    let matched = tools
        .each_entity(|entity| {
            found += 1;
            store.set(entity.entity, position(entity));
        })
        .await?;
    if (matched, found) != (expected.len() as u64, expected.len()) {
        let found = format!("{found} entities, and {matched} said to match");
        return Err(BenchError::unexpected("Query", format!("{} entities", expected.len()), found));
    }
    store.check("the store", expected)
}

fn position(entity: &v1::Entity) -> Option<Point3> {
    let component = entity.components.iter().find(|c| c.id == ComponentId::POSITION.0)?;
    let at = v1::Position::decode(component.value.as_ref()?.value.as_slice()).ok()?;
    Some(Point3::new(at.x, at.y, at.z))
}

fn report(plan: &Plan, span: &Span, ended: Ended) -> Report {
    Report::new(plan.scenario, ended.durability)
        .figure("updates_per_second", (span.rows / span.seconds).round(), "1/s")
        .figure("server_cpu_seconds", span.server_cpu_seconds, "s")
        .figure("server_cpu_ns_per_update", span.server_cpu_seconds * 1e9 / span.rows.max(1.0), "ns")
        .figure("client_cpu_seconds", span.client_cpu_seconds, "s")
        .figure("cell_change_percent", ended.cell_change_percent, "%")
        .figure("partition_change_percent", ended.partition_change_percent, "%")
        .figure("viewer_rows_per_second", ended.viewer.rows as f64 / plan.seconds as f64, "1/s")
        .fact("viewer_frames", ended.viewer.frames)
        .fact("entities", plan.entities)
        .fact("streams", plan.streams)
        .fact("partitions", plan.partitions)
        .fact("batch", plan.batch)
        .fact("seconds", span.seconds)
}

fn crashed(error: &JoinError) -> BenchError {
    BenchError::unexpected("the load tool", "a task that ends", error.to_string())
}
