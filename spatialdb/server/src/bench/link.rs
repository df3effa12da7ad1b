//! A worker's session, as thin as it can be.
//!
//! Responsible for: Hello and Welcome, sequence numbers, refused rows, errors that name the session.
//! Not responsible for: what is sent and seen.

mod codec;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use spatialdb_proto::{
    PROTOCOL_VERSION,
    v1::{
        ClientMessage, ErrorCode, Frame, Hello, ServerMessage, Subscribe, View, client_message::Body,
        server_message::Body as ServerBody,
    },
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};

use super::{
    error::BenchError,
    server::{self, ServerProcess},
};
use codec::{Codec, Outgoing};

pub(super) use codec::{Incoming, prebuilt};

const ATTACH: &str = "/spatialdb.v1.WorkerService/Attach";
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);

// Both halves bound what is on its way themselves; this is only above every bound.
const QUEUE_MESSAGES: usize = 1024;

/// A session.
pub(super) struct Link<T = ServerMessage> {
    /// What goes to the server.
    pub(super) sender: Sender,
    /// What comes from it.
    pub(super) receiver: Receiver<T>,
}

/// The half that sends.
pub(super) struct Sender {
    name: String,
    queue: mpsc::Sender<Outgoing>,
    seq: u64,
}

/// The half that receives.
pub(super) struct Receiver<T = ServerMessage> {
    name: String,
    incoming: Streaming<T>,
}

impl Link {
    /// Attaches a worker of that name over a connection of its own and waits for its Welcome.
    ///
    /// # Errors
    /// The server does not welcome it.
    pub(super) async fn attach(server: &ServerProcess, name: &str) -> Result<Self, BenchError> {
        Self::attach_over(server.connect().await?, server.token(), name).await
    }

    /// Attaches an owner, as [`Link::attach`] does: a worker of a type that a layer is for.
    ///
    /// # Errors
    /// The server does not welcome it.
    pub(super) async fn attach_owner(
        address: SocketAddr,
        worker_type: &str,
        name: &str,
    ) -> Result<Self, BenchError> {
        let hello = Hello { worker_type: worker_type.to_owned(), ..hello(name, None) };
        Self::greet(server::connect(address).await?, hello).await
    }

    /// Starts a view and waits until it is filled; each frame on the way is handed over.
    ///
    /// # Errors
    /// The session ends, or another number of entities comes into view.
    pub(super) async fn fill_view(
        &mut self,
        view: View,
        entities: u64,
        mut take: impl FnMut(&Frame),
    ) -> Result<(), BenchError> {
        let view_id = view.view_id;
        self.sender.send(Body::Subscribe(Subscribe { view: Some(view) }))?;
        loop {
            let frame = self.receiver.frame().await?;
            take(&frame);
            let Some(ready) = frame.view_ready.iter().find(|ready| ready.view_id == view_id) else {
                continue;
            };
            if ready.entity_count == entities {
                return Ok(());
            }
            let found = ready.entity_count.to_string();
            return Err(BenchError::unexpected(
                &self.receiver.name,
                format!("{entities} entities in view"),
                found,
            ));
        }
    }
}

impl<T: Incoming> Link<T> {
    /// Attaches a worker of that name over a connection that others may use too, and waits for its Welcome.
    ///
    /// # Errors
    /// The server does not welcome it.
    pub(super) async fn attach_over(
        channel: Channel,
        token: Option<&str>,
        name: &str,
    ) -> Result<Self, BenchError> {
        Self::greet(channel, hello(name, token)).await
    }

    async fn greet(channel: Channel, hello: Hello) -> Result<Self, BenchError> {
        let name = hello.name.clone();
        let (queue, queued) = mpsc::channel(QUEUE_MESSAGES);
        let mut sender = Sender { name: name.clone(), queue, seq: 0 };
        sender.send(Body::Hello(hello))?;
        let attached = async {
            let failed = |status| BenchError::status(&name, &status);
            let mut grpc = Grpc::new(channel).max_decoding_message_size(64 << 20);
            grpc.ready().await.map_err(|error| failed(tonic::Status::unavailable(error.to_string())))?;
            let request = Request::new(ReceiverStream::new(queued));
            let answer = grpc.streaming(request, PathAndQuery::from_static(ATTACH), Codec::new()).await;
            let mut receiver =
                Receiver { name: name.clone(), incoming: answer.map_err(failed)?.into_inner() };
            receiver.welcome().await?;
            Ok::<_, BenchError>(receiver)
        };
        let late = |_| BenchError::Timeout { what: format!("{name}: Welcome"), waited: WELCOME_TIMEOUT };
        let receiver = timeout(WELCOME_TIMEOUT, attached).await.map_err(late)??;
        Ok(Self { sender, receiver })
    }
}

