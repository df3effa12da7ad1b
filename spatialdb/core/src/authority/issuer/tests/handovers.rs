//! Hand-overs, whole and broken off.

use super::*;

/// Ann owns the west, Bob is about to get the east. Returns which region that is.
fn under_way() -> (Rig, RegionId) {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.attach(BOB);
    let new = rig.issuer.split(R1, cut_x(10.0), 0, &mut rig.outbox).expect("a split");
    rig.run();
    (rig, new)
}

#[test]
fn the_new_owner_is_warm_before_the_old_one_loses_anything() {
    let (mut rig, new) = under_way();
    let Some(Notice::Warm(info)) = rig.last(BOB) else { panic!("{:?}", rig.told) };
    assert_eq!((info.region, info.area.min.x), (new, 10.0));
    rig.issuer.flushed(ANN, new, Epoch(1), 0, &mut rig.outbox);
    rig.run();
    assert_eq!(rig.accepted(ANN, 20.0, 1), 3, "she was not asked to flush");
    rig.issuer.warmed(BOB, new, 5, &mut rig.outbox);
    rig.run();
    assert!(matches!(rig.last(ANN), Some(Notice::LossImminent(region, Epoch(1), _)) if *region == new));
    assert_eq!(rig.accepted(ANN, 20.0, 1), 3, "until she has flushed it is hers");
    rig.issuer.flushed(ANN, new, Epoch(1), 6, &mut rig.outbox);
    rig.deliver_order(PartitionId(0));
    assert_eq!((rig.accepted(ANN, 20.0, 1), rig.accepted(BOB, 20.0, 9)), (2, 0));
    rig.run();
    assert_eq!((rig.accepted(ANN, 20.0, 9), rig.accepted(BOB, 20.0, 2)), (0, 3));
    assert!(rig.was_told(ANN, |notice| *notice == Notice::Lost(new, Epoch(1), LossReason::HandedOver)));
    assert!(rig.was_told(BOB, |notice| matches!(notice, Notice::Gained(info) if info.region == new)));
}

#[test]
fn nobody_is_granted_a_region_that_one_partition_still_accepts_writes_for() {
    let (mut rig, new) = under_way();
    rig.issuer.warmed(BOB, new, 0, &mut rig.outbox);
    rig.issuer.flushed(ANN, new, Epoch(1), 0, &mut rig.outbox);
    rig.run_at(PartitionId(0));
    rig.run_at(PartitionId(1));
    assert_eq!((rig.accepted(ANN, 20.0, 1), rig.accepted(BOB, 20.0, 9)), (1, 0));
    assert_eq!(rig.issuer.region_state(new).expect("there").phase, Phase::Revoking);
    rig.run();
    assert_eq!(rig.accepted(BOB, 20.0, 2), 3);
}

#[test]
fn an_old_owner_that_does_not_flush_loses_it_in_time() {
    let (mut rig, new) = under_way();
    rig.issuer.warmed(BOB, new, 0, &mut rig.outbox);
    rig.pass(900_000, &[ANN, BOB]);
    assert_eq!(rig.owner(new), Some(ANN));
    rig.pass(100_000, &[ANN, BOB]);
    assert_eq!(rig.owner(new), Some(BOB));
}

#[test]
fn a_new_owner_that_does_not_get_warm_is_given_up() {
    let (mut rig, new) = under_way();
    rig.pass(SECOND, &[ANN, BOB]);
    assert_eq!((rig.owner(new), rig.last(BOB)), (Some(ANN), Some(&Notice::Cool(new))));
    rig.issuer.warmed(BOB, new, rig.now, &mut rig.outbox);
    rig.run();
    assert_eq!(rig.issuer.region_state(new).expect("there").phase, Phase::Owned, "too late");
    assert!(!rig.was_told(ANN, |notice| matches!(notice, Notice::LossImminent(..) | Notice::Kept(..))));
}

#[test]
fn the_old_owner_keeps_it_if_the_new_one_dies() {
    let (mut rig, new) = under_way();
    rig.issuer.warmed(BOB, new, 0, &mut rig.outbox);
    rig.detach(BOB);
    assert_eq!(rig.last(ANN), Some(&Notice::Kept(new, Epoch(1))));
    assert_eq!(rig.accepted(ANN, 20.0, 1), 3);
}

