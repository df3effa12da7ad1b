//! What a worker is told of what it may write, in one numbered sequence.
//!
//! The issuer tells of regions, partitions of entities. A batch says which number its worker had processed; what that means
//! to partitions stands beside each message.
//!
//! Responsible for: numbers, their meaning, and the order of what several partitions say of one entity. Not responsible for:
//! who owns what.

use std::collections::{BTreeSet, VecDeque};

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};
use spatialdb_types::{EntityId, Epoch, Error, LayerId, PartitionId, Reason, RegionId, Revision};

use super::Session;
use super::after::After;
use super::gone::Gone;
use super::tombstones::Tombstones;
use crate::authority::issuer::Notice;
use crate::authority::leases::Seen;
use crate::message::{AuthorityDelta, EntityAuthority, HoldWord, Word};

/// So many numbers that a worker has not named yet are told apart; beyond that, older ones count for less.
const NUMBERS_KEPT: usize = 1024;

/// A message tells of so many entities at most.
const WORDS_AT_ONCE: usize = 1 << 16;

/// From so many changes on, what waits is reduced to the last word on each entity.
const REDUCED_FROM: usize = 4096;

/// A message to a worker of what it may write.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthorityMessage {
    /// From 1, without gaps.
    pub number: u64,
    /// What it says.
    pub body: AuthorityBody,
    /// What it means to have processed it, and all before.
    pub seen: Seen,
}

/// What a worker is told.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthorityBody {
    /// Of a region, or of itself.
    Notice(Notice),
    /// Of entities, in order.
    Entities(Vec<EntityAuthority>),
    /// Of what tools hold, in order.
    Holds(Vec<HoldWord>),
}

/// What the numbers mean that a worker may name.
#[derive(Clone, Debug, Default)]
pub struct SeenTable {
    entries: VecDeque<(u64, Seen)>,
}

/// The authority of one session.
#[derive(Debug)]
pub(super) struct Authority {
    last: u64,
    /// Of all that was heard, and of what was told.
    seen: Seen,
    told: Seen,
    /// Each with what it means to have processed it.
    waiting: VecDeque<(AuthorityBody, Seen)>,
    /// How many changes the last one of these had when it was reduced last.
    reduced: usize,
    /// The entities of its regions.
    held: IndexMap<(EntityId, LayerId), Held, FxBuildHasher>,
    /// What was gained in partitions that have not shown yet how it stands, and as of when.
    unshown: VecDeque<(PartitionId, Revision, Vec<EntityAuthority>)>,
    /// Entities that were lost, against older news of them.
    lost: Tombstones<(EntityId, LayerId)>,
    /// Grants that were lost, against older news of their entities.
    gone: Gone,
    /// Regions that are about to be lost.
    imminent: BTreeSet<RegionId>,
}

/// An entity of a session's region, and who said so.
#[derive(Clone, Copy, Debug)]
struct Held {
    by: PartitionId,
    word: EntityAuthority,
    /// Of the partition's delta, to tell it from the ones before.
    told: Revision,
    /// The region and grant that the worker heard last, if it heard of the entity.
    heard: Option<(RegionId, Epoch)>,
    /// The session has had it ever since.
    is_kept: bool,
}

impl Authority {
    pub(super) fn new(partitions: usize) -> Self {
        let gains = vec![Revision(0); partitions].into();
        let seen = Seen { gains, ..Seen::default() };
        Self {
            last: 0,
            told: seen.clone(),
            seen,
            waiting: VecDeque::new(),
            reduced: 0,
            held: IndexMap::default(),
            unshown: VecDeque::new(),
            lost: Tombstones::new(partitions),
            gone: Gone::default(),
            imminent: BTreeSet::new(),
        }
    }

    /// What is remembered of grants that were lost.
    pub(super) const fn gone(&mut self) -> &mut Gone {
        &mut self.gone
    }

    /// What is remembered of entities that were lost.
    pub(super) const fn lost(&mut self) -> &mut Tombstones<(EntityId, LayerId)> {
        &mut self.lost
    }

