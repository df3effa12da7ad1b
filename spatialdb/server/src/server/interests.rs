//! The book of interests as partitions and sessions share it.
//!
//! Responsible for: whom a change is told to, once, however many there are before it is heard.
//! Not responsible for: what the book says (`spatialdb-core`), or what a session makes of its page.

use std::sync::{Mutex, MutexGuard, PoisonError};

use spatialdb_core::{InterestBook, InterestChange, InterestPage};
use spatialdb_types::{PartitionId, SessionId};

use super::edge::Edge;
use super::log_budget::LogBudget;

/// Which entities give which sessions views. Locked for a moment, by nobody who holds another lock and waits.
#[derive(Default)]
pub(super) struct Interests {
    book: Mutex<InterestBook>,
    /// Of what is left out.
    pub(super) log: LogBudget,
}

impl Interests {
    /// A partition tells of its entities.
    pub(super) fn hear(&self, edge: &Edge, from: PartitionId, changes: impl Iterator<Item = InterestChange>) {
        let mut book = self.book();
        changes.for_each(|change| book.hear(from, change));
        tell(edge, book);
    }

    /// A session has opened, and others find it.
    pub(super) fn open(&self, edge: &Edge, session: SessionId, name: &str) {
        let mut book = self.book();
        book.open(session, name);
        tell(edge, book);
    }

    /// A session is over.
    pub(super) fn close(&self, session: SessionId) {
        self.book().close(session);
    }

    /// What entities give a session.
    pub(super) fn page(&self, session: SessionId, max: u64) -> InterestPage {
        self.book().page(session, max)
    }

    /// How many entities give views.
    pub(super) fn entity_count(&self) -> usize {
        self.book().entity_count()
    }

    fn book(&self) -> MutexGuard<'_, InterestBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the sessions whose page has changed.
fn tell(edge: &Edge, mut book: MutexGuard<'_, InterestBook>) {
    let changed = book.take_changed();
    drop(book);
    for session in changed {
        if let Some(port) = edge.sessions.get(&session) {
            port.stats.page_turned.notify_one();
        }
    }
}
