//! `spatialdb snapshot convert`: snapshots from other formats, and JSON lines from any of them.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use spatialdb_schema::Schema;
use spatialdb_snapshots::{
    ImportOptions, ImportStep, Imported, Reader, SnapshotError, WriterOptions,
    foreign::{MapError, MapFile, import_csv, import_geojson, import_spatialos, import_spatialos_json},
    json,
};

use super::{Failure, Outcome, format::InputFormat, open, progress};

const EXAMPLES: &str = "\
A mapping says which column or property goes to which field; docs/formats/mapping.md has all of it:
  [position]
  longitude = \"lon\"                             # degrees, put on the map as the earth world does
  latitude = \"lat\"
  z = { column = \"feet\", scale = 0.3048 }
  [components.Metadata]
  type = { constant = \"airport\" }
  name = \"name\"

Exits with 65 if a row is wrong and names line, column and reason; with 78 if the mapping is.

Examples:
  JSON lines with the components of a folder:
    spatialdb snapshot convert world.jsonl world.snapshot --schema schema
  A table:
    spatialdb snapshot convert airports.csv airports.snapshot --schema schema --map airports.toml
  A snapshot of SpatialOS, by its mapping of component numbers to ours:
    spatialdb snapshot convert old.snapshot new.snapshot --schema schema --map components.toml";

/// Turn JSON lines, CSV, GeoJSON or a snapshot of SpatialOS into a snapshot, and any of them into JSON lines.
///
/// The end of each name says which. A line of JSON is one entity; fields at their default may be left out, and the id:
/// {"id":"7","components":{"Position":{"x":1,"y":2},"earth.City":{"population":5}}}
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = EXAMPLES)]
pub(crate) struct ConvertArgs {
    /// The file to read: .snapshot, .jsonl, .csv, .tsv, .geojson or .json.
    input: PathBuf,
    /// The file to write: .snapshot or .jsonl.
    output: PathBuf,
    /// A folder of .proto files, the world's schema; may be given again. Without it there are the built-in
    /// components. A snapshot carries its own.
    #[arg(long, value_name = "DIR")]
    schema: Vec<PathBuf>,
    /// What of a table, of features, or of SpatialOS goes where.
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// The format of the input, where its name does not tell.
    #[arg(long, value_enum, value_name = "FORMAT")]
    from: Option<InputFormat>,
    /// How hard to compress a snapshot: 1 is quick, 22 is small.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// Print one JSON object, for scripts.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ConvertArgs) -> Outcome {
    let end = args.output.extension().and_then(|end| end.to_str()).unwrap_or_default();
    let format = match args.from {
        Some(format) => Some(format),
        None => InputFormat::of(&args.input).map_err(|source| unreadable(&args.input, source))?,
    };
    match (format, end) {
        (Some(InputFormat::Snapshot), "jsonl") => {
            if !args.schema.is_empty() || args.map.is_some() {
                return Err(usage("--schema and --map are not for a snapshot, which carries its schema"));
            }
            snapshot_to_lines(args)
        }
        (Some(InputFormat::Jsonl), _) if args.map.is_some() => {
            Err(usage("--map is not for JSON lines, which name their fields"))
        }
        (Some(format), "snapshot") if format != InputFormat::Snapshot => {
            let imported = to_snapshot(args, format, &args.output)?;
            told(args, &imported)
        }
        (Some(format), "jsonl") if format != InputFormat::Jsonl => through_snapshot(args, format),
        _ => {
            let (input, output) = (args.input.display(), args.output.display());
            Err(usage(&format!(
                "cannot convert {input} to {output}: .jsonl, .csv, .geojson, .json and snapshots of SpatialOS become \
                 .snapshot, and all but .jsonl become .jsonl; --from says what a file of another name is"
            )))
        }
    }
}

fn usage(message: &str) -> Failure {
    Failure { message: message.to_owned(), code: 2 }
}

fn unreadable(path: &Path, source: io::Error) -> Failure {
    Failure::of_file(path, &SnapshotError::Io { action: "open", path: path.into(), source })
}

