//! One text in, one configuration or one error out.

use super::*;

fn parse(text: &str) -> Result<WorldConfig, String> {
    WorldConfig::parse(Path::new("worlds/w.toml"), text).map_err(|error| error.to_string())
}

fn refused(text: &str) -> String {
    parse(text).expect_err("refused")
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(parse(""), Ok(WorldConfig::default()));
    let cores = std::thread::available_parallelism().map_or(2, usize::from).min(PARTITIONS_MAX);
    let partitions = |entities| WorldConfig::default().partitions_for(entities);
    assert_eq!([0, 1, 20_000, u64::MAX].map(partitions), [cores, 1, 1, cores]);
    assert_eq!(partitions(20_001), cores.min(2));
}

#[test]
fn every_setting_is_read() {
    let config = parse(
        r#"
        [world]
        name = "w"
        snapshot = "../w.jsonl"
        schema = ["schema", "../more"]
        cell_m = 250
        [server]
        listen = "localhost:7500"
        partitions = 3
        publish_interval_max = "50ms"
        [limits]
        message_bytes_max = "20MiB"
        sessions_max = 8
        [[workers]]
        type = "flight"
        command = "prog --name 'a b'"
        [[workers]]
        type = "balloon"
        name = "drift"
        command = ["prog", ""]
        count = 2
        env = { A = "b" }
        directory = "../x"
        stop_timeout = "1s"
        [[workers]]
        type = "boat"
        command = "prog"
        min = 2
        max = 8
        scale_down_after = "1m"
        drain_timeout = "2s"
        hung_after = "3s"
        "#,
    )
    .expect("valid");
    assert_eq!(config.name.as_deref(), Some("w"));
    assert_eq!(config.snapshot.as_deref(), Some(Path::new("worlds/../w.jsonl")));
    assert_eq!(config.schema_dirs, [Path::new("worlds/schema"), Path::new("worlds/../more")]);
    assert_eq!(config.cell_m, Some(250.0));
    assert_eq!(config.listen, SocketAddr::from(([127, 0, 0, 1], 7500)));
    assert_eq!(config.partitions, Some(3));
    assert_eq!(config.publish_interval_max, Duration::from_millis(50));
    assert_eq!((config.limits.message_bytes_max, config.limits.sessions_max), (20 << 20, 8));
    assert_eq!(config.workers[0].command, ["prog", "--name", "a b"]);
    let flight = &config.workers[0];
    assert_eq!((flight.min, flight.max, flight.process_name(1).as_str()), (1, 1, "flight-1"));
    assert_eq!(flight.directory, Path::new("worlds"));
    let seconds = [flight.scale_down_after, flight.drain_timeout, flight.stop_timeout].map(|d| d.as_secs());
    assert_eq!(seconds, [30, 10, 5]);
    let drift = &config.workers[1];
    assert_eq!((drift.min, drift.max, drift.process_name(2).as_str()), (2, 2, "drift-2"));
    assert_eq!(drift.command, ["prog", ""]);
    assert_eq!(drift.env["A"], "b");
    assert_eq!((&*drift.directory, drift.stop_timeout), (Path::new("worlds/../x"), Duration::from_secs(1)));
    let boat = &config.workers[2];
    assert_eq!((boat.min, boat.max), (2, 8));
    let seconds = [boat.scale_down_after, boat.drain_timeout, boat.hung_after].map(|d| d.as_secs());
    assert_eq!((seconds, flight.hung_after.as_secs()), ([60, 2, 3], 30));
}

#[test]
fn what_is_not_said_of_how_many_workers_fits_what_is() {
    let range = |keys: &str| {
        let config = parse(&format!("[[workers]]\ntype = \"x\"\ncommand = \"x\"\n{keys}")).expect("valid");
        (config.workers[0].min, config.workers[0].max)
    };
    let cases = [
        ("", (1, 1)),
        ("count = 0", (0, 0)),
        ("count = 256", (256, 256)),
        ("max = 4", (1, 4)),
        ("max = 0", (0, 0)),
        ("min = 3", (3, 3)),
        ("min = 0", (0, 1)),
        ("min = 0\nmax = 256", (0, 256)),
    ];
    for (keys, expected) in cases {
        assert_eq!(range(keys), expected, "{keys}");
    }
}

