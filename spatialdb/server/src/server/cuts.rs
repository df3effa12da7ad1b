//! Queries over all partitions: one cut at a time, numbered, each partition asked once for all queries that wait.
//!
//! Partitions take queries in turn anyway, so one cut at a time costs no time; and it lets a partition forget all cuts
//! but the newest. What is asked while a cut is under way goes together into the next. Answers of one cut are bounded
//! together: beyond that, queries are postponed, and asked again by whoever asked when the others are told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spatialdb_core::{HitRef, Query, QueryAnswer};
use spatialdb_types::{Error, PartitionId, Reason};
use tokio::sync::{mpsc, oneshot};

use super::edge::Edge;
use super::partition::Control;

/// What all partitions answer to one query.
pub(super) struct Answers {
    by_partition: Vec<(PartitionId, QueryAnswer)>,
    limit: usize,
    is_ordered: bool,
    is_postponed: bool,
}

/// The cuts of a world.
#[derive(Default)]
pub(super) struct Cuts {
    /// The number of the last one; held by whoever asks.
    turn: tokio::sync::Mutex<u64>,
    /// What goes into the next cut.
    waiting: Mutex<Vec<Asked>>,
    asker: Mutex<Option<Asker>>,
}

/// What somebody asks at once, and where the answers go.
struct Asked {
    queries: Vec<Query>,
    answers: oneshot::Sender<Vec<Answers>>,
}

struct Asker {
    cut: u64,
    answers: mpsc::UnboundedSender<(PartitionId, Vec<QueryAnswer>)>,
}

impl Cuts {
    /// Asks every partition, all at one consistent cut. The answers are parallel to the queries; some may be postponed,
    /// but not for ever.
    ///
    /// # Errors
    /// `DRAINING`.
    pub(super) async fn ask(&self, edge: &Edge, queries: Vec<Query>) -> Result<Vec<Answers>, Error> {
        let (answers, mut answered) = oneshot::channel();
        lock(&self.waiting).push(Asked { queries, answers });
        let mut last = self.turn.lock().await;
        // Whoever had the turn before may have asked for this one too.
        if let Ok(answers) = answered.try_recv() {
            return Ok(answers);
        }
        *last += 1;
        self.cut(edge, *last).await?;
        answered.try_recv().map_err(|_| stopping())
    }

    /// Asks all that waits.
    async fn cut(&self, edge: &Edge, cut: u64) -> Result<(), Error> {
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        let (lists, askers): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|asked| (asked.queries, asked.answers)).unzip();
        let counts: Vec<usize> = lists.iter().map(Vec::len).collect();
        let queries: Arc<[Query]> = lists.into_iter().flatten().collect();
        let (answers, mut answered) = mpsc::unbounded_channel();
        *lock(&self.asker) = Some(Asker { cut, answers });
        for partition in &edge.partitions {
            partition.tell(Control::Cut(cut, queries.clone()));
        }
        let mut all: Vec<Answers> = queries.iter().map(Answers::to).collect();
        for _ in 0..edge.partitions.len() {
            let (partition, answers) = answered.recv().await.ok_or_else(stopping)?;
            for (all, one) in all.iter_mut().zip(answers) {
                all.add(partition, one);
            }
        }
        let mut all = all.into_iter();
        for (count, asker) in counts.into_iter().zip(askers) {
            // Whoever asked may have gone.
            let _ = asker.send(all.by_ref().take(count).collect());
        }
        Ok(())
    }

    /// A partition cannot answer any longer: nobody must wait for it.
    pub(super) fn close(&self) {
        lock(&self.asker).take();
    }

    /// A partition has answered. Whoever asked may have gone: then the answer is dropped.
    pub(super) fn answer(&self, cut: u64, from: PartitionId, answers: Vec<QueryAnswer>) {
        if let Some(asker) = lock(&self.asker).as_ref().filter(|asker| asker.cut == cut) {
            let _ = asker.answers.send((from, answers));
        }
    }
}

impl Answers {
    fn to(query: &Query) -> Self {
        let is_ordered = query.nearest_to.is_some();
        Self { by_partition: Vec::new(), limit: query.limit, is_ordered, is_postponed: false }
    }

    fn add(&mut self, partition: PartitionId, answer: QueryAnswer) {
        self.is_postponed |= answer.is_postponed;
        let at = self.by_partition.partition_point(|(other, _)| *other < partition);
        self.by_partition.insert(at, (partition, answer));
    }

    /// There was too much to answer at once: it is to be asked again.
    pub(super) const fn is_postponed(&self) -> bool {
        self.is_postponed
    }

    /// How many match. With an order and a limit: how many are told.
    pub(super) fn match_count(&self) -> u64 {
        let all: u64 = self.by_partition.iter().map(|(_, answer)| answer.match_count).sum();
        if self.is_ordered && self.limit > 0 { all.min(self.limit as u64) } else { all }
    }

    /// The entities to tell, the nearest first if there is an order.
    pub(super) fn hits(&self) -> impl Iterator<Item = (PartitionId, HitRef<'_>)> {
        let all = self.by_partition.iter().flat_map(|(id, answer)| answer.hits().map(move |hit| (*id, hit)));
        let mut hits: Vec<_> = if self.is_ordered { all.collect() } else { all.take(self.limit).collect() };
        if self.is_ordered {
            hits.sort_by(|(_, a), (_, b)| {
                a.distance_squared().total_cmp(&b.distance_squared()).then(a.entity().cmp(&b.entity()))
            });
            hits.truncate(self.limit);
        }
        hits.into_iter()
    }

    /// Whether entities come with their distance.
    pub(super) const fn is_ordered(&self) -> bool {
        self.is_ordered
    }
}

fn stopping() -> Error {
    Error::new(Reason::Draining, "the server is stopping")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
