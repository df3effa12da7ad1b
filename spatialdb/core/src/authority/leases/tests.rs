use proptest::prelude::*;
use spatialdb_types::{ComponentId, EntityId, Limits, Position, Reason, Revision};

use super::*;
use crate::authority::layers::Layer;
use crate::authority::tiling::{Axis, Cut, Half};

pub(super) const LAYER: LayerId = LayerId(0);
const SPACE: SpaceId = SpaceId(0);
const E: EntityId = EntityId(9);
const HP: ComponentId = ComponentId(1000);
pub(super) const WEST: RegionId = RegionId(1);
pub(super) const EAST: RegionId = RegionId(2);
pub(super) const NOWHERE: RegionId = RegionId(3);
const ANN: SessionId = SessionId(11);
const BOB: SessionId = SessionId(12);

fn at(x: f64) -> Option<Position> {
    Some(Position::new(SPACE, x, 0.0, 0.0))
}

fn writer(session: SessionId, epoch: u64, gains: u64) -> Writer {
    Writer { session, seen: Seen { epoch: Epoch(epoch), gains: Arc::new([Revision(0), Revision(gains)]) } }
}

/// Ann owns what is west of 0 since epoch 1, Bob what is east since epoch 2; borders have a hysteresis of 10 m.
pub(super) fn table() -> LeaseTable {
    let layer = Layer { border_hysteresis_m: 10.0, ..Layer::new("l", "t", vec![HP]) };
    let layers =
        Layers::new(vec![layer], &[SPACE], &Limits::default(), |c| c.to_string()).expect("one layer");
    let mut tiling = Tiling::new(WEST);
    tiling.split(WEST, Cut { axis: Axis::X, at: 0.0 }, EAST, Half::High).expect("split");
    let mut table = LeaseTable::new(PartitionId(1), Arc::new(layers));
    let leases = vec![
        (WEST, Lease::granted(Epoch(1), ANN)),
        (EAST, Lease::granted(Epoch(2), BOB)),
        (NOWHERE, Lease::default()),
    ];
    let all = Table {
        tilings: BTreeMap::from([((LAYER, SPACE), Arc::new(tiling))]),
        nowhere: BTreeMap::from([(LAYER, NOWHERE)]),
        players: BTreeMap::new(),
        leases,
    };
    assert_eq!(table.obey(&Order::Reset(7, Arc::new(all))), Some(Answer::Complete(7)));
    table
}

fn check(table: &LeaseTable, x: f64, writer: &Writer) -> Result<(), Reason> {
    let place = table.slot_at(LAYER, at(x));
    table.check_apart(E, LAYER, HP, place, writer).map_err(|refusal| refusal.reason())
}

fn moved(table: &mut LeaseTable, from: f64, to: f64, now: u64) -> Option<(RegionId, RegionId)> {
    let crossing = table.moved(E, LAYER, at(from), at(to), Revision(now))?;
    Some((crossing.from?.0, crossing.to.0))
}

/// The entity leaves, its owner having been shown what it gained up to then.
fn take(table: &mut LeaseTable, from: Option<Position>, shown: u64) -> Carried {
    let regions = table.regions_of(E, [LAYER], from);
    table.take(E, regions, |_| Revision(shown))
}

#[test]
fn only_the_owner_who_has_seen_the_grant_writes() {
    let mut table = table();
    let west = table.slot_at(LAYER, at(-1.0)).expect("known");
    assert_eq!(table.check(west, &writer(ANN, 1, 0)), Ok(()));
    let refusal = table.check(west, &writer(BOB, 9, 9)).expect_err("Ann's");
    assert_eq!(refusal.reason(), Reason::NotOwner);
    assert!(refusal.to_string().contains("session 11 since epoch 1"), "{refusal}");
    table.obey(&Order::Revoke(WEST, Epoch(1)));
    let refusal = table.check(west, &writer(ANN, 1, 0)).expect_err("nobody's");
    assert!(refusal.to_string().contains("no owner since the end of epoch 1"), "{refusal}");
    assert_eq!(table.obey(&Order::Grant(WEST, Epoch(3), ANN)), Some(Answer::Granted(WEST, Epoch(3))));
    let late = table.check(west, &writer(ANN, 2, 0)).expect_err("from before");
    assert_eq!(late.reason(), Reason::OwnershipNotSeen);
    assert_eq!(table.check(west, &writer(ANN, 3, 0)), Ok(()));
}

