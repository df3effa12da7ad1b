//! The running server: partition threads, sessions, services, one port.
//!
//! Responsible for: bringing a world up from a snapshot, serving it, and stopping in order.
//! Not responsible for: what a write does (`spatialdb-core`), settings and signals (`cli`, `config`).
//!
//! Data flows one way each: connection -> `session::reader` -> `partition`, at once if it is idle or by its queue and
//! thread -> `session::task` -> connection. [`Edge`] is what they all share.

mod access;
mod admin;
mod authority;
mod cuts;
mod durable;
mod edge;
pub(crate) mod flags;
mod http;
mod interests;
mod load;
mod log_budget;
mod metrics;
mod partition;
mod port;
mod roster;
mod rounds;
mod routes;
mod session;
mod snapshots;
mod supervised;
pub(crate) mod tls;
mod tools;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use spatialdb_schema::SchemaError;
use spatialdb_snapshots::SnapshotError;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::access::Access;
pub(crate) use self::durable::moment;
pub use self::durable::{DataDir, DataError};
use self::edge::Edge;
use self::http::{Doors, Hosts};
pub(crate) use self::load::{Outline, outline};
pub(crate) use self::snapshots::{entity_log, write_past};
use crate::auth::{Tokens, Verifier};
use crate::config::{ConfigError, WorldConfig};
use crate::supervisor::ServerLink;

/// How long sessions get to end politely before their connections are cut.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// What a frame needs beside its values.
const FRAME_HEADROOM_BYTES: u64 = 4 << 10;

/// What to launch.
#[derive(Debug)]
pub struct LaunchOptions {
    /// The world to start from; without one it is empty.
    pub snapshot: Option<PathBuf>,
    /// Where it is kept; `None`: in memory.
    pub data: Option<DataDir>,
    /// The file of its settings, if any.
    pub config_file: Option<PathBuf>,
    /// Its settings.
    pub config: WorldConfig,
    /// Where to serve; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Who may do what; `None`: everybody everything.
    pub(crate) tokens: Option<Arc<Tokens>>,
    /// The way to the supervisor of the world's workers, who follows what is said there; `None`: there is none.
    pub workers: Option<ServerLink>,
    /// Whether to show progress while loading.
    pub seed_progress: bool,
}

/// Why a world did not come up, or went down.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The snapshot cannot be loaded.
    #[error("{path}: {source}")]
    Snapshot {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: SnapshotError,
    },
    /// The schema folders do not compile.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The schema folders do not fit the schema that the snapshot carries.
    #[error("the schema does not fit that of {path}: {}", list.join("; "))]
    Incompatible {
        /// Which snapshot.
        path: PathBuf,
        /// Field by field.
        list: Vec<String>,
    },
    /// A limit is set to what the server cannot hold.
    #[error("{0}")]
    Limit(String),
    /// The settings do not fit the world.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A certificate or key cannot be read.
    #[error("tls.{key}: {path}: {reason}")]
    Tls {
        /// Which setting.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Loading met a bug of spatialdb.
    #[error("loading has failed: {0}")]
    Loading(tokio::task::JoinError),
    /// A thread could not be started.
    #[error("cannot start a partition thread: {0}")]
    Thread(io::Error),
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The transport failed.
    #[error("the transport failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// A partition met a bug of spatialdb and the world cannot go on.
    #[error("partition {0} has failed: its log says why")]
    Partition(u16),
}

