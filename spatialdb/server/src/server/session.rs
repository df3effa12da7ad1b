//! A session's connection: one task reads, one task speaks.
//!
//! Responsible for: hello and welcome, sequence, turning messages into batches and frames into messages.
//! Not responsible for: what is shown (the session machine in `spatialdb-core`), or the transport.

mod frames;
mod intake;
mod parts;
mod reader;
mod task;

use std::sync::Arc;

use spatialdb_proto::v1::{ClientMessage, ServerMessage};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::edge::Edge;
use spatialdb_proto::v1::worker_service_server::WorkerService;

/// Messages that wait for the connection: the one being taken, and the next.
const OUT_QUEUE: usize = 2;

/// `spatialdb.v1.WorkerService`.
pub(super) struct Workers {
    pub(super) edge: Arc<Edge>,
}

#[tonic::async_trait]
impl WorkerService for Workers {
    type AttachStream = ReceiverStream<Result<ServerMessage, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<ClientMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (out, stream) = mpsc::channel(OUT_QUEUE);
        // The answer must not wait for Hello: some clients send nothing before they have seen it.
        tokio::spawn(reader::run(self.edge.clone(), request.into_inner(), out));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
