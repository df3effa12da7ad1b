//! One text in, the layers of the core or one error out.

use std::path::Path;

use spatialdb_core::authority::layers::{GridShape, Layer, Layers, Strategy};
use spatialdb_schema::Schema;
use spatialdb_types::{ComponentId, Limits, Point3, SpaceId};

use crate::config::WorldConfig;

const POSITION: ComponentId = ComponentId::POSITION;
const METADATA: ComponentId = ComponentId::METADATA;
const OWNER: ComponentId = ComponentId::PLAYER_OWNER;
const FLIGHT: ComponentId = ComponentId(1000);
const LANDED: ComponentId = ComponentId(1001);

const HEAD: &str = "[[layers]]\nname = \"traffic\"\nworker_type = \"flight\"\nwrites = [\"Position\"]\n";

fn schema() -> Schema {
    let folder = tempfile::tempdir().expect("folder");
    let component = |name: &str, id: u32| {
        format!("message {name} {{ option (spatialdb.v1.component) = {{ id: {id} }}; int32 x = 1; }}\n")
    };
    let head = "syntax = \"proto3\";\npackage sky;\nimport \"spatialdb/v1/schema.proto\";\n";
    let text = head.to_owned() + &component("Flight", FLIGHT.0) + &component("Landed", LANDED.0);
    std::fs::write(folder.path().join("sky.proto"), text).expect("written");
    Schema::compile(&[folder.path().to_owned()]).expect("it compiles")
}

fn layers(text: &str) -> Result<Layers, String> {
    let config = WorldConfig::parse(Path::new("w.toml"), text).map_err(|error| error.to_string())?;
    let spaces = [(SpaceId(0), "default".to_owned()), (SpaceId(7), "moon".to_owned())];
    config.layers.resolve(&schema(), &spaces, &Limits::default()).map_err(|error| error.to_string())
}

fn layer(more: &str) -> Layer {
    let layers = layers(&(HEAD.to_owned() + more)).unwrap_or_else(|error| panic!("{error}"));
    layers.all().next().expect("one").1.clone()
}

/// What is said of the first layer, from its fifth line on.
fn refused(more: &str) -> String {
    layers(&(HEAD.to_owned() + more)).expect_err(more)
}

#[test]
fn a_layer_has_the_usual_unless_told() {
    assert_eq!(layer(""), Layer::new("traffic", "flight", vec![POSITION]));
    let told = layer(
        "with = [\"sky.Flight\", \"Metadata\"]\nwithout = [\"1001\"]\nghost_margin_m = 500\n\
         border_hysteresis_m = 2.5\nhandover_timeout = \"250ms\"\nregions_max = 16\nload_max = 2000\n\
         split_hysteresis = 0.25\nstrategy = \"balanced\"\n",
    );
    let expected = Layer {
        with: vec![FLIGHT, METADATA],
        without: vec![LANDED],
        ghost_margin_m: 500.0,
        border_hysteresis_m: 2.5,
        handover_timeout: 250_000,
        regions_max: 16,
        load_max: 2000,
        split_hysteresis: 250,
        ..Layer::new("traffic", "flight", vec![POSITION])
    };
    assert_eq!(told, expected);
    assert!(layers("").expect("none").is_open());
}

#[test]
fn each_strategy_is_read() {
    let grid = layer("strategy = \"grid\"\ngrid = { x = -5, y = 0.5, side_m = 100, columns = 3, rows = 2 }");
    let shape = GridShape { x: -5.0, y: 0.5, side_m: 100.0, columns: 3, rows: 2 };
    assert_eq!(grid.strategy, Strategy::Grid(shape));
    assert_eq!(layer("strategy = \"single\"").strategy, Strategy::Single);
    let client = layer("strategy = \"client\"\nwith = [\"spatialdb.v1.PlayerOwner\"]");
    assert_eq!((client.strategy, client.with), (Strategy::Client, vec![OWNER]));
    let pins = "pins = [{ min = [0, 0], max = [10, 20] }, { space = 7, min = [0, 0], max = [1, inf] }]";
    let Strategy::Pinned(boxes) = layer(&format!("strategy = \"pinned\"\n{pins}")).strategy else {
        panic!("pinned")
    };
    assert_eq!(boxes.iter().map(|pin| pin.space.0).collect::<Vec<_>>(), [0, 7]);
    assert_eq!(boxes[0].area.max, Point3::new(10.0, 20.0, f64::INFINITY));
    assert_eq!((boxes[1].area.max.y, &boxes[1].worker), (f64::INFINITY, &None));
    let tables = "[[layers.pins]]\nspace = \"moon\"\nmin = [0, 0]\nmax = [1, 1]\nworker = \"flight-2\"";
    let Strategy::Pinned(boxes) = layer(&format!("strategy = \"pinned\"\n{tables}")).strategy else {
        panic!("pinned")
    };
    assert_eq!((boxes[0].space, boxes[0].worker.as_deref()), (SpaceId(7), Some("flight-2")));
}