/// Reads any format but a snapshot and writes a snapshot.
fn to_snapshot(args: &ConvertArgs, format: InputFormat, output: &Path) -> Result<Imported, Failure> {
    let input = &args.input;
    let schema = if args.schema.is_empty() { Ok(Schema::built_in()) } else { Schema::compile(&args.schema) };
    let schema = schema.map_err(|error| Failure { message: format!("--schema: {error}"), code: 65 })?;
    let map_failure = |error: MapError| Failure { message: error.to_string(), code: 78 };
    let map = args.map.as_ref().map(MapFile::read).transpose().map_err(map_failure)?;
    let needed = || map.as_ref().ok_or_else(|| map_failure(MapError::Missing));
    let file = File::open(input).map_err(|source| unreadable(input, source))?;
    let length = file.metadata().map_err(|source| unreadable(input, source))?.len();
    let reading = progress("reading", length);
    let mut writing = None;
    let step = |step| match step {
        ImportStep::Read { bytes } => reading.add(bytes),
        ImportStep::Write { of } => writing.get_or_insert_with(|| reading.then("writing", of)).add(1),
    };
    let world = input.file_stem().and_then(|stem| stem.to_str()).unwrap_or("world").to_owned();
    let options =
        ImportOptions { world, writer: WriterOptions { zstd_level: args.level, ..WriterOptions::default() } };
    let imported = match format {
        InputFormat::Csv => import_csv(file, needed()?, &schema, output, options, step),
        InputFormat::Geojson => import_geojson(file, needed()?, &schema, output, options, step),
        InputFormat::Spatialos => import_spatialos(file, map.as_ref(), &schema, output, options, step),
        InputFormat::SpatialosJson => {
            import_spatialos_json(file, map.as_ref(), &schema, output, options, step)
        }
        InputFormat::Jsonl | InputFormat::Snapshot => {
            json::import(&mut BufReader::new(file), &schema, output, options, step)
        }
    };
    drop((reading, writing));
    imported.map_err(|error| match &error {
        SnapshotError::Unwritable { .. } => Failure::of_file(&args.output, &error),
        // It names its file itself.
        SnapshotError::Map(error) => Failure { message: error.to_string(), code: 78 },
        SnapshotError::Io { action: "read", .. } => Failure::of_file(input, &error),
        SnapshotError::Io { .. } => Failure { message: error.to_string(), code: error.exit_code() },
        _ => Failure::of_file(input, &error),
    })
}

/// Reads any format but JSON lines and writes JSON lines.
fn through_snapshot(args: &ConvertArgs, format: InputFormat) -> Outcome {
    let failed = |source| {
        Failure::of_file(
            &args.output,
            &SnapshotError::Io { action: "create", path: args.output.clone(), source },
        )
    };
    let folder = tempfile::tempdir().map_err(failed)?;
    let between = folder.path().join("between.snapshot");
    let imported = to_snapshot(args, format, &between)?;
    write_whole(&open(&between)?, &args.input, &args.output)?;
    told(args, &imported)
}

/// Says what was made.
fn told(args: &ConvertArgs, imported: &Imported) -> Outcome {
    let mut out = io::stdout().lock();
    let summary = &imported.summary;
    let entities = summary.totals.entity_count;
    let is_snapshot = args.output.extension().is_some_and(|end| end == "snapshot");
    if args.json {
        let left_out: serde_json::Map<_, _> =
            imported.left_out.iter().map(|out| (out.name.clone(), out.count.into())).collect();
        let mut line = serde_json::json!({
            "entities": entities, "ids_given": imported.ids_given, "left_out": left_out,
        });
        if is_snapshot {
            line["bytes"] = summary.file_bytes.into();
            line["digest"] = summary.digest.clone().into();
        }
        writeln!(out, "{line}")?;
        return Ok(ExitCode::SUCCESS);
    }
    if is_snapshot {
        let (bytes, digest) = (summary.file_bytes, &summary.digest);
        writeln!(out, "{}: {entities} entities, {bytes} bytes, digest {digest}", args.output.display())?;
    } else {
        writeln!(out, "{}: {entities} entities", args.output.display())?;
    }
    if imported.ids_given > 0 {
        writeln!(out, "{} entities had no id and were given one", imported.ids_given)?;
    }
    for out_of in &imported.left_out {
        writeln!(out, "left out: component {} of {} entities", out_of.name, out_of.count)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn snapshot_to_lines(args: &ConvertArgs) -> Outcome {
    let reader = open(&args.input)?;
    let lost = write_whole(&reader, &args.input, &args.output)?;
    let mut out = io::stdout().lock();
    let entities = reader.totals().entity_count;
    if args.json {
        writeln!(out, "{}", serde_json::json!({ "entities": entities, "fields_lost": lost }))?;
    } else {
        writeln!(out, "{}: {entities} entities", args.output.display())?;
    }
    if lost > 0 {
        let lost = format!("warning: {lost} fields are not in the schema, so JSON does not have them");
        writeln!(io::stderr(), "{lost}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes all lines or no file, and says how many fields JSON cannot hold.
fn write_whole(reader: &Reader, input: &Path, output: &Path) -> Result<u64, Failure> {
    let partial = output.with_extension("jsonl.partial");
    let written = write_lines(reader, input, &partial).and_then(|lost| {
        let failed = |source| SnapshotError::Io { action: "rename", path: output.into(), source };
        std::fs::rename(&partial, output).map_err(|source| Failure::of_file(output, &failed(source)))?;
        Ok(lost)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    written
}

fn write_lines(reader: &Reader, input: &Path, partial: &Path) -> Result<u64, Failure> {
    let failed = |source| SnapshotError::Io { action: "create", path: partial.into(), source };
    let file = File::create(partial).map_err(|source| Failure::of_file(partial, &failed(source)))?;
    let progress = progress("writing", reader.totals().entity_count);
    let exported = json::export(reader, &mut BufWriter::new(file), |entities| progress.add(entities));
    drop(progress);
    Ok(exported.map_err(|error| Failure::of_file(input, &error))?.fields_lost)
}
