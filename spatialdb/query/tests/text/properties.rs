//! Nothing panics; what is printed is parsed again.

use proptest::{collection::vec, prelude::*, sample::select};
use spatialdb_proto::v1::{self, Comparison, constraint::Kind, field_value::Kind as Value};
use spatialdb_query::{Known, ParseError, parse, parse_with, to_text};
use spatialdb_types::{ID_END, Limits};

use crate::support::*;

fn coordinate() -> impl Strategy<Value = f64> {
    prop_oneof![(-1e6..1e6), select(vec![0.0, -0.0, 1e-300, 1.0 / 3.0, 4e12, -4e12, 5e-324])]
}

fn range() -> impl Strategy<Value = (f64, f64)> {
    let open =
        select(vec![(f64::NEG_INFINITY, 1.0), (1.0, f64::INFINITY), (f64::NEG_INFINITY, f64::INFINITY)]);
    prop_oneof![(coordinate(), coordinate()).prop_map(|(a, b)| (a.min(b), a.max(b))), open]
}

fn space() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), any::<u32>()]
}

fn radius() -> impl Strategy<Value = f64> {
    coordinate().prop_map(f64::abs)
}

/// A box or a cylinder has two heights or none.
fn heights() -> impl Strategy<Value = (Option<f64>, Option<f64>)> {
    prop::option::of(range()).prop_map(|range| match range {
        None | Some((f64::NEG_INFINITY, f64::INFINITY)) => (None, None),
        Some((from, to)) => (Some(from), Some(to)),
    })
}

fn shape() -> impl Strategy<Value = v1::Constraint> {
    let cube = (range(), range(), heights(), space()).prop_map(|((x1, x2), (y1, y2), (z1, z2), space)| {
        of(Kind::Box(v1::Box { space, min: point(x1, y1, z1), max: point(x2, y2, z2) }))
    });
    let sphere = (coordinate(), coordinate(), coordinate(), radius(), space()).prop_map(
        |(x, y, z, radius_m, space)| {
            of(Kind::Sphere(v1::Sphere { space, center: point(x, y, Some(z)), radius_m }))
        },
    );
    let cylinder = (coordinate(), coordinate(), radius(), heights(), space()).prop_map(
        |(center_x, center_y, radius_m, (min_z, max_z), space)| {
            of(Kind::Cylinder(v1::Cylinder { space, center_x, center_y, radius_m, min_z, max_z }))
        },
    );
    prop_oneof![cube, sphere, cylinder]
}

fn field_test() -> impl Strategy<Value = v1::Constraint> {
    use Comparison::{AtLeast, AtMost, Equal, Greater, In, Less, NotEqual};
    let ordered = vec![Equal, NotEqual, Less, AtMost, Greater, AtLeast, In];
    let text = any::<String>().prop_map(Value::Text);
    let values: Vec<(&str, BoxedStrategy<Value>)> = vec![
        ("hp", any::<i32>().prop_map(|number| Value::Integer(number.into())).boxed()),
        ("far", any::<i64>().prop_map(Value::Integer).boxed()),
        ("serial", (0..=i64::MAX).prop_map(Value::Integer).boxed()),
        ("serial", (i64::MAX as u64 + 1..).prop_map(Value::Unsigned).boxed()),
        ("draught_m", coordinate().prop_map(Value::Number).boxed()),
        (
            "engine.fuel.litres",
            select(vec![f64::INFINITY, f64::MIN, f64::MAX]).prop_map(Value::Number).boxed(),
        ),
        ("afloat", any::<bool>().prop_map(Value::Boolean).boxed()),
        (
            "mood",
            select(vec!["MOOD_CALM", "MOOD_WILD"]).prop_map(|name| Value::Text(name.to_owned())).boxed(),
        ),
        ("name", text.clone().boxed()),
        ("tea", text.boxed()),
        ("seal", any::<Vec<u8>>().prop_map(|bytes| Value::Data(bytes.into())).boxed()),
    ];
    (select(values), select(ordered)).prop_flat_map(|((field, value), comparison)| {
        let is_equality = matches!(field, "afloat" | "mood");
        let comparison = if is_equality && comparison != In { NotEqual } else { comparison };
        let count = if comparison == In { 0..4 } else { 1..2 };
        vec(value, count).prop_map(move |values| test(SHIP, field, comparison, &values))
    })
}

fn leaf() -> impl Strategy<Value = v1::Constraint> {
    prop_oneof![
        Just(all()),
        Just(or(&[])),
        select(vec![1, METADATA, SHIP, 1001, 1012]).prop_map(has),
        vec(1..ID_END, 0..4).prop_map(|entities| ids(&entities)),
        any::<u32>().prop_map(|space| of(Kind::Space(v1::Space { space }))),
        (any::<u64>(), radius()).prop_map(|(entity, radius_m)| of(Kind::Near(v1::Near { entity, radius_m }))),
        shape(),
        field_test(),
    ]
}

