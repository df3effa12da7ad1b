//! The loop of the worker: events in, orders out.
//!
//! Responsible for: feeding the fleet with what the session says, carrying out its orders, logs.
//! Not responsible for: which aircraft fly where (`fleet.rs`), the session and its loop (the SDK).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use spatialdb_sdk::{
    Batch, Box3, Changes, ComponentId, Constraint, EntityId, Event, NewEntities, Rejected, SendError,
    Simulation, View, ViewId, Worker, WorkerOptions, list_sessions,
    v1::{ErrorCode, Metadata},
};

use crate::{
    earth::{AIRCRAFT_HEADING_DEG, Aircraft, Airport},
    fleet::{Duty, Fleet, Launch, Orders},
    flight::Runway,
    report::Report,
};

const AIRPORTS: ViewId = ViewId(1);
const AIRCRAFT: ViewId = ViewId(2);
// Well within the rows of a message.
const MOVES_MAX: usize = 32_768;
// The flag of the world that says how many times the aircraft there should be, and its bounds.
const MULTIPLIER: &str = "aircraft_multiplier";
const MULTIPLIER_MAX: u64 = 100;
const WANTED_MAX: u64 = 1_000_000;
const REPORT_INTERVAL: Duration = Duration::from_secs(10);
// The session of a run that was just killed may still be listed.
const OTHERS_PATIENCE: Duration = Duration::from_secs(5);

/// Unix time by the system clock, in microseconds.
pub(crate) fn unix_time_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as i64)
}

/// Connects, and makes sure to be the only one: two fleets that each keep the number of aircraft would undo
/// each other's work. Of several workers of the type, the one whose session is the oldest stays. In a world with layers
/// they share the work instead.
pub(crate) async fn connect_alone(options: WorkerOptions) -> Result<Worker> {
    let worker = Worker::connect(options.clone()).await.context("cannot attach to the world")?;
    if !worker.is_world_open() {
        return Ok(worker);
    }
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
    multiplier: u64,
    moves: Batch,
    report: Report,
    report_due: Instant,
}

impl Pilot {
    pub(crate) fn new(fleet: Fleet) -> Self {
        let report_due = Instant::now() + REPORT_INTERVAL;
        Self { fleet, multiplier: 1, moves: Batch::new(), report: Report::default(), report_due }
    }

    /// Flies until it is told to stop, or the session ends for good.
    pub(crate) async fn run(&mut self, mut worker: Worker, period: Duration) -> Result<()> {
        let airports = View::new(AIRPORTS, Constraint::has::<Airport>()).component::<Airport>().positions();
        worker.subscribe(airports).await.context("cannot subscribe to the airports")?;
        let aircraft = View::new(AIRCRAFT, Constraint::has::<Aircraft>()).component::<Aircraft>();
        worker.subscribe(aircraft).await.context("cannot subscribe to the aircraft")?;
        self.heed(&worker.welcomed().flags);
        worker.run(self, period).await
    }

    /// Does as the flags of the world say. One that says nothing sensible changes nothing.
    fn heed(&mut self, flags: &BTreeMap<String, String>) {
        let value = flags.get(MULTIPLIER).map_or("1", String::as_str);
        let told = value.parse().ok().filter(|told| (1..=MULTIPLIER_MAX).contains(told));
        match told.filter(|told| self.fleet.originals() * told <= WANTED_MAX) {
            Some(told) => {
                let before = std::mem::replace(&mut self.multiplier, told);
                let wanted = self.fleet.multiply(told);
                if before != told {
                    tracing::info!(multiplier = told, before, wanted, "other number of aircraft wanted");
                }
            }
            None => tracing::warn!(
                flag = MULTIPLIER,
                value,
                goes_on_with = self.multiplier,
                "a flag cannot be used: 1 to {MULTIPLIER_MAX}, and {WANTED_MAX} aircraft at most, are possible"
            ),
        }
    }

