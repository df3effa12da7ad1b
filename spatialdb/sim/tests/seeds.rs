//! The core passes every seed, and no seeded bug passes the judges.

use std::thread::available_parallelism;

use spatialdb_sim::{Bug, run_seeds};

/// As in the program: a fifth of a run is memory given and taken.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEEDS: u64 = 5_000;

/// Each bug, and within how many seeds a judge notices it: with room to spare, since a change of the core or of the
/// simulator changes what happens in each seed.
const CAUGHT_WITHIN: &[(Bug, u64)] = &[
    (Bug::DropMove, 20),
    (Bug::DropMoved, 20),
    (Bug::DropForward, 40),
    (Bug::DuplicateForward, 40),
    (Bug::SettledEarly, 400),
    (Bug::FenceEarly, 60),
    (Bug::SwapPeers, 60),
    (Bug::ZeroClock, 60),
    (Bug::LoseHolders, 60),
    (Bug::LoseEvents, 100),
    (Bug::LoseOverlaps, 12_000),
    (Bug::DropEvent, 80),
    (Bug::DuplicateEvent, 20),
    (Bug::EventsAhead, 40),
    (Bug::LoseMissed, 400),
    (Bug::SwapDeltas, 300),
    (Bug::LoseRestarted, 80),
    (Bug::DropLeave, 40),
    (Bug::DuplicateEnter, 20),
    (Bug::StaleValue, 40),
    (Bug::DropValues, 40),
    (Bug::DropGone, 80),
    (Bug::LoseRejection, 40),
    (Bug::LoseOutcome, 20),
    (Bug::LoseFilled, 40),
    (Bug::WrongCount, 20),
    (Bug::DropSquare, 40),
    (Bug::KeepSquares, 80),
    (Bug::LoseReady, 40),
    (Bug::LoseViews, 40),
    (Bug::FlushEarly, 1_000),
    (Bug::IgnoreHints, 20),
    (Bug::LoseSet, 20),
    (Bug::LoseClear, 20),
    (Bug::SplitMessage, 400),
    (Bug::LoseBatch, 20),
    (Bug::PartialAsWhole, 40),
    (Bug::SwapFrames, 40),
    (Bug::DropCut, 40),
    (Bug::CutEarly, 100),
    (Bug::LoseInterest, 40),
    (Bug::LoseInterestEnd, 60),
    (Bug::SwapInterests, 200),
    (Bug::LosePage, 40),
    (Bug::LoseRevoke, 40),
    (Bug::LoseCarried, 1_500),
    (Bug::LoseGain, 40),
    (Bug::ReverseGains, 60),
    (Bug::LosePlayer, 400),
    (Bug::SeenTooMuch, 40),
    (Bug::WarmEarly, 200),
    (Bug::LoseLeads, 100),
    (Bug::SwapLeads, 12_000),
    (Bug::LoseRelease, 100),
    (Bug::GainedEarly, 1_500),
    (Bug::LoseRecord, 40),
    (Bug::StoredEarly, 400),
    (Bug::BeginsLate, 100),
    (Bug::LoseRound, 2_000),
    (Bug::WalkedEarly, 4_000),
    (Bug::LosePart, 40),
    (Bug::LoseShape, 40),
    (Bug::LoseInFlight, 400),
    (Bug::CapturingEarly, 400),
];

fn threads() -> usize {
    available_parallelism().map_or(1, usize::from)
}

#[test]
fn the_core_passes() {
    if let Some(failed) = run_seeds(0..SEEDS, threads(), None) {
        let repeat = format!("cargo run --release -p spatialdb-sim -- --seed {} --trace", failed.seed);
        panic!("seed {} failed: {}\nrepeat: {repeat}", failed.seed, failed.failure);
    }
}

#[test]
fn every_seeded_bug_is_caught() {
    let passes = |bug: &&Bug| {
        let within = CAUGHT_WITHIN.iter().find(|(b, _)| b == *bug).map(|(_, within)| *within);
        let within = within.unwrap_or_else(|| panic!("{bug:?} is not in the list"));
        run_seeds(0..within, threads(), Some(**bug)).is_none()
    };
    let unnoticed: Vec<&Bug> = Bug::ALL.iter().filter(passes).collect();
    assert!(unnoticed.is_empty(), "no judge noticed {unnoticed:?} within its seeds");
}

/// The same seed is the same world: otherwise a failure could not be repeated.
#[test]
fn a_failing_seed_fails_again_in_the_same_way() {
    let first = run_seeds(0..20, 1, Some(Bug::DropMove)).expect("caught");
    let again = spatialdb_sim::run_seed(first.seed, Some(Bug::DropMove), false).expect_err("caught again");
    assert_eq!((first.failure.judge, first.failure.detail), (again.judge, again.detail));
}
