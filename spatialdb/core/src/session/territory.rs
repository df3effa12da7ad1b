//! Where the session's own regions are, and those that it may get: what views of its own regions follow.
//!
//! Responsible for: when a worker is told to get warm. If it has views that follow regions, that is when they show the
//! region and what lies around it, so it has nothing to do for it. Not responsible for: what it may write.

use std::collections::BTreeMap;

use spatialdb_types::{LayerId, RegionId};

use super::Session;
use super::after::After;
use crate::authority::issuer::{LeaseInfo, Notice};
use crate::interest::Realm;

/// The regions of a session.
#[derive(Debug, Default)]
pub(super) struct Territory {
    regions: BTreeMap<RegionId, Place>,
}

#[derive(Debug)]
struct Place {
    layer: LayerId,
    realm: Realm,
    standing: Standing,
}

#[derive(Debug)]
enum Standing {
    /// It is the session's own.
    Own,
    /// It may get it, and the worker is told when views of this version are filled.
    Filling(u64, LeaseInfo),
    /// The same; frames that are on their way show it.
    Shown(LeaseInfo),
    /// It may get it, and the worker knows.
    Told,
}

impl Place {
    fn new(lease: &LeaseInfo, standing: Standing) -> Self {
        let realm = match (&lease.player, lease.space) {
            (Some(player), _) => Realm::Player(player.clone()),
            (None, Some(space)) => Realm::Box(space, lease.area),
            (None, None) => Realm::Nowhere,
        };
        Self { layer: lease.layer, realm, standing }
    }
}

impl Territory {
    /// The regions of a layer.
    pub(super) fn of(&self, layer: LayerId) -> impl Iterator<Item = &Realm> {
        self.regions.values().filter(move |place| place.layer == layer).map(|place| &place.realm)
    }

    /// Takes a notice to heart. Returns whether the worker is to hear it.
    fn hear(&mut self, notice: &Notice) -> bool {
        match notice {
            Notice::Gained(lease) | Notice::Shaped(lease) => {
                self.regions.insert(lease.region, Place::new(lease, Standing::Own));
            }
            Notice::Warm(lease) => {
                self.regions.insert(lease.region, Place::new(lease, Standing::Told));
            }
            Notice::Cool(region) => {
                let place = self.regions.remove(region);
                return place.is_some_and(|place| matches!(place.standing, Standing::Told));
            }
            Notice::Joined(gone, _) | Notice::Lost(gone, ..) => drop(self.regions.remove(gone)),
            Notice::Borders(..) | Notice::LossImminent(..) | Notice::Kept(..) | Notice::Drain => {}
        }
        true
    }

    /// All partitions have filled the views of this version. Returns the regions that they show since.
    fn filled(&mut self, version: u64) -> Vec<RegionId> {
        let mut shown = Vec::new();
        for (region, place) in &mut self.regions {
            if let Standing::Filling(since, lease) = &place.standing
                && *since <= version
            {
                place.standing = Standing::Shown(lease.clone());
                shown.push(*region);
            }
        }
        shown
    }
}

impl Session {
    /// The issuer has something to tell the worker.
    pub fn notice(&mut self, notice: Notice) {
        let is_news = self.territory.hear(&notice);
        let is_followed = self.views.values().any(|state| state.asked.follows_regions());
        if is_followed {
            self.follow();
        }
        match notice {
            Notice::Warm(lease) if is_followed => {
                let (region, version) = (lease.region, self.version);
                self.territory
                    .regions
                    .insert(region, Place::new(&lease, Standing::Filling(version, lease.clone())));
                self.note_filled();
            }
            notice if is_news => self.announce(notice),
            _ => {}
        }
    }

    /// The worker has all frames that show a region that it may get, and what lies around it.
    pub(super) fn told_all_around(&mut self, region: RegionId) {
        let Some(place) = self.territory.regions.get_mut(&region) else { return };
        if let Standing::Shown(lease) = &place.standing {
            let lease = lease.clone();
            place.standing = Standing::Told;
            self.announce(Notice::Warm(lease));
        }
    }