    /// What a partition says. Losses are told at once; returned are the gains.
    fn hear(&mut self, from: PartitionId, delta: AuthorityDelta, flush: u64) -> Vec<EntityAuthority> {
        let AuthorityDelta { clock, begins_anew, mut changes, .. } = delta;
        changes.retain_mut(|change| {
            if self.gone.includes(change.region, change.epoch) {
                change.word = Word::Lost;
            }
            match change.word {
                Word::Moved if self.note_moved(from, clock, change) => false,
                Word::GoneOn => {
                    self.note_gone_on(from, change, flush);
                    false
                }
                _ => self.take(from, clock, *change, flush),
            }
        });
        if begins_anew {
            let is_old = |held: &Held| held.by == from && held.told < clock;
            let old: Vec<_> = self.held.values().filter(|held| is_old(held)).map(|held| held.word).collect();
            let ends = old.into_iter().map(|change| EntityAuthority { word: Word::Lost, ..change });
            changes.extend(ends.filter(|word| self.take(from, clock, *word, flush)));
        }
        let (gained, lost): (Vec<_>, Vec<_>) = changes.into_iter().partition(EntityAuthority::is_gain);
        self.tell_known(lost);
        gained
    }

    /// The worker has been shown what it gained in a partition up to this: it may hear of it, as far as it still has it.
    fn tell_gained(&mut self, from: PartitionId, clock: Revision, words: &[EntityAuthority]) {
        let mut gains = self.seen.gains.to_vec();
        gains[usize::from(from.0)] = clock;
        self.seen.gains = gains.into();
        let is_last =
            |held: &&mut Held, word: &EntityAuthority| held.by == from && held.word.clock == word.clock;
        // As it stands now: its region may have been joined with another.
        let mut told = Vec::with_capacity(words.len());
        for word in words {
            let Some(held) = self.held.get_mut(&(word.entity, word.layer)).filter(|held| is_last(held, word))
            else {
                continue;
            };
            held.heard = Some((held.word.region, held.word.epoch));
            held.is_kept = true;
            told.push(held.word);
        }
        self.tell_known(told);
    }

    fn tell_entities(&mut self, changes: Vec<EntityAuthority>) {
        let Some((AuthorityBody::Entities(waiting), seen)) = self.waiting.back_mut() else {
            self.reduced = 0;
            return self.waiting.push_back((AuthorityBody::Entities(changes), self.seen.clone()));
        };
        seen.clone_from(&self.seen);
        waiting.extend(changes);
        if waiting.len() >= REDUCED_FROM.max(2 * self.reduced) {
            reduce(waiting);
            self.reduced = waiting.len();
        }
    }

    /// Of what the worker has, or has lost: that waits for nothing.
    fn tell_known(&mut self, changes: Vec<EntityAuthority>) {
        if !changes.is_empty() {
            self.tell_entities(changes);
        }
    }

    /// They wait for nothing: what the worker may not write it is to know at once.
    fn tell_holds(&mut self, words: &[HoldWord]) {
        match self.waiting.back_mut() {
            _ if words.is_empty() => {}
            Some((AuthorityBody::Holds(waiting), _)) => waiting.extend(words),
            _ => self.waiting.push_back((AuthorityBody::Holds(words.to_vec()), self.seen.clone())),
        }
    }

    /// A word on an entity. Returns whether the worker is to hear it.
    fn take(&mut self, from: PartitionId, told: Revision, word: EntityAuthority, flush: u64) -> bool {
        let key = (word.entity, word.layer);
        let held = self.held.get(&key);
        let last = held.map(|held| (held.by, held.word.clock)).or_else(|| self.lost.get(key));
        if last.is_some_and(|(by, clock)| by != from && clock > word.clock) {
            return false;
        }
        if word.is_gain() {
            self.lost.remove(key);
            let heard = held.and_then(|held| held.heard);
            let is_kept = word.word != Word::Gained && held.is_some_and(|held| held.is_kept);
            self.held.insert(key, Held { by: from, word, told, heard, is_kept });
            return true;
        }
        self.lost.bury(from, word.clock, key, flush);
        self.held.swap_remove(&key).is_some_and(|held| held.heard.is_some())
    }

