//! Workers that die, fall silent and wake up; partitions that restart.

use spatialdb_types::Reason;

use super::*;

#[test]
fn who_disconnects_loses_all_at_once_and_others_take_over() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.attach(BOB);
    rig.detach(ANN);
    assert_eq!((rig.owner(R1), rig.accepted(ANN, 0.0, 9), rig.accepted(BOB, 0.0, 2)), (Some(BOB), 0, 3));
    let late = rig.write(1, ANN, 0.0, 1).expect_err("late");
    assert_eq!(late.reason(), Reason::NotOwner);
    assert!(late.to_string().contains("session 2 since epoch 2"), "{late}");
    rig.detach(BOB);
    assert_eq!(rig.owner(R1), None, "entities stay, nobody owns them");
    let before = rig.issuer.region_state(R1).expect("there").before;
    let past = Past { session: BOB, name: "w2".to_owned(), why: LossReason::Ended };
    assert_eq!(before, Some(past), "so that somebody can explain it");
    assert!(rig.changes.contains(&Change::WorkerGone(BOB)));
}

#[test]
fn silence_costs_everything_and_a_zombie_is_refused() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.attach(BOB);
    rig.pass(2_900_000, &[BOB]);
    assert_eq!(rig.owner(R1), Some(ANN));
    rig.pass(100_000, &[BOB]);
    assert_eq!((rig.owner(R1), rig.accepted(ANN, 0.0, 1)), (Some(BOB), 0));
    assert_eq!(rig.last(ANN), Some(&Notice::Lost(R1, Epoch(1), LossReason::Silent)));
    // She wakes, and gets it again when Bob goes: what she wrote before counts no more.
    rig.pass(SECOND, &[ANN, BOB]);
    rig.detach(BOB);
    assert_eq!(rig.owner(R1), Some(ANN));
    assert_eq!(rig.write(2, ANN, 0.0, 1).expect_err("late").reason(), Reason::OwnershipNotSeen);
    assert_eq!(rig.accepted(ANN, 0.0, 3), 3);
}

#[test]
fn a_silent_worker_gets_nothing_until_it_is_heard() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.pass(4 * SECOND, &[]);
    assert_eq!(rig.owner(R1), None);
    assert!(rig.issuer.worker_state(ANN).expect("there").is_silent);
    rig.pass(200_000, &[ANN]);
    assert_eq!((rig.owner(R1), rig.issuer.region(R1).epoch), (Some(ANN), Epoch(2)));
}

#[test]
fn time_in_which_the_server_does_not_read_does_not_count() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.pass(2 * SECOND, &[]);
    rig.issuer.reading_paused(ANN, rig.now);
    rig.pass(10 * SECOND, &[]);
    rig.issuer.reading_resumed(ANN, rig.now);
    rig.pass(800_000, &[]);
    assert_eq!(rig.owner(R1), Some(ANN), "2.8 s of silence");
    rig.pass(400_000, &[]);
    assert_eq!(rig.owner(R1), None);
}

#[test]
fn time_in_which_the_issuer_did_not_run_does_not_count() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.now += 60 * SECOND;
    rig.issuer.tick(rig.now, &mut rig.outbox);
    rig.run();
    assert_eq!(rig.owner(R1), Some(ANN));
    assert_eq!(rig.issuer.next_due(), Some(rig.now + 3 * SECOND - 250_000));
    rig.pass(3 * SECOND, &[]);
    assert_eq!(rig.owner(R1), None);
}

#[test]
fn a_partition_that_restarts_accepts_nothing_until_it_has_the_table() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.tables.get_mut(&PartitionId(1)).expect("there").forget();
    assert_eq!(rig.accepted(ANN, 0.0, 1), 2);
    rig.issuer.partition_started(PartitionId(1), &mut rig.outbox);
    rig.run();
    assert_eq!(rig.accepted(ANN, 0.0, 1), 3);
}

#[test]
fn a_flip_does_not_wait_for_an_answer_that_a_restart_lost() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.attach(BOB);
    rig.issuer.detach(ANN, 0, &mut rig.outbox);
    rig.run_at(PartitionId(0));
    rig.run_at(PartitionId(2));
    // Partition 1 dies with the order in its queue.
    rig.orders.remove(&PartitionId(1));
    rig.tables.get_mut(&PartitionId(1)).expect("there").forget();
    assert_eq!(rig.issuer.region_state(R1).expect("there").phase, Phase::Revoking);
    rig.issuer.partition_started(PartitionId(1), &mut rig.outbox);
    rig.run();
    assert_eq!((rig.owner(R1), rig.accepted(ANN, 0.0, 9), rig.accepted(BOB, 0.0, 2)), (Some(BOB), 0, 3));
}

#[test]
fn a_table_on_its_way_does_not_answer_for_what_was_asked_after_it() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.attach(BOB);
    rig.issuer.partition_started(PartitionId(1), &mut rig.outbox);
    rig.issuer.detach(ANN, 0, &mut rig.outbox);
    rig.run_at(PartitionId(0));
    rig.run_at(PartitionId(2));
    assert!(rig.deliver_order(PartitionId(1)), "the table");
    assert!(rig.deliver_answer(PartitionId(1)));
    assert_eq!(rig.accepted(ANN, 0.0, 1), 1, "the table says that Ann owns it");
    assert_eq!(rig.issuer.region_state(R1).expect("there").phase, Phase::Revoking);
    rig.run();
    assert_eq!(rig.owner(R1), Some(BOB));
}

#[test]
fn a_thousand_regions_find_new_owners_at_once() {
    let grid = crate::authority::layers::GridShape { x: 0.0, y: 0.0, side_m: 1.0, columns: 32, rows: 32 };
    let mut rig = Rig::new(vec![Layer { strategy: Strategy::Grid(grid), regions_max: 1024, ..placed("l") }]);
    (1..=64).for_each(|n| rig.attach_as(SessionId(n), &format!("w{n}"), 32));
    assert_eq!(rig.issuer.burdens().regions(SessionId(7)), 32);
    let started = std::time::Instant::now();
    rig.detach(SessionId(7));
    println!("32 of 1024 regions, {:?}", started.elapsed());
    let unowned =
        |rig: &Rig| rig.issuer.regions.values().filter(|region| region.stand == Stand::Unowned).count();
    assert_eq!(unowned(&rig), 0, "the others had nothing yet");
    let full = (1..=64).filter(|&n| rig.issuer.burdens().regions(SessionId(n)) > 0).count();
    assert_eq!(full, 63, "one for each of those who had nothing");
}
