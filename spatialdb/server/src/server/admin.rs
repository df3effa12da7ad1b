//! `spatialdb.v1.AdminService`: who owns what, and steering it by hand.
//!
//! Responsible for: checking what is asked, and telling what came of it. Not responsible for: what the issuer decides
//! (`authority`), and who may ask (`http::doors`).

mod explain;
mod watch;
mod wire;

use std::sync::Arc;

use spatialdb_core::Micros;
use spatialdb_core::authority::issuer::{Issuer, IssuerOutbox, WorkerState};
use spatialdb_core::authority::tiling::{Axis, Cut};
use spatialdb_core::world::check_name;
use spatialdb_proto::v1::admin_service_server::AdminService;
use spatialdb_proto::{status_of, v1};
use spatialdb_types::{Error, Reason, RegionId};
use tokio::sync::Semaphore;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::edge::Edge;
use super::{authority, supervised};
use crate::auth::Principal;

/// The service.
pub(super) struct Admin {
    edge: Arc<Edge>,
    watchers: Arc<Semaphore>,
}

#[tonic::async_trait]
impl AdminService for Admin {
    type WatchAuthorityStream = ReceiverStream<Result<v1::AuthorityUpdate, Status>>;

    async fn list_regions(
        &self,
        request: Request<v1::ListRegionsRequest>,
    ) -> Result<Response<v1::ListRegionsResponse>, Status> {
        answer(self.list(&request.into_inner()))
    }

    async fn split_region(
        &self,
        request: Request<v1::SplitRegionRequest>,
    ) -> Result<Response<v1::SplitRegionResponse>, Status> {
        let who = who(&request);
        answer(self.split(request.into_inner(), &who).await)
    }

    async fn merge_regions(
        &self,
        request: Request<v1::MergeRegionsRequest>,
    ) -> Result<Response<v1::MergeRegionsResponse>, Status> {
        let who = who(&request);
        let v1::MergeRegionsRequest { gone, keep } = request.into_inner();
        let merged = self.steer(|issuer, now, outbox| {
            issuer.merge(RegionId(gone), RegionId(keep), now, outbox)?;
            tracing::info!(gone, keep, who, "regions are to be merged");
            Ok(v1::MergeRegionsResponse {})
        });
        answer(merged)
    }

    async fn pin_region(
        &self,
        request: Request<v1::PinRegionRequest>,
    ) -> Result<Response<v1::Region>, Status> {
        let who = who(&request);
        answer(self.pin(request.into_inner(), &who))
    }

    async fn unpin_region(
        &self,
        request: Request<v1::UnpinRegionRequest>,
    ) -> Result<Response<v1::Region>, Status> {
        let who = who(&request);
        let region = request.into_inner().region;
        let unpinned = self.steer(|issuer, now, outbox| {
            issuer.unpin(RegionId(region), now, outbox)?;
            tracing::info!(region, who, "region unpinned");
            Ok(())
        });
        answer(unpinned.and_then(|()| self.region(region)))
    }

    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::WorkerAuthority>, Status> {
        let who = who(&request);
        let v1::DrainWorkerRequest { name, worker_type } = request.into_inner();
        let drained = self.worker(&name, &worker_type).and_then(|worker| {
            self.steer(|issuer, now, outbox| {
                issuer.drain(worker.session, now, outbox)?;
                tracing::info!(worker = name, worker_type = worker.worker_type, who, "worker is drained");
                supervised::told_to_end(&self.edge, &worker.worker_type, &name);
                let state = issuer.worker_state(worker.session);
                Ok(wire::worker(&state.unwrap_or_else(|| (*worker).clone())))
            })
        });
        answer(drained)
    }

    async fn get_wanted(
        &self,
        _: Request<v1::GetWantedRequest>,
    ) -> Result<Response<v1::GetWantedResponse>, Status> {
        let types = self.edge.authority.staff(&self.edge).into_iter();
        let types = types.map(|(worker_type, staff, surplus)| {
            wire::wanted(worker_type, staff, surplus.unwrap_or_default())
        });
        Ok(Response::new(v1::GetWantedResponse { types: types.collect(), open: self.edge.layers.is_open() }))
    }

    async fn explain_entity(
        &self,
        request: Request<v1::ExplainEntityRequest>,
    ) -> Result<Response<v1::EntityExplanation>, Status> {
        answer(explain::explain(&self.edge, request.into_inner()).await)
    }

    async fn watch_authority(
        &self,
        request: Request<v1::WatchAuthorityRequest>,
    ) -> Result<Response<Self::WatchAuthorityStream>, Status> {
        let place = self.watchers.clone().try_acquire_owned().map_err(|_| {
            let max = self.edge.limits.authority_watchers_max;
            let detail = format!("authority_watchers_max = {max} watch already");
            status_of(&Error::new(Reason::LimitReached, detail))
        })?;
        let principal = request.extensions().get::<Arc<Principal>>().cloned();
        Ok(Response::new(watch::watch(&self.edge, principal, place)))
    }
}

