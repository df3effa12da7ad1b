//! A plain client of the wire: generated code and nothing else.

mod ask;
mod link;
mod owned;

use spatialdb_proto::{
    error_of_status,
    v1::{self, ClientMessage, ServerMessage, client_message::Body, server_message},
};
use spatialdb_types::Reason;
use tokio::{sync::mpsc, time::timeout};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

use self::link::Link;
pub use self::owned::Owned;
use crate::{DEADLINE, Replica, World};

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The server said goodbye, with a reason or an empty text.
    Goodbye(String, String),
    /// The stream ended with an error of spatialdb: reason, detail.
    Error(Reason, String),
}

/// What became of one message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The rows that were refused.
    pub rejections: Vec<v1::Rejection>,
    /// How many more, by reason, of this and other messages decided with it.
    pub collapsed: Vec<v1::RejectionCount>,
}

/// One session.
pub struct Client {
    outgoing: Option<mpsc::Sender<ClientMessage>>,
    incoming: Streaming<ServerMessage>,
    seq: u64,
    applied_seq: u64,
    /// The first answer; empty for a client that has not said hello.
    pub welcome: v1::Welcome,
    /// What it sees.
    pub replica: Replica,
    /// Every rejection so far.
    pub rejections: Vec<v1::Rejection>,
    /// Every count of rejections so far.
    pub collapsed: Vec<v1::RejectionCount>,
    /// Every fill of a view so far.
    pub ready: Vec<v1::ViewReady>,
    /// Every answer to a create so far.
    pub created: Vec<v1::Created>,
    /// Every answer to a reservation so far.
    pub reserved: Vec<v1::IdsReserved>,
    /// Every hold that it took.
    pub holds: Vec<v1::HoldTaken>,
    /// Pages of answers.
    pub answers: Vec<v1::Answer>,
    /// What it believes to own.
    pub owned: Owned,
    /// The last goodbye.
    pub goodbye: Option<v1::Goodbye>,
}

impl Client {
    /// Opens a stream and says nothing.
    pub async fn open(world: &World) -> Self {
        Self::new(link::attach(world.channel().await).await)
    }

    fn new(link: Link) -> Self {
        Self {
            outgoing: Some(link.outgoing),
            incoming: link.incoming,
            seq: 0,
            applied_seq: 0,
            welcome: v1::Welcome::default(),
            replica: Replica::new(1 << 20),
            rejections: Vec::new(),
            collapsed: Vec::new(),
            ready: Vec::new(),
            created: Vec::new(),
            reserved: Vec::new(),
            holds: Vec::new(),
            answers: Vec::new(),
            owned: Owned::default(),
            goodbye: None,
        }
    }

    /// Attaches: hello, welcome, reset.
    pub async fn attach(world: &World, worker_type: &str, name: &str) -> Self {
        Self::attach_with(world, Self::hello(worker_type, name)).await
    }

    /// Attaches with a hello of one's own.
    pub async fn attach_with(world: &World, hello: v1::Hello) -> Self {
        Self::attach_by(world.channel().await, hello).await
    }

