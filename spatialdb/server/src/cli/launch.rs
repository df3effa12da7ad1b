//! `spatialdb launch`: runs a world until it is told to stop.

use std::{
    collections::BTreeSet,
    env,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};

use clap::Args;
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    CliError,
    signals::{Parent, Signals},
    start::{Asked, Start},
};
use crate::{
    auth::Tokens,
    config::{ConfigError, PARTITIONS_MAX, WorkerConfig, WorldConfig},
    server::{self, DataDir, DataError, LaunchError, LaunchOptions},
    supervisor::{self, ServerLink, Supervisor, SupervisorLink, SupervisorOptions},
    telemetry::{self, LogFormat},
};

const EXAMPLES: &str = "\
Prints `ready ADDRESS` on stdout once the world answers; everything else goes to stderr. SIGTERM or ctrl-c stops
the workers, lets what was accepted finish, and exits with 0; a second one exits at once.

Settings come from the defaults, then the file, then the environment (SPATIALDB_LISTEN, SPATIALDB_PARTITIONS,
SPATIALDB_PUBLISH_INTERVAL_MAX, SPATIALDB_LIMITS_<NAME>), then flags; later ones win.

Examples:
  The world of this folder, as its world.toml says; `spatialdb new` makes one:
    spatialdb launch
  A world with its workers:
    spatialdb launch snapshots/earth.snapshot --config snapshots/earth/world.toml
  The same world, and its flight worker by hand, say in a debugger:
    spatialdb launch snapshots/earth.snapshot --config snapshots/earth/world.toml --without flight
  A world that a crash does not lose; after the first launch the snapshot is left out:
    spatialdb launch snapshots/earth.snapshot --data-dir earth.data
    spatialdb launch --data-dir earth.data
  The same world without workers, on any free port, with logs for machines:
    spatialdb launch snapshots/earth.snapshot --listen 127.0.0.1:0 --log-format json";

/// Run a world from a snapshot or from JSON lines, and its workers
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LaunchArgs {
    /// What to start from: NAME.snapshot or NAME.jsonl [default: what the settings name, if anything]
    #[arg(value_name = "SNAPSHOT")]
    snapshot: Option<PathBuf>,

    /// Start with nothing, whatever the settings name
    #[arg(long, conflicts_with = "snapshot")]
    empty: bool,

    /// Keep the world in this directory. Without a snapshot goes on with the world that is there [default: the world is in memory, and
    /// a crash loses it]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// The settings of the world [default: those that the data directory was launched with, if any; else world.toml of this folder, if
    /// nothing else is named]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where to serve; port 0 takes a free one [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,

    /// How many partitions, each with a thread of its own [default: one for every 20,000 entities of the snapshot, but no more
    /// than there are cores; one for each core if it has none]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=PARTITIONS_MAX as i64))]
    partitions: Option<u16>,

    /// Let other machines connect, without TLS and tokens
    #[arg(long)]
    insecure: bool,

    /// End with the process that started this one: for tests of your own
    #[arg(long)]
    ephemeral: bool,

    /// Say where the world answers as one JSON object: {"address":"127.0.0.1:7400",...}
    #[arg(long)]
    json: bool,

    /// Do not start the [[workers]] of the settings
    #[arg(long)]
    without_workers: bool,

    /// Start no worker of this type, for one that is started by hand; may be given several times
    #[arg(long, value_name = "TYPE")]
    without: Vec<String>,

    /// How logs look
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    log_format: LogFormat,

    /// What to log: a level, or a filter like info,h2=off [default: RUST_LOG, else info]
    #[arg(long = "log", value_name = "LEVEL")]
    log_level: Option<String>,
}

