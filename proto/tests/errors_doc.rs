//! `docs/errors.md` names every code and every reason, as they are, and no other.

use std::{collections::BTreeSet, fs, path::Path};

use spatialdb_proto::grpc_code;
use spatialdb_types::{ErrorCode, Reason};

// The closed set. Not every code has a reason yet, so it cannot be told from `Reason::ALL`.
const CODES: [ErrorCode; 12] = [
    ErrorCode::Invalid,
    ErrorCode::NotFound,
    ErrorCode::AlreadyExists,
    ErrorCode::Unauthenticated,
    ErrorCode::Forbidden,
    ErrorCode::NotAuthoritative,
    ErrorCode::Conflict,
    ErrorCode::Overloaded,
    ErrorCode::Timeout,
    ErrorCode::Unavailable,
    ErrorCode::DataLoss,
    ErrorCode::Internal,
];

/// The rows of the table under a heading, without its header: cells, trimmed.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
    let text = fs::read_to_string(&path).expect("docs/errors.md");
    let section = text.split(&format!("\n## {heading}\n")).nth(1).expect("the heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    section.lines().filter(|line| line.starts_with('|')).skip(2).map(cells).collect()
}

// gRPC writes its codes LIKE_THIS, tonic LikeThis.
fn grpc_name(code: ErrorCode) -> String {
    let mut name = String::new();
    for c in format!("{:?}", grpc_code(code)).chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

#[test]
fn every_reason_is_explained_under_its_code() {
    let rows = rows("Reasons");
    let documented: Vec<_> = rows.iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let expected: Vec<_> =
        Reason::ALL.iter().map(|reason| (reason.name().to_owned(), format!("{:?}", reason.code()))).collect();
    assert_eq!(
        documented, expected,
        "docs/errors.md lists every reason with its code, in the order of `Reason`"
    );
    assert!(rows.iter().all(|row| row.len() == 4 && row.iter().all(|cell| !cell.is_empty())));
}

#[test]
fn every_code_is_mapped_as_documented() {
    let documented: BTreeSet<_> =
        rows("Codes").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let expected: BTreeSet<_> = CODES.iter().map(|code| (format!("{code:?}"), grpc_name(*code))).collect();
    assert_eq!(documented, expected);
    for reason in Reason::ALL {
        assert!(CODES.contains(&reason.code()));
    }
}
