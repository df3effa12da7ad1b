//! Every example of `docs/query-language.md` is what it says.

use std::fs;

use spatialdb_query::parse;

use crate::support::{earth, repository};

/// What stands in the fenced blocks of this kind.
fn blocks(kind: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join("docs/query-language.md")).unwrap();
    let fence = format!("```{kind}\n");
    let starts = text.split(&fence).skip(1);
    starts.map(|rest| rest.split("```").next().unwrap().trim_end().to_owned()).collect()
}

#[test]
fn every_query_parses() {
    let text = fs::read_to_string(repository().join("docs/query-language.md")).unwrap();
    // The table of forms has one in the first cell of each row.
    let in_table = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let blocks = blocks("query");
    let in_blocks = blocks.iter().flat_map(|block| block.split("\n\n"));
    let queries: Vec<&str> = in_table.chain(in_blocks).collect();
    assert!(queries.len() > 25, "{queries:?}");
    for query in queries {
        parse(query, earth()).unwrap_or_else(|error| panic!("{}", error.render(query)));
    }
}

#[test]
fn every_error_is_as_it_is_shown() {
    let blocks = blocks("error");
    assert!(blocks.len() >= 3);
    for block in blocks {
        let query = block.lines().nth(1).unwrap().trim();
        let error = parse(query, earth()).expect_err(query);
        assert_eq!(error.render(query), block);
    }
}

#[test]
fn every_command_line_has_a_query_that_parses() {
    let commands = blocks("sh").join("\n");
    let queries: Vec<&str> = commands.split('\'').skip(1).step_by(2).collect();
    assert!(queries.len() >= 3);
    for query in queries {
        // A call has it inside of a message.
        let query = query.split("\"text\": \"").last().and_then(|rest| rest.split('"').next()).unwrap();
        parse(query, earth()).unwrap_or_else(|error| panic!("{}", error.render(query)));
    }
}