    /// A partition may have filled the session's views.
    pub(super) fn note_filled(&mut self) {
        let filled = self.partitions.iter().map(|partition| partition.filled).min();
        for region in self.territory.filled(filled.unwrap_or(0)) {
            self.say_after(After::Warm(region));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use spatialdb_types::{Box3, Epoch, Limits, PartitionId, Point3, SessionId, SpaceId, ViewId};

    use super::*;
    use crate::authority::issuer::LossReason;
    use crate::interest::{Constraint, OwnedLayer, Part, View};
    use crate::message::{Delta, Filled, ToSession};
    use crate::session::{AuthorityBody, ToPartition};

    const LAYER: LayerId = LayerId(0);
    const R1: RegionId = RegionId(1);
    const R2: RegionId = RegionId(2);

    fn lease(region: RegionId, x: f64) -> LeaseInfo {
        let corner = |x| Point3::new(x, 0.0, 0.0);
        let area = Box3 { min: corner(x), max: corner(x + 10.0) };
        let (space, epoch, borders) = (Some(SpaceId(0)), Epoch(region.0), Vec::new());
        LeaseInfo { region, layer: LAYER, space, player: None, area, epoch, borders }
    }

    /// A session over two partitions with a view of its own regions and 5 m around.
    fn session() -> Session {
        let mut session = Session::new(SessionId(1), 2, Limits::default());
        let constraint = Constraint::Owned(Arc::new([OwnedLayer { layer: LAYER, margin_m: 5.0 }]));
        let part = Part { constraint, components: Arc::new([]), interval_us: 0 };
        session.subscribe(View::new(ViewId(1), part)).expect("a view");
        session
    }

    /// From where to where its view looks along x, as the partitions were told last.
    fn looks(session: &mut Session) -> Option<Vec<(f64, f64)>> {
        let mut sets = session.drain_outbox().filter_map(|(_, message)| match message {
            ToPartition::SetViews(_, set) => Some(set),
            _ => None,
        });
        let set = sets.next_back()?;
        let Constraint::Or(boxes) = &set.views[0].parts[0].constraint else { panic!("{set:?}") };
        let along = |part: &Constraint| match part {
            Constraint::Box { bounds, .. } => (bounds.min.x, bounds.max.x),
            other => panic!("{other:?}"),
        };
        Some(boxes.iter().map(along).collect())
    }

    fn fill(session: &mut Session, partition: u16) {
        let filled = Some(Filled { version: session.version, counts: vec![] });
        let delta = Some(Box::new(Delta { filled, ..Delta::default() }));
        session.receive(PartitionId(partition), ToSession { delta, ..ToSession::default() });
    }

    fn hears(session: &mut Session) -> Vec<Notice> {
        let next = |session: &mut Session| match session.take_authority()?.body {
            AuthorityBody::Notice(notice) => Some(notice),
            other => panic!("not a notice: {other:?}"),
        };
        std::iter::from_fn(|| next(session)).collect()
    }

    #[test]
    fn a_view_of_its_regions_follows_them() {
        let mut session = session();
        assert_eq!(looks(&mut session), Some(vec![]), "nothing is its own");
        session.notice(Notice::Gained(lease(R1, 0.0)));
        assert_eq!(looks(&mut session), Some(vec![(-5.0, 15.0)]));
        session.notice(Notice::Borders(R1, vec![]));
        assert_eq!(looks(&mut session), None, "that changes nothing");
        session.notice(Notice::Shaped(lease(R1, 20.0)));
        session.notice(Notice::Gained(lease(R2, 0.0)));
        assert_eq!(looks(&mut session), Some(vec![(15.0, 35.0), (-5.0, 15.0)]));
        session.notice(Notice::Lost(R1, Epoch(1), LossReason::HandedOver));
        assert_eq!(looks(&mut session), Some(vec![(-5.0, 15.0)]));
        assert_eq!(hears(&mut session).len(), 5, "it hears of all that");
    }

    #[test]
    fn the_worker_is_told_to_get_warm_when_it_has_seen_what_is_there() {
        let mut session = session();
        session.notice(Notice::Warm(lease(R1, 0.0)));
        assert_eq!(looks(&mut session), Some(vec![(-5.0, 15.0)]));
        fill(&mut session, 0);
        assert!(!session.has_frame() && !session.has_authority(), "one partition has not filled it");
        // The last of it is on its way.
        session.sending = Some(Vec::new());
        fill(&mut session, 1);
        assert!(!session.has_authority(), "not before it is sent");
        session.frame_sent();
        assert_eq!(hears(&mut session), [Notice::Warm(lease(R1, 0.0))]);
        session.notice(Notice::Cool(R1));
        assert_eq!((hears(&mut session), looks(&mut session)), (vec![Notice::Cool(R1)], Some(vec![])));
    }

    #[test]
    fn what_it_need_not_look_at_any_more_it_is_not_told_of() {
        let mut session = session();
        session.notice(Notice::Warm(lease(R1, 0.0)));
        session.sending = Some(Vec::new());
        (0..2).for_each(|partition| fill(&mut session, partition));
        session.notice(Notice::Cool(R1));
        session.frame_sent();
        assert!(!session.has_authority());
        // Nor once it has it.
        session.notice(Notice::Warm(lease(R1, 0.0)));
        session.notice(Notice::Gained(lease(R1, 0.0)));
        (0..2).for_each(|partition| fill(&mut session, partition));
        assert!(!session.has_frame());
        assert_eq!(hears(&mut session), [Notice::Gained(lease(R1, 0.0))]);
    }

    #[test]
    fn without_such_a_view_it_is_told_at_once() {
        let mut session = Session::new(SessionId(1), 2, Limits::default());
        session.notice(Notice::Warm(lease(R1, 0.0)));
        assert_eq!(hears(&mut session), [Notice::Warm(lease(R1, 0.0))]);
    }
}