    /// What the session has belongs to another of its regions, or the same in another partition. Returns whether the worker
    /// need not hear so: it knows that it has it, and whatever is to be said of the new region comes later.
    fn note_moved(&mut self, from: PartitionId, told: Revision, change: &EntityAuthority) -> bool {
        let held = self.held.get_mut(&(change.entity, change.layer)).filter(|held| held.is_kept);
        let Some(held) = held else { return false };
        let Some((heard, _)) = held.heard else { return false };
        let is_imminent = [heard, change.region].iter().any(|region| self.imminent.contains(region));
        if is_imminent || change.epoch > self.seen.epoch {
            return false;
        }
        if held.by == from || held.word.clock <= change.clock {
            (held.by, held.word, held.told) = (from, *change, told);
        }
        true
    }

    /// A region is about to be lost: the worker is to know what belongs to it, and what does not any more.
    fn warn(&mut self, region: RegionId) -> Vec<EntityAuthority> {
        self.imminent.insert(region);
        let mut words = Vec::new();
        for held in self.held.values_mut().filter(|held| held.is_kept) {
            let Some((heard, _)) = held.heard else { continue };
            if heard != held.word.region && (heard == region || held.word.region == region) {
                held.heard = Some((held.word.region, held.word.epoch));
                words.push(held.word);
            }
        }
        words
    }

    /// What the session has went on to another partition. If the worker knows that it has it, it may belong to another region
    /// by now, which it need not hear; else it is to hear so from that partition.
    fn note_gone_on(&mut self, from: PartitionId, word: &EntityAuthority, flush: u64) {
        let key = (word.entity, word.layer);
        let Some(held) = self.held.get_mut(&key) else { return };
        if held.is_kept && (held.by == from || held.word.clock < word.clock) {
            (held.word.region, held.word.epoch) = (word.region, word.epoch);
        } else if held.heard.is_none() && held.by == from {
            self.held.swap_remove(&key);
            self.lost.bury(from, word.clock, key, flush);
        }
    }

    /// A region is lost, and what belongs to it. Returns what the worker is to hear before, of entities of which it thinks that
    /// they are elsewhere.
    fn lose(&mut self, region: RegionId, epoch: Epoch) -> Vec<EntityAuthority> {
        let is_of = |(of, since): (RegionId, Epoch)| of == region && since <= epoch;
        let lost = self.held.extract_if(.., |_, held| is_of((held.word.region, held.word.epoch)));
        let elsewhere = lost.filter(|(_, held)| held.heard.is_some_and(|heard| !is_of(heard)));
        let mut words: Vec<_> =
            elsewhere.map(|(_, held)| EntityAuthority { word: Word::Lost, ..held.word }).collect();
        // It has what went on to another region of its own before: it is not to think that it lost that.
        let went_on = |held: &&mut Held| held.is_kept && held.heard.is_some_and(is_of);
        for held in self.held.values_mut().filter(went_on) {
            held.heard = Some((held.word.region, held.word.epoch));
            words.push(held.word);
        }
        words
    }

    fn join(&mut self, gone: RegionId, keep: RegionId) {
        for held in self.held.values_mut() {
            let heard = held.heard.iter_mut().map(|(region, _)| region);
            heard
                .chain([&mut held.word.region])
                .filter(|region| **region == gone)
                .for_each(|region| *region = keep);
        }
    }
}

/// Keeps the last word on each entity, and in front of a gain that there was a loss: the worker is to forget what it wrote.
/// First come all losses, then all gains, of each region together.
fn reduce(words: &mut Vec<EntityAuthority>) {
    if words.len() < 2 {
        return;
    }
    let mut last: FxHashMap<(EntityId, LayerId), (Option<EntityAuthority>, EntityAuthority)> =
        FxHashMap::default();
    for word in words.drain(..) {
        let lost = (!word.is_gain()).then_some(word);
        let both = last.entry((word.entity, word.layer)).or_insert((None, word));
        *both = (lost.or(both.0), word);
    }
    let all = last.into_values();
    words.extend(all.flat_map(|(lost, word)| lost.filter(|_| word.is_gain()).into_iter().chain([word])));
    let order = |word: &EntityAuthority| (word.is_gain(), word.layer, word.region, word.epoch, word.entity);
    words.sort_unstable_by_key(order);
}

impl SeenTable {
    /// The worker is about to be told.
    pub fn note(&mut self, message: &AuthorityMessage) {
        if self.entries.len() == NUMBERS_KEPT {
            self.entries.remove(1);
        }
        self.entries.push_back((message.number, message.seen.clone()));
    }

