//! Queries over all partitions while the world goes on, and the judge of their answers.
//!
//! Responsible for: asking every partition at another moment. The judge knows what was there before the first was
//! asked and after the last has answered, entities on their way included: what was there all the time is in exactly
//! one answer, and what did not change is there as it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use spatialdb_core::interest::Subject;
use spatialdb_core::{Constraint, EntityState, MovedEntity, Outbox, PeerBody, Query, QueryAnswer};
use spatialdb_types::{ComponentId, EntityId};

use crate::driver::Sim;
use crate::judge::{Failure, everything};

/// Queries asked, one at a time.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    last: u64,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    query: Arc<[Query]>,
    /// The partitions that the edge has not asked yet.
    unasked: Vec<usize>,
    before: BTreeMap<EntityId, EntityState>,
    /// What each partition answers to each query.
    answers: Vec<Vec<QueryAnswer>>,
}

impl Cuts {
    /// A partition was restarted: its answer may be lost, and the edge gives up.
    pub(crate) fn give_up(&mut self) {
        self.current = None;
    }

    /// A partition has answered.
    pub(crate) fn answer(&mut self, cut: u64, answers: Vec<QueryAnswer>) {
        if let Some(current) = self.current.as_mut().filter(|_| cut == self.last) {
            current.answers.push(answers);
        }
    }
}

impl Sim {
    /// Asks a partition that was not asked yet; if all were, asks something new.
    ///
    /// # Errors
    /// What is wrong with the last answers.
    pub(crate) fn ask(&mut self) -> Result<(), Failure> {
        if self.cuts.current.is_none() {
            self.begin_cut();
        }
        self.ask_next();
        self.judge_cut()
    }

    /// Asks those that were not asked yet. Returns whether there were any.
    ///
    /// # Errors
    /// What is wrong with the last answers.
    pub(crate) fn finish_asking(&mut self) -> Result<bool, Failure> {
        let mut any = false;
        while self.ask_next() {
            any = true;
        }
        self.judge_cut()?;
        Ok(any)
    }

    /// At rest every query is answered.
    ///
    /// # Errors
    /// One is not.
    pub(crate) fn judge_answered(&self) -> Result<(), Failure> {
        match &self.cuts.current {
            None => Ok(()),
            Some(current) => {
                let (told, all) = (current.answers.len(), self.partitions.len());
                fail(format!("{told} of {all} partitions have answered cut {}", self.cuts.last))
            }
        }
    }

    fn begin_cut(&mut self) {
        let query = (0..self.rng.between(1, 3)).map(|_| self.random_query()).collect();
        let unasked = (0..self.partitions.len()).collect();
        let before = self.everywhere();
        self.cuts.last += 1;
        self.cuts.current = Some(Current { query, unasked, before, answers: Vec::new() });
    }

    fn random_query(&mut self) -> Query {
        let constraint = if self.rng.percent(60) {
            Constraint::All
        } else {
            self.plan.any_constraint(&mut self.rng, self.world.ids.next())
        };
        let nearest_to = self.rng.one_in(3).then(|| self.plan.position(&mut self.rng));
        let limit = if self.rng.one_in(3) { self.rng.below(20) as usize } else { usize::MAX };
        Query { constraint, limit, nearest_to, ..everything() }
    }

    fn ask_next(&mut self) -> bool {
        let Some(current) = self.cuts.current.as_mut().filter(|c| !c.unasked.is_empty()) else {
            return false;
        };
        let p = current.unasked.swap_remove(self.rng.index(current.unasked.len()));
        let (cut, query) = (self.cuts.last, current.query.clone());
        self.say(|| format!("edge asks partition {p} for cut {cut}"));
        let mut outbox = Outbox::default();
        self.partitions[p].cut(cut, &query, &mut outbox);
        self.collect(p, outbox);
        true
    }

    fn judge_cut(&mut self) -> Result<(), Failure> {
        let all = self.partitions.len();
        let Some(current) = self.cuts.current.take_if(|c| c.answers.len() >= all) else { return Ok(()) };
        let after = self.everywhere();
        for (i, query) in current.query.iter().enumerate() {
            let answers: Vec<&QueryAnswer> = current.answers.iter().map(|answers| &answers[i]).collect();
            if answers.iter().any(|answer| answer.is_postponed) {
                if i == 0 {
                    return fail("the first query of a cut is postponed".to_owned());
                }
                continue;
            }
            judge_answer(query, &answers, &current.before, &after)?;
        }
        Ok(())
    }

