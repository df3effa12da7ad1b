//! Partitions on threads, and the way to them.
//!
//! A partition is run by whoever holds its driver: its thread, or, for something small while it is idle, whoever
//! brings that. Everything else is queued for the thread.

mod alarm;
mod control;
mod driver;
mod fences;
mod handle;
mod pacer;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{JoinHandle, park_timeout};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use spatialdb_types::{Epoch, PartitionId};
use tokio_util::sync::CancellationToken;

pub(super) use self::control::{Control, Note, ViewSlots, Whereabouts};
pub(super) use self::driver::PartitionLog;
pub(super) use self::handle::{Gauges, PartitionHandle};
pub(super) use self::pacer::Pace;
use super::access::Access;
use super::durable::{Durable, LogStatus, ToKeeper};
use super::edge::{Edge, EdgeParts};
use super::flags::Flags;
use super::load::Loaded;
use crate::supervisor::ServerLink;

/// How long a thread may take to apply what is in its queue when the world stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The running threads.
pub(super) struct Threads {
    edge: Arc<Edge>,
    handles: Vec<JoinHandle<bool>>,
    /// Of logs, and their keeper.
    writers: Vec<JoinHandle<()>>,
    keeper: Option<(Sender<ToKeeper>, JoinHandle<()>)>,
}

/// Starts a thread for each partition. `failed` is cancelled if one of them meets a bug.
pub(super) fn start(
    loaded: Loaded,
    access: Access,
    workers: Option<ServerLink>,
    failed: &CancellationToken,
) -> io::Result<(Arc<Edge>, Threads)> {
    let Loaded { info, schema, flags, limits, routes, world, partitions, pace, layers, authority, durable } =
        loaded;
    let (logs, loggers, keeper, log, epochs, regions) = match durable {
        None => (partitions.iter().map(|_| None).collect(), Vec::new(), None, None, Epoch(0), None),
        Some(durable) => {
            let Durable { data, logs, loggers, keeper, to_keeper, epochs, regions } = durable;
            let logs = logs.into_iter().map(Some).collect();
            let status = LogStatus::new(data.clone());
            (logs, loggers, Some((data, keeper, to_keeper)), Some(status), epochs, regions)
        }
    };
    let logs: Vec<Option<PartitionLog>> = logs;
    let handle = |(machine, log)| PartitionHandle::new(machine, &limits, pace, log, failed.clone());
    let partitions = partitions.into_iter().zip(logs).map(handle).collect();
    let flags = Flags::new(flags);
    let edge = Arc::new(Edge::new(EdgeParts {
        info,
        schema,
        flags,
        limits,
        routes,
        world,
        partitions,
        access,
        layers,
        patience: authority,
        workers,
        log,
        epochs,
        regions,
    }));
    let mut handles = Vec::new();
    for id in edge.map.ids() {
        let (edge, failed) = (edge.clone(), failed.clone());
        let run = move || {
            let result = catch_unwind(AssertUnwindSafe(|| run(&edge, id)));
            if result.is_err() {
                failed.cancel();
            }
            result.is_ok()
        };
        handles.push(std::thread::Builder::new().name(format!("partition-{id}")).spawn(run)?);
    }
    let mut writers = Vec::new();
    let keeper = match keeper {
        None => None,
        Some((data, keeper, to_keeper)) => {
            for logger in loggers {
                let (edge, data) = (edge.clone(), data.clone());
                let thread = std::thread::Builder::new().name("log".to_owned());
                writers.push(thread.spawn(move || logger.run(&edge, &data))?);
            }
            let edge = edge.clone();
            let thread = std::thread::Builder::new().name("log-keeper".to_owned());
            Some((to_keeper, thread.spawn(move || keeper.run(&edge))?))
        }
    };
    Ok((edge.clone(), Threads { edge, handles, writers, keeper }))
}

/// The thread of a partition.
fn run(edge: &Edge, id: PartitionId) {
    let partition = edge.partition(id);
    partition.enlist();
    loop {
        let mut driver = partition.driver().expect("the machine has met no bug elsewhere");
        let sleep = driver.turn(edge);
        if driver.is_done() {
            driver.finish_log();
            return;
        }
        drop(driver);
        if !sleep.is_zero() && !partition.has_notes() {
            // Not at all if something was queued since it looked.
            park_timeout(sleep);
        }
    }
}

impl Threads {
    /// Stops every thread once it has applied what is in its queue; one that takes too long is left behind. Returns the
    /// first that had failed.
    pub(super) fn stop(self) -> Option<u16> {
        for partition in &self.edge.partitions {
            partition.tell(Control::Stop);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.handles.iter().any(|handle| !handle.is_finished()) {
            if Instant::now() > deadline {
                tracing::error!(timeout_s = STOP_TIMEOUT.as_secs(), "a partition did not stop in time");
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // What was applied is written.
        self.writers.into_iter().for_each(|writer| drop(writer.join()));
        if let Some((to_keeper, keeper)) = self.keeper {
            let _ = to_keeper.send(ToKeeper::Stop);
            drop(keeper.join());
        }
        let ended: Vec<bool> = self.handles.into_iter().map(|h| h.join().unwrap_or(false)).collect();
        ended.iter().position(|ok| !ok).map(|i| i as u16)
    }
}
