//! What a worker is told of what it may write, in one numbered sequence.
//!
//! The issuer tells of regions, partitions of entities. A batch says which number its worker had processed; what that means
//! to partitions stands beside each message.
//!
//! Responsible for: what is told before what. Not responsible for: who owns what.

mod numbers;
mod owned;
mod queue;

use std::collections::VecDeque;

use spatialdb_types::{EntityId, LayerId, PartitionId, Revision};

pub use self::numbers::SeenTable;
use self::owned::Owned;
use self::queue::Queue;
use super::Session;
use super::after::After;
use super::gone::Gone;
use super::tombstones::Tombstones;
use crate::authority::issuer::Notice;
use crate::authority::leases::Seen;
use crate::message::{AuthorityDelta, EntityAuthority, HoldWord};

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

/// The authority of one session.
#[derive(Debug)]
pub(super) struct Authority {
    /// Of all that was heard.
    seen: Seen,
    queue: Queue,
    owned: Owned,
    /// What was gained in partitions that have not shown yet how it stands, and as of when.
    unshown: VecDeque<(PartitionId, Revision, Vec<EntityAuthority>)>,
}

impl Authority {
    pub(super) fn new(partitions: usize) -> Self {
        let gains = vec![Revision(0); partitions].into();
        let seen = Seen { gains, ..Seen::default() };
        let (queue, owned) = (Queue::new(seen.clone()), Owned::new(partitions));
        Self { seen, queue, owned, unshown: VecDeque::new() }
    }

    /// What is remembered of grants that were lost.
    pub(super) const fn gone(&mut self) -> &mut Gone {
        &mut self.owned.gone
    }

    /// What is remembered of entities that were lost.
    pub(super) const fn lost(&mut self) -> &mut Tombstones<(EntityId, LayerId)> {
        &mut self.owned.lost
    }
}

impl Session {
    /// The worker is to hear this.
    pub(super) fn announce(&mut self, notice: Notice) {
        let Authority { seen, queue, owned, .. } = &mut self.authority;
        match &notice {
            Notice::Gained(lease) => seen.epoch = seen.epoch.max(lease.epoch),
            Notice::LossImminent(region, ..) => queue.push_entities(owned.warn(*region), seen),
            Notice::Kept(region, _) => owned.keep(*region),
            Notice::Lost(region, epoch, _) => {
                queue.push_entities(owned.lose(*region, *epoch, self.flush.token), seen);
            }
            Notice::Joined(gone, keep) => owned.join(*gone, *keep),
            _ => {}
        }
        queue.push_notice(notice, seen);
    }

    /// The next thing that the worker is to be told of what it may write.
    pub fn take_authority(&mut self) -> Option<AuthorityMessage> {
        self.authority.queue.pop()
    }

    /// Whether [`Session::take_authority`] has something to give.
    pub fn has_authority(&self) -> bool {
        !self.authority.queue.is_empty()
    }

    /// A partition tells of entities that came or went. Returns up to when the session is shown all, with the delta beside
    /// it.
    pub(super) fn hear_authority(&mut self, from: PartitionId, delta: AuthorityDelta) -> Option<Revision> {
        let (clock, is_shown) = (delta.clock, delta.is_shown);
        let Authority { seen, queue, owned, unshown } = &mut self.authority;
        // They wait for nothing: what the worker may not write it is to know at once.
        queue.push_holds(&delta.holds, seen);
        let (gained, lost) = owned.hear(from, delta, self.flush.token, seen.epoch);
        queue.push_entities(lost, seen);
        owned.lost.hear(from, clock);
        if !gained.is_empty() {
            unshown.push_back((from, clock, gained));
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
        let Authority { seen, queue, owned, .. } = &mut self.authority;
        let mut gains = seen.gains.to_vec();
        gains[usize::from(from.0)] = clock;
        seen.gains = gains.into();
        queue.push_entities(owned.shown(from, words), seen);
    }
}

#[cfg(test)]
mod tests {
    use spatialdb_types::{Box3, Epoch, Limits, Reason, RegionId, SessionId};

    use super::queue::WORDS_AT_ONCE;
    use super::*;
    use crate::authority::issuer::{LeaseInfo, LossReason};
    use crate::message::{Delta, LeaveReason, Shape, ToSession, Word};

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
}
