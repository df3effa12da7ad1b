//! `spatialdb.v1.WorldService`: looking at a world from outside.

mod admin;
pub(super) mod describe;
mod field;
pub(super) mod query;
pub(super) mod view;

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use prost_types::Any;
use spatialdb_core::{EntityState, Query};
use spatialdb_proto::v1::world_service_server::WorldService;
use spatialdb_proto::{status_of, v1};
use spatialdb_types::{ComponentId, EntityId, Error, PartitionId, Position, Reason, Revision};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::cuts::Answers;
use super::edge::Edge;
use super::partition::{Control, Whereabouts};

/// How often an entity is followed that moves while it is asked for.
const FOLLOW_MAX: usize = 64;

/// Bytes of a page of a query's answer, about.
const PAGE_BYTES: usize = 256 << 10;

/// How long a query waits for a place.
const QUERY_WAIT: Duration = Duration::from_secs(5);

/// How long a page may wait for its reader; then the rest is dropped, and the stream ends without a last page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// The service.
pub(super) struct Tools {
    pub(super) edge: Arc<Edge>,
}

#[tonic::async_trait]
impl WorldService for Tools {
    type QueryStream = ReceiverStream<Result<v1::QueryPage, Status>>;

    async fn get_world(&self, _: Request<v1::GetWorldRequest>) -> Result<Response<v1::World>, Status> {
        Ok(Response::new(describe::world(&self.edge)))
    }

