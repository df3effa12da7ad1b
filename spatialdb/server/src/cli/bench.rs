//! `spatialdb bench`: load tests against a real server process.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
};

use clap::{Args, ValueEnum, error::ErrorKind};

use super::{CliError, print};
use crate::bench::{self, BenchError, OwnerTask, Plan, PlanError, Report, Request, Scenario};

const EXAMPLES: &str = "\
Each scenario starts a server process of its own, drives it over loopback, checks every result, and stops it. Wrong
results give an error and no figures. Tool and server share the machine, so the server's own processor time stands
beside what was reached.

Scenarios:
  machine     no load at all: pauses of the cores and the price of waking a thread, part of any time measured here
  ingest      positions of many entities in columnar batches, a whole-world viewer at 1 Hz looks on
  latency     one update in flight, from its writer to a viewer of another session; --load: while others write
  launch      from the start of the process to the first answer, with a large world
  memory      what an entity costs beyond its payload
  handshakes  what ingest loses while strangers with a wrong token are refused
  fanout      entities that move at 20 Hz, shown to 1, 10 and 100 viewers who see all of them
  crowd       the same, shown to viewers who each see a box with a tenth of them
  fences      what ingest loses while 23,000 small balls are watched
  query       boxes with about 100 hits in a large world: in the core, on a session, by calls
  slow        what a viewer who does not read costs the server and others; takes twice --seconds
  scaling     what an update costs with 10,000, 100,000, 1,000,000 and 4,000,000 entities
  balancer    one pass of the balancer over a large world of 64 regions, a fifth of which moves each second
  handover    how long entities have no owner when their region goes to another worker, and what is lost then
  failover    how long nobody writes after the owner of a region is killed
  rolling     how long entities stand still while all workers are restarted one by one, and what is lost then
  crowd-split how soon a region is split in which a crowd gathers, and whether places go back and forth
  durable     from a write to a DURABLE component to its acknowledgement, in a data directory; --streams: pipelined. The server is
              killed at the end, and all that was acknowledged has to be there
  restart     from the start of the process to the first answer, with a large world in a data directory, after a kill
  live-snapshot
              what snapshots of a large world cost those who write and look meanwhile
  amplification
              bytes on disk for a byte of values in DURABLE components
  all         one after the other, but for slow, scaling and crowd-split, which take minutes

Examples:
  What this machine can do, in about three minutes:
    spatialdb bench all
  How many updates four writers bring in, for a script:
    spatialdb bench ingest --streams 4 --json | jq 'select(.metric == \"updates_per_second\").value'
  How late a viewer is told while others write half of what the server can take:
    spatialdb bench latency --load 0.5
  What a delivery costs with 300 viewers who each want 30 frames a second:
    spatialdb bench fanout --viewers 300 --view-hz 30";

/// Measure a server of its own under load
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BenchArgs {
    /// What to measure
    #[arg(value_enum, value_name = "SCENARIO")]
    scenario: ScenarioArg,

    /// How long to measure, launch, restart, memory, handover, failover and rolling excepted [default: 10; fanout, query: 12; handshakes, fences, scaling: 20;
    /// balancer: 50, of the world's own time; slow, crowd-split: 60; live-snapshot: 4]
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,

    /// How many sessions write: ingest, handshakes, fences, slow, scaling, durable, live-snapshot, amplification [default: 2; durable: 1; amplification: 64]
    #[arg(long, value_name = "N")]
    streams: Option<u64>,

    /// How many partitions the server has, balancer and machine excepted [default: 2; fanout: as it finds right]
    #[arg(long, value_name = "N")]
    partitions: Option<u64>,

    /// How many entities the world has, scaling and machine excepted [default: 100000; latency: 10000, with --load 100000; launch,
    /// memory, query, balancer, restart, live-snapshot: 1000000; fanout, crowd, handover, failover, rolling: 1000; crowd-split: 5000]
    #[arg(long, value_name = "N")]
    entities: Option<u64>,

    /// How many rows a message has: ingest, handshakes, fences, slow, scaling, durable, live-snapshot, amplification [default: 4000; durable: 1, of several streams 64; amplification: 64]
    #[arg(long, value_name = "N")]
    batch: Option<u64>,

    /// How many calls strangers make a second: handshakes [default: 2200]
    #[arg(long, value_name = "N")]
    strangers: Option<u64>,

    /// How many calls a stranger's connection is used for: handshakes [default: 16]
    #[arg(long, value_name = "N")]
    calls: Option<u64>,

    /// How many views there are: ingest (10 a session, about 100 entities each, half of them at 10 Hz), fences
    /// [default: none; fences: 23000]
    #[arg(long, value_name = "N")]
    views: Option<u64>,

    /// Compare with a world in which each stream owns what it writes, in a grid of so many regions on a side: ingest
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "4", conflicts_with = "views")]
    layers: Option<u64>,

    /// Compare a world in a data directory (in a temporary folder) with one in memory: ingest
    #[arg(long, conflicts_with_all = ["views", "layers"])]
    data_dir: bool,

    /// How many sessions look on: fanout, crowd [default: 1, then 10, then 100; crowd: 1000]
    #[arg(long, value_name = "N")]
    viewers: Option<u64>,

    /// How many frames a second each view asks for: fanout, crowd, fences [default: as fast as the server publishes]
    #[arg(long, value_name = "N")]
    view_hz: Option<u64>,

    /// What others write meanwhile, as a share of the most that the server takes, which is measured first: latency
    #[arg(long, value_name = "SHARE", value_parser = percent, conflicts_with = "rate")]
    load: Option<u64>,

    /// What others write meanwhile, in rows a second: latency
    #[arg(long, value_name = "N")]
    rate: Option<u64>,

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
    Fanout,
    Crowd,
    Fences,
    Query,
    Slow,
    Scaling,
    Balancer,
    Handover,
    Failover,
    Rolling,
    CrowdSplit,
    Machine,
    Durable,
    Restart,
    LiveSnapshot,
    Amplification,
    All,
}

