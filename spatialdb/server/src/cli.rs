//! The command line.
//!
//! Responsible for: what each command takes, what its help teaches, what it prints, its exit code.
//! Not responsible for: running a world (`server`), settings (`config`).

use std::{io, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};

mod bench;
mod client;
mod completions;
mod config;
mod drain;
mod error;
mod explain;
mod flags;
mod folder;
mod fork;
mod get;
mod launch;
mod log;
mod merge;
mod new;
mod past;
mod pin;
mod place;
mod print;
mod query;
mod record;
mod recording;
mod regions;
mod replay;
mod restore;
mod schema;
mod signals;
mod snapshot;
mod split;
mod start;
mod token;
mod wanted;
mod watch;
mod workers;

pub use error::CliError;

const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  failed; the message says why
   2  wrong usage
  65  a snapshot or a row of data is wrong, or does not fit the schema
  66  a snapshot is not there
  69  no world could be reached
  74  the system could not read or write a file
  78  a setting or a mapping is wrong

Examples:
  spatialdb new meadow --lang python
  spatialdb launch snapshots/earth.snapshot --config snapshots/earth/world.toml
  spatialdb query 'has earth.City and sphere(950000, 5267000, 50km)' --limit 5
  spatialdb watch 'has earth.Aircraft' --rate 2

Each command has its own help: spatialdb query --help";

const SNAPSHOT_EXAMPLES: &str = "\
Examples:
  What is in a file:
    spatialdb snapshot inspect snapshots/earth.snapshot
  Its entities as JSON lines:
    spatialdb snapshot convert snapshots/earth.snapshot earth.jsonl
  A table as a world:
    spatialdb snapshot convert airports.csv airports.snapshot --map airports.toml";

/// A database for living worlds: it holds every entity, knows where each is, and shows workers what changes.
#[derive(Debug, Parser)]
#[command(name = "spatialdb", version, after_help = EXIT_CODES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(new::NewArgs),
    Launch(launch::LaunchArgs),
    Query(query::QueryArgs),
    Watch(watch::WatchArgs),
    Get(get::GetArgs),
    Explain(explain::ExplainArgs),
    Workers(workers::WorkersArgs),
    Wanted(wanted::WantedArgs),
    Drain(drain::DrainArgs),
    Regions(regions::RegionsArgs),
    Split(split::SplitArgs),
    Merge(merge::MergeArgs),
    Pin(pin::PinArgs),
    Unpin(pin::UnpinArgs),
    Schema(schema::SchemaArgs),
    Flags(flags::FlagsArgs),
    Log(log::LogArgs),
    Fork(fork::ForkArgs),
    Restore(restore::RestoreArgs),
    Token(token::TokenArgs),
    Record(record::RecordArgs),
    Replay(replay::ReplayArgs),
    Config(config::ConfigArgs),
    Bench(bench::BenchArgs),
    #[command(hide = true)]
    BenchOwner(bench::BenchOwnerArgs),
    Completions(completions::CompletionsArgs),
    /// Take, look at, check, convert and compare snapshots
    #[command(subcommand, after_help = SNAPSHOT_EXAMPLES)]
    Snapshot(snapshot::SnapshotCommand),
    /// Ends the workers of a server that died. The server starts it.
    #[command(hide = true)]
    Guard,
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    // clap prints the help itself, and ends with 2 when arguments are wrong.
    let result = match Cli::parse().command {
        Command::New(args) => new::run(&args),
        Command::Launch(args) => on_runtime(launch::run(args)),
        Command::Query(args) => on_runtime(query::run(args)),
        Command::Watch(args) => on_runtime(watch::run(args)),
        Command::Get(args) => on_runtime(get::run(args)),
        Command::Explain(args) => on_runtime(explain::run(args)),
        Command::Workers(args) => on_runtime(workers::run(args)),
        Command::Wanted(args) => on_runtime(wanted::run(args)),
        Command::Drain(args) => on_runtime(drain::run(args)),
        Command::Regions(args) => on_runtime(regions::run(args)),
        Command::Split(args) => on_runtime(split::run(args)),
        Command::Merge(args) => on_runtime(merge::run(args)),
        Command::Pin(args) => on_runtime(pin::pin(args)),
        Command::Unpin(args) => on_runtime(pin::unpin(args)),
        Command::Schema(args) => on_runtime(schema::run(args)),
        Command::Flags(args) => on_runtime(flags::run(args)),
        Command::Log(args) => on_runtime(log::run(args)),
        Command::Fork(args) => on_runtime(fork::run(args)),
        Command::Restore(args) => restore::run(&args),
        Command::Token(args) => token::run(args),
        Command::Record(args) => on_runtime(record::run(args)),
        Command::Replay(args) => on_runtime(replay::run(args)),
        Command::Config(args) => config::run(&args),
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::Bench(args) => bench::run(&args),
        Command::BenchOwner(args) => bench::own(args),
        Command::Snapshot(command) => return snapshot::run(command),
        Command::Guard => {
            crate::supervisor::run_guard(io::stdin().lock());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

fn on_runtime(command: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Runtime)?;
    runtime.block_on(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shown_command_has_two_examples() {
        let mut cli = Cli::command();
        cli.build();
        cli.clone().debug_assert();
        for command in cli.get_subcommands().filter(|command| !command.is_hide_set()) {
            let Some(after) = command.get_after_help() else {
                assert!(command.get_name() == "help" || command.has_subcommands(), "{}", command.get_name());
                continue;
            };
            let examples = after.to_string().matches(&format!("spatialdb {}", command.get_name())).count();
            assert!(examples >= 2, "{}", command.get_name());
        }
    }
}
