//! `handover`: how long entities have no owner when a region goes from one worker to another, and whether a write is lost or
//! applied twice.
//!
//! Two workers; the region is pinned to one and the other in turn. From the moment at which the old owner has said that it has
//! written its last to the one at which the new owner has heard of every entity: that is more than the time without owner.

use std::time::Duration;

use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    BenchError, Plan, Report,
    link::Link,
    owned::{self, Admin},
    owner::{self, Owner, Stage, tally::Tally},
    percentiles::Percentiles,
    server::ServerProcess,
    tools::Tools,
};

const HANDOVERS: usize = 100;
const BETWEEN: Duration = Duration::from_millis(50);

/// Runs the scenario.
///
/// # Errors
/// The server fails, or a hand-over does not come to its end.
pub(super) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let entities = plan.entities as usize;
    let server = ServerProcess::start(&owned::world(entities, owned::ONE_REGION)?, plan.partitions)?;
    let mut tools = Tools::connect(&server).await?;
    let durability = tools.world().await?.durability;
    let (stop, (told, mut stages)) = (CancellationToken::new(), mpsc::unbounded_channel());
    let mut owners = Vec::new();
    for index in 0..2 {
        let link = Link::attach_owner(server.address(), owner::TYPE, &owner::name(index)).await?;
        let owner = Owner::new(link, index, Tally::new(entities), told.clone())?;
        owners.push(tokio::spawn(owner.run(stop.clone())));
    }
    drop(told);
    let (mut at, _) = owned::until(&mut stages, Stage::Gained).await?;
    let mut admin = Admin::connect(&server).await?;
    let region = admin.only_region().await?.region;
    let mut unowned = Vec::new();
    for _ in 0..HANDOVERS {
        sleep(BETWEEN).await;
        admin.pin(region, &owner::name(1 - at)).await?;
        let (_, flushed) = owned::until(&mut stages, Stage::Flushed).await?;
        let (owner, gained) = owned::until(&mut stages, Stage::Gained).await?;
        unowned.push((gained - flushed).as_micros() as u64);
        at = owner;
    }
    stop.cancel();
    let tally = owned::joined(owners, entities).await?;
    let outcome = owned::compare(&tally, &mut tools).await?;
    server.stop()?;
    let times =
        Percentiles::of(unowned).ok_or_else(|| BenchError::unexpected("hand-overs", "some", "none"))?;
    let ms = |share| times.at(share) as f64 / 1e3;
    let report = Report::new(plan.scenario, durability).figure("unowned_p99_ms", ms(0.99), "ms").figure(
        "unowned_p50_ms",
        ms(0.5),
        "ms",
    );
    Ok(owned::with_outcome(report, outcome)
        .fact("handovers", HANDOVERS)
        .fact("entities", plan.entities)
        .fact("partitions", plan.partitions))
}