#[test]
fn what_a_layer_needs_is_asked_for() {
    let cases = [
        ("[[layers]]", "w.toml:1: layers[0].name: missing: a layer needs a name, like \"traffic\""),
        (
            "[[layers]]\nname = \"a\"",
            "w.toml:1: layers[0].worker_type: missing: a layer needs the type of its workers, like \"flight\"",
        ),
        (
            "[[layers]]\nname = \"a\"\nworker_type = \"b\"",
            "w.toml:1: layers[0].writes: missing: a layer needs the components that its workers write, like \
             [\"Position\"]",
        ),
        (
            "[[layers]]\nname = \"a\"\nworker_type = \"b\"\nwrites = []",
            "w.toml:4: layers[0].writes = []: a layer needs the components that its workers write, like \
             [\"Position\"]",
        ),
        (
            "[[layers]]\nname = \"A b\"",
            "w.toml:2: layers[0].name = \"A b\": must be 1 to 64 characters of a-z, 0-9, '_', '-' and '.'",
        ),
        ("[layers]", "w.toml:1: layers = {}: must be tables: [[layers]]"),
    ];
    for (text, expected) in cases {
        assert_eq!(layers(text).expect_err(text), expected, "{text}");
    }
}

#[test]
fn what_no_layer_can_have_is_refused_with_its_line() {
    let strategies = "must be \"balanced\", \"grid\", \"single\", \"pinned\" or \"client\"";
    let no_regions = "the regions of a layer of strategy \"client\" are players: leave it out";
    let cases = [
        ("margin = 1", 5, "margin: no such setting"),
        ("load_maxx = 1", 5, "load_maxx: no such setting; did you mean `load_max`?"),
        ("strategy = \"hex\"", 5, &format!("strategy = \"hex\": {strategies}")),
        ("ghost_margin_m = -1", 5, "ghost_margin_m = -1: must be a number of metres from 0 on"),
        ("border_hysteresis_m = nan", 5, "border_hysteresis_m = NaN: must be a number of metres from 0 on"),
        ("handover_timeout = \"0s\"", 5, "handover_timeout = \"0s\": must be from 1ms to 10m"),
        ("regions_max = 0", 5, "regions_max = 0: must be a whole number from 1 to 4294967295"),
        ("load_max = 0", 5, "load_max = 0: must be a whole number from 1 to 9007199254740991"),
        ("split_hysteresis = 1", 5, "split_hysteresis = 1: must be a share of load_max, from 0 to 0.999"),
        (
            "split_hysteresis = -0.1",
            5,
            "split_hysteresis = -0.1: must be a share of load_max, from 0 to 0.999",
        ),
        ("with = [\"Metadata\", \"Metadata\"]", 5, "with = \"Metadata\": is there twice"),
        ("strategy = \"client\"\nload_max = 5", 6, &format!("load_max = 5: {no_regions}")),
        ("strategy = \"client\"\nghost_margin_m = 5", 6, &format!("ghost_margin_m = 5: {no_regions}")),
        (
            "grid = {}",
            5,
            "grid = {}: grid belongs to strategy \"grid\", and this layer has strategy \"balanced\"",
        ),
        (
            "strategy = \"grid\"\npins = []",
            6,
            "pins = []: pins belongs to strategy \"pinned\", and this layer has strategy \"grid\"",
        ),
    ];
    for (more, line, expected) in cases {
        assert_eq!(refused(more), format!("w.toml:{line}: layers[0].{expected}"), "{more}");
    }
}

#[test]
fn shapes_are_whole() {
    let grid = |inside: &str| refused(&format!("strategy = \"grid\"\n{inside}"));
    let needs = "w.toml:1: layers[0].grid: missing: strategy \"grid\" needs grid = ";
    assert!(grid("").starts_with(needs), "{}", grid(""));
    let at = "w.toml:6: layers[0].grid";
    assert_eq!(grid("grid = { y = 0 }"), format!("{at}.x: missing: where the first cut is, in metres"));
    assert_eq!(
        grid("grid = { x = 0, y = 0, side_m = 0 }"),
        format!("{at}.side_m = 0: must be the side of a region in metres, above 0")
    );
    assert_eq!(
        grid("grid = { x = 0, y = 0, side_m = 1, columns = 0, rows = 1 }"),
        format!("{at}.columns = 0: must be a whole number from 1 to 65535")
    );
    assert_eq!(
        grid("grid = { x = 0, y = 0, side_m = 1, columns = 1, rows = 1, row = 1 }"),
        format!("{at}.row: no such setting; did you mean `rows`?")
    );
    let pins = |inside: &str| refused(&format!("strategy = \"pinned\"\n{inside}"));
    let needs = "w.toml:1: layers[0].pins: missing: strategy \"pinned\" needs boxes: pins = ";
    assert!(pins("").starts_with(needs), "{}", pins(""));
    let at = "w.toml:6: layers[0].pins[0]";
    for (inside, expected) in [
        ("pins = [{ max = [1, 1] }]", ".min: missing: must be [x, y] in metres"),
        ("pins = [{ min = [0, 0, 0], max = [1, 1] }]", ".min = [0, 0, 0]: must be [x, y] in metres"),
        ("pins = [{ min = [0, 9], max = [1, 1] }]", ".max = [1.0, 1.0]: must have y above 9, that of min"),
        (
            "pins = [{ space = 1, min = [0, 0], max = [1, 1] }]",
            ".space = 1: the world has 0 \"default\", 7 \"moon\"",
        ),
        (
            "pins = [{ space = \"mars\", min = [0, 0], max = [1, 1] }]",
            ".space = \"mars\": the world has 0 \"default\", 7 \"moon\"",
        ),
        (
            "pins = [{ space = 1.5, min = [0, 0], max = [1, 1] }]",
            ".space = 1.5: must be the number or the name of a space",
        ),
    ] {
        assert_eq!(pins(inside), format!("{at}{expected}"), "{inside}");
    }
    assert_eq!(pins("pins = 5"), "w.toml:6: layers[0].pins = 5: must be tables: [[layers.pins]]");
}

