//! Queries over all partitions: one cut at a time, numbered, each partition asked once.
//!
//! Partitions take queries in turn anyway, so one at a time costs no time; and it lets a partition forget all cuts
//! but the newest.

use std::sync::{Arc, Mutex, PoisonError};

use spatialdb_core::{Query, QueryAnswer};
use spatialdb_types::{Error, PartitionId, Reason};
use tokio::sync::mpsc;

use super::edge::Edge;
use super::partition::Control;

/// What each partition answers.
pub(super) type Answers = Vec<(PartitionId, QueryAnswer)>;

/// The cuts of a world.
#[derive(Default)]
pub(super) struct Cuts {
    /// The number of the last one; held by whoever asks.
    turn: tokio::sync::Mutex<u64>,
    asker: Mutex<Option<Asker>>,
}

struct Asker {
    cut: u64,
    answers: mpsc::UnboundedSender<(PartitionId, QueryAnswer)>,
}

impl Cuts {
    /// Asks every partition, at one consistent cut.
    ///
    /// # Errors
    /// `DRAINING`.
    pub(super) async fn ask(&self, edge: &Edge, query: Query) -> Result<Answers, Error> {
        let query = Arc::new(query);
        let mut last = self.turn.lock().await;
        *last += 1;
        let cut = *last;
        let (answers, mut answered) = mpsc::unbounded_channel();
        *self.asker.lock().unwrap_or_else(PoisonError::into_inner) = Some(Asker { cut, answers });
        for partition in &edge.partitions {
            partition.tell(edge, Control::Cut(cut, query.clone()));
        }
        let mut all = Vec::new();
        while all.len() < edge.partitions.len() {
            let stopping = || Error::new(Reason::Draining, "the server is stopping");
            all.push(answered.recv().await.ok_or_else(stopping)?);
        }
        all.sort_unstable_by_key(|(partition, _)| *partition);
        Ok(all)
    }

    /// A partition cannot answer any longer: nobody must wait for it.
    pub(super) fn close(&self) {
        self.asker.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// A partition has answered. Whoever asked may have gone: then the answer is dropped.
    pub(super) fn answer(&self, cut: u64, from: PartitionId, answer: QueryAnswer) {
        let asker = self.asker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asker) = asker.as_ref().filter(|asker| asker.cut == cut) {
            let _ = asker.answers.send((from, answer));
        }
    }
}