/// Constraints that are what parsing would make of them.
fn constraint() -> impl Strategy<Value = v1::Constraint> {
    leaf().prop_recursive(6, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(not),
            vec(inner.clone(), 2..4).prop_map(|list| and(&list)),
            vec(inner, 2..4).prop_map(|list| or(&list)),
        ]
    })
}

/// Forms that mean the same as others: lists of one and empty ones, names instead of ids, heights left open.
fn unusual() -> impl Strategy<Value = v1::Constraint> {
    let open = v1::Box { space: 3, min: None, max: point(1.0, 2.0, None) };
    let flat = v1::Sphere { space: 0, center: point(1.0, 2.0, None), radius_m: 3.0 };
    let half = v1::Cylinder { radius_m: 1.0, min_z: Some(4.0), ..v1::Cylinder::default() };
    let named = v1::FieldTest {
        component_named: "Ship".to_owned(),
        field: "hp".to_owned(),
        comparison: Comparison::Less.into(),
        values: vec![v1::FieldValue { kind: Some(Value::Number(7.0)) }],
        ..v1::FieldTest::default()
    };
    let leaves = vec![
        and(&[]),
        of(Kind::HasComponentNamed("Ship".to_owned())),
        of(Kind::Box(open)),
        of(Kind::Sphere(flat)),
        of(Kind::Cylinder(half)),
        of(Kind::Field(named)),
    ];
    prop_oneof![select(leaves), leaf()].prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(not),
            vec(inner.clone(), 0..3).prop_map(|list| and(&list)),
            vec(inner, 0..3).prop_map(|list| or(&list)),
        ]
    })
}

/// Wide enough for what is generated: what is tested is the text.
fn parse_wide(text: &str) -> Result<v1::Constraint, ParseError> {
    let limits =
        Limits { constraint_text_bytes_max: 1 << 20, constraint_nodes_max: 10_000, ..Limits::default() };
    parse_with(text, Known { schema: schema(), limits: &limits, has_space: &|_| true })
}

/// Texts made of what the grammar is made of.
fn wordy() -> impl Strategy<Value = String> {
    let words = [
        "all",
        "none",
        "has",
        "Ship",
        "sea.Ship",
        "in",
        "space",
        "id",
        "near",
        "within",
        "owned",
        "layer",
        "box",
        "sphere",
        "cylinder",
        "(",
        ")",
        ",",
        "..",
        "=",
        "!=",
        "<",
        "<=",
        "not",
        "and",
        "or",
        "1",
        "-2.5",
        "1e3",
        "inf",
        "-inf",
        "km",
        "m",
        "Ship.hp",
        "Ship.name",
        "Ship.mood",
        "Metadata.type",
        "\"a\"",
        "'b\\n'",
        "true",
        "MOOD_CALM",
        "Ship.engine.rpm",
        "é",
        "\"",
        "\\",
        ".",
        "-",
    ];
    vec(select(words.to_vec()), 0..30).prop_map(|words| words.join(" "))
}

#[track_caller]
fn must_not_panic(text: &str) {
    match parse(text, schema()) {
        Ok(parsed) => {
            let again = to_text(&parsed, schema());
            assert_eq!(to_text(&parse_wide(&again).unwrap(), schema()), again, "{text:?}");
        }
        Err(error) => {
            assert!(error.at + error.length <= text.len(), "{text:?}: {error:?}");
            assert!(text.get(error.at..error.at + error.length).is_some(), "{text:?}: {error:?}");
            assert!(!error.message.is_empty() && !error.message.contains('\n'));
            assert_eq!(error.render(text).lines().count(), 3, "{text:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_is_parsed_again(constraint in constraint()) {
        let text = to_text(&constraint, schema());
        let parsed = parse_wide(&text);
        let parsed = parsed.unwrap_or_else(|error| panic!("{}", error.render(&text)));
        prop_assert_eq!(parsed, constraint, "{}", text);
    }

    #[test]
    fn what_is_parsed_from_an_unusual_form_prints_the_same(constraint in unusual()) {
        let text = to_text(&constraint, schema());
        let parsed = parse_wide(&text);
        let parsed = parsed.unwrap_or_else(|error| panic!("{}", error.render(&text)));
        prop_assert_eq!(to_text(&parsed, schema()), text);
    }

    #[test]
    fn no_text_is_a_panic(text in any::<String>()) {
        must_not_panic(&text);
    }

    #[test]
    fn no_words_are_a_panic(text in wordy()) {
        must_not_panic(&text);
    }

    #[test]
    fn no_slip_of_the_hand_is_a_panic(
        constraint in constraint(),
        slips in vec((any::<prop::sample::Index>(), 0..4_usize, any::<char>()), 1..4),
    ) {
        let mut text: Vec<char> = to_text(&constraint, schema()).chars().collect();
        for (place, what, c) in slips {
            let at = place.index(text.len() + 1);
            match what {
                0 => text.insert(at, c),
                1 => text.truncate(at),
                2 if at < text.len() => _ = text.remove(at),
                _ if at < text.len() => text[at] = c,
                _ => {}
            }
        }
        must_not_panic(&text.into_iter().collect::<String>());
    }
}
