//! `machine`: what the machine itself adds to any time measured on it, with nothing else running.
//!
//! A thread on each core does nothing but look at the clock: where it sees a gap, the core did something else, on a virtual
//! machine mostly for another tenant. Then two threads wake each other in turns: what a hand-over from thread to thread costs
//! before anybody has done anything. Last a file in the folder for temporary ones is appended to: what is to be on disk takes that long at
//! least.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{BenchError, Plan, Report, error::cannot, percentiles::Percentiles};

/// A gap between two looks at the clock that is no look at the clock any more.
const PAUSE: Duration = Duration::from_micros(100);

/// About what a log record of one value has.
const APPENDED_BYTES: usize = 192;

/// Runs the scenario.
///
/// # Errors
/// No thread can be started.
pub(super) fn run(plan: &Plan) -> Result<Report, BenchError> {
    let third = Duration::from_secs(plan.seconds) / 3;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let pauses = pauses(cores, third);
    let wakes = Percentiles::of(wakes(third))
        .ok_or_else(|| BenchError::unexpected("two threads that wake each other", "some turns", "none"))?;
    let syncs = syncs(third).map_err(cannot("append to a file"))?;
    let syncs = Percentiles::of(syncs)
        .ok_or_else(|| BenchError::unexpected("a file that is appended to", "some times", "none"))?;
    let sync_ms = |share| syncs.at(share) as f64 / 1e6;
    let per_second = |least_ms: u128| {
        let pauses = pauses.iter().filter(|pause| pause.as_millis() >= least_ms).count();
        pauses as f64 / third.as_secs_f64()
    };
    let longest = pauses.iter().max().copied().unwrap_or_default();
    let us = |share| wakes.at(share) as f64 / 1e3;
    Ok(Report::new(plan.scenario, "memory")
        .figure("pause_max_ms", longest.as_secs_f64() * 1e3, "ms")
        .figure("pauses_of_1_ms_per_second", per_second(1), "1/s")
        .figure("pauses_of_4_ms_per_second", per_second(4), "1/s")
        .figure("wake_p50_us", us(0.5), "us")
        .figure("wake_p99_us", us(0.99), "us")
        .figure("wake_max_us", us(1.0), "us")
        .figure("fdatasync_p50_ms", sync_ms(0.5), "ms")
        .figure("fdatasync_p99_ms", sync_ms(0.99), "ms")
        .fact("cores", cores)
        .fact("syncs", syncs.count())
        .fact("wakes", wakes.count()))
}

/// The gaps that threads see, one a core, who look at the clock all the time.
fn pauses(cores: usize, time: Duration) -> Vec<Duration> {
    let watch = move || {
        let (mut pauses, start) = (Vec::new(), Instant::now());
        let mut last = start;
        while last - start < time {
            let now = Instant::now();
            if now - last >= PAUSE {
                pauses.push(now - last);
            }
            last = now;
        }
        pauses
    };
    let threads: Vec<_> = (0..cores).map(|_| thread::spawn(watch)).collect();
    threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
}

/// How long it takes until a few bytes at the end of a file are on disk.
///
/// # Units
/// Nanoseconds.
fn syncs(time: Duration) -> io::Result<Vec<u64>> {
    let mut file = tempfile::tempfile()?;
    let (mut syncs, start) = (Vec::new(), Instant::now());
    while start.elapsed() < time {
        file.write_all(&[1; APPENDED_BYTES])?;
        let begin = Instant::now();
        file.sync_data()?;
        syncs.push(begin.elapsed().as_nanos() as u64);
    }
    Ok(syncs)
}

/// How long it takes until a thread that sleeps is awake, in turns from one to another.
///
/// # Units
/// Nanoseconds.
fn wakes(time: Duration) -> Vec<u64> {
    const OVER: u32 = u32::MAX;
    // Even: the turn of the first; odd: of the second.
    let turn = AtomicU32::new(0);
    let wait = |mine: u32| {
        loop {
            match turn.load(Ordering::Acquire) {
                OVER => return false,
                now if now % 2 == mine => return true,
                _ => thread::park(),
            }
        }
    };
    thread::scope(|scope| {
        let first = thread::current();
        let (wait, turn) = (&wait, &turn);
        let second = scope.spawn(move || {
            while wait(1) {
                turn.fetch_add(1, Ordering::Release);
                first.unpark();
            }
        });
        let (mut there_and_back, start) = (Vec::new(), Instant::now());
        while start.elapsed() < time && wait(0) {
            let begin = Instant::now();
            turn.fetch_add(1, Ordering::Release);
            second.thread().unpark();
            if wait(0) {
                there_and_back.push(begin.elapsed().as_nanos() as u64 / 2);
            }
        }
        turn.store(OVER, Ordering::Release);
        second.thread().unpark();
        there_and_back
    })
}
