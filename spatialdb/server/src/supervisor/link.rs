//! What server and supervisor tell each other.
//!
//! Responsible for: the two ends. Not responsible for: what is said.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

use tokio::sync::watch;

use super::{Demand, Occupied};

/// The server's end.
#[derive(Debug)]
pub struct ServerLink {
    /// How many workers are wanted. Nothing needs to be sent; `send_replace` and `send_if_modified` work whether or not
    /// there is a supervisor.
    pub demand: watch::Sender<Demand>,
    /// Whose names others hold.
    pub occupied: watch::Sender<Occupied>,
    /// How many there are, by worker type.
    pub counts: watch::Receiver<BTreeMap<String, WorkerCount>>,
}

/// The supervisor's end. What the server said last holds on when the other end is dropped.
#[derive(Debug)]
pub struct SupervisorLink {
    pub(super) demand: watch::Receiver<Demand>,
    pub(super) occupied: watch::Receiver<Occupied>,
    pub(super) counts: watch::Sender<BTreeMap<String, WorkerCount>>,
}

/// How many workers of one type there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerCount {
    /// As many should be there: what is asked for, within `min` and `max`, without those that ended well by themselves.
    pub wanted: usize,
    /// As many processes run, those that are about to end among them.
    pub running: usize,
    /// As many have no process because somebody else holds their name.
    pub occupied: usize,
}

/// Both ends.
pub fn link() -> (ServerLink, SupervisorLink) {
    let (demand, demand_told) = watch::channel(Demand::default());
    let (occupied, occupied_told) = watch::channel(Occupied::default());
    let (counts, counts_told) = watch::channel(BTreeMap::new());
    let supervisor = SupervisorLink { demand: demand_told, occupied: occupied_told, counts };
    (ServerLink { demand, occupied, counts: counts_told }, supervisor)
}

/// Resolves once a worker has nothing left to do.
pub type Drained = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Asks the server to give (worker type, name) nothing new and to hand over what it has. It is asked before a worker is
/// told to end because fewer are wanted, for at most its `drain_timeout`; dropping the answer means that nobody waits.
pub type Drain = Arc<dyn Fn(&str, &str) -> Drained + Send + Sync>;

/// The drain of a server that gives workers nothing which it could hand over.
pub fn drain_nothing() -> Drain {
    Arc::new(|_, _| Box::pin(std::future::ready(())))
}