/// Runs the world; returns once it has stopped.
pub(super) async fn run(args: LaunchArgs) -> Result<(), CliError> {
    start_log(&args)?;
    let data = open_data(&args).await?;
    let asked = asked(&args, data.as_ref())?;
    let config = read_config(&args, &asked)?;
    let tokens = config.tokens.as_deref().map(Tokens::open).transpose();
    let tokens = tokens.map_err(|error| CliError::Tokens(error.to_string()))?.map(Arc::new);
    if let Some(reason) = server::tls::distrust_of_own_workers(&config) {
        tracing::warn!("{reason}");
    }
    let start = tokio::task::spawn_blocking({
        let (asked, config) = (asked.clone(), config.clone());
        move || asked.start(&config)
    });
    let start = start.await??;
    let mut signals = Signals::new(if args.ephemeral { Parent::Watched } else { Parent::Ignored })
        .map_err(CliError::Runtime)?;
    let shutdown = CancellationToken::new();
    let (ready, address) = oneshot::channel();
    let (to_workers, to_server) = supervisor::link(&config.workers);
    let mut world = tokio::spawn(server::launch(
        LaunchOptions {
            data,
            config_file: asked.config()?,
            ..options(&args, &start, config.clone(), tokens.clone(), to_workers)
        },
        shutdown.clone(),
        ready,
    ));

    let address = tokio::select! {
        Ok(address) = address => address,
        ended = &mut world => return finish(ended?),
        () = signals.stop_asked() => return drain(&shutdown, &mut world).await,
    };
    // It has been read.
    drop(start);
    let workers = start_workers(&args, &config, address, tokens.as_deref(), to_server)?;
    announce(&args, address, &config)?;
    let ended = tokio::select! {
        ended = &mut world => Some(ended),
        () = signals.stop_asked() => None,
    };
    // Workers first: they say goodbye to a world that still answers.
    workers.stop().await;
    match ended {
        Some(ended) => finish(ended?),
        None => drain(&shutdown, &mut world).await,
    }
}

async fn drain(
    shutdown: &CancellationToken,
    world: &mut JoinHandle<Result<(), LaunchError>>,
) -> Result<(), CliError> {
    shutdown.cancel();
    finish(world.await?)
}

fn finish(ended: Result<(), LaunchError>) -> Result<(), CliError> {
    ended.map_err(CliError::from)
}

fn start_log(args: &LaunchArgs) -> Result<(), CliError> {
    telemetry::start(args.log_format, args.log_level.as_deref()).map_err(|rule| {
        CliError::Config(ConfigError::Value {
            origin: "command line or environment".to_owned(),
            key: "--log or RUST_LOG".to_owned(),
            value: args.log_level.clone().or_else(|| env::var("RUST_LOG").ok()).unwrap_or_default(),
            rule,
        })
    })
}

/// Opens the data directory, if there is to be one.
///
/// # Errors
/// Somebody else has it, it is damaged, or it has a world already and a snapshot is named too.
async fn open_data(args: &LaunchArgs) -> Result<Option<DataDir>, CliError> {
    let Some(directory) = args.data_dir.clone() else { return Ok(None) };
    let data = tokio::task::spawn_blocking(move || DataDir::open(&directory)).await?;
    let data = data.map_err(LaunchError::from)?;
    if let Some(found) = data.found()
        && (args.snapshot.is_some() || args.empty)
    {
        let (directory, name) = (data.path().display().to_string(), found.about.name.clone());
        return Err(LaunchError::from(DataError::Exists { directory, name }).into());
    }
    Ok(Some(data))
}

/// # Errors
/// The settings that the world was launched with last are gone, and no others are named.
fn asked(args: &LaunchArgs, data: Option<&DataDir>) -> Result<Asked, CliError> {
    let world = data.and_then(DataDir::found);
    let last = world.and_then(|found| found.about.config()).filter(|_| args.config.is_none());
    if let (Some(last), Some(data)) = (last.as_ref().filter(|last| !last.is_file()), data) {
        let (last, directory) = (last.display(), data.path().display());
        let text = format!(
            "{directory} was launched with the settings in {last}, which is gone: name others by --config"
        );
        return Err(CliError::Usage(text));
    }
    Ok(Asked {
        snapshot: args.snapshot.clone(),
        config: args.config.clone().or(last),
        is_empty: args.empty,
        is_stored: world.is_some(),
    })
}

fn read_config(args: &LaunchArgs, asked: &Asked) -> Result<WorldConfig, CliError> {
    let mut config = WorldConfig::load(asked.config()?.as_deref())?;
    config.listen = args.listen.unwrap_or(config.listen);
    config.partitions = args.partitions.map(usize::from).or(config.partitions);
    leave_out(&mut config.workers, &args.without)?;
    if args.without_workers {
        config.workers.clear();
    }
    exposed(&config, args.insecure)?;
    Ok(config)
}

