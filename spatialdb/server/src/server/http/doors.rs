//! The doors: what every call must pass before anything else sees it.
//!
//! One table says what each way in needs. Whatever is not in it needs a token with the right to look.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use spatialdb_proto::status_of;
use spatialdb_types::{Error, ErrorCode, Reason};

use super::admission::Admission;
use super::cors;
use super::host::Hosts;
use super::unreadable;
use crate::auth::{Kind, Principal, Right, Verifier};
use crate::server::access::certificate_missing;

/// What the doors go by.
pub(in crate::server) struct Doors {
    pub(in crate::server) hosts: Hosts,
    /// `None`: everybody may do everything.
    pub(in crate::server) verifier: Option<Arc<dyn Verifier>>,
    /// Workers must show a certificate too.
    pub(in crate::server) wants_certificates: bool,
}

/// What a way in needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Anybody: nothing of the world shows.
    Nothing,
    /// A token, in the call or in its Hello.
    Hello,
    /// The key of the session is what lets in.
    SessionKey,
    Token(Right),
}

/// Longest path first where one begins another.
const WAYS: [(&str, Need); 14] = [
    ("/grpc.health.v1.Health/", Need::Nothing),
    ("/spatialdb.v1.WorkerService/Attach", Need::Hello),
    ("/spatialdb.v1.WorkerService/Open", Need::Hello),
    ("/spatialdb.v1.WorkerService/Frames", Need::SessionKey),
    ("/spatialdb.v1.WorkerService/Send", Need::SessionKey),
    ("/spatialdb.v1.WorldService/ApplySchema", Need::Token(Right::Edit)),
    ("/spatialdb.v1.WorldService/SetFlags", Need::Token(Right::Edit)),
    ("/spatialdb.v1.AdminService/SplitRegion", Need::Token(Right::Edit)),
    ("/spatialdb.v1.AdminService/MergeRegions", Need::Token(Right::Edit)),
    ("/spatialdb.v1.AdminService/PinRegion", Need::Token(Right::Edit)),
    ("/spatialdb.v1.AdminService/UnpinRegion", Need::Token(Right::Edit)),
    ("/spatialdb.v1.AdminService/DrainWorker", Need::Token(Right::Edit)),
    ("/spatialdb.v1.SnapshotService/TakeSnapshot", Need::Token(Right::Edit)),
    ("/page.js", Need::Nothing),
];

/// The page itself.
const PAGE: &str = "/";

/// Lets a call in, or says why not.
pub(super) async fn pass(State(doors): State<Arc<Doors>>, mut request: Request, next: Next) -> Response {
    let origin = doors.named_origin(request.headers());
    // Whether a page may ask is not a question of tokens: browsers ask it without.
    let is_preflight = origin.is_some() && cors::is_preflight(request.method(), request.headers());
    let passed = if is_preflight {
        doors.hosts.check(request.uri(), request.headers())
    } else {
        doors.check(&mut request)
    };
    let admission = Admission::of(request.extensions());
    let mut response = match passed {
        Ok(()) if is_preflight => cors::preflight(),
        Ok(()) => next.run(request.map(|body| admission.listen(body))).await,
        Err(error) => {
            admission.refuse(&error);
            refused(request.headers(), &error)
        }
    };
    unreadable::explain(&mut response);
    if let Some(origin) = origin {
        cors::allow(&mut response, origin);
    }
    response
}

impl Doors {
    fn check(&self, request: &mut Request) -> Result<(), Error> {
        self.hosts.check(request.uri(), request.headers())?;
        let need = need_of(request.uri().path());
        let principal = self.principal(need, request.headers())?;
        if let Need::Token(right) = need
            && let Some(principal) = &principal
        {
            principal.check(right)?;
            // Without tokens anybody may look; what changes the world is for those who are known.
            let is_worker = principal.kind == Kind::Worker && !principal.is_own;
            let needs_certificate = is_worker || (self.verifier.is_none() && right == Right::Edit);
            if self.wants_certificates
                && needs_certificate
                && !Admission::has_certificate(request.extensions())
            {
                return Err(certificate_missing());
            }
        }
        if let Some(principal) = principal {
            Admission::of(request.extensions()).grant();
            request.extensions_mut().insert(principal);
        }
        Ok(())
    }

    /// The origin of the page that calls, if the settings name it.
    fn named_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.hosts.is_named_origin(origin.to_str().ok()?).then(|| origin.clone())
    }

    fn principal(&self, need: Need, headers: &HeaderMap) -> Result<Option<Arc<Principal>>, Error> {
        let Some(verifier) = &self.verifier else { return Ok(Some(Principal::anybody())) };
        match (bearer(headers), need) {
            (_, Need::Nothing | Need::SessionKey) | (None, Need::Hello) => Ok(None),
            (Some(token), Need::Hello | Need::Token(_)) => verifier.verify(token).map(Some),
            (None, Need::Token(_)) => Err(Error::new(
                Reason::TokenMissing,
                "this server wants a token: authorization: Bearer TOKEN",
            )),
        }
    }
}

fn need_of(path: &str) -> Need {
    if path == PAGE {
        return Need::Nothing;
    }
    let found = WAYS.iter().find(|(way, _)| path.starts_with(way));
    found.map_or(Need::Token(Right::Query), |(_, need)| *need)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// In the words of who asks: a gRPC status, or plain text.
fn refused(headers: &HeaderMap, error: &Error) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("application/grpc")) {
        return status_of(error).into_http();
    }
    let code = match error.reason.code() {
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        _ => StatusCode::FORBIDDEN,
    };
    (code, format!("{error}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_table_does_not_name_needs_a_token() {
        assert_eq!(need_of("/"), Need::Nothing);
        assert_eq!(need_of("/metrics"), Need::Token(Right::Query));
        assert_eq!(need_of("/spatialdb.v1.WorldService/Query"), Need::Token(Right::Query));
        assert_eq!(need_of("/spatialdb.v1.WorldService/SetFlags"), Need::Token(Right::Edit));
        assert_eq!(need_of("/spatialdb.v1.WorkerService/AttachX"), Need::Hello);
        assert_eq!(need_of("/grpc.reflection.v1.ServerReflection/Any"), Need::Token(Right::Query));
        assert_eq!(need_of("//page.js"), Need::Token(Right::Query));
    }
}