#[test]
fn an_error_names_file_key_value_and_rule() {
    let cases = [
        (2, "[server]\npartitions = 0", "server.partitions = 0: must be a whole number from 1 to 256"),
        (
            2,
            "[server]\npartitions = \"many\"",
            "server.partitions = \"many\": must be a whole number from 1 to 256",
        ),
        (
            2,
            "[server]\nlisten = \"7400\"",
            "server.listen = \"7400\": must be an address and a port, like 127.0.0.1:7400 or [::1]:7400",
        ),
        (
            2,
            "[server]\npublish_interval_max = \"0ms\"",
            "server.publish_interval_max = \"0ms\": must be above 0 and at most 10s",
        ),
        (
            2,
            "[world]\ncell_m = -5",
            "world.cell_m = -5: must be 0 (chosen from the data) or between 0.001 and 1000000000 metres",
        ),
        (2, "[world]\nname = 7", "world.name = 7: must be a string"),
        (2, "[world]\nschema = \"x\"", "world.schema = \"x\": must be a list of strings"),
        (1, "limits = 4", "limits = 4: must be a table: [limits]"),
        (
            2,
            "[limits]\nsessions_max = 0",
            "limits.sessions_max = 0: must be a whole number above 0 and below 2^53",
        ),
        (2, "[limits]\nsessions_max = \"1KiB\"", "limits.sessions_max = \"1KiB\": must be a whole number"),
        (2, "[server]\npartition = 2", "server.partition: no such setting; did you mean `partitions`?"),
        (2, "[limits]\nsession_max = 2", "limits.session_max: no such setting; did you mean `sessions_max`?"),
        (1, "[worlds]", "worlds: no such setting; did you mean `world`?"),
        (1, "zzz = 1", "zzz: no such setting"),
        (
            1,
            "[[workers]]\ncommand = \"x\"",
            "workers[0].type: missing: a worker needs a type, like \"flight\"",
        ),
        (
            3,
            "[[workers]]\ntype = \"x\"\ncommand = \"\"",
            "workers[0].command = \"\": must be a program and its arguments: \"prog --flag\" or [\"prog\", \"--flag\"]",
        ),
        (
            2,
            "[[workers]]\ntype = \"A b\"\ncommand = \"x\"",
            "workers[0].type = \"A b\": must be 1 to 64 characters of a-z, 0-9, '_', '-' and '.'",
        ),
        (
            4,
            "[[workers]]\ntype = \"x\"\ncommand = \"x\"\n[[workers]]\ntype = \"x\"\ncommand = \"y\"",
            "workers[1].name = \"x\": must differ from that of the other workers of this type: set `name`, or `count`",
        ),
        (
            4,
            "[[workers]]\ntype = \"x\"\ncommand = \"x\"\ncounts = 1",
            "workers[0].counts: no such setting; did you mean `count`?",
        ),
        (
            4,
            "[[workers]]\ntype = \"x\"\ncommand = \"x\"\ncount = 2\nmax = 3",
            "workers[0].count = 2: `min` or `max` is set too: leave out `count`, which means min = max = 2",
        ),
        (
            4,
            "[[workers]]\ntype = \"x\"\ncommand = \"x\"\nmin = 3\nmax = 2",
            "workers[0].min = 3: must be at most `max`, which is 2",
        ),
        (
            4,
            "[[workers]]\ntype = \"x\"\ncommand = \"x\"\nmax = 257",
            "workers[0].max = 257: must be a whole number from 0 to 256",
        ),
        (
            5,
            "[[workers]]\ntype = \"x\"\ncommand = \"x\"\nrestart_pause = \"2s\"\nrestart_pause_max = \"1s\"",
            "workers[0].restart_pause_max = \"1s\": must be at least `restart_pause`",
        ),
    ];
    for (line, text, expected) in cases {
        assert_eq!(refused(text), format!("worlds/w.toml:{line}: {expected}"), "{text}");
    }
    assert!(refused("[world]\nname = ").starts_with("worlds/w.toml:2: "));
}

