//! `durable`: from a write to a DURABLE component to its acknowledgement.
//!
//! One stream has one update of one entity in flight. Several streams are pipelined: each sends messages of many rows, and bounds what
//! is on the way. At the end the server is killed, and started again on what is on its disk: every value that was acknowledged must be
//! there.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use prost::Message;
use spatialdb_proto::v1::{Column, Frame, Update, View, client_message::Body};
use spatialdb_types::ComponentId;
use tokio::{task::JoinSet, time::timeout};

use super::{
    BenchError, Plan, Report,
    area::Area,
    laden::{VALUE_BYTES, Value},
    link::{Link, prebuilt},
    percentiles::Percentiles,
    server::ServerProcess,
    tools::Tools,
    walk::Walk,
    world::WorldFiles,
};

/// The DURABLE component, of 32 bytes.
const COMPONENT: ComponentId = ComponentId(1001);
const SETTINGS: &str = "[durability.classes]\n\"spatialdb.bench.First\" = \"durable\"\n";

/// Messages of a stream on the way, if there are several streams.
const WINDOW: u64 = 16;

const WARM_UP: Duration = Duration::from_secs(1);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a stream has done.
struct Streamed {
    /// Entities of it, by their places in the world.
    first: u64,
    /// Of each the number that was acknowledged last.
    acknowledged: Vec<u64>,
    /// Nanoseconds from sending to hearing that it is decided.
    samples: Vec<u64>,
    /// Acknowledged while it was measured.
    rows: u64,
    /// And in all.
    all_rows: u64,
}

/// What was measured.
pub(super) struct Measured {
    durability: String,
    /// Rows acknowledged while it was measured.
    rows: u64,
    /// Bytes of values that were acknowledged, those before it was measured among them.
    payload_bytes: f64,
    times: Percentiles,
    cpu_seconds: f64,
    /// By how much the data directory grew.
    kept_bytes: u64,
    /// Bytes that the server had written to disk.
    written_bytes: u64,
}

/// Runs the scenario.
///
/// # Errors
/// The server fails or refuses something, or does not have what it acknowledged.
pub(super) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let measured = measure(plan).await?;
    let ms = |share: f64| measured.times.at(share) as f64 / 1e6;
    let updates = measured.payload_bytes / VALUE_BYTES as f64;
    Ok(measured
        .report(plan)
        .figure("updates_per_second", (measured.rows as f64 / plan.seconds as f64).round(), "1/s")
        .figure("p50_ms", ms(0.5), "ms")
        .figure("p99_ms", ms(0.99), "ms")
        .figure("max_ms", ms(1.0), "ms")
        .figure("server_cpu_ns_per_update", measured.cpu_seconds * 1e9 / updates, "ns"))
}

/// Runs `amplification`: bytes on disk for a byte of values in DURABLE components.
///
/// # Errors
/// As [`run`].
pub(super) async fn run_amplification(plan: &Plan) -> Result<Report, BenchError> {
    let measured = measure(plan).await?;
    Ok(measured
        .report(plan)
        .figure("ratio", measured.written_bytes as f64 / measured.payload_bytes, "1")
        .figure("kept_ratio", measured.kept_bytes as f64 / measured.payload_bytes, "1")
        .figure("written_bytes", measured.written_bytes as f64, "B")
        .figure("payload_bytes", measured.payload_bytes, "B")
        .fact("bytes of a value", VALUE_BYTES))
}

impl Measured {
    fn report(&self, plan: &Plan) -> Report {
        Report::new(plan.scenario, self.durability.clone())
            .fact("acknowledged values found after kill -9", "all")
            .fact("entities", plan.entities)
            .fact("streams", plan.streams)
            .fact("partitions", plan.partitions)
            .fact("batch", plan.batch)
            .fact("messages in flight", window(plan) * plan.streams)
    }
}

const fn window(plan: &Plan) -> u64 {
    if plan.streams == 1 { 1 } else { WINDOW }
}

async fn measure(plan: &Plan) -> Result<Measured, BenchError> {
    let walk = Walk::new(plan.entities as usize);
    let files = WorldFiles::of_marked_walk(&walk, |_| Some(COMPONENT))?.with_settings(SETTINGS)?.kept();
    let server = ServerProcess::start(&files, plan.partitions)?;
    let durability = Tools::connect(&server).await?.world().await?.durability;
    let disk_before = files.data_bytes()?;
    let cpu_before = server.cpu_seconds()?;
    let written_before = server.written_bytes()?;
    let mut streams = JoinSet::new();
    for stream in 0..plan.streams {
        let border = |stream: u64| plan.entities * stream / plan.streams;
        let (first, end) = (border(stream), border(stream + 1));
        let link = Link::attach(&server, &format!("writer-{stream}")).await?;
        streams.spawn(write(
            link,
            first,
            end - first,
            plan.batch,
            window(plan),
            Duration::from_secs(plan.seconds),
        ));
    }
    let mut done = Vec::new();
    while let Some(streamed) = streams.join_next().await {
        done.push(streamed.map_err(|crash| BenchError::crashed(&crash))??);
    }
    let cpu_seconds = server.cpu_seconds()? - cpu_before;
    let kept_bytes = files.data_bytes()?.saturating_sub(disk_before);
    let written_bytes = server.written_bytes()? - written_before;
    // Killed, not stopped.
    drop(server);
    check(&files, plan, &done).await?;

    let rows = done.iter().map(|streamed| streamed.rows).sum();
    let acknowledged: u64 = done.iter().map(|streamed| streamed.all_rows).sum();
    let samples = done.into_iter().flat_map(|streamed| streamed.samples).collect();
    let times =
        Percentiles::of(samples).ok_or_else(|| BenchError::unexpected("durable", "samples", "none"))?;
    let payload_bytes = (acknowledged * VALUE_BYTES as u64) as f64;
    Ok(Measured { durability, rows, payload_bytes, times, cpu_seconds, kept_bytes, written_bytes })
}