/// Calls a method that answers with a stream, bytes for bytes. `path` names it; the request is encoded.
///
/// # Errors
/// The server refuses the call.
pub(super) async fn call(
    channel: Channel,
    path: &'static str,
    request: Bytes,
) -> Result<Streaming<Bytes>, BenchError> {
    let failed = |status| BenchError::status(path, &status);
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| failed(tonic::Status::unavailable(error.to_string())))?;
    let request = Request::new(Outgoing::Whole(request));
    let answer = grpc.server_streaming(request, PathAndQuery::from_static(path), Codec::new()).await;
    Ok(answer.map_err(failed)?.into_inner())
}

impl Sender {
    /// Sends a message. Returns its sequence number.
    ///
    /// # Errors
    /// The session is over, or too many messages wait.
    pub(super) fn send(&mut self, body: Body) -> Result<u64, BenchError> {
        let seq = self.seq + 1;
        self.push(Outgoing::Message(Box::new(ClientMessage { seq, body: Some(body) })))
    }

    /// Sends a body that [`prebuilt`] made. Returns its sequence number.
    ///
    /// # Errors
    /// The session is over, or too many messages wait.
    pub(super) fn send_prebuilt(&mut self, body: Bytes) -> Result<u64, BenchError> {
        let seq = self.seq + 1;
        self.push(Outgoing::Prebuilt { seq, body })
    }

    fn push(&mut self, outgoing: Outgoing) -> Result<u64, BenchError> {
        self.queue.try_send(outgoing).map_err(|error| {
            let found = match error {
                mpsc::error::TrySendError::Full(_) => format!("{QUEUE_MESSAGES} messages that wait"),
                mpsc::error::TrySendError::Closed(_) => "a session that is over".to_owned(),
            };
            BenchError::unexpected(&self.name, "to send", found)
        })?;
        self.seq += 1;
        Ok(self.seq)
    }
}

impl Receiver {
    /// The next frame. What it is told of authority on the way is passed over.
    ///
    /// # Errors
    /// The session ends, or the server refuses a row.
    pub(super) async fn frame(&mut self) -> Result<Frame, BenchError> {
        loop {
            match self.body().await? {
                ServerBody::Frame(frame) => return self.accepted(frame),
                ServerBody::Authority(_) => {}
                other => return Err(BenchError::unexpected(&self.name, "a frame", format!("{other:?}"))),
            }
        }
    }

    fn accepted(&self, frame: Frame) -> Result<Frame, BenchError> {
        let collapsed: u64 = frame.rejections_collapsed.iter().map(|collapsed| collapsed.count).sum();
        let count = frame.rejections.len() as u64 + collapsed;
        if count == 0 {
            return Ok(frame);
        }
        let first = frame.rejections.first().map_or_else(
            || format!("{:?}", frame.rejections_collapsed),
            |r| {
                let code = ErrorCode::try_from(r.code).unwrap_or_default().as_str_name();
                format!("{} ({code}), entity {}, component {}: {}", r.reason, r.entity, r.component, r.detail)
            },
        );
        Err(BenchError::Rejected { who: self.name.clone(), count, first })
    }
}

impl<T: Incoming> Receiver<T> {
    /// Whose it is.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The next message, whatever it is.
    ///
    /// # Errors
    /// The session ends.
    pub(super) async fn message(&mut self) -> Result<T, BenchError> {
        let message = self.incoming.message().await;
        message
            .map_err(|status| BenchError::status(&self.name, &status))?
            .ok_or_else(|| BenchError::unexpected(&self.name, "a message", "the end of the session"))
    }

    /// The next message, built.
    ///
    /// # Errors
    /// The session ends.
    pub(super) async fn body(&mut self) -> Result<ServerBody, BenchError> {
        let built = self.message().await?.built();
        built
            .map_err(|error| BenchError::status(&self.name, &codec::malformed(&error)))?
            .body
            .ok_or_else(|| BenchError::unexpected(&self.name, "a message", "one without a known body"))
    }

    async fn welcome(&mut self) -> Result<(), BenchError> {
        match self.body().await? {
            ServerBody::Welcome(_) => {}
            other => return Err(BenchError::unexpected(&self.name, "Welcome", format!("{other:?}"))),
        }
        match self.body().await? {
            ServerBody::Reset(_) => Ok(()),
            other => Err(BenchError::unexpected(&self.name, "Reset", format!("{other:?}"))),
        }
    }
}

fn hello(name: &str, token: Option<&str>) -> Hello {
    Hello {
        protocol_min: PROTOCOL_VERSION,
        protocol_max: PROTOCOL_VERSION,
        worker_type: "bench".to_owned(),
        name: name.to_owned(),
        instance: format!("spatialdb bench, process {}", std::process::id()),
        token: token.unwrap_or_default().to_owned(),
        ..Hello::default()
    }
}
