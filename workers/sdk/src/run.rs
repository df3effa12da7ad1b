//! The loop of a worker that goes by ticks.
//!
//! Responsible for: ticks, heartbeats, letting go of regions, the end of the program: by a signal, or because the worker was
//! drained. Not responsible for: what is simulated.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval};

use crate::{Batch, Event, Region, SendError, Worker, WorkerError};

/// Well below the shortest `lease_ttl` that a world may have (750 ms).
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(250);

/// What a worker does in [`Worker::run`]. It keeps nothing that is not in the world as well: another worker may have what it
/// owns at any moment, and goes on with what the replica shows.
pub trait Simulation {
    /// What may go wrong.
    type Error: From<WorkerError> + From<SendError>;

    /// One step: reads the replica, and writes what [`Worker::owned`] gives into the batch, which is sent afterwards. Called
    /// only while the replica shows all that the views match.
    fn tick(
        &mut self,
        worker: &mut Worker,
        batch: &mut Batch,
    ) -> impl Future<Output = Result<(), Self::Error>>;

    /// Something happened. Does nothing if left out.
    fn hear(&mut self, _worker: &mut Worker, _event: Event) -> impl Future<Output = Result<(), Self::Error>> {
        async { Ok(()) }
    }

    /// Others are about to get these regions: writes what is not in the world yet into the batch. When that is sent, the
    /// worker has let go of them. Called with all regions, in a world without layers with none, before the worker ends.
    /// Does nothing if left out.
    fn before_loss(
        &mut self,
        _worker: &mut Worker,
        _regions: &[Region],
        _batch: &mut Batch,
    ) -> impl Future<Output = Result<(), Self::Error>> {
        async { Ok(()) }
    }

    /// The worker ends: what is put into the batch is sent last of all. Does nothing if left out.
    fn before_end(
        &mut self,
        _worker: &mut Worker,
        _batch: &mut Batch,
    ) -> impl Future<Output = Result<(), Self::Error>> {
        async { Ok(()) }
    }
}

/// What a turn of the loop is about.
enum Turn {
    Stop,
    Heard(Box<Event>),
    Beat,
    Tick,
}

impl Worker {
    /// Ticks until SIGTERM or SIGINT, or until the worker was drained, and then says goodbye. Sends heartbeats, and
    /// reconnects. A tick that takes longer than `period` puts the next ones off.
    ///
    /// ```no_run
    /// use spatialdb_sdk::{Batch, Component, Constraint, Simulation, View, ViewId, Worker, WorkerOptions, v1::Metadata};
    ///
    /// struct Shouting;
    ///
    /// impl Simulation for Shouting {
    ///     type Error = Box<dyn std::error::Error>;
    ///
    ///     async fn tick(&mut self, worker: &mut Worker, batch: &mut Batch) -> Result<(), Self::Error> {
    ///         for found in worker.owned_with::<Metadata>() {
    ///             let (entity, mut metadata) = found?;
    ///             metadata.name.push('!');
    ///             batch.update(entity, &metadata);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut worker = Worker::connect(WorkerOptions::from_env_or("shouting")?).await?;
    /// worker.subscribe(View::new(ViewId(1), Constraint::has::<Metadata>()).own_updates()).await?;
    /// worker.run(&mut Shouting, std::time::Duration::from_millis(100)).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the session has ended for good, a batch is larger than the server takes, or the simulation fails.
    pub async fn run<S: Simulation>(mut self, simulation: &mut S, period: Duration) -> Result<(), S::Error> {
        let mut stop = std::pin::pin!(told_to_stop());
        // A period of nothing is none.
        let mut ticks = interval(period.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beats = interval(HEARTBEAT_INTERVAL);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Batch::new();
        let mut busy = Duration::ZERO;
        loop {
            let turn = tokio::select! {
                () = &mut stop => Turn::Stop,
                event = self.next_event() => Turn::Heard(Box::new(event?)),
                _ = beats.tick() => Turn::Beat,
                _ = ticks.tick() => Turn::Tick,
            };
            match turn {
                Turn::Stop => break,
                Turn::Heard(event) => match *event {
                    Event::Drained => break,
                    Event::LossImminent { region, .. } => {
                        let seen = self.authority_seen();
                        simulation.before_loss(&mut self, &[region], &mut batch).await?;
                        self.send_if_connected(&mut batch, seen).await?;
                    }
                    event => simulation.hear(&mut self, event).await?,
                },
                Turn::Beat => self.heartbeat((busy.as_secs_f64() / period.as_secs_f64()).min(1.0), busy),
                Turn::Tick if !self.is_ready() => {}
                Turn::Tick => {
                    let (started, seen) = (Instant::now(), self.authority_seen());
                    simulation.tick(&mut self, &mut batch).await?;
                    self.send_if_connected(&mut batch, seen).await?;
                    busy = started.elapsed();
                }
            }
        }
        let (regions, seen) = (self.regions().cloned().collect::<Vec<_>>(), self.authority_seen());
        simulation.before_loss(&mut self, &regions, &mut batch).await?;
        self.send_if_connected(&mut batch, seen).await?;
        let seen = self.authority_seen();
        simulation.before_end(&mut self, &mut batch).await?;
        self.send_if_connected(&mut batch, seen).await?;
        self.goodbye("").await;
        Ok(())
    }

    /// Without a session nobody can write: what the world has counts, and the next tick goes on from there.
    async fn send_if_connected(&mut self, batch: &mut Batch, seen: u64) -> Result<(), SendError> {
        if batch.is_empty() {
            return Ok(());
        }
        // A session that is new since has told less.
        let seen = seen.min(self.authority_seen());
        match self.send_as(batch, seen).await {
            Ok(_) => Ok(()),
            Err(SendError::Disconnected) => {
                batch.clear();
                Ok(())
            }
            // It goes with the next one, once the events are read.
            Err(SendError::EventsUnread { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Comes back when the process is told to end.
#[cfg(unix)]
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};

    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
                _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
            }
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(error = %error, "cannot listen for signals");
            std::future::pending::<()>().await;
        }
    }
}

/// Comes back when the process is told to end.
#[cfg(not(unix))]
async fn told_to_stop() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::warn!(error = %error, "cannot listen for ctrl-c");
        std::future::pending::<()>().await;
    }
}
