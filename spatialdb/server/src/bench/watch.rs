//! Many viewers that read fast: sessions over a few connections, each with a replica that must be right.
//!
//! Responsible for: attaching them, filling their views, counting what is delivered and how late, the comparison at
//! the end. Not responsible for: who writes.

mod replica;
mod viewer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use spatialdb_types::Point3;
use tokio::{sync::oneshot, task::JoinSet};
use tonic::transport::Channel;

use super::{
    area::{Area, Squares},
    error::BenchError,
    histogram::Histogram,
    server::ServerProcess,
};

pub(super) use viewer::Viewer;

/// Viewers that share a connection: a process that shows something to many.
const VIEWERS_PER_CONNECTION: usize = 64;

/// Spans whose delays are counted apart.
pub(super) const SPANS: usize = 3;

/// What a viewer asks for.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    /// Its views.
    pub(super) views: Vec<(Area, f64)>,
}

/// The world as it must be seen.
pub(super) struct Truth {
    positions: Vec<Point3>,
    squares: Squares,
}

/// What all viewers of a scenario know.
pub(super) struct Clock {
    /// Heights of entities are microseconds since then, where delays are counted.
    pub(super) origin: Instant,
    // From 1; 0: delays are not counted.
    span: AtomicUsize,
}

/// What viewers have been told so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Rows of positions that were news.
    pub(super) rows: u64,
    /// Frames.
    pub(super) frames: u64,
}

/// What one viewer has been told, for all to see.
#[derive(Default)]
struct Counters {
    rows: AtomicU64,
    frames: AtomicU64,
}

/// Viewers at work.
pub(super) struct Watch {
    connections: Vec<Channel>,
    viewers: JoinSet<Result<Watched, BenchError>>,
    counters: Vec<Arc<Counters>>,
    finish: Vec<oneshot::Sender<Arc<Truth>>>,
}

/// What became of viewers whose replicas were right.
#[derive(Default)]
pub(super) struct Watched {
    /// All that they were told since their views were full.
    pub(super) told: Told,
    /// Rows that told them once more what they knew: no delivery, and no harm.
    pub(super) repeats: u64,
    /// Microseconds from a write's schedule to its receipt, by span.
    pub(super) delays_us: [Histogram; SPANS],
}

impl Truth {
    /// Entity `i + 1` is at place `i`.
    pub(super) fn new(positions: Vec<Point3>) -> Self {
        Self { squares: Squares::of(&positions), positions }
    }

    /// Where all entities are.
    pub(super) fn positions(&self) -> &[Point3] {
        &self.positions
    }

    /// The places of those in the area.
    pub(super) fn inside(&self, area: &Area) -> Vec<u32> {
        self.squares.inside(area, &self.positions)
    }
}

impl Clock {
    /// A clock that starts now.
    pub(super) fn start() -> Arc<Self> {
        Arc::new(Self { origin: Instant::now(), span: AtomicUsize::new(0) })
    }

    /// Counts delays from now on for that span; `None`: for none.
    pub(super) fn count(&self, span: Option<usize>) {
        self.span.store(span.map_or(0, |span| span + 1), Ordering::Relaxed);
    }
}

impl Wish {
    /// One view.
    pub(super) fn one(area: Area, rate_hz: f64) -> Self {
        Self { views: vec![(area, rate_hz)] }
    }
}

impl Told {
    /// What was told since.
    pub(super) const fn since(&self, before: &Self) -> Self {
        Self { rows: self.rows - before.rows, frames: self.frames - before.frames }
    }
}

impl Watch {
    /// Attaches a viewer for each wish, one after the other, and fills its views from a world that rests.
    ///
    /// # Errors
    /// A session ends, or shows anything else than it should.
    pub(super) async fn start(
        server: &ServerProcess,
        clock: &Arc<Clock>,
        name: &str,
        wishes: &[Wish],
        truth: &Truth,
    ) -> Result<Self, BenchError> {
        let mut watch = Self {
            connections: Vec::new(),
            viewers: JoinSet::new(),
            counters: Vec::new(),
            finish: Vec::new(),
        };
        for (place, wish) in wishes.iter().enumerate() {
            if place % VIEWERS_PER_CONNECTION == 0 {
                watch.connections.push(server.connect().await?);
            }
            let connection = watch.connections[place / VIEWERS_PER_CONNECTION].clone();
            let entities = truth.positions.len();
            let name = format!("{name}-{place}");
            let mut viewer = Viewer::attach(connection, server.token(), &name, clock, entities).await?;
            viewer.fill(wish, truth).await?;
            watch.add(viewer);
        }
        Ok(watch)
    }

    fn add(&mut self, mut viewer: Viewer) {
        let (finish, finished) = oneshot::channel();
        self.counters.push(viewer.counters());
        self.finish.push(finish);
        self.viewers.spawn(async move {
            if let Some(truth) = viewer.follow(finished).await? {
                viewer.settle(&truth).await?;
            }
            Ok(viewer.watched())
        });
    }

    /// How many connections they have.
    pub(super) const fn connections(&self) -> usize {
        self.connections.len()
    }

    /// What all of them were told since their views were full.
    pub(super) fn told(&self) -> Told {
        self.counters.iter().fold(Told::default(), |all, counters| all.and(counters.told()))
    }

    /// Waits until one of them fails.
    pub(super) async fn failed(&mut self) -> BenchError {
        match self.viewers.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(crash)) => BenchError::crashed(&crash),
            // Without viewers nobody fails.
            None => std::future::pending().await,
            Some(Ok(Ok(_))) => BenchError::unexpected("a viewer", "to go on", "its end"),
        }
    }

    /// Waits until every replica equals the world.
    ///
    /// # Errors
    /// One does not in time, or its session ends.
    pub(super) async fn finish(mut self, truth: Arc<Truth>) -> Result<Watched, BenchError> {
        for finish in self.finish {
            // One that has ended says why.
            let _ = finish.send(truth.clone());
        }
        let mut all = Watched::default();
        while let Some(ended) = self.viewers.join_next().await {
            all.merge(&ended.map_err(|crash| BenchError::crashed(&crash))??);
        }
        Ok(all)
    }
}

impl Told {
    const fn and(self, more: Self) -> Self {
        Self { rows: self.rows + more.rows, frames: self.frames + more.frames }
    }
}

impl Counters {
    fn told(&self) -> Told {
        Told { rows: self.rows.load(Ordering::Relaxed), frames: self.frames.load(Ordering::Relaxed) }
    }

    fn show(&self, told: Told) {
        self.rows.store(told.rows, Ordering::Relaxed);
        self.frames.store(told.frames, Ordering::Relaxed);
    }
}

impl Watched {
    fn merge(&mut self, other: &Self) {
        self.told = self.told.and(other.told);
        self.repeats += other.repeats;
        for (all, more) in self.delays_us.iter_mut().zip(&other.delays_us) {
            all.merge(more);
        }
    }
}
