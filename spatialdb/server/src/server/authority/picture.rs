//! Who owns what, as watchers see it: one picture for all of them.
//!
//! Responsible for: keeping it as the issuer says, and what differs between two pictures. Not responsible for: the wire
//! (`admin`), telling anybody.

use std::collections::BTreeMap;
use std::sync::Arc;

use spatialdb_core::authority::issuer::{Change, RegionState, WorkerState};
use spatialdb_types::{RegionId, SessionId};

/// All that there is to watch at one moment. What two pictures have in common is in memory once.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::server) struct Picture {
    pub(in crate::server) regions: BTreeMap<RegionId, Arc<RegionState>>,
    pub(in crate::server) workers: BTreeMap<SessionId, Arc<WorkerState>>,
    wanted: BTreeMap<String, u32>,
}

/// How many workers of a type there should be, and are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::server) struct Staff {
    pub(in crate::server) wanted: u32,
    pub(in crate::server) connected: u32,
    /// Of those, as many get nothing more.
    pub(in crate::server) draining: u32,
}

/// What one picture has and an earlier one has not.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::server) struct Difference {
    /// New, or other than before.
    pub(in crate::server) regions: Vec<Arc<RegionState>>,
    /// New, or other than before.
    pub(in crate::server) workers: Vec<Arc<WorkerState>>,
    /// Other than before.
    pub(in crate::server) staff: Vec<(String, Staff)>,
    pub(in crate::server) regions_gone: Vec<RegionId>,
    pub(in crate::server) workers_gone: Vec<SessionId>,
}

impl Picture {
    /// Something is as the issuer says from now on.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Region(state) => _ = self.regions.insert(state.region, Arc::new(state)),
            Change::RegionGone(region) => _ = self.regions.remove(&region),
            Change::Worker(state) => _ = self.workers.insert(state.session, Arc::new(state)),
            Change::WorkerGone(session) => _ = self.workers.remove(&session),
            Change::Wanted(worker_type, count) => _ = self.wanted.insert(worker_type, count),
        }
    }

    /// Of each type that serves regions.
    pub(in crate::server) fn staff(&self) -> BTreeMap<String, Staff> {
        let mut staff: BTreeMap<String, Staff> = BTreeMap::new();
        for (worker_type, &wanted) in &self.wanted {
            staff.insert(worker_type.clone(), Staff { wanted, ..Staff::default() });
        }
        for worker in self.workers.values() {
            if let Some(staff) = staff.get_mut(&worker.worker_type) {
                staff.connected += 1;
                staff.draining += u32::from(worker.is_draining);
            }
        }
        staff
    }

    /// How many regions a worker has.
    pub(in crate::server) fn owned_by(&self, session: SessionId) -> usize {
        self.regions.values().filter(|region| region.lease.owner == Some(session)).count()
    }

    /// What is other than in an earlier picture.
    pub(in crate::server) fn since(&self, before: &Self) -> Difference {
        let staff_before = before.staff();
        let mut staff: Vec<_> = self.staff().into_iter().collect();
        staff.retain(|(worker_type, now)| staff_before.get(worker_type) != Some(now));
        Difference {
            regions: changed(&self.regions, &before.regions),
            workers: changed(&self.workers, &before.workers),
            staff,
            regions_gone: gone(&self.regions, &before.regions),
            workers_gone: gone(&self.workers, &before.workers),
        }
    }
}

impl Difference {
    pub(in crate::server) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn changed<K: Ord, V: PartialEq>(now: &BTreeMap<K, Arc<V>>, before: &BTreeMap<K, Arc<V>>) -> Vec<Arc<V>> {
    let is_same = |old: &Arc<V>, new: &Arc<V>| Arc::ptr_eq(old, new) || old == new;
    let is_new = |(key, state): &(&K, &Arc<V>)| before.get(*key).is_none_or(|old| !is_same(old, state));
    now.iter().filter(is_new).map(|(_, state)| state.clone()).collect()
}

fn gone<K: Ord + Copy, V>(now: &BTreeMap<K, V>, before: &BTreeMap<K, V>) -> Vec<K> {
    before.keys().filter(|key| !now.contains_key(key)).copied().collect()
}

#[cfg(test)]
mod tests {
    use spatialdb_core::authority::issuer::Phase;
    use spatialdb_core::authority::leases::Lease;
    use spatialdb_types::{Box3, Epoch, LayerId};

