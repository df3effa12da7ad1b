//! A line between a worker and the server, which can be cut.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Passes on what either side says, unless it is cut: then nobody hears anything, and nobody is told so. What was said
/// meanwhile comes when it is joined again.
pub(crate) struct Line {
    /// Where the worker finds the server.
    pub(crate) address: SocketAddr,
    is_cut: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Line {
    /// A line to a server.
    pub(crate) async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (cut, is_cut) = watch::channel(false);
        let server = server.to_owned();
        let accepting = tokio::spawn(async move {
            while let Ok((worker, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.expect("the server is there");
                for stream in [&worker, &server] {
                    stream.set_nodelay(true).expect("a socket");
                }
                let ((from_worker, to_worker), (from_server, to_server)) =
                    (worker.into_split(), server.into_split());
                tokio::spawn(pass(from_worker, to_server, is_cut.clone()));
                tokio::spawn(pass(from_server, to_worker, is_cut.clone()));
            }
        });
        Self { address, is_cut: cut, accepting }
    }

    /// Cuts it.
    pub(crate) fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Joins it again.
    pub(crate) fn join(&self) {
        self.is_cut.send_replace(false);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut is_cut: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        // One that is killed ends with an error, or without: the other side hears of an end.
        let count = from.read(&mut buffer).await.unwrap_or(0);
        if is_cut.wait_for(|is_cut| !is_cut).await.is_err() {
            return;
        }
        if count == 0 {
            // Unless it has gone.
            let _ = to.shutdown().await;
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
