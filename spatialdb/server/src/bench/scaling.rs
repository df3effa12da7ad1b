//! `scaling`: what an update costs the server as worlds grow at the same density.
//!
//! The load is that of `ingest` without its viewer, who would be shown more in a larger world.

use std::{sync::Arc, time::Duration};

use super::{
    BenchError, Plan, Report,
    ingest::{Ingest, Onlooker, Ownership, Setup},
    walk::Walk,
};

const ENTITIES: [u64; 4] = [10_000, 100_000, 1_000_000, 4_000_000];

/// From which to which the cost is compared.
const STEPS: [(u64, u64); 2] = [(10_000, 1_000_000), (1_000_000, 4_000_000)];

const WARM_UP: Duration = Duration::from_secs(1);

/// An ingest of one size.
struct Size {
    entities: u64,
    cost_ns: f64,
    updates_per_second: f64,
    durability: String,
}

/// Runs the scenario. A report for each size, and one for each comparison.
///
/// # Errors
/// The server fails or refuses something, or the results are wrong.
pub(super) async fn run(plan: &Plan) -> Result<Vec<Report>, BenchError> {
    let mut sizes = Vec::new();
    for entities in ENTITIES {
        sizes.push(ingest(&Plan { entities, ..*plan }).await?);
    }
    let report = |size: &Size| {
        Report::new(plan.scenario, size.durability.clone())
            .fact("streams", plan.streams)
            .fact("partitions", plan.partitions)
            .fact("batch", plan.batch)
    };
    let by_size = sizes.iter().map(|size| {
        report(size)
            .figure("server_cpu_ns_per_update", size.cost_ns, "ns")
            .figure("updates_per_second", size.updates_per_second.round(), "1/s")
            .fact("entities", size.entities)
    });
    let compared = STEPS.iter().filter_map(|(from, to)| {
        let of = |entities: &u64| sizes.iter().find(|size| size.entities == *entities);
        let (from, to) = (of(from)?, of(to)?);
        let report = report(to).figure("cost_ratio", to.cost_ns / from.cost_ns, "1");
        Some(report.fact("entities_from", from.entities).fact("entities_to", to.entities))
    });
    Ok(by_size.chain(compared).collect())
}

async fn ingest(plan: &Plan) -> Result<Size, BenchError> {
    let walk = Arc::new(Walk::new(plan.entities as usize));
    let setup = Setup { plan, walk, reserved: 0, onlooker: Onlooker::Nobody, ownership: Ownership::Open };
    let mut ingest = Ingest::start(&setup, Ok).await?;
    ingest.run_for(WARM_UP).await?;
    let span = ingest.run_for(Duration::from_secs(plan.seconds) / ENTITIES.len() as u32).await?;
    Ok(Size {
        entities: plan.entities,
        cost_ns: span.server_cpu_ns_per_update(),
        updates_per_second: span.rows_per_second(),
        durability: ingest.end(|_| ()).await?.durability,
    })
}
