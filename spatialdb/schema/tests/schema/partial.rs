//! Partial updates.

use spatialdb_types::Reason;

use crate::support::component;

const FIELDS: &str = "int32 hp = 1; oneof shape { int32 round = 2; string square = 3; Inner box = 9; }
    repeated int32 list = 4; optional int32 set = 5;";

#[test]
fn a_plan_clears_oneof_siblings() {
    let component = component(FIELDS, "message Inner { int32 a = 1; }");
    let plan = component.plan_fields(&[3, 1, 3]).unwrap();
    assert_eq!(plan.listed, [1, 3]);
    assert_eq!(*plan.cleared, [1, 2, 3, 9]);
    // Presence in proto3 is a oneof of one field.
    let plan = component.plan_fields(&[5]).unwrap();
    assert_eq!((plan.listed, &*plan.cleared), (vec![5], &[5][..]));
}

#[test]
fn unknown_numbers_are_refused() {
    let error = component(FIELDS, "message Inner {}").plan_fields(&[1, 7]).unwrap_err();
    assert_eq!(error.reason, Reason::FieldUnknown);
    assert_eq!(error.detail, "component t.C, field 7: not in the schema");
}

#[test]
fn a_payload_keeps_to_the_list() {
    let component = component(FIELDS, "message Inner { int32 a = 1; }");
    let plan = component.plan_fields(&[1, 9]).unwrap();
    // Nothing, one field, and a nested message with a field that nobody knows.
    for payload in [&[][..], &[8, 0], &[0x4a, 2, 0x10, 1]] {
        assert_eq!(component.check_fields(&plan, payload), Ok(()));
    }
    let refusal = |payload: &[u8]| {
        let error = component.check_fields(&plan, payload).unwrap_err();
        (error.reason, error.to_string())
    };
    assert_eq!(
        refusal(&[8, 0, 0x1a, 0]),
        (Reason::FieldNotListed, "component t.C, field square: number 3 is not listed".to_owned())
    );
    assert_eq!(
        refusal(&[8, 0, 0x38, 0]),
        (Reason::FieldUnknown, "component t.C, field 7: not in the schema".to_owned())
    );
    assert_eq!(refusal(&[8]).0, Reason::PayloadInvalid);
}
