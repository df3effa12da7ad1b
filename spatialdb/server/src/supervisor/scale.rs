//! Who of one `[[workers]]` table starts and who goes.
//!
//! Responsible for: deciding it from what is asked for, which names others hold, and how processes ended.
//! Not responsible for: processes (`process`), clocks (time comes in, since any moment, as an argument).
//!
//! Each process has a number from 1 to `max`, which is free again once the process has ended for good. One that is about
//! to end is no longer counted on, but keeps its number: so there are never more than `max` processes.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use super::{WorkerCount, level::Level};

/// What is to be done with the process of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Keep it running from now on.
    Start(usize),
    /// Drain it, then stop it for good.
    Drain(usize),
    /// Stop it at once.
    Stop(usize),
}

/// Why a process is no longer kept running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was told to.
    Stopped,
    /// It ended well by itself.
    Done,
    /// It failed at start too often.
    Failed,
}

/// The processes of one table.
pub(super) struct Scale {
    max: usize,
    level: Level,
    slots: BTreeMap<usize, Slot>,
    starts: u64,
}

struct Slot {
    state: State,
    is_up: bool,
    /// Which start of all it was: the highest is the youngest.
    start: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is to be started.
    Due,
    /// It runs, or will again after a pause.
    Kept,
    /// It is about to end for good.
    Leaving,
    /// It is about to end because somebody else holds its name.
    Yielding,
    /// Somebody else holds its name. Who does is counted on in its stead.
    Occupied,
    /// It has ended by itself, well or not. Another one in its stead would do the same again.
    Ended(End),
}

impl Scale {
    /// Of a table with so few and so many processes, before anything runs.
    pub(super) fn new(min: usize, max: usize, scale_down_after: Duration) -> Self {
        let level = Level::new(min, scale_down_after);
        Self { max, level, slots: BTreeMap::new(), starts: 0 }
    }

    /// So many processes are asked for. Returns how many were before, if that differs.
    pub(super) fn ask(&mut self, count: usize, now: Duration) -> Option<usize> {
        let before = self.level.asked();
        (count != before).then(|| {
            self.level.ask(count, now);
            before
        })
    }

    /// The process of a number has been started, or started again.
    pub(super) fn started(&mut self, number: usize) {
        self.starts += 1;
        if let Some(slot) = self.slots.get_mut(&number) {
            (slot.is_up, slot.start) = (true, self.starts);
        }
    }

    /// The process of a number runs no more; it may be started again.
    pub(super) fn went_down(&mut self, number: usize) {
        if let Some(slot) = self.slots.get_mut(&number) {
            slot.is_up = false;
        }
    }

    /// The process of a number is no longer kept running.
    pub(super) fn ended(&mut self, number: usize, end: End) {
        let Entry::Occupied(mut found) = self.slots.entry(number) else { return };
        let slot = found.get_mut();
        slot.is_up = false;
        match (slot.state, end) {
            (State::Yielding, _) => slot.state = State::Occupied,
            (State::Kept, End::Done | End::Failed) => slot.state = State::Ended(end),
            _ => {
                found.remove();
            }
        }
    }

    /// What is to be done now, each thing once.
    pub(super) fn changes(&mut self, now: Duration, is_occupied: impl Fn(usize) -> bool) -> Vec<Change> {
        let mut changes = Vec::new();
        self.give_way(&mut changes, &is_occupied);
        let level = self.level.at(now);
        self.shed(&mut changes, level);
        self.fill(level, &is_occupied);
        for (&number, slot) in self.slots.iter_mut().filter(|(_, slot)| slot.state == State::Due) {
            slot.state = State::Kept;
            changes.push(Change::Start(number));
        }
        changes
    }

    /// When there may be something to do though nothing happens.
    pub(super) fn next(&self) -> Option<Duration> {
        self.level.falls_at()
    }

    /// How many there are.
    pub(super) fn count(&self) -> WorkerCount {
        let done = self.count_of(|slot| slot.state == State::Ended(End::Done));
        WorkerCount {
            wanted: self.level.asked().saturating_sub(done),
            running: self.count_of(|slot| slot.is_up),
            occupied: self.count_of(|slot| slot.state == State::Occupied),
        }
    }

    fn give_way(&mut self, changes: &mut Vec<Change>, is_occupied: impl Fn(usize) -> bool) {
        for (&number, slot) in &mut self.slots {
            match (slot.state, is_occupied(number)) {
                (State::Kept | State::Leaving, true) => {
                    slot.state = State::Yielding;
                    changes.push(Change::Stop(number));
                }
                (State::Ended(_), true) => slot.state = State::Occupied,
                (State::Occupied, false) => slot.state = State::Due,
                _ => {}
            }
        }
    }

    // Those without a process go first, then the youngest. Who holds the name of one of ours does not go with it.
    fn shed(&mut self, changes: &mut Vec<Change>, level: usize) {
        let surplus = self.counted_on().saturating_sub(level);
        let mut order: Vec<_> =
            self.slots.iter().filter(|(_, slot)| slot.state != State::Leaving).map(going).collect();
        order.sort_unstable();
        for (_, _, Reverse(number)) in order.into_iter().take(surplus) {
            let Entry::Occupied(mut found) = self.slots.entry(number) else { continue };
            let slot = found.get_mut();
            match slot.state {
                State::Kept => {
                    slot.state = State::Leaving;
                    changes.push(Change::Drain(number));
                }
                State::Yielding => slot.state = State::Leaving,
                State::Leaving => {}
                State::Due | State::Occupied | State::Ended(_) => {
                    found.remove();
                }
            }
        }
    }

    // The lowest free numbers. A name that somebody else holds is not started, but counted on.
    fn fill(&mut self, level: usize, is_occupied: impl Fn(usize) -> bool) {
        for number in 1..=self.max {
            if self.counted_on() >= level {
                break;
            }
            let Entry::Vacant(free) = self.slots.entry(number) else { continue };
            let state = if is_occupied(number) { State::Occupied } else { State::Due };
            self.starts += 1;
            free.insert(Slot { state, is_up: false, start: self.starts });
        }
    }

    fn counted_on(&self) -> usize {
        self.count_of(|slot| slot.state != State::Leaving)
    }

    fn count_of(&self, holds: impl Fn(&Slot) -> bool) -> usize {
        self.slots.values().filter(|slot| holds(slot)).count()
    }
}

// What sorts first goes first.
fn going((number, slot): (&usize, &Slot)) -> (u8, Reverse<u64>, Reverse<usize>) {
    let class = match slot.state {
        State::Kept | State::Leaving if slot.is_up => 1,
        State::Due | State::Kept | State::Leaving | State::Ended(_) => 0,
        State::Yielding | State::Occupied => 2,
    };
    (class, Reverse(slot.start), Reverse(*number))
}

#[cfg(test)]
mod tests;
