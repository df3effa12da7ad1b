//! `spatialdb launch` as a process: what it says, how it ends, what it leaves.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

const DEADLINE: Duration = Duration::from_secs(30);

fn spatialdb(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spatialdb"));
    for variable in ["SPATIALDB_LISTEN", "SPATIALDB_PARTITIONS", "SPATIALDB_ADDRESS", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(args: &[&str]) -> Output {
    spatialdb(args).output().expect("ran")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A server that is up, and its address.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        // A flag in `args` wins over the variable.
        let mut command = spatialdb(&["launch"]);
        command.args(args).env("SPATIALDB_LISTEN", "127.0.0.1:0").stderr(Stdio::inherit());
        let mut child = command.spawn().expect("spawned");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("read");
        let address = line.strip_prefix("ready ").expect("it says where").trim().to_owned();
        Self { child, address }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signalled");
    }

    fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("asked") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it did not end in time");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

// Zombies count as gone: nobody but their parent can end them further.
fn is_running(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

/// Settings with one worker that does not listen to SIGTERM, in a folder; it leaves its id in `pid`.
fn deaf_worker(folder: &Path, stop_timeout: &str) -> String {
    let file = folder.join("world.toml");
    let text = format!(
        "[[workers]]\ntype = \"deaf\"\nstop_timeout = \"{stop_timeout}\"\n\
         command = [\"sh\", \"-c\", \"trap '' TERM; echo $$ > new; mv new pid; while :; do sleep 0.05; done\"]\n"
    );
    fs::write(&file, text).expect("written");
    file.display().to_string()
}

fn pid_in(folder: &Path) -> String {
    wait_for("the worker starts", || folder.join("pid").exists());
    fs::read_to_string(folder.join("pid")).expect("pid")
}

#[test]
fn sigterm_and_ctrl_c_end_it_well() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(&["--empty"]);
        server.signal(signal);
        assert_eq!(server.exit_code(), Some(0));
    }
}

#[test]
fn workers_stop_with_the_world() {
    let folder = tempfile::tempdir().expect("folder");
    let mut server = Server::start(&["--config", &deaf_worker(folder.path(), "100ms")]);
    let pid = pid_in(folder.path());
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), Some(0));
    assert!(!is_running(&pid));
}

#[test]
fn a_second_signal_ends_it_at_once_and_no_worker_stays() {
    let folder = tempfile::tempdir().expect("folder");
    let mut server = Server::start(&["--config", &deaf_worker(folder.path(), "1h")]);
    let pid = pid_in(folder.path());
    server.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(300));
    assert!(is_running(&pid), "it waits for the worker");
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), Some(143));
    wait_for("the guard ends the worker", || !is_running(&pid));
}

#[test]
fn workers_do_not_outlive_a_killed_server() {
    let folder = tempfile::tempdir().expect("folder");
    let mut server = Server::start(&["--config", &deaf_worker(folder.path(), "1h")]);
    let pid = pid_in(folder.path());
    server.signal(Signal::KILL);
    assert_eq!(server.exit_code(), None);
    wait_for("the guard ends the worker", || !is_running(&pid));
}

#[test]
fn without_workers_none_is_started() {
    let folder = tempfile::tempdir().expect("folder");
    let config = deaf_worker(folder.path(), "1s");
    let mut server = Server::start(&["--config", &config, "--without-workers"]);
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), Some(0));
    assert!(!folder.path().join("pid").exists());
}

#[test]
fn a_busy_port_names_the_address_and_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("address").to_string();
    let output = run(&["launch", "--empty", "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains(&address) && text.contains("--listen"), "{text}");
    assert!(output.stdout.is_empty());
}

#[test]
fn other_machines_are_kept_out_unless_told() {
    let output = run(&["launch", "--empty", "--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(78));
    let text = stderr(&output);
    assert!(text.contains("--listen 0.0.0.0:0") && text.contains("--insecure"), "{text}");

    let mut server = Server::start(&["--empty", "--listen", "0.0.0.0:0", "--insecure"]);
    assert!(server.address.starts_with("0.0.0.0:"));
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn a_wrong_setting_is_named_before_anything_starts() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("world.toml");
    fs::write(&file, "[server]\npartitons = 3\n").expect("written");
    let output = run(&["launch", "--config", &file.display().to_string()]);
    assert_eq!(output.status.code(), Some(78));
    let expected = format!(
        "error: {}:2: server.partitons: no such setting; did you mean `partitions`?\n",
        file.display()
    );
    assert_eq!(stderr(&output), expected);

    let output = run(&["launch", "--empty", "--log", "loud"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("\"loud\" must be off, error, warn, info, debug, trace"));

    let output = run(&["launch", "--partitions", "0"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn without_a_world_a_client_says_what_to_do() {
    let free = TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("address").to_string();
    for args in [&["query"][..], &["get", "1"], &["workers"], &["schema"]] {
        let output = spatialdb(args).args(["--address", &free]).output().expect("ran");
        assert_eq!(output.status.code(), Some(69), "{args:?}");
        let text = stderr(&output);
        assert!(text.contains(&free) && text.contains("spatialdb launch"), "{text}");
    }
}

#[test]
fn logs_for_machines_are_json() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("world.toml");
    fs::write(
        &file,
        "[[workers]]\ntype = \"talker\"\ncommand = [\"sh\", \"-c\", \"echo hello; sleep 60\"]\n",
    )
    .expect("written");
    let mut child = spatialdb(&["launch", "--listen", "127.0.0.1:0", "--log-format", "json", "--config"])
        .arg(&file)
        .spawn()
        .expect("spawned");
    let lines = BufReader::new(child.stderr.take().expect("stderr")).lines().map_while(Result::ok);
    let found = lines
        .map(|line| serde_json::from_str::<serde_json::Value>(&line).expect("every line is JSON"))
        .find(|line| line["worker"] == "talker-1" && line["line"] == "hello");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("signalled");
    child.wait().expect("ended");
    assert!(found.is_some());
}
