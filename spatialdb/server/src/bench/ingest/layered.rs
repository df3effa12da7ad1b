//! `ingest --layers`: what the check of authority costs.
//!
//! Responsible for: a layer for each stream, and the comparison with a world that is open. Not responsible for: the ingest.
//!
//! The entities of a stream have a component of their own, and with it a layer of a grid of regions, all of which its session
//! owns: so each row is checked in its partition, and entities go from region to region. The open world has the same entities.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use spatialdb_proto::v1::{
    AuthorityReport, authority::Body as Word, client_message::Body, server_message::Body as ServerBody,
};
use spatialdb_types::ComponentId;
use tokio::time::timeout;

use super::{
    super::{BenchError, Plan, Report, link::Link, server::ServerProcess, world::WorldFiles},
    Ingest, Setup,
    pairs::Pairs,
};

/// Components of the schema of a bench, one for the entities of each stream.
const MARKS: [(ComponentId, &str); 3] =
    [(ComponentId(1001), "First"), (ComponentId(1002), "Second"), (ComponentId(1003), "Third")];

/// So many streams may have layers.
pub(in crate::bench) const STREAMS_MAX: u64 = MARKS.len() as u64;

const GRANTS_TIMEOUT: Duration = Duration::from_secs(30);

/// Who owns what in the world of an ingest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum Ownership {
    /// Anybody may write anything.
    Open,
    /// The same, of a world whose entities have the components that tell streams apart.
    Marked,
    /// Each stream has a layer with a grid of regions, so many on a side.
    Layers(u64),
}

/// Runs the scenario.
///
/// # Errors
/// A server fails or refuses something, or the results are wrong.
pub(in crate::bench) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let setup = |ownership| Setup { ownership, ..Setup::of(plan) };
    let mut open = Ingest::start(&setup(Ownership::Marked), Ok).await?;
    let mut layered = Ingest::start(&setup(Ownership::Layers(plan.layers)), Ok).await?;
    let pairs = Pairs::run(plan, &mut open, &mut layered).await?;
    open.end(|_| ()).await?;
    let ended = layered.end(|_| ()).await?;
    let names = ["open_updates_per_second", "open_server_cpu_ns_per_update"];
    let report = pairs.report(plan, ended.durability, names);
    Ok(report.fact("regions_per_stream", plan.layers * plan.layers))
}

impl Ownership {
    /// Its world.
    pub(super) fn world(self, setup: &Setup<'_>) -> Result<WorldFiles, BenchError> {
        if self == Self::Open {
            return WorldFiles::of_walk(&setup.walk);
        }
        let shares: Vec<Range<usize>> =
            (0..setup.plan.streams as usize).map(|stream| setup.share(stream)).collect();
        let mark = |place: usize| {
            let stream = shares.iter().position(|share| share.contains(&place))?;
            Some(MARKS[stream].0)
        };
        let files = WorldFiles::of_marked_walk(&setup.walk, mark)?;
        let Self::Layers(side) = self else { return Ok(files) };
        let names = MARKS.iter().take(shares.len()).map(|(_, name)| format!("spatialdb.bench.{name}"));
        let names: Vec<String> = names.collect();
        let layer = |(stream, name): (usize, &String)| {
            let others: Vec<&String> = names.iter().filter(|other| *other != name).collect();
            let (worker_type, side_m) = (worker_type(stream), setup.walk.side_m() / side as f64);
            format!(
                "[[layers]]\nname = \"{worker_type}\"\nworker_type = \"{worker_type}\"\nwith = [\"Position\", \"{name}\"]\n\
                 without = {others:?}\nwrites = [\"Position\"]\nstrategy = \"grid\"\n\
                 grid = {{ x = 0, y = 0, side_m = {side_m}, columns = {side}, rows = {side} }}\n"
            )
        };
        let layers: String = names.iter().enumerate().map(layer).collect();
        // Who waits for its turn says nothing.
        files.with_settings(&format!("[authority]\nlease_ttl = \"60s\"\n{layers}"))
    }

    /// Attaches the writer of a stream, which owns those of its share then. Returns how many messages it has processed of what
    /// it owns.
    pub(super) async fn attach(
        self,
        server: &ServerProcess,
        stream: usize,
        share: Range<usize>,
    ) -> Result<(Link, u64), BenchError> {
        let name = format!("writer-{stream}");
        let Self::Layers(side) = self else { return Ok((Link::attach(server, &name).await?, 0)) };
        let mut link = Link::attach_owner(server.address(), &worker_type(stream), &name).await?;
        let (mut regions, mut owned) = (0, BTreeSet::new());
        let granted = async {
            loop {
                let ServerBody::Authority(word) = link.receiver.body().await? else { continue };
                match &word.body {
                    Some(Word::Gained(_)) => {
                        regions += 1;
                        let report =
                            AuthorityReport { authority_seen: word.number, ..AuthorityReport::default() };
                        link.sender.send(Body::AuthorityReport(report))?;
                    }
                    Some(Word::Entities(words)) => {
                        owned.extend(words.changes.iter().flat_map(|change| &change.entities).copied());
                    }
                    _ => {}
                }
                if regions == side * side && owned.len() == share.len() {
                    return Ok::<_, BenchError>(word.number);
                }
            }
        };
        let late = |_| BenchError::Timeout { what: format!("{name}: its regions"), waited: GRANTS_TIMEOUT };
        let seen = timeout(GRANTS_TIMEOUT, granted).await.map_err(late)??;
        Ok((link, seen))
    }
}

fn worker_type(stream: usize) -> String {
    format!("stream-{stream}")
}
