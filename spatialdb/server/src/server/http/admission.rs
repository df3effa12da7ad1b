//! Whether a connection has shown who it is.
//!
//! A connection is admitted once a call on it has shown a token, or, on a server without tokens, with its first call.
//! Until then it is a stranger's: it counts against limits of its own, so that strangers cannot take the room of those
//! who are known, and the one who has been a stranger longest makes room for the next.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use axum::http::Extensions;
use spatialdb_types::{Error, Limits, Reason};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::TlsConnectInfo;

use super::refusals::Refusals;

/// The connections of a server: who may come, and who must go.
pub(super) struct Admissions {
    open_max: u64,
    strangers_max: u64,
    shared: Arc<Shared>,
    /// Oldest first; those who are known by now or gone are passed over.
    strangers: VecDeque<Weak<Inner>>,
}

/// What all connections share.
#[derive(Debug, Default)]
struct Shared {
    open: AtomicU64,
    strangers: AtomicU64,
    refusals: Refusals,
    bytes_max: u64,
}

/// Whether a connection has shown who it is. Travels with each of its calls.
#[derive(Clone, Debug)]
pub(in crate::server) struct Admission(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    is_granted: AtomicBool,
    /// Bytes that its calls have carried.
    heard: AtomicU64,
    /// It must make room.
    evicted: CancellationToken,
    shared: Arc<Shared>,
}

impl Admissions {
    pub(super) fn new(limits: &Limits) -> Self {
        let bytes_max = limits.connection_unadmitted_bytes_max;
        Self {
            open_max: limits.connections_max,
            strangers_max: limits.connections_unadmitted_max,
            shared: Arc::new(Shared { bytes_max, ..Shared::default() }),
            strangers: VecDeque::new(),
        }
    }

    /// Takes one more connection; `None` if there is no room. One more stranger than there may be takes the place of the
    /// one who has waited longest.
    pub(super) fn enter(&mut self) -> Option<Admission> {
        let count = self.shared.strangers.load(Ordering::Relaxed);
        if count >= self.strangers_max {
            metrics::counter!("spatialdb_edge_connections_refused_total").increment(1);
            self.evict_oldest();
        }
        // Those who were told to make room may not have gone yet.
        if self.shared.open.load(Ordering::Relaxed) >= self.open_max || count >= 2 * self.strangers_max {
            metrics::counter!("spatialdb_edge_connections_refused_total").increment(1);
            return None;
        }
        let admission = Admission::new(&self.shared);
        self.strangers.push_back(Arc::downgrade(&admission.0));
        while self.strangers.front().is_some_and(|oldest| stranger(oldest).is_none()) {
            self.strangers.pop_front();
        }
        Some(admission)
    }

    fn evict_oldest(&mut self) {
        while let Some(oldest) = self.strangers.pop_front() {
            if let Some(inner) = stranger(&oldest) {
                inner.evicted.cancel();
                return;
            }
        }
    }
}

/// The connection, if it is there and still that of a stranger.
fn stranger(connection: &Weak<Inner>) -> Option<Arc<Inner>> {
    let is_stranger =
        |inner: &Arc<Inner>| !inner.is_granted.load(Ordering::Relaxed) && !inner.evicted.is_cancelled();
    connection.upgrade().filter(is_stranger)
}

impl Admission {
    /// That of the connection which a call came by.
    pub(in crate::server) fn of(call: &Extensions) -> Self {
        let plain = call.get::<Self>();
        let secure = || call.get::<TlsConnectInfo<Self>>().map(TlsConnectInfo::get_ref);
        plain.or_else(secure).cloned().unwrap_or_else(|| Self::new(&Arc::default()))
    }

    /// Whether the connection of a call has shown a certificate that was checked.
    pub(in crate::server) fn has_certificate(call: &Extensions) -> bool {
        let secure = call.get::<TlsConnectInfo<Self>>();
        secure.and_then(TlsConnectInfo::peer_certs).is_some_and(|certificates| !certificates.is_empty())
    }

    fn new(shared: &Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::Relaxed);
        shared.strangers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(Inner {
            is_granted: AtomicBool::new(false),
            heard: AtomicU64::new(0),
            evicted: CancellationToken::new(),
            shared: shared.clone(),
        }))
    }

    /// It has shown who it is.
    pub(in crate::server) fn grant(&self) {
        if !self.0.is_granted.swap(true, Ordering::Relaxed) {
            self.0.shared.strangers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The connection is gone.
    pub(super) fn end(&self) {
        self.grant();
        self.0.shared.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// A call of it was refused.
    pub(in crate::server) fn refuse(&self, error: &Error) {
        self.0.shared.refusals.note(error);
    }

    /// It did not get as far as a call.
    pub(super) fn fail(&self, error: &std::io::Error) {
        self.0.shared.refusals.note_handshake(error);
    }

    /// Counts what a call of it carries.
    ///
    /// # Errors
    /// `LIMIT_REACHED`: it is more than a stranger has to say.
    pub(super) fn hear(&self, bytes: usize) -> Result<(), Error> {
        if self.is_granted() {
            return Ok(());
        }
        let heard = self.0.heard.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        let max = self.0.shared.bytes_max;
        if heard <= max {
            return Ok(());
        }
        let detail = format!("connection_unadmitted_bytes_max = {max}: a connection shows a token first");
        Err(Error::new(Reason::LimitReached, detail))
    }

    /// Ends when it must make room.
    pub(super) fn evicted(&self) -> WaitForCancellationFutureOwned {
        self.0.evicted.clone().cancelled_owned()
    }

    pub(super) fn is_granted(&self) -> bool {
        self.0.is_granted.load(Ordering::Relaxed)
    }
}
