//! `spatialdb fork`: a moment of the past as a snapshot.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use spatialdb_proto::v1::TakeSnapshotRequest;

use super::client::ClientArgs;
use super::past::{open, parse_moment};
use super::snapshot::take;
use super::{CliError, print};
use crate::progress::Progress;
use crate::server::{LaunchError, write_past};

const EXAMPLES: &str = "\
Of a running world, or with --data-dir of one that is not. Only what is kept can be told (durability.history); a world in memory
keeps nothing. What is not DURABLE is known as of its last write to disk before that moment (durability.checkpoint_interval).

Examples:
  The running world as it was ten minutes ago:
    spatialdb fork --at 10m -o before.snapshot
  One that is not running, at a moment; and a world made of it:
    spatialdb fork --at 2026-11-23T08:00:00Z -o before.snapshot --data-dir earth.data
    spatialdb launch before.snapshot";

/// Write the world as it was at a moment as a snapshot
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ForkArgs {
    /// The moment: a time (UTC), or how long ago it was
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    at: i64,

    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Where the world is, if it is not running
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    #[command(flatten)]
    client: ClientArgs,
}

/// Writes it, and says what is in it.
pub(super) async fn run(args: ForkArgs) -> Result<(), CliError> {
    let Some(directory) = &args.data_dir else {
        let request = TakeSnapshotRequest { at_unix_time_us: args.at, ..TakeSnapshotRequest::default() };
        return take::fetch(&args.client, &args.output, request).await;
    };
    let data = open(directory)?;
    let progress = Progress::new("reading", 0, io::stderr().is_terminal());
    let schema = data.schema().map_err(LaunchError::from)?;
    let (past, about) = data.at(args.at, &progress).map_err(LaunchError::from)?;
    let progress = progress.then("writing", past.entity_count());
    let summary = write_past(&args.output, &about, &schema, &past, || progress.add(1));
    let summary = summary.map_err(|error| CliError::Past(error.to_string()))?;
    drop(progress);
    let mut out = print::stdout();
    let (file, entities) = (args.output.display().to_string(), summary.totals.entity_count);
    if args.client.json {
        let said = json!({ "file": file, "digest": summary.digest, "entities": entities, "bytes": summary.file_bytes });
        writeln!(out, "{said}")?;
    } else {
        writeln!(
            out,
            "{file}: {entities} entities, {} bytes\ndigest {}",
            summary.file_bytes, summary.digest
        )?;
    }
    Ok(out.flush()?)
}
