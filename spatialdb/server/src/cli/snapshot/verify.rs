//! `spatialdb snapshot verify`: every byte and value of a file.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use serde_json::json;
use spatialdb_snapshots::verify::verify;

use super::inspect::{block_bytes, component_counts};
use super::{Failure, Format, Outcome, open, progress};

pub(super) fn run(path: &Path, format: Format) -> Outcome {
    let reader = open(path)?;
    let progress = progress("checking", reader.file_bytes() + block_bytes(&reader).0);
    let verified = verify(&reader, |bytes| progress.add(bytes));
    drop(progress);
    let verified = verified.map_err(|error| Failure::of_file(path, &error))?;
    let schema = reader.schema().map_err(|error| Failure::of_file(path, &error))?;
    let mut out = io::stdout().lock();
    let (entities, blocks) = (verified.totals.entity_count, verified.block_count);
    if format == Format::Json {
        let line = json!({
            "ok": true, "entities": entities, "blocks": blocks, "digest": verified.digest,
            "unknown_fields": verified.unknown_fields, "components": component_counts(&verified.totals, &schema),
        });
        writeln!(out, "{line}")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "ok: {entities} entities in {blocks} blocks, digest {}", verified.digest)?;
    for total in &verified.totals.components {
        let name = schema.component(total.component).map_or("(not in the schema)", |found| found.name());
        writeln!(out, "{name}: {}", total.count)?;
    }
    if verified.unknown_fields > 0 {
        writeln!(out, "{} fields are not in the schema; they are kept", verified.unknown_fields)?;
    }
    Ok(ExitCode::SUCCESS)
}
