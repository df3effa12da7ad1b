//! Signals: the first one asks to stop, the second ends the process at once.

use std::{
    io, process,
    time::{Duration, Instant},
};

use rustix::process::getppid;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

// Shells name a death by signal N with 128 + N.
const DEATH_BY_SIGNAL: i32 = 128;

// A signal that follows an equal one this closely is the same wish, sent twice.
const ECHO: Duration = Duration::from_millis(200);

const SIGNALS: [SignalKind; 3] = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];

/// A write went beyond what the system lets files of this process have.
const XFSZ: i32 = rustix::process::Signal::XFSZ.as_raw();

// How often the parent is looked for. A signal of the system would come too early: it follows the thread that started
// this process, not the process of that thread.
const PARENT_INTERVAL: Duration = Duration::from_millis(100);

/// Whether the end of the process that started this one asks to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent {
    Watched,
    Ignored,
}

async fn watch_parent(count: watch::Sender<u32>) {
    let parent = getppid();
    while getppid() == parent {
        tokio::time::sleep(PARENT_INTERVAL).await;
    }
    count.send_modify(|count| *count += 1);
}

/// SIGINT, SIGTERM and SIGHUP of this process.
pub(super) struct Signals {
    asked: watch::Receiver<u32>,
}

impl Signals {
    /// Catches the signals from now on.
    ///
    /// # Errors
    /// The system does not let them be caught.
    pub(super) fn new(parent: Parent) -> io::Result<Self> {
        let (count, asked) = watch::channel(0);
        if parent == Parent::Watched {
            tokio::spawn(watch_parent(count.clone()));
        }
        // A file that may not grow further is an error of whoever writes it, and not the end of the world.
        drop(signal(SignalKind::from_raw(XFSZ))?);
        for kind in SIGNALS {
            let (mut stream, count) = (signal(kind)?, count.clone());
            tokio::spawn(async move {
                let mut last: Option<Instant> = None;
                while stream.recv().await.is_some() {
                    // `timeout` and some init systems send one to the process and one to its group.
                    if last.replace(Instant::now()).is_some_and(|last| last.elapsed() < ECHO) {
                        continue;
                    }
                    count.send_modify(|count| *count += 1);
                    if *count.borrow() > 1 {
                        tracing::warn!("second signal: exiting at once");
                        process::exit(DEATH_BY_SIGNAL + kind.as_raw_value());
                    }
                }
            });
        }
        Ok(Self { asked })
    }

    /// Waits for the first signal; returns at once after it.
    ///
    /// # Cancel safety
    /// Safe: a signal is not lost.
    pub(super) async fn stop_asked(&mut self) {
        // The senders live as long as the process, so this ends with a signal only.
        if self.asked.wait_for(|count| *count > 0).await.is_ok() {
            tracing::info!("asked to stop");
        }
    }
}
