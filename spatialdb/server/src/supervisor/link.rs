//! What server and supervisor tell each other.
//!
//! Responsible for: the two ends. Not responsible for: what is said.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

use tokio::sync::{mpsc, oneshot, watch};

use super::{Demand, Held};
use crate::config::WorkerConfig;

/// Drains that wait for the server to hear of them.
const DRAINS_MAX: usize = 64;

/// The server's end.
#[derive(Debug)]
pub struct ServerLink {
    /// How many workers are wanted. Nothing needs to be sent; `send_replace` and `send_if_modified` work whether or not
    /// there is a supervisor.
    pub demand: watch::Sender<Demand>,
    /// Which names sessions hold.
    pub held: watch::Sender<Held>,
    /// How many there are, by worker type.
    pub counts: watch::Receiver<BTreeMap<String, WorkerCount>>,
    /// Who is to be drained. Whoever answers takes it; until then nobody is.
    pub drains: Option<mpsc::Receiver<DrainRequest>>,
}

/// A worker is to get nothing new and to hand over what it has.
#[derive(Debug)]
pub struct DrainRequest {
    /// Its type.
    pub worker_type: String,
    /// Its name.
    pub name: String,
    /// To be told when it has nothing; closed when nobody waits for that any longer.
    pub done: oneshot::Sender<()>,
}

/// The supervisor's end. What the server said last holds on when the other end is dropped.
#[derive(Debug)]
pub struct SupervisorLink {
    pub(super) demand: watch::Receiver<Demand>,
    pub(super) held: watch::Receiver<Held>,
    pub(super) counts: watch::Sender<BTreeMap<String, WorkerCount>>,
    drains: mpsc::Sender<DrainRequest>,
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

/// Both ends, of the supervisor of these tables.
pub fn link(configs: &[WorkerConfig]) -> (ServerLink, SupervisorLink) {
    let types = configs.iter().map(|config| config.worker_type.as_str());
    let (demand, demand_told) = watch::channel(Demand::default());
    let (held, held_told) = watch::channel(Held::of(types));
    let (counts, counts_told) = watch::channel(BTreeMap::new());
    let (drains, drains_told) = mpsc::channel(DRAINS_MAX);
    let supervisor = SupervisorLink { demand: demand_told, held: held_told, counts, drains };
    (ServerLink { demand, held, counts: counts_told, drains: Some(drains_told) }, supervisor)
}

impl SupervisorLink {
    /// Drains by the server at the other end. If that is gone there is nothing to hand over.
    pub fn drain(&self) -> Drain {
        let drains = self.drains.clone();
        Arc::new(move |worker_type, name| {
            let (done, drained) = oneshot::channel();
            let request = DrainRequest { worker_type: worker_type.to_owned(), name: name.to_owned(), done };
            let drains = drains.clone();
            Box::pin(async move {
                if drains.send(request).await.is_ok() {
                    // The server may go down meanwhile.
                    let _ = drained.await;
                }
            })
        })
    }
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
