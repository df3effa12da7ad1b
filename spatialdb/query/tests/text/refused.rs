//! What is refused, and where the error points.

use spatialdb_query::{Known, ParseError, parse, parse_with};
use spatialdb_types::{Error, Limits, Reason};

use crate::support::schema;

#[track_caller]
fn refused(text: &str) -> ParseError {
    match parse(text, schema()) {
        Err(error) => error,
        Ok(parsed) => panic!("{text:?} is {parsed:?}"),
    }
}

/// The error is about `part`, and says `message`.
#[track_caller]
fn check(text: &str, part: &str, message: &str) {
    let error = refused(text);
    assert_eq!(&text[error.at..error.at + error.length], part, "{text:?}: {error}");
    assert!(error.to_string().contains(message), "{text:?}: {error}");
    assert_eq!(error.render(text).lines().count(), 3);
}

#[test]
fn words_and_signs() {
    check("", "", "the text is empty; expected a condition");
    check("  ", "", "the text is empty");
    check("all and", "", "the text ends here; expected a condition");
    check("all all", "all", "unexpected `all`; expected `and`, `or` or the end");
    check("all AND none", "AND", "did you mean `and`?");
    check("all && none", "&&", "there is no `&&`: write `and`");
    check("!all", "!", "write `not`");
    check("(all or none", "", "or the `)` of the `(` at 0");
    check("all)", ")", "unexpected `)`");
    check("spere(0, 0, 1)", "spere", "did you mean `sphere`?");
    check("Ship", "Ship", "sea.Ship is a component: write `has Ship`");
    check("frobnicate", "frobnicate", "unexpected `frobnicate`; expected a condition");
    check("all # none", "#", "`#` has no meaning here");
    check("not", "", "the text ends here");
    check("has", "", "expected the name of a component");
    check("has 1000", "1000", "expected the name of a component");
    check("in spce 2", "spce", "expected `space`");
    check("in space -1", "-1", "no whole number from 0 up");
    check("in space 4294967296", "4294967296", "below 4294967296");
    check("id > 7", ">", "as in `id in (7, 8)`");
    check("id != 7", "!=", "`not id = 7`");
    check("id in (7, )", ")", "expected the id of an entity");
    check("id in (7 8)", "8", "expected `,` or `)`");
    check("id = 18446744073709551616", "18446744073709551616", "more than 64 bits");
    check("id = 0", "0", "above 0 and below 2^53");
    check("id in (7, 9007199254740992)", "9007199254740992", "above 0 and below 2^53");
    check("near 7 5km", "5", "expected `within`");
    check("owned in space 2", "space", "expected `layer`");
    check("owned in layer 7", "7", "expected the name of a layer");
    check("near 7 within -5", "-5", "the radius is not between 0 and");
}

#[test]
fn shapes() {
    check("box(1, 2, 3)", "box(1, 2, 3)", "a box is box(x1, y1, x2, y2)");
    check("box(5, 0, 1, 0)", "1", "x runs from 5 to 1");
    check("box(0, 5km, 1, 1)", "1", "y runs from 5000 to 1");
    check("sphere(0, 0, 0..5)", "sphere(0, 0, 0..5)", "a sphere is");
    check("sphere(0, 0, 50miles)", "miles", "there is no unit `miles`; expected m, km");
    check("sphere(0, inf, 1)", "inf", "the centre is further out");
    check("sphere(0, 0, inf)", "inf", "the radius");
    check("sphere(0, 0, 1e999)", "1e999", "too large");
    check("sphere(0, 0, nan)", "nan", "expected a number of metres");
    check("cylinder(0, 0, 5, 9..1)", "1", "z runs from 9 to 1");
    check("cylinder(0, 0, 5) in space x", "x", "the number of a space");
    check("sphere 0, 0, 1", "0", "expected `(`");
}

#[test]
fn names() {
    check("has sea.Shp", "sea.Shp", "near: sea.Ship");
    check("has Harbour", "Harbour", "may be any of sea.Harbour, Ship.Harbour: use the full name");
    check("Harbour.depth_cm = 1", "Harbour", "may be any of");
    check("sea.Shp.hp = 1", "sea.Shp", "near: sea.Ship");
    check("Shp.frobnicate.x = 1", "Shp", "near: sea.Ship");
    check("xyz.frobnicate.hp = 1", "xyz.frobnicate", "no component is named \"xyz.frobnicate\"");
    check("sea.Ship = 1", "sea.Ship", "compare a field of it; expected one of hp, far");
    check("Ship.nmae = 'x'", "nmae", "sea.Ship has no field `nmae`; did you mean `name`?");
    check("Ship.headingDeg = 1", "headingDeg", "did you mean `heading_deg`?");
    check("Harbour.Frob.x = 1", "Harbour", "may be any of");
    check("sea.Harbour.frobnicate = 1", "frobnicate", "expected depth_cm");
    check(
        "Ship.engine.frobnicate = 1",
        "frobnicate",
        "sea.Engine has no field `frobnicate`; expected one of rpm, fuel",
    );
    check("Nothing.x = 1", "x", "expected nothing: it has no fields");
    check("Ship.marks = 1", "marks", "repeated");
    check("Ship.stock.key = 1", "stock", "repeated");
    check("Ship.engine = 1", "engine", "is a message, sea.Engine: compare a field of it");
    check("Ship.hp.rpm = 1", "hp", "is no message");
    for text in ["has sea.Shp", "has Harbour", "Shp.hp = 1"] {
        assert_eq!(refused(text).reason, Reason::ComponentUnknown);
        assert_eq!(Error::from(refused(text)).detail, refused(text).to_string());
    }
    check("has Sunk", "Sunk", "sea.Sunk is an event of sea.Ship: entities have components");
    assert_eq!(refused("Ship.nmae = 1").reason, Reason::FieldUnknown);
    assert_eq!(refused("Ship.engine = 1").reason, Reason::QueryInvalid);
}

