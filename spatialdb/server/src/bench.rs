//! Load tests against a real server process.
//!
//! Responsible for: starting the server, driving it over loopback, checking every result, and the figures.
//! Not responsible for: the command line (`cli`), or how the server does it.
//!
//! The tool speaks the wire itself and sends messages that were encoded beforehand, so that the machine's time goes
//! to the server. What is measured is what was checked: a figure is printed only if all results were right.

mod area;
mod balancer;
mod crowd;
mod crowd_split;
mod durable;
mod error;
mod failover;
mod fanout;
mod fences;
mod handover;
mod handshakes;
mod histogram;
mod ingest;
mod laden;
mod latency;
mod launch;
mod link;
mod live_snapshot;
mod machine;
mod memory;
mod owned;
mod owner;
mod percentiles;
mod plan;
mod procfs;
mod pulse;
mod query;
mod random;
mod report;
mod restart;
mod rolling;
mod scaling;
mod server;
mod slow;
mod tools;
mod viewing;
mod walk;
mod watch;
mod wire;
mod world;

pub(crate) use error::BenchError;
pub(crate) use owner::process::Task as OwnerTask;
pub(crate) use plan::{Plan, PlanError, Request, Scenario};
pub(crate) use report::Report;

use tokio::runtime;

use laden::LadenWorld;

/// Runs scenarios one after the other; hands over each report as soon as it is there.
///
/// # Errors
/// The first scenario that cannot run, or whose results are wrong.
pub(crate) fn run(
    plans: &[Plan],
    mut done: impl FnMut(&Report) -> Result<(), BenchError>,
) -> Result<(), BenchError> {
    // Kept between scenarios: writing a million entities takes longer than loading them.
    let mut laden = None;
    for plan in plans {
        let reports = match plan.scenario {
            Scenario::Ingest if plan.views > 0 => one(on_two_threads(ingest::run(plan))?),
            Scenario::Ingest if plan.is_kept() => one(on_one_thread(ingest::run_kept(plan))?),
            Scenario::Ingest if plan.layers > 0 => one(on_one_thread(ingest::run_layered(plan))?),
            Scenario::Ingest => one(on_one_thread(ingest::run(plan))?),
            Scenario::Latency if plan.has_load() => one(on_two_threads(latency::run_laden(plan))?),
            Scenario::Latency => one(on_one_thread(latency::run(plan))?),
            Scenario::Launch => one(on_one_thread(launch::run(plan, laden_world(&mut laden, plan)?))?),
            Scenario::Memory => one(on_one_thread(memory::run(plan, laden_world(&mut laden, plan)?))?),
            Scenario::Handshakes => one(on_one_thread(handshakes::run(plan))?),
            Scenario::Fanout => on_two_threads(fanout::run(plan))?,
            Scenario::Crowd => one(on_two_threads(crowd::run(plan))?),
            Scenario::Fences => one(on_two_threads(fences::run(plan))?),
            Scenario::Query => one(on_two_threads(query::run(plan))?),
            Scenario::Handover => one(on_one_thread(handover::run(plan))?),
            Scenario::Failover => one(on_one_thread(failover::run(plan))?),
            Scenario::Rolling => one(on_one_thread(rolling::run(plan))?),
            Scenario::CrowdSplit => one(on_two_threads(crowd_split::run(plan))?),
            Scenario::Balancer => one(balancer::run(plan)?),
            Scenario::Machine => one(machine::run(plan)?),
            Scenario::Durable => one(on_one_thread(durable::run(plan))?),
            Scenario::Restart => one(on_one_thread(restart::run(plan))?),
            Scenario::LiveSnapshot => one(on_one_thread(live_snapshot::run(plan))?),
            Scenario::Amplification => one(on_one_thread(durable::run_amplification(plan))?),
            Scenario::Slow => one(on_two_threads(slow::run(plan))?),
            Scenario::Scaling => on_one_thread(scaling::run(plan))?,
        };
        reports.iter().try_for_each(&mut done)?;
    }
    Ok(())
}

/// Works as a process of a scenario.
///
/// # Errors
/// Its session ends.
pub(crate) fn own(task: &OwnerTask) -> Result<(), BenchError> {
    on_one_thread(owner::process::run(task))
}

fn one(report: Report) -> Vec<Report> {
    vec![report]
}

fn laden_world<'a>(kept: &'a mut Option<LadenWorld>, plan: &Plan) -> Result<&'a LadenWorld, BenchError> {
    let world = match kept.take() {
        Some(world) if world.entities() == plan.entities => world,
        _ => LadenWorld::write(plan.entities)?,
    };
    Ok(kept.insert(world))
}

// One thread: the tool shares its cores with the server, and waking a second thread costs more than it brings.
fn on_one_thread<T>(scenario: impl Future<Output = Result<T, BenchError>>) -> Result<T, BenchError> {
    runtime(&mut runtime::Builder::new_current_thread())?.block_on(scenario)
}

// Two where many read: on one their frames would wait for each other, and count as the server's delay.
fn on_two_threads<T>(scenario: impl Future<Output = Result<T, BenchError>>) -> Result<T, BenchError> {
    runtime(runtime::Builder::new_multi_thread().worker_threads(2))?.block_on(scenario)
}

fn runtime(builder: &mut runtime::Builder) -> Result<runtime::Runtime, BenchError> {
    let failed = |source| BenchError::Io { what: "start the load tool".to_owned(), source };
    builder.enable_all().build().map_err(failed)
}