#[test]
fn a_table_that_knows_nothing_accepts_nothing() {
    let mut table = table();
    table.forget();
    assert_eq!(table.slot_at(LAYER, at(1.0)), None);
    assert_eq!(check(&table, 1.0, &writer(BOB, 9, 9)), Err(Reason::NotOwner));
    assert_eq!(table.obey(&Order::Grant(EAST, Epoch(5), BOB)), None, "the whole table is on its way");
    let revoked = Answer::Revoked(EAST, Epoch(5));
    assert_eq!(
        table.obey(&Order::Revoke(EAST, Epoch(5))),
        Some(revoked),
        "it accepts nothing, so it may say so"
    );
}

#[test]
fn a_reshape_keeps_what_is_known_of_each_point() {
    let mut table = table();
    let square = Box3 { min: at(4.0).expect("there").point, max: at(6.0).expect("there").point };
    assert!(table.slot_of_square(LAYER, SPACE, &square).is_some());
    let before = table.version();
    let mut tiling = (*table.tilings[&(LAYER, SPACE)]).clone();
    tiling.split(EAST, Cut { axis: Axis::X, at: 5.0 }, RegionId(4), Half::Low).expect("split");
    let lease = Lease::granted(Epoch(2), BOB);
    let tiling = Arc::new(tiling);
    let shape = NewShape { layer: LAYER, space: SPACE, tiling, region: RegionId(4), lease, gone: None };
    assert_eq!(table.obey(&Order::Reshape(Arc::new(shape.clone()))), None);
    assert_ne!(table.version(), before, "slots are to be looked up again");
    assert_eq!(table.slot_of_square(LAYER, SPACE, &square), None, "a border cuts it now");
    assert_eq!(check(&table, 3.0, &writer(BOB, 2, 0)), Ok(()));
    // The strip is Ann's now, and joins her region. Bob's entity near the border keeps its region until then.
    table.moved(E, LAYER, at(7.0), at(3.0), Revision(1));
    table.obey(&Order::Grant(RegionId(4), Epoch(3), ANN));
    assert_eq!(check(&table, 3.0, &writer(BOB, 2, 0)), Ok(()));
    let mut joined = (*shape.tiling).clone();
    joined.join(RegionId(4), WEST).expect("a strip");
    let lease = Lease::granted(Epoch(3), ANN);
    let shape = NewShape { tiling: Arc::new(joined), region: WEST, lease, gone: Some(RegionId(4)), ..shape };
    table.obey(&Order::Reshape(Arc::new(shape)));
    assert_eq!(table.slot(RegionId(4)), None);
    let other = table.slot_at(LAYER, at(4.0)).expect("known");
    assert_eq!((table.region(other), table.lease(other).epoch), (WEST, Epoch(3)));
}

