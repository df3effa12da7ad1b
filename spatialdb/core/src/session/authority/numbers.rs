//! What the numbers mean that a worker says it has processed.

use std::collections::VecDeque;

use spatialdb_types::{Error, Reason};

use super::AuthorityMessage;
use crate::authority::leases::Seen;

/// So many numbers that a worker has not named yet are told apart; beyond that, older ones count for less.
const NUMBERS_KEPT: usize = 1024;

/// What the numbers mean that a worker may name.
#[derive(Clone, Debug, Default)]
pub struct SeenTable {
    entries: VecDeque<(u64, Seen)>,
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

#[cfg(test)]
mod tests {
    use spatialdb_types::Epoch;

    use super::super::AuthorityBody;
    use super::*;

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
