//! How high entities are, as everybody sees it: each only rises, and every write lifts it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use spatialdb_proto::v1::{self, server_message::Body};
use spatialdb_tests::{Client, POSITION, World, has, view};
use tokio::{sync::oneshot, task::JoinHandle};

/// A viewer of all that has a position.
pub(crate) struct Viewer {
    seen: Arc<Mutex<Heights>>,
    stop: oneshot::Sender<()>,
    viewing: JoinHandle<Client>,
}

/// What it has seen.
#[derive(Debug, Default)]
pub(crate) struct Heights {
    entities: BTreeMap<u64, Height>,
    /// The longest that an entity stood still, and which.
    still_max: (Duration, u64),
}

#[derive(Debug)]
struct Height {
    m: f64,
    revision: u64,
    since: Instant,
}

impl Viewer {
    /// Looks on from now on.
    pub(crate) async fn start(world: &World) -> Self {
        let mut client = Client::attach(world, "viewer", "").await;
        let seen = Arc::new(Mutex::new(Heights::default()));
        client.subscribe(view(1, has(POSITION))).await;
        let (stop, mut stopped) = oneshot::channel();
        let heights = Arc::clone(&seen);
        let viewing = tokio::spawn(async move {
            loop {
                let body = tokio::select! {
                    _ = &mut stopped => return client,
                    body = client.message() => body.expect("the viewer's session lives"),
                };
                if let Body::Frame(frame) = body {
                    lock(&heights).see(&frame, Instant::now());
                }
            }
        });
        Self { seen, stop, viewing }
    }

    /// What it has seen so far.
    pub(crate) fn heights(&self) -> MutexGuard<'_, Heights> {
        lock(&self.seen)
    }

    /// Whether it has seen what must not be: [`Viewer::stop`] says what.
    pub(crate) fn has_failed(&self) -> bool {
        self.viewing.is_finished()
    }

    /// Stops. Gives its session, and the longest that an entity stood still, and which.
    ///
    /// # Panics
    /// If it has seen what must not be.
    pub(crate) async fn stop(self) -> (Client, (Duration, u64)) {
        // If it has failed, nobody hears it.
        let _ = self.stop.send(());
        let client = self.viewing.await.expect("every write lifts an entity");
        (client, lock(&self.seen).still_max)
    }
}

impl Heights {
    /// Whether all of so many entities were lifted since.
    pub(crate) fn have_risen(&self, count: usize, since: Instant) -> bool {
        self.entities.len() == count && self.entities.values().all(|height| height.since > since)
    }

    fn see(&mut self, frame: &v1::Frame, now: Instant) {
        for column in &frame.positions {
            for (row, (&entity, &revision)) in column.entities.iter().zip(&column.revisions).enumerate() {
                // All of them on the ground are told without heights.
                let m = column.z.get(row).copied().unwrap_or(0.0);
                let seen = Height { m, revision, since: now };
                let Some(before) = self.entities.get_mut(&entity) else {
                    self.entities.insert(entity, seen);
                    continue;
                };
                // It may be told again as it was.
                if revision > before.revision {
                    assert!(m > before.m, "entity {entity} was written and went from {before:?} to {seen:?}");
                    self.still_max = self.still_max.max((now - before.since, entity));
                    *before = seen;
                } else {
                    assert!(m == before.m, "entity {entity} was at {before:?} and is at {seen:?}");
                }
            }
        }
    }
}

fn lock(seen: &Mutex<Heights>) -> MutexGuard<'_, Heights> {
    // What it saw before it failed is as good as ever.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
