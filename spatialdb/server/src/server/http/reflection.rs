//! Server reflection with the world's own schema, as it is now: so a stranger's tool prints fields.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tonic::service::Routes;
use tower::ServiceExt;

use crate::server::edge::Edge;

/// Answers for the schema that it was built for, and builds anew when that has changed.
struct Reflection {
    edge: Arc<Edge>,
    built: Mutex<Option<Built>>,
}

struct Built {
    digest: String,
    router: Router,
}

/// The routes of both versions of the service.
pub(super) fn routes(edge: Arc<Edge>) -> Router {
    let reflection = Arc::new(Reflection { edge, built: Mutex::new(None) });
    Router::new()
        .route("/grpc.reflection.v1.ServerReflection/{method}", any(serve))
        .route("/grpc.reflection.v1alpha.ServerReflection/{method}", any(serve))
        .with_state(reflection)
}

async fn serve(State(reflection): State<Arc<Reflection>>, request: Request) -> Response {
    match reflection.router() {
        Some(router) => router.oneshot(request).await.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

impl Reflection {
    fn router(&self) -> Option<Router> {
        let schema = self.edge.schema();
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(built) = built.as_ref().filter(|built| built.digest == schema.digest()) {
            return Some(built.router.clone());
        }
        let builder = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(spatialdb_proto::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(schema.descriptor_set())
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let router = match (builder().build_v1(), builder().build_v1alpha()) {
            (Ok(v1), Ok(v1alpha)) => Routes::new(v1).add_service(v1alpha).into_axum_router(),
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, "reflection is not served");
                return None;
            }
        };
        *built = Some(Built { digest: schema.digest().to_owned(), router: router.clone() });
        Some(router)
    }
}
