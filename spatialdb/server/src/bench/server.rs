//! A real server process.
//!
//! Responsible for: its start, where it listens, its last lines when something goes wrong, its end.
//! Not responsible for: what is said to it.

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::{Channel, Endpoint};

use super::{
    error::{BenchError, cannot},
    procfs,
    world::WorldFiles,
};

const READY_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
const LOG_LINES: usize = 20;

// Downstream windows: the server should not wait for the tool.
const WINDOW_BYTES: u32 = 16 << 20;

/// A server; killed when dropped, unless it was stopped.
pub(super) struct ServerProcess {
    child: Child,
    log: PathBuf,
    address: SocketAddr,
    token: Option<String>,
}

impl ServerProcess {
    /// Starts a server with that world and so many partitions, or as many as it finds right if that is 0, and waits until
    /// it says that it is ready.
    ///
    /// # Errors
    /// It ends at once, or is not ready in time.
    pub(super) fn start(world: &WorldFiles, partitions: u64) -> Result<Self, BenchError> {
        let log = world.folder().join("server.log");
        let mut command = command(world, partitions)?;
        command.stderr(File::create(&log).map_err(cannot("write the log of the server"))?);
        let mut child = command.spawn().map_err(cannot("start the server"))?;
        let stdout = child.stdout.take();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { child, log, address, token: world.token().map(str::to_owned) };
        server.address = server.wait_ready(stdout)?;
        Ok(server)
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token that lets in, if it wants one.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Opens a connection of its own.
    ///
    /// # Errors
    /// The server does not take it.
    pub(super) async fn connect(&self) -> Result<Channel, BenchError> {
        connect(self.address).await
    }

    /// User and system time of the process in seconds.
    ///
    /// # Errors
    /// It is no longer there.
    pub(super) fn cpu_seconds(&self) -> Result<f64, BenchError> {
        procfs::cpu_seconds(self.child.id())
    }

    /// Bytes that the process had written to disk.
    ///
    /// # Errors
    /// It is no longer there.
    pub(super) fn written_bytes(&self) -> Result<u64, BenchError> {
        procfs::written_bytes(self.child.id())
    }

    /// Memory of the process in bytes; see [`procfs::memory_bytes`].
    ///
    /// # Errors
    /// It is no longer there.
    pub(super) fn memory_bytes(&self, line: &str) -> Result<u64, BenchError> {
        procfs::memory_bytes(self.child.id(), line)
    }

    /// Asks the server to stop and waits for it.
    ///
    /// # Errors
    /// It does not, or not with success.
    pub(super) fn stop(mut self) -> Result<(), BenchError> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).map_err(|error| cannot("stop the server")(error.into()))?;
        let asked = Instant::now();
        while asked.elapsed() < STOP_TIMEOUT {
            match self.ended()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(self.bad_stop(format!("ended with {status}"))),
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
        Err(self.bad_stop(format!("still ran {STOP_TIMEOUT:?}")))
    }

    fn bad_stop(&self, how: String) -> BenchError {
        BenchError::ServerStop { how, log: self.last_lines() }
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, BenchError> {
        self.child.try_wait().map_err(cannot("wait for the server"))
    }

    fn wait_ready(&mut self, stdout: Option<ChildStdout>) -> Result<SocketAddr, BenchError> {
        let (found, address) = mpsc::channel();
        if let Some(stdout) = stdout {
            // Reads on to the end, so that the server never waits for somebody to read.
            thread::spawn(move || {
                let lines = BufReader::new(stdout).lines().map_while(Result::ok);
                for address in lines.filter_map(|line| ready_address(&line)) {
                    // Nobody waits any longer: read on all the same.
                    let _ = found.send(address);
                }
            });
        }
        match address.recv_timeout(READY_TIMEOUT) {
            Ok(address) => Ok(address),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                Err(BenchError::ServerNotReady { waited: READY_TIMEOUT, log: self.last_lines() })
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = self.child.wait().map_err(cannot("wait for the server"))?;
                Err(BenchError::ServerEnded { status, log: self.last_lines() })
            }
        }
    }

    fn last_lines(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Nothing is left to do where this fails: it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens a connection to a server.
///
/// # Errors
/// It does not take it.
pub(super) async fn connect(address: SocketAddr) -> Result<Channel, BenchError> {
    let address = format!("http://{address}");
    let refused = |source| BenchError::Connect { address: address.clone(), source };
    Endpoint::from_shared(address.clone())
        .map_err(refused)?
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .tcp_nodelay(true)
        .connect()
        .await
        .map_err(refused)
}

fn command(world: &WorldFiles, partitions: u64) -> Result<Command, BenchError> {
    let program = env::current_exe().map_err(cannot("find the program of the server"))?;
    let mut command = Command::new(program);
    command.arg("launch");
    // What is in a data directory goes on.
    if !world.data_dir().is_some_and(|data_dir| data_dir.exists()) {
        command.arg(world.snapshot());
    }
    command.args(["--listen", "127.0.0.1:0"]);
    if partitions > 0 {
        command.args(["--partitions", &partitions.to_string()]);
    }
    if let Some(config) = world.config() {
        command.arg("--config").arg(config);
    }
    if let Some(data_dir) = world.data_dir() {
        command.arg("--data-dir").arg(data_dir);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    // What the user set for other worlds is no part of the load.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SPATIALDB_")) {
        command.env_remove(name);
    }
    Ok(command)
}

fn ready_address(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("ready ")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_tells_the_address_is_known() {
        assert_eq!(ready_address("ready 127.0.0.1:7400"), "127.0.0.1:7400".parse().ok());
        assert_eq!(ready_address("ready soon"), None);
        assert_eq!(ready_address("listening 127.0.0.1:7400"), None);
    }
}
