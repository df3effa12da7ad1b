//! What waits until the worker is told of it.
//!
//! Responsible for: the order in which things are told, and as many numbers as messages. Not responsible for: what they mean.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use spatialdb_types::{EntityId, LayerId};

use super::{AuthorityBody, AuthorityMessage};
use crate::authority::issuer::Notice;
use crate::authority::leases::Seen;
use crate::message::{EntityAuthority, HoldWord};

/// A message tells of so many entities at most.
pub(super) const WORDS_AT_ONCE: usize = 1 << 16;

/// From so many changes on, what waits is reduced to the last word on each entity.
const REDUCED_FROM: usize = 4096;

/// Messages that wait, each with what it means to have processed it.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<(AuthorityBody, Seen)>,
    /// How many changes the last one of these had when it was reduced last.
    reduced: usize,
    /// The number of the last message, and what it means to have processed that.
    last: u64,
    told: Seen,
}

impl Queue {
    /// Nothing waits; nothing was told but this.
    pub(super) const fn new(told: Seen) -> Self {
        Self { waiting: VecDeque::new(), reduced: 0, last: 0, told }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Of regions, or of the worker itself.
    pub(super) fn push_notice(&mut self, notice: Notice, seen: &Seen) {
        self.waiting.push_back((AuthorityBody::Notice(notice), seen.clone()));
    }

    /// Of entities.
    pub(super) fn push_entities(&mut self, changes: Vec<EntityAuthority>, seen: &Seen) {
        if changes.is_empty() {
            return;
        }
        let Some((AuthorityBody::Entities(waiting), of_waiting)) = self.waiting.back_mut() else {
            self.reduced = 0;
            return self.waiting.push_back((AuthorityBody::Entities(changes), seen.clone()));
        };
        of_waiting.clone_from(seen);
        waiting.extend(changes);
        if waiting.len() >= REDUCED_FROM.max(2 * self.reduced) {
            reduce(waiting);
            self.reduced = waiting.len();
        }
    }

    /// Of what tools hold.
    pub(super) fn push_holds(&mut self, words: &[HoldWord], seen: &Seen) {
        match self.waiting.back_mut() {
            _ if words.is_empty() => {}
            Some((AuthorityBody::Holds(waiting), _)) => waiting.extend(words),
            _ => self.waiting.push_back((AuthorityBody::Holds(words.to_vec()), seen.clone())),
        }
    }

    /// The next message.
    pub(super) fn pop(&mut self) -> Option<AuthorityMessage> {
        let Self { last, told, waiting, .. } = self;
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

#[cfg(test)]
mod tests {
    use spatialdb_types::{Epoch, RegionId, Revision};

    use super::*;
    use crate::message::Word;

    #[test]
    fn of_many_words_the_last_counts_and_a_loss_before_it() {
        let change = |region, entity, word, clock| EntityAuthority {
            entity: EntityId(entity),
            layer: LayerId(0),
            region: RegionId(region),
            epoch: Epoch(1),
            word,
            clock: Revision(clock),
        };
        let mut words = vec![
            change(2, 9, Word::Gained, 1),
            change(1, 7, Word::Gained, 1),
            change(1, 7, Word::Lost, 2),
            change(2, 7, Word::Gained, 3),
            change(1, 8, Word::Gained, 4),
            change(1, 8, Word::Lost, 5),
        ];
        reduce(&mut words);
        let losses = [change(1, 7, Word::Lost, 2), change(1, 8, Word::Lost, 5)];
        let gains = [change(2, 7, Word::Gained, 3), change(2, 9, Word::Gained, 1)];
        assert_eq!(words, [losses, gains].concat());
    }
}