    use super::*;

    fn region(id: u64, owner: u32) -> Change {
        Change::Region(RegionState {
            region: RegionId(id),
            layer: LayerId(0),
            space: None,
            player: None,
            area: Box3::EVERYWHERE,
            lease: Lease::granted(Epoch(id), SessionId(owner)),
            phase: Phase::Owned,
            before: None,
            is_pinned: false,
            pinned_to: None,
            load: 0,
        })
    }

    fn worker(session: u32, is_draining: bool) -> Change {
        Change::Worker(WorkerState {
            session: SessionId(session),
            worker_type: "sim".to_owned(),
            name: format!("sim-{session}"),
            regions_max: 9,
            is_silent: false,
            is_stalled: false,
            is_draining,
            seen: Epoch(0),
        })
    }

    fn drawn(changes: impl IntoIterator<Item = Change>) -> Picture {
        let mut picture = Picture::default();
        changes.into_iter().for_each(|change| picture.apply(change));
        picture
    }

    #[test]
    fn who_missed_much_is_told_the_latest_and_nothing_twice() {
        let before =
            drawn([worker(1, false), region(1, 1), region(2, 1), Change::Wanted("sim".to_owned(), 1)]);
        let mut now = before.clone();
        for change in
            [region(1, 2), worker(2, false), region(3, 2), region(1, 3), Change::RegionGone(RegionId(3))]
        {
            now.apply(change);
        }
        now.apply(Change::RegionGone(RegionId(2)));
        let told = now.since(&before);
        let regions: Vec<_> = told.regions.iter().map(|state| (state.region.0, state.lease.owner)).collect();
        assert_eq!(regions, [(1, Some(SessionId(3)))], "one that came and went meanwhile is not told");
        assert_eq!(
            (told.workers.len(), &told.regions_gone, told.workers_gone.len()),
            (1, &vec![RegionId(2)], 0)
        );
        let staff = Staff { wanted: 1, connected: 2, draining: 0 };
        assert_eq!(told.staff, [("sim".to_owned(), staff)]);
        assert!(now.since(&now.clone()).is_empty());
    }

    #[test]
    fn what_is_as_before_again_is_not_told() {
        let before = drawn([region(1, 1), worker(1, false)]);
        let mut now = before.clone();
        [region(1, 2), region(1, 1), worker(1, true), worker(1, false)]
            .into_iter()
            .for_each(|c| now.apply(c));
        assert!(now.since(&before).is_empty());
    }

    #[test]
    fn all_differences_make_the_picture_again() {
        let steps = [
            vec![region(1, 1), worker(1, false), Change::Wanted("sim".to_owned(), 1)],
            vec![region(2, 1), worker(2, false)],
            vec![region(2, 2), worker(1, true), Change::Wanted("sim".to_owned(), 2)],
            vec![Change::RegionGone(RegionId(1)), Change::WorkerGone(SessionId(1))],
        ];
        let (mut now, mut told, mut copy) = (Picture::default(), Picture::default(), Picture::default());
        for (step, changes) in steps.into_iter().enumerate() {
            changes.into_iter().for_each(|change| now.apply(change));
            // Every second one is missed.
            if step % 2 == 1 {
                let difference = now.since(&told);
                told = now.clone();
                difference.regions.iter().for_each(|state| copy.apply(Change::Region((**state).clone())));
                difference.workers.iter().for_each(|state| copy.apply(Change::Worker((**state).clone())));
                difference.regions_gone.iter().for_each(|id| copy.apply(Change::RegionGone(*id)));
                difference.workers_gone.iter().for_each(|id| copy.apply(Change::WorkerGone(*id)));
                assert_eq!((&copy.regions, &copy.workers), (&now.regions, &now.workers));
            }
        }
    }
}
