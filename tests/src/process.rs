//! Programs of this repository as processes.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{DEADLINE, Log};

/// The root of the repository.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the crate is in the repository").to_owned()
}

/// A program that cargo has built beside these tests.
///
/// # Panics
/// If it has not.
pub fn binary(name: &str) -> PathBuf {
    let this = env::current_exe().expect("this program has a path");
    // target/<profile>/deps/suite-0123
    let folder = this.ancestors().nth(2).expect("tests are in target/<profile>/deps");
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `make test`, or `cargo build --release --workspace` first",
        path.display()
    );
    path
}

/// PATH, with the programs that cargo has built in front.
///
/// # Panics
/// If it has not.
pub fn search_path() -> OsString {
    let programs = binary("spatialdb").parent().map(Path::to_owned);
    let others = env::var_os("PATH").unwrap_or_default();
    env::join_paths(programs.into_iter().chain(env::split_paths(&others))).expect("no colon in them")
}

/// The `spatialdb` command, without settings of the one who runs the tests.
pub fn spatialdb(args: &[&str]) -> Command {
    let mut command = Command::new(binary("spatialdb"));
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("SPATIALDB_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command.args(args).current_dir(repository());
    command
}

/// A process that is watched, and killed when it is dropped.
pub struct Process {
    child: Child,
    /// What it prints to stdout.
    pub stdout: Log,
    /// What it prints to stderr.
    pub stderr: Log,
}

impl Process {
    /// Starts it without input.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = Log::follow(child.stdout.take().expect("piped"));
        let stderr = Log::follow(child.stderr.take().expect("piped"));
        Self { child, stdout, stderr }
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("ours").is_none()
    }

    /// Waits for the end. The exit code is `None` after a signal.
    ///
    /// # Panics
    /// If it does not end within [`DEADLINE`].
    pub fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("ours") {
                return status.code();
            }
            let (out, err) = (&self.stdout, &self.stderr);
            assert!(Instant::now() < deadline, "it did not end; it said:\n{}\n{}", out.text(), err.text());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for the end, and for all that it printed.
    pub fn finish(mut self) -> Finished {
        let code = self.wait();
        self.stdout.wait_for_end();
        self.stderr.wait_for_end();
        Finished { code, stdout: self.stdout.text(), stderr: self.stderr.text() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// `None` after a signal.
    pub code: Option<i32>,
    /// Without the last end of line.
    pub stdout: String,
    /// Without the last end of line.
    pub stderr: String,
}

/// Runs `spatialdb` in the root of the repository until it ends.
pub fn run(args: &[&str]) -> Finished {
    Process::start(&mut spatialdb(args)).finish()
}

/// Runs `spatialdb` in a folder until it ends.
pub fn run_in(folder: &Path, args: &[&str]) -> Finished {
    Process::start(spatialdb(args).current_dir(folder)).finish()
}
