//! `latency --load`: the same beside writers who keep the server as busy as asked.

use std::{sync::Arc, time::Duration};

use super::{
    super::{
        area::Area,
        error::BenchError,
        ingest::{Ingest, Onlooker, Ownership, Setup},
        plan::Plan,
        report::Report,
        walk::Walk,
    },
    Pair, figures,
};

/// Entities that are pinged, anywhere in the world; all others are load.
const PINGED: usize = 100;

const WARM_UP: Duration = Duration::from_secs(1);
const FULL_LOAD: Duration = Duration::from_secs(3);

// Less than this share of what was asked for would be another scenario.
const LOAD_LEAST_PERCENT: f64 = 90.0;

/// Runs the scenario.
///
/// # Errors
/// The server fails, a receipt is not what was sent, the load is too small, or the results of it are wrong.
pub(in crate::bench) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let walk = Arc::new(Walk::new(plan.entities as usize));
    let pinged = PINGED.min(plan.entities as usize / 2);
    let setup = Setup {
        plan,
        walk: walk.clone(),
        reserved: pinged,
        onlooker: Onlooker::Nobody,
        ownership: Ownership::Open,
    };
    let mut ingest = Ingest::start(&setup, Ok).await?;
    let area = Area::FirstIds(pinged as u64);
    let mut pair = Pair::attach(ingest.server(), area, pinged as u64).await?;
    ingest.run_for(WARM_UP).await?;
    let (asked, full) = match plan.rate {
        0 => {
            let full = ingest.run_for(FULL_LOAD).await?.rows_per_second();
            (full * plan.load_percent as f64 / 100.0, Some(full))
        }
        rate => (rate as f64, None),
    };
    ingest.pause().await?;
    ingest.pace(asked);
    let pings = pair.ping(&walk, Duration::from_secs(plan.seconds));
    let (span, percentiles) = ingest.go_on(Box::pin(pings)).await?;
    let percentiles = percentiles?;
    let percent = span.rows_per_second() * 100.0 / asked;
    if percent < LOAD_LEAST_PERCENT {
        let what = "that were asked for were taken";
        return Err(BenchError::TooEasy { what, percent, least_percent: LOAD_LEAST_PERCENT });
    }
    let ended = ingest.end(|positions| pair.place(&walk, positions)).await?;
    let mut report = figures(Report::new(plan.scenario, ended.durability), &percentiles)
        .figure("load_updates_per_second", span.rows_per_second().round(), "1/s")
        .figure("server_cpu_seconds", span.server_cpu_seconds, "s");
    if let Some(full) = full {
        report = report.figure("full_updates_per_second", full.round(), "1/s");
    }
    Ok(report
        .fact("load", asked.round() as u64)
        .fact("seconds", span.seconds)
        .fact("entities", plan.entities)
        .fact("streams", plan.streams)
        .fact("batch", plan.batch)
        .fact("partitions", plan.partitions))
}
