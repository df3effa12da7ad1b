//! Views that entities give the session: beside its own, for as long as the entities say so.
//!
//! Responsible for: which of them are in force. They count against the session's limits; what does not fit beside its own
//! views, entity by entity in the order of their ids, is left out whole until there is room.
//! Not responsible for: who gives what (the book of interests), or what an Interest says (the edge reads it).

use std::collections::BTreeMap;
use std::sync::Arc;

use spatialdb_types::{EntityId, Error, ID_END, Limits, Reason, ViewId};

use super::{Load, Session, Surroundings, ViewState};
use crate::interest::View;

/// What entities give.
#[derive(Debug, Default)]
pub(super) struct Interests {
    list: BTreeMap<EntityId, Interest>,
    /// How many ids of views were given out.
    ids: u64,
    /// What was left out and has not been told.
    left_out: Vec<(EntityId, Error)>,
}

/// What an entity gives.
#[derive(Debug)]
struct Interest {
    views: Arc<[View]>,
    /// Its views that are in force.
    in_force: Vec<ViewId>,
    is_left_out: bool,
}

impl Interest {
    const fn new(views: Arc<[View]>) -> Self {
        Self { views, in_force: Vec::new(), is_left_out: false }
    }
}

/// Refuses views that no session could ever have.
///
/// # Errors
/// `QUERY_INVALID` naming the part, or the limit that they pass.
pub fn check_interest(views: &[View], limits: &Limits) -> Result<(), Error> {
    let checked = views.iter().try_for_each(|view| view.check(limits));
    let fits = checked.and_then(|()| Load::of(views).check(limits));
    fits.map_err(|error| Error::new(Reason::QueryInvalid, error.detail))
}

/// Whether the view is one that an entity gives: the client's own have ids that travel on the wire.
pub(super) const fn is_given(view: ViewId) -> bool {
    view.0 >= ID_END
}

impl Session {
    /// Replaces what entities give. Ids of views do not matter; a view that an entity gave before stays as it is.
    pub fn set_interests(&mut self, list: &BTreeMap<EntityId, Arc<[View]>>) {
        let mut before = std::mem::take(&mut self.interests.list);
        for (&entity, views) in list {
            let interest = match before.remove(&entity) {
                Some(old) if old.views == *views => old,
                Some(old) => Interest { in_force: old.in_force, ..Interest::new(views.clone()) },
                None => Interest::new(views.clone()),
            };
            self.interests.list.insert(entity, interest);
        }
        let gone: Vec<ViewId> = before.into_values().flat_map(|old| old.in_force).collect();
        gone.iter().for_each(|id| _ = self.views.shift_remove(id));
        if self.fit_interests() || !gone.is_empty() {
            self.send_views();
        }
    }

    /// The entities whose views do not fit, and why: each is told once, until it gives something else or fits again.
    pub fn take_left_out(&mut self) -> Vec<(EntityId, Error)> {
        std::mem::take(&mut self.interests.left_out)
    }

    /// The entities whose views are in force.
    pub fn interests_in_force(&self) -> impl Iterator<Item = EntityId> {
        self.interests.list.iter().filter(|(_, interest)| !interest.is_left_out).map(|(&entity, _)| entity)
    }

    /// Brings into force what fits, and takes out what does not. Returns whether that changes the session's views.
    pub(super) fn fit_interests(&mut self) -> bool {
        let own = self.views.iter().filter(|(id, _)| !is_given(**id));
        let mut load = Load::of(own.map(|(_, state)| &state.asked));
        let mut has_changed = false;
        let mut list = std::mem::take(&mut self.interests.list);
        for (&entity, interest) in &mut list {
            let mut with = load;
            interest.views.iter().for_each(|view| with.add(view));
            let checked = interest.views.iter().try_for_each(|view| view.check(&self.limits));
            match checked.and_then(|()| with.check(&self.limits)) {
                Ok(()) => {
                    load = with;
                    interest.is_left_out = false;
                    has_changed |= self.bring_into_force(interest);
                }
                Err(error) => {
                    if !std::mem::replace(&mut interest.is_left_out, true) {
                        self.interests.left_out.push((entity, error));
                    }
                    has_changed |= !interest.in_force.is_empty();
                    interest.in_force.drain(..).for_each(|id| _ = self.views.shift_remove(&id));
                }
            }
        }
        self.interests.list = list;
        has_changed
    }

    /// Starts the views that are new and ends those that are no more; the others go on.
    fn bring_into_force(&mut self, interest: &mut Interest) -> bool {
        let mut old = std::mem::take(&mut interest.in_force);
        let mut has_changed = false;
        for view in &*interest.views {
            let same = |id: &ViewId| self.views.get(id).is_some_and(|state| state.asked.shows_same(view));
            let id = match old.iter().position(same) {
                Some(at) => old.remove(at),
                None => {
                    has_changed = true;
                    self.start_given(view)
                }
            };
            interest.in_force.push(id);
        }
        has_changed |= !old.is_empty();
        old.iter().for_each(|id| _ = self.views.shift_remove(id));
        has_changed
    }

    fn start_given(&mut self, view: &View) -> ViewId {
        let id = ViewId(ID_END + self.interests.ids);
        self.interests.ids += 1;
        let asked = View { id, version: self.version + 1, ..view.clone() };
        let around = Surroundings(&self.anchors, &self.territory);
        let state = ViewState::new(asked, &around, self.all());
        self.views.insert(id, state);
        id
    }
}