    /// What it means that a worker has processed all up to a number. Numbers before it are forgotten.
    ///
    /// # Errors
    /// [`Reason::AuthoritySeenInvalid`]: it was not told so much.
    pub fn seen(&mut self, number: u64) -> Result<Seen, Error> {
        let last = self.entries.back().map_or(0, |(last, _)| *last);
        if number > last {
            let detail = format!("authority_seen = {number}, but the last authority message is {last}");
            return Err(Error::new(Reason::AuthoritySeenInvalid, detail));
        }
        while self.entries.get(1).is_some_and(|(next, _)| *next <= number) {
            self.entries.pop_front();
        }
        let first = self.entries.front().filter(|(first, _)| *first <= number);
        Ok(first.map(|(_, seen)| seen.clone()).unwrap_or_default())
    }
}

impl Session {
    /// The worker is to hear this.
    pub(super) fn announce(&mut self, notice: Notice) {
        match &notice {
            Notice::Gained(lease) => {
                self.authority.seen.epoch = self.authority.seen.epoch.max(lease.epoch);
            }
            Notice::LossImminent(region, ..) => {
                let words = self.authority.warn(*region);
                self.authority.tell_known(words);
            }
            Notice::Kept(region, _) => {
                self.authority.imminent.remove(region);
            }
            Notice::Lost(region, epoch, _) => {
                self.authority.imminent.remove(region);
                self.authority.gone.lose(*region, *epoch, self.flush.token);
                let words = self.authority.lose(*region, *epoch);
                self.authority.tell_known(words);
            }
            Notice::Joined(gone, keep) => self.authority.join(*gone, *keep),
            _ => {}
        }
        let seen = self.authority.seen.clone();
        self.authority.waiting.push_back((AuthorityBody::Notice(notice), seen));
    }

    /// The next thing that the worker is to be told of what it may write.
    pub fn take_authority(&mut self) -> Option<AuthorityMessage> {
        let Authority { last, told, waiting, .. } = &mut self.authority;
        if let (AuthorityBody::Entities(words), _) = waiting.front_mut()?
            && words.len() > WORDS_AT_ONCE
        {
            // The rest comes behind: only then all is told that this means.
            let rest = words.split_off(WORDS_AT_ONCE);
            let mut part = std::mem::replace(words, rest);
            reduce(&mut part);
            *last += 1;
            let body = AuthorityBody::Entities(part);
            return Some(AuthorityMessage { number: *last, body, seen: told.clone() });
        }
        let (mut body, seen) = waiting.pop_front()?;
        if let AuthorityBody::Entities(words) = &mut body {
            reduce(words);
        }
        told.clone_from(&seen);
        *last += 1;
        Some(AuthorityMessage { number: *last, body, seen })
    }

    /// Whether [`Session::take_authority`] has something to give.
    pub fn has_authority(&self) -> bool {
        !self.authority.waiting.is_empty()
    }

    /// A partition tells of entities that came or went. Returns up to when the session is shown all, with the delta beside
    /// it.
    pub(super) fn hear_authority(&mut self, from: PartitionId, delta: AuthorityDelta) -> Option<Revision> {
        let (clock, is_shown) = (delta.clock, delta.is_shown);
        self.authority.tell_holds(&delta.holds);
        let gained = self.authority.hear(from, delta, self.flush.token);
        self.authority.lost.hear(from, clock);
        if !gained.is_empty() {
            self.authority.unshown.push_back((from, clock, gained));
        }
        is_shown.then_some(clock)
    }

    /// A partition has shown the session all that its views match as of then.
    pub(super) fn shown_up_to(&mut self, from: PartitionId, clock: Revision) {
        if self.authority.unshown.is_empty() || !self.knows_views(from) {
            return;
        }
        let unshown = std::mem::take(&mut self.authority.unshown);
        for (by, at, words) in unshown {
            if by == from && at <= clock {
                self.say_after(After::Gained(by, at, words));
            } else {
                self.authority.unshown.push_back((by, at, words));
            }
        }
    }

    /// Whether a partition knows what the views are: it may be new, or was restarted.
    pub(super) fn knows_views(&self, from: PartitionId) -> bool {
        let partition = &self.partitions[usize::from(from.0)];
        (partition.filled > 0 && partition.keyframe.is_none()) || self.views.is_empty()
    }

