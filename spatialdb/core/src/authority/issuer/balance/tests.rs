//! The balancer with workers that play along.

use super::super::tests::{ANN, BOB, EVE, LAYER, R1, Rig, SECOND, SPACE, placed};
use super::super::{Change, Notice};
use super::*;
use crate::authority::layers::{GridShape, Layer};

fn loads(squares: impl IntoIterator<Item = (i32, i32, u64)>) -> Loads {
    let squares = squares.into_iter().map(|(x, y, load)| SquareLoad { x, y, load }).collect();
    Loads { side_m: 10.0, squares: BTreeMap::from([((LAYER, SPACE), squares)]), nowhere: BTreeMap::new() }
}

fn row(from: i32, to: i32, load: u64) -> Loads {
    loads((from..to).map(|x| (x, 0, load)))
}

/// One pass, and a second in which everybody is heard and plays along.
fn pass(rig: &mut Rig, loads: &Loads) {
    rig.issuer.balance(loads, rig.now, &mut rig.outbox);
    rig.run();
    let regions: Vec<_> =
        rig.issuer.regions.iter().filter(|(_, r)| r.handover().is_some()).map(|(id, _)| *id).collect();
    regions.into_iter().for_each(|region| rig.finish_handover(region));
    rig.see_all();
    let workers: Vec<_> = rig.issuer.workers.keys().copied().collect();
    rig.pass(SECOND, &workers);
}

fn passes(rig: &mut Rig, loads: &Loads, count: usize) {
    (0..count).for_each(|_| pass(rig, loads));
}

#[test]
fn a_hot_region_is_split_and_each_half_has_an_owner() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.attach(BOB);
    pass(&mut rig, &row(0, 20, 10));
    assert_eq!(rig.region_count(), 1, "one pass may be chance");
    pass(&mut rig, &row(0, 20, 10));
    assert_eq!(rig.region_count(), 2);
    let owners = [rig.owner_at(0.0), rig.owner_at(199.0)];
    assert!(owners == [Some(ANN), Some(BOB)], "{owners:?}");
    assert_ne!(rig.region_at(99.0), rig.region_at(100.0), "cut in the middle");
}

#[test]
fn who_comes_back_with_nothing_does_not_wait_until_regions_have_rested() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.attach(BOB);
    passes(&mut rig, &row(0, 20, 40), 8);
    let owners = |rig: &Rig| (0..20).map(|x| rig.owner_at(f64::from(x) * 10.0)).collect::<Vec<_>>();
    rig.detach(BOB);
    assert_eq!(owners(&rig), [Some(ANN); 20]);
    rig.attach(EVE);
    pass(&mut rig, &row(0, 20, 40));
    assert!(owners(&rig).contains(&Some(EVE)), "{:?}", owners(&rig));
}

#[test]
fn a_square_that_borders_cut_is_shared_out_among_the_regions() {
    let grid = GridShape { x: 15.0, y: 0.0, side_m: 15.0, columns: 2, rows: 1 };
    let mut rig = Rig::new(vec![Layer { strategy: Strategy::Grid(grid), ..placed("l") }]);
    rig.attach(ANN);
    // The border is at 15 m, in the middle of the second square.
    pass(&mut rig, &row(0, 3, 100));
    let load = |x: f64| rig.issuer.region(rig.region_at(x)).load;
    assert_eq!((load(14.0), load(15.0)), (150, 150));
}

#[test]
fn one_worker_alone_never_splits() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    passes(&mut rig, &row(0, 20, 1000), 10);
    assert_eq!((rig.region_count(), rig.owner(R1)), (1, Some(ANN)));
    assert_eq!(rig.issuer.wanted("sim"), 64, "more could own nothing: regions_max");
}

#[test]
fn nobody_is_wanted_who_could_own_nothing() {
    let single = Layer { strategy: Strategy::Single, ..placed("l") };
    let grid = GridShape { x: 0.0, y: 0.0, side_m: 100.0, columns: 3, rows: 1 };
    let cells = Layer { strategy: Strategy::Grid(grid), ..placed("l") };
    for (layer, wanted) in [(single, 1), (cells, 3)] {
        let mut rig = Rig::new(vec![layer]);
        rig.attach(ANN);
        pass(&mut rig, &row(0, 20, 1000));
        assert_eq!(rig.issuer.wanted("sim"), wanted);
    }
}

