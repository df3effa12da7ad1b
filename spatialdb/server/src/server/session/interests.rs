//! What entities give a session: its page of the book of interests, read into views.
//!
//! Responsible for: reading, and saying what is left out so that who builds the world sees it.
//! Not responsible for: whose page it is (the book), or what fits (the session machine).

use std::collections::BTreeMap;
use std::sync::Arc;

use spatialdb_core::{InterestPage, Session, View};
use spatialdb_types::{EntityId, Error, Reason};

use crate::auth::Right;
use crate::server::edge::Edge;
use crate::server::port::Stats;
use crate::server::tools::interest;

/// What was read of a page.
#[derive(Default)]
pub(super) struct Interests {
    read: BTreeMap<EntityId, Read>,
    /// The last page had more entities than the session may have.
    is_cut: bool,
}

/// A value, and the views in it; `None` if it cannot be meant.
type Read = (Arc<[u8]>, Option<Arc<[View]>>);

impl Interests {
    /// Reads the session's page as it is now. What it has read before is not read again.
    pub(super) fn read(&mut self, edge: &Edge, stats: &Stats, session: &mut Session) {
        let max = edge.limits.session_interests_max;
        let page = edge.interests.page(session.id(), max);
        let entities = page.interests.len() + page.more;
        let page = match stats.principal.check(Right::Query) {
            Ok(()) => page,
            Err(error) => {
                if let Some((entity, _)) = page.interests.first() {
                    leave_out(edge, stats, *entity, &error);
                }
                InterestPage::default()
            }
        };
        let mut before = std::mem::take(&mut self.read);
        for (entity, value) in page.interests {
            let known = before.remove(&entity).filter(|(known, _)| *known == value);
            let read = known.unwrap_or_else(|| {
                let views = interest::views_of(edge, entity, &value);
                let views = views.inspect_err(|error| leave_out(edge, stats, entity, error)).ok();
                (value, views)
            });
            self.read.insert(entity, read);
        }
        if page.more > 0 && !self.is_cut {
            let last = self.read.keys().next_back().copied().unwrap_or_default();
            let detail = format!(
                "{entities} entities give the session views, those after {last} are left out; session_interests_max = {max}"
            );
            leave_out(edge, stats, last, &Error::new(Reason::LimitReached, detail));
        }
        self.is_cut = page.more > 0;
        let views = self.read.iter().filter_map(|(&entity, (_, views))| Some((entity, views.clone()?)));
        session.set_interests(&views.collect());
    }
}

/// Says what does not fit beside what the session has.
pub(super) fn tell_left_out(edge: &Edge, stats: &Stats, session: &mut Session) {
    for (entity, error) in session.take_left_out() {
        leave_out(edge, stats, entity, &error);
    }
}

fn leave_out(edge: &Edge, stats: &Stats, entity: EntityId, error: &Error) {
    let reason = error.reason.name();
    metrics::counter!("spatialdb_session_interests_left_out_total", "reason" => reason).increment(1);
    if let Some(unlogged) = edge.interests.log.spend() {
        if unlogged > 0 {
            tracing::warn!(count = unlogged, "more interests were left out than are told");
        }
        let (worker_type, name) = (&stats.worker_type, &stats.name);
        tracing::warn!(entity = entity.0, worker_type, name, %error, "views that an entity gives are left out");
    }
}
