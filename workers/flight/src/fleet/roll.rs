//! The roll of the fleet: which number has which aircraft, and which has none.
//!
//! Responsible for: finding the numbers that are missing, and the aircraft that are one too many.
//! Not responsible for: who creates and deletes them (`fleet.rs`).

use std::collections::BTreeSet;

use spatialdb_sdk::EntityId;

const CALLSIGN_PREFIX: &str = "SDB";

/// The callsign of a number.
pub(super) fn callsign(number: u64) -> String {
    format!("{CALLSIGN_PREFIX}{number}")
}

/// The number that a callsign stands for; `None` if it is not one of the fleet.
pub(super) fn number_of(callsign: &str) -> Option<u64> {
    let digits = callsign.strip_prefix(CALLSIGN_PREFIX)?;
    // Each number has one callsign.
    digits.parse().ok().filter(|number: &u64| *number > 0 && number.to_string() == digits)
}

/// Numbers from 1 on, each wanted once.
#[derive(Debug)]
pub(super) struct Roll {
    wanted: u64,
    /// In the view.
    here: BTreeSet<(u64, EntityId)>,
    /// Creates without an answer.
    ordered: BTreeSet<u64>,
    /// Wanted, and neither of both.
    missing: BTreeSet<u64>,
}

impl Roll {
    /// Of a fleet with so many numbers and no aircraft.
    pub(super) fn new(wanted: u64) -> Self {
        let missing = (1..=wanted).collect();
        Self { wanted, here: BTreeSet::new(), ordered: BTreeSet::new(), missing }
    }

    /// So many numbers are wanted from now on.
    pub(super) fn want(&mut self, wanted: u64) {
        if wanted != self.wanted {
            self.wanted = wanted;
            self.missing = (1..=wanted).filter(|number| !self.has(*number)).collect();
        }
    }

    /// The view is empty.
    pub(super) fn clear(&mut self) {
        self.here.clear();
        self.missing = (1..=self.wanted).filter(|number| !self.ordered.contains(number)).collect();
    }

    /// The view shows an aircraft of the number.
    pub(super) fn enter(&mut self, number: u64, entity: EntityId) {
        self.here.insert((number, entity));
        self.missing.remove(&number);
    }

    /// The view shows it no more.
    pub(super) fn leave(&mut self, number: u64, entity: EntityId) {
        self.here.remove(&(number, entity));
        self.note(number);
    }

    /// One is on its way into the world.
    pub(super) fn order(&mut self, number: u64) {
        self.ordered.insert(number);
        self.missing.remove(&number);
    }

    /// It is there, or will not be.
    pub(super) fn answered(&mut self, number: u64) {
        self.ordered.remove(&number);
        self.note(number);
    }

    /// Wanted numbers without an aircraft.
    pub(super) fn missing(&self) -> impl Iterator<Item = u64> {
        self.missing.iter().copied()
    }

    /// Whether the aircraft is one too many: its number is not wanted, or there is an older aircraft of it. Whoever sees
    /// the same aircraft finds the same.
    pub(super) fn is_surplus(&self, number: u64, entity: EntityId) -> bool {
        number > self.wanted || self.oldest(number).is_some_and(|oldest| oldest != entity)
    }

    fn oldest(&self, number: u64) -> Option<EntityId> {
        let first = self.here.range((number, EntityId(0))..).next();
        first.filter(|(of, _)| *of == number).map(|(_, entity)| *entity)
    }

    fn has(&self, number: u64) -> bool {
        self.ordered.contains(&number) || self.oldest(number).is_some()
    }

    fn note(&mut self, number: u64) {
        if number <= self.wanted && !self.has(number) {
            self.missing.insert(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(roll: &Roll) -> Vec<u64> {
        roll.missing().collect()
    }

    #[test]
    fn what_is_wanted_and_not_there_is_missing() {
        let mut roll = Roll::new(4);
        roll.enter(2, EntityId(20));
        roll.order(3);
        assert_eq!(missing(&roll), [1, 4]);
        roll.want(6);
        assert_eq!(missing(&roll), [1, 4, 5, 6]);
        roll.answered(3);
        roll.leave(2, EntityId(20));
        roll.want(3);
        assert_eq!(missing(&roll), [1, 2, 3]);
        roll.order(1);
        roll.enter(1, EntityId(10));
        roll.clear();
        assert_eq!(missing(&roll), [2, 3], "the create is still under way");
    }

    #[test]
    fn of_two_the_younger_is_one_too_many() {
        let mut roll = Roll::new(2);
        roll.enter(1, EntityId(7));
        roll.enter(1, EntityId(5));
        roll.enter(3, EntityId(1));
        let surplus = |number, entity| roll.is_surplus(number, EntityId(entity));
        assert_eq!([surplus(1, 5), surplus(1, 7), surplus(3, 1)], [false, true, true]);
        roll.leave(1, EntityId(5));
        assert!(!roll.is_surplus(1, EntityId(7)) && missing(&roll) == [2]);
    }

    #[test]
    fn a_number_has_one_callsign() {
        assert_eq!(number_of(&callsign(1_000_001)), Some(1_000_001));
        for other in ["", "SDB", "SDB0", "SDB007", "SDB+7", "BAW7", "SDB99999999999999999999"] {
            assert_eq!(number_of(other), None, "{other}");
        }
    }
}
