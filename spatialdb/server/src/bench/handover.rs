//! `handover`: how long entities have no owner when a region goes from one worker to another, and whether a write is lost or
//! applied twice.
//!
//! Two workers; the region is pinned to one and the other in turn. From the moment at which the old owner has said that it has
//! written its last to the one at which the new owner has heard of every entity: that is more than the time without owner.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use spatialdb_proto::v1::{
    self, ListRegionsRequest, PinRegionRequest, admin_service_client::AdminServiceClient,
};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    BenchError, Plan, Report,
    owner::{self, Owner, Stage, Told},
    percentiles::Percentiles,
    server::ServerProcess,
    tools::{self, Tools},
    walk::Walk,
    world::WorldFiles,
};

const HANDOVERS: usize = 100;
const STAGE_TIMEOUT: Duration = Duration::from_secs(10);
const BETWEEN: Duration = Duration::from_millis(50);

const SETTINGS: &str = "[[layers]]\nname = \"all\"\nworker_type = \"bench\"\nwith = [\"Position\"]\n\
    writes = [\"Position\"]\nstrategy = \"single\"\n";

/// Runs the scenario.
///
/// # Errors
/// The server fails, or a hand-over does not come to its end.
pub(super) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let walk = Walk::new(plan.entities as usize);
    let server =
        ServerProcess::start(&WorldFiles::of_walk(&walk)?.with_settings(SETTINGS)?, plan.partitions)?;
    let mut tools = Tools::connect(&server).await?;
    let durability = tools.world().await?.durability;
    let (stop, (told, mut stages)) = (CancellationToken::new(), mpsc::unbounded_channel());
    let mut owners = Vec::new();
    for index in 0..2 {
        let owner = Owner::attach(&server, index, plan.entities as usize, told.clone()).await?;
        owners.push(tokio::spawn(owner.run(stop.clone())));
    }
    drop(told);
    let (mut at, _) = until(&mut stages, Stage::Gained).await?;
    let mut admin = AdminServiceClient::new(server.connect().await?);
    let regions = admin.list_regions(ListRegionsRequest::default()).await;
    let regions = regions.map_err(|status| BenchError::status("ListRegions", &status))?.into_inner().regions;
    let region = match &regions[..] {
        [region] => region.lease.as_ref().map_or(0, |lease| lease.region),
        more => return Err(BenchError::unexpected("ListRegions", "one region", more.len().to_string())),
    };
    let mut unowned = Vec::new();
    for _ in 0..HANDOVERS {
        sleep(BETWEEN).await;
        let pin = PinRegionRequest { region, worker: owner::name(1 - at) };
        admin.pin_region(pin).await.map_err(|status| BenchError::status("PinRegion", &status))?;
        let (_, flushed) = until(&mut stages, Stage::Flushed).await?;
        let (owner, gained) = until(&mut stages, Stage::Gained).await?;
        unowned.push((gained - flushed).as_micros() as u64);
        at = owner;
    }
    stop.cancel();
    let mut moves: BTreeMap<u64, u64> = BTreeMap::new();
    for owner in owners {
        let accepted = owner.await.map_err(|crash| BenchError::crashed(&crash))??;
        accepted.into_iter().for_each(|(entity, count)| *moves.entry(entity).or_default() += count);
    }
    let mut found = BTreeMap::new();
    let note = |entity: &v1::Entity| found.extend(tools::position(entity).map(|at| (entity.entity, at.x)));
    tools.each_entity(note).await?;
    let (lost, doubled) = compare(&walk, &moves, &found)?;
    server.stop()?;
    let times =
        Percentiles::of(unowned).ok_or_else(|| BenchError::unexpected("hand-overs", "some", "none"))?;
    let ms = |share| times.at(share) as f64 / 1e3;
    Ok(Report::new(plan.scenario, durability)
        .figure("unowned_p99_ms", ms(0.99), "ms")
        .figure("unowned_p50_ms", ms(0.5), "ms")
        .figure("lost", lost as f64, "1")
        .figure("doubled", doubled as f64, "1")
        .figure("writes", moves.values().sum::<u64>() as f64, "1")
        .fact("handovers", HANDOVERS)
        .fact("entities", plan.entities)
        .fact("partitions", plan.partitions))
}

async fn until(stages: &mut UnboundedReceiver<Told>, stage: Stage) -> Result<(usize, Instant), BenchError> {
    let found = async {
        while let Some((owner, told, at)) = stages.recv().await {
            if told == stage {
                return Ok((owner, at));
            }
        }
        Err(BenchError::unexpected("the owners", format!("{stage:?}"), "the end of a session"))
    };
    let late = |_| BenchError::Timeout { what: format!("{stage:?}"), waited: STAGE_TIMEOUT };
    timeout(STAGE_TIMEOUT, found).await.map_err(late)?
}

/// How many moves were lost, and how many came twice.
fn compare(
    walk: &Walk,
    moves: &BTreeMap<u64, u64>,
    found: &BTreeMap<u64, f64>,
) -> Result<(u64, u64), BenchError> {
    let (mut lost, mut doubled) = (0, 0);
    for (entity, start) in (1..).zip(walk.round(0)) {
        let Some(x) = found.get(&entity) else {
            return Err(BenchError::unexpected("the world", format!("entity {entity}"), "nothing"));
        };
        let (is, should) = ((x - start.x).round() as i64, moves.get(&entity).copied().unwrap_or(0) as i64);
        lost += (should - is).max(0) as u64;
        doubled += (is - should).max(0) as u64;
    }
    Ok((lost, doubled))
}
