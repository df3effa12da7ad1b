//! The files that a bench's server starts from.

use std::{
    fs,
    path::{Path, PathBuf},
};

use spatialdb_schema::Schema;
use spatialdb_snapshots::{Header, SpaceEntry, Writer, WriterOptions};
use spatialdb_types::{EntityId, Position, SpaceId};
use tempfile::TempDir;

use super::{
    error::{BenchError, cannot},
    walk::{CELL_M, Walk},
};

/// The only space of a bench's world.
pub(super) const SPACE: SpaceId = SpaceId(0);

const SCHEMA: &str = include_str!("world/bench.proto");

/// A folder with a snapshot and settings; gone when dropped.
pub(super) struct WorldFiles {
    folder: TempDir,
}

impl WorldFiles {
    /// An empty folder.
    ///
    /// # Errors
    /// The machine has no room for temporary files.
    pub(super) fn new() -> Result<Self, BenchError> {
        let folder = tempfile::Builder::new()
            .prefix("spatialdb-bench-")
            .tempdir()
            .map_err(cannot("make a temporary folder"))?;
        Ok(Self { folder })
    }

    /// A world whose entities are where a walk starts, with the cells that the walk counts by.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn of_walk(walk: &Walk) -> Result<Self, BenchError> {
        let files = Self::new()?;
        let settings = format!("[world]\ncell_m = {CELL_M:?}\n");
        fs::write(files.path("world.toml"), settings).map_err(cannot("write the settings"))?;
        let mut writer = files.snapshot_writer()?;
        for (id, point) in (1..).zip(walk.round(0)) {
            writer.push(EntityId(id), Some(Position { space: SPACE, point: *point }), [])?;
        }
        writer.finish()?;
        Ok(files)
    }

    /// Starts the snapshot.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn snapshot_writer(&self) -> Result<Writer, BenchError> {
        let schema_folder = self.path("schema");
        fs::create_dir_all(&schema_folder).map_err(cannot("make a temporary folder"))?;
        fs::write(schema_folder.join("bench.proto"), SCHEMA).map_err(cannot("write the schema"))?;
        let schema = Schema::compile(&[schema_folder])?;
        let spaces = vec![SpaceEntry { id: SPACE.0, name: "bench".to_owned() }];
        let options = WriterOptions { zstd_level: 1, ..WriterOptions::default() };
        Ok(Writer::create(self.snapshot(), Header::new("bench", spaces, &schema), options)?)
    }

    /// Where the snapshot is.
    pub(super) fn snapshot(&self) -> PathBuf {
        self.path("bench.snapshot")
    }

    /// Where the settings are, if there are any.
    pub(super) fn config(&self) -> Option<PathBuf> {
        Some(self.path("world.toml")).filter(|path| path.exists())
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