#[test]
fn who_is_there_and_does_nothing_is_to_be_replaced() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    pass(&mut rig, &row(0, 20, 1));
    assert_eq!(rig.issuer.wanted("sim"), 1);
    rig.pass(4 * SECOND, &[]);
    rig.issuer.balance(&row(0, 20, 1), rig.now, &mut rig.outbox);
    assert_eq!(rig.issuer.wanted("sim"), 2, "Ann is silent, and takes a place");
    rig.attach(BOB);
    rig.issuer.balance(&row(0, 20, 1), rig.now, &mut rig.outbox);
    assert_eq!((rig.owner(R1), rig.issuer.wanted("sim"), rig.issuer.surplus("sim")), (Some(BOB), 2, None));
    rig.detach(ANN);
    rig.issuer.balance(&row(0, 20, 1), rig.now, &mut rig.outbox);
    assert_eq!(rig.issuer.wanted("sim"), 1);
}

#[test]
fn demand_rises_at_once_and_falls_late() {
    let mut rig = Rig::new(vec![placed("l")]);
    let wanted = |rig: &mut Rig, load: u64| {
        pass(rig, &row(0, 20, load / 20));
        rig.issuer.wanted("sim")
    };
    assert_eq!(wanted(&mut rig, 0), 1, "the regions want an owner");
    assert_eq!(wanted(&mut rig, 340), 4);
    for session in 1..=4 {
        rig.attach(SessionId(session));
    }
    assert_eq!(wanted(&mut rig, 340), 4);
    assert_eq!(rig.issuer.surplus("sim"), None);
    assert_eq!(wanted(&mut rig, 160), 4, "with three it would soon be too much again");
    assert_eq!(wanted(&mut rig, 140), 3);
    assert!(rig.changes.contains(&Change::Wanted("sim".to_owned(), 3)));
    let surplus = rig.issuer.surplus("sim").expect("one too many");
    let least = (1..=4).map(|n| rig.issuer.burdens().share(SessionId(n))).min();
    assert_eq!(Some(rig.issuer.burdens().share(surplus)), least);
}

#[test]
fn cold_siblings_are_joined_after_a_while() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.attach(BOB);
    passes(&mut rig, &row(0, 20, 10), 2);
    assert_eq!(rig.region_count(), 2);
    passes(&mut rig, &row(0, 20, 2), 6);
    assert_eq!(rig.region_count(), 2, "it has not rested long enough");
    passes(&mut rig, &row(0, 20, 2), 10);
    assert_eq!(rig.region_count(), 1);
    assert_eq!(rig.issuer.wanted("sim"), 1);
    passes(&mut rig, &row(0, 20, 4), 20);
    assert_eq!(rig.region_count(), 1, "80 of 100");
}

#[test]
fn what_would_soon_be_split_again_is_not_joined() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.attach(BOB);
    passes(&mut rig, &row(0, 20, 10), 2);
    passes(&mut rig, &row(0, 20, 3), 30);
    assert_eq!(rig.region_count(), 2, "60 of 100, joined under 50");
}

#[test]
fn a_border_shifts_step_by_step_towards_the_loaded_worker() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.attach(BOB);
    passes(&mut rig, &row(0, 20, 10), 2);
    let uneven = loads((0..10).map(|x| (x, 0, 9)).chain((10..20).map(|x| (x, 0, 1))));
    let border = |rig: &Rig| (0..200).find(|&x| rig.owner_at(f64::from(x)) != Some(ANN)).expect("a border");
    let (mut last, mut shifts) = (border(&rig), 0);
    for _ in 0..60 {
        pass(&mut rig, &uneven);
        let now = border(&rig);
        assert!(now <= last && last - now <= 30, "from {last} to {now}");
        shifts += usize::from(now < last);
        last = now;
    }
    assert!((50..=70).contains(&last) && shifts >= 2, "{last} after {shifts} shifts");
    assert_eq!(rig.region_count(), 2);
    let west: u64 = (0..10).filter(|&x| rig.owner_at(f64::from(x) * 10.0) == Some(ANN)).map(|_| 9).sum();
    assert!(west.abs_diff(100 - west) <= 25, "{west} of 100");
}

