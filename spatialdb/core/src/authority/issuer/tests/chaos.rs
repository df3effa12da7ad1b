//! Anything in any order: what must never be, is not, and what is told adds up.

use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use spatialdb_types::Point3;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Attach(u32),
    Detach(u32),
    Heard(u32),
    Drain(u32),
    SeenAll(u32),
    Warmed(usize),
    Flushed(usize),
    Split(usize, i8),
    Merge(usize),
    Pin(usize, Option<u32>),
    Unpin(usize),
    Balance(u8),
    Pass(u32),
    Order(u16),
    Answer(u16),
    Restart(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<usize>();
    prop_oneof![
        3 => (1_u32..5).prop_map(Step::Attach),
        1 => (1_u32..5).prop_map(Step::Detach),
        3 => (1_u32..5).prop_map(Step::Heard),
        1 => (1_u32..5).prop_map(Step::Drain),
        2 => (1_u32..5).prop_map(Step::SeenAll),
        4 => index.prop_map(Step::Warmed),
        4 => index.prop_map(Step::Flushed),
        4 => (index, any::<i8>()).prop_map(|(region, at)| Step::Split(region, at)),
        2 => index.prop_map(Step::Merge),
        1 => (index, prop::option::of(1_u32..5)).prop_map(|(region, worker)| Step::Pin(region, worker)),
        1 => index.prop_map(Step::Unpin),
        2 => any::<u8>().prop_map(Step::Balance),
        2 => (1_u32..2_000_000).prop_map(Step::Pass),
        12 => (0_u16..3).prop_map(Step::Order),
        12 => (0_u16..3).prop_map(Step::Answer),
        1 => (0_u16..3).prop_map(Step::Restart),
    ]
}

fn apply(rig: &mut Rig, step: &Step) {
    let (now, regions) = (rig.now, rig.issuer.regions.keys().copied().collect::<Vec<_>>());
    let pick = |i: usize| regions[i % regions.len()];
    let out = &mut rig.outbox;
    let issuer = &mut rig.issuer;
    match *step {
        Step::Attach(n) if !issuer.workers.contains_key(&SessionId(n)) => {
            let info = WorkerInfo { worker_type: "sim".to_owned(), name: format!("w{n}"), regions_max: 3 };
            issuer.attach(SessionId(n), info, now, out);
        }
        Step::Attach(n) | Step::Heard(n) => issuer.heard(SessionId(n), now, out),
        Step::Detach(n) => issuer.detach(SessionId(n), now, out),
        Step::Drain(n) => _ = issuer.drain(SessionId(n), now, out),
        Step::SeenAll(n) => {
            let told = rig.told.get(&SessionId(n)).into_iter().flatten();
            let epochs = told.filter_map(|notice| match notice {
                Notice::Gained(info) => Some(info.epoch),
                _ => None,
            });
            if let Some(epoch) = epochs.max() {
                issuer.seen(SessionId(n), epoch, now, out);
            }
        }
        Step::Warmed(i) => {
            if let Some(handover) = issuer.region(pick(i)).handover() {
                issuer.warmed(handover.to, pick(i), now, out);
            }
        }
        Step::Flushed(i) => {
            let (owner, epoch) = (issuer.region(pick(i)).owner(), issuer.region(pick(i)).epoch);
            if let Some(owner) = owner {
                issuer.flushed(owner, pick(i), epoch, now, out);
            }
        }
        Step::Split(i, at) => _ = issuer.split(pick(i), cut_x(f64::from(at)), now, out),
        Step::Merge(i) => {
            let siblings = issuer.tilings[&(LAYER, SPACE)].siblings();
            if !siblings.is_empty() {
                let (low, high, _) = siblings[i % siblings.len()];
                _ = issuer.merge(high, low, now, out);
            }
        }
        Step::Pin(i, worker) => {
            issuer.pin(pick(i), worker.map(|n| format!("w{n}")), now, out).expect("it is there");
        }
        Step::Unpin(i) => issuer.unpin(pick(i), now, out).expect("it is there"),
        Step::Balance(seed) => {
            let load = |x: i32| u64::from(seed).wrapping_mul(x.unsigned_abs().into()) % 60;
            let squares = (-10..10).map(|x| SquareLoad { x, y: x % 3, load: load(x) }).collect();
            let squares = BTreeMap::from([((LAYER, SPACE), squares)]);
            issuer.balance(&Loads { side_m: 10.0, squares, nowhere: BTreeMap::new() }, now, out);
        }
        Step::Pass(time) => {
            rig.now += u64::from(time);
            issuer.tick(rig.now, out);
        }
        Step::Order(p) => _ = rig.deliver_order(PartitionId(p)),
        Step::Answer(p) => _ = rig.deliver_answer(PartitionId(p)),
        Step::Restart(p) => {
            rig.tables.get_mut(&PartitionId(p)).expect("there").forget();
            issuer.partition_started(PartitionId(p), out);
        }
    }
    rig.post();
}

