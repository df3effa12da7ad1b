//! Asking by `Ask` on one session: many questions on their way at once.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message;
use spatialdb_proto::v1::{Ask, Frame, client_message::Body};
use tokio::time::timeout;

use super::{
    super::{
        error::BenchError,
        link::{Link, prebuilt},
        server::ServerProcess,
        wire::{Fields, Malformed, Row, Value, position_rows},
    },
    Answered, Exam, Tally,
};

/// Questions that are not answered.
pub(super) const IN_FLIGHT: u64 = 64;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

// Fields of ServerMessage.
const FRAME: u32 = 4;
const ANSWER: u32 = 10;

/// What a message says of questions.
enum Said {
    /// A page of an answer.
    Page { seq: u64, match_count: u64, is_last: bool },
    /// A question was refused.
    Refused(String),
    /// Nothing.
    Nothing,
}

/// Who asks.
struct Asker<'a> {
    exam: &'a Exam,
    link: Link<Bytes>,
    bodies: Vec<Bytes>,
    asked: u64,
    // By seq: which question, and what its pages add up to.
    open: BTreeMap<u64, (u64, Tally)>,
    answered: u64,
}

/// Asks for that long; each answer is checked entity by entity. `None`: the server does not know `Ask`.
///
/// # Errors
/// The session ends, or an answer is wrong.
pub(super) async fn run(
    exam: &Exam,
    server: &ServerProcess,
    time: Duration,
) -> Result<Option<Answered>, BenchError> {
    let link = Link::attach_over(server.connect().await?, server.token(), "asker").await?;
    let body = |area: &super::Area| {
        prebuilt(Body::Ask(Ask { constraint: Some(area.constraint()), ..Ask::default() }))
    };
    let bodies = exam.questions.iter().map(|question| body(&question.area)).collect();
    let mut asker = Asker { exam, link, bodies, asked: 0, open: BTreeMap::new(), answered: 0 };
    asker.ask()?;
    while asker.answered == 0 {
        if let Some(_refused) = asker.hear().await? {
            return Ok(None);
        }
    }
    let (started, before, cpu_before) = (Instant::now(), asker.answered, server.cpu_seconds()?);
    while started.elapsed() < time || !asker.open.is_empty() {
        while started.elapsed() < time && (asker.open.len() as u64) < IN_FLIGHT {
            asker.ask()?;
        }
        if let Some(refused) = asker.hear().await? {
            return Err(BenchError::unexpected("asker", "an answer", refused));
        }
    }
    let cpu_seconds = server.cpu_seconds()? - cpu_before;
    let (count, seconds) = (asker.answered - before, started.elapsed().as_secs_f64());
    Ok(Some(Answered { count, seconds, cpu_seconds }))
}

impl Asker<'_> {
    fn ask(&mut self) -> Result<(), BenchError> {
        let body = self.bodies[self.asked as usize % self.bodies.len()].clone();
        let seq = self.link.sender.send_prebuilt(body)?;
        self.open.insert(seq, (self.asked, Tally::default()));
        self.asked += 1;
        Ok(())
    }

    // Takes in a message. Returns why a question was refused.
    async fn hear(&mut self) -> Result<Option<String>, BenchError> {
        let late = |_| BenchError::Timeout { what: "an answer".to_owned(), waited: ANSWER_TIMEOUT };
        let message = timeout(ANSWER_TIMEOUT, self.link.receiver.message()).await.map_err(late)??;
        let mut rows = Vec::new();
        let said = read(&message, |row| rows.push(row));
        let said = said.map_err(|error| BenchError::unexpected("asker", "an answer", error.to_string()))?;
        match said {
            Said::Nothing => Ok(None),
            Said::Refused(why) => Ok(Some(why)),
            Said::Page { seq, match_count, is_last } => {
                let unknown = || BenchError::unexpected("asker", "what was asked", format!("seq {seq}"));
                let (question, mut tally) = self.open.remove(&seq).ok_or_else(unknown)?;
                for row in rows {
                    self.exam.hit(question, &mut tally, row.entity, row.at)?;
                }
                if is_last {
                    self.exam.check(question, tally, match_count)?;
                    self.answered += 1;
                } else {
                    self.open.insert(seq, (question, tally));
                }
                Ok(None)
            }
        }
    }
}

fn read(message: &[u8], mut take: impl FnMut(Row)) -> Result<Said, Malformed> {
    for body in Fields::of(message) {
        match body? {
            (ANSWER, Value::Bytes(answer)) => return read_answer(answer, &mut take),
            // Few and small.
            (FRAME, Value::Bytes(frame)) => {
                let frame = Frame::decode(frame).unwrap_or_default();
                let first = frame.rejections.first().map(|r| format!("{}: {}", r.reason, r.detail));
                return Ok(first.map_or(Said::Nothing, Said::Refused));
            }
            _ => {}
        }
    }
    Ok(Said::Nothing)
}

fn read_answer(answer: &[u8], take: &mut impl FnMut(Row)) -> Result<Said, Malformed> {
    let (mut seq, mut match_count, mut is_last) = (0, 0, false);
    for field in Fields::of(answer) {
        match field? {
            (1, Value::Varint(value)) => seq = value,
            (3, Value::Bytes(column)) => position_rows(column, |row| {
                take(row);
                Ok::<_, Malformed>(())
            })?,
            (6, Value::Varint(count)) => match_count = count,
            (7, Value::Varint(last)) => is_last = last != 0,
            _ => {}
        }
    }
    Ok(Said::Page { seq, match_count, is_last })
}

#[cfg(test)]
mod tests {
    use spatialdb_proto::v1::{
        Answer, PositionColumn, Rejection, ServerMessage, server_message::Body as ServerBody,
    };

    use super::*;

    fn heard(body: ServerBody) -> (Said, Vec<u64>) {
        let mut ids = Vec::new();
        let message = ServerMessage { body: Some(body) }.encode_to_vec();
        (read(&message, |row| ids.push(row.entity)).expect("a message"), ids)
    }

    #[test]
    fn pages_and_refusals_are_told_apart() {
        let column = |id| PositionColumn {
            entities: vec![id],
            revisions: vec![1],
            x: vec![1.0],
            y: vec![2.0],
            ..PositionColumn::default()
        };
        let positions = vec![column(4), column(6)];
        let page = Answer { seq: 9, positions, match_count: 2, last: true, ..Answer::default() };
        let (said, ids) = heard(ServerBody::Answer(page));
        assert!(matches!(said, Said::Page { seq: 9, match_count: 2, is_last: true }));
        assert_eq!(ids, [4, 6]);
        let rejection =
            Rejection { reason: "NO".to_owned(), detail: "never".to_owned(), ..Rejection::default() };
        let frame = Frame { rejections: vec![rejection], ..Frame::default() };
        assert!(matches!(heard(ServerBody::Frame(frame)).0, Said::Refused(why) if why == "NO: never"));
        assert!(matches!(heard(ServerBody::Frame(Frame::default())).0, Said::Nothing));
    }
}
