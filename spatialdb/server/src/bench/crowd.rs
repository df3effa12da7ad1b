//! `crowd`: a thousand viewers, each with a part of the world of its own.

use std::{sync::Arc, time::Duration};

use super::{BenchError, Plan, Report, area::Area, random::Random, viewing, walk::Walk};

/// In the box of a viewer, about.
const ENTITIES_PER_VIEW: f64 = 100.0;

/// Runs the scenario.
///
/// # Errors
/// The server fails, a frame breaks a rule, or a replica is wrong in the end.
pub(super) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let walk = Arc::new(Walk::new(plan.entities as usize));
    let areas = areas(&walk, plan.viewers);
    let viewing = viewing::view(plan, &walk, &areas, Duration::from_secs(plan.seconds)).await?;
    let figures = [
        ("deliveries_per_second", viewing.deliveries_per_second().round(), "1/s"),
        ("p50_ms", viewing.delay_ms(0.5), "ms"),
        ("p99_ms", viewing.delay_ms(0.99), "ms"),
        ("p99_9_ms", viewing.delay_ms(0.999), "ms"),
    ];
    Ok(viewing.report(plan, &figures).fact("viewers", plan.viewers))
}

fn areas(walk: &Walk, viewers: u64) -> Vec<Area> {
    let mut random = Random::new(viewers);
    let side_m = walk.side_of(ENTITIES_PER_VIEW);
    let mut along = || random.unit() * (walk.side_m() - side_m);
    (0..viewers).map(|_| Area::Square { min: (along(), along()), side_m }).collect()
}
