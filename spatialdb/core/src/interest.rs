//! Interest: which entities a subscriber sees.
//!
//! Responsible for: constraints, views, and turning changes of a store into a subscriber's delta.
//! Not responsible for: changing the store, or merging partitions (that is the session's).

mod constraint;
mod delta;
mod scan;
mod subscriber;
mod view;

pub use constraint::{Candidates, Constraint, Subject};
pub(crate) use delta::DeltaBuilder;
pub(crate) use subscriber::Subscriber;
pub use view::View;
