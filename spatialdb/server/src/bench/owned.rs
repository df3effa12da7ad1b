//! Worlds with owners: what the scenarios of authority share.
//!
//! Responsible for: such a world, the calls that steer it, waiting for owners, comparing their tallies with the world. Not
//! responsible for: what owners do (`owner`).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use spatialdb_proto::v1::{
    self, DrainWorkerRequest, ListRegionsRequest, PinRegionRequest, Region, UnpinRegionRequest,
    admin_service_client::AdminServiceClient,
};
use spatialdb_types::EntityId;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::transport::Channel;

use super::{
    Report,
    error::BenchError,
    owner::{
        self, Stage, Told,
        tally::{Outcome, Tally},
    },
    server::ServerProcess,
    tools::{self, Tools},
    walk::Walk,
    world::WorldFiles,
};

/// One layer whose regions are never split.
pub(super) const ONE_REGION: &str = "strategy = \"single\"\n";

/// As long as anything may take that is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(5);

/// A flat world of that many entities, with one layer that has these settings too.
///
/// # Errors
/// It cannot be written.
pub(super) fn world(entities: usize, settings: &str) -> Result<WorldFiles, BenchError> {
    let layer = "[limits]\nrejections_per_frame_max = 10000\n[[layers]]\nname = \"all\"\nwith = [\"Position\"]\n\
        writes = [\"Position\"]\n";
    let settings = format!("{layer}worker_type = \"{}\"\n{settings}", owner::TYPE);
    WorldFiles::of_walk(&Walk::flat(entities))?.with_settings(&settings)
}

/// The calls of an admin, with errors that say which call.
pub(super) struct Admin(AdminServiceClient<Channel>);

/// A region and who has it.
#[derive(Clone, Debug)]
pub(super) struct Owned {
    /// Its id.
    pub(super) region: u64,
    /// The name of its owner; none: nobody.
    pub(super) owner: Option<String>,
    min: (f64, f64),
    max: (f64, f64),
}

impl Owned {
    /// Whether it was cut, and its parts have different owners.
    pub(super) fn is_shared(&self, regions: &[Self]) -> bool {
        let overlaps =
            |min: f64, max: f64, other_min: f64, other_max: f64| min < other_max && other_min < max;
        let parts = regions.iter().filter(|other| {
            overlaps(self.min.0, self.max.0, other.min.0, other.max.0)
                && overlaps(self.min.1, self.max.1, other.min.1, other.max.1)
        });
        parts.filter_map(|part| part.owner.as_ref()).collect::<BTreeSet<_>>().len() > 1
    }

    /// Whether a place lies in it.
    pub(super) fn holds(&self, (x, y): (f64, f64)) -> bool {
        x >= self.min.0 && x < self.max.0 && y >= self.min.1 && y < self.max.1
    }
}

impl Admin {
    /// Over a connection of its own.
    ///
    /// # Errors
    /// The server does not take it.
    pub(super) async fn connect(server: &ServerProcess) -> Result<Self, BenchError> {
        Ok(Self(AdminServiceClient::new(server.connect().await?)))
    }

    /// The regions with a place.
    ///
    /// # Errors
    /// The call fails.
    pub(super) async fn regions(&mut self) -> Result<Vec<Owned>, BenchError> {
        let answer = self.0.list_regions(ListRegionsRequest::default()).await;
        let regions =
            answer.map_err(|status| BenchError::status("ListRegions", &status))?.into_inner().regions;
        let owned = |region: &Region| {
            let owner = region.owner.as_ref().map(|owner| owner.name.clone());
            let lease = region.lease.as_ref()?;
            let (min, max) = ((lease.min_x, lease.min_y), (lease.max_x, lease.max_y));
            Some(Owned { region: lease.region, owner, min, max })
        };
        Ok(regions.iter().filter_map(owned).collect())
    }

