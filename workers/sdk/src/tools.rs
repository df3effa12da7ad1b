//! The few tool calls that workers need.
//!
//! Responsible for: asking who is connected.
//! Not responsible for: the rest of `WorldService`, which the generated client in [`crate::v1`] speaks.

use tonic::{Request, metadata::MetadataValue};

use crate::{
    WorkerError, WorkerOptions,
    connection::{dial, error_of},
    v1::{self, world_service_client::WorldServiceClient},
};

/// Every session of the world.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn list_sessions(options: &WorkerOptions) -> Result<Vec<v1::SessionInfo>, WorkerError> {
    let mut client = WorldServiceClient::new(dial(options).await?);
    let mut request = Request::new(v1::ListSessionsRequest {});
    if !options.token.is_empty() {
        let bearer = format!("Bearer {}", options.token);
        let value = MetadataValue::try_from(bearer)
            .map_err(|error| WorkerError::Protocol { detail: format!("the token is no header: {error}") })?;
        request.metadata_mut().insert("authorization", value);
    }
    let answer = client.list_sessions(request).await;
    Ok(answer.map_err(|status| error_of(&options.address, &status))?.into_inner().sessions)
}
