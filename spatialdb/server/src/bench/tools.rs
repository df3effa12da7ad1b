//! The calls of a tool, with errors that say which call.

use std::{io, time::Duration};

use prost::Message as _;
use spatialdb_proto::v1::{
    Constraint, Entity, GetEntityRequest, GetWorldRequest, Position, QueryRequest, World, constraint,
    world_service_client::WorldServiceClient,
};
use spatialdb_types::{ComponentId, Point3};
use tonic::{
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

use super::{
    error::{BenchError, cannot},
    server::ServerProcess,
};

const MESSAGE_BYTES_MAX: usize = 64 << 20;
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

// All of four million entities take a while.
const WORLD_TIMEOUT: Duration = Duration::from_secs(180);

/// A tool that is connected.
pub(super) struct Tools(WorldServiceClient<InterceptedService<Channel, Token>>);

/// What each call shows, if the server wants it.
struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

impl Tools {
    /// Over a connection of its own.
    ///
    /// # Errors
    /// The server does not take it.
    pub(super) async fn connect(server: &ServerProcess) -> Result<Self, BenchError> {
        let token = server.token().map(|token| format!("Bearer {token}").parse()).transpose();
        let token = token.map_err(|_| cannot("show the token")(io::ErrorKind::InvalidData.into()))?;
        let client = WorldServiceClient::with_interceptor(server.connect().await?, Token(token));
        Ok(Self(client.max_decoding_message_size(MESSAGE_BYTES_MAX)))
    }

    /// Asks for the world.
    ///
    /// # Errors
    /// The call fails.
    pub(super) async fn world(&mut self) -> Result<World, BenchError> {
        let answer = self.0.get_world(timed(GetWorldRequest {})).await;
        Ok(answer.map_err(|status| BenchError::status("GetWorld", &status))?.into_inner())
    }

    /// Asks for an entity.
    ///
    /// # Errors
    /// The call fails.
    pub(super) async fn entity(&mut self, entity: u64) -> Result<Entity, BenchError> {
        let answer = self.0.get_entity(timed(GetEntityRequest { entity })).await;
        Ok(answer.map_err(|status| BenchError::status(format!("GetEntity {entity}"), &status))?.into_inner())
    }

    /// Hands over every entity of the world. Returns how many the server says there are.
    ///
    /// # Errors
    /// The call fails, or ends without its last page.
    pub(super) async fn each_entity(&mut self, mut take: impl FnMut(&Entity)) -> Result<u64, BenchError> {
        let failed = |status| BenchError::status("Query", &status);
        let request = QueryRequest { constraint: Some(everything()), ..QueryRequest::default() };
        let mut request = timed(request);
        request.set_timeout(WORLD_TIMEOUT);
        let mut pages = self.0.query(request).await.map_err(failed)?.into_inner();
        while let Some(page) = pages.message().await.map_err(failed)? {
            page.entities.iter().for_each(&mut take);
            if page.last {
                return Ok(page.match_count);
            }
        }
        Err(BenchError::unexpected("Query", "a last page", "the end of the stream"))
    }
}

/// Where an entity is.
pub(super) fn position(entity: &Entity) -> Option<Point3> {
    let component = entity.components.iter().find(|c| c.id == ComponentId::POSITION.0)?;
    let at = Position::decode(component.value.as_ref()?.value.as_slice()).ok()?;
    Some(Point3::new(at.x, at.y, at.z))
}

/// The condition that holds for every entity of the world.
pub(super) fn everything() -> Constraint {
    // The entities of sessions have no position.
    Constraint { kind: Some(constraint::Kind::HasComponent(ComponentId::POSITION.0)) }
}

fn timed<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}
