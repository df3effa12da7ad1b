//! An SDK attaches again by itself.

use serde_json::json;
use spatialdb_tests::{Process, probe_snapshot, spatialdb};
use tempfile::TempDir;

use super::{Driver, Kind, POSITION};

/// A server on an address of ours, so that the next one can have it too. Killed when it is dropped.
pub(super) fn serve(folder: &TempDir, address: &str, config: &str) -> (Process, String) {
    let (snapshot, file) = (folder.path().join("probe.snapshot"), folder.path().join("world.toml"));
    std::fs::write(&snapshot, probe_snapshot()).expect("written");
    std::fs::write(&file, config).expect("written");
    let mut command = spatialdb(&["launch", "--listen", address, "--config"]);
    let process = Process::start(command.arg(file).arg(snapshot));
    let ready = process.stdout.wait_for("ready ");
    let address = ready.strip_prefix("ready ").expect("it begins so").to_owned();
    (process, address)
}

pub(crate) fn it_comes_back_after_the_server_was_killed(kind: Kind) {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, address) = serve(&folder, "127.0.0.1:0", "");
    let mut driver = Driver::attach(kind, &address, "anna");
    assert_eq!(driver.subscribe(1, json!({"entityIds": {"entities": ["1", "2"]}})), 2);
    assert_eq!(driver.subscribe(2, json!({"entityIds": {"entities": ["2", "3"]}})), 2);
    driver.ok(json!({"op": "end_view", "view": 2}));
    let place = |x: i32| json!({"op": "update", "entity": "1", "component": POSITION, "value": {"x": x}});
    driver.ok(place(5));
    driver.accepted();
    driver.sees_value("1", POSITION, &json!({"x": 5}));

    // What was written since the snapshot is lost with the server: the replica must not keep it.
    drop(server);
    let (server, again) = serve(&folder, &address, "");
    assert_eq!(again, address);
    let answer = driver.ok(json!({"op": "wait_reconnected"}));
    assert!(answer["session"].as_str().is_some_and(|session| !session.is_empty()), "{answer}");
    driver.sees_value("1", POSITION, &json!({"x": -1050, "y": -1050}));
    assert_eq!(driver.replica().keys().collect::<Vec<_>>(), ["1", "2"]);
    driver.ok(place(7));
    driver.accepted();
    driver.sees_value("1", POSITION, &json!({"x": 7}));
    assert_eq!(driver.create(json!([{"components": {}}])).len(), 1);
    driver.close();
    drop(server);
}
