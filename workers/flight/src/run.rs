//! The loop of the worker: events in, orders out.
//!
//! Responsible for: feeding the fleet with what the session says, carrying out its orders, heartbeats, logs.
//! Not responsible for: which aircraft fly where (`fleet.rs`), the session (the SDK).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use spatialdb_sdk::{
    Batch, Changes, Constraint, EntityId, Event, NewEntities, Rejected, SendError, View, ViewId, Worker,
    WorkerOptions, list_sessions,
    v1::{ErrorCode, Metadata},
};
use tokio::time::MissedTickBehavior;

use crate::{
    earth::{AIRCRAFT_HEADING_DEG, Aircraft, Airport},
    fleet::{Fleet, Launch, Orders},
    flight::Runway,
};

const AIRPORTS: ViewId = ViewId(1);
const AIRCRAFT: ViewId = ViewId(2);
// Well within the rows of a message.
const MOVES_MAX: usize = 32_768;
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
const REPORT_INTERVAL: Duration = Duration::from_secs(10);
// The session of a run that was just killed may still be listed.
const OTHERS_PATIENCE: Duration = Duration::from_secs(5);

/// Unix time by the system clock, in microseconds.
pub(crate) fn unix_time_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as i64)
}

/// Connects, and makes sure to be the only one: two fleets that each keep the number of aircraft would undo
/// each other's work. Of several workers of the type, the one whose session is the oldest stays.
pub(crate) async fn connect_alone(options: WorkerOptions) -> Result<Worker> {
    let worker = Worker::connect(options.clone()).await.context("cannot attach to the world")?;
    let ours = worker.welcomed().session_id;
    let deadline = Instant::now() + OTHERS_PATIENCE;
    loop {
        let sessions = list_sessions(&options).await.context("cannot ask who else is attached")?;
        let older = sessions
            .into_iter()
            .find(|session| session.worker_type == options.worker_type && session.session_id < ours);
        let Some(older) = older else { return Ok(worker) };
        if Instant::now() > deadline {
            worker.goodbye("").await;
            bail!(
                "worker {:?} of type {:?} is attached already: one instance flies all aircraft; \
                 set count = 1 for it in world.toml",
                older.name,
                older.worker_type
            );
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// The worker while it runs.
pub(crate) struct Pilot {
    fleet: Fleet,
    /// Whether each view has had its fill.
    airports_ready: bool,
    aircraft_ready: bool,
    batch: Batch,
    report: Report,
}

/// What happened since the last line in the log.
#[derive(Default)]
struct Report {
    ticks: u64,
    ticks_skipped: u64,
    busy: Duration,
    created: u64,
    retired: u64,
    rejected: u64,
    last_rejection: String,
}

impl Pilot {
    pub(crate) fn new(fleet: Fleet) -> Self {
        Self {
            fleet,
            airports_ready: false,
            aircraft_ready: false,
            batch: Batch::new(),
            report: Report::default(),
        }
    }

    /// Flies until the session ends for good.
    pub(crate) async fn run(&mut self, worker: &mut Worker, period: Duration) -> Result<()> {
        let airports = View::new(AIRPORTS, Constraint::has::<Airport>()).component::<Airport>().positions();
        worker.subscribe(airports).await.context("cannot subscribe to the airports")?;
        let aircraft = View::new(AIRCRAFT, Constraint::has::<Aircraft>()).component::<Aircraft>();
        worker.subscribe(aircraft).await.context("cannot subscribe to the aircraft")?;
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut heartbeat_due, mut report_due) = (Instant::now(), Instant::now() + REPORT_INTERVAL);
        loop {
            let event = tokio::select! {
                event = worker.next_event() => Some(event.context("the session has ended")?),
                _ = ticks.tick() => None,
            };
            if let Some(event) = event {
                self.hear(worker, event);
                continue;
            }
            let started = Instant::now();
            self.tick(worker).await;
            let busy = started.elapsed();
            self.report.busy += busy;
            if started >= heartbeat_due {
                heartbeat_due = started + HEARTBEAT_INTERVAL;
                worker.heartbeat((busy.as_secs_f64() / period.as_secs_f64()).min(1.0), busy);
            }
            if started >= report_due {
                report_due = started + REPORT_INTERVAL;
                std::mem::take(&mut self.report).log(self.fleet.len());
            }
        }
    }

    fn hear(&mut self, worker: &Worker, event: Event) {
        match event {
            Event::Frame(frame) => self.observe(worker, &frame.changes),
            Event::ViewReady { view, entity_count } => {
                self.airports_ready |= view == AIRPORTS;
                self.aircraft_ready |= view == AIRCRAFT;
                let view = if view == AIRPORTS { "airports" } else { "aircraft" };
                tracing::info!(view, entity_count, "view ready");
                if self.airports_ready && self.fleet.airports_len() < 2 {
                    tracing::warn!(airports = self.fleet.airports_len(), "too few airports to fly between");
                }
            }
            Event::Created { request_id, entities, .. } => {
                self.report.created += entities.iter().flatten().count() as u64;
                self.fleet.created(&request_id, &entities, unix_time_us());
            }
            Event::Rejected(rejected) => self.rejected(&rejected),
            Event::RejectionsCollapsed { reason, count } => {
                self.report.rejected += count;
                self.report.last_rejection = reason;
            }
            Event::Reset => {
                self.fleet.reset();
                (self.airports_ready, self.aircraft_ready) = (false, false);
            }
            Event::Goodbye { reason, detail, .. } => {
                tracing::info!(reason, detail, "the server says goodbye");
            }
            Event::Disconnected { error, lost, retry_in } => {
                let (lost, retry_in_ms) = (lost.len(), retry_in.as_millis());
                tracing::warn!(error, lost, retry_in_ms, "disconnected");
            }
            Event::Reconnected(welcomed) => {
                tracing::info!(
                    session_id = welcomed.session_id,
                    incarnation = welcomed.incarnation,
                    "reconnected"
                );
            }
            // Of no concern to this worker.
            _ => {}
        }
    }

    fn observe(&mut self, worker: &Worker, changes: &Changes) {
        if changes.overflowed {
            self.fleet.reset();
            worker.replica().entities().for_each(|entity| self.look_at(worker, entity));
            return;
        }
        changes.left.iter().for_each(|(entity, _)| self.fleet.forget(*entity));
        changes.gone.iter().for_each(|(entity, _)| self.fleet.forget(*entity));
        let mut last = None;
        for (entity, _) in changes.gone.iter().chain(&changes.updated) {
            if last.replace(*entity) != Some(*entity) {
                self.look_at(worker, *entity);
            }
        }
    }

    fn look_at(&mut self, worker: &Worker, entity: EntityId) {
        let replica = worker.replica();
        match replica.get::<Aircraft>(entity) {
            Ok(Some(aircraft)) => return self.fleet.adopt(entity, aircraft),
            Ok(None) => {}
            Err(error) => tracing::error!(error = %error, "an aircraft cannot be read"),
        }
        if let Some(position) = replica.position(entity) {
            self.fleet.airport(entity, Runway::from_position(position));
        }
    }

    fn rejected(&mut self, rejected: &Rejected) {
        self.report.rejected += 1;
        // Somebody else deleted it; the view says so too, but later.
        if let (ErrorCode::NotFound, Some(entity)) = (rejected.code, rejected.entity) {
            self.fleet.forget(entity);
        }
        self.report.last_rejection = format!("{}: {}", rejected.reason, rejected.detail);
    }

    async fn tick(&mut self, worker: &mut Worker) {
        if !(self.airports_ready && self.aircraft_ready && worker.is_connected()) {
            return;
        }
        self.report.ticks += 1;
        let orders = self.fleet.tick(unix_time_us());
        if let Err(error) = self.carry_out(worker, orders).await {
            // After the reconnect the view tells what became of the orders.
            tracing::debug!(error = %error, "orders were not sent");
        }
    }

    async fn carry_out(&mut self, worker: &mut Worker, orders: Orders) -> Result<(), SendError> {
        self.report.retired += orders.retire.len() as u64;
        let mut sent = self.fly(worker, &orders);
        self.batch.clear();
        orders.retire.iter().for_each(|entity| self.batch.delete(*entity));
        sent = sent.and(worker.send(&mut self.batch).await.map(|_| ()));
        for launch in orders.launches {
            let created = worker.create(new_entities(&launch)).await;
            if created.is_err() {
                self.fleet.not_created(&launch.request_id, unix_time_us());
            }
            sent = sent.and(created.map(|_| ()));
        }
        sent
    }

    /// Sends where the aircraft are now. A server that is behind gets the next tick's positions instead.
    fn fly(&mut self, worker: &mut Worker, orders: &Orders) -> Result<(), SendError> {
        let mut headings = orders.headings.as_slice();
        for moves in orders.moves.chunks(MOVES_MAX) {
            self.batch.clear();
            moves.iter().for_each(|(entity, position)| self.batch.set_position(*entity, *position));
            for (entity, heading_deg) in std::mem::take(&mut headings) {
                let aircraft = Aircraft { heading_deg: *heading_deg, ..Default::default() };
                self.batch.update_fields(*entity, &[AIRCRAFT_HEADING_DEG], &aircraft);
            }
            match worker.try_send(&mut self.batch) {
                Ok(_) => {}
                Err(SendError::Full { .. }) => {
                    self.report.ticks_skipped += 1;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn new_entities(launch: &Launch) -> NewEntities {
    let mut new = NewEntities::new(launch.request_id.clone());
    for (aircraft, position) in &launch.aircraft {
        let row = new.row();
        new.position(row, *position);
        new.component(row, &Metadata { r#type: "aircraft".to_owned(), name: aircraft.callsign.clone() });
        new.component(row, aircraft);
    }
    new
}

impl Report {
    fn log(self, aircraft: usize) {
        let Self { ticks, ticks_skipped, created, retired, rejected, .. } = self;
        let tick_ms = self.busy.as_secs_f64() * 1000.0 / (ticks.max(1) as f64);
        tracing::info!(aircraft, ticks, ticks_skipped, tick_ms, created, retired, "flying");
        if rejected > 0 {
            tracing::warn!(rejected, last = self.last_rejection, "the server refused writes");
        }
    }
}
