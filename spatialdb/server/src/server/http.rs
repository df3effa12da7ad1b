//! One port: gRPC services, health, reflection, and plain `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use spatialdb_proto::v1::worker_service_server::WorkerServiceServer;
use spatialdb_proto::v1::world_service_server::WorldServiceServer;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::{Error, Server};

use super::edge::Edge;
use super::metrics;
use super::session::Workers;
use super::tools::Tools;

/// Room for what is under way on one stream and one connection: at these rates the default 64 KiB would stall.
///
/// The connection's is far larger on purpose. The HTTP/2 library ends a connection whose small data frames, not yet
/// read, weigh more than half of its window; a stream of small messages must fill its own window, and so be held
/// back, before it gets there. About 1 to 40 does it.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// How often a silent connection is asked whether it is there, and how long it may take to answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves until `stop` is cancelled.
pub(super) async fn serve(
    edge: Arc<Edge>,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), Error> {
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter.set_serving::<WorkerServiceServer<Workers>>().await;
    health_reporter.set_serving::<WorldServiceServer<Tools>>().await;
    let message_bytes_max = edge.limits.message_bytes_max as usize;
    let workers = WorkerServiceServer::new(Workers { edge: edge.clone() })
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(usize::MAX);
    let world = WorldServiceServer::new(Tools { edge: edge.clone() })
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(usize::MAX);
    let metrics = Router::new().route(
        "/metrics",
        get({
            let edge = edge.clone();
            move || async move { metrics::render(&edge) }
        }),
    );
    let mut routes = Routes::from(metrics).add_service(workers).add_service(world).add_service(health);
    // The world's own schema too, so that a stranger's tool prints fields. It carries our services' files.
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(spatialdb_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(edge.schema.descriptor_set())
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => routes = routes.add_service(v1).add_service(v1alpha),
        (Err(error), _) | (_, Err(error)) => tracing::warn!(%error, "reflection is not served"),
    }
    let incoming = TcpListenerStream::new(listener);
    Server::builder()
        .accept_http1(true)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_routes(routes)
        .serve_with_incoming_shutdown(tokio_stream::StreamExt::map(incoming, no_delay), stop.cancelled())
        .await
}

/// Answers must not wait for the acknowledgement of earlier ones.
fn no_delay(stream: std::io::Result<tokio::net::TcpStream>) -> std::io::Result<tokio::net::TcpStream> {
    stream.inspect(|stream| {
        // A connection that cannot be told stays as it is: slower, not wrong.
        let _ = stream.set_nodelay(true);
    })
}
