//! What to launch, and the command that does it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{probe_snapshot, repository, spatialdb};

/// What to launch.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    snapshot: Option<Snapshot>,
    config: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    pub(crate) allowed: Vec<String>,
}

#[derive(Clone, Debug)]
enum Snapshot {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Launch {
    /// A small world with the schema of `tests/schema`, cut into four partitions: the borders between them are
    /// at x = 0 and y = 0 of space 0, give or take a cell of 16 m. Space 7 is empty. See [`probe_snapshot`].
    pub fn probe() -> Self {
        let snapshot = Some(Snapshot::Bytes(probe_snapshot()));
        let args = vec!["--partitions".to_owned(), "4".to_owned()];
        Self { snapshot, config: "[world]\ncell_m = 16\n".to_owned(), args, ..Self::default() }
    }

    /// The earth, without its workers.
    pub fn earth() -> Self {
        Self::default().snapshot(repository().join("snapshots/earth.snapshot"))
    }

    /// From this file.
    pub fn snapshot(mut self, path: impl Into<PathBuf>) -> Self {
        self.snapshot = Some(Snapshot::File(path.into()));
        self
    }

    /// From what is in the data directory.
    pub fn again(mut self) -> Self {
        self.snapshot = None;
        self
    }

    /// Adds lines to `world.toml`.
    pub fn config(mut self, lines: &str) -> Self {
        self.config += lines;
        self.config.push('\n');
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Adds a variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Expects lines of level WARN or ERROR with this in them.
    pub fn allow(mut self, part: &str) -> Self {
        self.allowed.push(part.to_owned());
        self
    }

    /// The command, with its files in a folder.
    pub(crate) fn command(&self, folder: &Path) -> Command {
        let config = folder.join("world.toml");
        // What sessions are shown is compared with what their views match all the time: a difference is an error in the log.
        let shadow = if self.config.contains("[views]") { "" } else { "\n[views]\nshadow_check = 1\n" };
        std::fs::write(&config, self.config.clone() + shadow).expect("written");
        let mut command = spatialdb(&["launch", "--listen", "127.0.0.1:0", "--config"]);
        command.arg(&config).args(&self.args).envs(self.env.iter().cloned());
        match &self.snapshot {
            None => {}
            Some(Snapshot::File(path)) => _ = command.arg(path),
            Some(Snapshot::Bytes(bytes)) => {
                let path = folder.join("probe.snapshot");
                std::fs::write(&path, bytes).expect("written");
                command.arg(path);
            }
        }
        command
    }
}
