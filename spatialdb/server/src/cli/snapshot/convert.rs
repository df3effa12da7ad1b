//! `spatialdb snapshot convert`: snapshots and JSON lines, one from the other.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use spatialdb_schema::Schema;
use spatialdb_snapshots::{
    Reader, SnapshotError, WriterOptions,
    json::{ImportOptions, ImportStep, export, import},
};

use super::{Failure, Outcome, open, progress};

pub(super) fn run(input: &Path, output: &Path, schema: &[PathBuf], level: i32) -> Outcome {
    let kind = |path: &Path| path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_owned();
    match (kind(input).as_str(), kind(output).as_str()) {
        ("jsonl", "snapshot") => lines_to_snapshot(input, output, schema, level),
        ("snapshot", "jsonl") if schema.is_empty() => snapshot_to_lines(input, output),
        ("snapshot", "jsonl") => {
            let message = "--schema is only for JSON lines: a snapshot carries its schema".to_owned();
            Err(Failure { message, code: 2 })
        }
        _ => {
            let (input, output) = (input.display(), output.display());
            let message = format!(
                "cannot convert {input} to {output}: one name must end in .snapshot, the other in .jsonl"
            );
            Err(Failure { message, code: 2 })
        }
    }
}

fn lines_to_snapshot(input: &Path, output: &Path, schema: &[PathBuf], level: i32) -> Outcome {
    let schema = if schema.is_empty() { Ok(Schema::built_in()) } else { Schema::compile(schema) };
    let schema = schema.map_err(|error| Failure { message: format!("--schema: {error}"), code: 65 })?;
    let io_failure =
        |source| Failure::of_file(input, &SnapshotError::Io { action: "open", path: input.into(), source });
    let file = File::open(input).map_err(io_failure)?;
    let reading = progress("reading", file.metadata().map_err(io_failure)?.len());
    let mut writing = None;
    let step = |step| match step {
        ImportStep::Read { bytes } => reading.add(bytes),
        ImportStep::Write { of } => writing.get_or_insert_with(|| reading.then("writing", of)).add(1),
    };
    let world = input.file_stem().and_then(|stem| stem.to_str()).unwrap_or("world").to_owned();
    let writer = WriterOptions { zstd_level: level, ..WriterOptions::default() };
    let options = ImportOptions { world, writer };
    let imported = import(&mut BufReader::new(file), &schema, output, options, step);
    drop((reading, writing));
    let imported = imported.map_err(|error| match &error {
        SnapshotError::Unwritable { .. } => Failure::of_file(output, &error),
        _ => Failure::of_file(input, &error),
    })?;
    let summary = imported.summary;
    let mut out = io::stdout().lock();
    let (entities, bytes) = (summary.totals.entity_count, summary.file_bytes);
    writeln!(out, "{}: {entities} entities, {bytes} bytes, digest {}", output.display(), summary.digest)?;
    if imported.ids_given > 0 {
        writeln!(out, "{} lines had no id and were given one", imported.ids_given)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn snapshot_to_lines(input: &Path, output: &Path) -> Outcome {
    let reader = open(input)?;
    let partial = output.with_extension("jsonl.partial");
    let written = write_lines(&reader, input, &partial).and_then(|lost| {
        let failed = |source| SnapshotError::Io { action: "rename", path: output.into(), source };
        std::fs::rename(&partial, output).map_err(|source| Failure::of_file(output, &failed(source)))?;
        Ok(lost)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    let lost = written?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}: {} entities", output.display(), reader.totals().entity_count)?;
    if lost > 0 {
        let lost = format!("warning: {lost} fields are not in the schema, so JSON does not have them");
        writeln!(io::stderr(), "{lost}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes all lines and says how many fields JSON cannot hold.
fn write_lines(reader: &Reader, input: &Path, partial: &Path) -> Result<u64, Failure> {
    let failed = |source| SnapshotError::Io { action: "create", path: partial.into(), source };
    let file = File::create(partial).map_err(|source| Failure::of_file(partial, &failed(source)))?;
    let progress = progress("writing", reader.totals().entity_count);
    let exported = export(reader, &mut BufWriter::new(file), |entities| progress.add(entities));
    drop(progress);
    Ok(exported.map_err(|error| Failure::of_file(input, &error))?.fields_lost)
}
