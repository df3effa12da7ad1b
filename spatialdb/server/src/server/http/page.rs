//! The page at `/`: the world as dots. Its files are built in `spatialdb/web`, and are part of this program.

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tonic::Status;

/// Nothing from elsewhere, and nobody else's frame around it.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Path, type and content of each file.
const FILES: [(&str, &str, &str); 2] = [
    ("/", "text/html; charset=utf-8", include_str!("../../../../web/src/index.html")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("../../../../web/dist/page.js")),
];

/// The routes of the page.
pub(super) fn routes() -> Router {
    FILES.iter().fold(Router::new(), |router, &(path, kind, content)| {
        let headers = [
            (header::CONTENT_TYPE, kind),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::CACHE_CONTROL, "no-cache"),
        ];
        router.route(path, get(move || async move { (headers, content) }))
    })
}

/// What there is not, in the words of who asks.
pub(super) async fn not_found(request: Request) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("application/grpc")) {
        return Status::unimplemented(format!("there is no {}", request.uri().path())).into_http();
    }
    let text = format!("there is no {}; the page of the world is at /\n", request.uri().path());
    (StatusCode::NOT_FOUND, text).into_response()
}
