//! `slow`: a viewer of everything who does not read, and what that does to the server and to others.
//!
//! Full load all the time; others measure how late they are told of entities on a schedule. A span without the stalled
//! viewer comes before and after the one with it, since the speed of a shared machine drifts.

use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::sleep};

use super::{
    BenchError, Plan, Report,
    area::Area,
    ingest::{Ingest, Onlooker, Ownership, Setup},
    pulse::{Pulse, Score},
    server::ServerProcess,
    walk::Walk,
    watch::{Clock, Viewer, Wish},
};

/// Those on a schedule, anywhere in the world; all others are load.
const TIMED: usize = 100;

/// Who see them.
const OTHERS: usize = 10;

/// Of the stall: how long each span without it is.
const CALM_SHARE: u32 = 4;

const WARM_UP: Duration = Duration::from_secs(2);

/// How often memory is read just before the stall and just before its end.
const READINGS: usize = 20;
const READING_STEP: Duration = Duration::from_millis(50);

/// Spans of delays.
const BEFORE: usize = 0;
const STALLED: usize = 1;
const AFTER: usize = 2;

/// Runs the scenario.
///
/// # Errors
/// The server fails, or a replica is wrong: that of the stalled viewer once it reads again, the others' at the end.
pub(super) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let walk = Arc::new(Walk::new(plan.entities as usize));
    let timed = TIMED.min(plan.entities as usize / 2);
    let setup = Setup {
        plan,
        walk: walk.clone(),
        reserved: timed,
        onlooker: Onlooker::Nobody,
        ownership: Ownership::Open,
    };
    let ingest = Ingest::start(&setup, Ok).await?;
    let clock = Clock::start();
    let score = Score { walk, places: 0..timed };
    let pulse = Pulse::attach(ingest.server(), score, &clock).await?;
    let mut scene = Scene { ingest, pulse, clock };
    let others = vec![Wish::one(Area::FirstIds(timed as u64), 0.0); OTHERS];
    scene.ingest.watch(&scene.clock, "other", &others).await?;
    scene.run(plan).await
}

struct Scene {
    ingest: Ingest,
    pulse: Pulse,
    clock: Arc<Clock>,
}

impl Scene {
    async fn run(mut self, plan: &Plan) -> Result<Report, BenchError> {
        let stall = Duration::from_secs(plan.seconds);
        self.pulse.start();
        self.go_on(None, WARM_UP).await?;
        self.go_on(Some(BEFORE), stall / CALM_SHARE).await?;

        let mut stalled = Self::attach(self.ingest.server(), &self.clock, plan.entities as usize).await?;
        let before_bytes = self.memory_bytes_while_reading(&mut stalled).await?;
        // What it does not read fills the buffers on the way first.
        self.go_on(None, WARM_UP).await?;
        let updates_per_second = self.go_on(Some(STALLED), stall).await?;
        let growth_bytes = self.memory_bytes().await? - before_bytes;
        self.reads_again(&mut stalled).await?;
        let stalled_rows = stalled.watched().told.rows;

        self.pulse.start();
        self.go_on(None, WARM_UP).await?;
        self.go_on(Some(AFTER), stall / CALM_SHARE).await?;
        let sent = self.pulse.stop().await?.clone();
        let score = self.pulse.score().clone();
        let ended = self.ingest.end(|positions| sent.place(&score, positions)).await?;
        let delays_us = &ended.watched.delays_us;
        let p99_us = |span: usize| delays_us[span].at(0.99) as f64;
        let mut calm_us = delays_us[BEFORE].clone();
        calm_us.merge(&delays_us[AFTER]);
        let calm_p99_us = calm_us.at(0.99) as f64;
        Ok(Report::new(plan.scenario, ended.durability)
            .figure("server_growth_bytes", growth_bytes, "B")
            .figure("others_p99_ratio", p99_us(STALLED) / calm_p99_us.max(1.0), "1")
            // What the same measure gives for two spans between which nothing differs but the hour.
            .figure("others_p99_drift", p99_us(AFTER) / p99_us(BEFORE).max(1.0), "1")
            .figure("others_p99_ms", p99_us(STALLED) / 1e3, "ms")
            .figure("others_calm_p99_ms", calm_p99_us / 1e3, "ms")
            .figure("server_bytes_before", before_bytes, "B")
            .figure("updates_per_second", updates_per_second.round(), "1/s")
            .figure("writer_late_p99_ms", sent.late_us.at(0.99) as f64 / 1e3, "ms")
            .fact("stalled_rows", stalled_rows)
            .fact("others", OTHERS)
            .fact("samples", ended.watched.delays_us[STALLED].count())
            .fact("entities", plan.entities)
            .fact("streams", plan.streams)
            .fact("partitions", plan.partitions)
            .fact("batch", plan.batch)
            .fact("seconds", plan.seconds))
    }

    // Who will stall.
    async fn attach(
        server: &ServerProcess,
        clock: &Arc<Clock>,
        entities: usize,
    ) -> Result<Viewer, BenchError> {
        let connection = server.connect().await?;
        let mut viewer = Viewer::attach(connection, server.token(), "stalled", clock, entities).await?;
        viewer.fill_meanwhile(&Wish::one(Area::Everything, 0.0)).await?;
        Ok(viewer)
    }

    // The world rests while it catches up, or there would be no telling what it should see.
    async fn reads_again(&mut self, stalled: &mut Viewer) -> Result<(), BenchError> {
        self.ingest.pause().await?;
        let sent = self.pulse.stop().await?.clone();
        let truth = self.ingest.truth(|positions| sent.place(self.pulse.score(), positions));
        stalled.settle(&truth).await
    }

    // Returns updates a second of the load.
    async fn go_on(&mut self, span: Option<usize>, time: Duration) -> Result<f64, BenchError> {
        self.clock.count(span);
        let pulse = &mut self.pulse;
        let span = tokio::select! {
            span = self.ingest.run_for(time) => span?,
            error = pulse.failed() => return Err(error),
        };
        self.clock.count(None);
        Ok(span.rows_per_second())
    }

    async fn memory_bytes_while_reading(&mut self, viewer: &mut Viewer) -> Result<f64, BenchError> {
        let (_never, finished) = oneshot::channel();
        let follow = viewer.follow(finished);
        tokio::select! {
            bytes = self.memory_bytes() => bytes,
            ended = follow => Err(ended.err().unwrap_or_else(|| {
                BenchError::unexpected("the viewer", "to go on", "its end")
            })),
        }
    }

    // The median: allocators breathe.
    async fn memory_bytes(&mut self) -> Result<f64, BenchError> {
        let mut readings = Vec::new();
        for _ in 0..READINGS {
            readings.push(self.ingest.server().memory_bytes("VmRSS")? as f64);
            self.ingest.go_on(sleep(READING_STEP)).await?;
        }
        readings.sort_by(f64::total_cmp);
        Ok(readings[READINGS / 2])
    }
}
