//! A driver: a program on one SDK that does what it is told, line by line.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};
use spatialdb_tests::{DEADLINE, Log, generate_python, repository};

/// Which SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `workers/sdk`.
    Rust,
    /// `workers/python`.
    PythonSdk,
    /// Generated Python code and `grpcio`.
    PythonStubs,
    /// `workers/typescript` in Node, over a stream.
    TypeScript,
    /// The same over gRPC-Web, as browsers do.
    TypeScriptWeb,
}

impl Kind {
    fn command(self) -> Command {
        let here = repository().join("tests/conformance");
        let need = |path: PathBuf, advice: &str| {
            assert!(path.exists(), "{} is missing: {advice}", path.display());
            path
        };
        match self {
            Self::Rust => {
                // target/<profile>/deps/suite-0123
                let this = std::env::current_exe().expect("this program has a path");
                let built = this.ancestors().nth(2).expect("in target/<profile>/deps");
                Command::new(need(
                    built.join("examples/conformance"),
                    "run `cargo build --release -p spatialdb-sdk --example conformance`",
                ))
            }
            Self::PythonSdk | Self::PythonStubs => {
                let probe = probe_python();
                let (script, stubs) = match self {
                    Self::PythonSdk => ("python_sdk.py", "workers/python"),
                    _ => ("python_stubs.py", "workers/python/examples/generated"),
                };
                let stubs = need(repository().join(stubs), "run `deploy/setup.sh`");
                let python = need(repository().join(".venv/bin/python"), "run `deploy/setup.sh`");
                let mut command = Command::new(python);
                let path = std::env::join_paths([probe, &stubs]).expect("no colon in them");
                command.env("PYTHONPATH", path).env("PYTHONDONTWRITEBYTECODE", "1").arg(here.join(script));
                command
            }
            Self::TypeScript | Self::TypeScriptWeb => {
                need(
                    repository().join("workers/typescript/dist"),
                    "run `npm ci && npm run build` in workers/typescript",
                );
                let mut command = Command::new("node");
                command.arg(here.join("typescript/driver.mjs"));
                if self == Self::TypeScriptWeb {
                    command.arg("--web");
                }
                command
            }
        }
    }
}

/// Python code of the test world's schema, generated once.
fn probe_python() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance-python");
        std::fs::create_dir_all(&folder).expect("made");
        generate_python(&folder);
        folder
    })
}

/// A running driver. It is killed when it is dropped.
pub(crate) struct Driver {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Log,
    stderr: Log,
    answers: usize,
}

#[expect(clippy::needless_pass_by_value, reason = "operations are written where they are asked")]
impl Driver {
    /// Starts one for the world at that address.
    pub(crate) fn start(kind: Kind, address: &str) -> Self {
        Self::start_with(kind, address, &[])
    }

