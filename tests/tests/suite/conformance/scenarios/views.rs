//! What a view shows is what it asks for.

use serde_json::{Value, json};

use super::{Driver, INTEREST, Kind, METADATA, OWNER, POSITION, TAG, VITALS, made, probe};

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
    let vitals = json!({"hp": 7, "label": "seven", "alive": true, "stock": {"tea": "1"}});
    let ids = driver
        .create(json!([{"components": {TAG: {}}}, {"components": {VITALS: vitals, POSITION: {"z": 50}}}]));
    let field = |component: &str, field: &str, comparison: &str, values: Value| {
        let comparison = format!("COMPARISON_{comparison}");
        json!({"field": {"componentNamed": component, "field": field, "comparison": comparison, "values": values}})
    };
    let hp = |comparison: &str, values: &[i64]| {
        let values = values.iter().map(|value| json!({"integer": value.to_string()})).collect();
        field(VITALS, "hp", comparison, values)
    };
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
        (hp("EQUAL", &[7]), 1),
        (hp("NOT_EQUAL", &[7]), 0),
        (hp("LESS", &[7]), 0),
        (hp("AT_MOST", &[7]), 1),
        (hp("GREATER", &[6]), 1),
        (hp("AT_LEAST", &[8]), 0),
        (hp("IN", &[1, 7, 9]), 1),
        (hp("IN", &[]), 0),
        (field(VITALS, "hp", "LESS", json!([{"integer": "9"}])), 1),
        (field("Vitals", "alive", "EQUAL", json!([{"boolean": true}])), 1),
        (field(METADATA, "name", "IN", json!([{"text": "post 1"}, {"text": "post 9"}, {"text": "no"}])), 2),
        (field(POSITION, "z", "GREATER", json!([{"number": 49.5}])), 1),
        (
            json!({"field": {"component": 1000, "field": "label", "comparison": "COMPARISON_GREATER",
                "values": [{"text": "se"}]}}),
            1,
        ),
        (json!({"near": {"entity": ids[1], "radiusM": 250}}), 5),
        (json!({"text": "has Vitals and Vitals.label = \"seven\" or id in (1, 2)"}), 3),
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

pub(crate) fn what_is_near_an_entity_follows_it(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    let runner =
        driver.create(json!([{"components": {POSITION: {"x": -140, "y": -150}, TAG: {}}}])).remove(0);
    assert_eq!(driver.subscribe(1, json!({"near": {"entity": runner, "radiusM": 100}})), 2);
    driver.sees("the post beside it", |replica| replica.len() == 2 && replica.contains_key(&runner));
    driver.ok(place(&runner, 0.0, 0.0));
    driver.accepted();
    driver.sees("nothing but itself", |replica| replica.keys().collect::<Vec<_>>() == [&runner]);
    driver.ok(json!({"op": "delete", "entities": [runner]}));
    driver.accepted();
    driver.sees("nothing", serde_json::Map::is_empty);
    driver.close();
}

pub(crate) fn rates_go_by_distance(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    let at = |x: f64| json!({"components": {POSITION: {"x": x, "y": 1}, VITALS: {}}});
    let ids = driver.create(json!([at(5.0), at(500.0), at(0.0)]));
    // What is far away is told once in a very long time.
    let view = |op: &str, center: Value| {
        let mut bands = json!({"bands": [{"radius_m": 50, "components": [POSITION]}, {"radius_m": 100, "rate_hz": 1000}]});
        bands.as_object_mut().expect("an object").extend(center.as_object().expect("an object").clone());
        json!({"op": op, "view": 1, "query": {"hasComponentNamed": VITALS}, "rate_hz": 0.01, "bands": bands,
            "own_updates": true})
    };
    let write = |driver: &mut Driver, x: f64| {
        driver.ok(place(&ids[1], 500.0 + x, 1.0));
        driver.ok(place(&ids[0], x, 1.0));
        driver.accepted();
        driver.sees_value(&ids[0], POSITION, &json!({"x": x, "y": 1}));
        driver.replica()[&ids[1]][POSITION]["x"].as_f64().expect("a number")
    };
    assert_eq!(driver.ok(view("subscribe", json!({"place": {"y": 1}})))["count"], 3);
    assert_eq!(write(&mut driver, 6.0), 500.0);
    assert_eq!(write(&mut driver, 7.0), 500.0);
    // It comes near: now it is told at once.
    driver.ok(place(&ids[1], 8.0, 1.0));
    driver.sees_value(&ids[1], POSITION, &json!({"x": 8, "y": 1}));
    driver.ok(place(&ids[1], 500.0, 1.0));
    driver.accepted();

    // Around an entity, which leaves what was near behind.
    assert_eq!(driver.ok(view("change_view", json!({"entity": ids[2]})))["count"], 3);
    driver.ok(place(&ids[2], 510.0, 1.0));
    driver.accepted();
    driver.ok(place(&ids[1], 520.0, 1.0));
    driver.accepted();
    driver.sees_value(&ids[1], POSITION, &json!({"x": 520, "y": 1}));
    let falling = json!({"bands": [{"radius_m": 50}, {"radius_m": 40}], "place": {}});
    let mut wrong = view("subscribe", falling);
    wrong["view"] = 2.into();
    assert_eq!(driver.refused(wrong), "QUERY_INVALID");
    driver.close();
}

