//! `ingest`: how many positions a second the server takes, while somebody watches all of them.
//!
//! Responsible for: the order of things, and the check that writers, viewers and store agree at the end; other scenarios
//! use it as their load.
//! Not responsible for: where entities go (`walk`), its messages (`pool`), sessions (`writer`, `viewer`, `watch`).
//!
//! Each stream writes entities of its own, whole rounds at a time. Nothing is dropped or merged by the tool: a row
//! counts once the server has told that it is decided, and a row that is refused ends the run.

mod kept;
mod layered;
mod pairs;
mod pool;
mod viewer;
mod views;
mod writer;
mod writers;

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use spatialdb_types::Point3;
use tokio::{sync::oneshot, task::JoinHandle, time::sleep};

use super::{
    BenchError, Plan, Report,
    link::Link,
    procfs,
    server::ServerProcess,
    tools::{self, Tools},
    walk::Walk,
    watch::{Clock, Told, Truth, Watch, Watched, Wish},
    world::WorldFiles,
};
pub(super) use kept::run as run_kept;
pub(super) use layered::{Ownership, STREAMS_MAX as LAYERED_STREAMS_MAX, run as run_layered};
use pool::Pool;
use viewer::Replica;
use writer::Mode;
use writers::Writers;

const WARM_UP: Duration = Duration::from_secs(1);
const CELL_CHANGES_LEAST_PERCENT: f64 = 10.0;
const PARTITION_CHANGES_LEAST_PERCENT: f64 = 0.5;

/// Who looks on, besides views that are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Onlooker {
    /// Nobody.
    Nobody,
    /// A viewer of everything at 1 Hz.
    Everything,
}

/// What an ingest is made of.
pub(super) struct Setup<'a> {
    /// Streams, partitions, rows of a message.
    pub(super) plan: &'a Plan,
    /// Where entities go.
    pub(super) walk: Arc<Walk>,
    /// So many entities, from the first on, are written by somebody else.
    pub(super) reserved: usize,
    /// Who looks on.
    pub(super) onlooker: Onlooker,
    /// Who owns what.
    pub(super) ownership: Ownership,
}

/// An ingest under way.
pub(super) struct Ingest {
    plan: Plan,
    load: Load,
    server: ServerProcess,
    tools: Tools,
    durability: String,
    writers: Writers,
    onlooker: Option<Follower>,
    watch: Option<Watch>,
    // The server reads them, and writes its log there.
    _files: WorldFiles,
}

/// The viewer of everything.
struct Follower {
    task: JoinHandle<Result<Replica, BenchError>>,
    finished: oneshot::Sender<Vec<Point3>>,
}

/// What is sent.
struct Load {
    walk: Arc<Walk>,
    pools: Vec<Arc<Pool>>,
}

/// What the counters rose by.
pub(super) struct Span {
    /// How long it was.
    pub(super) seconds: f64,
    /// Rows decided.
    pub(super) rows: f64,
    /// What viewers were told, but for the viewer of everything.
    pub(super) told: Told,
    /// Of the server.
    pub(super) server_cpu_seconds: f64,
    client_cpu_seconds: f64,
}

/// How an ingest ended, once all was compared.
pub(super) struct Ended {
    /// What the server promises.
    pub(super) durability: String,
    /// What viewers were told.
    pub(super) watched: Watched,
    cell_change_percent: f64,
    partition_change_percent: f64,
    viewer: Replica,
}

/// Runs the scenario.
///
/// # Errors
/// The server fails or refuses something, or the results are wrong.
pub(super) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let mut ingest = Ingest::start(&Setup::of(plan), Ok).await?;
    if plan.views > 0 {
        ingest.watch(&Clock::start(), "views", &views::wishes(plan.views, &ingest.load.walk)).await?;
    }
    ingest.run_for(WARM_UP).await?;
    let span = ingest.run_for(Duration::from_secs(plan.seconds)).await?;
    let connections = ingest.watch.as_ref().map_or(0, Watch::connections);
    Ok(report(plan, &span, connections, ingest.end(|_| ()).await?))
}

impl<'a> Setup<'a> {
    /// All entities of the plan, and the viewer of everything.
    pub(super) fn of(plan: &'a Plan) -> Self {
        let walk = Arc::new(Walk::new(plan.entities as usize));
        Self { plan, walk, reserved: 0, onlooker: Onlooker::Everything, ownership: Ownership::Open }
    }

    /// The places in the walk of the entities that a stream writes.
    fn share(&self, stream: usize) -> Range<usize> {
        let (streams, entities) = (self.plan.streams as usize, self.walk.round(0).len() - self.reserved);
        let border = |stream: usize| self.reserved + entities * stream / streams;
        border(stream)..border(stream + 1)
    }
}

