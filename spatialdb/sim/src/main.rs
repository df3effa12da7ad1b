//! `spatialdb-sim`: runs seeds of the simulator and says which fail.

use std::io::{self, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use spatialdb_sim::{Bug, Failed, run_seed, run_seeds};

/// A fifth of a run is memory given and taken.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the core of spatialdb in random worlds and judges it.
#[derive(Parser)]
struct Args {
    /// Seeds to run, END excluded.
    #[arg(long, value_name = "START..END", default_value = "0..5000", value_parser = parse_range)]
    seeds: Range<u64>,
    /// One seed alone.
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Say every step of the one seed on stderr.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Inject a bug; the list is in `bug.rs`.
    #[arg(long, value_name = "NAME", value_parser = parse_bug)]
    bug: Option<Bug>,
    /// Threads; all cores if not given.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let mut out = io::stdout().lock();
    if !args.trace {
        // A panic is caught and reported as a failed seed.
        std::panic::set_hook(Box::new(|_| {}));
    }
    let start = Instant::now();
    let (count, failed) = match args.seed {
        Some(seed) => {
            let failed = run_seed(seed, args.bug, args.trace).err();
            (1, failed.map(|failure| Failed { seed, failure }))
        }
        None => {
            let threads = args.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from));
            (
                args.seeds.end.saturating_sub(args.seeds.start),
                run_seeds(args.seeds, threads.unwrap_or(1), args.bug),
            )
        }
    };
    let Some(Failed { seed, failure }) = failed else {
        let seconds = start.elapsed().as_secs_f64();
        writeln!(out, "{count} seeds passed in {seconds:.1} s, {:.0} seeds/s", count as f64 / seconds)?;
        return Ok(ExitCode::SUCCESS);
    };
    let bug = args.bug.map(|bug| format!(" --bug {}", bug.name())).unwrap_or_default();
    writeln!(out, "seed {seed} failed: {failure}")?;
    writeln!(out, "repeat: cargo run --release -p spatialdb-sim -- --seed {seed} --trace{bug}")?;
    Ok(ExitCode::FAILURE)
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let parsed = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parsed
        .filter(|range: &Range<u64>| !range.is_empty())
        .ok_or(format!("{text:?}: START..END with START < END is needed"))
}

fn parse_bug(text: &str) -> Result<Bug, String> {
    let names = || Bug::ALL.iter().map(|bug| bug.name()).collect::<Vec<_>>().join(", ");
    Bug::from_name(text).ok_or_else(|| format!("{text:?} is none of {}", names()))
}
