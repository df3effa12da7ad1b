//! Connections: accepting them, TLS on them, and hanging up on those who take too long to show who they are.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use spatialdb_types::Limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use super::admission::{Admission, Admissions};

/// How long a connection may take to be admitted.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait after the system refused to accept, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Accepted connections that wait to be served.
const ACCEPTED_QUEUE: usize = 16;

/// A connection that is counted.
pub(super) struct Connection {
    io: TcpStream,
    admission: Admission,
    deadline: Pin<Box<Sleep>>,
    evicted: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Accepts connections for which there is room; any other is closed at once.
pub(super) fn accept(listener: TcpListener, limits: &Limits) -> mpsc::Receiver<io::Result<Connection>> {
    let (accepted, connections) = mpsc::channel(ACCEPTED_QUEUE);
    let mut admissions = Admissions::new(limits);
    tokio::spawn(async move {
        loop {
            let stream = tokio::select! {
                stream = listener.accept() => stream,
                () = accepted.closed() => return,
            };
            let Ok((stream, _)) = stream else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Some(admission) = admissions.enter() else { continue };
            // Answers must not wait for the acknowledgement of earlier ones. One that cannot be told is slower, not wrong.
            let _ = stream.set_nodelay(true);
            if accepted.send(Ok(Connection::new(stream, admission))).await.is_err() {
                return;
            }
        }
    });
    connections
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
                let admission = connection.admission.clone();
                match tls.accept(connection).await {
                    // Where nobody takes it, the server stops.
                    Ok(stream) => drop(accepted.send(Ok(stream)).await),
                    Err(error) => admission.fail(&error),
                }
            });
        }
    });
    connections
}

impl Connection {
    fn new(io: TcpStream, admission: Admission) -> Self {
        let deadline = Box::pin(tokio::time::sleep(ADMISSION_TIMEOUT));
        let evicted = Box::pin(admission.evicted());
        Self { io, admission, deadline, evicted }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.admission.end();
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
