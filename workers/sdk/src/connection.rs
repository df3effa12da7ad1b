//! One connection to the server: dialling, Hello, Welcome.
//!
//! Responsible for: transport settings, the schema check, naming what went wrong.
//! Not responsible for: what comes after Welcome (`session.rs`), trying again (`worker.rs`).

use std::{path::Path, time::Duration};

use spatialdb_proto::{PROTOCOL_VERSION, error_of_status};
use spatialdb_types::{ComponentId, ErrorCode, Reason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Status, Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::{
    TlsOptions, Welcomed, WorkerError, WorkerOptions,
    v1::{self, client_message, server_message, worker_service_client::WorkerServiceClient},
};

// A frame is at most 1 MiB today; a server may be set to larger ones.
const DECODE_BYTES_MAX: usize = 8 << 20;
// Several full messages in flight each way, so that the wire never waits for a window.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
// Notices a server that vanished without closing.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// An open session: both directions of its stream.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) outgoing: mpsc::Sender<v1::ClientMessage>,
    pub(crate) incoming: Streaming<v1::ServerMessage>,
}

/// Dials, says Hello and waits for Welcome. `capacity` bounds the messages handed to the transport.
pub(crate) async fn open(
    options: WorkerOptions,
    capacity: usize,
) -> Result<(Connection, Welcomed), WorkerError> {
    let limit = options.attempt_timeout;
    let address = options.address.clone();
    tokio::time::timeout(limit, attempt(&options, capacity))
        .await
        .unwrap_or(Err(WorkerError::WelcomeTimeout { address, limit_ms: limit.as_millis() }))
}

async fn attempt(options: &WorkerOptions, capacity: usize) -> Result<(Connection, Welcomed), WorkerError> {
    let channel = dial(options).await?;
    let mut client = WorkerServiceClient::new(channel).max_decoding_message_size(DECODE_BYTES_MAX);
    let (outgoing, queue) = mpsc::channel(capacity);
    let hello = v1::ClientMessage { seq: 1, body: Some(client_message::Body::Hello(hello(options))) };
    outgoing.try_send(hello).map_err(|error| WorkerError::Protocol { detail: error.to_string() })?;
    let stream = client.attach(ReceiverStream::new(queue)).await;
    let mut incoming = stream.map_err(|status| error_of(&options.address, &status))?.into_inner();
    let first = incoming.message().await.map_err(|status| error_of(&options.address, &status))?;
    let welcomed = welcome_of(&options.address, first)?;
    check_schema(options, &welcomed)?;
    Ok((Connection { outgoing, incoming }, welcomed))
}

/// Opens a channel with the settings that every connection of a worker has.
pub(crate) async fn dial(options: &WorkerOptions) -> Result<Channel, WorkerError> {
    let address = &options.address;
    let unreachable = |error: tonic::transport::Error| WorkerError::Unreachable {
        address: address.to_owned(),
        detail: innermost(&error),
    };
    let endpoint = match &options.tls {
        None => Endpoint::from_shared(format!("http://{address}")).map_err(unreachable)?,
        Some(tls) => {
            let config = tls_config(tls)?;
            let endpoint = Endpoint::from_shared(format!("https://{address}")).map_err(unreachable)?;
            endpoint.tls_config(config).map_err(unreachable)?
        }
    };
    endpoint
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .connect()
        .await
        .map_err(unreachable)
}

fn tls_config(tls: &TlsOptions) -> Result<ClientTlsConfig, WorkerError> {
    let read = |file: &Path| {
        let unreadable = |error: std::io::Error| WorkerError::Certificate {
            file: file.to_owned(),
            detail: error.to_string(),
        };
        std::fs::read_to_string(file).map_err(unreadable)
    };
    let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(&tls.ca)?));
    match tls.cert.as_deref().zip(tls.key.as_deref()) {
        Some((cert, key)) => Ok(config.identity(Identity::from_pem(read(cert)?, read(key)?))),
        None => Ok(config),
    }
}

/// The cause that says something: "Connection refused" rather than "transport error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn hello(options: &WorkerOptions) -> v1::Hello {
    v1::Hello {
        protocol_min: PROTOCOL_VERSION,
        protocol_max: PROTOCOL_VERSION,
        features: Vec::new(),
        worker_type: options.worker_type.clone(),
        name: options.name.clone(),
        instance: options.instance.clone(),
        token: options.token.clone(),
        resume_token: String::new(),
    }
}

