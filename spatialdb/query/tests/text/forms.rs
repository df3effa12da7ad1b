//! What each form means, and how it is printed.

use spatialdb_proto::v1::{self, Comparison, constraint::Kind, field_value::Kind as Value};
use spatialdb_query::{parse, to_text};

use crate::support::*;

/// The text means the constraint, which is printed as `canonical`, which means the same.
#[track_caller]
fn check(text: &str, expected: &v1::Constraint, canonical: &str) {
    let parsed = parse(text, schema()).unwrap_or_else(|error| panic!("{}", error.render(text)));
    assert_eq!(&parsed, expected, "{text}");
    assert_eq!(to_text(&parsed, schema()), canonical);
    assert_eq!(&parse(canonical, schema()).unwrap(), expected, "{canonical}");
}

#[test]
fn words() {
    check("all", &all(), "all");
    check("none", &or(&[]), "none");
    check("has sea.Ship", &has(SHIP), "has sea.Ship");
    check("has Ship", &has(SHIP), "has sea.Ship");
    check("in space 7", &of(Kind::Space(v1::Space { space: 7 })), "in space 7");
    check("id = 7", &ids(&[7]), "id in (7)");
    check("id in (4711, 4712)", &ids(&[4711, 4712]), "id in (4711, 4712)");
    check("id in ()", &ids(&[]), "id in ()");
    let near = of(Kind::Near(v1::Near { entity: 4711, radius_m: 5000.0 }));
    check("near 4711 within 5km", &near, "near 4711 within 5000");
    check("near 4711 within 5e3 m", &near, "near 4711 within 5000");
    let owned = |layer: &str| of(Kind::Owned(v1::Owned { layer: layer.to_owned() }));
    check("owned", &owned(""), "owned");
    check("owned and all", &and(&[owned(""), all()]), "owned and all");
    check("owned in layer traffic", &owned("traffic"), "owned in layer \"traffic\"");
    check("owned in layer 'day-time'", &owned("day-time"), "owned in layer \"day-time\"");
}

#[test]
fn not_binds_closest_then_and() {
    let (a, b, c) = (has(SHIP), all(), or(&[]));
    check("has Ship and all", &and(&[a.clone(), b.clone()]), "has sea.Ship and all");
    let mixed = or(&[and(&[a.clone(), not(b.clone())]), c.clone()]);
    check("has Ship and not all or none", &mixed, "(has sea.Ship and not all) or none");
    let grouped = and(&[a.clone(), not(or(&[b.clone(), c.clone()]))]);
    check("has Ship and not(all or none)", &grouped, "has sea.Ship and not (all or none)");
    check("((has Ship))", &a, "has sea.Ship");
    check("not not all", &not(not(b.clone())), "not not all");
    let nested = and(&[and(&[b.clone(), b.clone()]), c]);
    check("(all and all) and none", &nested, "(all and all) and none");
    check("\n all\tand \n all ", &and(&[b.clone(), b]), "all and all");
}

#[test]
fn shapes() {
    let cube = |min, max, space| of(Kind::Box(v1::Box { space, min, max }));
    let flat = cube(point(0.0, -5.5, None), point(1000.0, 0.0, None), 0);
    check("box(0, -5.5, 1km, 0)", &flat, "box(0, -5.5, 1000, 0)");
    let high = cube(point(0.0, 0.0, Some(f64::NEG_INFINITY)), point(1.0, f64::INFINITY, Some(3000.0)), 2);
    check("box(0,0,1,inf,..3km) in space 2", &high, "box(0, 0, 1, inf, ..3000) in space 2");
    let sphere = |space, z| {
        let center = point(950_000.0, 5_267_000.0, Some(z));
        of(Kind::Sphere(v1::Sphere { space, center, radius_m: 50_000.0 }))
    };
    let text = "sphere(950000, 5267000, 0, 50000)";
    check("sphere(950000, 5267000, 0, 50km)", &sphere(0, 0.0), text);
    check("sphere(950km, 5267km, 50 km)", &sphere(0, 0.0), text);
    let elsewhere = "sphere(950000, 5267000, -9, 50000) in space 2";
    check("sphere(950000, 5267000, -9, 50km) in space 2", &sphere(2, -9.0), elsewhere);
    let cylinder = |min_z, max_z| {
        let (center_x, center_y, radius_m) = (1.0, 2.0, 3.0);
        of(Kind::Cylinder(v1::Cylinder { space: 0, center_x, center_y, radius_m, min_z, max_z }))
    };
    check("cylinder(1, 2, 3)", &cylinder(None, None), "cylinder(1, 2, 3)");
    check("cylinder(1, 2, 3, 0..3000)", &cylinder(Some(0.0), Some(3000.0)), "cylinder(1, 2, 3, 0..3000)");
    check("cylinder(1, 2, 3, -1..)", &cylinder(Some(-1.0), Some(f64::INFINITY)), "cylinder(1, 2, 3, -1..)");
    let below = cylinder(Some(f64::NEG_INFINITY), Some(f64::NEG_INFINITY));
    check("cylinder(1, 2, 3, ..-inf)", &below, "cylinder(1, 2, 3, -inf..-inf)");
}

