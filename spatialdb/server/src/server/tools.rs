//! `spatialdb.v1.WorldService`: looking at a world from outside.

mod admin;
pub(super) mod ask;
pub(super) mod describe;
mod field;
pub(super) mod interest;
pub(super) mod owned;
mod query;
pub(super) mod view;

use std::sync::Arc;

use prost::Message;
use prost_types::Any;
use spatialdb_core::EntityState;
use spatialdb_proto::v1::world_service_server::WorldService;
use spatialdb_proto::{status_of, v1};
use spatialdb_types::{ComponentId, EntityId, Error, PartitionId, Position, Reason, Revision};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::cuts::Answers;
use super::edge::Edge;
use super::partition::{Control, Whereabouts};

/// How often an entity is followed that moves while it is asked for.
const FOLLOW_MAX: usize = 64;

/// Bytes of a page of a query's answer, about.
const PAGE_BYTES: usize = 256 << 10;

/// Pages that wait for their reader.
const PAGES_WAITING: usize = 2;

type Pages = mpsc::Sender<Result<v1::QueryPage, Status>>;

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
        let asked = ask::ask(&self.edge, request).await;
        let (answers, permit) = asked.map_err(|error| status_of(&error))?;
        let (pages, stream) = mpsc::channel(PAGES_WAITING + 1);
        let last_word = pages.clone().try_reserve_owned();
        let edge = self.edge.clone();
        tokio::spawn(async move {
            if let (Err(error), Ok(last_word)) = (send_pages(&edge, &answers, pages).await, last_word) {
                last_word.send(Err(status_of(&error)));
            }
            drop(permit);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_entity(
        &self,
        request: Request<v1::GetEntityRequest>,
    ) -> Result<Response<v1::Entity>, Status> {
        let entity = EntityId(request.into_inner().entity);
        match follow(&self.edge, entity, |answer| Control::Entity { entity, answer }).await {
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

/// What the partition says that has an entity, and which one that is. `None`: no such entity.
pub(super) async fn follow<T>(
    edge: &Edge,
    entity: EntityId,
    ask: impl Fn(oneshot::Sender<Whereabouts<T>>) -> Control,
) -> Option<(PartitionId, T)> {
    let mut at = edge.routes.get(entity).unwrap_or_else(|| edge.map.home(entity, None));
    for _ in 0..FOLLOW_MAX {
        let (answer, answered) = oneshot::channel();
        edge.partition(at).tell(ask(answer));
        match answered.await.ok()? {
            Whereabouts::Here(state) => return Some((at, state)),
            Whereabouts::MovedTo(to) => at = to,
            // It may just have settled elsewhere.
            Whereabouts::Unknown => match edge.routes.get(entity) {
                Some(to) if to != at => at = to,
                _ => return None,
            },
        }
    }
    None
}

/// Ends early if nobody listens any longer.
///
/// # Errors
/// What is left is given up.
async fn send_pages(edge: &Edge, answers: &Answers, pages: Pages) -> Result<(), Error> {
    let mut page = v1::QueryPage::default();
    let mut bytes = 0;
    for (partition, hit) in answers.hits() {
        let mut entity = entity_of(edge, partition, hit.state());
        entity.distance_m = answers.is_ordered().then(|| hit.distance_squared().sqrt());
        bytes += entity.encoded_len();
        page.entities.push(entity);
        if bytes >= PAGE_BYTES {
            bytes = 0;
            let Some(room) = ask::page_room(edge, &pages).await? else { return Ok(()) };
            room.send(Ok(std::mem::take(&mut page)));
        }
    }
    (page.match_count, page.last) = (answers.match_count(), true);
    if let Some(room) = ask::page_room(edge, &pages).await? {
        room.send(Ok(page));
    }
    Ok(())
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
