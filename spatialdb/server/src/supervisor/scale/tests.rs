//! What is asked for over time, and what is to be done.

use std::collections::BTreeSet;

use super::Change::{Drain, Start, Stop};
use super::*;

/// A table whose processes do what they are told, when the test says so.
struct Rig {
    scale: Scale,
    now: Duration,
    occupied: BTreeSet<usize>,
}

impl Rig {
    /// With `scale_down_after` of 30 s.
    fn new(min: usize, max: usize) -> Self {
        let scale = Scale::new(min, max, Duration::from_secs(30));
        Self { scale, now: Duration::ZERO, occupied: BTreeSet::new() }
    }

    /// So many are asked for.
    fn ask(&mut self, count: usize) -> Vec<Change> {
        self.scale.ask(count, self.now);
        self.changes()
    }

    fn pass(&mut self, seconds: u64) -> Vec<Change> {
        self.now += Duration::from_secs(seconds);
        self.changes()
    }

    fn end(&mut self, number: usize, end: End) -> Vec<Change> {
        self.scale.ended(number, end);
        self.changes()
    }

    fn occupy(&mut self, numbers: impl IntoIterator<Item = usize>) -> Vec<Change> {
        self.occupied = numbers.into_iter().collect();
        self.changes()
    }

    // What is to be started starts; the rest is for the test to do.
    fn changes(&mut self) -> Vec<Change> {
        let changes = self.scale.changes(self.now, |number| self.occupied.contains(&number));
        for change in &changes {
            if let Start(number) = change {
                self.scale.started(*number);
            }
        }
        changes
    }

    fn count(&self) -> (usize, usize, usize) {
        let WorkerCount { wanted, running, occupied } = self.scale.count();
        (wanted, running, occupied)
    }
}

#[test]
fn it_goes_up_at_once_and_down_late_the_youngest_first() {
    let mut rig = Rig::new(1, 4);
    assert_eq!(rig.pass(0), [Start(1)]);
    assert_eq!(rig.ask(3), [Start(2), Start(3)]);
    assert_eq!(rig.ask(1), []);
    assert_eq!(rig.pass(29), []);
    assert_eq!(rig.scale.next(), Some(Duration::from_secs(30)));
    assert_eq!(rig.pass(1), [Drain(3), Drain(2)]);
    assert_eq!(rig.pass(0), [], "each thing once");
    assert_eq!((rig.end(2, End::Stopped), rig.end(3, End::Stopped)), (vec![], vec![]));
    assert_eq!(rig.count(), (1, 1, 0));
}

#[test]
fn one_that_was_started_again_is_younger_than_all() {
    let mut rig = Rig::new(1, 3);
    rig.ask(3);
    rig.scale.went_down(1);
    assert_eq!(rig.count(), (3, 2, 0));
    rig.scale.started(1);
    rig.ask(1);
    assert_eq!(rig.pass(30), [Drain(1), Drain(3)]);
}

#[test]
fn one_that_waits_for_its_next_start_goes_before_those_that_run() {
    let mut rig = Rig::new(1, 3);
    rig.ask(3);
    rig.scale.went_down(2);
    rig.ask(2);
    assert_eq!(rig.pass(30), [Drain(2)]);
}

#[test]
fn a_new_one_takes_the_lowest_free_number() {
    let mut rig = Rig::new(1, 4);
    rig.ask(4);
    rig.scale.started(2);
    rig.ask(3);
    assert_eq!(rig.pass(30), [Drain(2)]);
    rig.end(2, End::Stopped);
    assert_eq!(rig.ask(4), [Start(2)]);
}

#[test]
fn one_that_is_drained_keeps_its_number_and_a_place_below_the_max() {
    let mut rig = Rig::new(1, 3);
    rig.ask(2);
    rig.ask(1);
    assert_eq!(rig.pass(30), [Drain(2)]);
    assert_eq!(rig.ask(3), [Start(3)], "there is room for one beside it");
    assert_eq!(rig.count(), (3, 3, 0));
    assert_eq!(rig.end(2, End::Failed), [Start(2)], "it was to end, however it did");
}

#[test]
fn what_ended_by_itself_is_not_replaced() {
    let mut rig = Rig::new(3, 6);
    assert_eq!(rig.pass(0), [Start(1), Start(2), Start(3)]);
    assert_eq!(rig.end(1, End::Done), []);
    assert_eq!(rig.end(2, End::Failed), []);
    assert_eq!(rig.count(), (2, 1, 0), "the failed one is missing, the one that is done is not");
    assert_eq!(rig.ask(4), [Start(4)]);
    rig.ask(3);
    assert_eq!(rig.pass(30), [], "one without a process goes first");
    assert_eq!(rig.ask(4), [Start(2)], "it is tried anew when more are wanted");
}

