//! The protocol of leases, explored to the end: the real issuer and the real tables of two partitions, two workers, and
//! everything that can come late, twice, first or not at all.
//!
//! Workers write all the time, and each write may arrive at any later moment, any number of times. So instead of sending
//! them the model remembers which writes there could be, and asks in every state what the tables would say to each.

mod entity;
mod model;
mod properties;
mod world;

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

use stateright::{Checker, Model};

use self::entity::{Shortcut, Walk};
use self::model::{Bug, Limits, Protocol};

/// Goes through every state. Prints how many there were.
#[expect(clippy::print_stdout, reason = "how much was explored is worth knowing")]
fn explore<M>(name: &str, model: M) -> impl Checker<M> + use<M>
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + PartialEq + Hash + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let started = Instant::now();
    let checker = model.checker().threads(2).spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("{name}: {states} states, {depth} steps deep, {:?}", started.elapsed());
    checker
}

fn check(name: &str, limits: Limits) {
    let checker = explore(name, Protocol { limits, bug: None });
    assert!(checker.is_done());
    checker.assert_properties();
}

/// The model is only believed if it finds what is wrong.
fn catches(bug: Bug, limits: Limits, property: &str) {
    let checker = explore(&format!("{bug:?}"), Protocol { limits, bug: Some(bug) });
    let found = checker.discoveries();
    let names: Vec<_> = found.keys().collect();
    assert!(found.contains_key(property), "{bug:?} should break {property:?}; found {names:?}");
}

#[test]
fn a_worker_that_dies_or_falls_silent() {
    check("failover", Limits { crashes: 2, silences: 1, ..Limits::default() });
}

#[test]
fn a_worker_that_falls_silent_and_wakes_again_and_again() {
    check("zombie", Limits { silences: 3, ..Limits::default() });
}

#[test]
fn a_partition_that_restarts_while_a_worker_dies() {
    check("restart", Limits { crashes: 1, silences: 1, restarts: 2, ..Limits::default() });
}

#[test]
fn what_moves_carry_overtakes_orders() {
    check("moves", Limits { silences: 1, crashes: 1, moves: 2, ..Limits::default() });
}

#[test]
fn a_planned_hand_over_and_back() {
    check("hand-over", Limits { splits: 1, merges: 1, moves: 1, ..Limits::default() });
}

#[test]
fn a_hand_over_in_which_something_fails() {
    check("hand-over, crash", Limits { splits: 1, merges: 1, crashes: 1, delays: 1, ..Limits::default() });
    check("hand-over, restart", Limits { splits: 1, merges: 1, restarts: 1, moves: 1, ..Limits::default() });
    check("hand-over, silence", Limits { splits: 1, merges: 1, silences: 1, ..Limits::default() });
}

#[test]
fn a_worker_that_is_drained() {
    check("drain", Limits { drains: 1, crashes: 1, splits: 1, ..Limits::default() });
}

#[test]
fn an_answer_before_a_partition_has_revoked_is_caught() {
    catches(Bug::AnswersEarly, Limits { crashes: 1, ..Limits::default() }, "one owner");
}

#[test]
fn a_check_that_does_not_look_at_what_was_seen_is_caught() {
    catches(Bug::IgnoresSeen, Limits { silences: 2, ..Limits::default() }, "nothing late is accepted");
}

#[test]
fn a_flush_that_overtakes_writes_is_caught() {
    catches(
        Bug::FlushesEarly,
        Limits { splits: 1, ..Limits::default() },
        "a planned hand-over loses nothing",
    );
}

#[test]
fn a_join_before_its_owner_has_seen_both_grants_is_caught() {
    let limits = Limits { splits: 1, merges: 1, ..Limits::default() };
    catches(Bug::SeesEarly, limits, "an owner is accepted");
}

#[test]
fn an_entity_that_crosses_regions_and_partitions() {
    let checker = explore("entity", Walk { moves: 4, shortcut: None });
    checker.assert_properties();
}

#[test]
fn an_entity_whose_gain_need_not_be_seen_is_caught() {
    for shortcut in [Shortcut::GainsUnseen, Shortcut::ForgetsEarly] {
        let checker = explore(&format!("{shortcut:?}"), Walk { moves: 4, shortcut: Some(shortcut) });
        assert!(checker.discoveries().contains_key("nothing late is accepted"), "{shortcut:?}");
    }
}

#[test]
fn an_entity_that_moves_before_its_gain_is_told_is_caught() {
    let checker = explore("GainsUntold", Walk { moves: 4, shortcut: Some(Shortcut::GainsUntold) });
    assert!(checker.discoveries().contains_key("its owner gets to know"));
}
