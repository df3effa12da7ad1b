//! What a session owns, by messages as a server tells them.

use spatialdb_types::SpaceId;

use super::*;

const HP: ComponentId = ComponentId(1000);
const TAG: ComponentId = ComponentId(1001);

fn layer(name: &str, writes: &[ComponentId]) -> Layer {
    let (worker_type, writes) = ("sim".to_owned(), writes.to_vec());
    Layer { name: name.to_owned(), worker_type, with: vec![], without: vec![], writes }
}

/// Tells it one thing after the other.
struct Told {
    authority: Authority,
    number: u64,
}

impl Told {
    fn new() -> Self {
        let mut authority = Authority::default();
        authority.begin(&[layer("bodies", &[ComponentId::POSITION, HP]), layer("tags", &[TAG])]);
        Self { authority, number: 0 }
    }

    fn tell(&mut self, body: Body) -> Vec<Event> {
        self.number += 1;
        let message = v1::Authority { number: self.number, body: Some(body) };
        self.authority.accept(message).expect("accepts")
    }

    /// What it hears of entities: + for a gain.
    fn hears(&mut self, body: Body) -> Vec<(char, Vec<u64>)> {
        let ids = |entities: Vec<EntityId>| entities.into_iter().map(|entity| entity.0).collect();
        let told = self.tell(body).into_iter();
        told.filter_map(|event| match event {
            Event::Gained { entities, .. } => Some(('+', ids(entities))),
            Event::Lost { entities, .. } => Some(('-', ids(entities))),
            _ => None,
        })
        .collect()
    }

    fn owns(&self, entity: u64) -> bool {
        self.authority.owns(EntityId(entity), "bodies".into())
    }

    fn owned(&self) -> Vec<u64> {
        let mut owned: Vec<_> = self.authority.owned("bodies".into()).map(|entity| entity.0).collect();
        owned.sort_unstable();
        owned
    }
}

fn lease(region: u64, epoch: u64) -> v1::Lease {
    let (layer, min_x, max_x) = ("bodies".to_owned(), f64::NEG_INFINITY, 5.0);
    v1::Lease { region, layer, space: Some(0), min_x, max_x, epoch, ..Default::default() }
}

fn words(region: u64, epoch: u64, gained: bool, entities: &[u64]) -> Body {
    let (layer, entities) = ("bodies".to_owned(), entities.to_vec());
    let changes = vec![v1::EntityChanges { layer, region, epoch, gained, entities }];
    Body::Entities(v1::EntityAuthority { changes })
}

fn lost(region: u64, epoch: u64) -> Body {
    Body::Lost(v1::RegionLost { region, epoch, reason: v1::LossReason::HandedOver.into() })
}

fn imminent(region: u64, epoch: u64) -> Body {
    Body::LossImminent(v1::LossImminent { region, epoch, until_us: 9 })
}

#[test]
fn entities_are_owned_from_when_they_and_their_region_came() {
    let mut told = Told::new();
    assert_eq!(told.hears(words(1, 3, true, &[7, 8])), []);
    assert!(!told.owns(7), "the region is still to come");
    assert_eq!(told.hears(Body::Gained(lease(1, 3))), [('+', vec![7, 8])]);
    assert_eq!(told.owned(), [7, 8]);
    assert_eq!(told.hears(words(1, 3, true, &[8, 9])), [('+', vec![9])], "it may be told again");
    assert_eq!(told.hears(words(1, 3, false, &[7, 40])), [('-', vec![7])]);
    let components = [HP, ComponentId::POSITION, TAG, ComponentId::METADATA];
    let of = components.map(|component| told.authority.owns(EntityId(8), component.into()));
    assert_eq!(of, [true, true, false, false], "what its layer writes, and nothing else");
    assert!(
        !told.authority.owns(EntityId(8), "tags".into()) && !told.authority.owns(EntityId(8), "no".into())
    );
    let region = told.authority.regions().next().expect("one");
    assert_eq!((region.id, region.space, region.area.max.x), (RegionId(1), Some(SpaceId(0)), 5.0));
}

