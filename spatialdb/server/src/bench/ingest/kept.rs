//! `ingest --data-dir`: what it costs that positions, which are CHECKPOINTED, are written to a data directory.

use super::super::{BenchError, Plan, Report};
use super::{Ingest, Setup, pairs::Pairs};

/// Runs the scenario: beside the same world in memory.
///
/// # Errors
/// A server fails or refuses something, or the results are wrong.
pub(in crate::bench) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let mut memory = Ingest::start(&Setup::of(plan), Ok).await?;
    let mut kept = Ingest::start(&Setup::of(plan), |files| Ok(files.kept())).await?;
    let pairs = Pairs::run(plan, &mut memory, &mut kept).await?;
    memory.end(|_| ()).await?;
    let ended = kept.end(|_| ()).await?;
    let names = ["memory_updates_per_second", "memory_server_cpu_ns_per_update"];
    Ok(pairs.report(plan, ended.durability, names))
}