    async fn query(&self, request: Request<v1::QueryRequest>) -> Result<Response<Self::QueryStream>, Status> {
        let request = request.into_inner();
        let permit = self.permit().await.map_err(|error| status_of(&error))?;
        let (limit, answers) = self.ask(request).await.map_err(|error| status_of(&error))?;
        let (pages, stream) = mpsc::channel(2);
        let edge = self.edge.clone();
        tokio::spawn(async move {
            send_pages(&edge, answers, limit, pages).await;
            drop(permit);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_entity(
        &self,
        request: Request<v1::GetEntityRequest>,
    ) -> Result<Response<v1::Entity>, Status> {
        let entity = EntityId(request.into_inner().entity);
        match self.find(entity).await {
            Some((partition, state)) => Ok(Response::new(entity_of(&self.edge, partition, state))),
            None => {
                let error = Error::new(Reason::EntityNotFound, format!("entity {entity} does not exist"));
                Err(status_of(&error))
            }
        }
    }

    async fn get_schema(&self, _: Request<v1::GetSchemaRequest>) -> Result<Response<v1::Schema>, Status> {
        let schema = self.edge.schema();
        Ok(Response::new(v1::Schema {
            digest: schema.digest().to_owned(),
            components: describe::components(&schema),
            descriptor_set: schema.descriptor_set().to_vec().into(),
        }))
    }

    async fn apply_schema(
        &self,
        request: Request<v1::ApplySchemaRequest>,
    ) -> Result<Response<v1::ApplySchemaResponse>, Status> {
        let v1::ApplySchemaRequest { descriptor_set, dry_run } = request.into_inner();
        let applied = admin::apply_schema(&self.edge, &descriptor_set, dry_run);
        applied.map(Response::new).map_err(|error| status_of(&error))
    }

    async fn get_flags(&self, request: Request<v1::GetFlagsRequest>) -> Result<Response<v1::Flags>, Status> {
        let flags = self.edge.flags.of(&request.into_inner().worker_type);
        Ok(Response::new(v1::Flags { flags }))
    }

    async fn set_flags(&self, request: Request<v1::SetFlagsRequest>) -> Result<Response<v1::Flags>, Status> {
        let set = admin::set_flags(&self.edge, request.into_inner());
        set.map(Response::new).map_err(|error| status_of(&error))
    }

    async fn list_sessions(
        &self,
        _: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        Ok(Response::new(v1::ListSessionsResponse { sessions: describe::sessions(&self.edge) }))
    }
}

impl Tools {
    /// A place among the queries at once: each may hold an answer as large as the world.
    async fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        let waiting = tokio::time::timeout(QUERY_WAIT, self.edge.queries.clone().acquire_owned());
        let max = self.edge.limits.queries_at_once_max;
        let busy =
            || Error::new(Reason::LimitReached, format!("queries_at_once_max = {max} are being answered"));
        waiting.await.map_err(|_| busy())?.map_err(|_| busy())
    }

    /// Asks every partition. Returns the limit on entities too.
    async fn ask(&self, request: v1::QueryRequest) -> Result<(usize, Answers), Error> {
        let edge = &self.edge;
        let constraint = query::constraint_of(edge, request.constraint)?;
        let named = request.components.iter().map(|name| Ok(edge.schema().component_named(name)?.id()));
        let mut components = named.collect::<Result<Vec<ComponentId>, Error>>()?;
        components.sort_unstable();
        let limit = match (request.count_only, request.limit) {
            (true, _) => 0,
            (false, 0) => usize::MAX,
            (false, limit) => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let answers = edge.cuts.ask(edge, Query { constraint, components, limit }).await?;
        Ok((limit, answers))
    }

    async fn find(&self, entity: EntityId) -> Option<(PartitionId, EntityState)> {
        let mut at = self.edge.routes.get(entity).unwrap_or_else(|| self.edge.map.home(entity, None));
        for _ in 0..FOLLOW_MAX {
            let (answer, answered) = oneshot::channel();
            self.edge.partition(at).tell(&self.edge, Control::Entity { entity, answer });
            match answered.await.ok()? {
                Whereabouts::Here(state) => return Some((at, state)),
                Whereabouts::MovedTo(to) => at = to,
                // It may just have settled elsewhere.
                Whereabouts::Unknown => match self.edge.routes.get(entity) {
                    Some(to) if to != at => at = to,
                    _ => return None,
                },
            }
        }
        None
    }
}

async fn send_pages(
    edge: &Edge,
    answers: Answers,
    limit: usize,
    pages: mpsc::Sender<Result<v1::QueryPage, Status>>,
) {
    let match_count = answers.iter().map(|(_, answer)| answer.match_count).sum();
    let mut page = v1::QueryPage::default();
    let mut bytes = 0;
    let all = answers.into_iter().flat_map(|(id, answer)| answer.entities.into_iter().map(move |e| (id, e)));
    for (partition, state) in all.take(limit) {
        let entity = entity_of(edge, partition, state);
        bytes += entity.encoded_len();
        page.entities.push(entity);
        if bytes >= PAGE_BYTES {
            bytes = 0;
            let sent = tokio::time::timeout(PAGE_TIMEOUT, pages.send(Ok(std::mem::take(&mut page)))).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    }
    (page.match_count, page.last) = (match_count, true);
    // Whoever asked may have gone.
    let _ = pages.send(Ok(page)).await;
}

fn entity_of(edge: &Edge, partition: PartitionId, state: EntityState) -> v1::Entity {
    let position = state.position.map(|(at, revision)| position_value(at, revision));
    let values = state.values.into_iter().map(|(component, revision, value)| {
        // Only components of the schema get into the store.
        let name = edge.schema().component(component).map_or_else(String::new, |c| c.name().to_owned());
        component_value(component, &name, revision, value.into_vec())
    });
    let components = position.into_iter().chain(values).collect();
    v1::Entity { entity: state.entity.0, components, partition: u32::from(partition.0), distance_m: None }
}

fn position_value(at: Position, revision: Revision) -> v1::ComponentValue {
    let position = v1::Position { space: at.space.0, x: at.point.x, y: at.point.y, z: at.point.z };
    component_value(ComponentId::POSITION, "spatialdb.v1.Position", revision, position.encode_to_vec())
}

fn component_value(id: ComponentId, name: &str, revision: Revision, value: Vec<u8>) -> v1::ComponentValue {
    let value = Any { type_url: format!("type.googleapis.com/{name}"), value };
    v1::ComponentValue { id: id.0, name: name.to_owned(), revision: revision.0, value: Some(value) }
}
