//! `latency`: from a write to its receipt by a viewer of another session, one update in flight.
//!
//! A closed loop: the next update goes out when the last one was seen. Each receipt must be exactly the update that
//! was sent, and nothing else. With `--load` others write the rest of the world meanwhile (`laden`).

mod laden;

use std::time::{Duration, Instant};

use spatialdb_proto::v1::{Frame, PositionColumn, Update, View, client_message::Body};
use spatialdb_types::Point3;
use tokio::{task::JoinHandle, time::timeout};

use super::{
    BenchError, Plan, Report,
    area::Area,
    link::{Link, Receiver, Sender},
    percentiles::Percentiles,
    server::ServerProcess,
    tools::Tools,
    walk::Walk,
    world::{SPACE, WorldFiles},
};

pub(super) use laden::run as run_laden;

const SAMPLES_LEAST: usize = 10_000;
const WARM_UP_SAMPLES: u64 = 1000;
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Writer and viewer.
struct Pair {
    sender: Sender,
    viewer: Link,
    drain: JoinHandle<BenchError>,
    // Those that are written: so many, from the first on.
    entities: u64,
    updates: u64,
}

/// Runs the scenario.
///
/// # Errors
/// The server fails, or a receipt is not what was sent.
pub(super) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let walk = Walk::new(plan.entities as usize);
    let files = WorldFiles::of_walk(&walk)?;
    let server = ServerProcess::start(&files, plan.partitions)?;
    let durability = Tools::connect(&server).await?.world().await?.durability;
    let mut pair = Pair::attach(&server, Area::Everything, plan.entities).await?;
    let cpu_before = server.cpu_seconds()?;
    let percentiles = pair.ping(&walk, Duration::from_secs(plan.seconds)).await?;
    let server_cpu_seconds = server.cpu_seconds()? - cpu_before;
    drop(pair);
    server.stop()?;
    let updates = percentiles.count() as f64 + WARM_UP_SAMPLES as f64;
    Ok(figures(Report::new(plan.scenario, durability), &percentiles)
        .figure("server_cpu_ns_per_update", server_cpu_seconds * 1e9 / updates, "ns")
        .fact("entities", plan.entities)
        .fact("partitions", plan.partitions))
}

fn figures(report: Report, percentiles: &Percentiles) -> Report {
    let ms = |ns: u64| ns as f64 / 1e6;
    report
        .figure("p50_ms", ms(percentiles.at(0.5)), "ms")
        .figure("p99_ms", ms(percentiles.at(0.99)), "ms")
        .figure("p99_9_ms", ms(percentiles.at(0.999)), "ms")
        .figure("max_ms", ms(percentiles.max()), "ms")
        .fact("samples", percentiles.count())
        .fact("loop", "closed, one update in flight")
}

impl Pair {
    // The viewer sees these entities, and nothing else.
    async fn attach(server: &ServerProcess, area: Area, entities: u64) -> Result<Self, BenchError> {
        let mut viewer = Link::attach(server, "viewer").await?;
        let view = View { view_id: 1, constraint: Some(area.constraint()), ..View::default() };
        viewer.fill_view(view, entities, |_| ()).await?;
        let writer = Link::attach(server, "writer").await?;
        let drain = tokio::spawn(drain(writer.receiver));
        Ok(Self { sender: writer.sender, viewer, drain, entities, updates: 0 })
    }

    async fn ping(&mut self, walk: &Walk, time: Duration) -> Result<Percentiles, BenchError> {
        let mut samples = Vec::with_capacity(1 << 20);
        let mut started = Instant::now();
        for n in 0.. {
            if n == WARM_UP_SAMPLES {
                samples.clear();
                started = Instant::now();
            }
            let sent = update(walk, self.entities, n);
            let at = Instant::now();
            self.sender.send(Body::Update(Update { positions: vec![sent.clone()], ..Update::default() }))?;
            self.updates = n + 1;
            let receipt = timeout(RECEIPT_TIMEOUT, receipt(&mut self.viewer.receiver)).await;
            samples.push(at.elapsed().as_nanos() as u64);
            match receipt {
                Ok(frame) => check(&sent, &frame?)?,
                Err(_) => return Err(missing(&sent, &self.drain)),
            }
            if n >= WARM_UP_SAMPLES && started.elapsed() >= time && samples.len() >= SAMPLES_LEAST {
                break;
            }
        }
        Percentiles::of(samples).ok_or_else(|| BenchError::unexpected("latency", "samples", "none"))
    }

    /// Writes where its entities are now to their places in `positions`.
    fn place(&self, walk: &Walk, positions: &mut [Point3]) {
        let (whole, rest) = (self.updates / self.entities, self.updates % self.entities);
        for place in 0..self.entities {
            let step = whole + u64::from(place < rest);
            positions[place as usize] = walk.round(walk.round_after(step))[place as usize];
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.drain.abort();
    }
}

// A frame without changes only tells how far the viewer's own messages were applied.
async fn receipt(viewer: &mut Receiver) -> Result<Frame, BenchError> {
    loop {
        let frame = viewer.frame().await?;
        let changes = frame.positions.len() + frame.columns.len() + frame.entered.len() + frame.left.len();
        if changes + frame.gone.len() > 0 {
            return Ok(frame);
        }
    }
}

// The writer's own frames must be read, or its session would be held back.
async fn drain(mut receiver: Receiver) -> BenchError {
    loop {
        if let Err(error) = receiver.frame().await {
            return error;
        }
    }
}

fn missing(sent: &PositionColumn, drain: &JoinHandle<BenchError>) -> BenchError {
    let writer = if drain.is_finished() { " (and the writer's session has ended)" } else { "" };
    BenchError::Timeout { what: format!("the receipt of {sent:?}{writer}"), waited: RECEIPT_TIMEOUT }
}

fn check(sent: &PositionColumn, frame: &Frame) -> Result<(), BenchError> {
    let others = frame.columns.len() + frame.entered.len() + frame.left.len() + frame.gone.len();
    if let ([found], 0) = (&frame.positions[..], others)
        && (PositionColumn { revisions: Vec::new(), ..found.clone() }) == *sent
    {
        return Ok(());
    }
    Err(BenchError::unexpected("viewer", format!("{sent:?}"), format!("{frame:?}")))
}

// The next step of one entity after the other.
fn update(walk: &Walk, entities: u64, n: u64) -> PositionColumn {
    let (place, step) = (n % entities, n / entities + 1);
    let to = walk.round(walk.round_after(step))[place as usize];
    PositionColumn {
        space: SPACE.0,
        entities: vec![place + 1],
        revisions: Vec::new(),
        x: vec![to.x],
        y: vec![to.y],
        z: vec![to.z],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_receipt_is_right() {
        let walk = Walk::new(100);
        let sent = update(&walk, 100, 5);
        let received = PositionColumn { revisions: vec![77], ..sent.clone() };
        let frame = Frame { positions: vec![received.clone()], ..Frame::default() };
        assert!(check(&sent, &frame).is_ok());
        assert!(check(&update(&walk, 100, 6), &frame).is_err());
        let more = Frame { entered: vec![1], ..frame };
        assert!(check(&sent, &more).is_err());
        let twice = Frame { positions: vec![received.clone(), received], ..Frame::default() };
        assert!(check(&sent, &twice).is_err());
    }
}
