//! `WatchAuthority`: a keyframe, then what has changed whenever the watcher takes it.
//!
//! A watcher has no queue. It holds the picture that it was told last; when its connection has room, it takes the newest one
//! and tells the difference. So what it costs is bounded by what there is, however slowly it reads.

use std::sync::Arc;
use std::time::Duration;

use spatialdb_core::authority::layers::Layers;
use spatialdb_proto::{status_of, v1};
use spatialdb_types::{Error, Reason};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::sleep;
use tonic::Status;

use super::wire;
use crate::auth::Principal;
use crate::server::authority::{Difference, Picture};
use crate::server::edge::Edge;

/// Updates that wait for their reader.
pub(super) const UPDATES_WAITING: usize = 1;

/// A watcher is told no more often than that, however much changes.
const PAUSE: Duration = Duration::from_millis(20);

/// How often it is looked whether the watcher's token still holds.
const REVIEW: Duration = Duration::from_secs(1);

/// Regions, workers and the like in one update.
const ROWS_MAX: usize = 512;

type Updates = mpsc::Sender<Result<v1::AuthorityUpdate, Status>>;

/// One who watches.
pub(super) struct Watcher {
    pub(super) edge: Arc<Edge>,
    /// Who it is, if that is known.
    pub(super) principal: Option<Arc<Principal>>,
    pub(super) updates: Updates,
    /// Of `authority_watchers_max`.
    pub(super) _place: OwnedSemaphorePermit,
}

impl Watcher {
    /// Tells all there is, then what changes, until nobody listens, the token does not hold any more, or the server stops.
    pub(super) async fn run(self) {
        let end = tokio::select! {
            () = self.tell() => return,
            end = self.end() => end,
        };
        // Whoever does not read does not hear why either.
        let _ = self.updates.try_send(Err(status_of(&end)));
    }

    async fn tell(&self) {
        let mut pictures = self.edge.authority.watch();
        let (mut told, mut number) = (Arc::new(Picture::default()), 0);
        loop {
            if self.updates.reserve().await.is_err() {
                return;
            }
            let now = pictures.borrow_and_update().clone();
            let difference = now.since(&told);
            if number == 0 || !difference.is_empty() {
                let is_keyframe = number == 0;
                for piece in pieces(&self.edge.layers, &now, &difference) {
                    let Ok(room) = self.updates.reserve().await else { return };
                    number += 1;
                    room.send(Ok(v1::AuthorityUpdate {
                        number,
                        keyframe: is_keyframe,
                        open: self.edge.layers.is_open(),
                        world_time_us: self.edge.clock.now() as i64,
                        ..piece
                    }));
                }
            }
            told = now;
            sleep(PAUSE).await;
            if !self.changed(&mut pictures).await {
                return;
            }
        }
    }

    /// Returns whether anybody still listens.
    async fn changed(&self, pictures: &mut watch::Receiver<Arc<Picture>>) -> bool {
        tokio::select! {
            () = self.updates.closed() => false,
            changed = pictures.changed() => changed.is_ok(),
        }
    }

    /// Why nothing more is told.
    async fn end(&self) -> Error {
        let is_valid = || match (&self.edge.access.tokens, &self.principal) {
            (Some(tokens), Some(principal)) => crate::auth::Verifier::is_valid(&**tokens, principal),
            _ => true,
        };
        loop {
            tokio::select! {
                () = self.edge.stopping.cancelled() => {
                    return Error::new(Reason::Draining, "the server is stopping");
                }
                () = sleep(REVIEW) => if !is_valid() {
                    return Error::new(Reason::TokenInvalid, "the token has expired or was revoked");
                }
            }
        }
    }
}

/// What is to be told, in pieces of bounded size; one at least. The last one says that it is all.
fn pieces(layers: &Layers, now: &Picture, difference: &Difference) -> Vec<v1::AuthorityUpdate> {
    let mut pieces = vec![v1::AuthorityUpdate::default()];
    let mut rows = 0;
    let mut add = |put: &mut dyn FnMut(&mut v1::AuthorityUpdate)| {
        if rows == ROWS_MAX {
            rows = 0;
            pieces.push(v1::AuthorityUpdate::default());
        }
        rows += 1;
        if let Some(piece) = pieces.last_mut() {
            put(piece);
        }
    };
    for state in &difference.workers {
        add(&mut |piece| piece.workers.push(wire::worker(state)));
    }
    for state in &difference.regions {
        add(&mut |piece| piece.regions.push(wire::region(layers, now, state, Vec::new())));
    }
    for (worker_type, staff) in &difference.staff {
        add(&mut |piece| piece.wanted.push(wire::wanted(worker_type.clone(), *staff, String::new())));
    }
    for region in &difference.regions_gone {
        add(&mut |piece| piece.regions_gone.push(region.0));
    }
    for session in &difference.workers_gone {
        add(&mut |piece| piece.workers_gone.push(u64::from(session.0)));
    }
    if let Some(last) = pieces.last_mut() {
        last.complete = true;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use spatialdb_types::RegionId;

    #[test]
    fn what_is_much_comes_in_pieces_and_the_last_one_says_so() {
        let layers = Layers::default();
        let told = |count: u64| {
            let regions_gone = (0..count).map(RegionId).collect();
            let difference = Difference { regions_gone, ..Difference::default() };
            let pieces = pieces(&layers, &Picture::default(), &difference);
            pieces.iter().map(|piece| (piece.regions_gone.len(), piece.complete)).collect::<Vec<_>>()
        };
        assert_eq!(told(0), [(0, true)]);
        assert_eq!(told(512), [(512, true)]);
        assert_eq!(told(1025), [(512, false), (512, false), (1, true)]);
    }
}