#[test]
fn a_lost_region_takes_with_it_what_came_up_to_its_grant() {
    let mut told = Told::new();
    told.tell(Body::Gained(lease(1, 3)));
    told.tell(words(1, 3, true, &[7, 8]));
    told.tell(words(1, 5, true, &[8]));
    assert_eq!(told.hears(lost(1, 3)), [('-', vec![7, 8])]);
    assert_eq!(told.hears(Body::Gained(lease(1, 5))), [('+', vec![8])]);
}

#[test]
fn joined_regions_keep_what_both_had() {
    let mut told = Told::new();
    for (region, epoch) in [(1, 3), (2, 4)] {
        told.tell(Body::Gained(lease(region, epoch)));
        told.tell(words(region, epoch, true, &[region * 10]));
    }
    assert_eq!(told.hears(Body::Joined(v1::RegionJoined { gone: 2, keep: 1 })), []);
    assert_eq!(told.hears(Body::Shaped(lease(1, 4))), []);
    assert_eq!((told.owned(), told.authority.regions().count()), (vec![10, 20], 1));
    assert_eq!(told.hears(lost(1, 4)), [('-', vec![10, 20])]);
}

#[test]
fn a_worker_lets_go_once_it_has_flushed_and_until_it_keeps_the_region() {
    let mut told = Told::new();
    told.tell(Body::Gained(lease(1, 3)));
    told.tell(words(1, 3, true, &[7]));
    let heard = told.tell(imminent(1, 3));
    let [Event::LossImminent { region, until_us: 9 }] = heard.as_slice() else { panic!("{heard:?}") };
    told.authority.report.hand(region.id, region.epoch);
    assert!(told.owns(7), "it still writes");
    assert!(!told.authority.report.is_urgent());
    told.authority.flush_handed();
    assert_eq!((told.owns(7), told.owned()), (false, vec![]));
    let report = told.authority.report.take(3);
    assert_eq!(report.flushed, [v1::RegionGrant { region: 1, epoch: 3 }]);
    assert!(!told.authority.report.is_due());
    told.tell(Body::Kept(v1::RegionGrant { region: 1, epoch: 3 }));
    assert!(told.owns(7));

    told.authority.report.hand(RegionId(1), Epoch(3));
    told.tell(Body::Kept(v1::RegionGrant { region: 1, epoch: 3 }));
    told.authority.flush_handed();
    assert!(told.owns(7) && !told.authority.report.is_due(), "nothing is to be flushed any more");
}

#[test]
fn what_is_seen_and_warm_is_reported_once() {
    let mut told = Told::new();
    told.tell(words(1, 3, true, &[7]));
    assert!(!told.authority.report.is_due(), "entities alone are no reason to say so");
    told.tell(Body::Gained(lease(1, 3)));
    assert!(told.authority.report.is_due() && !told.authority.report.is_urgent());
    told.tell(Body::Warm(lease(2, 4)));
    assert!(told.authority.report.is_urgent(), "somebody waits");
    let report = told.authority.report.take(told.authority.seen());
    assert_eq!((report.authority_seen, report.warmed), (3, vec![2]));
    assert!(!told.authority.report.is_due());
}

#[test]
fn who_drains_is_done_when_nothing_is_left() {
    let mut told = Told::new();
    told.tell(Body::Gained(lease(1, 3)));
    assert_eq!(told.tell(Body::Drain(v1::WorkerDrain {})), [Event::Draining]);
    assert_eq!(told.tell(lost(1, 3)).last(), Some(&Event::Drained));
    assert_eq!(told.tell(words(1, 3, false, &[7])), []);
    let mut idle = Told::new();
    assert_eq!(idle.tell(Body::Drain(v1::WorkerDrain {})), [Event::Draining, Event::Drained]);
}

#[test]
fn a_new_session_owns_nothing_and_a_gap_is_noticed() {
    let mut told = Told::new();
    told.tell(Body::Gained(lease(1, 3)));
    told.tell(words(1, 3, true, &[7]));
    told.authority.begin(&[layer("bodies", &[HP])]);
    assert_eq!((told.owned(), told.authority.seen(), told.authority.report.is_due()), (vec![], 0, false));
    let late = v1::Authority { number: 3, body: None };
    assert_eq!(told.authority.accept(late).expect_err("a gap"), "authority message 3 came where 1 was due");
    told.authority.begin(&[]);
    assert!(told.authority.is_open() && told.owns(99), "without layers anybody may write anything");
}