    /// Every entity, those between partitions too.
    fn everywhere(&self) -> BTreeMap<EntityId, EntityState> {
        let held = self.partitions.iter().flat_map(|partition| states(&partition.query(&everything())));
        let moved = self.peer_messages().flat_map(|message| match &message.body {
            PeerBody::Move(entities) => &entities[..],
            _ => &[],
        });
        held.chain(moved.map(state_of)).map(|state| (state.entity, state)).collect()
    }
}

fn states(answer: &QueryAnswer) -> Vec<EntityState> {
    answer.hits().map(|hit| hit.state()).collect()
}

fn judge_answer(
    query: &Query,
    answers: &[&QueryAnswer],
    before: &BTreeMap<EntityId, EntityState>,
    after: &BTreeMap<EntityId, EntityState>,
) -> Result<(), Failure> {
    let mut found = BTreeMap::new();
    let told: usize = answers.iter().map(|answer| answer.len()).sum();
    let counted: u64 = answers.iter().map(|answer| answer.match_count).sum();
    let is_whole = query.limit == usize::MAX;
    if counted < told as u64 || (is_whole && counted != told as u64) {
        return fail(format!("{told} entities are told, {counted} are counted"));
    }
    for hit in answers.iter().flat_map(|answer| answer.hits()) {
        let (entity, state) = (hit.entity(), hit.state());
        let distance = distance_squared(&state, query);
        if !meets(&state, &query.constraint) || distance.is_none() {
            return fail(format!("{state:?} does not match {query:?}"));
        }
        if query.nearest_to.is_some() && distance != Some(hit.distance_squared()) {
            return fail(format!("{state:?} is not {} away", hit.distance_squared()));
        }
        if found.insert(entity, state).is_some() {
            return fail(format!("entity {entity} is told twice"));
        }
    }
    for (entity, was) in before {
        let Some(is) = after.get(entity) else { continue };
        match found.get(entity) {
            Some(told) => judge_constant(was, told, is)?,
            None if is_whole && must_match(was, is, query) => {
                return fail(format!("entity {entity} was there all the time and is not told of"));
            }
            None => {}
        }
    }
    Ok(())
}

/// How far away it is; 0 without an order, `None` in another space.
fn distance_squared(state: &EntityState, query: &Query) -> Option<f64> {
    let Some(from) = query.nearest_to else { return Some(0.0) };
    let (at, _) = state.position?;
    (at.space == from.space).then(|| at.point.distance_squared(from.point))
}

/// Whether an entity that was there before and after matched all the time. Components may have come and gone in between,
/// but what has the same revision again was never anything else.
fn must_match(before: &EntityState, after: &EntityState, query: &Query) -> bool {
    let constraint = &query.constraint;
    if query.nearest_to.is_some() {
        let stayed = before.position == after.position && distance_squared(after, query).is_some();
        return stayed && *constraint == Constraint::All;
    }
    match constraint {
        Constraint::All | Constraint::Entities(_) => meets(after, constraint),
        Constraint::Box { .. }
        | Constraint::Sphere { .. }
        | Constraint::Cylinder { .. }
        | Constraint::Space(_) => before.position == after.position && meets(after, constraint),
        _ => false,
    }
}

/// What was the same before and after is told so.
fn judge_constant(before: &EntityState, told: &EntityState, after: &EntityState) -> Result<(), Failure> {
    let position =
        before.position.is_none() || before.position != after.position || told.position == after.position;
    let mut constant = before.values.iter().filter(|value| after.values.contains(value));
    if position && constant.all(|value| told.values.contains(value)) {
        return Ok(());
    }
    fail(format!("{told:?} was {before:?} before and {after:?} after"))
}

fn state_of(moved: &MovedEntity) -> EntityState {
    EntityState {
        entity: moved.entity,
        position: moved.position.map(|(at, revision, _)| (at, revision)),
        values: moved.values.iter().map(|v| (v.component, v.revision, v.value.clone())).collect(),
    }
}

fn meets(state: &EntityState, constraint: &Constraint) -> bool {
    let position = state.position.map(|_| ComponentId::POSITION);
    let components: Vec<ComponentId> =
        position.into_iter().chain(state.values.iter().map(|(c, ..)| *c)).collect();
    let position = state.position.map(|(at, _)| at);
    constraint.matches(&Subject { entity: state.entity, position, components: &components, values: state })
}

fn fail<T>(detail: String) -> Result<T, Failure> {
    Err(Failure { judge: "cut", detail })
}