    fn take(&mut self, worker: &Worker, event: Event) {
        match event {
            Event::Frame(frame) => self.observe(worker, &frame.changes),
            Event::ViewReady { view, entity_count } => {
                let name = if view == AIRPORTS { "airports" } else { "aircraft" };
                tracing::info!(view = name, entity_count, "view ready");
                if view == AIRPORTS && self.fleet.airports_len() < 2 {
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
                self.fleet.some_refused();
            }
            Event::Reset => self.fleet.reset(),
            Event::FlagsChanged(flags) => self.heed(&flags),
            Event::RegionGained(region) => tracing::info!(region = region.id.0, "region gained"),
            Event::RegionLost { region, reason } => {
                tracing::info!(region = region.id.0, ?reason, "region lost");
            }
            Event::Lost { entities, .. } => entities.into_iter().for_each(|entity| self.fleet.lost(entity)),
            Event::Draining => tracing::info!("draining"),
            Event::Goodbye { reason, detail, .. } => {
                tracing::info!(reason, detail, "the server says goodbye");
            }
            Event::Disconnected { error, lost, retry_in } => {
                let (lost, retry_in_ms) = (lost.len(), retry_in.as_millis());
                tracing::warn!(error, lost, retry_in_ms, "disconnected");
            }
            Event::Reconnected(welcomed) => {
                self.heed(&welcomed.flags);
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
        if let Some(entity) = rejected.entity {
            self.fleet.refused(entity);
        }
        // It was lost while the write was on its way.
        if rejected.code == ErrorCode::NotAuthoritative {
            self.report.late += 1;
            return;
        }
        self.report.rejected += 1;
        // Somebody else deleted it; the view says so too, but later.
        if let (ErrorCode::NotFound, Some(entity)) = (rejected.code, rejected.entity) {
            self.fleet.forget(entity);
        }
        self.report.last_rejection = format!("{}: {}", rejected.reason, rejected.detail);
    }

    /// Moves what is to be moved now, and puts what must not be left out into the batch.
    async fn carry_out(
        &mut self,
        worker: &mut Worker,
        orders: Orders,
        batch: &mut Batch,
    ) -> Result<(), SendError> {
        self.report.departed += orders.departures.len() as u64;
        self.report.retired += orders.retire.len() as u64;
        let mut sent = self.fly(worker, &orders);
        orders.departures.iter().for_each(|(entity, aircraft)| batch.update(*entity, aircraft));
        orders.retire.iter().for_each(|entity| batch.delete(*entity));
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
            self.moves.clear();
            moves.iter().for_each(|(entity, position)| self.moves.set_position(*entity, *position));
            for (entity, heading_deg) in std::mem::take(&mut headings) {
                let aircraft = Aircraft { heading_deg: *heading_deg, ..Default::default() };
                self.moves.update_fields(*entity, &[AIRCRAFT_HEADING_DEG], &aircraft);
            }
            match worker.try_send(&mut self.moves) {
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

impl Simulation for Pilot {
    type Error = anyhow::Error;

    async fn tick(&mut self, worker: &mut Worker, batch: &mut Batch) -> Result<()> {
        let started = Instant::now();
        self.report.ticks += 1;
        let orders = self.fleet.tick(
            unix_time_us(),
            &Duty {
                flies: &|aircraft| worker.owns(aircraft, ComponentId::POSITION),
                serves: &|airport| serves(worker, airport),
            },
        );
        if let Err(error) = self.carry_out(worker, orders, batch).await {
            // After the reconnect the view tells what became of the orders.
            tracing::debug!(error = %error, "orders were not sent");
        }
        self.report.busy += started.elapsed();
        if started >= self.report_due {
            self.report_due = started + REPORT_INTERVAL;
            std::mem::take(&mut self.report).log(self.fleet.len());
        }
        Ok(())
    }

    async fn hear(&mut self, worker: &mut Worker, event: Event) -> Result<()> {
        self.take(worker, event);
        Ok(())
    }
}

/// Whether this worker creates the aircraft that are at home at an airport: that lies in a region of its own.
fn serves(worker: &Worker, airport: EntityId) -> bool {
    if worker.is_world_open() {
        return true;
    }
    let Some(place) = worker.replica().position(airport) else { return false };
    let is_here = |space, area: &Box3| space == Some(place.space) && area.contains(place.point);
    worker.regions().any(|region| is_here(region.space, &region.area))
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
