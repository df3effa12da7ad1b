//! Data of others as a world: tables, features, snapshots of SpatialOS, through the command line.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use spatialdb_tests::{Finished, Launch, World, repository, run, run_in};

fn lines(path: &Path) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(path).expect("written");
    let entities = text.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    entities.map(|entity| (entity["id"].as_str().expect("an id").to_owned(), entity)).collect()
}

fn done(finished: &Finished) -> String {
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    finished.stdout.clone()
}

/// The earth world was made from the same source by another program.
#[test]
fn a_table_of_airports_is_what_the_earth_world_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (table, map) = ("snapshots/examples/airports.csv", "snapshots/examples/airports.toml");
    let with = ["--map", map, "--schema", "snapshots/earth/schema"];
    let (snapshot, text, earth) = (path("a.snapshot"), path("a.jsonl"), path("earth.jsonl"));
    let told = done(&run(&[&["snapshot", "convert", table, &snapshot], &with[..]].concat()));
    assert!(told.contains("200 entities"), "{told}");
    done(&run(&[&["snapshot", "convert", table, &text], &with[..]].concat()));
    done(&run(&["snapshot", "convert", "snapshots/earth.snapshot", &earth]));
    let (ours, theirs) = (lines(Path::new(&text)), lines(Path::new(&earth)));
    assert_eq!(ours.len(), 200);
    for (id, entity) in &ours {
        assert_eq!(Some(entity), theirs.get(id), "{id}");
    }
    assert_eq!(run(&["snapshot", "verify", &snapshot]).code, Some(0));

    // And a world can be launched from it.
    let world = World::launch(Launch::default().snapshot(&snapshot));
    let goroka = run(&["get", "1000001", "--json", "--address", world.address()]);
    assert!(done(&goroka).contains("Goroka Airport"));
}

#[test]
fn a_bad_row_leaves_no_file_and_names_line_and_column() {
    let folder = tempfile::tempdir().expect("a folder");
    let schema = repository().join("snapshots/earth/schema");
    let table = fs::read_to_string(repository().join("snapshots/examples/airports.csv")).expect("read");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    fs::copy(repository().join("snapshots/examples/airports.toml"), folder.path().join("m.toml"))
        .expect("copied");
    write("a.csv", &(table + "9999,No Where,,,,,91,0,0,\n"));
    let args = ["--schema", schema.to_str().expect("text"), "--map", "m.toml"];
    let convert = |input: &str, args: &[&str]| {
        let all = [&["snapshot", "convert", input, "out.snapshot"], args].concat();
        let done = run_in(folder.path(), &all);
        assert!(!folder.path().join("out.snapshot").exists() || done.code == Some(0));
        (done.code, done.stderr)
    };
    let expected = "error: a.csv: line 202: column latitude: position: a latitude from -90 to 90 degrees is expected, \
                    found 91";
    assert_eq!(convert("a.csv", &args), (Some(65), expected.to_owned()));
    let missing = "error: a mapping of columns to components is needed: --map FILE";
    assert_eq!(convert("a.csv", &args[..2]), (Some(78), missing.to_owned()));
    write("m.toml", "[components.Metadata]\ntype = \"kind\"\n");
    let (code, text) = convert("a.csv", &args);
    let expected = "error: m.toml:2: components.Metadata.type: there is no column \"kind\"; there are id, ";
    assert!(code == Some(78) && text.starts_with(expected), "{text}");
    write("m.toml", "[components.Metadata\n");
    let (code, text) = convert("a.csv", &args);
    assert!(code == Some(78) && text.starts_with("error: m.toml:1: "), "{text}");
    assert_eq!(convert("none.csv", &args).0, Some(78), "the mapping comes first");
    write("m.toml", "");
    assert_eq!(convert("none.csv", &args).0, Some(66));
    write("a.txt", "");
    assert_eq!(convert("a.txt", &args).0, Some(2));
    assert_eq!(convert("a.txt", &["--from", "csv", "--map", "m.toml"]).0, Some(0), "a table may be empty");
}

#[test]
fn features_and_the_json_of_spatialos_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    let at = |args: &[&str]| run_in(folder.path(), args);
    write(
        "f.json",
        r#"{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"title":"here"},
           "geometry":{"type":"Point","coordinates":[0,90]}}]}"#,
    );
    write("f.toml", "[components.Metadata]\nname = \"title\"\n");
    done(&at(&["snapshot", "convert", "f.json", "f.jsonl", "--map", "f.toml"]));
    let found = lines(&folder.path().join("f.jsonl"));
    // A quarter of the way round the Earth.
    assert_eq!(found["1"]["components"]["spatialdb.v1.Position"]["y"], 10_007_557.221_017_962);
    assert_eq!(found["1"]["components"]["spatialdb.v1.Metadata"]["name"], "here");

    write(
        "s.json",
        "{\n  \"__entity_id\": \"4\",\n  \"improbable.Metadata\": {\"entity_type\": \"TestEntity\"},\n  \
         \"improbable.Position\": {\"coords\": {\"x\": 100.0, \"y\": 7.0, \"z\": -3.0}},\n  \
         \"improbable.Persistence\": {}\n}\n",
    );
    let told = at(&["snapshot", "convert", "s.json", "s.jsonl", "--json"]);
    let told: Value = serde_json::from_str(&done(&told)).expect("JSON");
    assert_eq!(told["entities"], 1);
    assert_eq!(told["left_out"]["improbable.Persistence"], 1);
    let place = &lines(&folder.path().join("s.jsonl"))["4"]["components"]["spatialdb.v1.Position"];
    assert_eq!(*place, serde_json::json!({ "space": 0, "x": 100.0, "y": -3.0, "z": 7.0 }));
}

/// Written by hand, byte by byte, as SpatialOS would: gzip that only stores.
#[test]
fn a_binary_snapshot_of_spatialos_is_known_by_its_first_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let coordinates = [vec![0x09], 100_f64.to_le_bytes().to_vec()].concat();
    let position = [vec![0x0a, coordinates.len() as u8], coordinates].concat();
    // Field 54, then field 55 without anything in it.
    let components = [vec![0xb2, 0x03, position.len() as u8], position, vec![0xba, 0x03, 0]].concat();
    let entity = [vec![0x08, 4, 0x1a, components.len() as u8], components].concat();
    let message = [vec![0x12, entity.len() as u8], entity].concat();
    let raw = [vec![0, message.len() as u8], message, vec![2, 0x08, 1]].concat();
    fs::write(folder.path().join("old.snapshot"), stored_gzip(&raw)).expect("written");
    let told = done(&run_in(folder.path(), &["snapshot", "convert", "old.snapshot", "new.snapshot"]));
    assert!(
        told.contains("1 entities") && told.contains("left out: component 55 improbable.Persistence of 1"),
        "{told}"
    );
    done(&run_in(folder.path(), &["snapshot", "convert", "new.snapshot", "new.jsonl"]));
    let place = &lines(&folder.path().join("new.jsonl"))["4"]["components"]["spatialdb.v1.Position"];
    assert_eq!(*place, serde_json::json!({ "space": 0, "x": 100.0, "y": 0.0, "z": 0.0 }));
}

fn stored_gzip(raw: &[u8]) -> Vec<u8> {
    let length = raw.len() as u16;
    let crc = raw.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1];
    let block = [length.to_le_bytes(), (!length).to_le_bytes()].concat();
    let tail = [(!crc).to_le_bytes(), u32::from(length).to_le_bytes()].concat();
    [&head, block.as_slice(), raw, &tail].concat()
}
