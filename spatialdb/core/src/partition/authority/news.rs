//! What owners are to be told at the next publish.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use spatialdb_types::{EntityId, Epoch, LayerId, RegionId, Revision, SessionId};

use super::Authority;
use crate::authority::leases::{Crossing, Lease};
use crate::message::{AuthorityDelta, EntityAuthority, HoldWord, Word};
use crate::partition::Store;

/// Which entities came to and went from whom since the last publish, in order.
#[derive(Debug, Default)]
pub(super) struct News {
    by_session: IndexMap<SessionId, AuthorityDelta, FxBuildHasher>,
    /// Sessions that were told of what they gained before they could be shown it, and up to when they are shown all.
    unshown: BTreeMap<SessionId, Revision>,
    /// Sessions that gained what others may have written: before they hear of it they are shown how it is.
    rushed: BTreeSet<SessionId>,
    /// After a restart, until the whole table comes: entities that somebody may have lost, and when.
    unknown: BTreeMap<(EntityId, LayerId), Unknown>,
}

/// Something that happened while it was not known who owned what.
#[derive(Debug, Default)]
struct Unknown {
    /// When, at last.
    clock: Revision,
    /// Who owned the entity where it came from; whoever owns something here may have, too.
    owners: BTreeSet<SessionId>,
}

impl News {
    /// The entity belongs to a region, or no longer: its owner is to know, if there is one.
    pub(super) fn push(
        &mut self,
        entity: EntityId,
        layer: LayerId,
        (region, Lease { epoch, owner }): (RegionId, Lease),
        word: Word,
        clock: Revision,
    ) {
        if let Some(owner) = owner {
            let change = EntityAuthority { entity, layer, region, epoch, word, clock };
            self.by_session.entry(owner).or_default().changes.push(change);
        }
    }

    pub(super) fn push_crossing(&mut self, entity: EntityId, crossing: &Crossing, clock: Revision) {
        let Crossing { layer, from, to, is_gain } = *crossing;
        if from.is_some_and(|(_, from)| from.owner == to.1.owner) {
            let word = if is_gain { Word::Kept } else { Word::Moved };
            return self.push(entity, layer, to, word, clock);
        }
        if let Some(from) = from {
            self.push(entity, layer, from, Word::Lost, clock);
        }
        self.push(entity, layer, to, Word::Gained, clock);
        self.rush(to.1.owner);
    }

    /// The entity goes to another partition. If its owner was not shown yet what it was told of, that is not to count.
    pub(super) fn push_gone_on(
        &mut self,
        entity: EntityId,
        layer: LayerId,
        region: (RegionId, Lease),
        clock: Revision,
    ) {
        if region.1.owner.is_some_and(|owner| self.unshown.contains_key(&owner)) {
            self.push(entity, layer, region, Word::GoneOn, clock);
        }
    }

    /// The clock up to which a session was told what it gained and shown it, if it was told of more.
    pub(super) fn shown_to(&self, session: SessionId) -> Option<Revision> {
        self.unshown.get(&session).copied()
    }

    /// A tool has taken hold of what the session owns, or has let go of it.
    pub(super) fn push_hold(&mut self, owner: SessionId, word: HoldWord) {
        self.by_session.entry(owner).or_default().holds.push(word);
    }

    /// The session is to see what it gained at the next publish, whatever the rates of its views.
    pub(super) fn rush(&mut self, session: Option<SessionId>) {
        self.rushed.extend(session);
    }

    pub(super) fn forget(&mut self, session: SessionId) {
        self.by_session.swap_remove(&session);
        self.rushed.remove(&session);
        self.unshown.remove(&session);
    }

    /// Whose the entity was cannot be told yet.
    pub(super) fn push_unknown(
        &mut self,
        entity: EntityId,
        layer: LayerId,
        clock: Revision,
        owners: impl IntoIterator<Item = SessionId>,
    ) {
        let unknown = self.unknown.entry((entity, layer)).or_default();
        unknown.clock = clock;
        unknown.owners.extend(owners);
    }

