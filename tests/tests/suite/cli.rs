//! The command line: what it prints, and its exit codes.

use std::{fs, net::TcpListener, process::Command};

use serde_json::Value;
use spatialdb_proto::v1::{self, client_message::Body};
use spatialdb_schema::Schema;
use spatialdb_tests::{Client, Finished, Launch, Process, World, binary, repository, run, run_in, spatialdb};

/// Checks the exit code, and that stderr is one line `error: ...` with all parts in it.
fn fails(args: &[&str], code: i32, parts: &[&str]) -> Finished {
    let done = run(args);
    assert_eq!(done.code, Some(code), "{args:?}: {}", done.stderr);
    assert!(
        done.stderr.starts_with("error: ") && done.stderr.lines().count() == 1,
        "{args:?}: {}",
        done.stderr
    );
    for part in parts {
        assert!(done.stderr.contains(part), "{args:?}: {:?} names {part:?}", done.stderr);
    }
    done
}

fn json_lines(done: &Finished) -> Vec<Value> {
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    json_lines_of(done)
}

fn json_lines_of(done: &Finished) -> Vec<Value> {
    done.stdout.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

#[test]
fn a_busy_port_names_the_address_and_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address").to_string();
    let done = fails(&["launch", "--empty", "--listen", &address], 1, &[&address, "--listen", "in use"]);
    assert!(done.stdout.is_empty());
}

#[test]
fn other_machines_are_kept_out_unless_told() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7400"] {
        fails(&["launch", "--empty", "--listen", address], 78, &["--listen", address, "--insecure"]);
    }
    let world = World::launch(Launch::probe().config("[server]\nlisten = \"0.0.0.0:1\""));
    assert!(world.address().starts_with("127.0.0.1:"), "the flag wins over the file");
}

#[test]
fn wrong_settings_name_key_value_and_rule() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("world.toml");
    let path = file.to_str().expect("text");
    let cases: &[(&str, &[&str])] = &[
        ("[server]\npartitons = 3", &["server.partitons", "did you mean `partitions`"]),
        ("[sever]\n", &["sever", "no such setting"]),
        ("[limits]\nsessions_maximum = 3", &["limits.sessions_maximum", "sessions_max"]),
        ("[limits]\nsessions_max = 0", &["limits.sessions_max = 0", "above 0"]),
        ("[limits]\nsessions_max = -4", &["limits.sessions_max = -4"]),
        ("[limits]\nsessions_max = 1.5", &["limits.sessions_max = 1.5", "whole number"]),
        ("[limits]\nmessage_bytes_max = \"4 parsecs\"", &["limits.message_bytes_max", "4 parsecs"]),
        ("[limits]\nsession_views_max = 65", &["session_views_max = 65", "64"]),
        ("[world]\ncell_m = -1", &["world.cell_m = -1", "0.001"]),
        ("[world]\nschema = [\"./nowhere\"]", &["nowhere"]),
        ("[server]\nlisten = \"localhost\"", &["server.listen", "localhost"]),
        ("[server]\npublish_interval_max = \"11s\"", &["server.publish_interval_max", "10s"]),
        ("[[workers]]\ntype = \"Bad Type\"\ncommand = \"true\"", &["workers[0].type", "Bad Type"]),
        ("[[workers]]\ntype = \"a\"", &["workers[0].command", "missing"]),
        ("[world\n", &["world.toml:1: "]),
        ("[world]\n\nnam = \"x\"", &["world.toml:3: world.nam", "did you mean `name`"]),
    ];
    for (text, parts) in cases {
        fs::write(&file, text).expect("written");
        let done = fails(&["launch", "--listen", "127.0.0.1:0", "--config", path], 78, parts);
        assert!(done.stdout.is_empty(), "nothing is served");
    }
    fails(&["launch", "--config", "/nowhere/world.toml"], 78, &["/nowhere/world.toml"]);
}

