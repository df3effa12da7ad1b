//! `handshakes`: how many strangers a second the server refuses, and what an ingest beside it loses by that.
//!
//! Responsible for: the order of things and the comparison. Not responsible for: the ingest (`ingest`), what a stranger
//! does (`strangers`).
//!
//! Calm and besieged spans take turns, and each pair is compared: the speed of a shared machine drifts more within a
//! minute than what is measured. Strangers live on the machine of the server, as everything here; what they cost
//! themselves counts as the server's loss too.

mod strangers;

use std::time::Duration;

use super::{
    BenchError, Plan, Report,
    ingest::{Ingest, Setup},
    world::WorldFiles,
};
use strangers::{Habits, Strangers};

const WARM_UP: Duration = Duration::from_secs(1);

/// Pairs of one calm and one besieged span.
const PAIRS: u32 = 20;

/// Runs the scenario.
///
/// # Errors
/// The server fails, lets a stranger in, or the results of the ingest are wrong.
pub(super) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let habits = Habits { calls_per_second: plan.strangers, calls_per_connection: plan.calls };
    let span = Duration::from_secs(plan.seconds) / (2 * PAIRS);
    let mut ingest = Ingest::start(&Setup::of(plan), WorldFiles::locked).await?;
    ingest.run_for(WARM_UP).await?;
    let (mut calm, mut besieged, mut losses, mut refused) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..PAIRS {
        let before = ingest.run_for(span).await?.rows_per_second();
        let strangers = Strangers::start(ingest.server().address(), habits);
        let during = ingest.run_for(span).await?.rows_per_second();
        refused += strangers.stop()?;
        calm.push(before);
        besieged.push(during);
        losses.push((1.0 - during / before) * 100.0);
    }
    let ended = ingest.end(|_| ()).await?;
    Ok(Report::new(plan.scenario, ended.durability)
        .figure("refused_per_second", f64::from(refused) / (span * PAIRS).as_secs_f64(), "1/s")
        .figure("updates_per_second", median(besieged).round(), "1/s")
        .figure("calm_updates_per_second", median(calm).round(), "1/s")
        .figure("loss_percent", median(losses), "%")
        .fact("strangers", plan.strangers)
        .fact("calls_per_connection", plan.calls)
        .fact("entities", plan.entities)
        .fact("streams", plan.streams)
        .fact("partitions", plan.partitions)
        .fact("batch", plan.batch)
        .fact("pairs", PAIRS))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
