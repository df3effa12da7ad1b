//! A world of one's own: made, set up, checked, launched, as its README says.

use std::{
    fs,
    os::unix,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;
use spatialdb_tests::{DEADLINE, Finished, Process, repository, run_in, search_path, spatialdb};
use tempfile::TempDir;

/// A world made by `spatialdb new`.
struct Own {
    _folder: TempDir,
    path: PathBuf,
}

impl Own {
    fn new(lang: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made = run_in(folder.path(), &["new", "my-meadow", "--lang", lang]);
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        assert!(made.stdout.contains("spatialdb launch"), "{}", made.stdout);
        let path = folder.path().join("my-meadow");
        assert!(fs::read_to_string(path.join("README.md")).expect("a README").starts_with("# my-meadow\n"));
        Self { _folder: folder, path }
    }

    fn run(&self, args: &[&str]) -> Finished {
        run_in(&self.path, args)
    }

    /// A command in its folder, with `spatialdb` on PATH.
    fn with_program<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.current_dir(&self.path).env("PATH", search_path())
    }

    /// Launches it, waits until sheep have moved and the worker says so itself, and lets it share the work with another one.
    fn lives(&self, by_hand: &[&str]) {
        let checked = self.run(&["config", "check"]);
        assert_eq!(
            (checked.code, checked.stdout.lines().next()),
            (Some(0), Some("world.toml: fine")),
            "{}",
            checked.stderr
        );
        let mut world =
            Process::start(spatialdb(&["launch", "--listen", "127.0.0.1:0"]).current_dir(&self.path));
        let ready = world.stdout.find("ready", |line| line.strip_prefix("ready ").map(str::to_owned));
        let address = ready.unwrap_or_else(|| panic!("{}", world.stderr.text()));
        world.stderr.wait_for("sheep in the meadow: 30");
        all_walk(&address);
        let workers = self.run(&["workers", "--json", "--address", &address]).stdout;
        assert!(workers.contains("shepherd-1"), "{workers}");
        self.shares(&address, by_hand);
        world.signal(Signal::TERM);
        assert_eq!(world.wait(), Some(0), "{}", world.stderr.text());
        world.stderr.wait_for_end();
        let said = world.stderr.text();
        assert!(!said.contains(" WARN ") && !said.contains(" ERROR ") && !said.contains("refused"), "{said}");
    }

    /// A worker that is started by hand gets half of the meadow. When it is drained it gives that back, and ends.
    fn shares(&self, address: &str, by_hand: &[&str]) {
        let mut command = Command::new(by_hand[0]);
        // What the command line says wins.
        let name = if by_hand.contains(&"by-hand") { "another" } else { "by-hand" };
        command.args(&by_hand[1..]).env("SPATIALDB_ADDRESS", address).env("SPATIALDB_WORKER_NAME", name);
        let worker = Process::start(self.with_program(&mut command).env("PYTHONUNBUFFERED", "1"));
        worker.stdout.wait_for("sheep in the meadow: 30");
        let at = |args: &[&str]| self.run(&[args, &["--address", address]].concat());
        let region = regions(address).into_iter().find(|region| region["space"] == 0).expect("of the meadow");
        let region = region["region"].as_str().expect("an id").to_owned();
        let split = at(&["split", &region, "--x", "0"]);
        assert_eq!(split.code, Some(0), "{}", split.stderr);
        until("each has half", || {
            let regions = regions(address);
            let has = |name| regions.iter().any(|one| one["space"] == 0 && one["owner"]["name"] == name);
            has("shepherd-1") && has("by-hand")
        });
        all_walk(address);
        let drained = at(&["drain", "by-hand"]);
        assert_eq!(drained.code, Some(0), "{}", drained.stderr);
        let ended = worker.finish();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
        assert!(!ended.stdout.contains("refused"), "{}", ended.stdout);
        all_walk(address);
    }
}

