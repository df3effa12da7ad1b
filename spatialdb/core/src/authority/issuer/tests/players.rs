//! Regions of players.

use spatialdb_types::Reason;

use super::*;
use crate::authority::leases::Home;

/// A layer of players; sessions of its type have names w1, w2...
fn rig() -> Rig {
    let strategy = Strategy::Client;
    Rig::new(vec![Layer { strategy, ..Layer::new("players", "sim", vec![ComponentId(1000)]) }])
}

/// Who may write what belongs to a player, as each partition has it; all agree.
fn owner_of(rig: &Rig, player: &str) -> Option<SessionId> {
    let home = Home { player: Some(player), ..Home::default() };
    let owner = |table: &LeaseTable| table.lease(table.slot_at(LAYER, home)?).owner;
    let owners: Vec<_> = rig.tables.values().map(owner).collect();
    assert!(owners.iter().all(|owner| *owner == owners[0]), "{owners:?}");
    owners[0]
}

#[test]
fn whoever_is_there_has_a_region_and_nobody_else() {
    let mut rig = rig();
    assert_eq!((owner_of(&rig, "w1"), rig.issuer.wanted("sim")), (None, 0));
    rig.attach(ANN);
    rig.attach(BOB);
    assert_eq!((owner_of(&rig, "w1"), owner_of(&rig, "w2")), (Some(ANN), Some(BOB)));
    assert!(
        rig.was_told(ANN, |told| matches!(told, Notice::Gained(of) if of.player.as_deref() == Some("w1")))
    );
    let version = rig.tables[&PartitionId(0)].version();
    rig.attach(EVE);
    assert_eq!(rig.tables[&PartitionId(0)].version(), version, "slots stay what they are");
    rig.detach(ANN);
    assert_eq!((owner_of(&rig, "w1"), owner_of(&rig, "w3")), (None, Some(EVE)));
    assert_eq!(rig.region_count(), 2, "nothing is kept of who has gone");
    assert!(rig.tables.values().all(|table| table.leases().len() == 2));
    // A partition that starts anew is told all.
    rig.tables.get_mut(&PartitionId(2)).expect("a partition").forget();
    rig.issuer.partition_started(PartitionId(2), &mut rig.outbox);
    rig.run();
    assert_eq!((owner_of(&rig, "w1"), owner_of(&rig, "w3")), (None, Some(EVE)));
}

#[test]
fn the_session_that_came_last_has_it_and_the_one_before_gets_it_back() {
    let mut rig = rig();
    rig.attach_as(ANN, "ann", 1);
    rig.attach_as(BOB, "ann", 1);
    assert_eq!(owner_of(&rig, "ann"), Some(BOB));
    assert!(matches!(rig.last(ANN), Some(Notice::Lost(_, _, LossReason::HandedOver))));
    rig.detach(BOB);
    assert_eq!(owner_of(&rig, "ann"), Some(ANN));
    assert_eq!(rig.region_count(), 1);
}

#[test]
fn who_is_silent_has_nothing_until_it_is_heard() {
    let mut rig = rig();
    rig.attach_as(ANN, "ann", 0);
    rig.attach_as(BOB, "bob", 0);
    rig.pass(4 * SECOND, &[BOB]);
    assert_eq!((owner_of(&rig, "ann"), owner_of(&rig, "bob")), (None, Some(BOB)));
    rig.pass(SECOND, &[ANN, BOB]);
    assert_eq!(owner_of(&rig, "ann"), Some(ANN), "however many regions it takes");
}

#[test]
fn it_has_no_shape_and_nobody_else_may_own_it() {
    let mut rig = rig();
    rig.attach_as(ANN, "ann", 1);
    let region = rig.issuer.regions.keys().copied().next().expect("hers");
    let split = rig.issuer.split(region, cut_x(0.0), 0, &mut rig.outbox).expect_err("no shape");
    let pin = rig.issuer.pin(region, Some("w2".to_owned()), 0, &mut rig.outbox).expect_err("hers");
    assert_eq!((split.reason, pin.reason), (Reason::RegionShape, Reason::RegionShape));
    assert!(pin.detail.contains("player ann"), "{pin}");
    let drain = rig.issuer.drain(ANN, 0, &mut rig.outbox).expect_err("to whom?");
    assert!(drain.reason == Reason::WorkerNotFound && drain.detail.contains("player ann"), "{drain}");
    assert_eq!(owner_of(&rig, "ann"), Some(ANN));
}
