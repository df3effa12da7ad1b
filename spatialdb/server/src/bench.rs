//! Load tests against a real server process.
//!
//! Responsible for: starting the server, driving it over loopback, checking every result, and the figures.
//! Not responsible for: the command line (`cli`), or how the server does it.
//!
//! The tool speaks the wire itself and sends messages that were encoded beforehand, so that the machine's time goes
//! to the server. What is measured is what was checked: a figure is printed only if all results were right.

mod error;
mod handshakes;
mod ingest;
mod laden;
mod latency;
mod launch;
mod link;
mod memory;
mod percentiles;
mod plan;
mod procfs;
mod random;
mod report;
mod server;
mod tools;
mod walk;
mod world;

pub(crate) use error::BenchError;
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
        let report = match plan.scenario {
            Scenario::Ingest => on_one_thread(ingest::run(plan))?,
            Scenario::Latency => on_one_thread(latency::run(plan))?,
            Scenario::Launch => on_one_thread(launch::run(plan, laden_world(&mut laden, plan)?))?,
            Scenario::Handshakes => on_one_thread(handshakes::run(plan))?,
            Scenario::Memory => on_one_thread(memory::run(plan, laden_world(&mut laden, plan)?))?,
        };
        done(&report)?;
    }
    Ok(())
}

fn laden_world<'a>(kept: &'a mut Option<LadenWorld>, plan: &Plan) -> Result<&'a LadenWorld, BenchError> {
    let world = match kept.take() {
        Some(world) if world.entities() == plan.entities => world,
        _ => LadenWorld::write(plan.entities)?,
    };
    Ok(kept.insert(world))
}

// One thread: the tool shares its cores with the server, and waking a second thread costs more than it brings.
fn on_one_thread(scenario: impl Future<Output = Result<Report, BenchError>>) -> Result<Report, BenchError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| BenchError::Io { what: "start the load tool".to_owned(), source })?;
    runtime.block_on(scenario)
}
