//! Payloads by hand: what is taken, and how refusals read.

use spatialdb_schema::Component;
use spatialdb_types::{Error, Reason};

use crate::support::component;

const FIELDS: &str =
    "string name = 1; Route route = 2; repeated sint32 heights = 3; map<string, Leg> tags = 4;
    fixed32 mark = 200; repeated string words = 5; C next = 6; bytes raw = 7;";
const MORE: &str =
    "message Route { repeated Leg legs = 1; } message Leg { string name = 1; double length = 2; }";

fn city() -> Component {
    component(FIELDS, MORE)
}

fn refusal(payload: &[u8]) -> String {
    let error = city().check(payload).expect_err("refused");
    assert_eq!(error.reason, Reason::PayloadInvalid);
    let text = error.to_string();
    assert_eq!(Error::from(error), Error::new(Reason::PayloadInvalid, text.clone()));
    text
}

#[test]
fn good_payloads_are_taken_and_unknown_fields_counted() {
    let city = city();
    assert_eq!(city.check(&[]), Ok(0));
    // Packed, then one by one.
    assert_eq!(city.check(&[0x1a, 2, 1, 2, 0x18, 3]), Ok(0));
    // Fields 31 and 32 at the top, 9 in a leg of a route, 3 in a map entry.
    let payload = [0xf8, 1, 0, 0x82, 2, 1, 0, 0x12, 4, 0x0a, 2, 0x48, 1, 0x22, 2, 0x18, 1];
    assert_eq!(city.check(&payload), Ok(4));
}

#[test]
fn refusals_name_component_field_and_reason() {
    assert_eq!(refusal(&[0x0a, 1, 0xff]), "component t.C, field name: not valid UTF-8");
    let legs = [0x12, 9, 0x0a, 2, 0x0a, 0, 0x0a, 3, 0x0a, 1, 0xff];
    assert_eq!(refusal(&legs), "component t.C, field route.legs[1].name: not valid UTF-8");
    assert_eq!(
        refusal(&[0x1a, 2, 1, 2, 0x18, 3, 0x1a, 2, 1, 0x80]),
        "component t.C, field heights[4]: a varint ends too early"
    );
    assert_eq!(
        refusal(&[0x22, 0, 0x22, 4, 0x12, 2, 0x10, 0]),
        "component t.C, field tags[1].value.length: wire type varint where the schema has 64-bit"
    );
    assert_eq!(refusal(&[0x2a, 0, 0x2a, 1, 0xc0]), "component t.C, field words[1]: not valid UTF-8");
    assert_eq!(
        refusal(&[0xc5, 0x0c, 1, 2, 3]),
        "component t.C, field mark: a value of 4 bytes ends too early"
    );
    assert_eq!(
        refusal(&[0x3a, 3, 1]),
        "component t.C, field raw: a length of 3 bytes goes past the end, 1 bytes are left"
    );
    assert_eq!(refusal(&[0x40, 0x80]), "component t.C, field 8: a varint ends too early");
    assert_eq!(refusal(&[0x03]), "component t.C: field number 0 is not in 1..536870911");
    assert_eq!(refusal(&[0x0b, 0x0c]), "component t.C: groups are not supported");
    assert_eq!(refusal(&[0x0f]), "component t.C: wire type 7 does not exist");
}

#[test]
fn nesting_ends_at_a_hundred() {
    let nested = |levels: usize| {
        let mut payload = Vec::new();
        for _ in 0..levels {
            let mut outer = vec![0x32];
            prost_varint(payload.len(), &mut outer);
            outer.append(&mut payload);
            payload = outer;
        }
        payload
    };
    assert_eq!(city().check(&nested(100)), Ok(0));
    assert!(refusal(&nested(101)).ends_with("next: messages nest deeper than 100"));
}

fn prost_varint(value: usize, out: &mut Vec<u8>) {
    prost::encoding::encode_varint(value as u64, out);
}