pub(crate) fn an_interest_is_a_component_like_others(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    let id = driver.create(json!([{"components": {POSITION: {"x": 1}}}])).remove(0);
    driver.subscribe(1, json!({"entityIds": {"entities": [id]}}));
    driver.ok(json!({"op": "interest", "entity": id, "views": [interest()]}));
    driver.accepted();
    driver.sees_value(
        &id,
        INTEREST,
        &json!({"views": [{"constraint": {"near": {"radiusM": 300}}, "components": [1], "rateHz": 5,
            "bands": {"entity": "0", "bands": [{"radiusM": 50, "rateHz": 20}]}}]}),
    );
    driver.close();
}

/// What is within 300 m of the entity that has it.
fn interest() -> Value {
    json!({"query": {"near": {"entity": "0", "radiusM": 300}}, "components": [POSITION], "rate_hz": 5,
        "bands": {"entity": "0", "bands": [{"radius_m": 50, "rate_hz": 20}]}})
}

pub(crate) fn an_interest_shows_its_owner_what_it_sees(kind: Kind) {
    let world = probe();
    let mut owner = Driver::attach(kind, world.address(), "owner");
    let mut game = Driver::attach(kind, world.address(), "game");
    let player = json!({POSITION: {"x": -150, "y": -150}, OWNER: {"name": "owner"}});
    let player = game.create(json!([{"components": player}])).remove(0);
    game.ok(json!({"op": "interest", "entity": player, "views": [interest()]}));
    game.accepted();
    // Posts stand 300 m apart: the one it stands at, and its neighbours over x and y.
    owner.sees("its surroundings", |replica| replica.len() == 6 && replica.contains_key(&player));
    game.ok(place(&player, 5000.0, 5000.0));
    game.accepted();
    owner.sees("itself alone", |replica| replica.keys().collect::<Vec<_>>() == [&player]);
    game.ok(json!({"op": "remove", "entity": player, "component": OWNER}));
    game.accepted();
    owner.sees("nothing", serde_json::Map::is_empty);
    owner.close();
    game.close();
}

pub(crate) fn densities_count_by_square_and_type(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    let counts = |driver: &mut Driver, wanted: &[(i64, i64, &str, u64)]| {
        let wanted = Value::from_iter(wanted.iter().map(|(x, y, name, count)| json!([x, y, name, count])));
        let deadline = std::time::Instant::now() + spatialdb_tests::DEADLINE;
        loop {
            let shown = driver.ok(json!({"op": "densities", "view": 1}));
            let squares = shown["squares"].as_array().expect("a list").iter();
            let mut squares: Vec<Value> =
                squares.map(|one| json!([one["x"], one["y"], one["type"], one["count"]])).collect();
            squares.sort_by_key(Value::to_string);
            if Value::from(squares) == wanted {
                return shown["square_m"].as_f64();
            }
            assert!(std::time::Instant::now() < deadline, "not {wanted} but {shown}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    // Sixteen posts stand around the middle, four in each square; squares of 512 m are 32 cells of 16 m.
    let view = |op: &str, per_type: bool| {
        json!({"op": op, "view": 1, "densities": {"square_m": 512, "per_type": per_type,
            "min": {"x": -512, "y": -512}, "max": {"x": 511, "y": 511}}})
    };
    driver.ok(view("subscribe", false));
    let square_m = counts(&mut driver, &[(-1, -1, "", 4), (-1, 0, "", 4), (0, -1, "", 4), (0, 0, "", 4)]);
    assert_eq!(square_m, Some(512.0));
    let boat = json!({"components": {POSITION: {"x": 100, "y": 100}, METADATA: {"type": "boat"}}});
    let ids = driver.create(json!([boat, boat]));
    counts(&mut driver, &[(-1, -1, "", 4), (-1, 0, "", 4), (0, -1, "", 4), (0, 0, "", 6)]);
    driver.ok(view("change_view", true));
    let posts = [(-1, -1, "post", 4), (-1, 0, "post", 4), (0, -1, "post", 4)];
    let all = |rest: &[(i64, i64, &'static str, u64)]| [&posts[..], rest].concat();
    counts(&mut driver, &all(&[(0, 0, "boat", 2), (0, 0, "post", 4)]));
    driver.ok(place(&ids[0], 5000.0, 5000.0));
    counts(&mut driver, &all(&[(0, 0, "boat", 1), (0, 0, "post", 4)]));
    driver.ok(json!({"op": "delete", "entities": [ids[1]]}));
    counts(&mut driver, &all(&[(0, 0, "post", 4)]));
    driver.ok(json!({"op": "end_view", "view": 1}));
    counts(&mut driver, &[]);
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
