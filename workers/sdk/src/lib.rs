//! The Rust SDK for spatialdb workers: connect, keep a local replica of what your views show, write back.
//!
//! Responsible for: the session of one worker ([`Worker`]), its local [`Replica`], typed writes ([`Batch`],
//! [`NewEntities`]), bounded queues, reconnecting.
//! Not responsible for: what a worker simulates. Its loop calls [`Worker::next_event`] and [`Worker::heartbeat`] itself, so
//! that a hung worker shows as one; [`Worker::run`] is such a loop, by ticks.
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
//!
//! - What to look at: [`Constraint`], joined by `&`, `|` and `!`, or in the query language. Live in a [`View`], with rates
//!   by distance ([`Bands`]) or as counts by square ([`Densities`]); asked once by [`Worker::ask`].
//! - What a player sees: [`interest`].
//! - What this worker may write in a world with layers: [`Worker::owns`], [`Worker::owned`], [`Worker::regions`], and
//!   [`Constraint::owned`] to look at it. It changes while the worker runs: [`Event::Gained`], [`Event::Lost`], and
//!   [`Event::LossImminent`], before which what is written is still taken. A [`Simulation`] that keeps nothing need not care.
//!   A write that comes too late is refused as [`ErrorCode::NotAuthoritative`]: a normal outcome.
//! - Events of entities: sent by [`Batch::emit`], and heard with the frame:
//!
//! ```no_run
//! # #[derive(Clone, PartialEq, prost::Message)]
//! # struct Horn {
//! #     #[prost(string, tag = "1")]
//! #     pattern: String,
//! # }
//! # spatialdb_sdk::event!(Horn, 1, 1005, "example.Horn");
//! # fn example(frame: spatialdb_sdk::FrameEvent) -> Result<(), spatialdb_sdk::ReadError> {
//! for event in &frame.events {
//!     if let Some(horn) = event.get::<Horn>()? {
//!         println!("{} sounds its horn: {}", event.entity, horn.pattern);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod ask;
mod authority;
mod backoff;
mod batch;
mod component;
mod connection;
mod constraint;
mod create;
mod error;
mod event;
mod fields;
mod inbox;
mod options;
mod replica;
mod run;
mod session;
pub mod testing;
mod tools;
mod view;
mod worker;

pub use ask::{Answer, Ask, AskError, Found};
pub use authority::{Border, Layer, LossReason, Region, Scope, Side};
pub use backoff::{Backoff, BackoffLimits};
pub use batch::Batch;
pub use component::{Component, EventMessage};
pub use constraint::{Constraint, Field, FieldValue, ITSELF};
pub use create::{NewEntities, Row};
pub use error::{ReadError, ReplicaError, SendError, WorkerError};
pub use event::{EntityEvent, Event, EventsMissed, FrameEvent, Rejected, Ticket, Welcomed};
pub use options::{OptionsError, TlsOptions, WorkerOptions};
pub use replica::{Changes, DensityMap, LeaveReason, Replica, Square};
pub use run::Simulation;
pub use spatialdb_proto::v1;
pub use spatialdb_types::{
    Box3, ComponentId, EntityId, Epoch, ErrorCode, Point3, Position, Reason, RegionId, Revision, SpaceId,
    ViewId,
};
pub use tools::list_sessions;
pub use view::{Band, Bands, Densities, View, interest};
pub use worker::Worker;
