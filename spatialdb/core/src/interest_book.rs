//! The book of interests: which entities give which sessions views.
//!
//! An entity with Interest and PlayerOwner gives its views to the sessions of that name. Partitions tell which entities
//! do; the edge keeps the book, and tells a session when its page has changed.
//!
//! Responsible for: one page per name, exact whatever order partitions are heard in.
//! Not responsible for: what an Interest means (the edge reads it), or whether the views fit (the session says).
//!
//! # Why an entry has a partition and a clock
//! While an entity moves, the old and the new partition both have an entry for it. The one with the higher revision counter
//! is in force; the old partition takes its own back once the new one has told. So there is no gap, no older news win, and
//! nothing needs to be remembered of entities that are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use spatialdb_types::{EntityId, PartitionId, Revision, SessionId};

/// What a partition tells of entities with Interest and PlayerOwner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterestChange {
    /// The entity is here and gives that.
    Given {
        /// Which entity.
        entity: EntityId,
        /// The partition's revision counter.
        clock: Revision,
        /// What, and to whom.
        gift: Gift,
    },
    /// The entity gives nothing any longer, or another partition tells of it now.
    Ended(EntityId),
    /// The partition was restarted: what it does not tell again has ended.
    Restarted,
}

/// What an entity gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gift {
    /// The name of the sessions that get it.
    pub owner: Arc<str>,
    /// The value of its Interest, as it was written.
    pub interest: Arc<[u8]>,
}

/// The book. It is bounded by the entities with both components, and by the sessions.
#[derive(Debug, Default)]
pub struct InterestBook {
    entities: BTreeMap<EntityId, Vec<Entry>>,
    /// By what is in force.
    pages: BTreeMap<Arc<str>, BTreeSet<EntityId>>,
    readers: BTreeMap<Arc<str>, BTreeSet<SessionId>>,
    names: BTreeMap<SessionId, Arc<str>>,
    /// Sessions whose page has changed since they were last told.
    changed: BTreeSet<SessionId>,
}

/// What a partition has told of an entity.
#[derive(Debug)]
struct Entry {
    from: PartitionId,
    clock: Revision,
    gift: Gift,
}

/// The page of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterestPage {
    /// The interests, by rising entity: as many as a session may have.
    pub interests: Vec<(EntityId, Arc<[u8]>)>,
    /// The entities past that bound.
    pub more: usize,
}

impl InterestBook {
    /// Takes what a partition tells.
    pub fn hear(&mut self, from: PartitionId, change: InterestChange) {
        match change {
            InterestChange::Given { entity, clock, gift } => self.edit(entity, |entries| {
                entries.retain(|entry| entry.from != from);
                entries.push(Entry { from, clock, gift });
            }),
            InterestChange::Ended(entity) => self.drop_entry(from, entity),
            InterestChange::Restarted => {
                let told = |entries: &Vec<Entry>| entries.iter().any(|entry| entry.from == from);
                let entities = self.entities.iter().filter(|(_, entries)| told(entries));
                let entities: Vec<EntityId> = entities.map(|(&entity, _)| entity).collect();
                entities.into_iter().for_each(|entity| self.drop_entry(from, entity));
            }
        }
    }

    /// A session has opened.
    pub fn open(&mut self, session: SessionId, name: &str) {
        let name: Arc<str> = name.into();
        if self.pages.contains_key(&name) {
            self.changed.insert(session);
        }
        self.readers.entry(name.clone()).or_default().insert(session);
        self.names.insert(session, name);
    }

    /// A session is over.
    pub fn close(&mut self, session: SessionId) {
        self.changed.remove(&session);
        let Some(name) = self.names.remove(&session) else { return };
        if let Some(readers) = self.readers.get_mut(&name) {
            readers.remove(&session);
            if readers.is_empty() {
                self.readers.remove(&name);
            }
        }
    }

    /// The sessions whose page has changed since this was last asked.
    pub fn take_changed(&mut self) -> impl Iterator<Item = SessionId> + use<> {
        std::mem::take(&mut self.changed).into_iter()
    }

    /// What entities give a session now, of `max` of them.
    pub fn page(&self, session: SessionId, max: u64) -> InterestPage {
        let Some(all) = self.names.get(&session).and_then(|name| self.pages.get(name)) else {
            return InterestPage::default();
        };
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let interest = |entity: &EntityId| Some((*entity, self.in_force(*entity)?.interest.clone()));
        let interests = all.iter().take(max).filter_map(interest).collect();
        InterestPage { interests, more: all.len().saturating_sub(max) }
    }

    /// How many entities give views, whether or not a session of that name is open.
    pub fn entity_count(&self) -> usize {
        self.entities.len()
    }

    fn drop_entry(&mut self, from: PartitionId, entity: EntityId) {
        self.edit(entity, |entries| entries.retain(|entry| entry.from != from));
    }

    fn in_force(&self, entity: EntityId) -> Option<&Gift> {
        latest(self.entities.get(&entity)?)
    }

