//! `spatialdb record`: stands between workers and a world, and keeps what they say to each other.
//!
//! Responsible for: passing sessions on, and their recordings. Not responsible for: the file (`recording`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use spatialdb_proto::v1::{
    self, ClientMessage, ServerMessage,
    worker_service_client::WorkerServiceClient,
    worker_service_server::{WorkerService, WorkerServiceServer},
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};

use super::client::{Client, ClientArgs};
use super::recording::{Recorder, Said};
use super::signals::{Parent, Signals};
use super::{CliError, print};

/// Messages under way in one direction.
const QUEUE: usize = 16;

/// As large as the server lets messages be set.
const MESSAGE_BYTES_MAX: usize = 1 << 30;

const EXAMPLES: &str = "\
Let the worker attach to this address instead of the world's. Each session becomes a file: NAME.rec, NAME-2.rec, ...
A token in Hello is left out of it.

Examples:
  On another address, of a world that is elsewhere:
    spatialdb record watcher.rec --listen 127.0.0.1:7500 --address 10.0.0.7:7400
  A worker of the earth world, and the same once more:
    spatialdb record balloons.rec
    SPATIALDB_ADDRESS=127.0.0.1:7401 .venv/bin/python workers/python/examples/drift_balloons.py
    spatialdb replay balloons.rec";

/// Keep what a worker and a world say to each other in a file, to repeat it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RecordArgs {
    /// The file to write
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Where workers attach to be recorded
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7401")]
    listen: SocketAddr,

    /// Let other machines in on --listen, without encryption; the network is trusted
    #[arg(long)]
    insecure: bool,

    #[command(flatten)]
    client: ClientArgs,
}

/// Passes sessions on until a signal.
pub(super) async fn run(args: RecordArgs) -> Result<(), CliError> {
    if !args.listen.ip().is_loopback() && !args.insecure {
        let text = format!(
            "--listen {}: whoever reaches it would be passed on unencrypted; --insecure allows it",
            args.listen
        );
        return Err(CliError::Usage(text));
    }
    // Told now, not when the first worker comes.
    let folder = args.file.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Err(CliError::Usage(format!(
            "{}: there is no folder {}",
            args.file.display(),
            folder.display()
        )));
    }
    if args.file.exists() {
        return Err(CliError::Usage(format!("{}: there is one already", args.file.display())));
    }
    let channel = Client::channel(&args.client).await?;
    let mut signals = Signals::new(Parent::Ignored).map_err(CliError::Runtime)?;
    let bind = |source| CliError::Bind { address: args.listen, source };
    let listener = TcpListener::bind(args.listen).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let proxy = Proxy { channel, file: args.file, sessions: AtomicU32::new(0) };
    let service = WorkerServiceServer::new(proxy)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    {
        use std::io::Write;
        let mut out = print::stdout();
        writeln!(out, "ready {address}")?;
        out.flush()?;
    }
    let served = Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
    tokio::select! {
        served = served => served.map_err(|error| CliError::Launch(error.into())),
        () = signals.stop_asked() => Ok(()),
    }
}

/// The world, as its workers see it.
struct Proxy {
    channel: Channel,
    file: PathBuf,
    sessions: AtomicU32,
}

type Stream = ReceiverStream<Result<ServerMessage, Status>>;

#[tonic::async_trait]
impl WorkerService for Proxy {
    type AttachStream = Stream;
    type FramesStream = Stream;

    async fn attach(&self, request: Request<Streaming<ClientMessage>>) -> Result<Response<Stream>, Status> {
        let number = self.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        let file = numbered(&self.file, number);
        let recorder = Recorder::create(&file)
            .map_err(|error| Status::internal(format!("{}: {error}", file.display())))?;
        eprintln!("recording a session in {}", file.display());
        let recorder = Arc::new(Mutex::new(recorder));
        let (metadata, _, incoming) = request.into_parts();
        let (up, upstream) = mpsc::channel(QUEUE);
        tokio::spawn(pass_up(incoming, up, recorder.clone()));
        let mut onward = Request::new(ReceiverStream::new(upstream));
        *onward.metadata_mut() = metadata;
        let mut world = WorkerServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let answers = world.attach(onward).await?.into_inner();
        let (down, downstream) = mpsc::channel(QUEUE);
        tokio::spawn(pass_down(answers, down, recorder));
        Ok(Response::new(ReceiverStream::new(downstream)))
    }

    async fn open(&self, _: Request<v1::OpenRequest>) -> Result<Response<v1::OpenResponse>, Status> {
        Err(Status::unimplemented("only sessions by Attach are recorded"))
    }

    async fn frames(&self, _: Request<v1::FramesRequest>) -> Result<Response<Stream>, Status> {
        Err(Status::unimplemented("only sessions by Attach are recorded"))
    }

    async fn send(&self, _: Request<v1::SendRequest>) -> Result<Response<v1::SendResponse>, Status> {
        Err(Status::unimplemented("only sessions by Attach are recorded"))
    }
}

async fn pass_up(
    mut from: Streaming<ClientMessage>,
    to: mpsc::Sender<ClientMessage>,
    recorder: Arc<Mutex<Recorder>>,
) {
    while let Ok(Some(message)) = from.message().await {
        note(&recorder, Said::ByWorker(&message));
        if to.send(message).await.is_err() {
            return;
        }
    }
}

async fn pass_down(
    mut from: Streaming<ServerMessage>,
    to: mpsc::Sender<Result<ServerMessage, Status>>,
    recorder: Arc<Mutex<Recorder>>,
) {
    loop {
        let message = match from.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return,
            Err(status) => {
                // The worker may have gone.
                let _ = to.send(Err(status)).await;
                return;
            }
        };
        note(&recorder, Said::ByServer(&message));
        if to.send(Ok(message)).await.is_err() {
            return;
        }
    }
}

fn note(recorder: &Mutex<Recorder>, said: Said<'_>) {
    let mut recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = recorder.note(said) {
        // The session goes on; its recording ends here.
        eprintln!("error: the recording ends: {error}");
    }
}

/// The file of the first session as given, of the others with their number.
fn numbered(file: &Path, number: u32) -> PathBuf {
    if number == 1 {
        return file.to_owned();
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let end = file.extension().map_or(String::new(), |end| format!(".{}", end.to_string_lossy()));
    file.with_file_name(format!("{stem}-{number}{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_numbered_from_the_second_on() {
        assert_eq!(numbered(Path::new("a/b.rec"), 1), Path::new("a/b.rec"));
        assert_eq!(numbered(Path::new("a/b.rec"), 3), Path::new("a/b-3.rec"));
        assert_eq!(numbered(Path::new("b"), 2), Path::new("b-2"));
    }
}
