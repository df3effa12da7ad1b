//! `launch`: from the start of the process to its first answer, with a large world.

use std::time::Instant;

use super::{
    BenchError, Plan, Report, laden::LadenWorld, percentiles::Percentiles, random::Random,
    server::ServerProcess, tools::Tools,
};

// The file is in the page cache from the first run on, and from writing it.
const RUNS: usize = 3;
const SAMPLED_ENTITIES: u64 = 200;

/// Runs the scenario.
///
/// # Errors
/// The server fails, or the world is not the one of the snapshot.
pub(super) async fn run(plan: &Plan, world: &LadenWorld) -> Result<Report, BenchError> {
    let (mut ms, mut cpu_seconds, mut durability) = (Vec::new(), 0.0, String::new());
    for _ in 0..RUNS {
        let started = Instant::now();
        let server = ServerProcess::start(world.files(), plan.partitions)?;
        let mut tools = Tools::connect(&server).await?;
        // The last entity of the file: an answer proves that all of it is there.
        tools.entity(world.entities()).await?;
        ms.push(started.elapsed().as_millis() as u64);
        cpu_seconds += server.cpu_seconds()? / RUNS as f64;
        durability = check(&mut tools, world).await?;
        server.stop()?;
    }
    let times = Percentiles::of(ms).ok_or_else(|| BenchError::unexpected("launch", "runs", "none"))?;
    Ok(Report::new(plan.scenario, durability)
        .figure("seconds", times.at(0.5) as f64 / 1e3, "s")
        .figure("seconds_slowest", times.max() as f64 / 1e3, "s")
        .figure("server_cpu_seconds", cpu_seconds, "s")
        .figure("snapshot_bytes", world.file_bytes() as f64, "B")
        .fact("runs", RUNS)
        .fact("components", "Position and 3 of 32 bytes")
        .fact("entities", plan.entities)
        .fact("partitions", plan.partitions))
}

/// Checks the number of entities and a sample of them, whole. Returns what durability the server promises.
///
/// # Errors
/// The world is not the one of the snapshot.
pub(super) async fn check(tools: &mut Tools, world: &LadenWorld) -> Result<String, BenchError> {
    let found = tools.world().await?;
    let expected = world.entities();
    if found.entity_count != expected {
        let found = format!("{} entities", found.entity_count);
        return Err(BenchError::unexpected("GetWorld", format!("{expected} entities"), found));
    }
    let mut random = Random::new(expected);
    for n in 0..SAMPLED_ENTITIES.min(expected) {
        // Both ends, and anything between.
        let id = match n {
            0 => 1,
            1 => expected,
            _ => random.next() % expected + 1,
        };
        let entity = tools.entity(id).await?;
        let wrong = |first| BenchError::Mismatch {
            what: "sampled entities".to_owned(),
            count: 1,
            total: n as usize + 1,
            first,
        };
        if entity.entity != id {
            return Err(wrong(format!("asked for {id}, got {}", entity.entity)));
        }
        world.check(&entity).map_err(wrong)?;
    }
    Ok(found.durability)
}
