//! How a command fails: what it says, and its exit code.

use std::{
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use spatialdb_query::ParseError;
use spatialdb_schema::Schema;
use spatialdb_types::ErrorCode;

use super::recording::RecordingError;
use crate::{bench::BenchError, config::ConfigError, server::LaunchError};

// As clap has it; the others are from sysexits.h.
const EX_USAGE: u8 = 2;
const EX_DATAERR: u8 = 65;
const EX_UNAVAILABLE: u8 = 69;
const EX_IOERR: u8 = 74;
const EX_CONFIG: u8 = 78;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A snapshot of the past cannot be written.
    #[error("{0}")]
    Past(String),
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Several settings are wrong.
    #[error("{}", .0.join("\nerror: "))]
    Settings(Vec<String>),
    /// What is asked for cannot be.
    #[error("{0}")]
    Usage(String),
    /// Nothing says what to launch.
    #[error(
        "nothing to launch: this folder has no world.toml; name a snapshot or a .jsonl file, or --config FILE, or \
         --empty; `spatialdb new DIR` makes a world"
    )]
    NothingToLaunch,
    /// A file cannot be read or written.
    #[error("{}: cannot {action}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others than this machine could reach the world.
    #[error(
        "--listen {address}: other machines could connect to it, and the settings do not name {missing}; listen on \
         127.0.0.1, set them, or give --insecure if the network is trusted"
    )]
    Exposed {
        /// Where it should have listened.
        address: SocketAddr,
        /// The settings that would make it safe.
        missing: &'static str,
    },
    /// A certificate to trust cannot be read.
    #[error("--ca {}: {source}", file.display())]
    Certificate {
        /// Which file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A token has characters that no token has.
    #[error("--token or SPATIALDB_TOKEN: this is no token; `spatialdb token new` makes one")]
    TokenMalformed,
    /// The token file cannot be used.
    #[error("{0}")]
    Tokens(String),
    /// No token of the file is meant.
    #[error("{}: no token, or more than one, is {token:?}; `spatialdb token list` shows their ids", file.display())]
    TokenUnknown {
        /// What was asked for.
        token: String,
        /// The token file.
        file: PathBuf,
    },
    /// The address is taken.
    #[error(
        "{address}: cannot listen there: {source}; choose another with --listen, e.g. --listen 127.0.0.1:0"
    )]
    Bind {
        /// Where it should have listened.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The world did not come up, or failed.
    #[error(transparent)]
    Launch(LaunchError),
    /// There is no world.
    #[error(
        "{address}: cannot connect: {cause}; is a world running? start one with `spatialdb launch SNAPSHOT`, \
         name another with --address, or give --ca if it has TLS"
    )]
    Connect {
        /// Where it should have been.
        address: String,
        /// Why not.
        cause: String,
    },
    /// The world, or a part of spatialdb, refused with a reason.
    #[error("{0}")]
    Refused(#[from] spatialdb_types::Error),
    /// The text of a query is refused.
    #[error("{reason}: {place}")]
    Query {
        /// The reason of the world.
        reason: spatialdb_types::Reason,
        /// What is wrong, the line, and a caret below the place.
        place: String,
    },
    /// A session ended though nobody asked.
    #[error("{address}: {cause}")]
    Lost {
        /// Which world.
        address: String,
        /// How it ended.
        cause: String,
    },
    /// The call failed on its way.
    #[error("{address}: {code}: {message}")]
    Call {
        /// Which world.
        address: String,
        /// The gRPC code.
        code: tonic::Code,
        /// What it says.
        message: String,
    },
    /// A recording cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// What was asked for has begun, and takes too long.
    #[error("{0}")]
    Unfinished(String),
    /// Other rows were refused than before.
    #[error("{rows} rows had another outcome than when it was recorded")]
    ReplayDiffers {
        /// How many.
        rows: usize,
    },
    /// The schema that the world sent cannot be used.
    #[error("{address}: its schema cannot be used: {cause}")]
    Schema {
        /// Which world.
        address: String,
        /// Why.
        cause: String,
    },
    /// Workers cannot be looked after.
    #[error("cannot start the guard of the workers: {0}")]
    Guard(#[source] io::Error),
    /// The process cannot run tasks or catch signals.
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// The world ended though nobody asked.
    #[error("the server's task failed: {0}")]
    Crashed(#[from] tokio::task::JoinError),
    /// A bench could not run, or found wrong results.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// Results cannot be written.
    #[error("cannot write the results: {0}")]
    Output(#[from] io::Error),
}

impl From<LaunchError> for CliError {
    fn from(error: LaunchError) -> Self {
        match error {
            LaunchError::Bind { address, source } => Self::Bind { address, source },
            error => Self::Launch(error),
        }
    }
}

impl CliError {
    /// The error of a call that failed.
    pub(super) fn of_status(address: &str, status: &tonic::Status) -> Self {
        match spatialdb_proto::error_of_status(status) {
            Some(error) => Self::Refused(error),
            // It came from the connection, not from a world.
            None if status.source().is_some() => {
                Self::Connect { address: address.to_owned(), cause: deepest_cause(status) }
            }
            None => Self::Call {
                address: address.to_owned(),
                code: status.code(),
                message: status.message().to_owned(),
            },
        }
    }

    /// The same error; if the world refused it because of a text, with the place in it.
    pub(super) fn with_place(self, text: Option<&str>, schema: &Schema) -> Self {
        use spatialdb_types::Reason::{ComponentUnknown, FieldUnknown, QueryInvalid, SpaceUnknown};
        let (Self::Refused(error), Some(text)) = (&self, text) else { return self };
        if !matches!(error.reason, ComponentUnknown | FieldUnknown | SpaceUnknown | QueryInvalid) {
            return self;
        }
        // The world may have other limits, and knows its spaces. Or it was not the text.
        match spatialdb_query::parse(text, schema).err().or_else(|| ParseError::told(error)) {
            Some(fault) => Self::Query { reason: fault.reason, place: fault.render(text) },
            None => self,
        }
    }

    /// Tells people why, and the shell what kind.
    pub(super) fn report(&self) -> ExitCode {
        // `spatialdb query | head` has what it wants.
        if let Self::Output(error) = self
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return ExitCode::SUCCESS;
        }
        // Nothing can be told to anyone when stderr is gone.
        let _ = writeln!(io::stderr(), "error: {self}");
        ExitCode::from(self.exit_code())
    }

    fn exit_code(&self) -> u8 {
        use spatialdb_types::Reason;
        match self {
            Self::Usage(_) | Self::NothingToLaunch => EX_USAGE,
            Self::File { .. } => EX_IOERR,
            Self::Settings(_) | Self::Config(_) | Self::Exposed { .. } | Self::Tokens(_) => EX_CONFIG,
            Self::Launch(LaunchError::Tls { .. } | LaunchError::Config(_)) => EX_CONFIG,
            Self::Launch(LaunchError::Schema(_) | LaunchError::Limit(_)) => EX_CONFIG,
            Self::Launch(LaunchError::Incompatible { .. }) => EX_DATAERR,
            Self::Certificate { .. } => EX_CONFIG,
            Self::Recording(RecordingError::Io { .. }) => EX_IOERR,
            Self::Recording(_) => EX_DATAERR,
            Self::Launch(LaunchError::Snapshot { source, .. }) => source.exit_code(),
            Self::Connect { .. } => EX_UNAVAILABLE,
            Self::Call { code: tonic::Code::Unavailable, .. } => EX_UNAVAILABLE,
            Self::Refused(error) => match (error.reason, error.reason.code()) {
                (Reason::ConfigInvalid, _) => EX_CONFIG,
                (Reason::SchemaInvalid, _) | (_, ErrorCode::DataLoss) => EX_DATAERR,
                (_, ErrorCode::Unavailable) => EX_UNAVAILABLE,
                _ => 1,
            },
            _ => 1,
        }
    }
}

/// tonic says "transport error"; what a person needs is at the bottom: "Connection refused".
pub(super) fn deepest_cause(error: &dyn Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use spatialdb_types::{Error, Reason};

    use super::*;

    #[test]
    fn a_reason_gives_the_exit_code() {
        let code = |reason| CliError::from(Error::new(reason, "x")).exit_code();
        assert_eq!(code(Reason::SnapshotCorrupt), 65);
        assert_eq!(code(Reason::SchemaInvalid), 65);
        assert_eq!(code(Reason::ConfigInvalid), 78);
        assert_eq!(code(Reason::Draining), 69);
        assert_eq!(code(Reason::EntityNotFound), 1);
    }
}
