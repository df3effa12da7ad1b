//! Two worlds that take turns, since the speed of a shared machine drifts.

use std::time::Duration;

use super::super::{BenchError, Plan, Report, fences::run_alone, percentiles::median};
use super::{Ingest, Span};

/// Pairs of a span of the one and a span of the other.
const PAIRS: u32 = 5;

const WARM_UP: Duration = Duration::from_secs(1);

/// What both did.
pub(super) struct Pairs {
    plain: Vec<Span>,
    other: Vec<Span>,
}

impl Pairs {
    /// Lets them take turns for as long as the plan says, together.
    ///
    /// # Errors
    /// A server fails or refuses something.
    pub(super) async fn run(plan: &Plan, plain: &mut Ingest, other: &mut Ingest) -> Result<Self, BenchError> {
        let span = Duration::from_secs(plan.seconds) / (2 * PAIRS);
        let mut pairs = Self { plain: Vec::new(), other: Vec::new() };
        run_alone(plain, WARM_UP).await?;
        run_alone(other, WARM_UP).await?;
        for _ in 0..PAIRS {
            pairs.plain.push(run_alone(plain, span).await?);
            pairs.other.push(run_alone(other, span).await?);
        }
        Ok(pairs)
    }

    /// The figures of the other, of the plain one by that name, and their ratio; medians.
    pub(super) fn report(&self, plan: &Plan, durability: String, plain: [&'static str; 2]) -> Report {
        let of = |spans: &[Span], value: fn(&Span) -> f64| median(spans.iter().map(value).collect());
        let [plain_rate, plain_cpu] = plain;
        let both = self.other.iter().zip(&self.plain);
        let ratios = both.map(|(other, plain)| other.rows_per_second() / plain.rows_per_second()).collect();
        Report::new(plan.scenario, durability)
            .figure("updates_per_second", of(&self.other, Span::rows_per_second).round(), "1/s")
            .figure(plain_rate, of(&self.plain, Span::rows_per_second).round(), "1/s")
            .figure("ratio", median(ratios), "1")
            .figure("server_cpu_ns_per_update", of(&self.other, Span::server_cpu_ns_per_update), "ns")
            .figure(plain_cpu, of(&self.plain, Span::server_cpu_ns_per_update), "ns")
            .fact("entities", plan.entities)
            .fact("streams", plan.streams)
            .fact("partitions", plan.partitions)
            .fact("batch", plan.batch)
            .fact("pairs", PAIRS)
    }
}