/// At any place, partitions accept the writes of at most one session.
fn check_one_owner(rig: &Rig) {
    for x in (-130..=130).map(f64::from) {
        let accepts = |n: &SessionId| rig.accepted(*n, x, u64::MAX) > 0;
        let owners: Vec<_> = (1..5).map(SessionId).filter(accepts).collect();
        assert!(owners.len() <= 1, "at {x} writes of {owners:?} are accepted");
    }
}

/// What a session was told and not told to have lost is accepted in every partition that knows anything.
fn check_told_is_accepted(rig: &Rig) {
    for session in rig.issuer.workers.keys() {
        let mut held: BTreeMap<RegionId, LeaseInfo> = BTreeMap::new();
        for notice in rig.told.get(session).into_iter().flatten() {
            match notice {
                Notice::Gained(info) | Notice::Shaped(info) => _ = held.insert(info.region, info.clone()),
                Notice::Lost(region, ..) => {
                    assert!(held.remove(region).is_some(), "{region} was never gained");
                }
                Notice::Joined(gone, keep) => {
                    assert!(held.contains_key(keep) && held.remove(gone).is_some(), "{gone} into {keep}");
                }
                _ => {}
            }
        }
        let seen = held.values().map(|info| info.epoch.0).max().unwrap_or_default();
        for info in held.values() {
            let middle = (info.area.min.x.max(-150.0) + info.area.max.x.min(150.0)) / 2.0;
            for (partition, table) in &rig.tables {
                let is_up = !table.leases().is_empty();
                let result = rig.write(partition.0, *session, middle, seen);
                assert!(!is_up || result.is_ok(), "{session} at {middle} in {partition}: {result:?}");
            }
        }
    }
}

/// What watchers were told adds up to what there is.
fn check_watchers(rig: &Rig) {
    let key = |change: &Change| match change {
        Change::Region(state) => (0, state.region.0, String::new()),
        Change::RegionGone(region) => (0, region.0, String::new()),
        Change::Worker(state) => (1, u64::from(state.session.0), String::new()),
        Change::WorkerGone(session) => (1, u64::from(session.0), String::new()),
        Change::Wanted(worker_type, _) => (2, 0, worker_type.clone()),
    };
    let mut seen = BTreeMap::new();
    for change in &rig.changes {
        match change {
            Change::RegionGone(_) | Change::WorkerGone(_) => _ = seen.remove(&key(change)),
            _ => _ = seen.insert(key(change), change.clone()),
        }
    }
    let now: BTreeMap<_, _> =
        rig.issuer.keyframe().iter().map(|change| (key(change), change.clone())).collect();
    let is_small = |change: &Change| matches!(change, Change::Region(_) | Change::Worker(_));
    for (key, change) in now.iter().filter(|(_, change)| is_small(change)) {
        let (Some(Change::Region(told)), Change::Region(state)) = (seen.get(key), change) else {
            assert!(
                seen.get(key) == Some(change) || key.0 == 0,
                "{change:?} was told as {:?}",
                seen.get(key)
            );
            continue;
        };
        assert!(told.load.abs_diff(state.load) <= told.load / 10, "{} and {}", told.load, state.load);
        assert_eq!(RegionState { load: 0, ..told.clone() }, RegionState { load: 0, ..state.clone() });
    }
    assert!(seen.keys().all(|key| now.contains_key(key)), "watchers still see what is gone");
}

/// Once everything has arrived nothing is left without an owner whom somebody could own, and tables agree with the issuer.
fn check_at_rest(rig: &mut Rig) {
    rig.run();
    for (region, state) in &rig.issuer.regions {
        assert!(matches!(state.stand, Stand::Owned { .. } | Stand::Unowned), "{region}: {state:?}");
        let could = rig.issuer.choose(*region, None, &rig.issuer.burdens());
        assert!(state.stand != Stand::Unowned || could.is_none(), "{could:?} could own {region}");
    }
    let table = rig.issuer.table();
    for (partition, known) in &rig.tables {
        assert_eq!(known.leases(), table.leases, "partition {partition}");
    }
    for x in (-130..=130).map(f64::from) {
        let holders = rig.issuer.tilings[&(LAYER, SPACE)].regions();
        assert_eq!(holders.iter().filter(|(_, area)| area.contains(Point3::new(x, 0.0, 0.0))).count(), 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_there_is_one_owner_and_who_was_told_is_accepted(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut rig = Rig::new(vec![Layer { regions_max: 8, ..placed("l") }]);
        for step in &steps {
            apply(&mut rig, step);
            check_one_owner(&rig);
            check_told_is_accepted(&rig);
        }
        check_at_rest(&mut rig);
        check_watchers(&rig);
    }
}