    /// Changes what is told of an entity, and notes whom it concerns.
    fn edit(&mut self, entity: EntityId, edit: impl FnOnce(&mut Vec<Entry>)) {
        let entries = self.entities.entry(entity).or_default();
        let before = latest(entries).cloned();
        edit(entries);
        let after = latest(entries).cloned();
        if entries.is_empty() {
            self.entities.remove(&entity);
        }
        if before == after {
            return;
        }
        if let Some(gift) = before {
            self.note(&gift.owner);
            if let Some(page) = self.pages.get_mut(&gift.owner) {
                page.remove(&entity);
                if page.is_empty() {
                    self.pages.remove(&gift.owner);
                }
            }
        }
        if let Some(gift) = after {
            self.note(&gift.owner);
            self.pages.entry(gift.owner).or_default().insert(entity);
        }
    }

    fn note(&mut self, owner: &str) {
        self.changed.extend(self.readers.get(owner).into_iter().flatten());
    }
}

fn latest(entries: &[Entry]) -> Option<&Gift> {
    entries.iter().max_by_key(|entry| entry.clock).map(|entry| &entry.gift)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PartitionId = PartitionId(0);
    const B: PartitionId = PartitionId(1);
    const CAR: EntityId = EntityId(7);

    fn given(clock: u64, owner: &str, interest: u8) -> InterestChange {
        let gift = Gift { owner: owner.into(), interest: Arc::new([interest]) };
        InterestChange::Given { entity: CAR, clock: Revision(clock), gift }
    }

    fn page(book: &InterestBook, session: u32) -> Vec<u8> {
        let page = book.page(SessionId(session), 9);
        page.interests.iter().map(|(_, interest)| interest[0]).collect()
    }

    fn changed(book: &mut InterestBook) -> Vec<u32> {
        book.take_changed().map(|session| session.0).collect()
    }

    /// A book with sessions 1 and 2 of "ann" and 3 of "bob".
    fn book() -> InterestBook {
        let mut book = InterestBook::default();
        for (session, name) in [(1, "ann"), (2, "ann"), (3, "bob")] {
            book.open(SessionId(session), name);
        }
        book
    }

    #[test]
    fn every_session_of_the_name_gets_it_and_one_that_opens_later() {
        let mut book = book();
        book.hear(A, given(5, "ann", 1));
        assert_eq!(changed(&mut book), [1, 2]);
        assert_eq!((page(&book, 1), page(&book, 2), page(&book, 3)), (vec![1], vec![1], vec![]));
        book.open(SessionId(4), "ann");
        book.open(SessionId(5), "carl");
        assert_eq!((changed(&mut book), page(&book, 4)), (vec![4], vec![1]));
        // Another owner: both sides hear of it.
        book.hear(A, given(6, "bob", 1));
        assert_eq!(changed(&mut book), [1, 2, 3, 4]);
        assert_eq!((page(&book, 1), page(&book, 3)), (vec![], vec![1]));
        book.close(SessionId(3));
        assert_eq!(page(&book, 3), []);
        book.hear(A, InterestChange::Ended(CAR));
        assert_eq!((changed(&mut book), book.entity_count()), (vec![], 0));
    }

    #[test]
    fn a_move_is_seamless_in_whatever_order_it_is_told() {
        for old_news_first in [true, false] {
            let mut book = book();
            book.hear(A, given(5, "ann", 1));
            changed(&mut book);
            // Partition A was told of a change before the move, and B of another one after it.
            let (old, new) = (given(6, "ann", 2), given(8, "ann", 3));
            if old_news_first {
                book.hear(A, old);
                book.hear(B, new);
            } else {
                book.hear(B, new);
                book.hear(A, old);
            }
            assert_eq!(page(&book, 1), [3]);
            changed(&mut book);
            book.hear(A, InterestChange::Ended(CAR));
            assert_eq!((changed(&mut book), page(&book, 1)), (vec![], vec![3]));
            book.hear(B, InterestChange::Ended(CAR));
            assert_eq!((changed(&mut book), book.entity_count()), (vec![1, 2], 0));
        }
    }

    #[test]
    fn what_is_told_again_is_no_news_and_what_a_restart_does_not_tell_has_ended() {
        let mut book = book();
        book.hear(A, given(5, "ann", 1));
        changed(&mut book);
        book.hear(A, given(9, "ann", 1));
        assert_eq!(changed(&mut book), []);
        book.hear(B, InterestChange::Restarted);
        assert_eq!(page(&book, 1), [1]);
        book.hear(A, InterestChange::Restarted);
        assert_eq!((changed(&mut book), page(&book, 1)), (vec![1, 2], vec![]));
    }

    #[test]
    fn a_page_is_bounded_and_says_how_many_more_there_are() {
        let mut book = book();
        for id in 1..=5 {
            let gift = Gift { owner: "bob".into(), interest: Arc::new([id]) };
            let entity = EntityId(u64::from(id));
            book.hear(A, InterestChange::Given { entity, clock: Revision(1), gift });
        }
        let page = book.page(SessionId(3), 2);
        assert_eq!(page.interests.iter().map(|(entity, _)| entity.0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(page.more, 3);
    }
}
