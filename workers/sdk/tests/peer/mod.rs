//! A scripted server: it says exactly what a test tells it to.

#![allow(dead_code, reason = "each test program uses a part")]

use std::time::Duration;

use spatialdb_proto::v1::{
    self,
    client_message::Body,
    server_message,
    worker_service_server::{WorkerService, WorkerServiceServer},
};
use spatialdb_sdk::{BackoffLimits, Batch, EntityId, Event, Worker, WorkerOptions};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for something that could happen to happen.
pub(crate) const NOTHING: Duration = Duration::from_millis(150);

/// The server's end of one session.
pub(crate) struct Peer {
    incoming: Streaming<v1::ClientMessage>,
    outgoing: mpsc::Sender<Result<v1::ServerMessage, Status>>,
    seq: u64,
    frame: u64,
}

struct Scripted(mpsc::Sender<Peer>);

#[tonic::async_trait]
impl WorkerService for Scripted {
    type AttachStream = ReceiverStream<Result<v1::ServerMessage, Status>>;
    type FramesStream = Self::AttachStream;

    // This SDK streams upwards, and so needs none of these.
    async fn open(&self, _: Request<v1::OpenRequest>) -> Result<Response<v1::OpenResponse>, Status> {
        Err(Status::unimplemented("open"))
    }

    async fn frames(&self, _: Request<v1::FramesRequest>) -> Result<Response<Self::FramesStream>, Status> {
        Err(Status::unimplemented("frames"))
    }

    async fn send(&self, _: Request<v1::SendRequest>) -> Result<Response<v1::SendResponse>, Status> {
        Err(Status::unimplemented("send"))
    }

    async fn attach(
        &self,
        request: Request<Streaming<v1::ClientMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (outgoing, stream) = mpsc::channel(16);
        let peer = Peer { incoming: request.into_inner(), outgoing, seq: 0, frame: 0 };
        self.0.send(peer).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl Peer {
    pub(crate) async fn say(&self, body: server_message::Body) {
        self.outgoing.send(Ok(v1::ServerMessage { body: Some(body) })).await.expect("the session is open");
    }

    pub(crate) async fn welcome(&mut self) {
        assert!(matches!(self.hear().await, Body::Hello(_)));
        let limits = [("message_rows_max".to_owned(), 100)].into();
        let components = vec![v1::ComponentInfo { id: 2, name: "spatialdb.v1.Metadata".into() }];
        let layer = v1::LayerInfo {
            name: "all".into(),
            worker_type: "test".into(),
            writes: vec![1],
            ..Default::default()
        };
        let (name, layers) = ("w".into(), vec![layer]);
        let welcome = v1::Welcome { name, components, limits, layers, ..Default::default() };
        self.say(server_message::Body::Welcome(welcome)).await;
        self.say(server_message::Body::Reset(v1::Reset {})).await;
    }

    pub(crate) async fn hear(&mut self) -> Body {
        let message = timeout(PATIENCE, self.incoming.message()).await.expect("in time").expect("no error");
        let message = message.expect("the session is open");
        self.seq += 1;
        assert_eq!(message.seq, self.seq, "a seq has no gaps");
        message.body.expect("a body")
    }

    /// Says something of what the worker may write.
    pub(crate) async fn authority(&self, number: u64, body: v1::authority::Body) {
        let message = v1::Authority { number, body: Some(body) };
        self.say(server_message::Body::Authority(message)).await;
    }

    pub(crate) async fn frame(&mut self, frame: v1::Frame) {
        self.frame += 1;
        self.say(server_message::Body::Frame(v1::Frame { frame: self.frame, ..frame })).await;
    }
}

pub(crate) async fn server() -> (WorkerOptions, mpsc::Receiver<Peer>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let (peers, receiver) = mpsc::channel(4);
    let serve = Server::builder()
        .add_service(WorkerServiceServer::new(Scripted(peers)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serve);
    let mut options = WorkerOptions::new(address, "test").expect::<v1::Metadata>();
    let first = Duration::from_millis(10);
    options.backoff = BackoffLimits { first, max: Duration::from_millis(50) };
    options.in_flight_messages_max = 4;
    (options, receiver)
}

pub(crate) async fn attach(options: WorkerOptions, peers: &mut mpsc::Receiver<Peer>) -> (Worker, Peer) {
    let accept = async {
        let mut peer = peers.recv().await.expect("a session");
        peer.welcome().await;
        peer
    };
    let (worker, peer) = tokio::join!(Worker::connect(options), accept);
    let mut worker = worker.expect("connects");
    assert_eq!(event(&mut worker).await, Event::Reset);
    (worker, peer)
}

pub(crate) async fn event(worker: &mut Worker) -> Event {
    timeout(PATIENCE, worker.next_event()).await.expect("in time").expect("a session")
}

pub(crate) fn move_one() -> Batch {
    let mut batch = Batch::new();
    batch.set_position(EntityId(1), Default::default());
    batch
}
