//! `spatialdb snapshot`: take, look at, check, convert and compare snapshots.
//!
//! Responsible for: arguments, progress, what is printed, exit codes (0 fine, 1 snapshots differ, 65 a file is
//! damaged or wrong, 66 it is not there, 74 the system refuses, 78 a mapping is wrong).
//! Not responsible for: the format and the rules, which are in `spatialdb-snapshots`.

mod convert;
mod diff;
mod format;
mod inspect;
pub(super) mod take;
mod verify;

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use spatialdb_snapshots::{Reader, SnapshotError};

use crate::progress::Progress;

/// What to do with snapshot files.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Say what a snapshot holds, from its header and index alone.
    #[command(after_help = "Example:\n  spatialdb snapshot inspect snapshots/earth.snapshot")]
    Inspect {
        /// The snapshot.
        file: PathBuf,
        /// Print one JSON object, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Read all of a snapshot and check every byte and value: checksums, digest, ids, counts, schema.
    ///
    /// Exits with 65 and one line that names the block, offset or field if something is wrong.
    #[command(after_help = "Example:\n  spatialdb snapshot verify snapshots/earth.snapshot")]
    Verify {
        /// The snapshot.
        file: PathBuf,
        /// Print one JSON object, for scripts.
        #[arg(long)]
        json: bool,
    },
    Take(take::TakeArgs),
    Convert(convert::ConvertArgs),
    /// Say what differs between two snapshots, by entity and field. Exits with 1 if anything does.
    #[command(after_help = "Example:\n  spatialdb snapshot diff before.snapshot after.snapshot")]
    Diff {
        /// The first snapshot.
        first: PathBuf,
        /// The second snapshot.
        second: PathBuf,
        /// Print one JSON object for each difference, then one with the counts.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command; prints an error as one line on stderr.
pub(crate) fn run(command: SnapshotCommand) -> ExitCode {
    let outcome = match command {
        SnapshotCommand::Take(args) => {
            let taken = super::on_runtime(take::run(args));
            return taken.map_or_else(|error| error.report(), |()| ExitCode::SUCCESS);
        }
        SnapshotCommand::Inspect { file, json } => inspect::run(&file, Format::of(json)),
        SnapshotCommand::Verify { file, json } => verify::run(&file, Format::of(json)),
        SnapshotCommand::Convert(args) => convert::run(&args),
        SnapshotCommand::Diff { first, second, json } => diff::run(&first, &second, Format::of(json)),
    };
    outcome.unwrap_or_else(|failure| {
        // A reader that has seen enough (`| head`) is no failure to speak of.
        if failure.code != 0 {
            let _ = writeln!(io::stderr(), "error: {}", failure.message);
        }
        ExitCode::from(failure.code)
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

impl Format {
    fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// A message and the exit code that goes with it.
struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    fn of_file(path: &Path, error: &SnapshotError) -> Self {
        // These name the file themselves.
        let names_file = matches!(error, SnapshotError::Io { path: named, .. } if named == path);
        let message = if names_file { error.to_string() } else { format!("{}: {error}", path.display()) };
        Self { message, code: error.exit_code() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::BrokenPipe { 0 } else { 74 };
        Self { message: format!("cannot print: {error}"), code }
    }
}

type Outcome = Result<ExitCode, Failure>;

fn open(path: &Path) -> Result<Reader, Failure> {
    Reader::open(path).map_err(|error| Failure::of_file(path, &error))
}

/// Progress for a person who waits at a terminal.
fn progress(label: &'static str, total: u64) -> Progress {
    Progress::new(label, total, io::stderr().is_terminal())
}
