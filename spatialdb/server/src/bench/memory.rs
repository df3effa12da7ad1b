//! `memory`: what an entity costs beyond its payload.
//!
//! The payload is counted strictly: the three values of 32 bytes. Position, though it is data too, counts as overhead,
//! as do ids, revisions and the index.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{
    BenchError, Plan, Report,
    laden::{COMPONENTS, LadenWorld, VALUE_BYTES},
    launch::check,
    server::ServerProcess,
    tools::Tools,
};

const SETTLE_STEP: Duration = Duration::from_millis(500);
const SETTLE_TIMEOUT: Duration = Duration::from_secs(15);

// Memory is settled once it changes by less than this share in a step.
const SETTLED_SHARE: f64 = 0.002;

struct Usage {
    settled_bytes: u64,
    peak_bytes: u64,
    durability: String,
}

/// Runs the scenario.
///
/// # Errors
/// The server fails, or the world is not the one of the snapshot.
pub(super) async fn run(plan: &Plan, world: &LadenWorld) -> Result<Report, BenchError> {
    let alone = usage(plan, &LadenWorld::write(1)?).await?;
    let laden = usage(plan, world).await?;
    let per_entity = |bytes: f64| bytes / plan.entities as f64;
    let payload_bytes = (COMPONENTS.len() * VALUE_BYTES) as f64;
    let added_bytes = laden.settled_bytes as f64 - alone.settled_bytes as f64;
    Ok(Report::new(plan.scenario, laden.durability)
        .figure("overhead_bytes_per_entity", per_entity(added_bytes) - payload_bytes, "B")
        .figure("payload_bytes_per_entity", payload_bytes, "B")
        .figure("rss_bytes", laden.settled_bytes as f64, "B")
        .figure("rss_bytes_peak", laden.peak_bytes as f64, "B")
        .figure("rss_bytes_of_one_entity", alone.settled_bytes as f64, "B")
        .fact("components", "Position and 3 of 32 bytes")
        .fact("entities", plan.entities)
        .fact("partitions", plan.partitions))
}

async fn usage(plan: &Plan, world: &LadenWorld) -> Result<Usage, BenchError> {
    let server = ServerProcess::start(world.files(), plan.partitions)?;
    let settled_bytes = settled_bytes(&server).await?;
    let peak_bytes = server.memory_bytes("VmHWM")?;
    let mut tools = Tools::connect(&server).await?;
    let durability = check(&mut tools, world).await?;
    server.stop()?;
    Ok(Usage { settled_bytes, peak_bytes, durability })
}

async fn settled_bytes(server: &ServerProcess) -> Result<u64, BenchError> {
    let started = Instant::now();
    let mut last = server.memory_bytes("VmRSS")?;
    while started.elapsed() < SETTLE_TIMEOUT {
        sleep(SETTLE_STEP).await;
        let now = server.memory_bytes("VmRSS")?;
        if now.abs_diff(last) as f64 <= last as f64 * SETTLED_SHARE {
            return Ok(now);
        }
        last = now;
    }
    Err(BenchError::Timeout {
        what: "the settling of the server's memory".to_owned(),
        waited: SETTLE_TIMEOUT,
    })
}