/// Waits until every sheep is somewhere else.
fn all_walk(address: &str) {
    let place = |one: &Value| one["components"]["spatialdb.v1.Position"].clone();
    let before = sheep(address);
    assert_eq!(before.len(), 30);
    until("all sheep walk", || {
        let now = sheep(address);
        // Only the heading is written: what else a sheep has stays.
        assert!(now.iter().all(|one| one["components"]["meadow.Sheep"]["speedMps"].is_number()), "{now:?}");
        let walks = |one: &Value| {
            let then = before.iter().find(|then| then["entity"] == one["entity"]);
            then.is_some_and(|then| place(then) != place(one))
        };
        now.len() == 30 && now.iter().all(walks)
    });
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn regions(address: &str) -> Vec<Value> {
    let asked = run_in(&repository(), &["regions", "--json", "--address", address]);
    assert_eq!(asked.code, Some(0), "{}", asked.stderr);
    asked.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn sheep(address: &str) -> Vec<Value> {
    let asked =
        run_in(&repository(), &["query", "--has", "Sheep", "--json", "--limit", "0", "--address", address]);
    assert_eq!(asked.code, Some(0), "{}", asked.stderr);
    asked.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn succeeds(command: &mut Command) {
    let shown = format!("{command:?}");
    let done = command.output().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "{shown}:\n{}", String::from_utf8_lossy(&said));
}

#[test]
fn a_world_with_a_worker_in_python_lives() {
    let own = Own::new("python");
    // What the README installs is in the repository's own environment, in the same versions.
    let wanted = fs::read_to_string(own.path.join("requirements.txt")).expect("read");
    let python = repository().join(".venv/bin/python");
    let listed = Command::new(&python).args(["-m", "pip", "freeze", "--all"]).output().expect("pip");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for line in wanted.lines() {
        assert!(listed.lines().any(|found| found == line), "{line} is not in {}: {listed}", python.display());
    }
    let missing = own.run(&["config", "check"]);
    assert_eq!(missing.code, Some(78));
    assert!(
        missing.stderr.contains("workers[0].command: .venv/bin/python: there is no such program"),
        "{missing:?}"
    );
    unix::fs::symlink(repository().join(".venv"), own.path.join(".venv")).expect("linked");
    own.lives(&[".venv/bin/python", "worker.py", "--replace", "by-hand"]);
    succeeds(own.with_program(Command::new(".venv/bin/python").args(["-B", "-m", "unittest"])));
}

#[test]
fn a_world_with_a_worker_in_rust_lives() {
    let own = Own::new("rust");
    // Versions of the repository, which are there already; built once for all runs of this test.
    fs::copy(repository().join("Cargo.lock"), own.path.join("Cargo.lock")).expect("copied");
    let built = target().join("own-world");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--offline", "--quiet"]).current_dir(&own.path).env("CARGO_TARGET_DIR", &built);
    succeeds(&mut cargo);
    // Without optimisation, which takes long and shows nothing more.
    fs::create_dir_all(own.path.join("target/release")).expect("made");
    fs::copy(built.join("debug/shepherd"), own.path.join("target/release/shepherd")).expect("built");
    own.lives(&["target/release/shepherd"]);
    let mut cargo = Command::new("cargo");
    succeeds(own.with_program(cargo.args(["test", "--offline", "--quiet"]).env("CARGO_TARGET_DIR", &built)));
}

#[test]
fn a_world_with_a_worker_in_typescript_lives() {
    let own = Own::new("typescript");
    let mut npm = Command::new("npm");
    succeeds(npm.args(["install", "--prefer-offline", "--no-audit", "--no-fund"]).current_dir(&own.path));
    own.lives(&["node", "dist/worker.js", "--replace", "by-hand"]);
    succeeds(own.with_program(Command::new("npm").arg("test")));
}

// target/<profile>/spatialdb
fn target() -> PathBuf {
    let binary = spatialdb_tests::binary("spatialdb");
    binary.ancestors().nth(2).expect("it is in target").to_owned()
}

#[test]
fn nobodys_files_are_written_over() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("mine"), "").expect("written");
    let made = run_in(folder.path(), &["new", ".", "--lang", "python"]);
    assert_eq!(
        (made.code, made.stderr.as_str()),
        (Some(2), "error: .: the folder is not empty; name a new one")
    );
    let made = run_in(folder.path(), &["new", "mine", "--lang", "rust"]);
    assert_eq!((made.code, made.stderr.as_str()), (Some(2), "error: mine: there is a file of that name"));
    assert_eq!(run_in(folder.path(), &["new", "a", "--lang", "cobol"]).code, Some(2));
    let made = run_in(folder.path(), &["new", "a", "--lang", "rust", "--sdk", "nowhere"]);
    assert_eq!(
        (made.code, made.stderr.as_str()),
        (Some(2), "error: --sdk nowhere: there is no Cargo.toml in it")
    );
    assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 1, "nothing was made");
}

#[test]
fn launch_takes_lines_or_nothing_and_says_which_line_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |args: &[&str]| run_in(folder.path(), args);
    let nothing = at(&["launch"]);
    assert_eq!(nothing.code, Some(2));
    assert!(
        nothing.stderr.contains("world.toml") && nothing.stderr.contains("--empty"),
        "{}",
        nothing.stderr
    );

    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    write(
        "w.jsonl",
        "{\"components\":{\"Metadata\":{\"name\":\"a\"}}}\n{\"components\":{\"Metadata\":{\"nam\":\"b\"}}}\n",
    );
    let wrong = at(&["launch", "w.jsonl", "--listen", "127.0.0.1:0"]);
    assert_eq!(wrong.code, Some(65), "{}", wrong.stderr);
    assert!(
        wrong.stderr.contains("w.jsonl: line 2: components.Metadata") && wrong.stderr.contains("nam"),
        "{wrong:?}"
    );
    assert_eq!(at(&["launch", "none.jsonl", "--listen", "127.0.0.1:0"]).code, Some(66));

    write("w.jsonl", "{\"components\":{\"Metadata\":{\"name\":\"a\"}}}\n{}\n");
    assert_eq!(count(folder.path(), &["launch", "w.jsonl"]), 2);
    assert_eq!(count(folder.path(), &["launch", "--empty"]), 0);
    // Settings elsewhere: paths are relative to them.
    fs::create_dir(folder.path().join("sub")).expect("made");
    write("sub/world.toml", "[world]\nsnapshot = \"../w.jsonl\"\n");
    assert_eq!(count(folder.path(), &["launch", "--config", "sub/world.toml"]), 2);
    assert_eq!(count(&folder.path().join("sub"), &["launch"]), 2);
    assert_eq!(count(&folder.path().join("sub"), &["launch", "--empty"]), 0);
}

fn count(folder: &Path, args: &[&str]) -> u64 {
    let args = [args, &["--listen", "127.0.0.1:0"]].concat();
    let world = Process::start(spatialdb(&args).current_dir(folder));
    let ready = world.stdout.find("ready", |line| line.strip_prefix("ready ").map(str::to_owned));
    let address = ready.unwrap_or_else(|| panic!("{}", world.stderr.text()));
    let counted = run_in(folder, &["query", "--count", "--json", "--address", &address]);
    assert_eq!(counted.code, Some(0), "{}", counted.stderr);
    let line: Value = serde_json::from_str(&counted.stdout).expect("JSON");
    line["count"].as_u64().expect("a count")
}