/// Writes the entities of a stream, round after round.
async fn write(
    mut link: Link,
    first: u64,
    entities: u64,
    batch: u64,
    window: u64,
    time: Duration,
) -> Result<Streamed, BenchError> {
    let batch = batch.min(entities);
    let mut streamed = Streamed {
        first,
        acknowledged: vec![0; entities as usize],
        samples: Vec::new(),
        rows: 0,
        all_rows: 0,
    };
    // In order: the seq, when it was sent, its first entity and the number of its values.
    let mut on_the_way = VecDeque::new();
    let (mut next, mut number) = (0, 1);
    let started = Instant::now();
    let measured = |at: Instant| at >= started + WARM_UP && at < started + WARM_UP + time;
    loop {
        let goes_on = started.elapsed() < WARM_UP + time;
        while goes_on && (on_the_way.len() as u64) < window {
            let end = (next + batch).min(entities);
            let column = Column {
                component: COMPONENT.0,
                entities: (first + next + 1..=first + end).collect(),
                values: (next..end).map(|place| value(first + place, number)).collect(),
                ..Column::default()
            };
            let body = prebuilt(Body::Update(Update { columns: vec![column], ..Update::default() }));
            let seq = link.sender.send_prebuilt(body)?;
            on_the_way.push_back((seq, Instant::now(), next..end, number));
            (next, number) = if end == entities { (0, number + 1) } else { (end, number) };
        }
        if on_the_way.is_empty() {
            return Ok(streamed);
        }
        let frame = timeout(ANSWER_TIMEOUT, link.receiver.frame()).await;
        let late = |_| BenchError::Timeout { what: "an acknowledgement".to_owned(), waited: ANSWER_TIMEOUT };
        let frame = frame.map_err(late)??;
        let now = Instant::now();
        while on_the_way.front().is_some_and(|(seq, ..)| *seq <= frame.applied_seq) {
            let Some((_, sent, places, number)) = on_the_way.pop_front() else { break };
            streamed.all_rows += places.end - places.start;
            if measured(now) {
                streamed.samples.push((now - sent).as_nanos() as u64);
                streamed.rows += places.end - places.start;
            }
            for place in places {
                streamed.acknowledged[place as usize] = number;
            }
        }
    }
}

/// A server on what is on the disk now has what was acknowledged.
async fn check(files: &WorldFiles, plan: &Plan, done: &[Streamed]) -> Result<(), BenchError> {
    let server = ServerProcess::start(files, plan.partitions)?;
    let mut viewer = Link::attach(&server, "checker").await?;
    let mut found = vec![0; plan.entities as usize];
    let mut take = |frame: &Frame| {
        for column in frame.columns.iter().filter(|column| column.component == COMPONENT.0) {
            for (entity, value) in column.entities.iter().zip(&column.values) {
                found[*entity as usize - 1] = number_of(value);
            }
        }
    };
    let view = View { view_id: 1, constraint: Some(Area::Everything.constraint()), ..View::default() };
    viewer.fill_view(view, plan.entities, &mut take).await?;
    server.stop()?;
    let acknowledged = done.iter().flat_map(|streamed| {
        let places = streamed.first..;
        places.zip(&streamed.acknowledged)
    });
    let lost: Vec<String> = acknowledged
        .filter(|(place, number)| found[*place as usize] < **number)
        .map(|(place, number)| {
            format!("entity {}: {number} acknowledged, {} found", place + 1, found[place as usize])
        })
        .collect();
    match lost.first() {
        None => Ok(()),
        Some(first) => Err(BenchError::Mismatch {
            what: "acknowledged values".to_owned(),
            count: lost.len(),
            total: plan.entities as usize,
            first: first.clone(),
        }),
    }
}

fn value(key: u64, number: u64) -> bytes::Bytes {
    Value { key: key + 1, level: 1.0, count: number, mark: 1 }.encode_to_vec().into()
}

/// 0: it was never written.
fn number_of(value: &[u8]) -> u64 {
    Value::decode(value).map_or(0, |value| value.count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_carry_their_numbers() {
        let bytes = value(6, 77);
        assert_eq!((bytes.len(), number_of(&bytes)), (VALUE_BYTES, 77));
        assert_eq!(number_of(&[]), 0);
    }
}
