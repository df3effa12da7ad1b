//! The behaviours of a session once more, over `Open`, `Frames` and `Send` instead of `Attach`: the same messages and the
//! same tests. The harness sees from the name of this program how to attach.

#[path = "../suite/attach.rs"]
mod attach;
#[path = "../suite/crossing.rs"]
mod crossing;
#[path = "../suite/events.rs"]
mod events;
#[path = "../suite/fields.rs"]
mod fields;
#[path = "../suite/interest.rs"]
mod interest;
#[path = "../suite/lifecycle.rs"]
mod lifecycle;
#[path = "../suite/slow.rs"]
mod slow;
#[path = "../suite/views.rs"]
mod views;
#[path = "../suite/writes.rs"]
mod writes;
