//! `spatialdb snapshot diff`: what differs between two files.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::{Value, json};
use spatialdb_snapshots::diff::{Difference, diff};

use super::{Failure, Format, Outcome, open};

pub(super) fn run(first: &Path, second: &Path, format: Format) -> Outcome {
    let (a, b) = (open(first)?, open(second)?);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut printed = Ok(());
    let counts = diff(&a, &b, |difference| {
        if printed.is_ok() {
            printed = print_difference(&mut out, &difference, format);
        }
    });
    // Which of the two is at fault, the part and block in the message tell together with both names.
    let both = PathBuf::from(format!("{} or {}", first.display(), second.display()));
    let counts = counts.map_err(|error| Failure::of_file(&both, &error))?;
    printed?;
    let schemas_differ = a.header().schema_digest != b.header().schema_digest;
    if format == Format::Json {
        let line = json!({
            "only_in_first": counts.only_in_first, "only_in_second": counts.only_in_second,
            "changed": counts.changed, "equal": counts.equal, "schemas_differ": schemas_differ,
        });
        writeln!(out, "{line}")?;
    } else {
        if schemas_differ {
            writeln!(out, "the schemas differ")?;
        }
        let (only_a, only_b) = (counts.only_in_first, counts.only_in_second);
        let (changed, equal) = (counts.changed, counts.equal);
        writeln!(
            out,
            "{only_a} only in the first, {only_b} only in the second, {changed} changed, {equal} equal"
        )?;
    }
    out.flush()?;
    Ok(if counts.is_same() && !schemas_differ { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print_difference(out: &mut impl Write, difference: &Difference, format: Format) -> io::Result<()> {
    match (difference, format) {
        (Difference::OnlyInFirst(id), Format::Text) => writeln!(out, "- {id}"),
        (Difference::OnlyInSecond(id), Format::Text) => writeln!(out, "+ {id}"),
        (Difference::OnlyInFirst(id), Format::Json) => {
            writeln!(out, "{}", json!({"id": id.to_string(), "only_in": "first"}))
        }
        (Difference::OnlyInSecond(id), Format::Json) => {
            writeln!(out, "{}", json!({"id": id.to_string(), "only_in": "second"}))
        }
        (Difference::Changed { entity, component, path, first, second }, Format::Json) => {
            let line = json!({
                "id": entity.to_string(), "component": component, "field": path,
                "first": first, "second": second,
            });
            writeln!(out, "{line}")
        }
        (Difference::Changed { entity, component, path, first, second }, Format::Text) => {
            let shown = |value: &Option<Value>| value.as_ref().map_or("(none)".to_owned(), Value::to_string);
            let field = if path.is_empty() { component.clone() } else { format!("{component} {path}") };
            writeln!(out, "~ {entity} {field}: {} -> {}", shown(first), shown(second))
        }
    }
}
