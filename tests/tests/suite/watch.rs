//! The text form of queries, and `spatialdb watch`.

use std::process::Command;

use prost::Message;
use rustix::process::Signal;
use serde_json::Value;
use spatialdb_proto::{
    error_of_status,
    v1::{self, client_message::Body, constraint::Kind},
};
use spatialdb_tests::{
    Client, Hit, Launch, METADATA, Process, VITALS, Vitals, World, binary, box_xy, column, entity_ids,
    events, eventually, happen, metadata, positions, run, run_in, spatialdb, update, view,
};
use spatialdb_types::Reason;

/// The four posts of the corner, 1, 2, 9 and 10.
const CORNER: &str = "box(-1100, -1100, -700, -700)";

fn watch(world: &World, args: &[&str]) -> Process {
    Process::start(&mut spatialdb(&[&["watch"], args, &["--address", world.address()]].concat()))
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn text(text: &str) -> v1::Constraint {
    v1::Constraint { kind: Some(Kind::Text(text.to_owned())) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn watch_tells_what_comes_changes_and_leaves() {
    let world = World::launch(Launch::probe());
    let mut client = Client::attach(&world, "probe", "one").await;
    let mut watcher = watch(&world, &[CORNER]);
    watcher.stderr.wait_for("ready: 4 in view");
    // The two streams are read by two threads.
    for id in [2, 9, 10] {
        watcher.stdout.wait_for(&format!(" + {id}  "));
    }
    let first = watcher.stdout.wait_for(" + 1  ");
    assert!(first.contains("post \"post 1\"  Position {\"x\":-1050.0,\"y\":-1050.0,\"z\":0.0}"), "{first}");
    assert_eq!(watcher.stdout.lines().len(), 4, "{}", watcher.stdout.text());

    client.write(update(vec![], vec![column(METADATA, [(1, metadata("post", "gate"))])])).await;
    let changed = watcher.stdout.wait_for(" ~ 1  ");
    assert!(changed.contains("post \"gate\"  Metadata {"), "{changed}");
    client.write(update(vec![positions(&[(1, 0.0, 0.0), (64, -1000.0, -1000.0)])], vec![])).await;
    assert!(watcher.stdout.wait_for(" - 1  ").ends_with("post \"gate\"  out of view"));
    assert!(watcher.stdout.wait_for(" + 64  ").contains("post \"post 64\""));
    client.write(Body::Delete(v1::Delete { entities: vec![64], ..v1::Delete::default() })).await;
    assert!(watcher.stdout.wait_for(" - 64  ").ends_with("deleted"));

    watcher.signal(Signal::INT);
    assert_eq!(watcher.wait(), Some(0));
    eventually("its session is over", || async {
        world.sessions().await.iter().all(|session| session.worker_type != "watch").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn json_of_watch_is_one_object_a_line() {
    let world = World::launch(Launch::probe());
    let mut client = Client::attach(&world, "probe", "one").await;
    let watcher = watch(&world, &[CORNER, "--json", "--count", "8"]);
    watcher.stdout.wait_for("\"ready\"");
    let with_vitals = v1::AddComponents {
        columns: vec![column(VITALS, [(9, Vitals::hp(7).bytes())])],
        ..v1::AddComponents::default()
    };
    client.write(Body::AddComponents(with_vitals)).await;
    watcher.stdout.wait_for("probe.Vitals");
    let without = vec![v1::ComponentEntities { component: VITALS, entities: vec![9] }];
    client
        .write(Body::RemoveComponents(v1::RemoveComponents {
            columns: without,
            ..v1::RemoveComponents::default()
        }))
        .await;
    watcher.stdout.wait_for("\"gone\"");
    client.write(update(vec![positions(&[(2, 5.0, 5.0)])], vec![])).await;
    watcher.stdout.wait_for("\"leave\"");
    client.write(update(vec![positions(&[(10, -1000.0, -1000.0)])], vec![])).await;
    let done = watcher.finish();
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "it ends by itself, after 8 lines");

    let lines = json_lines(&done.stdout);
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    let mut entered: Vec<_> =
        of("enter").iter().map(|line| line["entity"].as_str().expect("ids are strings")).collect();
    entered.sort_unstable();
    assert_eq!(entered, ["1", "10", "2", "9"]);
    assert!(of("enter").iter().all(|line| line["components"]["spatialdb.v1.Metadata"]["type"] == "post"));
    assert_eq!(of("ready")[0]["entities"], 4);
    let updates = of("update");
    assert_eq!(updates[0]["components"]["probe.Vitals"]["hp"], 7);
    assert_eq!(updates[1]["gone"], serde_json::json!(["probe.Vitals"]));
    assert_eq!(updates[2]["components"]["spatialdb.v1.Position"]["x"], -1000.0);
    assert_eq!((&of("leave")[0]["entity"], &of("leave")[0]["reason"]), (&"2".into(), &"out_of_view".into()));
    let times: Vec<_> = lines.iter().map(|line| line["time"].as_str().expect("a time")).collect();
    assert!(times.is_sorted() && times[0].ends_with('Z'), "{times:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn watch_tells_what_happens() {
    let world = World::launch(Launch::probe());
    let mut client = world.attach("writer").await;
    let with_vitals = v1::AddComponents {
        columns: vec![column(VITALS, [(9, Vitals::hp(7).bytes())])],
        ..v1::AddComponents::default()
    };
    client.write(Body::AddComponents(with_vitals)).await;
    let for_people = watch(&world, &[CORNER]);
    let for_scripts = watch(&world, &[CORNER, "--json"]);
    for_people.stderr.wait_for("ready: 4 in view");
    for_scripts.stdout.wait_for("\"ready\"");
    let hit = Hit { power: 3, by: "a wave".to_owned() }.encode_to_vec();
    client.write(happen(vec![events(VITALS, 1, [(9, hit.into())])])).await;
    let line = for_people.stdout.wait_for(" ! 9  ");
    assert!(line.ends_with("post \"post 9\"  Hit {\"by\":\"a wave\",\"power\":3}"), "{line}");
    let line: Value =
        serde_json::from_str(&for_scripts.stdout.wait_for("\"happening\"")).expect("each line is JSON");
    assert_eq!((&line["entity"], &line["type"]), (&"9".into(), &"probe.Hit".into()));
    assert_eq!(line["value"], serde_json::json!({ "power": 3, "by": "a wave" }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn watch_shows_what_was_asked_for() {
    let world = World::launch(Launch::probe());
    let ends = |args: &[&str]| watch(&world, args).finish();
    let done = ends(&["id in (7, 8)", "--components", "Position", "--count", "2"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let is_whole = |line: &str| line.contains("post \"post ") && line.contains("Position {");
    assert!(done.stdout.lines().count() == 2 && done.stdout.lines().all(is_whole), "{}", done.stdout);
    assert!(!done.stdout.contains("Metadata"));
    // That the view is filled is not told once they are enough.
    for count in ["1", "2"] {
        let done = ends(&["id in (7, 8)", "--count", count, "--json"]);
        assert_eq!((done.code, done.stdout.lines().count().to_string()), (Some(0), count.to_owned()));
    }
    // Everything, for a moment: the session itself is part of it.
    let done = ends(&["--for", "1.5", "--json"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let lines = json_lines(&done.stdout);
    let own = |line: &&Value| line["components"]["spatialdb.v1.WorkerSession"]["workerType"] == "watch";
    assert!(lines.iter().filter(own).count() >= 1 && lines.len() > 64, "{}", done.stdout);
    let done = ends(&["none", "--for", "100ms"]);
    assert_eq!((done.code, done.stderr.as_str(), done.stdout.as_str()), (Some(0), "ready: 0 in view", ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_query_that_is_wrong_points_at_the_place() {
    let world = World::launch(Launch::probe());
    let wrong = "all and has Vitls";
    let expected = "error: COMPONENT_UNKNOWN: at 12: no component is named \"Vitls\"; near: probe.Vitals\n  \
                    all and has Vitls\n              ^^^^^";
    for command in ["watch", "query"] {
        let done = run(&[command, wrong, "--address", world.address()]);
        assert_eq!((done.code, done.stderr.as_str(), done.stdout.as_str()), (Some(1), expected, ""));
        let done = run(&[command, "in space 9", "--address", world.address()]);
        assert_eq!(
            (done.code, done.stderr.as_str()),
            (Some(1), "error: SPACE_UNKNOWN: at 9: the world has no space 9\n  in space 9\n           ^")
        );
    }
    let done = run(&["watch", "--rate", "-1", "--address", world.address()]);
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("rate_hz = -1"), "{}", done.stderr);
    let done = run(&["watch", "--components", "Dragon", "--address", world.address()]);
    assert!(done.code == Some(1) && done.stderr.contains("COMPONENT_UNKNOWN"), "{}", done.stderr);
    assert_eq!(run(&["watch", "--for", "soon"]).code, Some(2));

    // Over the wire too, in a query and in a view.
    let question = v1::QueryRequest { constraint: Some(text(wrong)), ..v1::QueryRequest::default() };
    let error = error_of_status(&world.pages(question).await.expect_err("refused")).expect("ours");
    assert_eq!(error.reason, Reason::ComponentUnknown);
    assert!(error.detail.starts_with("at 12: "), "{}", error.detail);
    let mut viewer = world.attach("viewer").await;
    let outcome = viewer.write(Body::Subscribe(v1::Subscribe { view: Some(view(1, text("all and"))) })).await;
    assert_eq!(outcome.rejections[0].reason, "QUERY_INVALID");
    assert!(outcome.rejections[0].detail.starts_with("at 7: the text ends here"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_text_asks_what_the_options_and_the_wire_ask() {
    let world = World::launch(Launch::probe());
    let ask = |args: &[&str]| {
        let done = run(&[&["query", "--limit", "0"], args, &["--address", world.address()]].concat());
        assert_eq!(done.code, Some(0), "{args:?}: {}", done.stderr);
        let mut lines: Vec<String> = done.stdout.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    for (words, options) in [
        ("box(-1100, -1100, -700, -700)", &["--box", "-1100,-1100,-700,-700"][..]),
        ("sphere(-1050, -1050, 0, 0.4km)", &["--sphere", "-1050,-1050,400"]),
        ("sphere(-1050, -1050, 400) in space 7", &["--sphere", "-1050,-1050,400", "--space", "7"]),
        ("id in (7, 8, 900)", &["--ids", "7,8,900"]),
        ("has Metadata and in space 0", &["--has", "Metadata", "--space", "0"]),
    ] {
        assert_eq!(ask(&[words]), ask(options), "{words}");
    }
    // They compose.
    assert_eq!(ask(&["not id = 1", "--box", "-1100,-1100,-700,-700", "--count"]), ["3"]);
    assert_eq!(ask(&["none", "--count"]), ["0"]);

    for (words, wire) in [
        ("box(-1100, -1100, -700, -700)", box_xy(-1100.0, -1100.0, -700.0, -700.0)),
        ("id in (1, 2)", entity_ids(&[1, 2])),
        ("(id = 1 or id = 2) and not none", entity_ids(&[1, 2])),
    ] {
        assert_eq!(world.query(text(words)).await, world.query(wire).await, "{words}");
    }
    let mut viewer = world.attach("viewer").await;
    assert_eq!(viewer.subscribe(view(1, text(CORNER))).await, 4);
    world.agrees(&mut viewer, text(CORNER)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_only_looks_may_watch() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = run_in(folder.path(), &["token", "new", "--tool", "--read-only", "--name", "guests"]).stdout;
    let file = folder.path().join("tokens.toml");
    let world = World::launch(Launch::probe().config(&format!("[server]\ntokens = {file:?}")));
    let done = watch(&world, &["id = 7", "--count", "1", "--token", &token]).finish();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stdout.contains(" + 7  "), "{}", done.stdout);
    let done = watch(&world, &["id = 7"]).finish();
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("TOKEN_MISSING"), "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_end_of_a_world_is_told_and_that_of_a_pipe_is_not() {
    let world = World::launch(Launch::probe());
    let script =
        format!("set -o pipefail; {:?} watch --address {} | head -n 1", binary("spatialdb"), world.address());
    let piped = Process::start(Command::new("bash").args(["-c", &script])).finish();
    assert_eq!((piped.code, piped.stdout.lines().count()), (Some(0), 1), "{}", piped.stderr);
    assert!(!piped.stderr.contains("error"), "{}", piped.stderr);

    let watcher = watch(&world, &["id = 7"]);
    watcher.stderr.wait_for("ready: 1 in view");
    let address = world.address().to_owned();
    assert_eq!(world.stop(), Some(0));
    let done = watcher.finish();
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains(&address) && done.stderr.contains("DRAINING"), "{}", done.stderr);

    let world = World::launch(Launch::probe());
    let watcher = watch(&world, &["id = 7"]);
    watcher.stderr.wait_for("ready: 1 in view");
    world.kill();
    let done = watcher.finish();
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("the connection is lost"), "{}", done.stderr);
}