#[test]
fn tests_of_fields() {
    use Comparison::{AtLeast, AtMost, Equal, Greater, In, Less, NotEqual};
    let ship = |field, comparison, values: &[Value]| test(SHIP, field, comparison, values);
    let number = Value::Number;
    let text = |text: &str| Value::Text(text.to_owned());
    let same = |text: &str, expected: &v1::Constraint| check(text, expected, text);
    same("sea.Ship.draught_m > 10000", &ship("draught_m", Greater, &[number(10_000.0)]));
    same("sea.Ship.draught_m <= -1.5", &ship("draught_m", AtMost, &[number(-1.5)]));
    same("sea.Ship.heading_deg < -inf", &ship("heading_deg", Less, &[number(f64::NEG_INFINITY)]));
    same("sea.Ship.hp >= -2147483648", &ship("hp", AtLeast, &[Value::Integer(-2_147_483_648)]));
    same("sea.Ship.serial = 18446744073709551615", &ship("serial", Equal, &[Value::Unsigned(u64::MAX)]));
    same("sea.Ship.afloat != false", &ship("afloat", NotEqual, &[Value::Boolean(false)]));
    same("sea.Ship.mood = MOOD_CALM", &ship("mood", Equal, &[text("MOOD_CALM")]));
    same("sea.Ship.mood in (-3, 77)", &ship("mood", In, &[Value::Integer(-3), Value::Integer(77)]));
    same("sea.Ship.engine.fuel.litres = 0.1", &ship("engine.fuel.litres", Equal, &[number(0.1)]));
    same("sea.Ship.sheep in ()", &ship("sheep", In, &[]));
    same("sea.Ship.in = \"a\\\"\\\\\\n\\u{1}é\"", &ship("in", Equal, &[text("a\"\\\n\u{1}é")]));
    same(
        "sea.Ship.seal = \"a\\x00\\xff\\\"\"",
        &ship("seal", Equal, &[Value::Data(b"a\0\xff\"".to_vec().into())]),
    );
    same("spatialdb.v1.Metadata.type < \"b\"", &test(METADATA, "type", Less, &[text("b")]));

    // NaN is not equal to itself, so only its text can be compared.
    let nan = "sea.Ship.draught_m != nan";
    assert_eq!(to_text(&parse(nan, schema()).unwrap(), schema()), nan);

    let kinds = test(METADATA, "type", In, &[text("a"), text("b")]);
    check("Metadata.type in ('a', \"b\")", &kinds, "spatialdb.v1.Metadata.type in (\"a\", \"b\")");
    check(
        "Ship.mood == \"MOOD_WILD\"",
        &ship("mood", Equal, &[text("MOOD_WILD")]),
        "sea.Ship.mood = MOOD_WILD",
    );
    check("Ship.hp > 1e3", &ship("hp", Greater, &[Value::Integer(1000)]), "sea.Ship.hp > 1000");
    check("Ship.hp = -0", &ship("hp", Equal, &[Value::Integer(0)]), "sea.Ship.hp = 0");
}

#[test]
fn the_longest_beginning_that_is_a_component_is_the_component() {
    let rpm = |component, field| test(component, field, Comparison::Equal, &[Value::Integer(1)]);
    // Ship.Engine is a component, Ship.engine a field of sea.Ship.
    check("Ship.Engine.rpm = 1", &rpm(1011, "rpm"), "Ship.Engine.rpm = 1");
    check("Ship.engine.rpm = 1", &rpm(SHIP, "engine.rpm"), "sea.Ship.engine.rpm = 1");
    check("Ship.Harbour.depth_cm = 1", &rpm(1010, "depth_cm"), "Ship.Harbour.depth_cm = 1");
    let near = test(1012, "all", Comparison::Equal, &[Value::Boolean(true)]);
    check("near.all = true", &near, "Ship.near.all = true");
    check("has near", &has(1012), "has Ship.near");
}

#[test]
fn what_has_no_text_does_not_parse() {
    let sphere = v1::Sphere { space: 0, center: point(f64::NAN, 0.0, None), radius_m: 1.0 };
    let unspecified = test(SHIP, "hp", Comparison::Unspecified, &[]);
    let mut deep = all();
    for _ in 0..500 {
        deep = not(deep);
    }
    for constraint in [v1::Constraint::default(), has(4711), of(Kind::Sphere(sphere)), unspecified, deep] {
        let text = to_text(&constraint, schema());
        assert!(parse(&text, schema()).is_err(), "{text}");
    }
    let text = of(Kind::Text("all or none".to_owned()));
    assert_eq!(to_text(&not(text), schema()), "not (all or none)");
}
