//! One viewer: a session and its replica.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use spatialdb_proto::v1::{Subscribe, View, ViewReady, client_message::Body};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tonic::transport::Channel;

use super::{
    super::{area::Area, error::BenchError, histogram::Histogram, link::Link},
    Clock, Counters, SPANS, Told, Truth, Watched, Wish,
    replica::Replica,
};

const FILL_TIMEOUT: Duration = Duration::from_secs(30);
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A session that looks on.
pub(in crate::bench) struct Viewer {
    link: Link<Bytes>,
    clock: Arc<Clock>,
    replica: Replica,
    areas: Vec<Area>,
    told: Told,
    counters: Arc<Counters>,
    delays_us: [Histogram; SPANS],
}

impl Viewer {
    /// Attaches a session over a connection that others may use too.
    ///
    /// # Errors
    /// The server does not welcome it.
    pub(in crate::bench) async fn attach(
        connection: Channel,
        token: Option<&str>,
        name: &str,
        clock: &Arc<Clock>,
        entities: usize,
    ) -> Result<Self, BenchError> {
        Ok(Self {
            link: Link::attach_over(connection, token, name).await?,
            clock: clock.clone(),
            replica: Replica::new(entities),
            areas: Vec::new(),
            told: Told::default(),
            counters: Arc::default(),
            delays_us: Default::default(),
        })
    }

    /// Starts its views and waits until all are full.
    ///
    /// # Errors
    /// The session ends, or shows anything else than it should.
    pub(in crate::bench) async fn fill(&mut self, wish: &Wish, truth: &Truth) -> Result<(), BenchError> {
        self.subscribe(wish)?;
        let deadline = Instant::now() + FILL_TIMEOUT;
        let mut full = 0;
        while full < wish.views.len() {
            for ready in self.next(deadline, "filling its views").await? {
                let expected = truth.inside(&self.areas[self.place(&ready)?]).len() as u64;
                if ready.entity_count != expected {
                    let found = ready.entity_count.to_string();
                    return Err(self.unexpected(format!("{expected} entities in view"), found));
                }
                full += 1;
            }
        }
        self.tell(Told::default());
        self.replica.check(self.link.receiver.name(), &self.areas, truth)
    }

    /// Starts its views and waits until all are full, of a world that does not rest.
    ///
    /// # Errors
    /// The session ends, or breaks a rule.
    pub(in crate::bench) async fn fill_meanwhile(&mut self, wish: &Wish) -> Result<(), BenchError> {
        self.subscribe(wish)?;
        let deadline = Instant::now() + FILL_TIMEOUT;
        let mut full = 0;
        while full < wish.views.len() {
            full += self.next(deadline, "filling its views").await?.len();
        }
        self.tell(Told::default());
        Ok(())
    }

    /// Takes in what comes until it is told how the world must be, or that nobody will tell.
    ///
    /// # Errors
    /// The session ends, or breaks a rule.
    pub(in crate::bench) async fn follow(
        &mut self,
        mut finished: oneshot::Receiver<Arc<Truth>>,
    ) -> Result<Option<Arc<Truth>>, BenchError> {
        loop {
            let message = tokio::select! {
                biased;
                message = self.link.receiver.message() => message?,
                truth = &mut finished => return Ok(truth.ok()),
            };
            self.take(&message)?;
        }
    }

    /// Takes in what comes until the replica equals the world.
    ///
    /// # Errors
    /// It does not in time.
    pub(in crate::bench) async fn settle(&mut self, truth: &Truth) -> Result<(), BenchError> {
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        while let Err(difference) = self.replica.check(self.link.receiver.name(), &self.areas, truth) {
            match timeout_at(deadline, self.link.receiver.message()).await {
                Ok(message) => self.take(&message?)?,
                Err(_) => return Err(difference),
            };
        }
        Ok(())
    }

    /// What it was told.
    pub(in crate::bench) fn watched(self) -> Watched {
        Watched { told: self.told, repeats: self.replica.repeats, delays_us: self.delays_us }
    }

    pub(super) fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    fn subscribe(&mut self, wish: &Wish) -> Result<(), BenchError> {
        for (view_id, (area, rate_hz)) in (1..).zip(&wish.views) {
            let constraint = Some(area.constraint());
            let view = View { view_id, constraint, rate_hz: *rate_hz, ..View::default() };
            self.link.sender.send(Body::Subscribe(Subscribe { view: Some(view) }))?;
            self.areas.push(*area);
        }
        Ok(())
    }

    async fn next(&mut self, deadline: Instant, what: &str) -> Result<Vec<ViewReady>, BenchError> {
        let Ok(message) = timeout_at(deadline, self.link.receiver.message()).await else {
            let what = format!("{}: {what}", self.link.receiver.name());
            return Err(BenchError::Timeout { what, waited: FILL_TIMEOUT });
        };
        let message = message?;
        self.take(&message)
    }

    fn take(&mut self, message: &[u8]) -> Result<Vec<ViewReady>, BenchError> {
        let span = self.clock.span.load(Ordering::Relaxed);
        let mut rows = 0;
        let taken = match span.checked_sub(1).and_then(|span| self.delays_us.get_mut(span)) {
            None => self.replica.apply(message, |_| rows += 1),
            Some(delays_us) => {
                let now_us = self.clock.origin.elapsed().as_micros() as f64;
                self.replica.apply(message, |at| {
                    rows += 1;
                    delays_us.add((now_us - at.z).max(0.0) as u64);
                })
            }
        };
        self.tell(self.told.and(Told { rows, frames: 1 }));
        taken.map_err(|fault| self.unexpected("a frame that keeps the rules".to_owned(), fault.to_string()))
    }

    fn tell(&mut self, told: Told) {
        self.told = told;
        self.counters.show(told);
    }

    fn place(&self, ready: &ViewReady) -> Result<usize, BenchError> {
        let place = (ready.view_id as usize).wrapping_sub(1);
        if place < self.areas.len() {
            return Ok(place);
        }
        Err(self.unexpected("a view of its own".to_owned(), format!("{ready:?}")))
    }

    fn unexpected(&self, expected: String, found: String) -> BenchError {
        BenchError::unexpected(self.link.receiver.name(), expected, found)
    }
}