impl Ingest {
    /// Starts a server with the world of the walk, as `furnish` changes it; then the viewer, then the writers, who wait.
    ///
    /// # Errors
    /// The server fails or refuses something.
    pub(super) async fn start(
        setup: &Setup<'_>,
        furnish: impl FnOnce(WorldFiles) -> Result<WorldFiles, BenchError>,
    ) -> Result<Self, BenchError> {
        let plan = setup.plan;
        let files = furnish(setup.ownership.world(setup)?)?;
        let server = ServerProcess::start(&files, plan.partitions)?;
        let mut tools = Tools::connect(&server).await?;
        let durability = tools.world().await?.durability;
        let onlooker = match setup.onlooker {
            Onlooker::Nobody => None,
            Onlooker::Everything => Some(Follower::start(&server, setup.walk.round(0).len()).await?),
        };
        let (mut links, mut seen) = (Vec::new(), Vec::new());
        for stream in 0..plan.streams as usize {
            let (link, authority_seen) = setup.ownership.attach(&server, stream, setup.share(stream)).await?;
            links.push(link);
            seen.push(authority_seen);
        }
        let load = Load::new(setup, &seen);
        let writers = Writers::start(&load, links);
        Ok(Self {
            plan: *plan,
            load,
            server,
            tools,
            durability,
            writers,
            onlooker,
            watch: None,
            _files: files,
        })
    }

    /// Attaches viewers; nobody must have written before.
    ///
    /// # Errors
    /// They are shown anything else than they should be.
    pub(super) async fn watch(
        &mut self,
        clock: &Arc<Clock>,
        name: &str,
        wishes: &[Wish],
    ) -> Result<(), BenchError> {
        let truth = Truth::new(self.load.walk.round(0).to_vec());
        self.watch = Some(Watch::start(&self.server, clock, name, wishes, &truth).await?);
        Ok(())
    }

    /// The server.
    pub(super) const fn server(&self) -> &ServerProcess {
        &self.server
    }

    /// Goes on for that long, as fast as rows are decided. Returns what the counters rose by.
    ///
    /// # Errors
    /// A writer or viewer failed.
    pub(super) async fn run_for(&mut self, time: Duration) -> Result<Span, BenchError> {
        self.writers.tell(Mode::Run);
        self.go_on(sleep(time)).await.map(|(span, ())| span)
    }

    /// From now on that many rows a second.
    pub(super) fn pace(&mut self, rows_per_second: f64) {
        self.writers.tell(Mode::Pace(rows_per_second / self.writers.count() as f64));
    }

    /// Goes on as told until something ends. Returns what the counters rose by too.
    ///
    /// # Errors
    /// A writer or viewer failed.
    pub(super) async fn go_on<T>(&mut self, until: impl Future<Output = T>) -> Result<(Span, T), BenchError> {
        let from = self.read()?;
        let viewers = async {
            match &mut self.watch {
                Some(watch) => watch.failed().await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            ended = until => ended,
            error = self.writers.failed() => return Err(error),
            error = viewers => return Err(error),
        };
        Ok((self.read()?.since(&from), ended))
    }

    /// Waits until all that was sent is decided; nothing is sent until the next [`Ingest::run_for`].
    ///
    /// # Errors
    /// A writer failed, or it takes too long.
    pub(super) async fn pause(&mut self) -> Result<(), BenchError> {
        self.writers.tell(Mode::Pause);
        let idle = self.writers.idle();
        self.go_on(idle).await?.1
    }

    /// The world while nobody writes; `others` tells where those are that others write.
    pub(super) fn truth(&self, others: impl FnOnce(&mut [Point3])) -> Truth {
        let mut positions = self.load.positions_after(&self.writers.sent());
        others(&mut positions);
        Truth::new(positions)
    }

    /// Stops writing, and compares what writers, viewers and store have; `others` tells where those are that others
    /// write.
    ///
    /// # Errors
    /// They differ, or the server fails.
    pub(super) async fn end(mut self, others: impl FnOnce(&mut [Point3])) -> Result<Ended, BenchError> {
        let sent = self.writers.stop().await?;
        let mut expected = self.load.positions_after(&sent);
        others(&mut expected);
        let viewer = match self.onlooker {
            Some(follower) => follower.end(expected.clone()).await?,
            None => Replica::default(),
        };
        let truth = Arc::new(Truth::new(expected));
        let watched = match self.watch {
            Some(watch) => watch.finish(truth.clone()).await?,
            None => Watched::default(),
        };
        check_store(&mut self.tools, truth.positions()).await?;
        self.server.stop()?;
        let (cell_change_percent, partition_change_percent) =
            self.load.crossing_percents(&self.plan, &sent)?;
        let durability = self.durability;
        Ok(Ended { durability, watched, cell_change_percent, partition_change_percent, viewer })
    }

    fn read(&self) -> Result<Reading, BenchError> {
        Ok(Reading {
            at: Instant::now(),
            rows: self.writers.rows_decided(&self.load),
            told: self.watch.as_ref().map(Watch::told).unwrap_or_default(),
            server_cpu_seconds: self.server.cpu_seconds()?,
            client_cpu_seconds: procfs::cpu_seconds(std::process::id())?,
        })
    }
}

impl Follower {
    async fn start(server: &ServerProcess, entities: usize) -> Result<Self, BenchError> {
        let mut viewer = Link::attach(server, "viewer").await?;
        let mut replica = Replica::new(entities);
        viewer::fill(&mut viewer, &mut replica).await?;
        let (finished, expected) = oneshot::channel();
        Ok(Self { task: tokio::spawn(viewer::follow(viewer, replica, expected)), finished })
    }