/// Runs a world until `shutdown` is cancelled. `ready` is told the address once the world answers.
///
/// # Errors
/// Whatever keeps the world from coming up; nothing is served then. A transport or partition that fails later.
pub async fn launch(
    mut options: LaunchOptions,
    shutdown: CancellationToken,
    ready: oneshot::Sender<SocketAddr>,
) -> Result<(), LaunchError> {
    check_limits(&options.config)?;
    let hosts = Hosts { hosts: options.config.hosts.clone(), origins: options.config.origins.clone() };
    let access = Access {
        tokens: options.tokens.clone(),
        wants_certificates: options.config.tls.wants_certificates(),
    };
    let verifier = options.tokens.clone().map(|tokens| tokens as Arc<dyn Verifier>);
    let doors = Doors { hosts, verifier, wants_certificates: access.wants_certificates };
    let tls = tls::load(&options.config.tls)?;
    // Bind first: a busy port is told at once, not after a long load. Nothing is accepted before the world is whole.
    let address = options.listen;
    let listener =
        TcpListener::bind(address).await.map_err(|source| LaunchError::Bind { address, source })?;
    let address = listener.local_addr().map_err(|source| LaunchError::Bind { address, source })?;
    metrics::install();
    let mut workers = options.workers.take();
    let snapshots = options.config.snapshots.clone();
    let drains = workers.as_mut().and_then(|link| link.drains.take());
    let loaded =
        tokio::task::spawn_blocking(move || load::load(options)).await.map_err(LaunchError::Loading)??;
    let failed = CancellationToken::new();
    let (edge, threads) = partition::start(loaded, access, workers, &failed).map_err(LaunchError::Thread)?;
    tracing::info!(
        world = edge.info.name,
        entity_count = edge.entity_count(),
        partition_count = edge.partitions.len(),
        %address,
        "world is up"
    );
    if edge.log.is_none() {
        tracing::info!("the world is in memory: a crash loses it");
    }
    tell_layers(&edge);
    edge.authority.start(&edge);
    let keepers = [
        tokio::spawn(roster::keep(edge.clone())),
        tokio::spawn(access::review(edge.clone())),
        tokio::spawn(authority::keep(edge.clone())),
        tokio::spawn(supervised::drain(edge.clone(), drains)),
        tokio::spawn(supervised::tell_hanging(edge.clone())),
        tokio::spawn(snapshots::keep(edge.clone(), snapshots)),
    ];
    let stop = CancellationToken::new();
    let mut server = tokio::spawn(http::serve(edge.clone(), doors, tls, listener, stop.clone()));
    // The receiver may be gone; then nobody waits for the address.
    let _ = ready.send(address);
    tokio::select! {
        () = shutdown.cancelled() => tracing::info!("draining"),
        served = &mut server => {
            tracing::error!("the transport has failed: stopping");
            keepers.iter().for_each(JoinHandle::abort);
            threads.stop();
            return served.map_err(LaunchError::Loading)?.map_err(LaunchError::from);
        }
        () = failed.cancelled() => {
            tracing::error!("a partition has failed: stopping");
            edge.cuts.close();
        }
    }
    drain(&edge, stop).await;
    let served = tokio::time::timeout(DRAIN_TIMEOUT, server).await;
    keepers.iter().for_each(JoinHandle::abort);
    let failures = threads.stop();
    if let Some(partition) = failures {
        return Err(LaunchError::Partition(partition));
    }
    match served {
        Ok(Ok(result)) => result.map_err(LaunchError::from),
        // Connections that do not end in time are cut with the process; what they sent was decided.
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

fn tell_layers(edge: &Edge) {
    if edge.layers.is_open() {
        tracing::info!("no layers: any worker may write anything");
        return;
    }
    let patience = edge.patience.patience;
    for (_, layer) in edge.layers.all() {
        let (layer, worker_type, strategy) = (&layer.name, &layer.worker_type, layer.strategy.name());
        tracing::info!(layer, worker_type, strategy, "layer");
    }
    tracing::debug!(
        lease_ttl_ms = patience.lease_ttl / 1000,
        rest_ms = patience.rest / 1000,
        stall_after_ms = patience.stall_after.map(|us| us / 1000),
        "patience with workers"
    );
}

async fn drain(edge: &Arc<Edge>, stop: CancellationToken) {
    edge.drain_sessions();
    let deadline = tokio::time::Instant::now() + DRAIN_TIMEOUT;
    while edge.session_count() > 0 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
}

/// Whether a server could hold what the settings name.
///
/// # Errors
/// The first limit, or file of TLS, that is wrong.
pub(crate) fn check(config: &WorldConfig) -> Result<(), LaunchError> {
    check_limits(config)?;
    tls::load(&config.tls).map(|_| ())
}

fn check_limits(config: &WorldConfig) -> Result<(), LaunchError> {
    let limits = &config.limits;
    let ranges = [
        ("session_views_max", limits.session_views_max, 1, 64),
        ("message_bytes_max", limits.message_bytes_max, 4 << 10, 1 << 30),
        ("value_bytes_max", limits.value_bytes_max, 1, 64 << 20),
        // A value and what surrounds it must fit a frame.
        ("frame_bytes_max", limits.frame_bytes_max, limits.value_bytes_max + FRAME_HEADROOM_BYTES, 1 << 30),
        ("partition_queue_rows_max", limits.partition_queue_rows_max, 1, 1 << 24),
        ("sessions_max", limits.sessions_max, 1, 1 << 20),
        ("session_messages_in_flight_max", limits.session_messages_in_flight_max, 1, 1 << 20),
        ("queries_at_once_max", limits.queries_at_once_max, 1, 1 << 10),
        ("refusals_kept_max", limits.refusals_kept_max, 0, 1 << 20),
        ("constraint_depth_max", limits.constraint_depth_max, 1, 64),
        ("constraint_text_bytes_max", limits.constraint_text_bytes_max, 1, 1 << 20),
    ];
    for (name, value, min, max) in ranges {
        if !(min..=max).contains(&value) {
            return Err(LaunchError::Limit(format!("{name} = {value}: {min} to {max} can be held")));
        }
    }
    Ok(())
}