    /// Whether something gained there waits until it is shown.
    pub(super) fn awaits_all(&self, from: PartitionId) -> bool {
        self.authority.unshown.iter().any(|(by, ..)| *by == from)
    }

    /// The worker has heard all frames that went before.
    pub(super) fn tell_gained(&mut self, from: PartitionId, clock: Revision, words: &[EntityAuthority]) {
        self.authority.tell_gained(from, clock, words);
    }
}

#[cfg(test)]
mod tests {
    use spatialdb_types::{Box3, Limits, SessionId};

    use super::*;
    use crate::authority::issuer::{LeaseInfo, LossReason};
    use crate::message::{Delta, LeaveReason, Shape, ToSession};

    const HERE: PartitionId = PartitionId(0);
    const THERE: PartitionId = PartitionId(1);

    fn session() -> Session {
        Session::new(SessionId(1), 2, Limits::default())
    }

    fn word(entity: u64, is_gain: bool, clock: u64) -> EntityAuthority {
        let (layer, region, epoch) = (LayerId(0), RegionId(1), Epoch(1));
        EntityAuthority {
            entity: EntityId(entity),
            layer,
            region,
            epoch,
            word: if is_gain { Word::Gained } else { Word::Lost },
            clock: Revision(clock),
        }
    }

    fn gained(region: u64) -> Notice {
        let (region, layer, epoch, area) = (RegionId(region), LayerId(0), Epoch(1), Box3::EVERYWHERE);
        Notice::Gained(LeaseInfo {
            region,
            layer,
            space: None,
            player: None,
            area,
            epoch,
            borders: Vec::new(),
        })
    }

    fn hear(session: &mut Session, from: PartitionId, clock: u64, changes: Vec<EntityAuthority>) {
        let clock = Revision(clock);
        let delta = AuthorityDelta { clock, is_shown: true, changes, ..AuthorityDelta::default() };
        session.receive(from, ToSession { authority: Some(Box::new(delta)), ..ToSession::default() });
    }

    fn words(message: &AuthorityMessage) -> &[EntityAuthority] {
        match &message.body {
            AuthorityBody::Entities(words) => words,
            other => panic!("not of entities: {other:?}"),
        }
    }

    #[test]
    fn a_word_that_is_older_than_what_another_partition_said_is_dropped() {
        let mut session = session();
        hear(&mut session, THERE, 20, vec![word(7, false, 20)]);
        hear(&mut session, HERE, 30, vec![word(7, true, 10), word(8, true, 10)]);
        let message = session.take_authority().expect("both together");
        assert_eq!(words(&message), [word(8, true, 10)], "a loss of what was not there is not told either");
        assert_eq!(&*message.seen.gains, [Revision(30), Revision(0)], "nothing was gained there");
        hear(&mut session, THERE, 40, vec![word(7, true, 40)]);
        assert_eq!(words(&session.take_authority().expect("a gain")), [word(7, true, 40)]);
    }

    #[test]
    fn what_was_gained_is_told_behind_the_frames_that_show_it() {
        let mut session = session();
        let told = |session: &mut Session| session.take_authority().map(|message| words(&message).to_vec());
        let gain = |clock, entities: &[u64]| AuthorityDelta {
            clock: Revision(clock),
            changes: entities.iter().map(|entity| word(*entity, true, clock)).collect(),
            ..AuthorityDelta::default()
        };
        // The partition could not show all: the session had not taken the delta before.
        let authority = Some(Box::new(gain(5, &[1, 2])));
        session.receive(HERE, ToSession { authority, ..ToSession::default() });
        assert_eq!(told(&mut session), None);
        let shown = |clock, shows_all| Delta {
            clock: Revision(clock),
            shows_all,
            left: vec![(EntityId(9), LeaveReason::Deleted)],
            entered: vec![Shape { entity: EntityId(clock), components: [].into() }],
            ..Delta::default()
        };
        let frame = |delta| ToSession { delta: Some(Box::new(delta)), ..ToSession::default() };
        session.receive(HERE, frame(shown(5, false)));
        assert!(session.take_frame().is_some());
        session.frame_sent();
        assert_eq!(told(&mut session), None, "that is not all");
        session.receive(HERE, frame(shown(6, true)));
        // Of what it never heard that it had it need not hear that it has not.
        hear(&mut session, HERE, 7, vec![word(2, false, 7)]);
        assert_eq!(told(&mut session), None);
        assert!(session.take_frame().is_some());
        assert_eq!(told(&mut session), None, "the frame is on its way");
        session.frame_sent();
        let message = session.take_authority().expect("what it still has");
        assert_eq!((words(&message), message.seen.gains[0]), (&[word(1, true, 5)][..], Revision(5)));
        // A loss waits for nothing.
        session.receive(HERE, frame(shown(8, true)));
        hear(&mut session, HERE, 9, vec![word(1, false, 9)]);
        assert_eq!(told(&mut session), Some(vec![word(1, false, 9)]));
    }

