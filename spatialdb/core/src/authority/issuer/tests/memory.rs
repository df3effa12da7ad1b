//! A world that begins again with the regions that it had.

use super::*;

/// A layer of two regions, one of which is Ann's, the other one Bob's.
fn shared() -> (Rig, RegionId, RegionId) {
    let mut rig = Rig::new(vec![placed("walk")]);
    let new = rig.issuer.split(R1, cut_x(10.0), rig.now, &mut rig.outbox).expect("split");
    rig.attach_as(ANN, "ann", 1);
    rig.attach_as(BOB, "bob", 1);
    let of = |session| [R1, new].into_iter().find(|region| rig.owner(*region) == Some(session)).expect("one");
    let (anns, bobs) = (of(ANN), of(BOB));
    (rig, anns, bobs)
}

#[test]
fn who_returns_in_time_keeps_its_regions() {
    let (rig, anns, bobs) = shared();
    let epoch = rig.issuer.last_epoch();
    let (eve, bob) = (SessionId(7), SessionId(8));
    let mut rig = Rig::again(vec![placed("walk")], &rig.issuer.memory());
    assert_eq!(rig.region_count(), 2, "the shape is there");
    // Somebody else comes first, then one of the two as another session.
    rig.attach_as(eve, "eve", 8);
    assert_eq!((rig.owner(anns), rig.owner(bobs)), (None, None), "they are kept for who had them");
    rig.attach_as(bob, "bob", 8);
    assert_eq!((rig.owner(anns), rig.owner(bobs)), (None, Some(bob)));
    assert!(rig.issuer.last_epoch() > epoch, "epochs rise");
    assert_eq!(rig.issuer.memory().shapes.len(), 1);
    let ttl = Patience::default().lease_ttl;
    assert_eq!(rig.issuer.next_due(), Some(ttl));
    rig.pass(ttl - 1000, &[eve, bob]);
    assert_eq!(rig.owner(anns), None);
    rig.pass(2000, &[eve, bob]);
    assert_eq!(rig.owner(anns), Some(eve), "who does not come in time has lost it");
}

#[test]
fn what_it_remembers_it_remembers_again() {
    let (rig, ..) = shared();
    let memory = rig.issuer.memory();
    assert_eq!(Rig::again(vec![placed("walk")], &memory).issuer.memory(), memory, "nobody has come yet");
}

#[test]
fn pins_are_remembered_where_somebody_made_them() {
    let (mut rig, anns, _) = shared();
    rig.issuer.pin(anns, Some("eve".to_owned()), rig.now, &mut rig.outbox).expect("pinned");
    let rig = Rig::again(vec![placed("walk")], &rig.issuer.memory());
    let pin = rig.issuer.region(anns).pin.clone();
    assert_eq!(pin, Some(Pin { worker: Some("eve".to_owned()) }));
}

#[test]
fn what_does_not_fit_any_more_is_not_remembered() {
    let (rig, anns, bobs) = shared();
    let memory = rig.issuer.memory();
    let other = Rig::again(vec![placed("swim")], &memory);
    assert_eq!(other.region_count(), 1, "another layer");
    assert!(other.issuer.memory().last_region >= anns.max(bobs), "ids are not given again");
    let first = placed("dig");
    let first = Layer { with: vec![ComponentId(2000)], writes: vec![ComponentId(2000)], ..first };
    let both = Rig::again(vec![first, placed("walk")], &memory);
    assert_eq!(
        both.issuer.memory().shapes.iter().filter(|shape| shape.nodes.len() == 3).count(),
        1,
        "walk is there"
    );
    assert!(both.issuer.regions.contains_key(&anns) && both.issuer.regions.contains_key(&bobs));
    let single = Layer { strategy: Strategy::Single, ..placed("walk") };
    assert_eq!(Rig::again(vec![single], &memory).region_count(), 1, "another strategy");
    let mut broken = memory.clone();
    broken.shapes[0].nodes.pop();
    assert_eq!(Rig::again(vec![placed("walk")], &broken).region_count(), 1, "half a tree");
    let mut doubled = memory;
    let last = doubled.shapes[0].nodes.last().cloned().expect("a region");
    doubled.shapes[0].nodes[1] = last;
    assert_eq!(Rig::again(vec![placed("walk")], &doubled).region_count(), 1, "a region twice");
}
