//! `spatialdb bench`: load tests against a real server process.

use std::io::{self, Write};

use clap::{Args, ValueEnum, error::ErrorKind};

use super::{CliError, print};
use crate::bench::{self, BenchError, Plan, PlanError, Report, Request, Scenario};

const EXAMPLES: &str = "\
Each scenario starts a server process of its own, drives it over loopback, checks every result, and stops it. Wrong
results give an error and no figures. Tool and server share the machine, so the server's own processor time stands
beside what was reached.

Scenarios:
  ingest      positions of many entities in columnar batches, a whole-world viewer at 1 Hz looks on
  latency     one update in flight, from its writer to a viewer of another session
  launch      from the start of the process to the first answer, with a large world
  memory      what an entity costs beyond its payload
  handshakes  what ingest loses while strangers with a wrong token are refused
  all         one after the other

Examples:
  What this machine can do, in about a minute:
    spatialdb bench all
  How many updates four writers bring in, for a script:
    spatialdb bench ingest --streams 4 --json | jq 'select(.metric == \"updates_per_second\").value'";

/// Measure a server of its own under load
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BenchArgs {
    /// What to measure
    #[arg(value_enum, value_name = "SCENARIO")]
    scenario: ScenarioArg,

    /// How long to measure: ingest, latency, handshakes [default: 10; handshakes: 20]
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,

    /// How many sessions write: ingest, handshakes [default: 2]
    #[arg(long, value_name = "N")]
    streams: Option<u64>,

    /// How many partitions the server has [default: 2]
    #[arg(long, value_name = "N")]
    partitions: Option<u64>,

    /// How many entities the world has [default: 100000; latency: 10000; launch and memory: 1000000]
    #[arg(long, value_name = "N")]
    entities: Option<u64>,

    /// How many rows a message has: ingest, handshakes [default: 4000]
    #[arg(long, value_name = "N")]
    batch: Option<u64>,

    /// How many calls strangers make a second: handshakes [default: 2200]
    #[arg(long, value_name = "N")]
    strangers: Option<u64>,

    /// How many calls a stranger's connection is used for: handshakes [default: 16]
    #[arg(long, value_name = "N")]
    calls: Option<u64>,

    /// Print one JSON object a figure
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScenarioArg {
    Ingest,
    Latency,
    Launch,
    Memory,
    Handshakes,
    All,
}

/// Measures and prints.
pub(super) fn run(args: &BenchArgs) -> Result<(), CliError> {
    let plans = plans(args).unwrap_or_else(|error| refuse(&error));
    let names: Vec<&str> = plans.iter().map(|plan| plan.scenario.name()).collect();
    // Nothing can be told to anyone when stderr is gone.
    let _ = writeln!(io::stderr(), "measuring: {}", names.join(", "));
    bench::run(&plans, |report| write(report, args)).map_err(CliError::from)
}

fn write(report: &Report, args: &BenchArgs) -> Result<(), BenchError> {
    let mut out = print::stdout();
    let written = if args.json { report.write_json(&mut out) } else { report.write_human(&mut out) };
    let failed = |source| BenchError::Io { what: "write the results".to_owned(), source };
    written.and_then(|()| out.flush()).map_err(failed)
}

fn plans(args: &BenchArgs) -> Result<Vec<Plan>, PlanError> {
    let request = Request {
        seconds: args.seconds,
        streams: args.streams,
        partitions: args.partitions,
        entities: args.entities,
        batch: args.batch,
        strangers: args.strangers,
        calls: args.calls,
    };
    let one = |scenario| Plan::of(scenario, &request).map(|plan| vec![plan]);
    match args.scenario {
        ScenarioArg::Ingest => one(Scenario::Ingest),
        ScenarioArg::Latency => one(Scenario::Latency),
        ScenarioArg::Launch => one(Scenario::Launch),
        ScenarioArg::Memory => one(Scenario::Memory),
        ScenarioArg::Handshakes => one(Scenario::Handshakes),
        ScenarioArg::All => Plan::all(&request),
    }
}

// As clap itself refuses an argument: the message on stderr, exit code 2.
fn refuse(error: &PlanError) -> ! {
    clap::Error::raw(ErrorKind::ValueValidation, format!("{error}\n")).exit()
}
