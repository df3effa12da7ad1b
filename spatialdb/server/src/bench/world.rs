//! The files that a bench's server starts from.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use spatialdb_schema::Schema;
use spatialdb_snapshots::{Header, SpaceEntry, Writer, WriterOptions};
use spatialdb_types::{ComponentId, EntityId, Limits, Position, SpaceId};
use tempfile::TempDir;

use super::{
    error::{BenchError, cannot},
    walk::{CELL_M, Walk},
};
use crate::auth::{Entry, Kind, Right, Token, TokenFile, TokenFileError};

/// The only space of a bench's world.
pub(super) const SPACE: SpaceId = SpaceId(0);

const SCHEMA: &str = include_str!("world/bench.proto");

/// A folder with a snapshot and settings; gone when dropped.
pub(super) struct WorldFiles {
    folder: TempDir,
    token: Option<String>,
    is_kept: bool,
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
        Ok(Self { folder, token: None, is_kept: false })
    }

    /// A world whose entities are where a walk starts, with the cells that the walk counts by.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn of_walk(walk: &Walk) -> Result<Self, BenchError> {
        Self::of_marked_walk(walk, |_| None)
    }

    /// The same, and entities have a component without a value besides, by their place in the walk.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn of_marked_walk(
        walk: &Walk,
        mark: impl Fn(usize) -> Option<ComponentId>,
    ) -> Result<Self, BenchError> {
        let files = Self::new()?;
        let settings = format!("[world]\ncell_m = {CELL_M:?}\n");
        fs::write(files.path("world.toml"), settings).map_err(cannot("write the settings"))?;
        let mut writer = files.snapshot_writer()?;
        for (place, point) in walk.round(0).iter().enumerate() {
            let (id, at) = (EntityId(place as u64 + 1), Position { space: SPACE, point: *point });
            writer.push(id, Some(at), mark(place).map(|component| (component, &[][..])))?;
        }
        writer.finish()?;
        Ok(files)
    }

    /// The same, and the server wants a token.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn locked(mut self) -> Result<Self, BenchError> {
        let token = Token::random();
        let mut tokens = TokenFile::default();
        tokens.push(Entry {
            id: token.id().to_owned(),
            name: "bench".to_owned(),
            hash: token.hash(),
            kind: Kind::Worker,
            worker_types: BTreeSet::new(),
            read_only: false,
            rights: [Right::Query].into(),
            expires: None,
        });
        let refused = |error: TokenFileError| cannot("write the tokens")(io::Error::other(error));
        tokens.write(&self.path("tokens.toml")).map_err(refused)?;
        self.add_settings("[server]\ntokens = \"tokens.toml\"\n")?;
        self.token = Some(token.text());
        Ok(self)
    }

    /// The same, and the server has room for that many sessions besides a few of the tool.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn with_sessions(self, sessions: u64) -> Result<Self, BenchError> {
        let limits = Limits::default();
        let room = |limit: u64| limit.max(sessions + 16);
        self.add_settings(&format!(
            "[limits]\nsessions_max = {}\nprincipal_sessions_max = {}\n",
            room(limits.sessions_max),
            room(limits.principal_sessions_max)
        ))?;
        Ok(self)
    }

    /// The same, in a data directory.
    pub(super) fn kept(self) -> Self {
        Self { is_kept: true, ..self }
    }

    /// Its data directory, if it has one.
    pub(super) fn data_dir(&self) -> Option<PathBuf> {
        self.is_kept.then(|| self.path("data"))
    }

    /// Bytes of the data directory.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub(super) fn data_bytes(&self) -> Result<u64, BenchError> {
        let sum = || -> io::Result<u64> {
            let files = fs::read_dir(self.path("data").join("db"))?;
            // Files come and go while they are counted.
            Ok(files.filter_map(|file| file.ok()?.metadata().ok()).map(|file| file.len()).sum())
        };
        sum().map_err(cannot("look into the data directory"))
    }

    /// The same with more settings.
    ///
    /// # Errors
    /// They cannot be written.
    pub(super) fn with_settings(self, text: &str) -> Result<Self, BenchError> {
        self.add_settings(text)?;
        Ok(self)
    }

    fn add_settings(&self, text: &str) -> Result<(), BenchError> {
        let add = || {
            let mut settings = OpenOptions::new().append(true).create(true).open(self.path("world.toml"))?;
            settings.write_all(text.as_bytes())
        };
        add().map_err(cannot("write the settings"))
    }

    /// The token that lets in, if the server wants one.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
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
