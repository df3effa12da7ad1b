//! All streams that write, told together what to do.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    super::{error::BenchError, link::Link},
    Load,
    pool::Pool,
    writer::{self, Mode, Shared},
};

const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);
const IDLE_STEP: Duration = Duration::from_millis(1);

/// The writing sessions.
pub(super) struct Writers {
    tasks: JoinSet<(usize, Result<u64, BenchError>)>,
    shared: Vec<Arc<Shared>>,
    mode: watch::Sender<Mode>,
}

impl Writers {
    /// One for each session and pool; they pause.
    pub(super) fn start(load: &Load, links: Vec<Link>) -> Self {
        let mut writers =
            Self { tasks: JoinSet::new(), shared: Vec::new(), mode: watch::Sender::new(Mode::Pause) };
        for (stream, (link, pool)) in links.into_iter().zip(&load.pools).enumerate() {
            let (shared, modes) = (Arc::<Shared>::default(), writers.mode.subscribe());
            let write = writer::write(link, load.walk.clone(), pool.clone(), shared.clone(), modes);
            writers.tasks.spawn(async move { (stream, write.await) });
            writers.shared.push(shared);
        }
        writers
    }

    /// Tells them what to do; those who do that anyway are not disturbed.
    pub(super) fn tell(&self, mode: Mode) {
        self.mode.send_if_modified(|now| std::mem::replace(now, mode) != mode);
    }

    /// Waits until one fails: a writer ends early only if something is wrong.
    pub(super) async fn failed(&mut self) -> BenchError {
        match self.tasks.join_next().await {
            Some(Ok((_, Err(error)))) => error,
            other => BenchError::unexpected("a writer", "to go on", format!("{other:?}")),
        }
    }

    /// Ends them once all is decided. Returns how many messages each stream sent.
    ///
    /// # Errors
    /// One failed, or it takes too long.
    pub(super) async fn stop(mut self) -> Result<Vec<u64>, BenchError> {
        self.tell(Mode::Stop);
        let mut sent = vec![0; self.shared.len()];
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                let (stream, count) = ended.map_err(|crash| BenchError::crashed(&crash))?;
                sent[stream] = count?;
            }
            Ok::<_, BenchError>(())
        };
        timeout(DRAIN_TIMEOUT, all).await.map_err(|_| undecided())??;
        Ok(sent)
    }

    /// Rows that the server has decided.
    pub(super) fn rows_decided(&self, load: &Load) -> u64 {
        let rows =
            |(shared, pool): (&Arc<Shared>, &Arc<Pool>)| pool.rows(shared.applied.load(Ordering::Relaxed));
        self.shared.iter().zip(&load.pools).map(rows).sum()
    }

    /// How many messages each stream has sent.
    pub(super) fn sent(&self) -> Vec<u64> {
        self.shared.iter().map(|shared| shared.sent.load(Ordering::Relaxed)).collect()
    }

    /// How many they are.
    pub(super) const fn count(&self) -> usize {
        self.shared.len()
    }

    /// Waits until all pause and what they sent is decided.
    ///
    /// # Errors
    /// It takes too long.
    pub(super) fn idle(&self) -> impl Future<Output = Result<(), BenchError>> + use<> {
        let shared = self.shared.clone();
        let idle = async move {
            while !shared.iter().all(|shared| shared.is_idle.load(Ordering::Acquire)) {
                sleep(IDLE_STEP).await;
            }
        };
        async { timeout(DRAIN_TIMEOUT, idle).await.map_err(|_| undecided()) }
    }
}

fn undecided() -> BenchError {
    BenchError::Timeout { what: "deciding what was sent".to_owned(), waited: DRAIN_TIMEOUT }
}
