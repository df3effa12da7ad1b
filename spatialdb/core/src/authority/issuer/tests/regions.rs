//! Who gets what, shapes, pins, and what people may ask for.

use spatialdb_types::Reason;

use super::*;
use crate::authority::layers::{GridShape, PinnedBox};
use crate::authority::tiling::Side;

#[test]
fn a_worker_gets_work_and_is_told_when_every_partition_knows() {
    let mut rig = Rig::new(vec![placed("l")]);
    let info = WorkerInfo { worker_type: "sim".to_owned(), name: "a".to_owned(), regions_max: 8 };
    rig.issuer.attach(ANN, info, 0, &mut rig.outbox);
    rig.run_at(PartitionId(0));
    rig.run_at(PartitionId(1));
    assert_eq!(rig.accepted(ANN, 0.0, 1), 2);
    assert_eq!(rig.last(ANN), None, "partition 2 would refuse it");
    rig.run();
    let Some(Notice::Gained(info)) = rig.last(ANN) else { panic!("{:?}", rig.told) };
    assert_eq!((info.region, info.epoch, info.borders.len()), (R1, Epoch(1), 0));
    assert_eq!(rig.accepted(ANN, 0.0, 1), 3);
}

#[test]
fn a_worker_of_another_type_gets_nothing() {
    let mut rig = Rig::new(vec![placed("l")]);
    let info = WorkerInfo { worker_type: "other".to_owned(), name: "a".to_owned(), regions_max: 8 };
    rig.issuer.attach(ANN, info, 0, &mut rig.outbox);
    rig.run();
    assert_eq!((rig.owner(R1), rig.issuer.wanted("sim")), (None, 1));
}

#[test]
fn a_layer_of_all_entities_has_a_region_for_those_without_a_position() {
    let mut rig = Rig::new(vec![Layer { with: Vec::new(), ..placed("l") }]);
    rig.attach(ANN);
    let table = &rig.tables[&PartitionId(1)];
    let nowhere = table.slot_at(LAYER, None).expect("a region");
    assert_eq!((table.region(nowhere), table.lease(nowhere).owner), (RegionId(2), Some(ANN)));
    let error = rig.issuer.split(RegionId(2), cut_x(0.0), 0, &mut rig.outbox).expect_err("it has no shape");
    assert_eq!(error.reason, Reason::RegionShape);
}

#[test]
fn a_split_hands_one_half_over_and_both_know_their_borders() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.attach(BOB);
    let new = rig.issuer.split(R1, cut_x(10.0), 0, &mut rig.outbox).expect("a split");
    rig.run();
    assert_eq!(rig.accepted(ANN, 20.0, 1), 3, "both halves are still Ann's");
    rig.finish_handover(new);
    assert_eq!((rig.owner_at(0.0), rig.owner_at(20.0)), (Some(ANN), Some(BOB)));
    let Some(Notice::Gained(info)) = rig.last(BOB) else { panic!("{:?}", rig.told) };
    assert_eq!((info.area.min.x, info.epoch), (10.0, Epoch(2)));
    let border = info.borders[0];
    assert_eq!((border.edge.side, border.edge.other, border.lease.owner), (Side::West, R1, Some(ANN)));
    let Some(Notice::Borders(R1, borders)) = rig.last(ANN) else { panic!("{:?}", rig.told[&ANN]) };
    assert_eq!((borders[0].edge.side, borders[0].lease.owner), (Side::East, Some(BOB)));
    assert!(
        !rig.was_told(ANN, |notice| matches!(notice, Notice::Lost(R1, ..))),
        "she kept her half throughout"
    );
}

#[test]
fn regions_are_joined_once_their_owner_has_seen_both() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.attach(BOB);
    let new = rig.issuer.split(R1, cut_x(10.0), 0, &mut rig.outbox).expect("a split");
    rig.run();
    rig.finish_handover(new);
    rig.issuer.merge(new, R1, 0, &mut rig.outbox).expect("siblings");
    rig.run();
    rig.finish_handover(new);
    assert_eq!(rig.owner(new), Some(ANN));
    assert_eq!(rig.region_count(), 2, "Ann has not seen that she gained it");
    assert_eq!(rig.accepted(ANN, 0.0, 1), 3, "so what she wrote in her own half counts");
    rig.see_all();
    assert_eq!((rig.region_count(), rig.issuer.region(R1).epoch), (1, Epoch(3)));
    assert_eq!(rig.accepted(ANN, 20.0, 3), 3);
    assert!(rig.was_told(ANN, |notice| *notice == Notice::Joined(RegionId(2), R1)));
    assert!(rig.changes.contains(&Change::Region(rig.issuer.region_state(R1).expect("there"))));
    assert!(rig.changes.contains(&Change::RegionGone(new)));
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let mut rig = Rig::new(vec![Layer { regions_max: 2, ..placed("l") }]);
    rig.attach(ANN);
    let out = &mut IssuerOutbox::default();
    let refused = |result: Result<RegionId, spatialdb_types::Error>| result.expect_err("refused");
    assert_eq!(refused(rig.issuer.split(RegionId(9), cut_x(0.0), 0, out)).reason, Reason::RegionNotFound);
    assert_eq!(refused(rig.issuer.split(R1, cut_x(f64::NAN), 0, out)).reason, Reason::RegionShape);
    let new = rig.issuer.split(R1, cut_x(0.0), 0, out).expect("a split");
    let error = refused(rig.issuer.split(R1, cut_x(-5.0), 0, out));
    assert!(error.reason == Reason::LimitReached && error.detail.contains("regions_max = 2"), "{error}");
    assert_eq!(rig.issuer.merge(R1, R1, 0, out).expect_err("itself").reason, Reason::RegionShape);
    rig.issuer.pin(new, None, 0, out).expect("pinned");
    assert_eq!(rig.issuer.merge(new, R1, 0, out).expect_err("pinned").reason, Reason::RegionShape);
    rig.issuer.unpin(new, 0, out).expect("free");
    rig.issuer.merge(new, R1, 0, out).expect("free");
    assert_eq!(
        rig.issuer.pin(RegionId(9), None, 0, out).expect_err("unknown").reason,
        Reason::RegionNotFound
    );
    assert_eq!(rig.issuer.drain(EVE, 0, out).expect_err("unknown").reason, Reason::WorkerNotFound);
    assert_eq!(rig.issuer.worker_named("w1"), Ok(ANN));
    assert_eq!(rig.issuer.worker_named("x").expect_err("unknown").reason, Reason::WorkerNotFound);
}

