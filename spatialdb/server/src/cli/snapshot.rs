//! `spatialdb snapshot`: look at, check, convert and compare snapshot files.
//!
//! Responsible for: arguments, progress, what is printed, exit codes (0 fine, 1 snapshots differ, 65 a file is
//! damaged or wrong, 66 it is not there, 74 the system refuses).
//! Not responsible for: the format and the rules, which are in `spatialdb-snapshots`.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use spatialdb_schema::Schema;
use spatialdb_snapshots::{
    BlockInfo, Reader, SnapshotError, SpaceBounds, Totals, WriterOptions,
    diff::{Difference, diff},
    json::{ImportOptions, ImportStep, export, import},
    verify::verify,
};

/// Work that is done sooner shows no progress bar.
const PROGRESS_AFTER: Duration = Duration::from_secs(1);

/// What to do with snapshot files.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Say what a snapshot holds, from its header and index alone.
    #[command(after_help = "Example:\n  spatialdb snapshot inspect snapshots/earth.snapshot")]
    Inspect {
        /// The snapshot.
        file: PathBuf,
        /// Print one JSON object, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Read all of a snapshot and check every byte and value: checksums, digest, ids, counts, schema.
    ///
    /// Exits with 65 and one line that names the block, offset or field if something is wrong.
    #[command(after_help = "Example:\n  spatialdb snapshot verify snapshots/earth.snapshot")]
    Verify {
        /// The snapshot.
        file: PathBuf,
        /// Print one JSON object, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Turn a snapshot into JSON lines, or JSON lines into a snapshot.
    ///
    /// The end of each name says which: .snapshot or .jsonl. A line of JSON is one entity:
    /// {"id":"7","components":{"Position":{"x":1,"y":2},"earth.City":{"population":5}}}
    #[command(verbatim_doc_comment)]
    #[command(
        after_help = "Example:\n  spatialdb snapshot convert world.jsonl world.snapshot --schema schema/"
    )]
    Convert {
        /// The file to read: NAME.snapshot or NAME.jsonl.
        input: PathBuf,
        /// The file to write: NAME.jsonl or NAME.snapshot.
        output: PathBuf,
        /// A folder of .proto files, the world's schema; may be given again. Only for JSON lines; without it there
        /// are the built-in components.
        #[arg(long, value_name = "DIR")]
        schema: Vec<PathBuf>,
        /// How hard to compress a snapshot: 1 is quick, 22 is small.
        #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(i32).range(1..=22))]
        level: i32,
    },
    /// Say what differs between two snapshots, by entity and field. Exits with 1 if anything does.
    #[command(after_help = "Example:\n  spatialdb snapshot diff before.snapshot after.snapshot")]
    Diff {
        /// The first snapshot.
        first: PathBuf,
        /// The second snapshot.
        second: PathBuf,
        /// Print one JSON object for each difference, then one with the counts.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command; prints an error as one line on stderr.
pub(crate) fn run(command: SnapshotCommand) -> ExitCode {
    let outcome = match command {
        SnapshotCommand::Inspect { file, json } => inspect(&file, Format::of(json)),
        SnapshotCommand::Verify { file, json } => run_verify(&file, Format::of(json)),
        SnapshotCommand::Convert { input, output, schema, level } => convert(&input, &output, &schema, level),
        SnapshotCommand::Diff { first, second, json } => run_diff(&first, &second, Format::of(json)),
    };
    outcome.unwrap_or_else(|failure| {
        // A reader that has seen enough (`| head`) is no failure to speak of.
        if failure.code != 0 {
            let _ = writeln!(io::stderr(), "error: {}", failure.message);
        }
        ExitCode::from(failure.code)
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

impl Format {
    fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// A message and the exit code that goes with it.
struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    fn of_file(path: &Path, error: &SnapshotError) -> Self {
        // These name the file themselves.
        let names_file = matches!(error, SnapshotError::Io { path: named, .. } if named == path);
        let message = if names_file { error.to_string() } else { format!("{}: {error}", path.display()) };
        Self { message, code: error.exit_code() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::BrokenPipe { 0 } else { 74 };
        Self { message: format!("cannot print: {error}"), code }
    }
}

type Outcome = Result<ExitCode, Failure>;

fn open(path: &Path) -> Result<Reader, Failure> {
    Reader::open(path).map_err(|error| Failure::of_file(path, &error))
}

// ---- inspect --------------------------------------------------------------------------------------

fn inspect(path: &Path, format: Format) -> Outcome {
    let reader = open(path)?;
    let schema = reader.schema().map_err(|error| Failure::of_file(path, &error))?;
    let mut out = io::stdout().lock();
    if format == Format::Json {
        writeln!(out, "{}", inspect_json(&reader, &schema))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (header, totals) = (reader.header(), reader.totals());
    let (packed, raw) = block_bytes(&reader);
    writeln!(out, "world            {}", header.world)?;
    writeln!(out, "format version   {}", spatialdb_snapshots::FORMAT_VERSION)?;
    writeln!(out, "digest           {}", reader.digest())?;
    writeln!(out, "schema digest    {}", header.schema_digest)?;
    writeln!(out, "entities         {}", totals.entity_count)?;
    writeln!(out, "next entity id   {}", totals.next_entity_id)?;
    writeln!(out, "file             {} bytes", reader.file_bytes())?;
    let ratio = ratio(raw, packed);
    writeln!(out, "blocks           {}, {packed} bytes of {raw} ({ratio:.1} to 1)", reader.blocks().len())?;
    for space in &header.spaces {
        let at = bounds(reader.blocks(), space.id).map_or("empty".to_owned(), |bounds| {
            let (min, max) = (bounds.min, bounds.max);
            format!("x {} .. {}  y {} .. {}  z {} .. {} m", min.x, max.x, min.y, max.y, min.z, max.z)
        });
        writeln!(out, "space            {} {}: {at}", space.id, space.name)?;
    }
    for total in &totals.components {
        let name = schema.component(total.component).map_or("(not in the schema)", |found| found.name());
        writeln!(out, "component        {} {name}: {}, {} bytes", total.component, total.count, total.bytes)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn inspect_json(reader: &Reader, schema: &Schema) -> Value {
    let (header, totals) = (reader.header(), reader.totals());
    let (packed, raw) = block_bytes(reader);
    let spaces = header.spaces.iter().map(|space| {
        let at = bounds(reader.blocks(), space.id).map(|bounds| {
            let (min, max) = (bounds.min, bounds.max);
            json!({"min": [min.x, min.y, min.z], "max": [max.x, max.y, max.z]})
        });
        json!({"id": space.id, "name": space.name, "bounds_m": at})
    });
    let spaces: Vec<Value> = spaces.collect();
    json!({
        "world": header.world,
        "format_version": spatialdb_snapshots::FORMAT_VERSION,
        "digest": reader.digest(),
        "schema_digest": header.schema_digest,
        "entities": totals.entity_count,
        "next_entity_id": totals.next_entity_id.to_string(),
        "file_bytes": reader.file_bytes(),
        "blocks": reader.blocks().len(),
        "blocks_compressed_bytes": packed,
        "blocks_raw_bytes": raw,
        "compression_ratio": ratio(raw, packed),
        "spaces": spaces,
        "components": component_counts(totals, schema),
    })
}

fn component_counts(totals: &Totals, schema: &Schema) -> Vec<Value> {
    let one = |total: &spatialdb_snapshots::ComponentTotal| {
        let name = schema.component(total.component).map(|found| found.name());
        json!({"id": total.component.0, "name": name, "count": total.count, "bytes": total.bytes})
    };
    totals.components.iter().map(one).collect()
}

fn block_bytes(reader: &Reader) -> (u64, u64) {
    reader.blocks().iter().fold((0, 0), |(packed, raw), info| {
        (packed + u64::from(info.packed_bytes), raw + u64::from(info.raw_bytes))
    })
}

fn ratio(raw: u64, packed: u64) -> f64 {
    if packed == 0 { 1.0 } else { raw as f64 / packed as f64 }
}

fn bounds(blocks: &[BlockInfo], space: u32) -> Option<SpaceBounds> {
    let in_space = blocks.iter().flat_map(|info| &info.spaces).filter(|bounds| bounds.space == space);
    in_space.copied().reduce(SpaceBounds::joined)
}

// ---- verify ---------------------------------------------------------------------------------------

fn run_verify(path: &Path, format: Format) -> Outcome {
    let reader = open(path)?;
    let mut progress = Progress::new("checking", reader.file_bytes() + block_bytes(&reader).0);
    let verified = verify(&reader, |bytes| progress.add(bytes));
    progress.end();
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

// ---- convert --------------------------------------------------------------------------------------

fn convert(input: &Path, output: &Path, schema: &[PathBuf], level: i32) -> Outcome {
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
    let mut reading = Progress::new("reading", file.metadata().map_err(io_failure)?.len());
    let mut writing: Option<Progress> = None;
    let progress = |step| match step {
        ImportStep::Read { bytes } => reading.add(bytes),
        ImportStep::Write { of } => writing.get_or_insert_with(|| reading.then("writing", of)).add(1),
    };
    let world = input.file_stem().and_then(|stem| stem.to_str()).unwrap_or("world").to_owned();
    let writer = WriterOptions { zstd_level: level, ..WriterOptions::default() };
    let options = ImportOptions { world, writer };
    let imported = import(&mut BufReader::new(file), &schema, output, options, progress);
    reading.end();
    writing.into_iter().for_each(Progress::end);
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
    let mut progress = Progress::new("writing", reader.totals().entity_count);
    let exported = export(reader, &mut BufWriter::new(file), |entities| progress.add(entities));
    progress.end();
    Ok(exported.map_err(|error| Failure::of_file(input, &error))?.fields_lost)
}

// ---- diff -----------------------------------------------------------------------------------------

fn run_diff(first: &Path, second: &Path, format: Format) -> Outcome {
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

// ---- progress -------------------------------------------------------------------------------------

/// A bar on stderr that appears once the work has taken a while, and only on a terminal.
struct Progress {
    label: &'static str,
    total: u64,
    done: u64,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    fn new(label: &'static str, total: u64) -> Self {
        Self { label, total, done: 0, started: Instant::now(), bar: None }
    }

    fn add(&mut self, amount: u64) {
        self.done += amount;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        } else if self.started.elapsed() >= PROGRESS_AFTER && io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(self.total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{msg} {wide_bar} {percent}% {eta} left");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(self.label);
            bar.set_position(self.done);
            self.bar = Some(bar);
        }
    }

    /// The bar for what comes after this; it counts the time from the start of this.
    fn then(&mut self, label: &'static str, total: u64) -> Self {
        self.bar.take().iter().for_each(ProgressBar::finish_and_clear);
        Self { label, total, done: 0, started: self.started, bar: None }
    }

    fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
