//! Asking once: by a call of its own, or over a session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use spatialdb_core::{Constraint, Query};
use spatialdb_proto::v1;
use spatialdb_types::{ComponentId, Error, Position, Reason};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::query::{Known, Near, invalid, point_of};
use crate::server::cuts::Answers;
use crate::server::edge::Edge;

/// How long a query waits for a place.
const QUERY_WAIT: Duration = Duration::from_secs(5);

/// How long a page may wait for its reader while others wait for a place. Less than `QUERY_WAIT`: those get one.
const PAGE_PATIENCE: Duration = Duration::from_secs(2);

/// How long a page may wait in any case.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// The answer to a call, and the place among the queries at once that it takes.
///
/// # Errors
/// What is wrong with the question; `LIMIT_REACHED` naming `queries_at_once_max`; `DRAINING`.
pub(super) async fn ask(
    edge: &Arc<Edge>,
    request: v1::QueryRequest,
) -> Result<(Answers, OwnedSemaphorePermit), Error> {
    let named = request.components.iter().map(|name| Ok(edge.schema().component_named(name)?.id()));
    let components = named.collect::<Result<Vec<ComponentId>, Error>>()?;
    let (limit, nearest_to) = (request.limit, request.nearest_to);
    let query = query_of(edge, request.constraint, components, limit, request.count_only, nearest_to)?;
    let permit = place(edge).await?;
    loop {
        let answers = edge.cuts.ask(edge, vec![query.clone()]).await?;
        if let Some(answers) = answers.into_iter().find(|answers| !answers.is_postponed()) {
            return Ok((answers, permit));
        }
    }
}

/// The question of a session.
///
/// # Errors
/// What is wrong with it.
pub(in crate::server) fn question_of(edge: &Edge, ask: v1::Ask) -> Result<Query, Error> {
    let known = Known::of(edge, Near::Unknown);
    let components: Result<Vec<ComponentId>, Error> =
        ask.components.into_iter().map(|id| known.component(ComponentId(id))).collect();
    query_of(edge, ask.constraint, components?, ask.limit, ask.count_only, ask.nearest_to)
}

/// A constraint of somebody who asks once.
///
/// # Errors
/// What is wrong with it.
pub(in crate::server) fn constraint_of(edge: &Edge, wire: v1::Constraint) -> Result<Constraint, Error> {
    Known::of(edge, Near::Unknown).constraint(Some(wire))
}

fn query_of(
    edge: &Edge,
    constraint: Option<v1::Constraint>,
    mut components: Vec<ComponentId>,
    limit: u64,
    count_only: bool,
    nearest_to: Option<v1::Place>,
) -> Result<Query, Error> {
    let known = Known::of(edge, Near::Unknown);
    components.sort_unstable();
    components.dedup();
    let limit = match (count_only, limit) {
        (true, _) => 0,
        (false, 0) => usize::MAX,
        (false, limit) => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let place = nearest_to.map(|place| {
        let point = point_of(place.point.as_ref(), "nearest_to")?;
        // Beyond this, squares of distances lose their meaning.
        let max = 4.0 * edge.limits.position_abs_m_max as f64;
        if ![point.x, point.y, point.z].iter().all(|v| v.abs() <= max) {
            let detail =
                format!("nearest_to: finite numbers up to 4 * position_abs_m_max = {max} are needed");
            return Err(invalid(&detail));
        }
        Ok(Position { space: known.space(place.space)?, point })
    });
    Ok(Query { constraint: known.constraint(constraint)?, components, limit, nearest_to: place.transpose()? })
}

/// A place among the queries at once: an answer may be as large as the world.
///
/// # Errors
/// `LIMIT_REACHED` naming `queries_at_once_max`.
pub(in crate::server) async fn place(edge: &Edge) -> Result<OwnedSemaphorePermit, Error> {
    let max = edge.limits.queries_at_once_max;
    let busy = || Error::new(Reason::LimitReached, format!("queries_at_once_max = {max} are being answered"));
    let waiting = tokio::time::timeout(QUERY_WAIT, edge.queries.clone().acquire_owned());
    waiting.await.map_err(|_| busy())?.map_err(|_| busy())
}

/// Room for a page of an answer that has a place among the queries at once; `None`: nobody listens any longer.
///
/// # Errors
/// `LIMIT_REACHED`: what is left of the answer is given up, since it is not read while others wait, or for too long.
pub(in crate::server) async fn page_room<'a, T>(
    edge: &Edge,
    pages: &'a mpsc::Sender<T>,
) -> Result<Option<mpsc::Permit<'a, T>>, Error> {
    let started = Instant::now();
    loop {
        if let Ok(room) = tokio::time::timeout(PAGE_PATIENCE, pages.reserve()).await {
            return Ok(room.ok());
        }
        let waited = started.elapsed();
        if edge.queries.available_permits() == 0 || waited >= PAGE_TIMEOUT {
            let (max, seconds) = (edge.limits.queries_at_once_max, waited.as_secs());
            let detail = format!(
                "a page of the answer was not read for {seconds} s; others wait for one of queries_at_once_max = {max}"
            );
            return Err(Error::new(Reason::LimitReached, detail));
        }
    }
}