    /// The same, with more in its environment.
    pub(crate) fn start_with(kind: Kind, address: &str, env: &[(&str, &str)]) -> Self {
        let mut command = kind.command();
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SPATIALDB_")) {
            command.env_remove(name);
        }
        command.env("SPATIALDB_ADDRESS", address).envs(env.iter().copied()).current_dir(repository());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdin = child.stdin.take();
        let stdout = Log::follow(child.stdout.take().expect("piped"));
        let stderr = Log::follow(child.stderr.take().expect("piped"));
        Self { child, stdin, stdout, stderr, answers: 0 }
    }

    /// Starts one and attaches it.
    pub(crate) fn attach(kind: Kind, address: &str, name: &str) -> Self {
        let mut driver = Self::start(kind, address);
        driver.ok(json!({"op": "connect", "type": "conformance", "name": name}));
        driver
    }

    /// Waits until it owns so many entities of a layer. Gives them.
    ///
    /// # Panics
    /// If it does not come about in time.
    pub(crate) fn owns(&mut self, layer: &str, count: usize) -> Vec<String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = self.ok(json!({"op": "owned", "scope": layer}));
            let entities = answer["entities"].as_array().expect("a list").iter();
            let entities: Vec<_> = entities.map(|id| id.as_str().expect("text").to_owned()).collect();
            if entities.len() == count {
                return entities;
            }
            assert!(Instant::now() < deadline, "not in time: it owns {count} in {layer}; it owns {answer}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it has heard of what it may write since this was last asked.
    pub(crate) fn told(&mut self) -> Vec<String> {
        let answer = self.ok(json!({"op": "authority"}));
        answer["told"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one.as_str().expect("text").to_owned())
            .collect()
    }

    /// Has it do something, and gives the answer.
    pub(crate) fn ask(&mut self, operation: Value) -> Value {
        let stdin = self.stdin.as_mut().expect("it is not closed");
        writeln!(stdin, "{operation}").and_then(|()| stdin.flush()).unwrap_or_else(|error| {
            panic!("the driver takes no more ({error}); it said:\n{}", self.stderr.text())
        });
        self.answers += 1;
        let (mut seen, wanted) = (0, self.answers);
        let mut count = |line: &str| {
            seen += 1;
            (seen == wanted).then(|| line.to_owned())
        };
        let line = self.stdout.find("an answer of the driver", &mut count);
        let line = line.unwrap_or_else(|| panic!("the driver ended at {operation}:\n{}", self.stderr.text()));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// As [`Self::ask`], of what must not be refused.
    pub(crate) fn ok(&mut self, operation: Value) -> Value {
        let answer = self.ask(operation.clone());
        assert!(answer.get("error").is_none(), "{operation}: {answer}");
        answer
    }

    /// As [`Self::ask`], of what must be refused. Gives the reason.
    pub(crate) fn refused(&mut self, operation: Value) -> String {
        let answer = self.ask(operation.clone());
        let reason = answer["error"]["reason"].as_str();
        reason.unwrap_or_else(|| panic!("{operation} was not refused: {answer}")).to_owned()
    }

    /// Creates entities. Gives their ids.
    pub(crate) fn create(&mut self, entities: Value) -> Vec<String> {
        let answer = self.ok(json!({"op": "create", "entities": entities}));
        let ids = answer["ids"].as_array().expect("ids").iter();
        ids.map(|id| id.as_str().expect("ids are strings").to_owned()).collect()
    }

    /// Waits until all is decided. Gives (reason, entity, component) of what was refused; entity 0 is "".
    pub(crate) fn decided(&mut self) -> Vec<(String, String, String)> {
        let answer = self.ok(json!({"op": "decided"}));
        let word = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let entity = |one: &Value| Some(word(one, "entity")).filter(|id| id != "0").unwrap_or_default();
        let refused = answer["rejections"].as_array().expect("a list").iter();
        refused.map(|one| (word(one, "reason"), entity(one), word(one, "component"))).collect()
    }

    /// Waits until all is decided; nothing may have been refused.
    pub(crate) fn accepted(&mut self) {
        assert_eq!(self.decided(), []);
    }

    /// Starts a view of all components. Gives the number of entities in it.
    pub(crate) fn subscribe(&mut self, view: u64, query: Value) -> u64 {
        let operation = json!({"op": "subscribe", "view": view, "query": query, "components": [],
            "own_updates": true, "rate_hz": 0});
        self.ok(operation)["count"].as_u64().expect("a number")
    }

    /// What it sees, by entity and component. Numbers are f64.
    pub(crate) fn replica(&mut self) -> Map<String, Value> {
        let mut answer = self.ok(json!({"op": "replica"}));
        let entities = answer["entities"].take();
        match floats(entities) {
            Value::Object(entities) => entities,
            other => panic!("not a replica: {other}"),
        }
    }

    /// Waits until the replica is as wanted.
    ///
    /// # Panics
    /// If it does not come about in time.
    pub(crate) fn sees(&mut self, what: &str, wanted: impl Fn(&Map<String, Value>) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let replica = self.replica();
            if wanted(&replica) {
                return;
            }
            assert!(Instant::now() < deadline, "not in time: {what}; it sees {}", Value::Object(replica));
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until one component of an entity is that.
    pub(crate) fn sees_value(&mut self, entity: &str, component: &str, value: &Value) {
        let value = floats(value.clone());
        self.sees(&format!("{component} of {entity} is {value}"), |replica| {
            replica.get(entity).and_then(|found| found.get(component)) == Some(&value)
        });
    }

    /// Says goodbye; it must end well and quietly.
    pub(crate) fn close(mut self) {
        self.ok(json!({"op": "close"}));
        self.stdin = None;
        let deadline = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("ours") {
                break status;
            }
            assert!(Instant::now() < deadline, "the driver did not end:\n{}", self.stderr.text());
            thread::sleep(Duration::from_millis(2));
        };
        assert_eq!(status.code(), Some(0), "{}", self.stderr.text());
        self.stderr.wait_for_end();
        assert_eq!(self.stderr.text(), "", "a driver whose SDK is content says nothing");
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("---- the driver said:\n{}\n----", self.stderr.text());
        }
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same JSON with every number as f64: some languages write 3.0 where others write 3.
pub(crate) fn floats(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64().expect("finite")),
        Value::Array(values) => values.into_iter().map(floats).collect(),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, floats(value))).collect())
        }
        other => other,
    }
}