#[test]
fn a_worker_that_says_it_has_too_much_is_relieved() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    let little = row(0, 20, 2);
    rig.issuer.reported(ANN, 950);
    passes(&mut rig, &little, 3);
    assert_eq!((rig.region_count(), rig.issuer.wanted("sim")), (1, 2));
    rig.attach(BOB);
    passes(&mut rig, &little, 2);
    assert_eq!((rig.owner_at(0.0), rig.owner_at(199.0)), (Some(ANN), Some(BOB)));
}

#[test]
fn whole_regions_go_where_there_is_less_to_do() {
    let grid = GridShape { x: 50.0, y: 0.0, side_m: 50.0, columns: 4, rows: 1 };
    let mut rig = Rig::new(vec![Layer { strategy: Strategy::Grid(grid), ..placed("l") }]);
    rig.attach(ANN);
    rig.attach(BOB);
    rig.attach(EVE);
    assert_eq!(rig.issuer.burdens().regions(ANN), 4);
    passes(&mut rig, &row(0, 20, 10), 30);
    let counts = [ANN, BOB, EVE].map(|session| rig.issuer.burdens().regions(session));
    assert!(counts.iter().all(|&count| count >= 1), "{counts:?}");
    assert_eq!(rig.region_count(), 4, "a grid keeps its shape");
}

#[test]
fn a_crowd_that_walks_about_makes_nothing_flap() {
    let mut rig = Rig::new(vec![placed("l")]);
    (1..=4).for_each(|n| rig.attach(SessionId(n)));
    let crowd = |second: i32| {
        let west = 20 + (second / 4) % 30;
        loads((west..west + 10).flat_map(|x| (0..4).map(move |y| (x, y, 8))))
    };
    let mut counts = Vec::new();
    for second in 0..120 {
        pass(&mut rig, &crowd(second));
        counts.push(rig.region_count());
    }
    assert!(counts[3] > 1, "split within three seconds: {counts:?}");
    let turns = |pair: &&[usize]| pair[1] < pair[0];
    let joins = counts.windows(2).filter(turns).count();
    assert!(joins <= 4, "{joins} joins in two minutes: {counts:?}");
    let lost = |n: &Notice| matches!(n, Notice::Lost(..));
    let losses = rig.told.values().flatten().filter(|notice| lost(notice)).count();
    assert!(losses < 60, "{losses} regions changed hands in two minutes");
}

#[test]
fn a_pass_over_a_million_entities_and_64_regions_changes_only_what_it_must() {
    let mut rig = Rig::new(vec![Layer { load_max: 20_000, ..placed("l") }]);
    (1..=64).for_each(|n| rig.attach(SessionId(n)));
    let all = loads((0..250).flat_map(|x| (0..250).map(move |y| (x, y, 16))));
    passes(&mut rig, &all, 40);
    let most = rig.issuer.regions.values().map(|region| region.load).max().expect("regions");
    assert!(rig.region_count() >= 50 && most <= 20_000, "{} regions, {most}", rig.region_count());
    let mut issuer = rig.issuer.clone();
    let mut outbox = IssuerOutbox::default();
    let started = std::time::Instant::now();
    issuer.balance(&all, rig.now, &mut outbox);
    println!("one pass over {} squares took {:?}", 250 * 250, started.elapsed());
    assert_eq!(outbox.partitions, []);
}

#[test]
fn a_split_by_hand_without_a_place_is_made_where_the_balancer_would() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.attach(BOB);
    let (out, one_square) = (&mut IssuerOutbox::default(), loads([(3, 3, 10)]));
    for nothing in [&Loads::default(), &one_square] {
        let error = rig.issuer.split_by_load(R1, nothing, 0, out).expect_err("no place");
        assert_eq!(error.reason, spatialdb_types::Reason::RegionShape);
    }
    let error = rig.issuer.split_by_load(RegionId(9), &one_square, 0, out).expect_err("no region");
    assert_eq!(error.reason, spatialdb_types::Reason::RegionNotFound);
    let new = rig.issuer.split_by_load(R1, &row(0, 20, 1), 0, &mut rig.outbox).expect("a split");
    rig.run();
    rig.finish_handover(new);
    assert_eq!((rig.region_at(99.0), rig.region_at(100.0)), (R1, new));
    assert_eq!((rig.owner(R1), rig.owner(new)), (Some(ANN), Some(BOB)));
    let load = |region| rig.issuer.region_state(region).expect("there").load;
    assert_eq!((load(R1), load(new)), (10, 10));
}