#[test]
fn the_new_owner_gets_it_at_once_if_the_old_one_dies() {
    let (mut rig, new) = under_way();
    rig.attach(EVE);
    rig.detach(ANN);
    assert_eq!(rig.owner(new), Some(BOB), "who was about to get it");
    assert!(rig.owner(R1).is_some());
}

#[test]
fn while_partitions_are_told_the_next_owner_may_die_too() {
    let (mut rig, new) = under_way();
    rig.attach(EVE);
    rig.issuer.warmed(BOB, new, 0, &mut rig.outbox);
    rig.issuer.flushed(ANN, new, Epoch(1), 0, &mut rig.outbox);
    rig.run_at(PartitionId(0));
    rig.detach(BOB);
    let owner = rig.owner(new).expect("somebody else");
    assert_ne!(owner, BOB);
    assert_eq!(rig.accepted(owner, 20.0, 9), 3);
}

#[test]
fn a_grant_that_was_never_told_is_taken_back_in_silence() {
    let mut rig = Rig::new(vec![placed("l")]);
    let info =
        |name: &str| WorkerInfo { worker_type: "sim".to_owned(), name: name.to_owned(), regions_max: 8 };
    rig.issuer.attach(ANN, info("a"), 0, &mut rig.outbox);
    rig.run_at(PartitionId(0));
    rig.issuer.attach(BOB, info("b"), 0, &mut rig.outbox);
    rig.issuer.detach(ANN, 0, &mut rig.outbox);
    rig.run();
    assert_eq!(rig.told.get(&ANN), None);
    assert_eq!((rig.owner(R1), rig.accepted(ANN, 0.0, 9), rig.accepted(BOB, 0.0, 2)), (Some(BOB), 0, 3));
}

#[test]
fn gains_are_told_in_the_order_of_epochs() {
    let mut rig = Rig::new(vec![Layer { with: Vec::new(), ..placed("l") }]);
    let info = WorkerInfo { worker_type: "sim".to_owned(), name: "a".to_owned(), regions_max: 8 };
    rig.issuer.attach(ANN, info, 0, &mut rig.outbox);
    rig.post();
    // The second grant is answered by all before the first one is.
    for partition in (0..3).map(PartitionId) {
        rig.issuer.answer(partition, Answer::Granted(RegionId(2), Epoch(2)), 0, &mut rig.outbox);
    }
    rig.post();
    assert_eq!(rig.told.get(&ANN), None, "seen epoch 2 would include epoch 1");
    rig.run();
    let epochs = rig.told[&ANN].iter().filter_map(|notice| match notice {
        Notice::Gained(info) => Some(info.epoch.0),
        _ => None,
    });
    assert_eq!(epochs.collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_drained_worker_gets_rid_of_everything_and_gets_nothing() {
    let (mut rig, new) = under_way();
    rig.issuer.drain(BOB, 0, &mut rig.outbox).expect("Bob");
    rig.run();
    assert_eq!(rig.owner(new), Some(ANN), "he does not get what he was about to get");
    assert!(rig.was_told(BOB, |notice| *notice == Notice::Drain));
    rig.issuer.drain(ANN, 0, &mut rig.outbox).expect("Ann");
    rig.run();
    assert_eq!(rig.issuer.burdens().regions(ANN), 2, "there is nobody else");
    rig.attach(EVE);
    rig.finish_handover(R1);
    // Who has to go does not wait for a worker that is slow to get warm.
    rig.pass(2 * SECOND, &[ANN, BOB, EVE]);
    assert_eq!((rig.issuer.burdens().regions(ANN), rig.issuer.burdens().regions(EVE)), (0, 2));
}

#[test]
fn answers_of_an_older_flip_do_not_count() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.attach(BOB);
    rig.detach(ANN);
    rig.issuer.detach(BOB, 0, &mut rig.outbox);
    rig.attach(EVE);
    rig.issuer.detach(EVE, 0, &mut rig.outbox);
    rig.post();
    for partition in (0..3).map(PartitionId) {
        for epoch in 1..3 {
            rig.issuer.answer(partition, Answer::Revoked(R1, Epoch(epoch)), 0, &mut rig.outbox);
        }
    }
    assert_eq!(rig.issuer.region_state(R1).expect("there").phase, Phase::Revoking);
    rig.run();
    assert_eq!(rig.issuer.region_state(R1).expect("there").phase, Phase::Unowned);
}
