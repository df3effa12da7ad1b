//! `failover`: how long nobody writes after the owner of a region is killed.
//!
//! One region and two workers. The one that owns it is a process, and ends by SIGKILL while it writes; from then to the moment
//! at which the other one knows that its first write was accepted. Then a new process gets the region, and is killed in turn.

use std::time::{Duration, Instant};

use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    BenchError, Plan, Report,
    error::cannot,
    link::Link,
    owned::{self, Admin},
    owner::{self, Owner, Stage, process::OwnerProcess, tally::Tally},
    percentiles::Percentiles,
    server::ServerProcess,
    tools::Tools,
};

const KILLS: usize = 100;

/// So long the victim writes before it is killed.
const BETWEEN: Duration = Duration::from_millis(100);

const SURVIVOR: usize = 0;

/// Runs the scenario.
///
/// # Errors
/// The server fails, or nobody takes over.
pub(super) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let entities = plan.entities as usize;
    let tallies = tempfile::tempdir().map_err(cannot("make a temporary folder"))?;
    let server = ServerProcess::start(&owned::world(entities, owned::ONE_REGION)?, plan.partitions)?;
    let mut tools = Tools::connect(&server).await?;
    let durability = tools.world().await?.durability;
    let (stop, (told, mut stages)) = (CancellationToken::new(), mpsc::unbounded_channel());
    let link = Link::attach_owner(server.address(), owner::TYPE, &owner::name(SURVIVOR)).await?;
    let survivor = Owner::new(link, SURVIVOR, Tally::new(entities), told)?;
    let survivor = tokio::spawn(survivor.run(stop.clone()));
    owned::until(&mut stages, Stage::Accepted).await?;
    let mut admin = Admin::connect(&server).await?;
    let region = admin.only_region().await?.region;
    let mut unwritten = Vec::new();
    for kill in 1..=KILLS {
        let name = owner::name(kill);
        let victim = OwnerProcess::start(&server, &name, entities, tallies.path())?;
        admin.pin(region, &name).await?;
        admin.until("the victim has it", |regions| regions[0].owner.as_ref() == Some(&name)).await?;
        sleep(BETWEEN).await;
        admin.unpin(region).await?;
        while stages.try_recv().is_ok() {}
        let killed = Instant::now();
        victim.kill()?;
        let (_, accepted) = owned::until(&mut stages, Stage::Accepted).await?;
        unwritten.push((accepted - killed).as_micros() as u64);
    }
    stop.cancel();
    let mut tally = owned::joined(vec![survivor], entities).await?;
    tally.add(&Tally::of_folder(entities, tallies.path())?);
    let outcome = owned::compare(&tally, &mut tools).await?;
    server.stop()?;
    let times = Percentiles::of(unwritten).ok_or_else(|| BenchError::unexpected("kills", "some", "none"))?;
    let ms = |share| times.at(share) as f64 / 1e3;
    let report = Report::new(plan.scenario, durability).figure("p99_ms", ms(0.99), "ms").figure(
        "p50_ms",
        ms(0.5),
        "ms",
    );
    Ok(owned::with_outcome(report, outcome)
        .fact("kills", KILLS)
        .fact("entities", plan.entities)
        .fact("partitions", plan.partitions))
}