#[test]
fn values() {
    check("Ship.hp", "", "expected one of = != < <= > >= in");
    check("Ship.hp not in (1)", "not", "`not hp in (...)`");
    check("Ship.hp = 'x'", "'x'", "expected a whole number from -2147483648 to 2147483647, for sea.Ship.hp");
    check("Ship.hp = 1.5", "1.5", "is no whole number");
    check("Ship.hp = 2147483648", "2147483648", "is not between -2147483648 and 2147483647");
    check("Ship.hp = 1e300", "1e300", "is not between");
    check("Ship.serial = -1", "-1", "is not between 0 and 18446744073709551615");
    check("Ship.serial = 18446744073709551616", "18446744073709551616", "is not between");
    check(
        "Ship.far = 999999999999999999999999999999999999999999",
        "999999999999999999999999999999999999999999",
        "is not between",
    );
    check("Ship.draught_m = true", "true", "expected a number, for sea.Ship.draught_m");
    check("Ship.draught_m > 10km", "km", "only places and distances have units");
    check("Ship.draught_m > 1e999", "1e999", "too large");
    check("Ship.afloat = 1", "1", "expected true or false");
    check("Ship.afloat < true", "<", "has no order; expected one of = != in");
    check("Ship.mood >= MOOD_CALM", ">=", "has no order");
    check("Ship.mood = CALM", "CALM", "did you mean MOOD_CALM?");
    check(
        "Ship.mood = 'frobnicate'",
        "'frobnicate'",
        "expected one of MOOD_WILD, MOOD_UNSPECIFIED, MOOD_CALM",
    );
    check("Ship.mood = 2147483648", "2147483648", "is not between");
    check(
        "Ship.name = aircraft",
        "aircraft",
        "sea.Ship.name is compared with a text in quotes; did you mean \"aircraft\"?",
    );
    check("Ship.name = '\\xff'", "'\\xff'", "not UTF-8");
    check("Ship.name = 'abc", "'abc", "has no end");
    check("Ship.name = 'a\\qc'", "\\q", "no such escape");
    check("Ship.name in 'a'", "'a'", "expected `(`");
    check("Ship.hp in (1, 'x')", "'x'", "a whole number");
}

#[test]
fn limits_are_named() {
    let long = format!("all{}", " ".repeat(4094));
    let error = refused(&long);
    assert_eq!((error.at, error.length), (4096, 1));
    assert!(error.message.contains("constraint_text_bytes_max = 4096"), "{error}");
    let deep = |open: &str, count: usize| {
        format!("{}all{}", open.repeat(count), ")".repeat(if open == "(" { count } else { 0 }))
    };
    for open in ["(", "not "] {
        let fits = if open == "(" { 16 } else { 15 };
        assert!(parse(&deep(open, fits), schema()).is_ok());
        let error = refused(&deep(open, fits + 1));
        assert_eq!(error.at, if open == "(" { 16 } else { 15 * 4 + 4 });
        assert!(error.message.contains("constraint_depth_max = 16"), "{error}");
        assert!(parse(&deep(open, 1000), schema()).is_err());
    }
    // Lists count as they do on the wire: 8 pairs of parentheses, 17 levels.
    let lists = "all and (all or ".repeat(8) + "none" + &")".repeat(8);
    let error = refused(&lists);
    assert!(error.message.contains("constraint_depth_max"), "{error}");
    let many = vec!["all"; 256].join(" or ");
    assert!(refused(&many).message.contains("constraint_nodes_max = 256"));
    assert!(parse(&vec!["all"; 255].join(" or "), schema()).is_ok());
    let limits = Limits { constraint_depth_max: 1, ..Limits::default() };
    let parsed = |text| parse_with(text, Known { schema: schema(), limits: &limits, has_space: &|_| true });
    assert!(parsed("all").is_ok());
    assert!(parsed("all or none").is_err());
}

#[test]
fn spaces_that_there_are_not() {
    let known = Known { schema: schema(), limits: &Limits::default(), has_space: &|space| space < 2 };
    assert!(parse_with("in space 1", known).is_ok());
    let error = parse_with("all and sphere(0, 0, 5) in space 2", known).unwrap_err();
    assert_eq!((error.at, error.length, error.reason), (33, 1, Reason::SpaceUnknown));
    assert_eq!(error.message, "the world has no space 2");
    // As a client hears of it.
    let told = ParseError::told(&Error::from(error.clone())).expect("it has a place");
    assert_eq!((told.at, told.reason, told.message), (33, error.reason, error.message));
    assert_eq!(ParseError::told(&Error::new(Reason::QueryInvalid, "at sea: no")), None);
}

#[test]
fn a_text_of_dots_is_refused_at_once() {
    let started = std::time::Instant::now();
    let text = format!("{}x = 1", "a.".repeat(2040));
    assert_eq!(refused(&text).reason, Reason::ComponentUnknown);
    assert!(parse(&vec!["Ship.hp = 1"; 200].join(" or "), schema()).is_ok());
    assert!(started.elapsed().as_millis() < 500, "{:?}", started.elapsed());
}

#[test]
fn errors_read_like_this() {
    let text = "all and\n  sea.Ship.nmae = 'QF1'";
    assert_eq!(
        refused(text).render(text),
        "at 19: sea.Ship has no field `nmae`; did you mean `name`?\n    sea.Ship.nmae = 'QF1'\n             ^^^^"
    );
}
