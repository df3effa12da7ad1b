//! The Rust SDK for spatialdb workers: connect, keep a local replica of what your views show, write back.
//!
//! Responsible for: the session of one worker ([`Worker`]), its local [`Replica`], typed writes ([`Batch`],
//! [`NewEntities`]), bounded queues, reconnecting.
//! Not responsible for: what a worker simulates, and its loop: the worker calls [`Worker::next_event`] and
//! [`Worker::heartbeat`] itself, so that a hung worker shows as one.
//!
//! ```no_run
//! use spatialdb_sdk::{Batch, Constraint, Event, View, ViewId, Worker, WorkerOptions, v1::Metadata};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut worker = Worker::connect(WorkerOptions::from_env()?).await?;
//! worker.subscribe(View::new(ViewId(1), Constraint::has::<Metadata>())).await?;
//! loop {
//!     if let Event::Frame(frame) = worker.next_event().await? {
//!         let mut batch = Batch::new();
//!         for entity in &frame.changes.entered {
//!             if let Some(mut metadata) = worker.replica().get::<Metadata>(*entity)? {
//!                 metadata.name.push('!');
//!                 batch.update(*entity, &metadata);
//!             }
//!         }
//!         worker.send(&mut batch).await?;
//!         worker.heartbeat(0.1, std::time::Duration::from_millis(1));
//!     }
//! }
//! # }
//! ```

mod backoff;
mod batch;
mod component;
mod connection;
mod create;
mod error;
mod event;
mod fields;
mod inbox;
mod options;
mod replica;
mod session;
pub mod testing;
mod tools;
mod view;
mod worker;

pub use backoff::{Backoff, BackoffLimits};
pub use batch::Batch;
pub use component::Component;
pub use create::{NewEntities, Row};
pub use error::{ReadError, ReplicaError, SendError, WorkerError};
pub use event::{Event, FrameEvent, Rejected, Ticket, Welcomed};
pub use options::{OptionsError, TlsOptions, WorkerOptions};
pub use replica::{Changes, LeaveReason, Replica};
pub use spatialdb_proto::v1;
pub use spatialdb_types::{
    Box3, ComponentId, EntityId, ErrorCode, Point3, Position, Reason, Revision, SpaceId, ViewId,
};
pub use tools::list_sessions;
pub use view::{Constraint, View};
pub use worker::Worker;
