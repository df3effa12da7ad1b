//! What a view shows is what it asks for.

use serde_json::{Value, json};

use super::{Driver, Kind, METADATA, POSITION, TAG, VITALS, made, probe};

fn square(from: f64, to: f64) -> Value {
    json!({"box": {"min": {"x": from, "y": from}, "max": {"x": to, "y": to}}})
}

fn place(entity: &str, x: f64, y: f64) -> Value {
    json!({"op": "update", "entity": entity, "component": POSITION, "value": {"x": x, "y": y}})
}

pub(crate) fn a_view_tells_of_enter_update_and_leave(kind: Kind) {
    let world = probe();
    let mut writer = Driver::attach(kind, world.address(), "writer");
    let mut viewer = Driver::attach(kind, world.address(), "viewer");
    // Posts stand at -150 and 150: four around the middle.
    assert_eq!(viewer.subscribe(1, square(-200.0, 200.0)), 4);
    let before = viewer.replica();
    assert_eq!(before.len(), 4);
    assert!(before.values().all(|post| post[METADATA]["type"] == "post"), "{before:?}");

    writer.ok(place("1", 10.0, 20.0));
    writer.accepted();
    viewer.sees_value("1", POSITION, &json!({"x": 10, "y": 20}));
    viewer.sees_value("1", METADATA, &json!({"type": "post", "name": "post 1"}));
    let renamed = json!({"name": "renamed"});
    writer.ok(json!({"op": "update", "entity": "1", "component": METADATA, "value": renamed}));
    writer.ok(place("1", -30.0, 40.0));
    writer.accepted();
    viewer.sees_value("1", METADATA, &renamed);
    viewer.sees_value("1", POSITION, &json!({"x": -30, "y": 40}));
    writer.ok(place("1", 5000.0, 5000.0));
    writer.accepted();
    viewer.sees("it has left", |replica| *replica == before);
    writer.close();
    viewer.close();
}

pub(crate) fn a_view_shows_only_its_components(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    let ids = driver.create(json!([{"components": {POSITION: {"x": 1}, VITALS: {"hp": 3}, TAG: {}}}]));
    let view = |op: &str, components: Value| {
        json!({"op": op, "view": 1, "query": {"entityIds": {"entities": ids}}, "components": components,
            "own_updates": true})
    };
    let shown = |driver: &mut Driver, wanted: Value| {
        let wanted = super::super::driver::floats(wanted);
        driver.sees(&wanted.to_string(), |replica| replica.get(&ids[0]) == Some(&wanted));
    };
    assert_eq!(driver.ok(view("subscribe", json!([VITALS])))["count"], 1);
    shown(&mut driver, json!({VITALS: {"hp": 3}}));
    driver.ok(view("change_view", json!([POSITION, TAG])));
    shown(&mut driver, json!({POSITION: {"x": 1}, TAG: {}}));
    driver.ok(view("change_view", json!([])));
    shown(&mut driver, json!({POSITION: {"x": 1}, TAG: {}, VITALS: {"hp": 3}}));
    driver.close();
}

pub(crate) fn a_changed_view_shows_what_it_matches_now(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    let change = |view: u64, query: Value| json!({"op": "change_view", "view": view, "query": query, "components": [], "own_updates": true});
    assert_eq!(driver.subscribe(1, square(-200.0, 200.0)), 4);
    assert_eq!(driver.replica().len(), 4);
    for (half, count) in [(500.0, 16), (800.0, 36), (2000.0, 64), (200.0, 4), (1.0, 0), (500.0, 16)] {
        assert_eq!(driver.ok(change(1, square(-half, half)))["count"], count);
        driver.sees("what it matches", |replica| replica.len() == count);
    }
    // Two views show their union; when one ends, the other's stay.
    assert_eq!(driver.subscribe(2, json!({"entityIds": {"entities": ["1", "28"]}})), 2);
    driver.sees("the union", |replica| replica.len() == 17);
    driver.ok(json!({"op": "end_view", "view": 1}));
    driver.accepted();
    driver.sees("the rest", |replica| replica.keys().collect::<Vec<_>>() == ["1", "28"]);
    driver.ok(json!({"op": "end_view", "view": 2}));
    driver.accepted();
    driver.sees("nothing", serde_json::Map::is_empty);
    driver.close();
}