    #[test]
    fn what_went_on_to_another_own_region_is_not_lost_with_the_first() {
        for (word_of_it, is_kept) in [(Word::Kept, true), (Word::Gained, false)] {
            let mut session = session();
            hear(&mut session, HERE, 5, vec![word(7, true, 5)]);
            session.take_authority().expect("it is there");
            let went_on = EntityAuthority { region: RegionId(2), word: word_of_it, ..word(7, true, 6) };
            let delta =
                AuthorityDelta { clock: Revision(6), changes: vec![went_on], ..AuthorityDelta::default() };
            session.receive(HERE, ToSession { authority: Some(Box::new(delta)), ..ToSession::default() });
            assert_eq!(session.take_authority(), None, "frames are to show it first");
            session.announce(Notice::Lost(RegionId(1), Epoch(1), LossReason::HandedOver));
            let message = session.take_authority().expect("told");
            // Unless somebody else may have had it in between.
            assert_eq!(matches!(message.body, AuthorityBody::Entities(_)), is_kept, "{message:?}");
            if is_kept {
                assert_eq!(words(&message), [went_on]);
            }
        }
    }

    #[test]
    fn what_walks_on_among_own_regions_is_told_when_it_matters() {
        let went_on =
            |clock| EntityAuthority { region: RegionId(2), word: Word::Moved, ..word(7, true, clock) };
        let lost = |region| Notice::Lost(RegionId(region), Epoch(1), LossReason::HandedOver);
        let begin = || {
            let mut session = session();
            session.announce(gained(1));
            session.announce(gained(2));
            hear(&mut session, HERE, 5, vec![word(7, true, 5)]);
            while session.take_authority().is_some() {}
            hear(&mut session, HERE, 6, vec![went_on(6)]);
            assert_eq!(session.take_authority(), None, "it is known that it is there");
            session
        };
        let told = |session: &mut Session| session.take_authority().map(|message| message.body);
        let entities = |word| Some(AuthorityBody::Entities(vec![word]));
        // The region where the worker takes it to be is lost: it has it all the same.
        let mut session = begin();
        session.announce(lost(1));
        assert_eq!(told(&mut session), entities(went_on(6)));
        assert_eq!(told(&mut session), Some(AuthorityBody::Notice(lost(1))));
        // Either is about to be lost: where it is it is to be written once more, where it was it need not be let go.
        let imminent = |region| Notice::LossImminent(RegionId(region), Epoch(1), 99);
        let mut session = begin();
        session.announce(imminent(1));
        assert_eq!(told(&mut session), entities(went_on(6)));
        assert_eq!(told(&mut session), Some(AuthorityBody::Notice(imminent(1))));
        let mut session = begin();
        session.announce(imminent(2));
        assert_eq!(told(&mut session), entities(went_on(6)));
        assert_eq!(told(&mut session), Some(AuthorityBody::Notice(imminent(2))));
        let back = EntityAuthority { region: RegionId(1), ..went_on(7) };
        hear(&mut session, HERE, 7, vec![back]);
        assert_eq!(told(&mut session), entities(back), "so it is from then on");
        hear(&mut session, HERE, 8, vec![went_on(8)]);
        assert_eq!(told(&mut session), entities(went_on(8)));
        // It is lost without a warning.
        let mut session = begin();
        session.announce(lost(2));
        assert_eq!(told(&mut session), entities(EntityAuthority { word: Word::Lost, ..went_on(6) }));
        assert_eq!(told(&mut session), Some(AuthorityBody::Notice(lost(2))));
        // Of a region that the worker does not know of yet it is told.
        let mut session = begin();
        let newer = EntityAuthority { region: RegionId(3), epoch: Epoch(2), ..went_on(8) };
        hear(&mut session, HERE, 8, vec![newer]);
        assert_eq!(told(&mut session), entities(newer));
    }

