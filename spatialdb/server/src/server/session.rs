//! A session's connection: one task reads, one task speaks.
//!
//! Responsible for: hello and welcome, sequence, turning messages into batches and frames into messages.
//! Not responsible for: what is shown (the session machine in `spatialdb-core`), or the transport.

mod answers;
pub(super) mod authority;
mod density;
mod frames;
mod intake;
mod interests;
mod open;
mod parts;
mod reader;
mod task;

use std::future::ready;
use std::sync::Arc;

use spatialdb_proto::server::worker_service_server::WorkerService;
use spatialdb_proto::v1::{FramesRequest, OpenRequest, OpenResponse, SendResponse};
use spatialdb_proto::{Incoming, IncomingSend, Outgoing};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use self::open::OpenSessions;
use super::access::Caller;
use super::edge::Edge;

/// Messages that wait for the connection: the one being taken, and the next.
const OUT_QUEUE: usize = 2;

type Stream = ReceiverStream<Result<Outgoing, Status>>;

/// `spatialdb.v1.WorkerService`.
pub(super) struct Workers {
    edge: Arc<Edge>,
    open: OpenSessions,
}

impl Workers {
    pub(super) fn new(edge: Arc<Edge>) -> Self {
        Self { edge, open: OpenSessions::default() }
    }
}

#[tonic::async_trait]
impl WorkerService for Workers {
    type AttachStream = Stream;
    type FramesStream = Stream;

    async fn attach(&self, request: Request<Streaming<Incoming>>) -> Result<Response<Stream>, Status> {
        let caller = Caller::of(&request);
        let mut incoming = request.into_inner();
        let (out, stream) = mpsc::channel(OUT_QUEUE);
        let first = tokio::select! {
            biased;
            first = incoming.message() => Some(first),
            () = ready(()) => None,
        };
        match first {
            // Most say Hello with the call itself. Who is refused is then answered by it, and costs next to nothing.
            Some(first) => reader::begin(&self.edge, &caller, first, incoming, out)
                .map_err(|error| caller.refuse(&error))?,
            // The answer must not wait for Hello: some clients send nothing before they have seen it.
            None => drop(tokio::spawn(reader::run(self.edge.clone(), caller, incoming, out))),
        }
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn open(&self, request: Request<OpenRequest>) -> Result<Response<OpenResponse>, Status> {
        let caller = Caller::of(&request);
        let hello = request.into_inner().hello.unwrap_or_default();
        let opened = self.open.open(&self.edge, &caller, hello);
        let session_key = opened.map_err(|error| caller.refuse(&error))?;
        Ok(Response::new(OpenResponse { session_key }))
    }

    async fn frames(&self, request: Request<FramesRequest>) -> Result<Response<Stream>, Status> {
        let caller = Caller::of(&request);
        let frames = self.open.frames(request.into_inner().session_key);
        let frames = frames.map_err(|error| caller.refuse(&error))?;
        caller.admit();
        Ok(Response::new(frames))
    }

    async fn send(&self, request: Request<IncomingSend>) -> Result<Response<SendResponse>, Status> {
        let caller = Caller::of(&request);
        self.open.send(request.into_inner()).await?;
        caller.admit();
        Ok(Response::new(SendResponse {}))
    }
}
