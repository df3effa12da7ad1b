//! The connection of a client command to a running world.

use std::{io, path::PathBuf, time::Duration};

use clap::Args;
use spatialdb_proto::v1::{
    GetSchemaRequest, admin_service_client::AdminServiceClient,
    snapshot_service_client::SnapshotServiceClient, worker_service_client::WorkerServiceClient,
    world_service_client::WorldServiceClient,
};
use spatialdb_schema::Schema;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::{CliError, error::deepest_cause};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

// A page is bounded by the server; this only has to be above it.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

// As large as the server lets frames be set.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// Which world to ask, and how to print.
#[derive(Clone, Debug, Args)]
pub(super) struct ClientArgs {
    /// Where the world serves
    #[arg(long, env = "SPATIALDB_ADDRESS", default_value = "127.0.0.1:7400", value_name = "HOST:PORT")]
    pub(super) address: String,

    /// What lets you in, where a server wants it
    #[arg(long, env = "SPATIALDB_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(super) token: Option<String>,

    /// Connect with TLS, and trust the certificates in this file
    #[arg(long, env = "SPATIALDB_CA", value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Print one JSON object a line, ids as strings
    #[arg(long)]
    pub(super) json: bool,
}

/// A world to ask.
pub(super) struct Client {
    address: String,
    channel: Channel,
    bearer: Bearer,
    /// The calls.
    pub(super) world: WorldServiceClient<InterceptedService<Channel, Bearer>>,
    /// Those about who owns what.
    pub(super) admin: AdminServiceClient<InterceptedService<Channel, Bearer>>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`CliError::Connect`].
    pub(super) async fn connect(args: &ClientArgs) -> Result<Self, CliError> {
        let channel = Self::channel(args).await?;
        let bearer = Bearer::new(args.token.as_deref())?;
        let world = WorldServiceClient::with_interceptor(channel.clone(), bearer.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let admin = AdminServiceClient::with_interceptor(channel.clone(), bearer.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { address: args.address.clone(), channel, bearer, world, admin })
    }

    /// The calls for sessions, on the same connection.
    pub(super) fn sessions(&self) -> WorkerServiceClient<InterceptedService<Channel, Bearer>> {
        WorkerServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
            .max_decoding_message_size(FRAME_BYTES_MAX)
    }

    /// The calls for snapshots, on the same connection.
    pub(super) fn snapshots(&self) -> SnapshotServiceClient<InterceptedService<Channel, Bearer>> {
        SnapshotServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The bare connection.
    ///
    /// # Errors
    /// [`CliError::Connect`].
    pub(super) async fn channel(args: &ClientArgs) -> Result<Channel, CliError> {
        let address = args.address.trim_start_matches("https://").trim_start_matches("http://").to_owned();
        let refused = |error: tonic::transport::Error| CliError::Connect {
            address: address.clone(),
            cause: deepest_cause(&error),
        };
        let scheme = if args.ca.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map_err(refused)?;
        if let Some(ca) = &args.ca {
            let unreadable = |source| CliError::Certificate { file: ca.clone(), source };
            let pem = std::fs::read_to_string(ca).map_err(unreadable)?;
            if !pem.contains("-----BEGIN CERTIFICATE-----") {
                let reason = "there is no CERTIFICATE in PEM form in it";
                return Err(unreadable(io::Error::new(io::ErrorKind::InvalidData, reason)));
            }
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
            endpoint = endpoint.tls_config(tls).map_err(refused)?;
        }
        endpoint.connect_timeout(CONNECT_TIMEOUT).connect().await.map_err(refused)
    }

    /// Where the world serves.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The schema of the world, to read component values with.
    ///
    /// # Errors
    /// The call fails, or what it brings is no schema.
    pub(super) async fn schema(&mut self) -> Result<Schema, CliError> {
        let answer = self.world.get_schema(GetSchemaRequest {}).await;
        let answer = answer.map_err(|status| self.failed(&status))?.into_inner();
        Schema::from_descriptor_set(&answer.descriptor_set)
            .map_err(|error| CliError::Schema { address: self.address.clone(), cause: error.to_string() })
    }

    /// The error of a call that failed.
    pub(super) fn failed(&self, status: &Status) -> CliError {
        CliError::of_status(&self.address, status)
    }
}

/// Puts the token into each call.
#[derive(Clone)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    fn new(token: Option<&str>) -> Result<Self, CliError> {
        let value = |token: &str| {
            let mut value: MetadataValue<Ascii> =
                format!("Bearer {token}").parse().map_err(|_| CliError::TokenMalformed)?;
            value.set_sensitive(true);
            Ok(value)
        };
        token.filter(|token| !token.is_empty()).map(value).transpose().map(Self)
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}