fn welcome_of(address: &str, first: Option<v1::ServerMessage>) -> Result<Welcomed, WorkerError> {
    match first.and_then(|message| message.body) {
        Some(server_message::Body::Welcome(welcome)) => Ok(Welcomed::from(welcome)),
        Some(server_message::Body::Goodbye(goodbye)) => Err(WorkerError::Refused {
            code: Reason::from_name(&goodbye.reason).map(Reason::code),
            reason: goodbye.reason,
            detail: goodbye.detail,
        }),
        Some(_) => Err(WorkerError::Protocol { detail: format!("{address} answered Hello without Welcome") }),
        None => Err(WorkerError::Unreachable {
            address: address.to_owned(),
            detail: "the stream ended before Welcome".to_owned(),
        }),
    }
}

/// Whether the components this worker was compiled with are those of the world. A component whose id is known
/// under another name was renamed, which is allowed.
fn check_schema(options: &WorkerOptions, welcomed: &Welcomed) -> Result<(), WorkerError> {
    for expected in options.expected() {
        match welcomed.components.get(expected.name) {
            Some(id) if *id == expected.id => {}
            Some(id) => {
                return Err(WorkerError::ComponentIdDiffers {
                    name: expected.name,
                    ours: expected.id,
                    theirs: *id,
                });
            }
            None => check_renamed(expected.id, expected.name, welcomed)?,
        }
    }
    Ok(())
}

fn check_renamed(component: ComponentId, name: &'static str, welcomed: &Welcomed) -> Result<(), WorkerError> {
    let renamed = welcomed.components.iter().find(|(_, id)| **id == component);
    let Some((theirs, _)) = renamed else { return Err(WorkerError::ComponentMissing { component, name }) };
    tracing::warn!(component = %component, ours = name, theirs = %theirs, "a component was renamed in the world");
    Ok(())
}

/// What a gRPC status means for a worker.
pub(crate) fn error_of(address: &str, status: &Status) -> WorkerError {
    if let Some(error) = error_of_status(status) {
        let (reason, detail) = (error.reason, error.detail);
        if reason == Reason::SessionReplaced {
            return WorkerError::Replaced { detail };
        }
        return WorkerError::Refused { code: Some(reason.code()), reason: reason.name().to_owned(), detail };
    }
    let code = match status.code() {
        // Not a spatialdb server, or one of another time.
        Code::InvalidArgument | Code::Unimplemented => ErrorCode::Invalid,
        Code::Unauthenticated => ErrorCode::Unauthenticated,
        Code::PermissionDenied => ErrorCode::Forbidden,
        _ => {
            let detail = format!("{:?}: {}", status.code(), status.message());
            return WorkerError::Unreachable { address: address.to_owned(), detail };
        }
    };
    let (reason, detail) = (format!("{:?}", status.code()), status.message().to_owned());
    WorkerError::Refused { code: Some(code), reason, detail }
}

#[cfg(test)]
mod tests {
    use spatialdb_proto::status_of;
    use spatialdb_types::Error;

    use super::*;
    use crate::v1::Metadata;

    fn world_with(components: &[(&str, u32)]) -> Welcomed {
        let components = components.iter().map(|(name, id)| ((*name).to_owned(), ComponentId(*id))).collect();
        Welcomed { components, ..Default::default() }
    }

    #[test]
    fn components_are_checked_by_name_and_id() {
        let options = WorkerOptions::new("a:1", "t").expect::<Metadata>();
        let check = |components: &[_]| check_schema(&options, &world_with(components));
        assert!(check(&[("spatialdb.v1.Metadata", 2)]).is_ok());
        assert!(check(&[("spatialdb.v1.Description", 2)]).is_ok(), "renamed");
        let differs = check(&[("spatialdb.v1.Metadata", 3)]).expect_err("another id").to_string();
        assert_eq!(differs, "component spatialdb.v1.Metadata has id 2 in this worker and id 3 in the world");
        let missing = check(&[]).expect_err("missing").to_string();
        assert_eq!(missing, "the world has no component spatialdb.v1.Metadata (id 2)");
    }

    #[test]
    fn errors_that_connecting_again_cannot_help_are_final() {
        let of = |reason| error_of("a:1", &status_of(&Error::new(reason, "x")));
        assert!(matches!(of(Reason::SessionReplaced), WorkerError::Replaced { .. }));
        assert!(of(Reason::SessionReplaced).is_final());
        assert!(of(Reason::NameInvalid).is_final());
        assert!(!of(Reason::Draining).is_final());
        assert!(!of(Reason::LimitReached).is_final());
        assert!(error_of("a:1", &Status::unauthenticated("who?")).is_final());
        assert!(!error_of("a:1", &Status::unavailable("gone")).is_final());
    }
}