    /// The region of a world that has only one.
    ///
    /// # Errors
    /// The call fails, or there are more.
    pub(super) async fn only_region(&mut self) -> Result<Owned, BenchError> {
        match &self.regions().await?[..] {
            [region] => Ok(region.clone()),
            more => Err(BenchError::unexpected("ListRegions", "one region", more.len().to_string())),
        }
    }

    /// Gives a region to a worker.
    ///
    /// # Errors
    /// The call fails.
    pub(super) async fn pin(&mut self, region: u64, worker: &str) -> Result<(), BenchError> {
        let pin = PinRegionRequest { region, worker: worker.to_owned() };
        let answer = self.0.pin_region(pin).await;
        answer.map(drop).map_err(|status| BenchError::status("PinRegion", &status))
    }

    /// Anybody may have it again.
    ///
    /// # Errors
    /// The call fails.
    pub(super) async fn unpin(&mut self, region: u64) -> Result<(), BenchError> {
        let answer = self.0.unpin_region(UnpinRegionRequest { region }).await;
        answer.map(drop).map_err(|status| BenchError::status("UnpinRegion", &status))
    }

    /// Tells a worker to hand over all and end.
    ///
    /// # Errors
    /// The call fails.
    pub(super) async fn drain(&mut self, worker: &str) -> Result<(), BenchError> {
        let drain = DrainWorkerRequest { name: worker.to_owned(), ..DrainWorkerRequest::default() };
        let answer = self.0.drain_worker(drain).await;
        answer.map(drop).map_err(|status| BenchError::status("DrainWorker", &status))
    }

    /// Waits until regions are as they should be.
    ///
    /// # Errors
    /// The call fails, or it takes too long.
    pub(super) async fn until(
        &mut self,
        what: &str,
        is_so: impl Fn(&[Owned]) -> bool,
    ) -> Result<Vec<Owned>, BenchError> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let regions = self.regions().await?;
            if is_so(&regions) {
                return Ok(regions);
            }
            sleep(POLL).await;
        }
        Err(BenchError::Timeout { what: what.to_owned(), waited: PATIENCE })
    }
}

/// Waits until an owner has come to a stage.
///
/// # Errors
/// It takes too long, or the owners have ended.
pub(super) async fn until(
    stages: &mut UnboundedReceiver<Told>,
    stage: Stage,
) -> Result<(usize, Instant), BenchError> {
    let found = async {
        while let Some((owner, told, at)) = stages.recv().await {
            if told == stage {
                return Ok((owner, at));
            }
        }
        Err(BenchError::unexpected("the owners", format!("{stage:?}"), "the end of a session"))
    };
    let late = |_| BenchError::Timeout { what: format!("{stage:?}"), waited: PATIENCE };
    timeout(PATIENCE, found).await.map_err(late)?
}

/// What owners did, once they have ended.
///
/// # Errors
/// One has failed.
pub(super) async fn joined(
    owners: Vec<JoinHandle<Result<Tally, BenchError>>>,
    entities: usize,
) -> Result<Tally, BenchError> {
    let mut tally = Tally::new(entities);
    for owner in owners {
        tally.add(&owner.await.map_err(|crash| BenchError::crashed(&crash))??);
    }
    Ok(tally)
}

/// Puts what came of moves in a report.
pub(super) fn with_outcome(report: Report, outcome: Outcome) -> Report {
    report.figure("lost", outcome.lost as f64, "1").figure("doubled", outcome.doubled as f64, "1").figure(
        "writes",
        outcome.moves as f64,
        "1",
    )
}

/// Compares what owners did with the world.
///
/// # Errors
/// The call fails, or an entity is not there.
pub(super) async fn compare(tally: &Tally, tools: &mut Tools) -> Result<Outcome, BenchError> {
    let mut found: BTreeMap<u64, u64> = BTreeMap::new();
    let note = |entity: &v1::Entity| {
        found.extend(tools::position(entity).map(|at| (entity.entity, owner::moves(at.z))));
    };
    tools.each_entity(note).await?;
    tally.compare(|EntityId(entity)| found.get(&entity).copied())
}
