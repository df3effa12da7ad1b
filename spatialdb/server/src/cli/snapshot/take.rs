//! `spatialdb snapshot take`: a snapshot of a running world.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use spatialdb_proto::v1::take_snapshot_response::Step;
use spatialdb_proto::v1::{SnapshotTaken, TakeSnapshotRequest};
use spatialdb_snapshots::Reader;
use tempfile::NamedTempFile;

use crate::cli::CliError;
use crate::cli::client::{Client, ClientArgs};
use crate::cli::print;
use crate::progress::Progress;

const EXAMPLES: &str = "\
The snapshot is of one moment, in all partitions; the world goes on meanwhile. Writes wait at that moment until the slowest
partition has stopped, a few milliseconds at most. With --pause they wait until all is captured, and before that
everything arrives that was on its way: so what was acknowledged, and what waits for the disk, is in it.

The file appears under its name once it is whole and on disk, and replaces one of that name.

Examples:
  A snapshot of the world on this machine:
    spatialdb snapshot take -o earth-now.snapshot
  A quiet one, of a world elsewhere:
    spatialdb snapshot take -o earth-now.snapshot --pause --address worlds.example.org:7400";

/// Take a snapshot of a running world
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TakeArgs {
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Let writes wait until all is captured
    #[arg(long)]
    pause: bool,

    #[command(flatten)]
    client: ClientArgs,
}

/// Takes one of now.
pub(super) async fn run(args: TakeArgs) -> Result<(), CliError> {
    let request = TakeSnapshotRequest { pause: args.pause, ..TakeSnapshotRequest::default() };
    fetch(&args.client, &args.output, request).await
}

/// Asks, writes the file and says what is in it.
pub(in crate::cli) async fn fetch(
    args: &ClientArgs,
    path: &Path,
    request: TakeSnapshotRequest,
) -> Result<(), CliError> {
    let client = Client::connect(args).await?;
    // First, so that nothing is taken for a place that cannot be written.
    let mut file = beside(path)?;
    let answer = client.snapshots().take_snapshot(request).await;
    let mut steps = answer.map_err(|status| client.failed(&status))?.into_inner();
    let mut progress = Progress::new("capturing", 0, io::stderr().is_terminal());
    let (mut is_writing, mut so_far) = (false, 0);
    let taken = loop {
        let message = steps.message().await.map_err(|status| client.failed(&status))?;
        match message.and_then(|message| message.step) {
            Some(Step::Progress(step)) => {
                if step.writing && !is_writing {
                    progress = progress.then("writing", step.entities);
                    (is_writing, so_far) = (true, 0);
                }
                progress.add(step.done.saturating_sub(so_far));
                so_far = step.done;
            }
            Some(Step::Piece(piece)) => {
                file.write_all(&piece).map_err(|error| failed("write", path, error))?;
            }
            Some(Step::Taken(taken)) => break taken,
            None => {
                let cause = "the answer ended before the snapshot did".to_owned();
                return Err(CliError::Lost { address: client.address().to_owned(), cause });
            }
        }
    };
    drop(progress);
    check(file.path(), &taken)
        .map_err(|cause| CliError::Lost { address: client.address().to_owned(), cause })?;
    keep(file, path)?;
    tell(path, &taken, args.json)
}

fn tell(path: &Path, taken: &SnapshotTaken, as_json: bool) -> Result<(), CliError> {
    let mut out = print::stdout();
    if as_json {
        let said = json!({
            "file": path.display().to_string(),
            "digest": taken.digest,
            "entities": taken.entities,
            "bytes": taken.bytes,
            "unix_time_us": taken.unix_time_us.to_string(),
            "capture_us": taken.capture_us,
            "held_us": taken.held_us,
        });
        writeln!(out, "{said}")?;
    } else {
        let [capture, held] = [taken.capture_us, taken.held_us].map(Duration::from_micros);
        writeln!(out, "{}: {} entities, {} bytes", path.display(), taken.entities, taken.bytes)?;
        writeln!(out, "digest {}", taken.digest)?;
        writeln!(out, "captured in {capture:.1?}, writes waited {held:.1?}")?;
    }
    Ok(out.flush()?)
}

fn beside(path: &Path) -> Result<NamedTempFile, CliError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        let source = io::Error::new(io::ErrorKind::IsADirectory, "it is a folder");
        return Err(failed("write", path, source));
    }
    let suffix = format!(".{}.partial", path.file_name().unwrap_or_default().display());
    let made = tempfile::Builder::new().suffix(&suffix).tempfile_in(folder);
    made.map_err(|error| failed("write", path, error))
}

/// Whether the file is what the world took.
fn check(path: &Path, taken: &SnapshotTaken) -> Result<(), String> {
    let reader = Reader::open(path).map_err(|error| format!("the snapshot is damaged: {error}"))?;
    if reader.digest() != taken.digest {
        return Err(format!("the snapshot came with digest {}, not {}", reader.digest(), taken.digest));
    }
    Ok(())
}

/// Puts it on disk, under its name.
fn keep(file: NamedTempFile, path: &Path) -> Result<(), CliError> {
    let failed = |error| failed("write", path, error);
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> CliError {
    CliError::File { action, path: path.to_owned(), source }
}