#[cfg(test)]
mod tests {
    use spatialdb_types::{PartitionId, SessionId};

    use super::super::ToPartition;
    use super::*;
    use crate::interest::{Constraint, Part, ViewSet};
    use crate::message::{Delta, Filled, ToSession};

    const CAR: EntityId = EntityId(7);
    const BUS: EntityId = EntityId(8);

    fn view(radius_m: f64) -> View {
        let constraint = Constraint::Near { entity: CAR, radius_m };
        View::new(ViewId(0), Part { constraint, components: Arc::new([]), interval_us: 0 })
    }

    fn own(id: u64) -> View {
        View { id: ViewId(id), ..view(id as f64) }
    }

    fn session(views_max: u64) -> Session {
        let limits = Limits { session_views_max: views_max, ..Limits::default() };
        Session::new(SessionId(1), 1, limits)
    }

    fn give(session: &mut Session, list: &[(EntityId, &[f64])]) {
        let interest = |(entity, radii): &(EntityId, &[f64])| {
            let views: Vec<View> = radii.iter().map(|&radius_m| view(radius_m)).collect();
            (*entity, views.into())
        };
        session.set_interests(&list.iter().map(interest).collect());
    }

    /// The last set that the partition is told: id and version of each view.
    fn told(session: &mut Session) -> Option<Vec<(u64, u64)>> {
        let set = session.drain_outbox().filter_map(|(_, message)| match message {
            ToPartition::SetViews(_, set) => Some(set),
            _ => None,
        });
        let ids = |set: ViewSet| set.views.iter().map(|view| (view.id.0, view.version)).collect();
        set.map(ids).next_back()
    }

    fn left_out(session: &mut Session) -> Vec<(EntityId, Reason)> {
        session.take_left_out().into_iter().map(|(entity, error)| (entity, error.reason)).collect()
    }

    #[test]
    fn a_change_sends_the_difference_only() {
        let mut session = session(9);
        give(&mut session, &[(CAR, &[1.0, 2.0]), (BUS, &[1.0])]);
        let all = |versions: [u64; 3]| (0..3).map(|i| (ID_END + i, versions[i as usize])).collect();
        assert_eq!(told(&mut session), Some(all([1, 1, 1])));
        // The same again, in whatever order its views stand, is no change.
        give(&mut session, &[(CAR, &[2.0, 1.0]), (BUS, &[1.0])]);
        assert_eq!(told(&mut session), None);
        give(&mut session, &[(CAR, &[2.0, 3.0]), (BUS, &[1.0])]);
        assert_eq!(told(&mut session), Some(vec![(ID_END + 1, 1), (ID_END + 2, 1), (ID_END + 3, 2)]));
        give(&mut session, &[(CAR, &[])]);
        assert_eq!(told(&mut session), Some(vec![]));
        assert_eq!(session.interests_in_force().collect::<Vec<_>>(), [CAR]);
    }

    #[test]
    fn what_does_not_fit_is_left_out_whole_until_there_is_room() {
        let mut session = session(3);
        session.subscribe(own(1)).expect("room");
        give(&mut session, &[(CAR, &[1.0]), (BUS, &[1.0, 2.0])]);
        assert_eq!(left_out(&mut session), [(BUS, Reason::LimitReached)]);
        assert_eq!(session.view_count(), 2);
        give(&mut session, &[(CAR, &[9.0]), (BUS, &[1.0, 2.0])]);
        assert_eq!(left_out(&mut session), [], "it is told once");
        session.end_view(ViewId(1)).expect("its own");
        assert_eq!(session.interests_in_force().collect::<Vec<_>>(), [CAR, BUS]);
        // Its own go first: what entities give makes room.
        session.subscribe(own(1)).expect("its own");
        assert_eq!(left_out(&mut session), [(BUS, Reason::LimitReached)]);
        assert_eq!(session.view_count(), 2);
        [2, 3].into_iter().for_each(|id| session.subscribe(own(id)).expect("its own"));
        assert_eq!(left_out(&mut session), [(CAR, Reason::LimitReached)]);
        assert_eq!(session.subscribe(own(4)).expect_err("full").reason, Reason::LimitReached);
        [2, 3].into_iter().for_each(|id| session.end_view(ViewId(id)).expect("its own"));
        // The lower id goes first, and the other one has to make room.
        give(&mut session, &[(CAR, &[1.0, 2.0]), (BUS, &[1.0, 2.0])]);
        assert_eq!(session.interests_in_force().collect::<Vec<_>>(), [CAR]);
        assert_eq!(session.view_count(), 3);
    }

    #[test]
    fn the_client_neither_reaches_them_nor_hears_of_them() {
        let mut session = session(9);
        give(&mut session, &[(CAR, &[1.0])]);
        let id = ViewId(ID_END);
        let of = View { id, ..view(2.0) };
        assert_eq!(session.end_view(id).expect_err("not its own").reason, Reason::ViewNotFound);
        assert_eq!(session.change_view(of.clone()).expect_err("not its own").reason, Reason::ViewNotFound);
        assert_eq!(session.subscribe(of).expect_err("not an id").reason, Reason::QueryInvalid);
        let filled = Filled { version: 1, counts: vec![(id, 5)] };
        let delta = Delta { filled: Some(filled), ..Delta::default() };
        let message = ToSession { delta: Some(Box::new(delta)), ..ToSession::default() };
        assert!(!session.receive(PartitionId(0), message), "nothing to tell");
        assert_eq!(session.view_count(), 1);
    }
}
