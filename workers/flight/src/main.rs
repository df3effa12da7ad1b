//! The flight worker: keeps a number of aircraft in the air between the airports of the earth world.
//!
//! Responsible for: the command line, logs, signals.
//! Not responsible for: flying (`run.rs`).

mod earth;
mod fleet;
mod flight;
mod report;
mod routes;
mod run;
mod sphere;

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use spatialdb_sdk::WorkerOptions;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{
    earth::{Aircraft, Airport},
    fleet::{Fleet, FleetPlan},
    run::{Pilot, connect_alone, unix_time_us},
};

/// Flies aircraft along great circles between the airports of the earth world.
///
/// The world is found by SPATIALDB_ADDRESS (127.0.0.1:7400 if not set), SPATIALDB_WORKER_TYPE, SPATIALDB_WORKER_NAME and
/// SPATIALDB_TOKEN, which `spatialdb launch` sets. Aircraft live in the world: a worker that starts again flies
/// on those that are there. One instance flies all of them, and a second one refuses to start; in a world with layers
/// several share them, each by its regions. The flag aircraft_multiplier of the world, 1 to 100, says how many times as many
/// aircraft there should be: `spatialdb flags set flight aircraft_multiplier=4`.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How many aircraft to keep in the air, at a multiplier of 1.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    aircraft: u32,
    /// How many times a second each aircraft moves, 0.1 to 100.
    #[arg(long, default_value_t = 10.0, value_parser = in_range::<1, 1000>)]
    rate_hz: f64,
    /// The speed of every aircraft, in metres a second, 1 to 1,000,000.
    #[arg(long, default_value_t = 250.0, value_parser = in_range::<10, 10_000_000>)]
    cruise_mps: f64,
    /// Where the routes come from: the same seed and airports give the same routes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The name of a worker that the world has started, to take its place, say in a debugger. It is started again some
    /// seconds after this one has gone.
    #[arg(long, value_name = "NAME")]
    replace: Option<String>,
}

/// Parses a number between two bounds, which are given in tenths.
fn in_range<const MIN_TENTHS: u64, const MAX_TENTHS: u64>(text: &str) -> Result<f64, String> {
    let (min, max) = (MIN_TENTHS as f64 / 10.0, MAX_TENTHS as f64 / 10.0);
    match text.parse::<f64>() {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        Ok(value) => Err(format!("{value} is not between {min} and {max}")),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    // One line, also where RUST_BACKTRACE is set: it is what a supervisor shows of a worker that fails.
    run(&arguments).await.map_or_else(
        |error| {
            tracing::error!(error = format!("{error:#}"), "the worker has failed");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

async fn run(arguments: &Arguments) -> Result<()> {
    let mut options = WorkerOptions::from_env_or("flight")?.expect::<Airport>().expect::<Aircraft>();
    if let Some(name) = &arguments.replace {
        options.name.clone_from(name);
    }
    if options.name.is_empty() {
        // A worker that starts again then replaces its own old session.
        "flight".clone_into(&mut options.name);
    }
    let plan = FleetPlan {
        aircraft: u64::from(arguments.aircraft),
        seed: arguments.seed,
        cruise_mps: arguments.cruise_mps,
        run_id: unix_time_us() as u64,
    };
    let period = Duration::from_secs_f64(1.0 / arguments.rate_hz);
    fly(options, plan, period).await
}

async fn fly(options: WorkerOptions, plan: FleetPlan, period: Duration) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut stop = std::pin::pin!(async {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    });
    let worker = tokio::select! {
        worker = Box::pin(connect_alone(options)) => worker?,
        signal = &mut stop => {
            tracing::info!(signal, "stopping before the session began");
            return Ok(());
        }
    };
    let welcomed = worker.welcomed();
    tracing::info!(
        world_id = welcomed.world_id,
        session_id = welcomed.session_id,
        name = welcomed.name,
        "attached"
    );
    Box::pin(Pilot::new(Fleet::new(plan)).run(worker, period)).await
}