    /// Attaches to an address.
    pub async fn attach_at(address: &str, hello: v1::Hello) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        Self::attach_by(endpoint.connect().await.expect("it answers"), hello).await
    }

    async fn attach_by(channel: Channel, hello: v1::Hello) -> Self {
        let mut client = if link::is_by_calls() {
            let client = Self::new(link::open(channel, hello).await);
            Self { seq: 1, ..client }
        } else {
            let mut client = Self::new(link::attach(channel).await);
            client.send(Body::Hello(hello)).await;
            client
        };
        let Some(server_message::Body::Welcome(welcome)) = client.message().await else {
            panic!("the first answer is Welcome")
        };
        client.replica = Replica::new(welcome.limits["frame_bytes_max"] as usize);
        client.welcome = welcome;
        let second = client.message().await;
        assert_eq!(second, Some(server_message::Body::Reset(v1::Reset {})), "then comes Reset");
        client
    }

    /// A hello as any worker says it.
    pub fn hello(worker_type: &str, name: &str) -> v1::Hello {
        v1::Hello {
            protocol_min: 1,
            protocol_max: 1,
            worker_type: worker_type.to_owned(),
            name: name.to_owned(),
            instance: format!("test {}", std::process::id()),
            ..v1::Hello::default()
        }
    }

    /// Sends the next message and says which it was. One to a session that has ended is lost.
    pub async fn send(&mut self, body: Body) -> u64 {
        self.seq += 1;
        self.send_raw(ClientMessage { seq: self.seq, body: Some(body) }).await;
        self.seq
    }

    /// Sends a message as it is.
    pub async fn send_raw(&mut self, message: ClientMessage) {
        if let Some(outgoing) = &self.outgoing {
            let sent = timeout(DEADLINE, outgoing.send(message)).await;
            let _ = sent.expect("the server takes messages");
        }
    }

    /// Ends its own half of the stream.
    pub fn half_close(&mut self) {
        self.outgoing = None;
    }

    /// Takes messages until the condition holds between two whole sets of changes.
    ///
    /// # Panics
    /// If it does not in time, or the session ends before.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let wait = async {
            while self.replica.more || !holds(self) {
                assert!(self.message().await.is_some(), "the session ended before: {what}");
            }
        };
        let in_time = timeout(DEADLINE, wait).await.is_ok();
        assert!(in_time, "not in time: {what}; in view: {:?}", self.replica.ids());
    }

    /// The next message, after it was applied. `None` at the end of the stream.
    ///
    /// # Panics
    /// If none comes in time, or the stream ends with an error.
    pub async fn message(&mut self) -> Option<server_message::Body> {
        let message = timeout(DEADLINE, self.incoming.message()).await.expect("a message in time");
        let body = message.expect("no error").map(|message| message.body.expect("a body"));
        if let Some(body) = &body {
            self.take(body);
        }
        body
    }

    /// Every message up to this one is decided.
    pub const fn applied_seq(&self) -> u64 {
        self.applied_seq
    }

    /// The next message, after it was applied. `None`: the stream has ended, however.
    ///
    /// # Panics
    /// If nothing comes in time.
    pub async fn message_if_any(&mut self) -> Option<server_message::Body> {
        let message = timeout(DEADLINE, self.incoming.message()).await.expect("something in time");
        let body = message.ok().flatten()?.body.expect("a body");
        self.take(&body);
        Some(body)
    }

    /// Takes messages to the end of the session.
    ///
    /// # Panics
    /// If it does not end in time, or in a way that is not of spatialdb.
    pub async fn ending(&mut self) -> Ending {
        let read = async {
            loop {
                match self.incoming.message().await {
                    Ok(Some(message)) => self.take(&message.body.expect("a body")),
                    Ok(None) => {
                        let goodbye = self.goodbye.take().expect("no stream ends without a word");
                        return Ending::Goodbye(goodbye.reason, goodbye.detail);
                    }
                    Err(status) => {
                        let error = error_of_status(&status);
                        let error = error.unwrap_or_else(|| panic!("not an error of ours: {status:?}"));
                        assert_eq!(status.code(), spatialdb_proto::grpc_code(error.reason.code()));
                        return Ending::Error(error.reason, error.detail);
                    }
                }
            }
        };
        timeout(DEADLINE, read).await.expect("the session ends in time")
    }

    fn take(&mut self, body: &server_message::Body) {
        match body {
            server_message::Body::Frame(frame) => {
                self.replica.apply(frame);
                self.applied_seq = frame.applied_seq;
                self.rejections.extend(frame.rejections.iter().cloned());
                self.collapsed.extend(frame.rejections_collapsed.iter().cloned());
                self.ready.extend(frame.view_ready.iter().copied());
            }
            server_message::Body::Created(created) => {
                assert!(created.seq > self.applied_seq, "Created comes before its message is decided");
                self.created.push(created.clone());
            }
            server_message::Body::IdsReserved(reserved) => {
                assert!(reserved.seq > self.applied_seq, "IdsReserved comes before its message is decided");
                self.reserved.push(*reserved);
            }
            server_message::Body::HoldTaken(taken) => {
                assert!(taken.seq > self.applied_seq, "HoldTaken comes before its message is decided");
                self.holds.push(*taken);
            }
            server_message::Body::Answer(answer) => self.answers.push(answer.clone()),
            server_message::Body::Authority(message) => self.owned.take(message),
            server_message::Body::Goodbye(goodbye) => self.goodbye = Some(goodbye.clone()),
            _ => {}
        }
    }
}