    async fn end(self, expected: Vec<Point3>) -> Result<Replica, BenchError> {
        // If the viewer has gone, it says why.
        let _ = self.finished.send(expected);
        self.task.await.map_err(|crash| BenchError::crashed(&crash))?
    }
}

/// What the counters show at one instant.
struct Reading {
    at: Instant,
    rows: u64,
    told: Told,
    server_cpu_seconds: f64,
    client_cpu_seconds: f64,
}

impl Span {
    /// Of the server.
    pub(super) fn server_cpu_ns_per_update(&self) -> f64 {
        self.server_cpu_seconds * 1e9 / self.rows.max(1.0)
    }

    /// Rows decided.
    pub(super) fn rows_per_second(&self) -> f64 {
        self.rows / self.seconds
    }
}

impl Reading {
    fn since(&self, before: &Self) -> Span {
        Span {
            seconds: self.at.duration_since(before.at).as_secs_f64(),
            rows: (self.rows - before.rows) as f64,
            told: self.told.since(&before.told),
            server_cpu_seconds: self.server_cpu_seconds - before.server_cpu_seconds,
            client_cpu_seconds: self.client_cpu_seconds - before.client_cpu_seconds,
        }
    }
}

impl Load {
    fn new(setup: &Setup<'_>, seen: &[u64]) -> Self {
        let Setup { plan, walk, .. } = setup;
        let map = walk.partition_map(plan.partitions);
        let pool = |(stream, seen): (usize, &u64)| {
            Pool::new(walk, &map, setup.share(stream), plan.batch as usize, *seen)
        };
        let pools = seen.iter().enumerate().map(|stream| Arc::new(pool(stream))).collect();
        Self { walk: walk.clone(), pools }
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
        let cells = enough("change cell", percent(cells), CELL_CHANGES_LEAST_PERCENT)?;
        if plan.partitions == 1 {
            return Ok((cells, 0.0));
        }
        Ok((cells, enough("change partition", percent(partitions), PARTITION_CHANGES_LEAST_PERCENT)?))
    }
}

async fn check_store(tools: &mut Tools, expected: &[Point3]) -> Result<(), BenchError> {
    let mut store = Replica::new(expected.len());
    let mut found = 0;
    let matched = tools
        .each_entity(|entity| {
            found += 1;
            store.set(entity.entity, tools::position(entity));
        })
        .await?;
    if (matched, found) != (expected.len() as u64, expected.len()) {
        let found = format!("{found} entities, and {matched} said to match");
        return Err(BenchError::unexpected("Query", format!("{} entities", expected.len()), found));
    }
    store.check("the store", expected)
}

fn report(plan: &Plan, span: &Span, connections: usize, ended: Ended) -> Report {
    let report = Report::new(plan.scenario, ended.durability)
        .figure("updates_per_second", (span.rows / span.seconds).round(), "1/s")
        .figure("server_cpu_seconds", span.server_cpu_seconds, "s")
        .figure("server_cpu_ns_per_update", span.server_cpu_ns_per_update(), "ns")
        .figure("client_cpu_seconds", span.client_cpu_seconds, "s")
        .figure("cell_change_percent", ended.cell_change_percent, "%")
        .figure("partition_change_percent", ended.partition_change_percent, "%")
        .figure("viewer_rows_per_second", ended.viewer.rows as f64 / plan.seconds as f64, "1/s")
        .fact("viewer_frames", ended.viewer.frames)
        .fact("entities", plan.entities)
        .fact("streams", plan.streams)
        .fact("partitions", plan.partitions)
        .fact("batch", plan.batch)
        .fact("views", plan.views)
        .fact("seconds", span.seconds);
    if plan.views == 0 {
        return report;
    }
    report
        .figure("view_rows_per_second", (span.told.rows as f64 / span.seconds).round(), "1/s")
        .figure("view_frames_per_second", (span.told.frames as f64 / span.seconds).round(), "1/s")
        .fact("view_connections", connections)
}
