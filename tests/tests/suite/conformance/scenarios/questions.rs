//! What is asked once is answered once.

use serde_json::{Value, json};

use super::{Driver, Kind, POSITION, TAG, VITALS, probe};

/// Asks all at once. Gives the answers, with numbers as f64.
fn ask(driver: &mut Driver, asks: &Value) -> Vec<Value> {
    let mut answer = driver.ok(json!({"op": "ask", "asks": asks}));
    match super::super::driver::floats(answer["answers"].take()) {
        Value::Array(answers) => answers,
        other => panic!("not a list: {other}"),
    }
}

fn ids(answer: &Value) -> Vec<&str> {
    let entities = answer["entities"].as_array().unwrap_or_else(|| panic!("no entities: {answer}"));
    entities.iter().map(|one| one["id"].as_str().expect("ids are strings")).collect()
}

pub(crate) fn questions_are_answered(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    let made = driver.create(json!([
        {"components": {POSITION: {"x": 10, "y": 1}, VITALS: {"hp": 1}, TAG: {}}},
        {"components": {POSITION: {"x": 40, "y": 1, "z": 5}, VITALS: {"hp": 2}}},
        {"components": {POSITION: {"x": 20, "y": 1}, VITALS: {"hp": 3}}},
        {"components": {VITALS: {"hp": 4}}},
    ]));
    driver.accepted();
    let vitals = json!({"hasComponentNamed": VITALS});
    let nearest = json!({"x": 12, "y": 1});
    let [all, first, near, count, none] = &ask(
        &mut driver,
        &json!([
            {"query": vitals},
            {"query": vitals, "limit": 2, "components": [TAG]},
            {"query": vitals, "limit": 2, "components": [POSITION, VITALS], "nearest_to": nearest},
            {"query": {"text": "has Vitals or id = 1"}, "count_only": true},
            {"query": {"entityIds": {"entities": ["4711"]}}},
        ]),
    )[..] else {
        panic!("not one answer for each question")
    };

    let mut found = ids(all);
    found.sort_unstable();
    assert_eq!(found, made);
    assert_eq!(all["count"], 4.0);
    let one =
        |id: &str| all["entities"].as_array().into_iter().flatten().find(|one| one["id"] == *id).cloned();
    assert_eq!(
        one(&made[1]).expect("found"),
        json!({"id": made[1], "components": {POSITION: {"x": 40.0, "y": 1.0, "z": 5.0}, VITALS: {"hp": 2.0}}})
    );
    assert_eq!(one(&made[3]).expect("found")["components"], json!({VITALS: {"hp": 4.0}}));

    assert_eq!((ids(first).len(), &first["count"]), (2, &json!(4.0)));
    let mut shown = first["entities"].as_array().into_iter().flatten().map(|one| &one["components"]);
    assert!(shown.all(|components| *components == json!({}) || *components == json!({TAG: {}})), "{first}");

    assert_eq!(ids(near), [&made[0], &made[2]]);
    assert_eq!(
        (&near["entities"][0]["distance_m"], &near["entities"][1]["distance_m"]),
        (&json!(2.0), &json!(8.0))
    );
    assert_eq!(
        near["entities"][0]["components"],
        json!({POSITION: {"x": 10.0, "y": 1.0}, VITALS: {"hp": 1.0}})
    );
    assert_eq!((&count["count"], &count["entities"]), (&json!(5.0), &json!([])));
    assert_eq!((&none["count"], &none["entities"]), (&json!(0.0), &json!([])));

    // A question that is refused is an error of its own; the session and the other questions go on.
    let asks = json!([
        {"query": {"text": "has Nonsense"}},
        {"query": vitals, "count_only": true},
        {"query": {"near": {"entity": made[0], "radiusM": 5}}},
    ]);
    let [unknown, count, near] = &ask(&mut driver, &asks)[..] else {
        panic!("not one answer for each question")
    };
    assert_eq!(unknown["error"]["reason"], "COMPONENT_UNKNOWN");
    assert_eq!(count["count"], 4.0);
    assert_eq!(near["error"]["reason"], "QUERY_INVALID");
    driver.accepted();

    // More than one page, and many at once.
    let label = "x".repeat(1000);
    let many: Vec<Value> =
        (0..1500).map(|hp| json!({"components": {VITALS: {"hp": hp, "label": label}}})).collect();
    let made = driver.create(many.into());
    // Ids are known before all of them are there.
    driver.accepted();
    let asks: Vec<Value> = (0..40)
        .map(|hp| json!({"query": {"text": format!("Vitals.hp = {hp} and Vitals.label != \"\"")}}))
        .chain([json!({"query": {"text": "Vitals.label != \"\""}})])
        .collect();
    let mut answers = ask(&mut driver, &asks.into());
    let all = answers.pop().expect("the last");
    let mut found = ids(&all);
    found.sort_unstable();
    let mut wanted: Vec<&str> = made.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    assert_eq!((found, &all["count"]), (wanted, &json!(1500.0)));
    for (hp, answer) in answers.iter().enumerate() {
        assert_eq!(ids(answer), [&made[hp]]);
    }
    driver.close();
}