#[test]
fn an_entity_keeps_its_owner_until_it_is_well_inside_the_next_region() {
    let mut table = table();
    assert_eq!(moved(&mut table, -5.0, 5.0, 1), None);
    assert!(table.is_apart(E));
    assert_eq!(check(&table, 5.0, &writer(ANN, 1, 0)), Ok(()));
    assert_eq!(check(&table, 5.0, &writer(BOB, 2, 9)), Err(Reason::NotOwner));
    assert_eq!(moved(&mut table, 5.0, -2.0, 2), None);
    assert_eq!(table.apart_count(), 0, "back home it is like any other");
    moved(&mut table, -2.0, 5.0, 3);
    assert_eq!(moved(&mut table, 5.0, 11.0, 4), Some((WEST, EAST)));
    assert_eq!(check(&table, 11.0, &writer(ANN, 9, 9)), Err(Reason::NotOwner));
    assert_eq!(
        check(&table, 11.0, &writer(BOB, 2, 3)),
        Err(Reason::OwnershipNotSeen),
        "a late write of Bob's"
    );
    assert_eq!(check(&table, 11.0, &writer(BOB, 2, 4)), Ok(()));
    table.seen(BOB, &writer(BOB, 2, 4).seen, |_| false);
    assert_eq!(
        check(&table, 11.0, &writer(BOB, 2, 3)),
        Err(Reason::OwnershipNotSeen),
        "one may still be forwarded"
    );
    table.seen(BOB, &writer(BOB, 2, 4).seen, |entity| entity == E);
    assert_eq!((table.apart_count(), table.is_apart(E)), (0, false));
}

#[test]
fn an_entity_without_a_position_is_nowhere() {
    let mut table = table();
    let crossing = table.moved(E, LAYER, at(-50.0), None, Revision(1)).expect("it left the space");
    assert_eq!((crossing.from.expect("known").0, crossing.to.0), (WEST, NOWHERE));
    assert_eq!(table.region_of(E, LAYER, None), Some(NOWHERE));
}

#[test]
fn between_regions_of_one_owner_only_a_later_grant_needs_to_be_seen() {
    let mut table = table();
    table.obey(&Order::Revoke(EAST, Epoch(2)));
    table.obey(&Order::Grant(EAST, Epoch(3), ANN));
    moved(&mut table, -50.0, 50.0, 1);
    assert_eq!(table.apart_count(), 0, "who has seen epoch 3 has seen epoch 1");
    moved(&mut table, 50.0, -50.0, 2);
    let late = writer(ANN, 2, 0);
    assert_eq!(check(&table, -50.0, &late), Err(Reason::OwnershipNotSeen), "it was Bob's when Ann wrote");
    assert_eq!(check(&table, -50.0, &writer(ANN, 3, 0)), Ok(()), "she writes on and on");
    moved(&mut table, -50.0, 50.0, 3);
    assert_eq!(check(&table, 50.0, &late), Err(Reason::OwnershipNotSeen), "still");
    assert_eq!(check(&table, 50.0, &writer(ANN, 3, 2)), Ok(()));
    // What somebody else had is another matter.
    table.obey(&Order::Revoke(WEST, Epoch(1)));
    table.obey(&Order::Grant(WEST, Epoch(4), BOB));
    moved(&mut table, 50.0, -50.0, 4);
    assert_eq!(check(&table, -50.0, &writer(BOB, 4, 3)), Err(Reason::OwnershipNotSeen));
    assert_eq!(check(&table, -50.0, &writer(BOB, 4, 4)), Ok(()));
}

#[test]
fn what_an_entity_carries_counts_in_the_next_partition() {
    let (mut here, mut there) = (table(), table());
    here.obey(&Order::Revoke(EAST, Epoch(2)));
    here.obey(&Order::Grant(EAST, Epoch(3), ANN));
    moved(&mut here, -50.0, 50.0, 5);
    here.hold(E, HP, Hold { epoch: Epoch(8), by: BOB, until: 0 });
    let held: Vec<_> = here.holds_of(E).collect();
    assert_eq!(held, [(HP, Hold { epoch: Epoch(8), by: BOB, until: 0 })]);
    let carried = take(&mut here, at(50.0), 0);
    assert_eq!((here.apart_count(), here.is_apart(E)), (0, false));
    assert_eq!(there.arrive(E, &carried, at(50.0), Revision(20)), []);
    let east = there.slot(EAST).expect("known");
    assert_eq!(there.lease(east), Lease::granted(Epoch(3), ANN), "learned before the grant came");
    assert_eq!(there.obey(&Order::Revoke(EAST, Epoch(2))), Some(Answer::Revoked(EAST, Epoch(2))));
    assert_eq!(there.lease(east), Lease::granted(Epoch(3), ANN), "a late revoke is of an older grant");
    assert_eq!(check(&there, 50.0, &writer(ANN, 3, 30)), Err(Reason::ComponentHeld));
    there.release(E, HP, Epoch(7));
    assert_eq!(check(&there, 50.0, &writer(BOB, 0, 0)), Ok(()), "the hold of epoch 8 goes on");
    there.release(E, HP, Epoch(8));
    assert_eq!(check(&there, 50.0, &writer(ANN, 3, 0)), Ok(()));
}