    /// All that was not told is forgotten, but for who may have lost what.
    pub(super) fn restart(&mut self) {
        self.unshown.clear();
        let waiting = std::mem::take(&mut self.by_session);
        for (session, news) in waiting {
            for lost in news.changes.into_iter().filter(|change| !change.is_gain()) {
                self.push_unknown(lost.entity, lost.layer, lost.clock, [session]);
            }
        }
    }

    /// Sessions are told all that they have here, and nothing but that: whoever owns something, and whoever may have lost
    /// something.
    pub(super) fn begin_anew(&mut self, owners: impl IntoIterator<Item = SessionId>) {
        let unknown = std::mem::take(&mut self.unknown);
        let mut all: BTreeSet<SessionId> = owners.into_iter().collect();
        all.extend(unknown.values().flat_map(|unknown| &unknown.owners));
        for session in all {
            let news = self.by_session.entry(session).or_default();
            news.begins_anew = true;
            news.changes.extend(unknown.iter().map(|(&(entity, layer), &Unknown { clock, .. })| {
                let (region, epoch) = (RegionId(0), Epoch(0));
                EntityAuthority { entity, layer, region, epoch, word: Word::Lost, clock }
            }));
        }
    }

    /// Entities of which nobody knows whose they were since the restart.
    pub(super) fn unknown(&self) -> Vec<(EntityId, LayerId)> {
        self.unknown.keys().copied().collect()
    }
}

impl Authority {
    /// Whether somebody is to be told something.
    pub(in crate::partition) fn has_news(&self) -> bool {
        !self.news.by_session.is_empty()
    }

    /// What a session is to be told.
    pub(in crate::partition) fn take_news(
        &mut self,
        session: SessionId,
        store: &Store,
        is_shown: bool,
    ) -> Option<Box<AuthorityDelta>> {
        if self.news.by_session.is_empty() {
            return None;
        }
        let mut news = self.news.by_session.swap_remove(&session)?;
        self.add_holds(session, &mut news);
        if !is_shown {
            self.news.unshown.entry(session).or_insert(self.told);
        }
        Some(finished(news, store, is_shown))
    }

    /// The session is shown all that it was told of.
    pub(in crate::partition) fn note_shown(&mut self, session: SessionId) {
        self.news.unshown.remove(&session);
    }

    /// Who is to be shown all at this publish.
    pub(in crate::partition) fn take_rushed(&mut self) -> BTreeSet<SessionId> {
        let mut rushed = std::mem::take(&mut self.news.rushed);
        rushed.retain(|session| self.news.by_session.contains_key(session));
        rushed
    }

    /// What a session is to be told that it has.
    pub(in crate::partition) fn gained_by(&self, session: SessionId) -> impl Iterator<Item = EntityId> {
        let words = self.news.by_session.get(&session).into_iter().flat_map(|news| &news.changes);
        words.filter(|word| word.is_gain()).map(|word| word.entity)
    }

    /// What all other sessions are to be told, which have no views. All that was gained is told with it.
    pub(in crate::partition) fn drain_news(
        &mut self,
        store: &Store,
    ) -> impl Iterator<Item = (SessionId, Box<AuthorityDelta>)> {
        self.told = store.clock();
        let all: Vec<_> = self.news.by_session.drain(..).collect();
        all.into_iter().map(|(session, mut news)| {
            self.add_holds(session, &mut news);
            (session, finished(news, store, true))
        })
    }
}

/// What is told now. Of what has gone on meanwhile its new partition tells, which can show it too. But who had it all the time
/// is to know its region, which may be lost before.
fn finished(mut news: AuthorityDelta, store: &Store, is_shown: bool) -> Box<AuthorityDelta> {
    news.changes.retain_mut(|change| {
        if !change.is_gain() || store.find(change.entity).is_some() {
            return true;
        }
        let is_told = change.word != Word::Gained;
        change.word = Word::GoneOn;
        is_told
    });
    news.holds.retain(|word| word.is_over || store.find(word.entity).is_some());
    Box::new(AuthorityDelta { clock: store.clock(), is_shown, ..news })
}
