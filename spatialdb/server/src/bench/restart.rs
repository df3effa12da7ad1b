//! `restart`: from the start of the process to its first answer, with a large world in a data directory, after a kill.

use std::time::{Duration, Instant};

use spatialdb_proto::v1::{PositionColumn, Update, client_message::Body};

use super::{
    BenchError, Plan, Report, laden::LadenWorld, launch::check, link::Link, percentiles::Percentiles,
    server::ServerProcess, tools::Tools, world::SPACE,
};

const RUNS: usize = 3;

/// Of so many entities the log says more than the checkpoint.
const TAIL: u64 = 200_000;
const BATCH: u64 = 4000;

/// For what has changed to be written.
const REST: Duration = Duration::from_secs(3);

/// Runs the scenario.
///
/// # Errors
/// The server fails, or the world is not the one that was written.
pub(super) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let world = LadenWorld::write(plan.entities)?.kept();
    let server = ServerProcess::start(world.files(), plan.partitions)?;
    let tail = TAIL.min(plan.entities);
    write_tail(&server, &world, tail).await?;
    tokio::time::sleep(REST).await;
    let disk_bytes = world.files().data_bytes()?;
    // Killed, not stopped.
    drop(server);
    let (mut ms, mut cpu_seconds, mut durability) = (Vec::new(), 0.0, String::new());
    for _ in 0..RUNS {
        let started = Instant::now();
        let server = ServerProcess::start(world.files(), plan.partitions)?;
        let mut tools = Tools::connect(&server).await?;
        tools.entity(world.entities()).await?;
        ms.push(started.elapsed().as_millis() as u64);
        cpu_seconds += server.cpu_seconds()? / RUNS as f64;
        durability = check(&mut tools, &world).await?;
    }
    let times = Percentiles::of(ms).ok_or_else(|| BenchError::unexpected("restart", "runs", "none"))?;
    Ok(Report::new(plan.scenario, durability)
        .figure("seconds", times.at(0.5) as f64 / 1e3, "s")
        .figure("seconds_slowest", times.max() as f64 / 1e3, "s")
        .figure("server_cpu_seconds", cpu_seconds, "s")
        .figure("disk_bytes", disk_bytes as f64, "B")
        .fact("runs", RUNS)
        .fact("components", "Position and 3 of 32 bytes")
        .fact("entities", plan.entities)
        .fact("entities in the log", tail)
        .fact("partitions", plan.partitions))
}

/// Moves entities to where they are.
async fn write_tail(server: &ServerProcess, world: &LadenWorld, entities: u64) -> Result<(), BenchError> {
    let mut link = Link::attach(server, "writer").await?;
    for first in (1..=entities).step_by(BATCH as usize) {
        let ids: Vec<u64> = (first..=entities.min(first + BATCH - 1)).collect();
        let at = ids.iter().map(|id| world.place(*id));
        let mut column = PositionColumn { space: SPACE.0, ..PositionColumn::default() };
        for point in at {
            column.x.push(point.x);
            column.y.push(point.y);
            column.z.push(point.z);
        }
        column.entities = ids;
        let seq = link.sender.send(Body::Update(Update { positions: vec![column], ..Update::default() }))?;
        while link.receiver.frame().await?.applied_seq < seq {}
    }
    Ok(())
}