impl Admin {
    pub(super) fn new(edge: Arc<Edge>) -> Self {
        let max = usize::try_from(edge.limits.authority_watchers_max).unwrap_or(Semaphore::MAX_PERMITS);
        Self { edge, watchers: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))) }
    }

    fn list(&self, request: &v1::ListRegionsRequest) -> Result<v1::ListRegionsResponse, Error> {
        let layers = &self.edge.layers;
        let layer = match request.layer.as_str() {
            "" => None,
            name => Some(layers.named(name).ok_or_else(|| self.no_layer(name))?),
        };
        let picture = self.edge.authority.picture();
        let regions = picture.regions.values().filter(|state| layer.is_none_or(|layer| state.layer == layer));
        let borders = |region| {
            if request.borders { self.edge.authority.borders(&self.edge, region) } else { Vec::new() }
        };
        let regions = regions.map(|state| wire::region(layers, &picture, state, borders(state.region)));
        Ok(v1::ListRegionsResponse { regions: regions.collect(), open: layers.is_open() })
    }

    async fn split(
        &self,
        request: v1::SplitRegionRequest,
        who: &str,
    ) -> Result<v1::SplitRegionResponse, Error> {
        use v1::split_region_request::At;
        let region = RegionId(request.region);
        let new = match request.at {
            Some(at) => {
                let cut = match at {
                    At::X(at) => Cut { axis: Axis::X, at },
                    At::Y(at) => Cut { axis: Axis::Y, at },
                };
                self.steer(|issuer, now, outbox| issuer.split(region, cut, now, outbox))?
            }
            None => {
                let counting = || Error::new(Reason::RegionBusy, "load is being counted anew; try again");
                let loads = match self.edge.layers.is_open() {
                    true => None,
                    false => Some(authority::loads(&self.edge).await.ok_or_else(counting)?),
                };
                let loads = loads.unwrap_or_default();
                self.steer(|issuer, now, outbox| issuer.split_by_load(region, &loads, now, outbox))?
            }
        };
        tracing::info!(region = region.0, new_region = new.0, who, "region split");
        Ok(v1::SplitRegionResponse { new_region: new.0 })
    }

    fn pin(&self, request: v1::PinRegionRequest, who: &str) -> Result<v1::Region, Error> {
        let v1::PinRegionRequest { region, worker } = request;
        let worker = Some(worker).filter(|worker| !worker.is_empty());
        worker.as_ref().map_or(Ok(()), |worker| check_name("worker", worker))?;
        self.steer(|issuer, now, outbox| {
            issuer.pin(RegionId(region), worker.clone(), now, outbox)?;
            tracing::info!(region, worker, who, "region pinned");
            Ok(())
        })?;
        self.region(region)
    }

    fn region(&self, region: u64) -> Result<v1::Region, Error> {
        let picture = self.edge.authority.picture();
        let state = picture.regions.get(&RegionId(region));
        let state =
            state.ok_or_else(|| Error::new(Reason::RegionNotFound, format!("region {region} is gone")))?;
        Ok(wire::region(&self.edge.layers, &picture, state, Vec::new()))
    }

    /// The worker of a name, of a type if that is given.
    fn worker(&self, name: &str, worker_type: &str) -> Result<Arc<WorkerState>, Error> {
        let picture = self.edge.authority.picture();
        let is_it = |worker: &&Arc<WorkerState>| {
            worker.name == name && (worker_type.is_empty() || worker.worker_type == worker_type)
        };
        let found: Vec<_> = picture.workers.values().filter(is_it).collect();
        match found[..] {
            [worker] => Ok(worker.clone()),
            [] => {
                let of_type =
                    if worker_type.is_empty() { String::new() } else { format!(" of type {worker_type}") };
                let others = picture.workers.values().filter(|worker| worker.name == name);
                let types: Vec<&str> = others.map(|worker| &*worker.worker_type).collect();
                let is_there = self.edge.sessions.iter().any(|port| port.stats.name == name);
                let why = match (self.edge.layers.is_open(), is_there) {
                    (true, _) => "the world is open, nobody owns anything".to_owned(),
                    (false, _) if !types.is_empty() => format!("there is one of type {}", types.join(", ")),
                    (false, true) => "the session of that name serves no layer".to_owned(),
                    (false, false) => "none of that name is attached".to_owned(),
                };
                let shown: String = name.chars().take(64).collect();
                let detail = format!("no worker{of_type} is named {shown:?}: {why}");
                Err(Error::new(Reason::WorkerNotFound, detail))
            }
            [a, b, ..] => {
                let detail = format!(
                    "workers of types {} and {} are named {name}: say which type",
                    a.worker_type, b.worker_type
                );
                Err(Error::new(Reason::NameInvalid, detail))
            }
        }
    }

    /// Asks the issuer for something.
    fn steer<R>(
        &self,
        ask: impl FnOnce(&mut Issuer, Micros, &mut IssuerOutbox) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let open =
            || Error::new(Reason::RegionNotFound, "the world is open: it has no layers, and no regions");
        self.edge.authority.act(&self.edge, ask).ok_or_else(open)?
    }

    fn no_layer(&self, name: &str) -> Error {
        let there: Vec<_> = self.edge.layers.all().map(|(_, layer)| layer.name.as_str()).collect();
        let there = if there.is_empty() {
            "the world is open: it has no layers".to_owned()
        } else {
            format!("there are: {}", there.join(", "))
        };
        let shown: String = name.chars().take(64).collect();
        Error::new(Reason::RegionNotFound, format!("no layer is named {shown:?}; {there}"))
    }
}

fn answer<T>(result: Result<T, Error>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| status_of(&error))
}

/// Who asks, for the log.
fn who<T>(request: &Request<T>) -> String {
    request.extensions().get::<Arc<Principal>>().map(|principal| principal.name.clone()).unwrap_or_default()
}
