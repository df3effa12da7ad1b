//! What server and supervisor owe each other.
//!
//! Responsible for: telling which names sessions hold, and whose do nothing; draining a worker that is to end. Not responsible for: how many are
//! wanted (`authority`), processes (`supervisor`).

use std::sync::Arc;

use spatialdb_types::SessionId;
use tokio::sync::mpsc;

use super::edge::Edge;
use super::port::Stats;
use crate::supervisor::{DrainRequest, Holder};

/// A session has opened, and has its name from now on.
pub(super) fn open(edge: &Edge, session: SessionId, stats: &Stats) {
    let Some(link) = &edge.workers else { return };
    // Without tokens nobody can say who it is.
    let is_stranger = edge.access.tokens.is_some() && !stats.principal.is_own;
    let holder = if is_stranger { Holder::Stranger } else { Holder::Somebody };
    link.held
        .send_if_modified(|held| held.insert(&stats.worker_type, &stats.name, u64::from(session.0), holder));
}

/// A session is over.
pub(super) fn close(edge: &Edge, session: SessionId, stats: &Stats) {
    let Some(link) = &edge.workers else { return };
    link.held.send_if_modified(|held| held.remove(&stats.worker_type, &stats.name, u64::from(session.0)));
}

/// Somebody drains a worker: that it ends then is no reason not to start it again.
pub(super) fn told_to_end(edge: &Edge, worker_type: &str, name: &str) {
    let Some(link) = &edge.workers else { return };
    link.held.send_if_modified(|held| held.drain(worker_type, name));
}

/// Tells whose sessions are there and do nothing, as long as the world runs.
pub(super) async fn tell_hanging(edge: Arc<Edge>) {
    let Some(link) = &edge.workers else { return };
    let mut pictures = edge.authority.watch();
    loop {
        let picture = pictures.borrow_and_update().clone();
        let hanging = picture.workers.values().filter(|worker| worker.is_silent || worker.is_stalled);
        let names = hanging.map(|worker| (worker.worker_type.as_str(), worker.name.as_str()));
        link.held.send_if_modified(|held| held.set_hanging(names));
        if pictures.changed().await.is_err() {
            return;
        }
    }
}

/// Drains whom the supervisor wants to end, as long as the world runs.
pub(super) async fn drain(edge: Arc<Edge>, requests: Option<mpsc::Receiver<DrainRequest>>) {
    let Some(mut requests) = requests else { return };
    while let Some(request) = requests.recv().await {
        let edge = edge.clone();
        tokio::spawn(async move {
            let DrainRequest { worker_type, name, mut done } = request;
            let is_drained = tokio::select! {
                () = done.closed() => false,
                () = drained(&edge, &worker_type, &name) => true,
            };
            if is_drained {
                // It may have ended in this moment.
                let _ = done.send(());
            }
        });
    }
}

/// Waits until the worker has nothing. If there is nobody whom it could hand over to, that is when its session is over.
async fn drained(edge: &Edge, worker_type: &str, name: &str) {
    let picture = edge.authority.picture();
    let worker = picture.workers.values().find(|w| w.worker_type == worker_type && w.name == name);
    let Some(session) = worker.map(|worker| worker.session) else { return };
    // One that is gone meanwhile has nothing, and a player can hand over nothing.
    let Some(Ok(())) = edge.authority.act(edge, |issuer, now, outbox| issuer.drain(session, now, outbox))
    else {
        return;
    };
    let _ = edge.authority.watch().wait_for(|picture| picture.owned_by(session) == 0).await;
}