#[test]
fn a_schema_that_does_not_compile_names_file_and_line() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("schema")).expect("made");
    fs::write(folder.path().join("world.toml"), "[world]\nschema = [\"schema\"]\n").expect("written");
    let head = "syntax = \"proto3\";\npackage a;\nimport \"spatialdb/v1/schema.proto\";\n";
    let component = |name: &str, id: u32| {
        format!("message {name} {{ option (spatialdb.v1.component) = {{ id: {id} }}; int32 x = 1; }}\n")
    };
    let cases: &[(String, &[&str])] = &[
        (format!("{head}message A {{ int32 = 1; }}\n"), &["a.proto", "4"]),
        (head.to_owned() + &component("A", 999), &["a.proto", "999", "1000"]),
        (head.to_owned() + &component("A", 1000) + &component("B", 1000), &["a.proto", "1000", "A", "B"]),
        (format!("{head}import \"none.proto\";\n"), &["a.proto", "none.proto"]),
    ];
    let config = folder.path().join("world.toml");
    for (text, parts) in cases {
        fs::write(folder.path().join("schema/a.proto"), text).expect("written");
        let done = run(&["launch", "--listen", "127.0.0.1:0", "--config", config.to_str().expect("text")]);
        assert_eq!(done.code, Some(78), "{}", done.stderr);
        assert!(done.stdout.is_empty());
        for part in *parts {
            assert!(done.stderr.contains(part), "{:?} names {part:?}", done.stderr);
        }
    }
}

#[test]
fn wrong_arguments_end_with_2_and_missing_files_with_66() {
    for args in [
        &["launch", "--partitions", "0"][..],
        &["launch", "--partitions", "257"],
        &["query", "--box", "1,2,3"],
        &["fly"],
        &["get", "one"],
        &[],
    ] {
        let done = run(args);
        assert_eq!(done.code, Some(2), "{args:?}");
        assert!(!done.stderr.is_empty() && done.stdout.is_empty());
    }
    for command in [
        &["launch", "none.snapshot"][..],
        &["snapshot", "verify", "none.snapshot"],
        &["snapshot", "inspect", "none.snapshot"],
        &["snapshot", "diff", "none.snapshot", "none.snapshot"],
    ] {
        fails(command, 66, &["none.snapshot"]);
    }
}

#[test]
fn every_command_has_help_with_examples() {
    let commands: &[&[&str]] = &[
        &[],
        &["new"],
        &["launch"],
        &["query"],
        &["watch"],
        &["get"],
        &["workers"],
        &["schema"],
        &["schema", "export"],
        &["config"],
        &["config", "check"],
        &["config", "show"],
        &["completions"],
        &["bench"],
        &["snapshot", "inspect"],
        &["snapshot", "verify"],
        &["snapshot", "convert"],
        &["snapshot", "diff"],
    ];
    for command in commands {
        let done = run(&[command, &["--help"][..]].concat());
        assert_eq!(done.code, Some(0), "{command:?}");
        assert!(done.stderr.is_empty());
        let usage =
            format!("Usage: spatialdb{}{}", if command.is_empty() { "" } else { " " }, command.join(" "));
        assert!(done.stdout.contains(&usage), "{}", done.stdout);
        assert!(done.stdout.contains("Example"), "{command:?}: {}", done.stdout);
        assert!(done.stdout.lines().all(|line| line.chars().count() <= 125), "{command:?}");
    }
    assert!(run(&["--version"]).stdout.starts_with("spatialdb 0."));
}

/// Small, but whole: a world with tokens, writers, a viewer, strangers, and the comparison at the end.
#[test]
fn a_bench_checks_what_it_measured() {
    let value = bench("handshakes --seconds 2 --entities 2000 --strangers 500");
    assert!(value("refused_per_second") > 10.0 && value("updates_per_second") > 1000.0);
}

#[test]
fn a_bench_of_the_machine_needs_no_server() {
    let value = bench("machine --seconds 1");
    assert!(value("wake_p50_us") > 0.0 && value("wake_p50_us") <= value("wake_max_us"));
    assert!(value("pause_max_ms") >= 0.0);
}