    #[test]
    fn what_went_on_to_another_partition_before_it_was_shown_is_told_from_there() {
        let mut session = session();
        let tell = |session: &mut Session, from, clock, is_shown, word| {
            let changes = vec![word];
            let delta =
                AuthorityDelta { clock: Revision(clock), is_shown, changes, ..AuthorityDelta::default() };
            session.receive(from, ToSession { authority: Some(Box::new(delta)), ..ToSession::default() });
        };
        tell(&mut session, HERE, 5, false, word(7, true, 5));
        // It is gone when all that is here is shown.
        tell(&mut session, HERE, 7, true, EntityAuthority { word: Word::GoneOn, ..word(7, false, 6) });
        assert_eq!(session.take_authority(), None);
        tell(&mut session, THERE, 4, true, word(7, true, 4));
        assert_eq!(session.take_authority(), None, "that is older");
        tell(&mut session, THERE, 9, true, EntityAuthority { word: Word::Kept, ..word(7, true, 8) });
        assert_eq!(words(&session.take_authority().expect("it is shown there")).len(), 1);
        // What the worker knows it keeps.
        tell(&mut session, THERE, 12, true, EntityAuthority { word: Word::GoneOn, ..word(7, false, 11) });
        assert_eq!(session.take_authority(), None);
    }

    #[test]
    fn of_many_words_the_last_counts_and_a_loss_before_it() {
        let in_region = |region, word| EntityAuthority { region: RegionId(region), ..word };
        let mut words = vec![
            in_region(2, word(9, true, 1)),
            in_region(1, word(7, true, 1)),
            in_region(1, word(7, false, 2)),
            in_region(2, word(7, true, 3)),
            in_region(1, word(8, true, 4)),
            in_region(1, word(8, false, 5)),
        ];
        reduce(&mut words);
        let losses = [in_region(1, word(7, false, 2)), in_region(1, word(8, false, 5))];
        let gains = [in_region(2, word(7, true, 3)), in_region(2, word(9, true, 1))];
        assert_eq!(words, [losses, gains].concat());
    }

    #[test]
    fn what_is_told_in_parts_is_seen_with_the_last_of_them() {
        let mut session = session();
        hear(&mut session, HERE, 5, vec![word(1, true, 5)]);
        let mut table = SeenTable::default();
        table.note(&session.take_authority().expect("one"));
        let all = (0..WORDS_AT_ONCE as u64 + 1).map(|entity| word(entity + 10, true, 9)).collect();
        hear(&mut session, HERE, 9, all);
        for (number, count, clock) in [(2, WORDS_AT_ONCE, 5), (3, 1, 9)] {
            let message = session.take_authority().expect("a part");
            assert_eq!((message.number, words(&message).len()), (number, count));
            table.note(&message);
            assert_eq!(table.seen(number).expect("told").gains[0], Revision(clock));
        }
        assert!(!session.has_authority());
        let error = table.seen(4).expect_err("not told");
        assert!(error.reason == Reason::AuthoritySeenInvalid && error.detail.contains("is 3"), "{error}");
    }

    #[test]
    fn numbers_that_are_not_named_for_long_count_for_less() {
        let mut table = SeenTable::default();
        for number in 1..=NUMBERS_KEPT as u64 + 10 {
            let (body, epoch) = (AuthorityBody::Entities(Vec::new()), Epoch(number));
            table.note(&AuthorityMessage { number, body, seen: Seen { epoch, ..Seen::default() } });
        }
        assert_eq!(table.clone().seen(0).expect("nothing").epoch, Epoch(0));
        assert_eq!(table.clone().seen(11).expect("less").epoch, Epoch(1));
        assert_eq!(table.clone().seen(12).expect("kept").epoch, Epoch(12));
        let last = NUMBERS_KEPT as u64 + 10;
        assert_eq!(table.seen(last).expect("the last").epoch, Epoch(last));
    }
}
