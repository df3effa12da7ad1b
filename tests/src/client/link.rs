//! How a client's messages travel: up a stream, or in calls of their own.

use std::env;

use prost::Message;
use spatialdb_proto::v1::{
    self, ClientMessage, FramesRequest, OpenRequest, SendRequest, ServerMessage, client_message::Body,
    worker_service_client::WorkerServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

// Messages handed to the transport and not yet sent.
const OUTGOING: usize = 16;

// A call with so much goes at once.
const SMALL_BYTES: usize = 64 << 10;

/// Both ways of a session.
pub(super) struct Link {
    pub(super) outgoing: mpsc::Sender<ClientMessage>,
    pub(super) incoming: Streaming<ServerMessage>,
}

/// Whether this test program attaches with calls: its name is `frames`.
pub(super) fn is_by_calls() -> bool {
    let program = env::current_exe().expect("this program has a path");
    program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("frames-"))
}

/// Opens a stream and says nothing.
pub(super) async fn attach(channel: Channel) -> Link {
    let (outgoing, stream) = mpsc::channel(OUTGOING);
    let incoming = service(channel).attach(ReceiverStream::new(stream)).await.expect("a stream").into_inner();
    Link { outgoing, incoming }
}

/// Says hello with a call, which is message 1. What is sent later goes up in calls, one after the other.
pub(super) async fn open(channel: Channel, hello: v1::Hello) -> Link {
    let mut service = service(channel);
    let opened = service.open(OpenRequest { hello: Some(hello) }).await.expect("opened").into_inner();
    let session_key = opened.session_key;
    let request = FramesRequest { session_key: session_key.clone() };
    let incoming = service.frames(request).await.expect("frames").into_inner();
    let (outgoing, queue) = mpsc::channel(OUTGOING);
    tokio::spawn(send(service, session_key, queue));
    Link { outgoing, incoming }
}

async fn send(
    mut service: WorkerServiceClient<Channel>,
    session_key: String,
    mut queue: mpsc::Receiver<ClientMessage>,
) {
    let mut last = 1;
    let mut messages = Vec::new();
    while let Some(message) = queue.recv().await {
        // Several in a call as long as they are small: a call is a message too, with the same limit.
        let mut bytes = message.encoded_len();
        messages.push(message);
        while bytes < SMALL_BYTES
            && let Ok(message) = queue.try_recv()
        {
            bytes += message.encoded_len();
            messages.push(message);
        }
        last = messages.last().map_or(last, |message| message.seq);
        let request =
            SendRequest { session_key: session_key.clone(), messages: std::mem::take(&mut messages) };
        // What breaks the protocol shows at the end of the frames too.
        if service.send(request).await.is_err() {
            return;
        }
    }
    // The end of a stream, in the words of a call.
    let body = Some(Body::Goodbye(v1::Goodbye::default()));
    let _ = service
        .send(SendRequest { session_key, messages: vec![ClientMessage { seq: last + 1, body }] })
        .await;
}

fn service(channel: Channel) -> WorkerServiceClient<Channel> {
    WorkerServiceClient::new(channel).max_decoding_message_size(64 << 20)
}
