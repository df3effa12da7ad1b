//! Entities that give sessions views: the book of interests between partitions and sessions, and its judge.
//!
//! Responsible for: carrying what partitions tell to the book, late and in any order between partitions, and a page to a
//! session, late too. The judge knows from the components of all entities alone which views a session must have.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use spatialdb_core::interest::Values;
use spatialdb_core::{Constraint, InterestBook, InterestChange, View};
use spatialdb_types::{ComponentId, EntityId, PartitionId, SessionId, ViewId};

use crate::actor::Actor;
use crate::bug::Bug;
use crate::driver::{Link, Sim};
use crate::judge::{Failure, Truth};
use crate::rng::Rng;
use crate::values;
use crate::world::Plan;

/// Names that several sessions have, one after the other or of several worker types, and names of single ones.
pub(crate) const NAMES: [&str; 5] = ["ann", "bob", "sim-1", "sim-2", "game-3"];

/// Worker types of sessions.
pub(crate) const TYPES: [&str; 2] = ["sim", "game"];

/// Ids that given constraints name.
const NAMED_MAX: EntityId = EntityId(60);

/// The book, and what is on its way to it.
#[derive(Debug)]
pub(crate) struct Interests {
    book: InterestBook,
    queues: Vec<VecDeque<InterestChange>>,
}

impl Interests {
    /// An empty book of a world of so many partitions.
    pub(crate) fn new(partitions: usize) -> Self {
        Self { book: InterestBook::default(), queues: (0..partitions).map(|_| VecDeque::new()).collect() }
    }

    /// What is on its way from a partition.
    pub(crate) fn queue(&mut self, partition: usize) -> &mut VecDeque<InterestChange> {
        &mut self.queues[partition]
    }
}

impl Sim {
    /// Carries what a partition tells of interests.
    pub(crate) fn send_interests(&mut self, p: usize, changes: Vec<InterestChange>) {
        for change in changes {
            let is_lost = match change {
                InterestChange::Given { .. } => self.bugs.hits(Bug::LoseInterest),
                InterestChange::Ended(_) => self.bugs.hits(Bug::LoseInterestEnd),
                InterestChange::Restarted => false,
            };
            if is_lost {
                continue;
            }
            let queue = self.interests.queue(p);
            let before = queue.len();
            queue.push_back(change);
            if before > 0 && self.bugs.hits(Bug::SwapInterests) {
                queue.swap(before - 1, before);
            }
            self.mark_busy(Link::Told(p), before);
        }
    }

    /// The book hears what a partition tells.
    pub(crate) fn hear_interest(&mut self, p: usize, change: InterestChange) {
        self.say(|| format!("partition {p} -> book: {change:?}"));
        self.interests.book.hear(PartitionId(p as u16), change);
        self.turn_pages();
    }

    /// A session opens.
    pub(crate) fn open_page(&mut self, session: SessionId, name: &str) {
        self.interests.book.open(session, name);
        self.turn_pages();
    }

    /// A session is over.
    pub(crate) fn close_page(&mut self, session: SessionId) {
        self.interests.book.close(session);
    }

    /// Sessions whose page has changed are to hear of it.
    fn turn_pages(&mut self) {
        let changed: Vec<SessionId> = self.interests.book.take_changed().collect();
        for session in changed {
            let is_it = |actor: &Actor| actor.id == session && actor.live;
            if let Some(a) = self.actors.iter().position(is_it)
                && !self.bugs.hits(Bug::LosePage)
            {
                let waits = self.busy()[Link::Page(a).kind()].contains(&Link::Page(a));
                self.mark_busy(Link::Page(a), usize::from(waits));
            }
        }
    }

    /// A session is told what entities give it.
    pub(crate) fn read_page(&mut self, a: usize) {
        let max = self.plan.limits.session_interests_max;
        let page = self.interests.book.page(self.actors[a].id, max);
        let views =
            |(entity, value): &(EntityId, Arc<[u8]>)| (*entity, self.plan.given_views(*entity, value));
        let list: BTreeMap<EntityId, Arc<[View]>> = page.interests.iter().map(views).collect();
        self.say(|| format!("session {} is given {list:?}", self.actors[a].id));
        let actor = &mut self.actors[a];
        list.values().flat_map(|views| views.iter()).for_each(|view| actor.replica.note_halves(view));
        actor.replica.heard.note_views();
        actor.session.set_interests(&list);
        actor.session.take_left_out();
        self.collect_session(a);
    }

    /// The book has those entities that give views, and no others.
    ///
    /// # Errors
    /// How many there are.
    pub(crate) fn judge_book(&self, truth: &Truth) -> Result<(), Failure> {
        let (is, has) = (givers(truth).count(), self.interests.book.entity_count());
        if is == has {
            return Ok(());
        }
        Err(Failure { judge: "interests", detail: format!("{is} entities give views, the book has {has}") })
    }

    /// The views that a session must have beside its own.
    ///
    /// # Errors
    /// It has others.
    pub(crate) fn given(&self, actor: &Actor, truth: &Truth) -> Result<Vec<View>, Failure> {
        let limits = &self.plan.limits;
        let fits = |views: &[View]| {
            let nodes: u64 = views.iter().map(View::nodes).sum();
            let parts: usize = views.iter().map(|view| view.parts.len().max(1)).sum();
            views.len() as u64 <= limits.session_views_max
                && parts as u64 <= limits.session_view_parts_max
                && nodes <= limits.session_constraint_nodes_max
        };
        let own: Vec<View> = actor.views.values().cloned().collect();
        let (mut all, mut entities) = (own.clone(), Vec::new());
        let owned = givers(truth).filter(|(_, owner, _)| *owner == actor.owner.name);
        for (entity, _, interest) in owned.take(limits.session_interests_max as usize) {
            let more = self.plan.given_views(entity, interest);
            let with = [&all[..], &more[..]].concat();
            if fits(&with) {
                all = with;
                entities.push(entity);
            }
        }
        let is: Vec<EntityId> = actor.session.interests_in_force().collect();
        if is != entities || actor.session.view_count() != all.len() {
            let detail = format!("entities {entities:?} give it views, it has those of {is:?}");
            return Err(Failure { judge: "interests", detail });
        }
        Ok(all.split_off(own.len()))
    }
}

/// Every entity that gives views, to whom, and which.
fn givers(truth: &Truth) -> impl Iterator<Item = (EntityId, String, &[u8])> {
    truth.iter().filter_map(|(&entity, fact)| {
        let owner = values::owner_in(fact.value(ComponentId::PLAYER_OWNER)?)?;
        Some((entity, owner, fact.value(ComponentId::INTEREST)?))
    })
}

impl Plan {
    /// What the value of an Interest says: most views follow the entity.
    pub(crate) fn given_views(&self, entity: EntityId, value: &[u8]) -> Arc<[View]> {
        let mut rng = Rng::new(values::number_in(value).unwrap_or_default());
        (0..rng.below(4)).map(|_| self.given_view(&mut rng, entity)).collect()
    }

    fn given_view(&self, rng: &mut Rng, entity: EntityId) -> View {
        let mut view = View { own_updates: false, ..self.entity_view(rng, ViewId(0), NAMED_MAX) };
        let near = Constraint::Near { entity, radius_m: rng.float(0.0, self.side_m / 2.0) };
        if rng.percent(40) {
            view.parts[0].constraint = near;
            view.parts.truncate(1);
        } else if rng.percent(70) {
            for part in &mut view.parts {
                part.constraint = Constraint::And(vec![near.clone(), part.constraint.clone()]);
            }
        }
        view
    }
}