#[test]
fn a_gain_that_was_not_seen_is_told_by_the_next_partition() {
    let (mut here, mut there) = (table(), table());
    moved(&mut here, -50.0, 50.0, 5);
    let carried = take(&mut here, at(50.0), 0);
    there.arrive(E, &carried, at(50.0), Revision(20));
    assert_eq!(check(&there, 50.0, &writer(BOB, 2, 19)), Err(Reason::OwnershipNotSeen));
    assert_eq!(check(&there, 50.0, &writer(BOB, 2, 20)), Ok(()));
    there.end_session(BOB);
    assert_eq!(check(&there, 50.0, &writer(BOB, 2, 19)), Err(Reason::OwnershipNotSeen), "it may still come");
    there.obey(&Order::Revoke(EAST, Epoch(2)));
    assert_eq!(there.apart_count(), 0);
}

#[test]
fn an_exception_for_a_region_that_is_gone_is_a_crossing() {
    let (mut here, mut there) = (table(), table());
    moved(&mut here, -5.0, 5.0, 1);
    let carried = take(&mut here, at(5.0), 0);
    there.leases.retain(|(region, _)| *region != WEST);
    let crossings = there.arrive(E, &carried, at(5.0), Revision(20));
    assert_eq!(crossings.len(), 1);
    assert_eq!((crossings[0].from, crossings[0].to.0), (None, EAST));
    assert_eq!(check(&there, 5.0, &writer(BOB, 2, 19)), Err(Reason::OwnershipNotSeen));
}

#[test]
fn an_entity_of_a_region_that_is_gone_after_a_restart_is_placed_anew() {
    let mut table = table();
    moved(&mut table, -5.0, 5.0, 1);
    let mut all = Table { nowhere: table.nowhere.clone(), ..Table::default() };
    all.tilings.insert((LAYER, SPACE), Arc::new(Tiling::new(EAST)));
    all.leases = vec![(EAST, Lease::granted(Epoch(5), BOB)), (NOWHERE, Lease::default())];
    table.forget();
    table.obey(&Order::Reset(8, Arc::new(all)));
    assert_eq!(check(&table, 5.0, &writer(BOB, 5, 9)), Err(Reason::NotOwner), "not until it was placed");
    assert_eq!(table.strays().collect::<Vec<_>>(), [(E, LAYER)]);
    let crossing = table.moved(E, LAYER, at(5.0), at(5.0), Revision(10)).expect("it is in another region");
    assert_eq!((crossing.from, crossing.to.0, crossing.is_gain), (None, EAST, true));
    assert_eq!(table.strays().count(), 0);
    assert_eq!(check(&table, 5.0, &writer(BOB, 5, 9)), Err(Reason::OwnershipNotSeen));
    assert_eq!(check(&table, 5.0, &writer(BOB, 5, 10)), Ok(()));
}

#[test]
fn a_gain_counts_on_when_its_region_is_joined_under_a_later_epoch() {
    let mut table = table();
    moved(&mut table, -50.0, 50.0, 4);
    let tiling = Arc::clone(&table.tilings[&(LAYER, SPACE)]);
    let lease = Lease::granted(Epoch(3), BOB);
    let shape = NewShape { layer: LAYER, space: SPACE, tiling, region: EAST, lease, gone: None };
    table.obey(&Order::Reshape(Arc::new(shape)));
    assert_eq!(check(&table, 50.0, &writer(BOB, 3, 3)), Err(Reason::OwnershipNotSeen));
    assert_eq!(check(&table, 50.0, &writer(BOB, 3, 4)), Ok(()));
}

