//! `spatialdb config`: look at the settings of a world before it is launched.
//!
//! Responsible for: what is checked beyond the settings themselves, and what is printed.
//! Not responsible for: reading settings (`crate::config`).

mod writers;

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde_json::json;
use spatialdb_core::authority::layers::{Layers, Strategy};
use spatialdb_schema::Schema;
use spatialdb_snapshots::Reader;

use self::writers::Writers;
use super::{
    CliError,
    launch::exposed,
    print,
    start::{Asked, Start},
};
use crate::{
    auth::TokenFile,
    config::{ConfigError, WorkerConfig, WorldConfig, settings},
    server::{self, Outline},
};

const EXAMPLES: &str = "\
Examples:
  Is all right with the world of this folder?
    spatialdb config check
  What does a world listen on, and who says so?
    spatialdb config show snapshots/earth/world.toml | grep listen";

const CHECK_EXAMPLES: &str = "\
Exits with 78 if something is wrong, and says what and where, a line each; what stands behind a setting that is wrong may
be wrong too. Otherwise it says who may write what: the layers, and the components that no layer writes.

Examples:
  The world.toml of this folder:
    spatialdb config check
  In a script:
    spatialdb config check worlds/a.toml --json";

const SHOW_EXAMPLES: &str = "\
A source is `default`, FILE:LINE, or the name of a variable; paths in a file are relative to it. null is chosen when
the world starts.

Examples:
  What is not at its default?
    spatialdb config show | grep -v default
  As JSON, one object a line:
    spatialdb config show snapshots/earth/world.toml --json";

/// Check and show the settings of a world
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check settings, schema, snapshot, and that every worker's program is there; show who may write what
    #[command(after_help = CHECK_EXAMPLES)]
    Check(FileArgs),
    /// Show every setting with its value and where it comes from
    #[command(after_help = SHOW_EXAMPLES)]
    Show(FileArgs),
}

#[derive(Debug, Args)]
struct FileArgs {
    /// The settings
    #[arg(default_value = "world.toml")]
    file: PathBuf,

