//! `ExplainEntity`: why an entity is whose it is, who wrote it, who sees it, and why its last write was refused.
//!
//! Each machine says what it knows at that moment: the entity's partition whose it is, the issuer what is under way for its
//! regions, the session what it sees. They are asked one after the other, so what changes meanwhile may show in one of them.
//!
//! Responsible for: asking them, and what is wrong with a question. Not responsible for: what they know, or words on a
//! screen (`cli::explain`).

mod origin;
mod sight;
mod standing;

use std::time::Duration;

use spatialdb_core::{Explained, Refused, Sight};
use spatialdb_proto::v1;
use spatialdb_types::{ComponentId, EntityId, Error, PartitionId, Reason, SessionId};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use self::origin::session_ref;
use self::sight::SchemaNames;
use crate::server::edge::Edge;
use crate::server::partition::Control;
use crate::server::port::Event;
use crate::server::tools::{ask, follow};

/// How often an entity is looked for that is nowhere: it may be about to be made.
const TRIES: usize = 3;

/// Between two of these.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// How long a session may take to say what it sees.
const SESSION_TIMEOUT: Duration = Duration::from_secs(2);

/// Answers the question.
///
/// # Errors
/// `ENTITY_ID_INVALID`, `ENTITY_NOT_FOUND`, `SESSION_NOT_FOUND`, `VIEW_NOT_FOUND`, or what is wrong with the constraint.
pub(super) async fn explain(
    edge: &Edge,
    request: v1::ExplainEntityRequest,
) -> Result<v1::EntityExplanation, Error> {
    let entity = EntityId(request.entity);
    if !entity.is_valid() {
        let detail = format!("entity {entity}: ids are above 0 and below 2^53");
        return Err(Error::new(Reason::EntityIdInvalid, detail));
    }
    let session = session_of(edge, &request)?;
    if session.is_none() && request.view_id != 0 {
        let detail = format!("view {}: it is a session that has views, and none is named", request.view_id);
        return Err(Error::new(Reason::QueryInvalid, detail));
    }
    let constraint = request.constraint.map(|wire| ask::constraint_of(edge, wire)).transpose()?;
    let (partition, known) = find(edge, entity).await?;
    let refused = refused(edge, entity).await;
    let sight = match session {
        Some(session) => Some(sight::of_session(
            edge,
            &known,
            session,
            request.view_id,
            &ask_session(edge, session, entity).await?,
        )?),
        None => None,
    };
    let schema = edge.schema();
    let names = SchemaNames(&schema);
    let (layers, lacking) = standing::standings(edge, &known);
    Ok(v1::EntityExplanation {
        entity: entity.0,
        place: known.place().map(|at| {
            let point = v1::Point { x: at.point.x, y: at.point.y, z: Some(at.point.z) };
            v1::Place { space: at.space.0, point: Some(point) }
        }),
        partition: u32::from(partition.0),
        arriving: known.is_arriving,
        components: origin::components(edge, &known),
        follows: known.follows.unwrap_or_default().0,
        open: edge.layers.is_open(),
        layers,
        lacking,
        refused: refused.map(|refused| refused_write(edge, entity, &refused)),
        sight,
        constraint: constraint.map(|asked| sight::check(asked.explain(&known.subject(), &names))),
        world_time_us: edge.clock.now() as i64,
    })
}

/// The session that is asked about.
///
/// # Errors
/// `SESSION_NOT_FOUND`; `NAME_INVALID` if several have the name.
fn session_of(edge: &Edge, request: &v1::ExplainEntityRequest) -> Result<Option<SessionId>, Error> {
    let v1::ExplainEntityRequest { session_id, session_name, .. } = request;
    if *session_id == 0 && session_name.is_empty() {
        return Ok(None);
    }
    let id = u32::try_from(*session_id).ok().map(SessionId).filter(|id| edge.sessions.contains_key(id));
    if *session_id != 0 && id.is_some() {
        return Ok(id);
    }
    // A name may look like a number.
    let name = if *session_id == 0 { session_name.clone() } else { session_id.to_string() };
    let named = edge.sessions.iter().filter(|port| port.stats.name == name);
    let mut named: Vec<(SessionId, String)> =
        named.map(|port| (*port.key(), port.stats.worker_type.clone())).collect();
    named.sort_unstable();
    match &named[..] {
        [(session, _)] => Ok(Some(*session)),
        [] => {
            let shown: String = name.chars().take(64).collect();
            let detail = format!("no session {shown} is attached, by id or by name");
            Err(Error::new(Reason::SessionNotFound, detail))
        }
        [(a, a_type), (b, b_type), ..] => {
            let detail = format!(
                "sessions {a} of type {a_type} and {b} of type {b_type} are named {name}: say which by its id"
            );
            Err(Error::new(Reason::NameInvalid, detail))
        }
    }
}

async fn find(edge: &Edge, entity: EntityId) -> Result<(PartitionId, Explained), Error> {
    for turn in 0..TRIES {
        if turn > 0 {
            sleep(TRY_AGAIN).await;
        }
        if let Some(found) = follow(edge, entity, |answer| Control::Explain { entity, answer }).await {
            return Ok(found);
        }
    }
    Err(Error::new(Reason::EntityNotFound, format!("entity {entity} does not exist")))
}

/// The last refused write of the entity, in whichever partition it was then.
async fn refused(edge: &Edge, entity: EntityId) -> Option<Refused> {
    let mut answers = Vec::new();
    for partition in &edge.partitions {
        let (answer, answered) = oneshot::channel();
        partition.tell(Control::Refused { entity, answer });
        answers.push(answered);
    }
    let mut last: Option<Refused> = None;
    for answer in answers {
        let refused = answer.await.ok().flatten();
        last = refused.into_iter().chain(last).max_by_key(|refused| refused.at);
    }
    last
}

async fn ask_session(edge: &Edge, session: SessionId, entity: EntityId) -> Result<Sight, Error> {
    let over = || Error::new(Reason::SessionNotFound, format!("session {session} is over"));
    let (answer, answered) = oneshot::channel();
    edge.sessions.get(&session).ok_or_else(over)?.send(Event::Sight(entity, answer));
    timeout(SESSION_TIMEOUT, answered).await.map_err(|_| over())?.map_err(|_| over())
}

fn refused_write(edge: &Edge, entity: EntityId, refused: &Refused) -> v1::RefusedWrite {
    v1::RefusedWrite {
        world_time_us: refused.at as i64,
        session: Some(session_ref(edge, refused.session)),
        component: refused.component.0,
        component_name: component_name(edge, refused.component),
        reason: refused.reason().name().to_owned(),
        detail: refused.detail(entity),
    }
}

fn component_name(edge: &Edge, component: ComponentId) -> String {
    edge.schema().component(component).map_or_else(String::new, |component| component.name().to_owned())
}
