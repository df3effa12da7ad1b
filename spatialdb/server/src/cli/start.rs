//! What a world starts from: a snapshot, JSON lines, or nothing.
//!
//! Responsible for: the settings and the file that `spatialdb launch` takes when it is told little, and lines of JSON
//! as a snapshot that the server can load.
//! Not responsible for: loading it (`server`).

use std::{
    fs::File,
    io::{self, BufReader, IsTerminal},
    path::{Path, PathBuf},
};

use spatialdb_schema::Schema;
use spatialdb_snapshots::{ImportOptions, ImportStep, SnapshotError, WriterOptions, json};
use tempfile::TempDir;

use super::CliError;
use crate::{config::WorldConfig, progress::Progress, server::LaunchError};

/// The settings of the current folder.
const CONFIG_FILE: &str = "world.toml";

/// The snapshot that a world starts from, if any.
#[derive(Debug)]
pub(super) struct Start {
    /// The file.
    pub(super) snapshot: Option<PathBuf>,
    // Made for this start only.
    _folder: Option<TempDir>,
}

/// What the command line says.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) snapshot: Option<PathBuf>,
    pub(super) config: Option<PathBuf>,
    pub(super) is_empty: bool,
    /// There is a world in the data directory: it goes on, whatever the settings name.
    pub(super) is_stored: bool,
}

impl Asked {
    /// The settings to read: those named, or those of the current folder where nothing is named.
    ///
    /// # Errors
    /// Nothing is named and the folder has none.
    pub(super) fn config(&self) -> Result<Option<PathBuf>, CliError> {
        if let Some(config) = &self.config {
            return Ok(Some(config.clone()));
        }
        if self.snapshot.is_some() || self.is_empty {
            return Ok(None);
        }
        let found = PathBuf::from(CONFIG_FILE);
        if found.is_file() {
            return Ok(Some(found));
        }
        if self.is_stored { Ok(None) } else { Err(CliError::NothingToLaunch) }
    }

    /// The snapshot to load. Lines of JSON become one, beside the files of other programs.
    ///
    /// # Errors
    /// Lines of JSON that are wrong, or a schema that they need.
    pub(super) fn start(&self, config: &WorldConfig) -> Result<Start, CliError> {
        let is_new = !self.is_empty && !self.is_stored;
        let named = self.snapshot.as_deref().or(config.snapshot.as_deref()).filter(|_| is_new);
        match named {
            Some(path) if path.extension().is_some_and(|end| end == "jsonl") => from_lines(path, config),
            named => Ok(Start { snapshot: named.map(Path::to_owned), _folder: None }),
        }
    }
}

/// Lines of JSON as a snapshot, for as long as what this gives.
///
/// # Errors
/// Line, field and reason of what is wrong.
fn from_lines(path: &Path, config: &WorldConfig) -> Result<Start, CliError> {
    let failed = |source| LaunchError::Snapshot { path: path.to_owned(), source };
    let schema = match config.schema_dirs.as_slice() {
        [] => Schema::built_in(),
        folders => Schema::compile(folders).map_err(LaunchError::from)?,
    };
    let io_error = |action| move |source| failed(SnapshotError::Io { action, path: path.to_owned(), source });
    let file = File::open(path).map_err(io_error("open"))?;
    let length = file.metadata().map_err(io_error("open"))?.len();
    let folder = tempfile::tempdir().map_err(io_error("convert"))?;
    let snapshot = folder.path().join("start.snapshot");
    let world = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    // It is read once and thrown away.
    let options =
        ImportOptions { world, writer: WriterOptions { zstd_level: 1, ..WriterOptions::default() } };
    let reading = Progress::new("reading", length, io::stderr().is_terminal());
    let step = |step| match step {
        ImportStep::Read { bytes } => reading.add(bytes),
        ImportStep::Write { .. } => {}
    };
    json::import(&mut BufReader::new(file), &schema, &snapshot, options, step).map_err(failed)?;
    Ok(Start { snapshot: Some(snapshot), _folder: Some(folder) })
}