/// A worker that writes what it owns, as a process of a scenario
#[derive(Debug, Args)]
pub(super) struct BenchOwnerArgs {
    /// Where the server is
    #[arg(long, env = "SPATIALDB_ADDRESS", value_name = "HOST:PORT")]
    address: SocketAddr,

    /// Under which name it attaches
    #[arg(long, env = "SPATIALDB_WORKER_NAME", value_name = "NAME")]
    name: String,

    /// How many entities there are
    #[arg(long, value_name = "N")]
    entities: usize,

    /// Where it keeps how often it moved each: a file NAME-PID with two numbers of 8 bytes, little-endian, for each entity: moves
    /// that were accepted, and those together with what is not decided yet
    #[arg(long, value_name = "FOLDER")]
    tallies: PathBuf,
}

/// Owns until it is told to end.
pub(super) fn own(args: BenchOwnerArgs) -> Result<(), CliError> {
    let BenchOwnerArgs { address, name, entities, tallies } = args;
    bench::own(&OwnerTask { address, name, entities, tallies }).map_err(CliError::from)
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
        views: args.views,
        layers: args.layers,
        viewers: args.viewers,
        view_hz: args.view_hz,
        load_percent: args.load,
        rate: args.rate,
        data_dir: args.data_dir.then_some(1),
    };
    let one = |scenario| Plan::of(scenario, &request).map(|plan| vec![plan]);
    match args.scenario {
        ScenarioArg::Ingest => one(Scenario::Ingest),
        ScenarioArg::Latency => one(Scenario::Latency),
        ScenarioArg::Launch => one(Scenario::Launch),
        ScenarioArg::Memory => one(Scenario::Memory),
        ScenarioArg::Handshakes => one(Scenario::Handshakes),
        ScenarioArg::Fanout => one(Scenario::Fanout),
        ScenarioArg::Crowd => one(Scenario::Crowd),
        ScenarioArg::Fences => one(Scenario::Fences),
        ScenarioArg::Query => one(Scenario::Query),
        ScenarioArg::Slow => one(Scenario::Slow),
        ScenarioArg::Scaling => one(Scenario::Scaling),
        ScenarioArg::Balancer => one(Scenario::Balancer),
        ScenarioArg::Handover => one(Scenario::Handover),
        ScenarioArg::Failover => one(Scenario::Failover),
        ScenarioArg::Rolling => one(Scenario::Rolling),
        ScenarioArg::CrowdSplit => one(Scenario::CrowdSplit),
        ScenarioArg::Machine => one(Scenario::Machine),
        ScenarioArg::Durable => one(Scenario::Durable),
        ScenarioArg::Restart => one(Scenario::Restart),
        ScenarioArg::LiveSnapshot => one(Scenario::LiveSnapshot),
        ScenarioArg::Amplification => one(Scenario::Amplification),
        ScenarioArg::All => Plan::all(&request),
    }
}

// A share in whole percents.
fn percent(text: &str) -> Result<u64, String> {
    let percent = text.parse::<f64>().map(|share| (share * 100.0).round());
    match percent {
        Ok(percent) if (1.0..=100.0).contains(&percent) => Ok(percent as u64),
        _ => Err("a share from 0.01 to 1 is needed, e.g. 0.5".to_owned()),
    }
}

// As clap itself refuses an argument: the message on stderr, exit code 2.
fn refuse(error: &PlanError) -> ! {
    clap::Error::raw(ErrorKind::ValueValidation, format!("{error}\n")).exit()
}
