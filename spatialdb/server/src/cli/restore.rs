//! `spatialdb restore`: makes a world what it was.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;

use super::past::{open, parse_moment};
use super::{CliError, print};
use crate::progress::Progress;
use crate::server::{LaunchError, moment};

const EXAMPLES: &str = "\
The world must not be running. What came since that moment stays in its history: a moment after it can be restored too, as long as
it is kept (durability.history). Ids, revisions and epochs that were given are not given again.

Examples:
  The world as it was ten minutes ago:
    spatialdb restore --at 10m --data-dir earth.data
  As it was at a moment:
    spatialdb restore --at 2026-11-23T08:00:00Z --data-dir earth.data";

/// Make a world in a data directory what it was at a moment
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RestoreArgs {
    /// The moment: a time (UTC), or how long ago it was
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    at: i64,

    /// Where the world is
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

/// Does so, and says how many entities there are.
pub(super) fn run(args: &RestoreArgs) -> Result<(), CliError> {
    let data = open(&args.data_dir)?;
    let progress = Progress::new("reading", 0, io::stderr().is_terminal());
    let entities = data.restore_at(args.at, &progress).map_err(LaunchError::from)?;
    drop(progress);
    let mut out = print::stdout();
    writeln!(out, "{}: the world of {}, {entities} entities", args.data_dir.display(), moment(args.at))?;
    Ok(out.flush()?)
}
