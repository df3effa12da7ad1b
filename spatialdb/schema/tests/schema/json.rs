//! JSON, both ways.

use serde_json::{Value, json};

use spatialdb_schema::Component;

use crate::support::component;

fn sample() -> Component {
    component(
        "int32 hit_points = 1; uint64 big = 2; double ratio = 3; bytes raw = 4; Kind kind = 5; repeated Leg legs = 6;
         map<string, int64> counts = 7; oneof one { string text = 8; bool flag = 9; }
         google.protobuf.Timestamp at = 10; google.protobuf.Any any = 11; google.protobuf.Struct free = 12;",
        "message Leg { string name = 1; int32 metres = 2; } enum Kind { KIND_NONE = 0; KIND_BIG = 1; }
         import \"google/protobuf/timestamp.proto\"; import \"google/protobuf/any.proto\";
         import \"google/protobuf/struct.proto\";",
    )
}

#[test]
fn values_go_there_and_back() {
    let component = sample();
    let value = json!({
        "hitPoints": -7, "big": "18446744073709551615", "ratio": 0.5, "raw": "AAEC", "kind": "KIND_BIG",
        "legs": [{"name": "a"}, {"metres": 3}], "counts": {"x": "1"}, "flag": false,
        "at": "2026-01-02T03:04:05Z",
        "any": {"@type": "type.googleapis.com/t.Leg", "name": "any"},
        "free": {"a": [1.0, null, "b"]},
    });
    let payload = component.from_json(&value).unwrap();
    assert_eq!(component.to_json(&payload).unwrap(), value);
    assert_eq!(component.to_json(&[]).unwrap(), json!({}));
    assert_eq!(component.from_json(&json!({})).unwrap(), Vec::<u8>::new());
    // Proto names are taken too.
    assert_eq!(component.from_json(&json!({"hit_points": 1})).unwrap(), [8, 1]);
}

#[test]
fn refusals_name_the_field() {
    let component = sample();
    let refusal = |value: Value| component.from_json(&value).expect_err("refused").to_string();
    let text = refusal(json!({"legs": [{}, {"metres": "far"}]}));
    assert!(text.starts_with("component t.C, field legs[1].metres: "), "{text}");
    let text = refusal(json!({"hitPoints": 1, "speed": 2}));
    assert!(text.starts_with("component t.C") && text.contains("speed"), "{text}");
    let text = refusal(json!({"hitPoints": 3_000_000_000_u64}));
    assert!(text.starts_with("component t.C, field hitPoints: "), "{text}");
    let text = refusal(json!([1]));
    assert!(text.starts_with("component t.C: "), "{text}");
    let text = refusal(json!({"text": "a", "flag": true}));
    assert!(text.starts_with("component t.C"), "{text}");
}

#[test]
fn bytes_that_json_cannot_say_are_refused() {
    let component = sample();
    let text = component.to_json(&[0x42, 1, 0xff]).unwrap_err().to_string();
    assert_eq!(text, "component t.C, field text: not valid UTF-8");
    // An Any of a type that the schema does not have.
    let any = component.to_json(&[0x5a, 5, 0x0a, 3, b'a', b'/', b'b']).unwrap_err();
    assert_eq!(any.message, "t.C");
    // A time after the year 9999.
    let at = [0x52, 9, 8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    assert!(component.to_json(&at).is_err());
}

#[test]
fn deep_json_does_not_pass_the_checker() {
    let component = component("C next = 1;", "");
    let mut value = json!({});
    for _ in 0..101 {
        value = json!({ "next": value });
    }
    let text = component.from_json(&value).unwrap_err().to_string();
    assert!(text.ends_with("messages nest deeper than 100"), "{text}");
    assert!(component.from_json(&value["next"]).is_ok());
}
