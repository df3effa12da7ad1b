//! One port: gRPC services, health, reflection, and plain `/metrics`.

mod admission;
mod connections;
mod cors;
mod doors;
mod gather;
mod host;
mod page;
mod reflection;
mod refusals;
mod unadmitted;
mod unreadable;

use std::sync::Arc;
use std::time::Duration;

use axum::middleware;
use axum::routing::get;
use spatialdb_proto::server::worker_service_server::WorkerServiceServer;
use spatialdb_proto::v1::admin_service_server::AdminServiceServer;
use spatialdb_proto::v1::snapshot_service_server::SnapshotServiceServer;
use spatialdb_proto::v1::world_service_server::WorldServiceServer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::{Error, Server};
use tonic_web::GrpcWebLayer;

pub(super) use self::admission::Admission;
pub(super) use self::doors::Doors;
pub(super) use self::host::Hosts;
use super::admin::Admin;
use super::edge::Edge;
use super::metrics;
use super::session::Workers;
use super::snapshots::Snapshots;
use super::tools::Tools;

/// Room for what is under way on one stream and one connection: at these rates the default 64 KiB would stall.
///
/// The connection's is far larger on purpose. The HTTP/2 library ends a connection whose small data frames, not yet
/// read, weigh more than half of its window; a stream of small messages must fill its own window, and so be held
/// back, before it gets there. About 1 to 40 does it.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// Calls at once on one connection.
const STREAMS_MAX: u32 = 1024;

/// How often a silent connection is asked whether it is there, and how long it may take to answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves until `stop` is cancelled.
pub(super) async fn serve(
    edge: Arc<Edge>,
    doors: Doors,
    tls: Option<TlsAcceptor>,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), Error> {
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter.set_serving::<WorkerServiceServer<Workers>>().await;
    health_reporter.set_serving::<WorldServiceServer<Tools>>().await;
    health_reporter.set_serving::<AdminServiceServer<Admin>>().await;
    health_reporter.set_serving::<SnapshotServiceServer<Snapshots>>().await;
    let limits = edge.limits.clone();
    let message_bytes_max = edge.limits.message_bytes_max as usize;
    let workers = WorkerServiceServer::new(Workers::new(edge.clone()))
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(usize::MAX);
    let world = WorldServiceServer::new(Tools { edge: edge.clone() })
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(usize::MAX);
    let admin = AdminServiceServer::new(Admin::new(edge.clone()))
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(usize::MAX);
    let snapshots = SnapshotServiceServer::new(Snapshots::new(edge.clone()));
    // What a browser's gRPC-Web may call; anything else over HTTP/1.1 would be refused by that layer.
    let services = Routes::new(workers).add_service(world).add_service(admin).add_service(snapshots);
    let services = services.add_service(health).into_axum_router();
    let router = services
        .merge(reflection::routes(edge.clone()))
        .layer(GrpcWebLayer::new())
        .route("/metrics", get(move || async move { metrics::render(&edge) }))
        .merge(page::routes())
        .fallback(page::not_found)
        .layer(middleware::from_fn_with_state(Arc::new(doors), doors::pass));
    let server = Server::builder()
        .accept_http1(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(Some(STREAMS_MAX))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_routes(Routes::from(router));
    let plain = connections::accept(listener, &limits);
    match tls {
        None => server.serve_with_incoming_shutdown(gather::writes(plain), stop.cancelled()).await,
        Some(tls) => {
            // Around TLS: its handshake and its alerts do not wait.
            let secure = gather::writes(connections::encrypt(plain, tls));
            server.serve_with_incoming_shutdown(secure, stop.cancelled()).await
        }
    }
}