/// Viewers with boxes of their own, on a schedule and over an ingest: enters, leaves and replicas are right.
#[test]
fn a_bench_with_viewers_checks_what_they_saw() {
    let value = bench("crowd --seconds 1 --viewers 20 --entities 300");
    assert!(value("deliveries_per_second") > 100.0 && value("p99_ms") > 0.0);
    let value = bench("ingest --seconds 1 --views 30 --entities 5000");
    assert!(value("updates_per_second") > 1000.0 && value("view_rows_per_second") > 0.0);
}

/// Runs a scenario with these arguments. Gives the value of a metric by its name.
fn bench(args: &str) -> impl Fn(&str) -> f64 {
    let args: Vec<&str> = args.split_whitespace().collect();
    let done = run(&[&["bench", "--json"], &args[..]].concat());
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let lines = done.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let lines: Vec<Value> = lines.collect();
    let scenario = args[0].to_owned();
    move |metric| {
        let line = lines.iter().find(|line| line["metric"] == metric).unwrap_or_else(|| panic!("{lines:?}"));
        assert_eq!((&line["scenario"], &line["checked"]), (&scenario.as_str().into(), &true.into()));
        line["value"].as_f64().expect("a number")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn json_is_one_object_a_line() {
    let world = World::launch(Launch::probe());
    let mut client = Client::attach(&world, "probe", "one").await;
    client.write(Body::Heartbeat(v1::Heartbeat { load: 0.5, ..v1::Heartbeat::default() })).await;
    let ask = |args: &[&str]| json_lines(&run(&[args, &["--json", "--address", world.address()]].concat()));

    let found = ask(&["query", "--box", "-1100,-1100,-700,-700"]);
    let mut ids: Vec<_> =
        found.iter().map(|line| line["entity"].as_str().expect("ids are strings")).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["1", "10", "2", "9"]);
    assert!(found.iter().all(|line| line["components"]["spatialdb.v1.Metadata"]["type"] == "post"));
    assert_eq!(ask(&["query", "--has", "Metadata", "--count"]), [serde_json::json!({ "count": 64 })]);
    assert_eq!(ask(&["query", "--has", "Metadata", "--limit", "0"]).len(), 64);
    assert_eq!(ask(&["query", "--sphere", "-1050,-1050,1"]).len(), 1);
    assert_eq!(ask(&["query", "--has", "Vitals"]), Vec::<Value>::new());

    let one = &ask(&["get", "7"])[0];
    assert_eq!(
        (one["entity"].as_str(), one["components"]["spatialdb.v1.Metadata"]["name"].as_str()),
        (Some("7"), Some("post 7"))
    );
    assert_eq!(one["components"]["spatialdb.v1.Position"]["x"], 750.0);
    let session = &ask(&["workers"])[0];
    assert_eq!(
        (session["type"].as_str(), session["name"].as_str(), session["load"].as_f64()),
        (Some("probe"), Some("one"), Some(0.5))
    );
    assert!(session["session_id"].is_string());
    let schema = ask(&["schema"]);
    assert!(schema.iter().any(|line| line["id"] == 1000 && line["name"] == "probe.Vitals"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn people_get_tables_and_errors_that_name_the_thing() {
    let world = World::launch(Launch::probe());
    let _client = Client::attach(&world, "probe", "one").await;
    let ask = |args: &[&str]| run(&[args, &["--address", world.address()]].concat());
    let table = ask(&["query", "--ids", "7,8"]);
    assert_eq!(table.stdout.lines().count(), 3, "{}", table.stdout);
    assert!(table.stdout.contains("post 7") && table.stdout.contains("750.0"), "{}", table.stdout);
    let some = ask(&["query", "--has", "Metadata", "--limit", "3"]);
    assert_eq!((some.code, some.stderr.as_str()), (Some(0), "3 of 64 shown; --limit 0 shows all"));
    assert_eq!(ask(&["query", "--has", "Metadata", "--count"]).stdout, "64");
    assert!(ask(&["get", "7"]).stdout.contains("post 7"));
    assert!(ask(&["workers"]).stdout.contains("one"));
    assert!(ask(&["schema"]).stdout.contains("probe.Vitals"));

    let address = ["--address", world.address()];
    fails(&[&["get", "900"][..], &address].concat(), 1, &["ENTITY_NOT_FOUND", "900"]);
    fails(&[&["query", "--has", "Dragon"][..], &address].concat(), 1, &["COMPONENT_UNKNOWN", "Dragon"]);
    fails(
        &[&["query", "--components", "Dragon"][..], &address].concat(),
        1,
        &["COMPONENT_UNKNOWN", "Dragon"],
    );
}

#[test]
fn without_a_world_a_client_says_what_to_do() {
    let free = TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("an address").to_string();
    for command in [&["query"][..], &["watch"], &["get", "1"], &["workers"], &["schema"]] {
        fails(&[command, &["--address", &free]].concat(), 69, &[&free, "spatialdb launch", "--address"]);
    }
}

#[test]
fn snapshots_convert_both_ways_and_diff() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |args: &[&str]| run_in(folder.path(), args);
    let golden = repository().join("snapshots/golden");
    fs::copy(golden.join("v1-small.snapshot"), folder.path().join("a.snapshot")).expect("copied");
    let schema = golden.join("schema");
    let schema = schema.to_str().expect("text");

    let done = at(&["snapshot", "convert", "a.snapshot", "b.jsonl"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let lines = fs::read_to_string(folder.path().join("b.jsonl")).expect("written");
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    let back = at(&["snapshot", "convert", "b.jsonl", "c.snapshot", "--schema", schema]);
    assert_eq!(back.code, Some(0), "{}", back.stderr);
    // An old file may carry fewer built-in components: all else is the same.
    let values = json_lines_of(&at(&["snapshot", "diff", "a.snapshot", "c.snapshot", "--json"]));
    assert_eq!((&values[0]["changed"], &values[0]["equal"]), (&0.into(), &4.into()));
    for (from, to) in [("c.snapshot", "d.jsonl"), ("d.jsonl", "d.snapshot")] {
        let schema: &[&str] = if from == "d.jsonl" { &["--schema", schema] } else { &[] };
        assert_eq!(at(&[&["snapshot", "convert", from, to], schema].concat()).code, Some(0));
    }
    let same = at(&["snapshot", "diff", "c.snapshot", "d.snapshot"]);
    assert_eq!(
        (same.code, same.stdout.as_str()),
        (Some(0), "0 only in the first, 0 only in the second, 0 changed, 4 equal")
    );
    assert_eq!(at(&["snapshot", "verify", "c.snapshot"]).code, Some(0));
    assert_eq!(json_lines(&at(&["snapshot", "inspect", "c.snapshot", "--json"]))[0]["entities"], 4);
    assert_eq!(json_lines(&at(&["snapshot", "verify", "c.snapshot", "--json"]))[0]["ok"], true);

    fs::write(folder.path().join("d.jsonl"), lines.replace("\"Ada\"", "\"Bob\"")).expect("written");
    assert_eq!(at(&["snapshot", "convert", "d.jsonl", "d.snapshot", "--schema", schema]).code, Some(0));
    let other = at(&["snapshot", "diff", "a.snapshot", "d.snapshot"]);
    assert_eq!(other.code, Some(1));
    assert!(
        other.stdout.contains("golden.Shop") && other.stdout.contains("\"Ada\" -> \"Bob\""),
        "{}",
        other.stdout
    );
    let json = at(&["snapshot", "diff", "a.snapshot", "d.snapshot", "--json"]);
    let json: Vec<Value> =
        json.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((json.len(), json[0]["id"].as_str(), &json[1]["changed"]), (2, Some("1"), &Value::from(1)));

    fs::write(
        folder.path().join("e.jsonl"),
        "{\"id\":\"1\",\"components\":{\"golden.Shop\":{\"rating\":\"high\"}}}\n",
    )
    .expect("written");
    let bad = at(&["snapshot", "convert", "e.jsonl", "e.snapshot", "--schema", schema]);
    assert_eq!(bad.code, Some(65));
    assert!(bad.stderr.contains("line 1") && bad.stderr.contains("rating"), "{}", bad.stderr);
    assert!(!folder.path().join("e.snapshot").exists(), "no file is left");
    assert_eq!(at(&["snapshot", "convert", "a.snapshot", "b.txt"]).code, Some(2));
}

/// Work of some seconds, once with a terminal and once without.
#[test]
fn a_bar_appears_for_a_person_who_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (lines, out) = (path("earth.jsonl"), path("earth.snapshot"));
    assert_eq!(run(&["snapshot", "convert", "snapshots/earth.snapshot", &lines]).code, Some(0));
    let convert =
        ["snapshot", "convert", &lines, &out, "--schema", "snapshots/earth/schema", "--level", "19"];
    let piped = run(&convert);
    assert_eq!((piped.code, piped.stderr.as_str()), (Some(0), ""));

    // `script` gives it a terminal, and prints what would be seen there.
    let program = format!("{} {}", binary("spatialdb").display(), convert.join(" "));
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &program, "/dev/null"]).current_dir(repository());
    let seen = Process::start(script.env("TERM", "xterm")).finish();
    assert_eq!(seen.code, Some(0), "{seen:?}");
    assert!(seen.stdout.contains("writing") && seen.stdout.contains("% "), "{seen:?}");
    assert!(seen.stdout.contains("145582 entities"), "{seen:?}");
}

#[test]
fn config_check_names_all_that_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |text: &str| fs::write(folder.path().join("world.toml"), text).expect("written");
    let check = |args: &[&str]| run_in(folder.path(), &[&["config", "check"], args].concat());
    write("[world]\nname = \"w\"\n");
    assert_eq!((check(&[]).code, check(&[]).stdout.lines().next()), (Some(0), Some("world.toml: fine")));
    write(
        "[world]\nsnapshot = \"none.snapshot\"\nschema = [\"protos\"]\n[[workers]]\ntype = \"a\"\n\
         command = \"no-such-program\"\n[[workers]]\ntype = \"b\"\ncommand = \"./b\"\n[[workers]]\n\
         type = \"c\"\ncommand = \"true\"\ndirectory = \"away\"\n[[workers]]\ntype = \"d\"\ncommand = \"true\"\n",
    );
    let wrong = check(&[]);
    assert_eq!(wrong.code, Some(78), "{}", wrong.stderr);
    let parts = [
        "world.schema: protos",
        "world.snapshot: none.snapshot: ",
        "workers[0].command: no-such-program: ",
        "workers[1].command: ./b: ",
        "workers[2].directory: away: ",
    ];
    let lines: Vec<_> = wrong.stderr.lines().collect();
    assert_eq!(lines.len(), parts.len(), "{}", wrong.stderr);
    for (line, part) in lines.iter().zip(parts) {
        assert!(line.starts_with(&format!("error: world.toml: {part}")), "{line:?} names {part:?}");
    }
    let json: Value = serde_json::from_str(&check(&["--json"]).stdout).expect("JSON");
    assert_eq!((&json["ok"], json["problems"].as_array().map(Vec::len)), (&Value::from(false), Some(5)));
    fs::create_dir(folder.path().join("protos")).expect("made");
    fs::write(folder.path().join("protos/a.proto"), "syntax = \"proto3\";\nmessage A {\n  int32 = 1;\n}\n")
        .expect("written");
    assert!(check(&[]).stderr.contains("a.proto:3"), "{}", check(&[]).stderr);
    write("[wurld]\n");
    assert_eq!(check(&[]).stderr, "error: world.toml:1: wurld: no such setting; did you mean `world`?");
    assert_eq!(check(&["none.toml"]).code, Some(78));
}

#[test]
fn config_show_says_where_each_value_comes_from() {
    let file = "snapshots/earth/world.toml";
    let mut show = spatialdb(&["config", "show", file, "--json"]);
    let lines = json_lines(&Process::start(show.env("SPATIALDB_PARTITIONS", "7")).finish());
    let shown = |key: &str| {
        let line = lines.iter().find(|line| line["key"] == key).unwrap_or_else(|| panic!("no {key}"));
        (line["value"].clone(), line["source"].as_str().expect("text").to_owned())
    };
    assert_eq!(shown("server.partitions"), (7.into(), "SPATIALDB_PARTITIONS".to_owned()));
    assert_eq!(shown("server.listen"), ("127.0.0.1:7400".into(), "default".to_owned()));
    let text = fs::read_to_string(repository().join(file)).expect("read");
    let line = 1 + text.lines().position(|line| line.starts_with("name = ")).expect("a name");
    assert_eq!(shown("world.name"), ("earth".into(), format!("{file}:{line}")));
    assert_eq!(shown("workers[0].type").0, "flight");
    let table = run(&["config", "show", file]).stdout;
    assert!(
        table.lines().any(|line| line.starts_with("limits.sessions_max ") && line.ends_with(" default")),
        "{table}"
    );
    fails(&["config", "show", "none.toml"], 78, &["none.toml"]);
}

#[test]
fn a_shell_completes_commands_and_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let done = run(&["completions", shell]);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        assert!(done.stdout.contains("without-workers"), "{shell}");
    }
    assert_eq!(run(&["completions", "cmd"]).code, Some(2));
    // As bash asks when somebody presses tab.
    let complete = |words: &str, last: usize| {
        let script = format!(
            "source <(spatialdb completions bash); COMP_WORDS=({words}); COMP_CWORD={last}; \
             _spatialdb spatialdb \"${{COMP_WORDS[{last}]}}\" \"\"; echo \"${{COMPREPLY[@]}}\""
        );
        let beside = binary("spatialdb").parent().expect("a folder").to_owned();
        let path = format!("{}:{}", beside.display(), std::env::var("PATH").expect("a path"));
        let done = Command::new("bash").args(["-c", &script]).env("PATH", path).output().expect("bash");
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    };
    assert_eq!(complete("spatialdb la", 1), "launch");
    assert_eq!(complete("spatialdb launch --without-", 2), "--without-workers");
    assert_eq!(complete("spatialdb snapshot conv", 2), "convert");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_schema_of_a_running_world_can_be_taken_away() {
    let world = World::launch(Launch::probe());
    let folder = tempfile::tempdir().expect("a folder");
    let at = |args: &[&str]| run_in(folder.path(), &[args, &["--address", world.address()]].concat());
    let done = at(&["schema", "export", "protos", "--json"]);
    let told = &json_lines(&done)[0];
    assert_eq!(told["files"], serde_json::json!(["probe.proto"]));
    let running = &json_lines(&at(&["schema", "--json"]))[0];
    assert_eq!(told["digest"], running["schema_digest"]);
    let again = Schema::compile(&[folder.path().join("protos")]).expect("it compiles");
    assert_eq!(told["digest"].as_str(), Some(again.digest()));
    let text = fs::read_to_string(folder.path().join("protos/probe.proto")).expect("written");
    assert!(text.contains("option (spatialdb.v1.component) = { id: 1000 };"), "{text}");
    assert!(text.contains("map<string, int64> stock = 9;"), "{text}");

    let refused = at(&["schema", "export", "protos"]);
    assert_eq!(
        (refused.code, refused.stderr.as_str()),
        (Some(2), "error: protos: the folder is not empty; name a new one")
    );
    // With spatialdb's own files another compiler has all it needs.
    assert_eq!(at(&["schema", "export", "all", "--with-built-ins"]).code, Some(0));
    let all = folder.path().join("all");
    let mut python = Command::new(repository().join(".venv/bin/python"));
    python.args(["-m", "grpc_tools.protoc", "-I", "all", "--python_out", ".", "probe.proto"]);
    python.args(["spatialdb/v1/worker.proto", "spatialdb/v1/world.proto"]).current_dir(folder.path());
    let compiled = Process::start(&mut python).finish();
    assert_eq!(compiled.code, Some(0), "{}", compiled.stderr);
    let error = Schema::compile(&[all]).expect_err("spatialdb has these built in").to_string();
    assert!(error.contains("spatialdb/v1/"), "{error}");
}