#[test]
fn a_region_on_its_way_to_another_owner_is_busy() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach(ANN);
    rig.attach(BOB);
    let new = rig.issuer.split(R1, cut_x(10.0), 0, &mut rig.outbox).expect("a split");
    rig.run();
    let error = rig.issuer.split(new, cut_x(20.0), 0, &mut rig.outbox).expect_err("under way");
    assert_eq!(error.reason, Reason::RegionBusy);
    assert_eq!(rig.issuer.merge(new, R1, 0, &mut rig.outbox).expect_err("too").reason, Reason::RegionBusy);
}

#[test]
fn nobody_gets_more_regions_than_it_takes() {
    let grid = GridShape { x: 0.0, y: 0.0, side_m: 1.0, columns: 4, rows: 1 };
    let mut rig = Rig::new(vec![Layer { strategy: Strategy::Grid(grid), ..placed("l") }]);
    rig.attach_as(ANN, "a", 3);
    assert_eq!(rig.issuer.burdens().regions(ANN), 3);
    rig.attach_as(BOB, "b", 1);
    assert_eq!((rig.issuer.burdens().regions(ANN), rig.issuer.burdens().regions(BOB)), (3, 1));
    rig.detach(ANN);
    assert_eq!(rig.issuer.burdens().regions(BOB), 1);
    assert_eq!(rig.issuer.regions.values().filter(|region| region.stand == Stand::Unowned).count(), 3);
}

#[test]
fn a_single_layer_has_one_owner() {
    let layer = Layer { strategy: Strategy::Single, with: Vec::new(), ..placed("l") };
    let mut rig = Rig::new(vec![layer]);
    rig.attach(ANN);
    rig.attach(BOB);
    assert_eq!((rig.owner(R1), rig.owner(RegionId(2))), (Some(ANN), Some(ANN)));
    rig.issuer.drain(ANN, 0, &mut rig.outbox).expect("Ann");
    rig.run();
    rig.finish_handover(R1);
    rig.finish_handover(RegionId(2));
    assert_eq!((rig.owner(R1), rig.owner(RegionId(2))), (Some(BOB), Some(BOB)));
}

#[test]
fn a_pin_in_a_single_layer_goes_for_all_of_it() {
    let layer = Layer { strategy: Strategy::Single, with: Vec::new(), ..placed("l") };
    let mut rig = Rig::new(vec![layer]);
    rig.attach_as(ANN, "a", 8);
    rig.attach_as(BOB, "b", 8);
    let owners = |rig: &Rig| [rig.owner(R1), rig.owner(RegionId(2))];
    rig.issuer.pin(R1, Some("b".to_owned()), 0, &mut rig.outbox).expect("pinned");
    rig.run();
    rig.finish_handover(R1);
    rig.finish_handover(RegionId(2));
    assert_eq!(owners(&rig), [Some(BOB); 2]);
    rig.issuer.pin(RegionId(2), Some("c".to_owned()), 0, &mut rig.outbox).expect("pinned");
    rig.run();
    assert_eq!(owners(&rig), [Some(BOB); 2], "until c comes");
    rig.issuer.unpin(RegionId(2), 0, &mut rig.outbox).expect("free");
    rig.detach(BOB);
    assert_eq!(owners(&rig), [Some(ANN); 2]);
}

#[test]
fn a_pinned_region_belongs_to_the_worker_of_that_name() {
    let mut area = spatialdb_types::Box3::EVERYWHERE;
    (area.min.x, area.max.x) = (0.0, 10.0);
    let pinned = PinnedBox { space: SPACE, area, worker: Some("arena".to_owned()) };
    let mut rig = Rig::new(vec![Layer { strategy: Strategy::Pinned(vec![pinned]), ..placed("l") }]);
    rig.attach_as(ANN, "a", 8);
    assert_eq!((rig.owner_at(-1.0), rig.owner_at(5.0), rig.owner_at(11.0)), (Some(ANN), None, Some(ANN)));
    rig.attach_as(BOB, "arena", 8);
    assert_eq!(rig.owner_at(5.0), Some(BOB));
    let error = rig.issuer.split(rig.region_at(5.0), cut_x(5.0), 0, &mut rig.outbox).expect_err("pinned");
    assert_eq!(error.reason, Reason::RegionShape);
}

#[test]
fn a_pin_to_another_worker_hands_the_region_over() {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.attach_as(ANN, "a", 8);
    rig.attach_as(BOB, "b", 8);
    rig.issuer.pin(R1, Some("b".to_owned()), 0, &mut rig.outbox).expect("pinned");
    rig.run();
    rig.finish_handover(R1);
    assert_eq!(rig.owner(R1), Some(BOB));
    rig.detach(BOB);
    assert_eq!(rig.owner(R1), None, "nobody else may have it");
}
