//! A world for a test: a real server process, on a port of its own.
//!
//! Responsible for: starting it, saying where it answers, ending it.
//! Not responsible for: what is in it, and what is asked.

use std::{
    ffi::OsStr,
    io::{self, BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use thiserror::Error;

/// `spatialdb launch` until it is dropped. If this process is killed, the server ends with it.
///
/// ```no_run
/// use spatialdb_sdk::{Worker, WorkerOptions, testing::EphemeralWorld};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let world = EphemeralWorld::launch(["world.snapshot"])?;
/// let worker = Worker::connect(WorkerOptions::new(world.address(), "test")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EphemeralWorld {
    process: Child,
    address: String,
    log: Arc<Mutex<String>>,
}

/// Why there is no world.
#[derive(Debug, Error)]
pub enum TestingError {
    /// The program could not be started.
    #[error("cannot start {program}: {source}; is it on PATH?")]
    Start {
        /// Its name, or path.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("the world did not come up; it said:\n{log}")]
    Ended {
        /// What it said.
        log: String,
    },
}

impl EphemeralWorld {
    /// Launches a world with these arguments for `spatialdb launch`. The program is found on PATH.
    ///
    /// # Errors
    /// It cannot be started, or does not come up.
    pub fn launch<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Self, TestingError> {
        let mut command = Command::new("spatialdb");
        command.arg("launch").args(arguments);
        Self::start(command)
    }

    /// Launches a world by a command that says where the program is and ends with arguments for `spatialdb launch`.
    ///
    /// # Errors
    /// As [`EphemeralWorld::launch`].
    pub fn start(mut command: Command) -> Result<Self, TestingError> {
        command.args(["--ephemeral", "--listen", "127.0.0.1:0", "--json"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = command.get_program().to_string_lossy().into_owned();
        let started = |source| TestingError::Start { program: program.clone(), source };
        let mut process = command.spawn().map_err(started)?;
        let log = Arc::new(Mutex::new(String::new()));
        let said = process.stderr.take().map(|stream| follow(stream, log.clone()));
        let mut line = String::new();
        if let Some(stream) = process.stdout.take() {
            BufReader::new(stream).read_line(&mut line).map_err(started)?;
        }
        if let Some(address) = address_of(&line) {
            return Ok(Self { process, address: address.to_owned(), log });
        }
        // It has ended, or is of no use.
        let _ = process.kill();
        let _ = process.wait();
        let _ = said.map(thread::JoinHandle::join);
        let log = log.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Err(TestingError::Ended { log })
    }

    /// Where it answers, as `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it has said so far, its workers' lines too.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for EphemeralWorld {
    fn drop(&mut self) {
        // Its workers end with it. Where this fails it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads a stream to its end, so that nobody waits for a reader.
fn follow(stream: impl Read + Send + 'static, log: Arc<Mutex<String>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push_str(&line);
            log.push('\n');
        }
    })
}

/// Of the one line that the server prints: `{"address":"127.0.0.1:7400",...}`.
fn address_of(line: &str) -> Option<&str> {
    line.split_once("\"address\":\"")?.1.split_once('"').map(|(address, _)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_the_line() {
        assert_eq!(address_of("{\"address\":\"127.0.0.1:7400\",\"pid\":1}\n"), Some("127.0.0.1:7400"));
        assert_eq!(address_of(""), None);
    }

    #[test]
    fn what_did_not_come_up_says_why() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such snapshot >&2; exit 1", "--"]);
        let error = EphemeralWorld::start(command).expect_err("it ended").to_string();
        assert!(error.contains("no such snapshot"), "{error}");
        let error = EphemeralWorld::start(Command::new("no-such-program")).expect_err("nothing").to_string();
        assert!(error.contains("no-such-program") && error.contains("PATH"), "{error}");
    }
}
