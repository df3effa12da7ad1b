//! How a worker connects.
//!
//! Responsible for: the settings, their defaults, reading them from the environment.
//! Not responsible for: acting on them.

use std::{
    env,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use spatialdb_types::ComponentId;

use crate::{BackoffLimits, Component};

/// Where a server listens unless told otherwise.
const ADDRESS_DEFAULT: &str = "127.0.0.1:7400";

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// An environment variable is needed and not set.
    #[error("{variable} is not set: {meaning}")]
    Missing {
        /// Its name.
        variable: &'static str,
        /// What it is for.
        meaning: &'static str,
    },
    /// An environment variable is no text.
    #[error("{variable} is not valid UTF-8")]
    NotText {
        /// Its name.
        variable: &'static str,
    },
}

/// A component that the worker was compiled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) id: ComponentId,
    pub(crate) name: &'static str,
}

/// Certificates, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// Whom to trust.
    pub ca: PathBuf,
    /// What to show, where the server wants it of workers.
    pub cert: Option<PathBuf>,
    /// The key of `cert`.
    pub key: Option<PathBuf>,
}

/// How a worker connects, and its bounds.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Where the server listens, as host:port.
    pub address: String,
    /// What kind of worker this is, e.g. `flight`.
    pub worker_type: String,
    /// Unique among the workers of the type; empty: the server gives one.
    pub name: String,
    /// Free text for people: host, process id, build.
    pub instance: String,
    /// Who the worker is; empty where the server asks for none.
    pub token: String,
    /// Connect with TLS.
    pub tls: Option<TlsOptions>,
    /// How long [`Worker::connect`](crate::Worker::connect) keeps trying to reach a server that is not there yet.
    pub connect_patience: Duration,
    /// How long one attempt may take, from dialling to Welcome.
    pub attempt_timeout: Duration,
    /// Delays between attempts.
    pub backoff: BackoffLimits,
    /// Where the jitter of the delays comes from.
    pub backoff_seed: u64,
    /// Messages handed to the transport and not yet written to the network.
    pub outgoing_messages_max: usize,
    /// Messages sent and not yet decided by the server.
    pub in_flight_messages_max: usize,
    /// Creates and id requests sent and not yet answered.
    pub unanswered_messages_max: usize,
    expected: Vec<Expected>,
}

impl WorkerOptions {
    /// The defaults, for a worker of that type.
    pub fn new(address: impl Into<String>, worker_type: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            worker_type: worker_type.into(),
            name: String::new(),
            instance: format!("pid {}", std::process::id()),
            token: String::new(),
            tls: None,
            connect_patience: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(10),
            backoff: BackoffLimits::default(),
            backoff_seed: seed_of_this_process(),
            outgoing_messages_max: 8,
            in_flight_messages_max: 64,
            unanswered_messages_max: 64,
            expected: Vec::new(),
        }
    }

    /// From `SPATIALDB_ADDRESS`, `SPATIALDB_WORKER_TYPE`, `SPATIALDB_WORKER_NAME`, `SPATIALDB_TOKEN` and `SPATIALDB_CA`,
    /// as `spatialdb launch` sets them, and `SPATIALDB_CERT` and `SPATIALDB_KEY`. All but the type may be missing.
    ///
    /// # Errors
    /// When the type is missing or a variable is no text.
    pub fn from_env() -> Result<Self, OptionsError> {
        let worker_type = variable("SPATIALDB_WORKER_TYPE")?.ok_or(OptionsError::Missing {
            variable: "SPATIALDB_WORKER_TYPE",
            meaning: "what kind of worker this is, e.g. \"flight\"",
        })?;
        Self::from_env_or(&worker_type)
    }

    /// As [`Self::from_env`], for a worker that knows its type when the environment does not say.
    ///
    /// # Errors
    /// When a variable is no text.
    pub fn from_env_or(worker_type: &str) -> Result<Self, OptionsError> {
        let address = variable("SPATIALDB_ADDRESS")?.unwrap_or_else(|| ADDRESS_DEFAULT.to_owned());
        let worker_type = variable("SPATIALDB_WORKER_TYPE")?.unwrap_or_else(|| worker_type.to_owned());
        let mut options = Self::new(address, worker_type);
        options.name = variable("SPATIALDB_WORKER_NAME")?.unwrap_or_default();
        options.token = variable("SPATIALDB_TOKEN")?.unwrap_or_default();
        options.tls = match variable("SPATIALDB_CA")? {
            Some(ca) => Some(TlsOptions {
                ca: ca.into(),
                cert: variable("SPATIALDB_CERT")?.map(PathBuf::from),
                key: variable("SPATIALDB_KEY")?.map(PathBuf::from),
            }),
            None => None,
        };
        Ok(options)
    }

    /// The worker uses `C`: connecting fails if the world does not have it under this id.
    pub fn expect<C: Component>(mut self) -> Self {
        self.expected.push(Expected { id: C::ID, name: C::NAME });
        self
    }

    pub(crate) fn expected(&self) -> &[Expected] {
        &self.expected
    }
}

/// An environment variable; empty counts as not set.
fn variable(variable: &'static str) -> Result<Option<String>, OptionsError> {
    match env::var(variable) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(OptionsError::NotText { variable }),
    }
}

/// Differs between processes that start together; only spreads their attempts to connect.
fn seed_of_this_process() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since_epoch.as_nanos() as u64 ^ (u64::from(std::process::id()) << 32)
}
