//! Layers in `world.toml`: what is said of them, and what is refused.

use std::{fs, path::Path};

use serde_json::{Value, json};
use spatialdb_tests::{Finished, Launch, World, run_in};
use tempfile::TempDir;

const SCHEMA: &str = "syntax = \"proto3\";\npackage sky;\nimport \"spatialdb/v1/schema.proto\";\n\
    message Flight { option (spatialdb.v1.component) = { id: 1000 }; int32 x = 1; }\n\
    message Landed { option (spatialdb.v1.component) = { id: 1001 }; int32 x = 1; }\n\
    message Wind { option (spatialdb.v1.component) = { id: 1002 }; int32 x = 1; }\n";

const FLYING: &str = "[[layers]]\nname = \"flying\"\nworker_type = \"flight\"\nwith = [\"Flight\"]\n\
    without = [\"Landed\"]\nwrites = [\"Position\", \"Flight\", \"Landed\"]\n";
const TAXI: &str = "[[layers]]\nname = \"taxi\"\nworker_type = \"ground\"\nwith = [\"Landed\"]\nwrites = [\"Position\"]\n\
    strategy = \"grid\"\ngrid = { x = 0, y = 0, side_m = 500, columns = 4, rows = 2 }\n";

/// A folder with a schema and these settings.
fn folder(layers: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("schema")).expect("made");
    fs::write(folder.path().join("schema/sky.proto"), SCHEMA).expect("written");
    let text = format!("[world]\nschema = [\"schema\"]\n{layers}");
    fs::write(folder.path().join("world.toml"), text).expect("written");
    folder
}

fn check(folder: &Path) -> Finished {
    run_in(folder, &["config", "check"])
}

#[test]
fn config_check_says_who_may_write_what() {
    let folder = folder(&format!("{FLYING}{TAXI}"));
    let done = check(folder.path());
    let expected = "\
world.toml: fine

layer   worker type  strategy              entities             writes
flying  flight       balanced              with sky.Flight      spatialdb.v1.Position
                                           without sky.Landed   sky.Flight
                                                                sky.Landed
taxi    ground       grid, 4 x 2 of 500 m, first cuts at (0, 0)  with sky.Landed  spatialdb.v1.Position

component                   written by
spatialdb.v1.Metadata       tools and creation only
spatialdb.v1.Interest       tools and creation only
spatialdb.v1.PlayerOwner    tools and creation only
spatialdb.v1.WorkerSession  the server
spatialdb.v1.Follows        tools and creation only
sky.Wind                    tools and creation only

of entities that no layer has: tools and creation only
note: layer flying: no [[workers]] starts workers of type flight: they have to attach by themselves
note: layer taxi: no [[workers]] starts workers of type ground: they have to attach by themselves";
    let columns = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!((done.code, columns(&done.stdout)), (Some(0), columns(expected)), "{}", done.stdout);
    assert!(done.stdout.lines().any(|line| line.ends_with("  sky.Landed") && line.starts_with("   ")));

    let json = run_in(folder.path(), &["config", "check", "--json"]);
    let json: Value = serde_json::from_str(&json.stdout).expect("JSON");
    let writers = &json["writers"];
    assert_eq!((&json["ok"], &writers["open"]), (&json!(true), &json!(false)));
    let taxi = json!({
        "name": "taxi", "worker_type": "ground", "strategy": "grid",
        "grid": { "x": 0.0, "y": 0.0, "side_m": 500.0, "columns": 4, "rows": 2 }, "pins": [],
        "with": ["sky.Landed"], "without": [], "writes": ["spatialdb.v1.Position"],
    });
    assert_eq!(writers["layers"][1], taxi);
    let position = json!({
        "name": "spatialdb.v1.Position", "layers": ["flying", "taxi"], "otherwise": "tools and creation only",
    });
    assert_eq!(writers["components"][0], position);
}

