//! Connections: how many there are, and how long one may take to show who it is.
//!
//! A connection is admitted once a call on it has shown a token, or, on a server without tokens, with its first call.
//! Until then it counts against limits of its own, so that strangers cannot take the room of those who are known; after
//! a while it is closed, and the one who has been a stranger longest makes room for the next.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::Extensions;
use spatialdb_types::{Error, Limits, Reason};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TlsConnectInfo};

use super::refusals::Refusals;

/// How long a connection may take to be admitted.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait after the system refused to accept, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Accepted connections that wait to be served.
const ACCEPTED_QUEUE: usize = 16;

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

/// A connection that is counted.
pub(super) struct Connection {
    io: TcpStream,
    admission: Admission,
    deadline: Pin<Box<Sleep>>,
    evicted: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Accepts connections within the limits. One beyond `connections_max` is closed at once; one more stranger than there
/// may be takes the place of the one who has waited longest.
pub(super) fn accept(listener: TcpListener, limits: &Limits) -> mpsc::Receiver<io::Result<Connection>> {
    let (accepted, connections) = mpsc::channel(ACCEPTED_QUEUE);
    let (open_max, strangers_max) = (limits.connections_max, limits.connections_unadmitted_max);
    let bytes_max = limits.connection_unadmitted_bytes_max;
    tokio::spawn(async move {
        let shared = Arc::new(Shared { bytes_max, ..Shared::default() });
        let mut strangers: VecDeque<Weak<Inner>> = VecDeque::new();
        loop {
            let stream = tokio::select! {
                stream = listener.accept() => stream,
                () = accepted.closed() => return,
            };
            let Ok((stream, _)) = stream else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let count = shared.strangers.load(Ordering::Relaxed);
            if count >= strangers_max {
                metrics::counter!("spatialdb_edge_connections_refused_total").increment(1);
                evict_oldest(&mut strangers);
            }
            // Those who were told to make room may not have gone yet.
            if shared.open.load(Ordering::Relaxed) >= open_max || count >= 2 * strangers_max {
                metrics::counter!("spatialdb_edge_connections_refused_total").increment(1);
                continue;
            }
            // Answers must not wait for the acknowledgement of earlier ones. One that cannot be told is slower, not wrong.
            let _ = stream.set_nodelay(true);
            let connection = Connection::new(stream, &shared);
            strangers.push_back(Arc::downgrade(&connection.admission.0));
            while strangers.front().is_some_and(|oldest| stranger(oldest).is_none()) {
                strangers.pop_front();
            }
            if accepted.send(Ok(connection)).await.is_err() {
                return;
            }
        }
    });
    connections
}

/// The connection if it is there and still that of a stranger.
fn stranger(connection: &Weak<Inner>) -> Option<Arc<Inner>> {
    connection
        .upgrade()
        .filter(|inner| !inner.is_granted.load(Ordering::Relaxed) && !inner.evicted.is_cancelled())
}

fn evict_oldest(strangers: &mut VecDeque<Weak<Inner>>) {
    while let Some(oldest) = strangers.pop_front() {
        if let Some(inner) = stranger(&oldest) {
            inner.evicted.cancel();
            return;
        }
    }
}

/// Has TLS spoken on them. Nobody waits for the handshake of another; it counts as a stranger and has as long as one.
pub(super) fn encrypt(
    mut plain: mpsc::Receiver<io::Result<Connection>>,
    tls: TlsAcceptor,
) -> mpsc::Receiver<io::Result<TlsStream<Connection>>> {
    let (accepted, connections) = mpsc::channel(ACCEPTED_QUEUE);
    tokio::spawn(async move {
        while let Some(Ok(connection)) = plain.recv().await {
            let (tls, accepted) = (tls.clone(), accepted.clone());
            tokio::spawn(async move {
                let shared = connection.admission.0.shared.clone();
                match tls.accept(connection).await {
                    // Where nobody takes it, the server stops.
                    Ok(stream) => drop(accepted.send(Ok(stream)).await),
                    Err(error) => shared.refusals.note_handshake(&error),
                }
            });
        }
    });
    connections
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

    /// A call of it was refused.
    pub(in crate::server) fn refuse(&self, error: &Error) {
        self.0.shared.refusals.note(error);
    }

    /// Counts what a call of it carries.
    ///
    /// # Errors
    /// `LIMIT_REACHED`: it is more than a stranger has to say.
    pub(super) fn hear(&self, bytes: usize) -> Result<(), Error> {
        let heard = self.0.heard.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        let max = self.0.shared.bytes_max;
        if self.is_granted() || heard <= max {
            return Ok(());
        }
        let detail = format!("connection_unadmitted_bytes_max = {max}: a connection shows a token first");
        Err(Error::new(Reason::LimitReached, detail))
    }

    pub(super) fn is_granted(&self) -> bool {
        self.0.is_granted.load(Ordering::Relaxed)
    }
}

impl Connection {
    fn new(io: TcpStream, shared: &Arc<Shared>) -> Self {
        let deadline = Box::pin(tokio::time::sleep(ADMISSION_TIMEOUT));
        let admission = Admission::new(shared);
        let evicted = Box::pin(admission.0.evicted.clone().cancelled_owned());
        Self { io, admission, deadline, evicted }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.admission.0.shared.open.fetch_sub(1, Ordering::Relaxed);
        self.admission.grant();
    }
}

impl Connected for Connection {
    type ConnectInfo = Admission;

    fn connect_info(&self) -> Admission {
        self.admission.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let is_over = |this: &mut Self, cx: &mut Context<'_>| {
            this.deadline.as_mut().poll(cx).is_ready() || this.evicted.as_mut().poll(cx).is_ready()
        };
        if !this.admission.is_granted() && is_over(this, cx) {
            // For the one who reads, the stranger has hung up.
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut this.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
