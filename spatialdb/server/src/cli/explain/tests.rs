use clap::Parser;
use spatialdb_proto::v1::{ConstraintCheck, EntityExplanation, ViewSight};

use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: ExplainArgs,
}

fn request(line: &str) -> Result<ExplainEntityRequest, String> {
    let words = std::iter::once("explain").chain(line.split_whitespace());
    let command = Command::try_parse_from(words).map_err(|error| error.to_string())?;
    command.args.request().map_err(|error| error.to_string())
}

#[test]
fn a_session_is_named_by_name_or_by_id() {
    let of = |line: &str| request(line).map(|asked| (asked.session_id, asked.session_name));
    assert_eq!(of("7"), Ok((0, String::new())));
    assert_eq!(of("7 --session 17"), Ok((17, String::new())));
    assert_eq!(of("7 --session flight-1"), Ok((0, "flight-1".to_owned())));
    assert!(of("7 --session 0").expect_err("refused").contains("from 1 up"));
    assert!(request("7 --session a --view 0").expect_err("refused").contains("from 1 up"));
    assert!(request("7 --view 2").expect_err("refused").contains("--session"));
    assert!(request("7 --session a --view 2 --where all").is_err(), "one of the two");
    assert!(request("boat").is_err());
}

fn leaf(text: &str, found: &str, holds: bool) -> ConstraintCheck {
    ConstraintCheck { text: text.to_owned(), found: found.to_owned(), holds, parts: Vec::new() }
}

#[test]
fn only_what_matters_of_a_constraint_is_shown() {
    let both = |holds: bool| ConstraintCheck {
        text: "and".to_owned(),
        holds,
        parts: vec![leaf("has component a.B", "it has", true), leaf("sphere", "731.2 m away", holds)],
        ..ConstraintCheck::default()
    };
    let page = |holds: bool| {
        let view =
            ViewSight { view_id: 4, matches: holds, constraint: Some(both(holds)), ..Default::default() };
        let sight = spatialdb_proto::v1::SessionSight { views: vec![view], ..Default::default() };
        let told = EntityExplanation { entity: 9, open: true, sight: Some(sight), ..Default::default() };
        let mut out = Vec::new();
        page::write(&mut out, &told).expect("written");
        assert_eq!(json::explanation(&told)["session"]["views"][0]["matches"], holds);
        String::from_utf8(out).expect("text")
    };
    let (yes, no) = (page(true), page(false));
    assert!(no.contains("view 4 does not match, because:\n    sphere: 731.2 m away\n"), "{no}");
    assert!(!no.contains("a.B"), "{no}");
    assert!(yes.contains("all of these:\n      has component a.B: it has\n"), "{yes}");
}
