//! A running world: a real `spatialdb launch` on a free port.

use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use rustix::process::Signal;
use spatialdb_proto::v1::world_service_client::WorldServiceClient;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::{Client, Log, Process, probe_snapshot, repository, spatialdb};

/// What to launch.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    snapshot: Option<Snapshot>,
    config: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    allowed: Vec<String>,
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

    fn command(&self, folder: &Path) -> Command {
        let config = folder.join("world.toml");
        std::fs::write(&config, &self.config).expect("written");
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

/// A world that answers. When it is dropped it is stopped, and what it logged is judged: a WARN or ERROR that was
/// not expected fails the test.
pub struct World {
    process: Process,
    address: String,
    folder: TempDir,
    allowed: Vec<String>,
    is_terminated: bool,
    is_judged: bool,
}

impl World {
    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// If it does not come up in time.
    pub fn launch(launch: Launch) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let process = Process::start(&mut launch.command(folder.path()));
        let ready = process.stdout.find("ready", |line| line.strip_prefix("ready ").map(str::to_owned));
        let Some(address) = ready else {
            process.stderr.wait_for_end();
            panic!("the world did not come up:\n{}", process.stderr.text())
        };
        Self { process, address, folder, allowed: launch.allowed, is_terminated: false, is_judged: false }
    }

    /// Where it serves.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A folder that lives as long as the world; `world.toml` is in it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it and its workers say.
    pub fn log(&self) -> &Log {
        &self.process.stderr
    }

    /// Memory of its process that is in use, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
    }

    /// A connection to it.
    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("an address");
        endpoint.connect().await.expect("it answers")
    }

    /// Its calls for tools.
    pub async fn tools(&self) -> WorldServiceClient<Channel> {
        WorldServiceClient::new(self.channel().await).max_decoding_message_size(64 << 20)
    }

    /// A session with a name that the server gives.
    pub async fn attach(&self, worker_type: &str) -> Client {
        Client::attach(self, worker_type, "").await
    }

    /// Asks it to stop and does not wait.
    pub fn terminate(&mut self) {
        // A second signal would end it at once.
        if !self.is_terminated && self.process.is_running() {
            self.is_terminated = true;
            self.process.signal(Signal::TERM);
        }
    }

    /// Kills it at once. What it logged until then is judged.
    pub fn kill(mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait();
        self.judge();
    }

    /// Stops it, waits, and gives the exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.terminate();
        let code = self.process.wait();
        self.judge();
        code
    }

    fn judge(&mut self) {
        self.is_judged = true;
        self.process.stderr.wait_for_end();
        let is_bad = |line: &String| {
            let alarming = [" WARN ", " ERROR ", "panicked at"].iter().any(|word| line.contains(word));
            alarming && !self.allowed.iter().any(|part| line.contains(part))
        };
        let bad: Vec<String> = self.process.stderr.lines().into_iter().filter(is_bad).collect();
        assert!(bad.is_empty(), "the world said what nobody expected:\n{}", bad.join("\n"));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("---- the world said:\n{}\n----", self.log().text());
            return;
        }
        if !self.is_judged {
            self.terminate();
            assert_eq!(self.process.wait(), Some(0), "{}", self.log().text());
            self.judge();
        }
    }
}