#[test]
fn who_holds_a_name_is_counted_on() {
    let mut rig = Rig::new(2, 4);
    rig.pass(0);
    assert_eq!(rig.occupy([1]), [Stop(1)]);
    assert_eq!(rig.end(1, End::Failed), [], "not started again, however it ended");
    assert_eq!(rig.count(), (2, 1, 1));
    assert_eq!(rig.occupy([]), [Start(1)]);
    assert_eq!(rig.count(), (2, 2, 0));
    assert_eq!(rig.occupy([3]), []);
    assert_eq!(rig.ask(4), [Start(4)], "the third is there already");
    rig.ask(2);
    assert_eq!(rig.pass(30), [Drain(4), Drain(1)], "the other worker does not go with a process of ours");
}

#[test]
fn a_name_that_is_held_while_its_process_is_drained_stops_it() {
    let mut rig = Rig::new(1, 2);
    rig.ask(2);
    rig.ask(1);
    assert_eq!(rig.pass(30), [Drain(2)]);
    assert_eq!(rig.occupy([2]), [Stop(2), Drain(1)], "what is asked for is there");
    assert_eq!(rig.end(1, End::Stopped), []);
    assert_eq!(rig.end(2, End::Stopped), []);
    assert_eq!(rig.count(), (1, 0, 1));
    assert_eq!(rig.occupy([]), [Start(2)]);
}

#[test]
fn a_name_that_is_free_before_its_process_has_ended_is_started_after_it() {
    let mut rig = Rig::new(1, 1);
    rig.pass(0);
    assert_eq!(rig.occupy([1]), [Stop(1)]);
    assert_eq!(rig.occupy([]), []);
    assert_eq!(rig.end(1, End::Stopped), [Start(1)]);
}

#[test]
fn what_gave_up_is_tried_anew_once_its_name_was_held() {
    let mut rig = Rig::new(1, 1);
    rig.pass(0);
    rig.end(1, End::Failed);
    assert_eq!(rig.occupy([1]), []);
    assert_eq!(rig.occupy([]), [Start(1)]);
}

/// Any order of events: no number twice or beyond the max, and in the end as many run as are asked for.
#[test]
fn whatever_happens_it_comes_to_what_is_asked_for() {
    const MAX: usize = 5;
    for seed in 0..2000_u64 {
        let mut state = seed;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut rig = Rig::new(1, MAX);
        let (mut running, mut ending) = (BTreeSet::new(), BTreeSet::new());
        let apply = |running: &mut BTreeSet<usize>, ending: &mut BTreeSet<usize>, changes: Vec<Change>| {
            for change in changes {
                match change {
                    Start(number) => {
                        assert!((1..=MAX).contains(&number), "seed {seed}");
                        assert!(running.insert(number), "seed {seed}: {number} runs");
                    }
                    Drain(number) => {
                        assert!(running.contains(&number) && ending.insert(number), "seed {seed}: {number}");
                    }
                    Stop(number) => {
                        assert!(running.contains(&number), "seed {seed}: {number}");
                        ending.insert(number);
                    }
                }
            }
        };
        let mut asked = 1;
        for _ in 0..60 {
            let changes = match random(4) {
                0 => {
                    asked = 1 + random(MAX as u64) as usize;
                    rig.ask(asked)
                }
                1 => rig.pass(random(40)),
                2 => {
                    let number = 1 + random(MAX as u64) as usize;
                    let occupied = rig.occupied.clone();
                    rig.occupy(occupied.symmetric_difference(&[number].into()).copied())
                }
                _ => match ending.pop_first() {
                    Some(number) => {
                        running.remove(&number);
                        rig.end(number, End::Stopped)
                    }
                    None => rig.changes(),
                },
            };
            apply(&mut running, &mut ending, changes);
            let mut held = rig.occupied.iter().filter(|number| running.contains(number));
            assert!(held.all(|number| ending.contains(number)), "seed {seed}");
        }
        let mut changes = rig.occupy([]);
        loop {
            apply(&mut running, &mut ending, changes);
            let Some(number) = ending.pop_first() else { break };
            running.remove(&number);
            changes = rig.end(number, End::Stopped);
        }
        let mut changes = rig.pass(30);
        loop {
            apply(&mut running, &mut ending, changes);
            let Some(number) = ending.pop_first() else { break };
            running.remove(&number);
            changes = rig.end(number, End::Stopped);
        }
        assert_eq!(running.len(), asked, "seed {seed}");
    }
}