    /// Print JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// Checks or shows.
pub(super) fn run(args: &ConfigArgs) -> Result<(), CliError> {
    match &args.command {
        ConfigCommand::Check(args) => check(args),
        ConfigCommand::Show(args) => show(args),
    }
}

fn show(args: &FileArgs) -> Result<(), CliError> {
    let settings = settings(Some(&args.file), |name| env::var(name).ok())?;
    let mut out = print::stdout();
    if args.json {
        for setting in &settings {
            let (key, value, source) = (&setting.key, &setting.value, setting.source.to_string());
            writeln!(out, "{}", json!({ "key": key, "value": value, "source": source }))?;
        }
        return Ok(out.flush()?);
    }
    let rows: Vec<_> = settings
        .iter()
        .map(|setting| vec![setting.key.clone(), setting.value.to_string(), setting.source.to_string()])
        .collect();
    print::table(&mut out, &["setting", "value", "source"], &rows)?;
    Ok(out.flush()?)
}

fn check(args: &FileArgs) -> Result<(), CliError> {
    let Checked { problems, writers, notes } = examine(&args.file);
    let mut out = print::stdout();
    if args.json {
        let mut line = json!({ "ok": problems.is_empty(), "problems": problems, "notes": notes });
        if let Some(writers) = &writers {
            line["writers"] = writers.json();
        }
        writeln!(out, "{line}")?;
        out.flush()?;
    }
    if !problems.is_empty() {
        return Err(CliError::Settings(problems));
    }
    if !args.json {
        writeln!(out, "{}: fine", args.file.display())?;
        if let Some(writers) = &writers {
            writers.print(&mut out)?;
        }
        for note in notes {
            writeln!(out, "note: {note}")?;
        }
        out.flush()?;
    }
    Ok(())
}

/// What there is to say of settings.
struct Checked {
    problems: Vec<String>,
    /// Unless schema or layers are wrong.
    writers: Option<Writers>,
    /// What may be meant so, and may not.
    notes: Vec<String>,
}

fn examine(file: &Path) -> Checked {
    let config = match WorldConfig::load(Some(file)) {
        Ok(config) => config,
        Err(error) => {
            return Checked { problems: vec![error.to_string()], writers: None, notes: Vec::new() };
        }
    };
    let (mut found, start) = data_problems(&config);
    let outline = match start.filter(|_| found.is_empty()) {
        None => None,
        Some(start) => match server::outline(start.snapshot.as_deref(), &config) {
            Ok(outline) => Some(outline),
            Err(error) => {
                found.push(error.to_string());
                None
            }
        },
    };
    found.extend(problems(&config));
    let mut problems: Vec<_> = found.into_iter().map(|text| format!("{}: {text}", file.display())).collect();
    let writers =
        outline.and_then(|outline| writers(&config, outline).map_err(|error| problems.push(error)).ok());
    let notes = writers.as_ref().map(|writers| notes(&config, &writers.layers)).unwrap_or_default();
    Checked { problems, writers, notes }
}

/// Workers and layers that do not find each other by themselves.
fn notes(config: &WorldConfig, layers: &Layers) -> Vec<String> {
    let mut notes = Vec::new();
    let tables = |worker_type: &str| -> Vec<&WorkerConfig> {
        config.workers.iter().filter(|table| table.worker_type == worker_type).collect()
    };
    for (_, layer) in layers.all() {
        let (name, worker_type) = (&layer.name, &layer.worker_type);
        if tables(worker_type).is_empty() {
            notes.push(format!(
                "layer {name}: no [[workers]] starts workers of type {worker_type}: they have to attach by themselves"
            ));
            continue;
        }
        let Strategy::Pinned(pins) = &layer.strategy else { continue };
        for worker in pins.iter().filter_map(|pin| pin.worker.as_deref()) {
            let starts =
                |table: &WorkerConfig| (1..=table.max).any(|n| format!("{}-{n}", table.name) == worker);
            if !tables(worker_type).into_iter().any(starts) {
                notes.push(format!(
                    "layer {name}: a box is pinned to {worker}, whom no [[workers]] starts: \
                     nobody owns it until one of that name attaches"
                ));
            }
        }
    }
    for table in &config.workers {
        let worker_type = &table.worker_type;
        if !layers.is_open() && layers.all().all(|(_, layer)| layer.worker_type != *worker_type) {
            notes.push(format!("workers of type {worker_type} serve no layer: they own nothing"));
        }
    }
    notes
}

fn writers(config: &WorldConfig, outline: Outline) -> Result<Writers, String> {
    let Outline { schema, spaces } = outline;
    match config.layers.resolve(&schema, &spaces, &config.limits) {
        Ok(layers) => Ok(Writers { layers, schema }),
        Err(error @ ConfigError::Value { .. })
            if config.snapshot.is_none() && config.schema_dirs.is_empty() =>
        {
            let why =
                "these settings name neither world.snapshot nor world.schema: only what is built in is known";
            Err(format!("{error}; {why}"))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// What is wrong with schema and snapshot, and what the world would start from.
fn data_problems(config: &WorldConfig) -> (Vec<String>, Option<Start>) {
    let mut problems = Vec::new();
    if !config.schema_dirs.is_empty()
        && let Err(error) = Schema::compile(&config.schema_dirs)
    {
        problems.push(format!("world.schema: {error}"));
    }
    let asked = Asked { snapshot: None, config: None, is_empty: false, is_stored: false };
    let start = asked.start(config).map_err(|error| error.to_string()).and_then(|start| {
        // One that was made just now is right.
        if let Some(path) = start.snapshot.as_deref().filter(|path| config.snapshot.as_deref() == Some(path))
        {
            let opened = Reader::open(path).and_then(|reader| reader.schema());
            opened.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(start)
    });
    match start {
        Ok(start) => (problems, Some(start)),
        Err(text) => {
            problems.push(format!("world.snapshot: {text}"));
            (problems, None)
        }
    }
}

/// What is wrong with what else the settings name.
fn problems(config: &WorldConfig) -> Vec<String> {
    let mut problems = Vec::new();
    let files = [
        ("server.tokens", &config.tokens),
        ("tls.cert", &config.tls.cert),
        ("tls.key", &config.tls.key),
        ("tls.ca", &config.tls.ca),
        ("tls.client_ca", &config.tls.client_ca),
    ];
    for (key, file) in files {
        if let Some(file) = file.as_ref().filter(|file| !file.is_file()) {
            problems.push(format!("{key}: {}: there is no such file", file.display()));
        }
    }
    // What is said of missing files is said once.
    if problems.is_empty() {
        problems.extend(server::check(config).err().map(|error| error.to_string()));
        let tokens = config.tokens.as_deref().map(TokenFile::read).transpose();
        problems.extend(tokens.err().map(|error| error.to_string()));
        problems.extend(server::tls::distrust_of_own_workers(config));
        problems.extend(exposed(config, false).err().map(|error| error.to_string()));
    }
    for (index, worker) in config.workers.iter().enumerate() {
        problems.extend(worker_problem(worker).map(|(key, text)| format!("workers[{index}].{key}: {text}")));
    }
    problems
}

fn worker_problem(worker: &WorkerConfig) -> Option<(&'static str, String)> {
    let folder = &worker.directory;
    // A file in the current folder has an empty one.
    if !folder.as_os_str().is_empty() && !folder.is_dir() {
        return Some(("directory", format!("{}: there is no such folder", folder.display())));
    }
    let program = worker.command.first()?;
    if program.contains('/') {
        let path = folder.join(program);
        return (!is_program(&path))
            .then(|| ("command", format!("{}: there is no such program", path.display())));
    }
    let beside = env::current_exe().ok().and_then(|own| own.parent().map(Path::to_owned));
    let inherited = env::var_os("PATH").unwrap_or_default();
    let found =
        beside.into_iter().chain(env::split_paths(&inherited)).any(|dir| is_program(&dir.join(program)));
    (!found).then(|| ("command", format!("{program}: there is no such program beside spatialdb or in PATH")))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
