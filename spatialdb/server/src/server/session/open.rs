//! Sessions whose workers cannot stream upwards: `Open` says hello, `Frames` carries what the session says, `Send` what
//! the worker says. The session itself is the same as with `Attach`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use rustc_hash::FxBuildHasher;
use spatialdb_proto::{IncomingSend, status_of, v1};
use spatialdb_types::{Error, Reason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::reader::{self, Reader};
use super::task::Task;
use super::{OUT_QUEUE, Stream};
use crate::random;
use crate::server::access::Caller;
use crate::server::edge::Edge;

/// How long after `Open` its `Frames` may come.
const FRAMES_TIMEOUT: Duration = Duration::from_secs(10);

/// The open sessions by their keys. As many as `sessions_max` at most.
#[derive(Clone, Default)]
pub(super) struct OpenSessions {
    by_key: Arc<DashMap<String, Arc<OpenSession>, FxBuildHasher>>,
}

struct OpenSession {
    /// One `Send` at a time.
    reader: tokio::sync::Mutex<Reader>,
    /// Until `Frames` takes it.
    task: Mutex<Option<Task>>,
}

impl OpenSessions {
    /// Says hello. Returns the key.
    pub(super) fn open(&self, edge: &Arc<Edge>, caller: &Caller, hello: v1::Hello) -> Result<String, Error> {
        let (reader, task) = reader::open(edge, caller, hello)?;
        reader.welcome();
        let key = random::key();
        let session = OpenSession { reader: tokio::sync::Mutex::new(reader), task: Mutex::new(Some(task)) };
        self.by_key.insert(key.clone(), Arc::new(session));
        let (sessions, waiting) = (self.clone(), key.clone());
        tokio::spawn(async move {
            tokio::time::sleep(FRAMES_TIMEOUT).await;
            if let Ok(task) = sessions.take_task(&waiting) {
                // Nobody listens: it ends at once.
                let (out, _) = mpsc::channel(1);
                task.run(out).await;
                sessions.by_key.remove(&waiting);
            }
        });
        Ok(key)
    }

    /// What the session says, from its Welcome on. The session ends with it.
    pub(super) fn frames(&self, key: String) -> Result<Stream, Error> {
        let task = self.take_task(&key)?;
        let (out, stream) = mpsc::channel(OUT_QUEUE);
        let sessions = self.clone();
        tokio::spawn(async move {
            task.run(out).await;
            sessions.by_key.remove(&key);
        });
        Ok(ReceiverStream::new(stream))
    }

    /// Takes messages in, in order.
    pub(super) async fn send(&self, sent: IncomingSend) -> Result<(), Status> {
        let session = self.find(&sent.session_key).map_err(|error| status_of(&error))?;
        let messages = sent.read().map_err(|error| {
            status_of(&Error::new(Reason::MessageMalformed, format!("not a ClientMessage: {error}")))
        })?;
        // Not given up half way if the client goes: a message is taken in whole, or not at all.
        let taken = tokio::spawn(async move { session.reader.lock().await.receive(messages).await });
        taken.await.map_err(|_| status_of(&Error::new(Reason::Internal, "taking messages in has failed")))?
    }

    fn find(&self, key: &str) -> Result<Arc<OpenSession>, Error> {
        let unknown = || Error::new(Reason::SessionNotFound, "no session has this key, or it is over");
        self.by_key.get(key).map(|session| session.clone()).ok_or_else(unknown)
    }

    fn take_task(&self, key: &str) -> Result<Task, Error> {
        let session = self.find(key)?;
        let taken = session.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.ok_or_else(|| Error::new(Reason::MessageUnexpected, "this session has its Frames already"))
    }
}
