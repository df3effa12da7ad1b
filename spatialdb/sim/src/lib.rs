//! A seeded simulator of the spatialdb core, and its judges.
//!
//! One `u64` seed makes a world: partitions, spaces, entities, clients that write and watch, and the order in which
//! everything happens. The machines of `spatialdb-core` run as they are; between them stand queues, one per ordered
//! pair, first in first out, and nothing else is in order. Between any two steps a message may be late, a client
//! slow, or a partition restarted. From time to time the world comes to rest and the judges compare it with brute
//! force and with a sequential model.
//!
//! # To run
//! `cargo run --release -p spatialdb-sim -- --seeds 0..5000`. A seed that fails is printed with the judge, what
//! differs, and the command that repeats it. `--seed N --trace` says every step.
//!
//! # To add a workload
//! - another write: a column in `writer`, its routing in `edge`, what it means in `model`;
//! - another disturbance: a weight in `world` and an arm of `Sim::step` in `run`;
//! - another judge: a method in `judge` (at rest) or a check in `client` (with every frame).
//!
//! A judge is only believed once it has caught something: add a [`Bug`] that it alone should notice.
//!
//! # The judges
//! A replica equals the query of its views (`oracle`), and its squares a count of all entities (`squares`); frames keep their rules (`enter`, `leave`, `gone`, `value`,
//! `revision`, `applied`, `torn`, `echo`); no entity is lost, doubled, stale, or away from home; entities with one writer have
//! exactly what was written last (`state`) and exactly the right rows are refused; every row is decided (`outcome`);
//! events are told once, in order, not before the values that came with them, and to everybody who has the entity in view
//! (`event`, `event twice`, `event order`, `event early`, `event lost`, `event missed`);
//! a query over all partitions misses and doubles nothing while the world goes on (`cut`); a session has the views that entities give it (`interests`); all that partitions wrote to their logs, in any order, is the world (`log`); moves end and hints are right; views are filled once and count right; the world comes to rest, and nobody who has
//! something to say is asleep.

mod actor;
mod authority;
mod bug;
mod capture;
mod client;
mod cut;
mod driver;
mod edge;
mod events;
mod interests;
mod judge;
mod log;
mod model;
mod rng;
mod run;
mod squares;
mod values;
mod world;
mod writer;

pub use bug::Bug;
pub use judge::Failure;
pub use run::{Failed, run_seed, run_seeds};
