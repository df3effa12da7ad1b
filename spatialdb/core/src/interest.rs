//! Interest: which entities a subscriber sees.
//!
//! Responsible for: constraints, views, and turning changes of a store into a subscriber's delta.
//! Not responsible for: changing the store, or merging partitions (that is the session's).

mod anchors;
mod area;
mod backlog;
mod constraint;
mod counting;
mod coverage;
mod delta;
mod densities;
mod events;
mod explain;
mod field;
mod fill;
mod followed;
mod held;
mod increment;
mod lane;
mod row_table;
mod shadow;
mod shared;
mod stance;
mod subscriber;
mod sweep;
mod tell;
mod touched;
mod view;
mod watch;

pub(crate) use area::Area;
pub use constraint::{Candidates, Constraint, Subject, Values};
pub(crate) use coverage::{Coverage, Crowd, Extent, Place};
pub(crate) use delta::DeltaBuilder;
pub use densities::Densities;
pub use explain::{Check, Names};
pub use field::{Comparison, Encoding, FieldTest, Scalar, Step};
pub use followed::OwnedLayer;
pub(crate) use followed::{Followed, Realm};
pub(crate) use lane::bits;
pub use shadow::ShadowMismatch;
pub use shared::{Rows, SharedRows};
pub(crate) use shared::{SharedPlace, SharedSet};
pub(crate) use subscriber::Subscriber;
pub(crate) use sweep::Sweep;
pub use view::{Part, View, ViewSet};
pub(crate) use watch::{SubscriberId, SubscriberIds, Watch, Watchers};
