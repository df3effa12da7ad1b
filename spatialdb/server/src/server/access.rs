//! Who may attach: tokens, certificates, and how much one principal may have.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use spatialdb_proto::status_of;
use spatialdb_types::{Error, Reason};
use tonic::Status;

use super::edge::Edge;
use super::http::Admission;
use super::port::Event;
use crate::auth::{Kind, Principal, Tokens, Verifier};

/// How often revoked and expired tokens are looked for.
const REVIEW_INTERVAL: Duration = Duration::from_secs(1);

/// What sessions are let in by.
#[derive(Clone, Default)]
pub(super) struct Access {
    /// `None`: everybody may do everything.
    pub(super) tokens: Option<Arc<Tokens>>,
    /// Workers must show a certificate too.
    pub(super) wants_certificates: bool,
}

/// Who calls, as far as the connection and the call itself say.
pub(super) struct Caller {
    principal: Option<Arc<Principal>>,
    has_certificate: bool,
    admission: Admission,
}

impl Caller {
    pub(super) fn of<T>(request: &tonic::Request<T>) -> Self {
        Self {
            principal: request.extensions().get::<Arc<Principal>>().cloned(),
            has_certificate: Admission::has_certificate(request.extensions()),
            admission: Admission::of(request.extensions()),
        }
    }

    /// It is refused. Returns what it is told.
    pub(super) fn refuse(&self, error: &Error) -> Status {
        self.admission.refuse(error);
        status_of(error)
    }

    /// It has shown who it is.
    pub(super) fn admit(&self) {
        self.admission.grant();
    }
}

impl Access {
    /// The principal of a new session.
    ///
    /// # Errors
    /// `TOKEN_MISSING` and the like, `CERTIFICATE_MISSING`, or `NOT_PERMITTED` naming the worker type.
    pub(super) fn principal(
        &self,
        caller: &Caller,
        token: &str,
        worker_type: &str,
    ) -> Result<Arc<Principal>, Error> {
        let principal = match (&caller.principal, &self.tokens) {
            (Some(principal), _) => principal.clone(),
            (None, None) => Principal::anybody(),
            (None, Some(_)) if token.is_empty() => {
                let detail = "this server wants a token: in Hello, or as authorization: Bearer TOKEN";
                return Err(Error::new(Reason::TokenMissing, detail));
            }
            (None, Some(tokens)) => tokens.verify(token)?,
        };
        principal.check_type(worker_type)?;
        // Without tokens anybody may be a worker: then the certificate is all there is. Nobody but the server's own
        // workers has seen their tokens.
        let is_worker = principal.kind == Kind::Worker && !principal.is_own || self.tokens.is_none();
        if self.wants_certificates && is_worker && !caller.has_certificate {
            return Err(certificate_missing());
        }
        caller.admit();
        Ok(principal)
    }
}

/// The error of a worker that comes without one.
pub(super) fn certificate_missing() -> Error {
    Error::new(Reason::CertificateMissing, "workers must show a certificate: tls.client_ca is set")
}

/// Whether the principal may have one session more.
///
/// # Errors
/// `LIMIT_REACHED` naming the limit.
pub(super) fn check_sessions(edge: &Edge, principal: &Principal) -> Result<(), Error> {
    let count = edge.sessions.iter().filter(|port| port.stats.principal.name == principal.name).count();
    let max = edge.limits.principal_sessions_max;
    if (count as u64) < max {
        return Ok(());
    }
    Err(Error::new(
        Reason::LimitReached,
        format!("{} has {count} sessions; principal_sessions_max = {max}", principal.name),
    ))
}

/// Whether the principal may have one view more.
///
/// # Errors
/// `LIMIT_REACHED` naming the limit.
pub(super) fn check_views(edge: &Edge, principal: &Principal) -> Result<(), Error> {
    let own = edge.sessions.iter().filter(|port| port.stats.principal.name == principal.name);
    let count: u64 = own.map(|port| port.stats.views.load(Ordering::Relaxed)).sum();
    let max = edge.limits.principal_views_max;
    if count < max {
        return Ok(());
    }
    Err(Error::new(
        Reason::LimitReached,
        format!("{} has {count} views; principal_views_max = {max}", principal.name),
    ))
}

/// Reads the token file again when it changes, and ends sessions whose tokens no longer hold.
pub(super) async fn review(edge: Arc<Edge>) {
    let Some(tokens) = edge.access.tokens.clone() else { return };
    let mut interval = tokio::time::interval(REVIEW_INTERVAL);
    let mut last_error = String::new();
    loop {
        interval.tick().await;
        match tokens.reload() {
            Ok(true) => tracing::info!("token file read again"),
            Ok(false) => {}
            // What was in it before still holds. Told once, not once a second.
            Err(error) => {
                let error = error.to_string();
                if error != last_error {
                    tracing::error!(error, "the token file is wrong; the tokens of before still hold");
                }
                last_error = error;
            }
        }
        for port in edge.sessions.iter().filter(|port| !tokens.is_valid(&port.stats.principal)) {
            port.send(Event::Revoked);
        }
    }
}