#[test]
fn config_check_notes_who_will_own_nothing() {
    let layer = "[[layers]]\nname = \"taxi\"\nworker_type = \"ground\"\nwith = [\"Landed\"]\nwrites = [\"Position\"]\n\
        strategy = \"pinned\"\npins = [{ min = [0, 0], max = [9, 9], worker = \"ground-3\" }]\n\
        [[workers]]\ntype = \"ground\"\nmax = 2\ncommand = [\"true\"]\n\
        [[workers]]\ntype = \"gruond\"\ncommand = [\"true\"]\n";
    let folder = folder(layer);
    let done = run_in(folder.path(), &["config", "check", "--json"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let json: Value = serde_json::from_str(&done.stdout).expect("JSON");
    let expected = json!([
        "layer taxi: a box is pinned to ground-3, whom no [[workers]] starts: nobody owns it until one of that name attaches",
        "workers of type gruond serve no layer: they own nothing",
    ]);
    assert_eq!(json["notes"], expected);
}

#[test]
fn a_world_without_layers_says_that_it_is_open() {
    let folder = folder("");
    let done = check(folder.path());
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let open = "no layers: the world is open, any worker may write anything";
    assert_eq!(done.stdout.lines().nth(1), Some(open), "{}", done.stdout);
    let wind = done.stdout.lines().find(|line| line.starts_with("sky.Wind ")).expect("each component");
    assert!(wind.ends_with("  any worker"), "{wind}");

    let world = World::launch(Launch::probe());
    world.log().wait_for("no layers: any worker may write anything");
}

#[test]
fn a_world_with_layers_names_them() {
    let layer = "[[layers]]\nname = \"vitals\"\nworker_type = \"probe\"\nwrites = [\"probe.Vitals\"]\n\
        strategy = \"pinned\"\npins = [{ space = 7, min = [0, 0], max = [10, 10] }]\n[authority]\nlease_ttl = \"1s\"";
    let world = World::launch(Launch::probe().config(layer));
    world.log().wait_for("vitals");
    assert!(!world.log().text().contains("no layers"), "{}", world.log().text());
}

/// By `config check` and by `launch` in the same words.
#[test]
fn layers_that_do_not_fit_are_refused_before_anything_is_served() {
    let both = "[[layers]]\nname = \"taxi\"\nworker_type = \"ground\"\nwith = [\"Landed\"]\nwrites = [\"Position\"]\n\
        [[layers]]\nname = \"storm\"\nworker_type = \"wind\"\nwith = [\"Wind\"]\nwrites = [\"Position\"]\n";
    let cases = [
        (
            both,
            "world.toml:8: layers taxi and storm could both write spatialdb.v1.Position of one entity: with and \
             without must keep them apart",
        ),
        (
            "[[layers]]\nname = \"a\"\nworker_type = \"b\"\nwrites = [\"sky.Flihgt\"]",
            "world.toml:6: layers[0].writes = \"sky.Flihgt\": no component is named \"sky.Flihgt\"; near: sky.Flight",
        ),
        (
            "[authority]\nlease_ttl = \"1ms\"",
            "world.toml:4: authority.lease_ttl = \"1ms\": must be from 750ms to 10m",
        ),
    ];
    for (layers, expected) in cases {
        let folder = folder(layers);
        for args in [&["config", "check"][..], &["launch", "--listen", "127.0.0.1:0"]] {
            let done = run_in(folder.path(), args);
            assert_eq!((done.code, done.stdout.as_str()), (Some(78), ""), "{}", done.stderr);
            assert_eq!(done.stderr.lines().last(), Some(&*format!("error: {expected}")), "{args:?}");
        }
    }
    // Without a schema only what is built in has names.
    let nameless = tempfile::tempdir().expect("a folder");
    fs::write(nameless.path().join("world.toml"), FLYING).expect("written");
    let error = check(nameless.path()).stderr;
    assert!(
        error.contains("\"Flight\"") && error.contains("neither world.snapshot nor world.schema"),
        "{error}"
    );
}