fn leave_out(workers: &mut Vec<WorkerConfig>, types: &[String]) -> Result<(), CliError> {
    let there: BTreeSet<String> = workers.iter().map(|worker| worker.worker_type.clone()).collect();
    if let Some(unknown) = types.iter().find(|name| !there.contains(*name)) {
        let there = Vec::from_iter(there).join(", ");
        let there =
            if there.is_empty() { "which have none".to_owned() } else { format!("which have {there}") };
        return Err(CliError::Usage(format!(
            "--without {unknown}: no such type in the [[workers]] of the settings, {there}"
        )));
    }
    workers.retain(|worker| !types.contains(&worker.worker_type));
    Ok(())
}

/// Other machines come in with tokens and TLS only.
///
/// # Errors
/// What the settings do not name.
pub(super) fn exposed(config: &WorldConfig, is_insecure: bool) -> Result<(), CliError> {
    let missing = match (config.tls.is_on(), config.tokens.is_some()) {
        (true, true) => None,
        (false, true) => Some("[tls] cert and key"),
        (true, false) => Some("[server] tokens"),
        (false, false) => Some("[tls] cert and key, and [server] tokens"),
    };
    if let Some(missing) = missing.filter(|_| !config.listen.ip().is_loopback() && !is_insecure) {
        return Err(CliError::Exposed { address: config.listen, missing });
    }
    Ok(())
}

fn options(
    args: &LaunchArgs,
    start: &Start,
    config: WorldConfig,
    tokens: Option<Arc<Tokens>>,
    workers: ServerLink,
) -> LaunchOptions {
    LaunchOptions {
        snapshot: start.snapshot.clone(),
        data: None,
        config_file: None,
        listen: config.listen,
        tokens,
        workers: Some(workers),
        seed_progress: args.log_format == LogFormat::Human && io::stderr().is_terminal(),
        config,
    }
}

fn start_workers(
    args: &LaunchArgs,
    config: &WorldConfig,
    address: SocketAddr,
    tokens: Option<&Tokens>,
    link: SupervisorLink,
) -> Result<Supervisor, CliError> {
    let sink = match args.log_format {
        LogFormat::Human => supervisor::print_lines(),
        LogFormat::Json => supervisor::log_lines(),
    };
    // With tokens the server makes those of its own workers; without, whatever its environment has is passed on.
    let passed = env::var("SPATIALDB_TOKEN").unwrap_or_default();
    let token =
        |worker: &WorkerConfig| tokens.map_or_else(|| passed.clone(), |t| t.make_own(&worker.worker_type));
    let options = SupervisorOptions {
        address: supervisor::local_address(address),
        tokens: config.workers.iter().map(|worker| (worker.worker_type.clone(), token(worker))).collect(),
        ca: config.tls.trusted().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.to_owned())),
        program: env::current_exe().map_err(CliError::Guard)?,
        sink,
        drain: link.drain(),
    };
    Supervisor::start(&config.workers, options, link).map_err(CliError::Guard)
}

// One line that a script can wait for, and for people where to look.
fn announce(args: &LaunchArgs, address: SocketAddr, config: &WorldConfig) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    if args.json {
        let line = serde_json::json!({ "address": address.to_string(), "pid": std::process::id() });
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "ready {address}")?;
    }
    out.flush()?;
    if args.log_format == LogFormat::Human && io::stderr().is_terminal() {
        let at = if address == crate::config::LISTEN_DEFAULT {
            String::new()
        } else {
            format!(" --address {address}")
        };
        let scheme = if config.tls.is_on() { "https" } else { "http" };
        let open = if config.layers.is_open() {
            "It is open, since its settings have no [[layers]]: any worker may write anything.\n"
        } else {
            ""
        };
        let kept = match &args.data_dir {
            Some(directory) => format!("It is kept in {}.\n", directory.display()),
            None => "It is in memory: a crash loses it. --data-dir DIR keeps it.\n".to_owned(),
        };
        let text = format!(
            "\nThe world is up at {address}. In another terminal:\n\
             \x20   spatialdb query{at} --limit 10      what is in it\n\
             \x20   spatialdb workers{at}               who simulates it\n\
             \x20   curl {scheme}://{address}/metrics       how it does\n\
             In a browser: {scheme}://{address}/\n\
             {open}{kept}\
             Ctrl-c stops it.\n\n"
        );
        io::stderr().lock().write_all(text.as_bytes())?;
    }
    Ok(())
}