#[test]
fn the_environment_wins_over_the_file() {
    let file = tempfile::NamedTempFile::new().expect("file");
    fs::write(file.path(), "[server]\nlisten = \"127.0.0.1:1\"\npartitions = 5").expect("write");
    let variable = |name: &str| match name {
        "SPATIALDB_LISTEN" => Some("127.0.0.1:2".to_owned()),
        "SPATIALDB_PARTITIONS" => Some(String::new()),
        "SPATIALDB_LIMITS_MESSAGE_BYTES_MAX" => Some("1MiB".to_owned()),
        _ => None,
    };
    let config = WorldConfig::load_with(Some(file.path()), variable).expect("valid");
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.partitions, Some(5));
    assert_eq!(config.limits.message_bytes_max, 1 << 20);

    let wrong = |name: &str| (name == "SPATIALDB_PARTITIONS").then(|| "x".to_owned());
    let error = WorldConfig::load_with(None, wrong).expect_err("refused").to_string();
    assert_eq!(error, "environment: SPATIALDB_PARTITIONS = \"x\": must be a whole number from 1 to 256");
}

#[test]
fn a_missing_file_is_named() {
    let error = WorldConfig::load_with(Some(Path::new("/no/such.toml")), |_| None).expect_err("refused");
    assert!(error.to_string().starts_with("/no/such.toml: cannot be read: "));
}

#[test]
fn the_sample_world_is_valid() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../snapshots/earth/world.toml");
    let config = WorldConfig::load_with(Some(&file), |_| None).expect("valid");
    assert_eq!(config.name.as_deref(), Some("earth"));
    let types: Vec<_> = config.workers.iter().map(|worker| worker.worker_type.as_str()).collect();
    assert_eq!(types, ["flight", "balloons"]);
}

#[test]
fn every_setting_of_a_file_is_shown_with_its_source() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("w.toml");
    let text = "[world]\nname = \"w\"\n[server]\npartitions = 5\nlisten = \"127.0.0.1:1\"\n[limits]\n\
                sessions_max = 8\n[flags.flight]\ncolour = \"red\"\n[[workers]]\ntype = \"a\"\n\
                command = \"true\"\nenv = { K = \"v\" }\ncount = 2\n";
    fs::write(&file, text).expect("write");
    let variable = |name: &str| (name == "SPATIALDB_LISTEN").then(|| "127.0.0.1:2".to_owned());
    let settings = settings(Some(&file), variable).expect("valid");
    let shown = |key: &str| {
        let setting = settings.iter().find(|setting| setting.key == key).expect(key);
        (setting.value.to_string(), setting.source.clone())
    };
    let at = |line| Source::File(file.clone(), line);
    assert_eq!(shown("world.name"), ("\"w\"".to_owned(), at(2)));
    assert_eq!(shown("server.partitions"), ("5".to_owned(), at(4)));
    let listen = Source::Environment("SPATIALDB_LISTEN".to_owned());
    assert_eq!(shown("server.listen"), ("\"127.0.0.1:2\"".to_owned(), listen));
    assert_eq!(shown("limits.sessions_max"), ("8".to_owned(), at(7)));
    assert_eq!(shown("flags.flight.colour"), ("\"red\"".to_owned(), at(9)));
    assert_eq!(shown("workers[0].env"), ("{\"K\":\"v\"}".to_owned(), at(13)));
    assert_eq!(shown("workers[0].stop_timeout"), ("\"5s\"".to_owned(), Source::Default));
    assert_eq!(shown("workers[0].max"), ("2".to_owned(), at(14)));
    assert_eq!(shown("server.publish_interval_max"), ("\"20ms\"".to_owned(), Source::Default));
    let keys: std::collections::BTreeSet<_> = settings.iter().map(|setting| &setting.key).collect();
    assert_eq!(keys.len(), settings.len(), "none is there twice");
}
