//! Everything that can go wrong for a worker.
//!
//! Responsible for: errors of the session, of sending, of the replica.
//! Not responsible for: rejections. Those are normal outcomes and arrive as events.

use std::path::PathBuf;

use spatialdb_types::{ComponentId, EntityId, ErrorCode, Revision, ViewId};

/// Why a session could not start, or has ended for good.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Nothing listens there, or the connection broke.
    #[error("cannot reach spatialdb at {address}: {detail}")]
    Unreachable {
        /// Where, as host:port.
        address: String,
        /// What the network said.
        detail: String,
    },
    /// A certificate or key cannot be read.
    #[error("{}: {detail}", file.display())]
    Certificate {
        /// Which file.
        file: PathBuf,
        /// Why not.
        detail: String,
    },
    /// The server took the connection but did not welcome the worker in time.
    #[error("spatialdb at {address} did not welcome the worker within {limit_ms} ms")]
    WelcomeTimeout {
        /// Where, as host:port.
        address: String,
        /// How long the worker waited.
        limit_ms: u128,
    },
    /// The server ended the session with an error.
    #[error("spatialdb ended the session: {reason}: {detail}")]
    Refused {
        /// What a client should do about it, where the server said so.
        code: Option<ErrorCode>,
        /// A reason of `docs/errors.md`, or the gRPC code of a foreign server.
        reason: String,
        /// Which thing, which limit.
        detail: String,
    },
    /// A newer session with the same worker type and name took over.
    #[error("a newer session of this worker type and name took over: {detail}")]
    Replaced {
        /// What the server said.
        detail: String,
    },
    /// The world's schema has no such component.
    #[error("the world has no component {name} (id {component})")]
    ComponentMissing {
        /// Its id in this worker.
        component: ComponentId,
        /// Its full name in this worker.
        name: &'static str,
    },
    /// The world knows the component under another id.
    #[error("component {name} has id {ours} in this worker and id {theirs} in the world")]
    ComponentIdDiffers {
        /// Its full name.
        name: &'static str,
        /// Its id in this worker.
        ours: ComponentId,
        /// Its id in the world.
        theirs: ComponentId,
    },
    /// The server sent what the protocol does not allow.
    #[error("the server broke the protocol: {detail}")]
    Protocol {
        /// What it sent, what was expected.
        detail: String,
    },
    /// The session has ended for good; the error that ended it was returned before.
    #[error("the worker has stopped")]
    Stopped,
}

impl WorkerError {
    /// Whether connecting again cannot help.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Refused { code, .. } => {
                matches!(code, Some(ErrorCode::Invalid | ErrorCode::Unauthenticated | ErrorCode::Forbidden))
            }
            Self::Certificate { .. }
            | Self::Replaced { .. }
            | Self::ComponentMissing { .. }
            | Self::ComponentIdDiffers { .. }
            | Self::Stopped => true,
            Self::Unreachable { .. } | Self::WelcomeTimeout { .. } | Self::Protocol { .. } => false,
        }
    }
}

/// Why a message was not sent. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no session now. [`Worker::next_event`](crate::Worker::next_event) reconnects.
    #[error("no session: the connection is down")]
    Disconnected,
    /// Only from calls that do not wait: a queue is full.
    #[error("the server is behind: {limit_name} = {limit} is reached")]
    Full {
        /// Which bound of [`WorkerOptions`](crate::WorkerOptions).
        limit_name: &'static str,
        /// Its value.
        limit: usize,
    },
    /// The batch is larger than the server takes in one message.
    #[error("a message of {value} is over the server's {limit_name} = {limit}")]
    TooLarge {
        /// Which limit of the server.
        limit_name: &'static str,
        /// What the message has.
        value: u64,
        /// What the server takes.
        limit: u64,
    },
    /// Too many answers wait: call `next_event` first.
    #[error("{limit} events are unread: call next_event first")]
    EventsUnread {
        /// How many may wait.
        limit: usize,
    },
    /// Some rows of a create chose their ids and some did not.
    #[error("{chosen} of {rows} new entities chose their ids: all must, or none")]
    IdsMixed {
        /// Rows with a chosen id.
        chosen: usize,
        /// All rows.
        rows: usize,
    },
    /// A bound on the session's views.
    #[error("view {view} is one more than the {limit} views of a session")]
    TooManyViews {
        /// The view that was not subscribed.
        view: ViewId,
        /// How many a session may have.
        limit: usize,
    },
}

/// A value in the replica does not decode as the type asked for: worker and world disagree on the schema.
#[derive(Debug, Clone, thiserror::Error)]
#[error("entity {entity}: {component} does not decode: {source}")]
pub struct ReadError {
    /// Whose value.
    pub entity: EntityId,
    /// The full name of the component or event.
    pub component: &'static str,
    /// What is wrong with the bytes.
    pub source: prost::DecodeError,
}

/// A frame that does not fit the replica. The replica is no longer usable: clear it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaError {
    /// Entered while in view.
    #[error("entity {0} entered twice")]
    EnteredTwice(EntityId),
    /// Left, changed or lost a component while not in view.
    #[error("entity {entity} is not in view but {what}")]
    NotInView {
        /// Which entity.
        entity: EntityId,
        /// What the frame said of it.
        what: &'static str,
    },
    /// A revision fell.
    #[error("entity {entity} component {component}: revision {after} came after {before}")]
    RevisionFell {
        /// Which entity.
        entity: EntityId,
        /// Which component.
        component: ComponentId,
        /// The revision in the replica.
        before: Revision,
        /// The revision in the frame.
        after: Revision,
    },
    /// Arrays of a column have different lengths.
    #[error("a column of component {component} has arrays of different lengths")]
    LengthsDiffer {
        /// Which component.
        component: ComponentId,
    },
    /// Arrays of a column of densities have different lengths.
    #[error("a column of densities of view {view} has arrays of different lengths")]
    SquaresDiffer {
        /// Which view.
        view: ViewId,
    },
    /// Frame numbers have no gaps within a session.
    #[error("frame {got} came where frame {expected} was due")]
    FrameGap {
        /// The number due.
        expected: u64,
        /// The number in the frame.
        got: u64,
    },
}