#[test]
fn components_are_those_of_the_world() {
    assert_eq!(
        refused("with = [\"sky.Flihgt\"]"),
        "w.toml:5: layers[0].with = \"sky.Flihgt\": no component is named \"sky.Flihgt\"; near: sky.Flight"
    );
    assert_eq!(
        refused("with = [\"sky.Flight\", \"Flight\"]"),
        "w.toml:5: layers[0].with = \"Flight\": sky.Flight is there twice"
    );
    assert_eq!(
        refused("with = [\"Flight\"]\nwithout = [\"sky.Flight\"]"),
        "w.toml:1: layer traffic: sky.Flight is in with and in without: no entity could match"
    );
    assert_eq!(
        layers("[[layers]]\nname = \"a\"\nworker_type = \"b\"\nwrites = [\"WorkerSession\"]")
            .expect_err("the server's"),
        "w.toml:1: layer a: writes names spatialdb.v1.WorkerSession, which only the server writes"
    );
    assert_eq!(
        refused("strategy = \"client\"\nwithout = [\"PlayerOwner\"]"),
        "w.toml:6: layers[0].without = \"spatialdb.v1.PlayerOwner\": strategy \"client\" takes the owner from it: no \
         entity could have one"
    );
}

#[test]
fn layers_that_do_not_go_together_are_refused_at_the_later_one() {
    let second =
        "[[layers]]\nname = \"wind\"\nworker_type = \"wind\"\nwrites = [\"Metadata\", \"Position\"]\n";
    assert_eq!(
        refused(&format!("with = [\"Flight\"]\n{second}")),
        "w.toml:6: layers traffic and wind could both write spatialdb.v1.Position of one entity: with and without must \
         keep them apart"
    );
    let apart = layers(&format!("{HEAD}with = [\"Flight\"]\n{second}without = [\"Flight\"]"));
    assert_eq!(apart.expect("apart").all().count(), 2);
    assert_eq!(refused(HEAD), "w.toml:5: two layers are named traffic");
    assert_eq!(
        refused("regions_max = 5000"),
        "w.toml:1: layer traffic: regions_max = 5000 is over layer_regions_max = 1024"
    );
    let many: String = (0..65).map(|i| HEAD.replace("traffic", &format!("l{i}"))).collect();
    let error = layers(&many).expect_err("too many");
    assert!(error.contains("65 layers are over layers_max = 64"), "{error}");
}

#[test]
fn every_setting_of_a_layer_is_shown() {
    let text = format!("{HEAD}strategy = \"pinned\"\npins = [{{ min = [0, -inf], max = [1, 1] }}]\n");
    let text = text
        + "[[layers]]\nname = \"b\"\nworker_type = \"c\"\nwrites = [\"Metadata\"]\nstrategy = \"client\"\n";
    let config = WorldConfig::parse(Path::new("w.toml"), &text).expect("valid");
    let shown = super::settings(&config.layers);
    let value = |key: &str| {
        let found = shown.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.to_string())
    };
    for (key, expected) in [
        ("layers[0].name", "\"traffic\""),
        ("layers[0].strategy", "\"pinned\""),
        ("layers[0].writes", "[\"Position\"]"),
        ("layers[0].pins[0].space", "0"),
        ("layers[0].pins[0].min", "[0.0,\"-inf\"]"),
        ("layers[0].handover_timeout", "\"1s\""),
        ("layers[0].split_hysteresis", "0.5"),
        ("layers[1].strategy", "\"client\""),
    ] {
        assert_eq!(value(key).as_deref(), Some(expected), "{key}");
    }
    assert_eq!(value("layers[1].load_max"), None, "it has no regions");
}
