//! `fanout`: what it costs the server to show the same to many.
//!
//! All processor time of the server counts, that of taking the updates in too: what is left of it in a delivery is what
//! falls as viewers become more.

use std::{sync::Arc, time::Duration};

use super::{BenchError, Plan, Report, area::Area, viewing, walk::Walk};

/// Unless the plan says otherwise.
const VIEWERS: [u64; 3] = [1, 10, 100];

/// Runs the scenario. A report for each number of viewers.
///
/// # Errors
/// The server fails, a frame breaks a rule, or a replica is wrong in the end.
pub(super) async fn run(plan: &Plan) -> Result<Vec<Report>, BenchError> {
    let walk = Arc::new(Walk::new(plan.entities as usize));
    let asked = [plan.viewers];
    let all = if plan.viewers == 0 { &VIEWERS[..] } else { &asked[..] };
    let time = Duration::from_secs(plan.seconds) / all.len() as u32;
    let mut reports = Vec::new();
    for viewers in all {
        let areas = vec![Area::Everything; *viewers as usize];
        let viewing = viewing::view(plan, &walk, &areas, time).await?;
        let (told, cpu_seconds) = (viewing.deliveries(), viewing.server_cpu_seconds());
        let figures = [
            ("deliveries_per_server_cpu_second", (told / cpu_seconds).round(), "1/s"),
            ("server_cpu_ns_per_delivery", cpu_seconds * 1e9 / told.max(1.0), "ns"),
            ("deliveries_per_second", viewing.deliveries_per_second().round(), "1/s"),
            ("p50_ms", viewing.delay_ms(0.5), "ms"),
            ("p99_ms", viewing.delay_ms(0.99), "ms"),
        ];
        reports.push(viewing.report(plan, &figures).fact("viewers", *viewers));
    }
    Ok(reports)
}
