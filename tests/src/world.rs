//! A running world: a real `spatialdb launch` on a free port.

use std::{path::Path, thread};

use rustix::process::Signal;
use spatialdb_proto::v1::{
    admin_service_client::AdminServiceClient, world_service_client::WorldServiceClient,
};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::{Client, Launch, Log, Process};

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

    /// Its calls about who owns what.
    pub async fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel().await)
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

    /// Kills it and does not wait.
    pub fn kill_soon(&self) {
        self.process.signal(Signal::KILL);
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