pub(crate) fn own_updates_come_back_when_asked_for(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    let view = |op: &str, own_updates: bool| {
        json!({"op": op, "view": 1, "query": {"entityIds": {"entities": ["1", "2"]}}, "components": [],
            "own_updates": own_updates, "rate_hz": 0})
    };
    driver.ok(view("subscribe", false));
    let before = driver.replica()["1"].clone();
    let mut other = Driver::attach(kind, world.address(), "other");
    driver.ok(place("1", 1.0, 2.0));
    driver.accepted();
    // What another has written since then has come, but not our own.
    other.ok(place("2", 3.0, 4.0));
    other.accepted();
    driver.sees_value("2", POSITION, &json!({"x": 3, "y": 4}));
    assert_eq!(driver.replica()["1"], before);
    driver.ok(view("change_view", true));
    driver.ok(place("1", 5.0, 6.0));
    driver.accepted();
    driver.sees_value("1", POSITION, &json!({"x": 5, "y": 6}));
    driver.close();
    other.close();
}

/// Both: entities of sessions come and go by themselves.
fn made_and(query: &Value) -> Value {
    json!({"and": {"constraints": [made(), query]}})
}

pub(crate) fn every_constraint_selects(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    driver.create(json!([{"components": {TAG: {}}}, {"components": {VITALS: {}, POSITION: {"z": 50}}}]));
    let tagged = json!({"hasComponentNamed": TAG});
    let middle = square(-200.0, 200.0);
    let high = json!({"box": {"min": {"x": -200, "y": -200, "z": 10}, "max": {"x": 200, "y": 200, "z": 60}}});
    let cases = [
        (made(), 66),
        (made_and(&json!({"all": {}})), 66),
        (middle.clone(), 5),
        (high, 1),
        (json!({"box": {"space": 7, "min": {"x": -9e9, "y": -9e9}, "max": {"x": 9e9, "y": 9e9}}}), 0),
        (json!({"sphere": {"center": {"x": 150, "y": 150}, "radiusM": 300}}), 6),
        (json!({"cylinder": {"centerX": 150, "centerY": 150, "radiusM": 300}}), 6),
        (json!({"cylinder": {"radiusM": 1, "minZ": 10, "maxZ": 50}}), 0),
        (json!({"cylinder": {"radiusM": 1, "minZ": 50, "maxZ": 51}}), 1),
        (json!({"space": {"space": 7}}), 0),
        (json!({"space": {}}), 65),
        (json!({"entityIds": {"entities": ["3", "4", "888"]}}), 2),
        (tagged.clone(), 1),
        (json!({"and": {"constraints": [&middle, {"not": {"hasComponentNamed": VITALS}}]}}), 4),
        (json!({"or": {"constraints": [&middle, &tagged, {"entityIds": {"entities": ["1"]}}]}}), 7),
        (made_and(&json!({"not": &tagged})), 65),
        (made_and(&json!({"and": {}})), 66),
        (json!({"or": {}}), 0),
    ];
    for (view, (query, count)) in (1..).zip(cases) {
        assert_eq!(driver.subscribe(view, query.clone()), count, "{query}");
        driver.sees(&query.to_string(), |replica| replica.len() as u64 == count);
        driver.ok(json!({"op": "end_view", "view": view}));
        driver.accepted();
        driver.sees("nothing", serde_json::Map::is_empty);
    }
    driver.close();
}

pub(crate) fn many_entities_arrive_whole(kind: Kind) {
    const COUNT: usize = 5000;
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    // More than one frame of 1 MiB holds.
    let label = |row: usize| format!("{row}{}", "x".repeat(400));
    let entity =
        |row: usize| json!({"components": {POSITION: {"x": row, "y": 1}, VITALS: {"label": label(row)}}});
    let ids = driver.create((0..COUNT).map(entity).collect());
    assert_eq!(ids.len(), COUNT);
    assert_eq!(driver.subscribe(1, json!({"hasComponentNamed": VITALS})), COUNT as u64);
    let replica = driver.replica();
    assert_eq!(replica.len(), COUNT);
    for (row, id) in ids.iter().enumerate() {
        assert_eq!(replica[id][VITALS], json!({"label": label(row)}));
        // An x of 0 is a field at its default.
        assert_eq!(replica[id][POSITION]["x"].as_f64().unwrap_or(0.0), row as f64);
    }
    driver.ok(json!({"op": "delete", "entities": ids}));
    driver.accepted();
    driver.sees("all have left", serde_json::Map::is_empty);
    driver.close();
}
