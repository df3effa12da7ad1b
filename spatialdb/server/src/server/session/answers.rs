//! Answering what a session asks once, page by page.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use spatialdb_core::{HitRef, Outcome, Query, Rejection};
use spatialdb_proto::v1::{self, ServerMessage, server_message};
use spatialdb_types::{Error, PartitionId, Seq};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::server::cuts::Answers;
use crate::server::edge::Edge;
use crate::server::port::{Event, Port};
use crate::server::tools::ask;

/// Bytes of a page, about.
const PAGE_BYTES: usize = 256 << 10;

/// About what an entity takes beside its values.
const HIT_BYTES: usize = 48;

/// Questions of a session that go into one cut.
const ASKS_AT_ONCE: usize = 64;

/// A question of a session.
pub(super) struct Asked {
    pub(super) seq: Seq,
    pub(super) query: Query,
}

/// Answers what one session asks, in order, beside what else it does. What was asked meanwhile is asked together.
pub(super) struct Answerer {
    edge: Arc<Edge>,
    port: Port,
    answers: mpsc::Sender<ServerMessage>,
}

impl Answerer {
    /// Starts one. Where the session's questions go: past what waits there the session is read no further.
    pub(super) fn start(
        edge: Arc<Edge>,
        port: Port,
        answers: mpsc::Sender<ServerMessage>,
    ) -> mpsc::Sender<Asked> {
        let (questions, waiting) = mpsc::channel(ASKS_AT_ONCE);
        tokio::spawn(Self { edge, port, answers }.run(waiting));
        questions
    }

    async fn run(self, mut waiting: mpsc::Receiver<Asked>) {
        let mut asked = Vec::new();
        while waiting.recv_many(&mut asked, ASKS_AT_ONCE).await > 0 {
            while !asked.is_empty() {
                if self.answer(&mut asked).await.is_none() {
                    return;
                }
            }
        }
    }

    /// Answers the first of them at least. `None`: the session is over.
    async fn answer(&self, asked: &mut Vec<Asked>) -> Option<()> {
        let seqs: Vec<Seq> = asked.iter().map(|asked| asked.seq).collect();
        let mut outcome = Outcome::default();
        match self.ask(asked).await {
            Ok((answers, _place)) => {
                let postponed: Vec<bool> = answers.iter().map(Answers::is_postponed).collect();
                let told = seqs.into_iter().zip(&answers).filter(|(_, answers)| !answers.is_postponed());
                let mut given_up = None;
                for (seq, answers) in told {
                    if given_up.is_none() {
                        given_up = self.tell(seq, answers).await?.err();
                    }
                    outcome.decided.push((seq, 1));
                    let refused =
                        given_up.iter().map(|error: &Error| Rejection::of_message(seq, error.clone()));
                    outcome.rejections.extend(refused);
                }
                let mut postponed = postponed.into_iter();
                asked.retain(|_| postponed.next().unwrap_or(false));
            }
            Err(error) => {
                asked.clear();
                outcome.decided = seqs.iter().map(|&seq| (seq, 1)).collect();
                outcome.rejections =
                    seqs.into_iter().map(|seq| Rejection::of_message(seq, error.clone())).collect();
            }
        }
        self.port.send(Event::Answered(outcome));
        Some(())
    }

    async fn ask(&self, asked: &[Asked]) -> Result<(Vec<Answers>, OwnedSemaphorePermit), Error> {
        let place = ask::place(&self.edge).await?;
        let queries = asked.iter().map(|asked| asked.query.clone()).collect();
        Ok((self.edge.cuts.ask(&self.edge, queries).await?, place))
    }

    /// Tells an answer page by page, unless it is given up. `None`: the session is over.
    async fn tell(&self, seq: Seq, answers: &Answers) -> Option<Result<(), Error>> {
        let mut hits = answers.hits().peekable();
        loop {
            let mut page = page_of(&mut hits, answers.is_ordered());
            page.seq = seq.0;
            page.last = hits.peek().is_none();
            let is_last = page.last;
            if is_last {
                page.match_count = answers.match_count();
            }
            let body = Some(server_message::Body::Answer(page));
            match ask::page_room(&self.edge, &self.answers).await {
                Ok(room) => room?.send(ServerMessage { body }),
                Err(error) => return Some(Err(error)),
            }
            if is_last {
                return Some(Ok(()));
            }
        }
    }
}

/// The next page of an answer.
fn page_of<'a>(hits: &mut impl Iterator<Item = (PartitionId, HitRef<'a>)>, is_ordered: bool) -> v1::Answer {
    let mut page = Page::default();
    while page.bytes < PAGE_BYTES
        && let Some((_, hit)) = hits.next()
    {
        page.push(&hit, is_ordered);
    }
    page.finish()
}

/// A page in the making.
#[derive(Default)]
struct Page {
    answer: v1::Answer,
    columns: BTreeMap<u32, v1::Column>,
    bytes: usize,
}

impl Page {
    fn push(&mut self, hit: &HitRef<'_>, is_ordered: bool) {
        let entity = hit.entity().0;
        self.bytes += HIT_BYTES;
        self.answer.entities.push(entity);
        if is_ordered {
            self.answer.distances_m.push(hit.distance_squared().sqrt());
        }
        if let Some((at, revision)) = hit.position() {
            let positions = &mut self.answer.positions;
            let column = match positions.iter().position(|column| column.space == at.space.0) {
                Some(i) => &mut positions[i],
                None => {
                    positions.push(v1::PositionColumn { space: at.space.0, ..v1::PositionColumn::default() });
                    positions.last_mut().expect("just pushed")
                }
            };
            column.entities.push(entity);
            column.revisions.push(revision.0);
            column.x.push(at.point.x);
            column.y.push(at.point.y);
            column.z.push(at.point.z);
        }
        for (component, revision, value) in hit.values() {
            let column = self.columns.entry(component.0).or_default();
            column.component = component.0;
            column.entities.push(entity);
            column.revisions.push(revision.0);
            column.values.push(Bytes::copy_from_slice(value));
            self.bytes += HIT_BYTES + value.len();
        }
    }

    fn finish(mut self) -> v1::Answer {
        self.answer.columns = self.columns.into_values().collect();
        self.answer
    }
}
