//! Asking by `WorldService.Query`: a call for each question, some at once over one connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message;
use spatialdb_proto::v1::QueryRequest;
use spatialdb_types::{ComponentId, Point3};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::{
    super::{
        error::BenchError,
        link,
        server::ServerProcess,
        wire::{Fields, Malformed, Value},
    },
    Answered, Exam, Tally,
};

/// Calls at once: as many as a server answers at once by default.
pub(super) const IN_FLIGHT: u64 = 8;

const QUERY: &str = "/spatialdb.v1.WorldService/Query";

/// Asks for that long; each answer is checked entity by entity.
///
/// # Errors
/// A call fails, or an answer is wrong.
pub(super) async fn run(
    exam: &Arc<Exam>,
    server: &ServerProcess,
    time: Duration,
) -> Result<Answered, BenchError> {
    let encoded = |area: &super::Area| {
        let request = QueryRequest { constraint: Some(area.constraint()), ..QueryRequest::default() };
        Bytes::from(request.encode_to_vec())
    };
    let requests: Arc<[Bytes]> = exam.questions.iter().map(|question| encoded(&question.area)).collect();
    let channel = server.connect().await?;
    let (next, started) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let cpu_before = server.cpu_seconds()?;
    let mut callers = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (exam, requests, next) = (exam.clone(), requests.clone(), next.clone());
        let channel = channel.clone();
        callers.spawn(async move {
            while started.elapsed() < time {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let request = requests[n as usize % requests.len()].clone();
                ask(&exam, n, channel.clone(), request).await?;
            }
            Ok::<_, BenchError>(())
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.map_err(|crash| BenchError::crashed(&crash))??;
    }
    let cpu_seconds = server.cpu_seconds()? - cpu_before;
    let count = next.load(Ordering::Relaxed);
    Ok(Answered { count, seconds: started.elapsed().as_secs_f64(), cpu_seconds })
}

async fn ask(exam: &Exam, n: u64, channel: Channel, request: Bytes) -> Result<(), BenchError> {
    let mut pages = link::call(channel, QUERY, request).await?;
    let (mut tally, mut match_count) = (Tally::default(), None);
    while let Some(page) = pages.message().await.map_err(|status| BenchError::status("Query", &status))? {
        let told = read_page(&page, |entity, at| exam.hit(n, &mut tally, entity, at))?;
        match_count = match_count.or(told);
    }
    match match_count {
        Some(count) => exam.check(n, tally, count),
        None => Err(BenchError::unexpected("Query", "a last page", "the end of the stream")),
    }
}

// Hands over each entity; returns how many match if the page is the last.
fn read_page(
    page: &[u8],
    mut take: impl FnMut(u64, Point3) -> Result<(), BenchError>,
) -> Result<Option<u64>, BenchError> {
    let (mut match_count, mut is_last) = (0, false);
    for field in Fields::of(page) {
        match field.map_err(malformed)? {
            (1, Value::Bytes(entity)) => {
                let (entity, at) = read_entity(entity).map_err(malformed)?;
                take(entity, at)?;
            }
            (2, Value::Varint(count)) => match_count = count,
            (3, Value::Varint(last)) => is_last = last != 0,
            _ => {}
        }
    }
    Ok(is_last.then_some(match_count))
}

// An entity without a position is nowhere, which is no place of any.
fn read_entity(bytes: &[u8]) -> Result<(u64, Point3), Malformed> {
    let (mut entity, mut at) = (0, Point3::new(f64::NAN, 0.0, 0.0));
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Varint(id)) => entity = id,
            (2, Value::Bytes(component)) => at = read_component(component)?.unwrap_or(at),
            _ => {}
        }
    }
    Ok((entity, at))
}

fn read_component(bytes: &[u8]) -> Result<Option<Point3>, Malformed> {
    let (mut component, mut value): (u64, &[u8]) = (0, &[]);
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Varint(id)) => component = id,
            // An Any: its bytes are field 2.
            (4, Value::Bytes(any)) => {
                for field in Fields::of(any) {
                    if let (2, Value::Bytes(bytes)) = field? {
                        value = bytes;
                    }
                }
            }
            _ => {}
        }
    }
    if component != u64::from(ComponentId::POSITION.0) {
        return Ok(None);
    }
    let mut at = Point3::default();
    for field in Fields::of(value) {
        match field? {
            (2, Value::Fixed64(bits)) => at.x = f64::from_bits(bits),
            (3, Value::Fixed64(bits)) => at.y = f64::from_bits(bits),
            (4, Value::Fixed64(bits)) => at.z = f64::from_bits(bits),
            _ => {}
        }
    }
    Ok(Some(at))
}

fn malformed(error: Malformed) -> BenchError {
    BenchError::unexpected("Query", "a page", error.to_string())
}

#[cfg(test)]
mod tests {
    use prost_types::Any;
    use spatialdb_proto::v1::{ComponentValue, Entity, Position, QueryPage};

    use super::*;

    #[test]
    fn a_page_is_read_as_it_was_written() {
        let value = Position { space: 0, x: 1.5, y: 0.0, z: -7.25 }.encode_to_vec();
        let any = Any { type_url: "type.googleapis.com/x".to_owned(), value };
        let position = ComponentValue { id: 1, name: "x".to_owned(), revision: 9, value: Some(any) };
        let other = ComponentValue { id: 2, ..position.clone() };
        let entity = |entity, components| Entity { entity, components, partition: 1, distance_m: None };
        let entities = vec![entity(300, vec![position, other.clone()]), entity(5, vec![other])];
        let page = QueryPage { entities, match_count: 77, last: true };
        let mut found = Vec::new();
        let mut read = |page: &QueryPage| {
            read_page(&page.encode_to_vec(), |entity, at| {
                found.push((entity, at.x, at.y, at.z));
                Ok(())
            })
        };
        assert_eq!(read(&page).expect("a page"), Some(77));
        assert_eq!(read(&QueryPage { last: false, ..QueryPage::default() }).expect("a page"), None);
        assert_eq!(found[0], (300, 1.5, 0.0, -7.25));
        assert!(found[1].1.is_nan() && found.len() == 2);
        assert!(read_page(&[0x0a, 9], |_, _| Ok(())).is_err());
    }
}