#[test]
fn a_gain_that_was_told_before_a_move_need_not_be_told_again() {
    let mut there = table();
    let mut here = LeaseTable { partition: PartitionId(0), ..table() };
    moved(&mut here, -50.0, 50.0, 5);
    let carried = take(&mut here, at(50.0), 5);
    assert_eq!(there.arrive(E, &carried, at(50.0), Revision(20)), []);
    let bob = |gains: [u64; 2]| {
        let seen = Seen { epoch: Epoch(2), gains: gains.map(Revision).into() };
        check(&there, 50.0, &Writer { session: BOB, seen })
    };
    assert_eq!(bob([4, 19]), Err(Reason::OwnershipNotSeen));
    assert_eq!(bob([5, 0]), Ok(()), "he heard it from the first partition");
    assert_eq!(bob([4, 20]), Ok(()), "or from where the entity is now, which may come first");
}

#[test]
fn who_comes_into_a_layer_again_takes_no_write_from_before() {
    let mut table = table();
    let crossing = table.entered(E, LAYER, at(50.0), Revision(4)).expect("it is Bob's");
    assert_eq!((crossing.from, crossing.to.0, crossing.is_gain), (None, EAST, true));
    assert_eq!(check(&table, 50.0, &writer(BOB, 2, 3)), Err(Reason::OwnershipNotSeen));
    table.left(E, LAYER);
    assert_eq!(table.apart_count(), 0);
}

#[test]
fn a_follower_belongs_where_its_leader_does() {
    let mut table = table();
    let crossing = table.follow(E, LAYER, Some(EAST), at(-50.0), Revision(1)).expect("it changes owner");
    assert_eq!((crossing.from.expect("known").0, crossing.to.0), (WEST, EAST));
    assert_eq!(moved(&mut table, -50.0, -90.0, 2), None);
    assert_eq!(check(&table, -90.0, &writer(BOB, 2, 1)), Ok(()));
    assert_eq!(table.follow(E, LAYER, Some(RegionId(77)), at(-90.0), Revision(3)), None);
    assert_eq!(table.region_of(E, LAYER, at(-90.0)), Some(EAST));
    let crossing = table.follow(E, LAYER, None, at(-90.0), Revision(4)).expect("back to where it lies");
    assert_eq!(crossing.to.0, WEST);
}

#[test]
fn what_was_gained_and_never_seen_does_not_pile_up() {
    let mut table = table();
    for i in 0..20_000 {
        let x = if i % 2 == 0 { -50.0 } else { 50.0 };
        moved(&mut table, x, -x, i);
    }
    let unseen: usize = table.apart.unseen.values().map(std::collections::VecDeque::len).sum();
    assert!(table.apart_count() == 1 && unseen < 2 * 1024, "{unseen}");
}

proptest! {
    /// Late, doubled, overtaken: what is known in the end is the highest that was heard.
    #[test]
    fn what_is_known_only_rises(heard in prop::collection::vec((0_u64..6, prop::option::of(Just(()))), 1..20)) {
        let mut table = table();
        let west = table.slot(WEST).expect("known");
        let mut best = table.lease(west);
        for (epoch, granted) in heard {
            let before = table.lease(west);
            // An epoch names one grant, so its owner is always the same.
            let owner = if epoch % 2 == 1 { ANN } else { BOB };
            let order = match granted {
                Some(()) => Order::Grant(WEST, Epoch(epoch), owner),
                None => Order::Revoke(WEST, Epoch(epoch)),
            };
            prop_assert!(table.obey(&order).is_some());
            let lease = Lease { epoch: Epoch(epoch), owner: granted.map(|()| owner) };
            if lease.is_above(best) {
                best = lease;
            }
            prop_assert!(!before.is_above(table.lease(west)));
            prop_assert_eq!(table.lease(west), best);
        }
    }
}
