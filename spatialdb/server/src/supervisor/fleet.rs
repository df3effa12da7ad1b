//! All workers of a world: what is decided of them is done.
//!
//! Responsible for: following demand and names that others hold, with a clock; starting and telling processes; counts.
//! Not responsible for: the decision (`scale`), one process (`process`).

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Held, SupervisorLink, SupervisorOptions, WorkerCount,
    demand::shares,
    guard::Guard,
    occupied::Occupied,
    process::{Note, Orders, Reports, Worker},
    scale::{Change, Scale},
};
use crate::config::WorkerConfig;

// What processes do is rare; whoever reports waits for room.
const NOTES_MAX: usize = 64;

/// Every process of every table.
pub(super) struct Fleet {
    configs: Vec<WorkerConfig>,
    // In the order of `configs`.
    tables: Vec<Table>,
    shared: Shared,
    link: SupervisorLink,
    workers: JoinSet<()>,
    notes: mpsc::Receiver<(usize, usize, Note)>,
    begun: Instant,
}

/// The processes of one table.
struct Table {
    scale: Scale,
    occupied: Occupied,
    /// By number.
    orders: BTreeMap<usize, Orders>,
}

/// What every process is given.
struct Shared {
    options: Arc<SupervisorOptions>,
    guard: Arc<Guard>,
    stop: CancellationToken,
    notes: mpsc::Sender<(usize, usize, Note)>,
    held: watch::Receiver<Held>,
}

impl Fleet {
    /// Nothing runs yet. `stop` ends everything.
    pub(super) fn new(
        configs: &[WorkerConfig],
        options: SupervisorOptions,
        guard: Guard,
        link: SupervisorLink,
        stop: CancellationToken,
    ) -> Self {
        let (sender, notes) = mpsc::channel(NOTES_MAX);
        let scale = |config: &WorkerConfig| Scale::new(config.min, config.max, config.scale_down_after);
        let table =
            |config| Table { scale: scale(config), occupied: Occupied::default(), orders: BTreeMap::new() };
        Self {
            configs: configs.to_vec(),
            tables: configs.iter().map(table).collect(),
            shared: Shared {
                options: Arc::new(options),
                guard: Arc::new(guard),
                stop,
                notes: sender,
                held: link.held.clone(),
            },
            link,
            workers: JoinSet::new(),
            notes,
            begun: Instant::now(),
        }
    }

    /// Runs until it is told to stop and every process has ended.
    pub(super) async fn run(mut self) {
        let stop = self.shared.stop.clone();
        while !stop.is_cancelled() {
            self.ask();
            self.act();
            self.tell_counts();
            let next = self.tables.iter().filter_map(Table::next).min();
            tokio::select! {
                () = stop.cancelled() => {}
                () = changed(&mut self.link.demand) => {}
                () = changed(&mut self.link.held) => {}
                () = until(self.begun, next) => {}
                Some((table, number, note)) = self.notes.recv() => {
                    self.tables[table].note(number, note, self.begun.elapsed());
                }
                Some(ended) = self.workers.join_next() => report_failure(ended),
            }
        }
        // Nobody may wait for room to report.
        drop(self.notes);
        while let Some(ended) = self.workers.join_next().await {
            report_failure(ended);
        }
    }

    fn ask(&mut self) {
        let now = self.begun.elapsed();
        let shares = shares(&self.configs, &self.link.demand.borrow_and_update());
        for ((config, table), share) in self.configs.iter().zip(&mut self.tables).zip(shares) {
            if let Some(before) = table.scale.ask(share, now) {
                let (worker_type, workers) = (&config.worker_type, &config.name);
                tracing::info!(
                    worker_type,
                    workers,
                    before,
                    wanted = share,
                    "other number of workers wanted"
                );
            }
        }
    }

    fn act(&mut self) {
        let now = self.begun.elapsed();
        let held = self.link.held.borrow_and_update();
        for (index, (config, table)) in self.configs.iter().zip(&mut self.tables).enumerate() {
            let holder = |number| held.holder(&config.worker_type, &config.process_name(number));
            let numbers = 1..=config.max;
            let occupied: BTreeSet<usize> =
                numbers.filter(|&number| table.occupied.look(number, holder(number), now)).collect();
            for change in table.scale.changes(now, |number| occupied.contains(&number)) {
                match change {
                    Change::Start(number) => {
                        if table.occupied.has_returned(number) {
                            let worker = config.process_name(number);
                            tracing::info!(
                                worker,
                                "worker that was started by hand has gone: starting its own process"
                            );
                        }
                        let (worker, orders) = self.shared.worker(index, number, config);
                        table.orders.insert(number, orders);
                        self.workers.spawn(worker.run());
                    }
                    Change::Drain(number) => {
                        tracing::info!(
                            worker = config.process_name(number),
                            "worker is no longer wanted: draining it"
                        );
                        table.order(number, |orders| orders.leave.cancel());
                    }
                    Change::Stop(number) => {
                        let worker = config.process_name(number);
                        tracing::info!(
                            worker,
                            "worker was taken over by one that was started by hand: its own process stays stopped as long"
                        );
                        table.order(number, |orders| orders.stop.cancel());
                    }
                }
            }
        }
    }

    fn tell_counts(&self) {
        let mut counts: BTreeMap<String, WorkerCount> = BTreeMap::new();
        for (config, table) in self.configs.iter().zip(&self.tables) {
            let count = table.scale.count();
            let sum = counts.entry(config.worker_type.clone()).or_default();
            sum.wanted += count.wanted;
            sum.running += count.running;
            sum.occupied += count.occupied;
        }
        self.link.counts.send_replace(counts);
    }
}

impl Table {
    fn next(&self) -> Option<Duration> {
        self.scale.next().into_iter().chain(self.occupied.next()).min()
    }

    fn note(&mut self, number: usize, note: Note, now: Duration) {
        match note {
            Note::Up => {
                self.scale.started(number);
                self.occupied.up(number);
            }
            Note::Down => {
                self.scale.went_down(number);
                self.occupied.down(number, now);
            }
            Note::Ended(end) => {
                self.orders.remove(&number);
                self.scale.ended(number, end);
            }
        }
    }

    fn order(&self, number: usize, give: impl FnOnce(&Orders)) {
        if let Some(orders) = self.orders.get(&number) {
            give(orders);
        }
    }
}

impl Shared {
    fn worker(&self, table: usize, number: usize, config: &WorkerConfig) -> (Worker, Orders) {
        let orders = Orders { leave: CancellationToken::new(), stop: self.stop.child_token() };
        let worker = Worker {
            name: config.process_name(number),
            config: config.clone(),
            options: self.options.clone(),
            guard: self.guard.clone(),
            held: self.held.clone(),
            orders: orders.clone(),
            reports: Reports { table, number, notes: self.notes.clone() },
        };
        (worker, orders)
    }
}

// Never, if the other end is gone.
async fn changed<T>(told: &mut watch::Receiver<T>) {
    if told.changed().await.is_err() {
        pending::<()>().await;
    }
}

async fn until(begun: Instant, next: Option<Duration>) {
    match next.and_then(|next| begun.checked_add(next)) {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

fn report_failure(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task that watches a worker failed");
    }
}
