//! `live-snapshot`: what a snapshot of a large world costs those who write and look meanwhile.
//!
//! The load of `ingest`, and a session that sees a few of the entities as often as the server publishes: how far its frames lie apart
//! says how late publishes are. Each snapshot is read to its end and has all entities.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use spatialdb_proto::v1::snapshot_service_client::SnapshotServiceClient;
use spatialdb_proto::v1::{
    SnapshotTaken, Subscribe, TakeSnapshotRequest, View, client_message::Body, take_snapshot_response::Step,
};
use tokio::task::JoinHandle;

use super::{
    BenchError, Plan, Report, area::Area, ingest::Ingest, ingest::Onlooker, ingest::Setup, link::Link,
    percentiles::median, server::ServerProcess,
};

const RUNS: usize = 3;

/// Of so many entities the viewer sees every move.
const SEEN: u64 = 64;

const WARM_UP: Duration = Duration::from_secs(2);

/// What one snapshot cost.
struct Run {
    seconds: f64,
    capture_ms: f64,
    held_ms: f64,
    /// Rows a second before, and meanwhile.
    rates: [f64; 2],
    /// The longest time between two frames before, and meanwhile.
    gaps_ms: [f64; 2],
    bytes: u64,
}

/// When frames came.
struct Frames {
    at: Arc<Mutex<Vec<Instant>>>,
    task: JoinHandle<BenchError>,
}

/// Runs the scenario.
///
/// # Errors
/// The server fails or refuses something, or the results are wrong.
pub(super) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    // A viewer of everything would itself keep publishes for as long as it takes to tell it of a million moves.
    let setup = Setup { onlooker: Onlooker::Nobody, ..Setup::of(plan) };
    let mut ingest = Ingest::start(&setup, Ok).await?;
    let frames = Frames::watch(ingest.server()).await?;
    ingest.run_for(WARM_UP).await?;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        frames.longest_gap_ms();
        let before = ingest.run_for(Duration::from_secs(plan.seconds)).await?;
        let gap_before = frames.longest_gap_ms();
        let channel = ingest.server().connect().await?;
        let started = Instant::now();
        let (span, taken) = ingest.go_on(take(channel, plan.entities)).await?;
        let (taken, seconds) = (taken?, started.elapsed().as_secs_f64());
        runs.push(Run {
            seconds,
            capture_ms: taken.capture_us as f64 / 1e3,
            held_ms: taken.held_us as f64 / 1e3,
            rates: [before.rows_per_second(), span.rows_per_second()],
            gaps_ms: [gap_before, frames.longest_gap_ms()],
            bytes: taken.bytes,
        });
    }
    frames.task.abort();
    let durability = ingest.end(|_| ()).await?.durability;
    let of = |value: fn(&Run) -> f64| median(runs.iter().map(value).collect());
    let most = |value: fn(&Run) -> f64| runs.iter().map(value).fold(0.0, f64::max);
    Ok(Report::new(plan.scenario, durability)
        .figure("seconds", most(|run| run.seconds), "s")
        .figure("publish_delay_max_ms", most(|run| (run.gaps_ms[1] - run.gaps_ms[0]).max(0.0)), "ms")
        .figure("ingest_ratio", of(|run| run.rates[1] / run.rates[0]), "1")
        .figure("updates_per_second", of(|run| run.rates[1]).round(), "1/s")
        .figure("updates_per_second_before", of(|run| run.rates[0]).round(), "1/s")
        .figure("frame_gap_max_ms", most(|run| run.gaps_ms[1]), "ms")
        .figure("frame_gap_max_before_ms", most(|run| run.gaps_ms[0]), "ms")
        .figure("capture_ms", of(|run| run.capture_ms), "ms")
        .figure("held_max_ms", most(|run| run.held_ms), "ms")
        .fact("snapshot_bytes", runs.last().map_or(0, |run| run.bytes))
        .fact("snapshots", RUNS)
        .fact("entities", plan.entities)
        .fact("streams", plan.streams)
        .fact("partitions", plan.partitions)
        .fact("batch", plan.batch))
}

/// Takes a snapshot, and reads it to its end.
async fn take(channel: tonic::transport::Channel, entities: u64) -> Result<SnapshotTaken, BenchError> {
    let failed = |status: tonic::Status| BenchError::status("TakeSnapshot", &status);
    let request = TakeSnapshotRequest::default();
    let answer = SnapshotServiceClient::new(channel).take_snapshot(request).await.map_err(failed)?;
    let (mut steps, mut bytes) = (answer.into_inner(), 0);
    while let Some(message) = steps.message().await.map_err(failed)? {
        match message.step {
            Some(Step::Piece(piece)) => bytes += piece.len() as u64,
            Some(Step::Taken(taken)) if taken.entities == entities && taken.bytes == bytes => {
                return Ok(taken);
            }
            Some(Step::Taken(taken)) => {
                let expected = format!("{entities} entities in {bytes} bytes");
                return Err(BenchError::unexpected("TakeSnapshot", expected, format!("{taken:?}")));
            }
            _ => {}
        }
    }
    Err(BenchError::unexpected("TakeSnapshot", "a whole snapshot", "a part of it"))
}

impl Frames {
    async fn watch(server: &ServerProcess) -> Result<Self, BenchError> {
        let Link { mut sender, mut receiver } = Link::attach(server, "frames").await?;
        let constraint = Some(Area::FirstIds(SEEN).constraint());
        let view = View { view_id: 1, constraint, ..View::default() };
        sender.send(Body::Subscribe(Subscribe { view: Some(view) }))?;
        let at: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let told = at.clone();
        let task = tokio::spawn(async move {
            // As long as it is here the session goes on.
            let _sender = sender;
            loop {
                match receiver.frame().await {
                    Ok(frame) if frame.positions.is_empty() => {}
                    Ok(_) => told.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now()),
                    Err(error) => return error,
                }
            }
        });
        Ok(Self { at, task })
    }

    /// Between two frames since it was asked last.
    fn longest_gap_ms(&self) -> f64 {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let gaps = at.windows(2).map(|pair| pair[1] - pair[0]);
        let longest = gaps.max().unwrap_or_default();
        let last = at.last().copied();
        at.clear();
        at.extend(last);
        longest.as_secs_f64() * 1e3
    }
}
