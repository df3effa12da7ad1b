//! The judges: what must hold whenever the world is at rest.
//!
//! Responsible for: comparing machines with brute force and with the model. They look at the partitions' state only
//! by asking for everything, never at how views were computed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use spatialdb_core::interest::{Subject, Values};
use spatialdb_core::{Constraint, EntityState, Part, Query, View};
use spatialdb_types::{
    Box3, ComponentId, EntityId, PartitionId, Point3, Position, Revision, SessionId, ViewId,
};

use crate::actor::Actor;
use crate::authority::{Inside, Regions, is_owned};
use crate::client::Value;
use crate::driver::Sim;
use crate::model::{Known, Refusal, State, Writers};
use crate::values;

/// What a judge found.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which judge.
    pub judge: &'static str,
    /// What differs.
    pub detail: String,
}

impl Failure {
    /// The same, of that session.
    pub(crate) fn of_session(self, session: SessionId) -> Self {
        Self { detail: format!("session {session}: {}", self.detail), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "judge \"{}\": {}", self.judge, self.detail)
    }
}

type Verdict = Result<(), Failure>;
pub(crate) type Components = BTreeMap<ComponentId, (Revision, Value)>;
/// Every entity.
pub(crate) type Truth = BTreeMap<EntityId, Fact>;

/// Where an entity is, and what it has.
pub(crate) struct Fact {
    partition: PartitionId,
    pub(crate) position: Option<Position>,
    /// By rising id, Position included.
    ids: Vec<ComponentId>,
    pub(crate) components: Components,
}

fn fail<T>(judge: &'static str, detail: String) -> Result<T, Failure> {
    Err(Failure { judge, detail })
}

impl Sim {
    /// All judges, at rest.
    ///
    /// # Errors
    /// The first thing that differs.
    pub(crate) fn judge(&mut self) -> Verdict {
        self.shadow.take().map_or(Ok(()), Err)?;
        let truth = self.truth()?;
        self.judge_answered()?;
        self.judge_moves(&truth)?;
        self.judge_existence(&truth)?;
        for (&entity, known) in &self.model.entities {
            judge_state(entity, known, &truth)?;
        }
        self.judge_query(&truth)?;
        self.judge_book(&truth)?;
        self.judge_authority()?;
        self.judge_log()?;
        for a in self.live_actors() {
            let actor = &self.actors[a];
            let verdict = self
                .judge_outcome(actor)
                .and_then(|()| judge_views(actor))
                .and_then(|()| self.judge_replica(actor, &truth))
                .and_then(|()| self.judge_densities(actor, &truth));
            let id = actor.id;
            verdict.and_then(|()| self.judge_events(a)).map_err(|failure| failure.of_session(id))?;
        }
        Ok(())
    }

    /// What one session was shown, at rest.
    ///
    /// # Errors
    /// The first thing that differs.
    pub(crate) fn judge_session(&self, a: usize) -> Verdict {
        let actor = &self.actors[a];
        let truth = self.truth()?;
        let verdict = self.judge_replica(actor, &truth).and_then(|()| self.judge_densities(actor, &truth));
        verdict.map_err(|failure| failure.of_session(actor.id))
    }

    /// How many entities a view of a client matches, by brute force. Of one of densities: as many as its squares count, which
    /// are judged apart; as many as it was told to where those may have become larger since.
    ///
    /// # Errors
    /// An entity is in two partitions.
    pub(crate) fn matches(&self, a: usize, view: &View) -> Result<u64, Failure> {
        if view.densities.is_some() {
            let replica = &self.actors[a].replica;
            let may_grow = self.plan.limits.session_density_squares_max < 1000;
            let told = if may_grow { replica.views[&view.id].count } else { replica.squares.sum(view.id) };
            return Ok(told);
        }
        let truth = self.truth()?;
        let around = Around { truth: &truth, regions: self.regions_of(self.actors[a].id) };
        let constraint = around.placed(&view.parts[0].constraint);
        Ok(truth.iter().filter(|(e, fact)| fact.meets(**e, &constraint)).count() as u64)
    }

    /// Whether a view that a client asked for matches the entity.
    ///
    /// # Errors
    /// An entity is in two partitions.
    pub(crate) fn looks_at(&self, a: usize, entity: EntityId) -> Result<bool, Failure> {
        let truth = self.truth()?;
        let around = Around { truth: &truth, regions: self.regions_of(self.actors[a].id) };
        let mut parts = self.actors[a].views.values().flat_map(|view| &view.parts);
        let fact = truth.get(&entity);
        Ok(fact.is_some_and(|fact| parts.any(|part| fact.meets(entity, &around.placed(&part.constraint)))))
    }

    fn judge_replica(&self, actor: &Actor, truth: &Truth) -> Verdict {
        let around = Around { truth, regions: self.regions_of(actor.id) };
        judge_replica(actor, &self.given(actor, truth)?, &around)
    }

    /// Where entities are, and since which revision.
    ///
    /// # Errors
    /// An entity is in two partitions.
    pub(crate) fn positions(&self) -> Result<Vec<(EntityId, Position, Revision)>, Failure> {
        let place = |(&entity, fact): (&EntityId, &Fact)| {
            let (since, _) = fact.components.get(&ComponentId::POSITION)?;
            Some((entity, fact.position?, *since))
        };
        Ok(self.truth()?.iter().filter_map(place).collect())
    }

    pub(crate) fn truth(&self) -> Result<Truth, Failure> {
        let mut truth = Truth::new();
        for partition in &self.partitions {
            let answer = partition.query(&everything());
            if answer.match_count != answer.len() as u64 || partition.entity_count() != answer.len() {
                return fail(
                    "query",
                    format!("partition {} counts its entities differently", partition.id()),
                );
            }
            for state in answer.hits().map(|hit| hit.state()) {
                let entity = state.entity;
                if let Some(other) = truth.insert(entity, Fact::new(partition.id(), state)) {
                    let (one, two) = (other.partition, partition.id());
                    return fail("doubled", format!("entity {entity} is in partitions {one} and {two}"));
                }
            }
        }
        Ok(truth)
    }

    /// Moves are over, everything is at home, and the edge knows where.
    fn judge_moves(&mut self, truth: &Truth) -> Verdict {
        for partition in &self.partitions {
            let id = partition.id();
            if !partition.accepts_work() {
                return fail("rest", format!("partition {id} takes no work although nothing is on its way"));
            }
            if let Some(entity) = self.model.entities.keys().find(|&&e| partition.departed_to(e).is_some()) {
                return fail(
                    "departed",
                    format!("partition {id} still waits for the move of entity {entity}"),
                );
            }
        }
        for (&entity, Fact { partition, position, .. }) in truth {
            let home = self.plan.map.home(entity, *position);
            if home != *partition {
                return fail(
                    "home",
                    format!("entity {entity} is in partition {partition}, its home is {home}"),
                );
            }
        }
        let home = |e: EntityId| self.plan.map.home(e, None);
        let hints: BTreeMap<EntityId, PartitionId> = self.edge.hints().collect();
        if let Some(entity) = hints.keys().find(|e| !truth.contains_key(e)) {
            return fail("hints", format!("the edge remembers entity {entity}, which is gone"));
        }
        for (&entity, Fact { partition, .. }) in truth {
            let hint = hints.get(&entity).copied().unwrap_or_else(|| home(entity));
            if hint != *partition {
                return fail(
                    "hints",
                    format!("entity {entity} is in partition {partition}, the edge says {hint}"),
                );
            }
        }
        Ok(())
    }

    fn judge_existence(&self, truth: &Truth) -> Verdict {
        let must: BTreeSet<EntityId> =
            self.model.entities.iter().filter(|(_, known)| known.exists).map(|(&e, _)| e).collect();
        if let Some(lost) = must.iter().find(|e| !truth.contains_key(e)) {
            return fail("lost", format!("entity {lost} was made, never deleted, and is nowhere"));
        }
        match truth.keys().find(|e| !must.contains(e)) {
            Some(stale) => fail("stale", format!("entity {stale} was deleted and is still there")),
            None => Ok(()),
        }
    }

    /// The cell index finds what brute force finds.
    fn judge_query(&mut self, truth: &Truth) -> Verdict {
        for _ in 0..3 {
            let last = self.world.ids.next();
            let constraint = self.plan.any_constraint(&mut self.rng, last);
            for partition in &self.partitions {
                let id = partition.id();
                let here = truth.iter().filter(|(_, fact)| fact.partition == id);
                let wanted: BTreeSet<EntityId> =
                    here.filter(|(e, fact)| fact.meets(**e, &constraint)).map(|(&e, _)| e).collect();
                let answer = partition.query(&Query { constraint: constraint.clone(), ..everything() });
                let found: BTreeSet<EntityId> = answer.hits().map(|hit| hit.entity()).collect();
                if found != wanted || answer.len() != wanted.len() {
                    let detail = format!("partition {id}, {constraint:?}: found {found:?}, not {wanted:?}");
                    return fail("query", detail);
                }
            }
        }
        Ok(())
    }

    /// Every row is decided, and refused exactly where it must be.
    fn judge_outcome(&self, actor: &Actor) -> Verdict {
        let (session, replica) = (&actor.session, &actor.replica);
        if session.applied() != actor.seq
            || session.rows_in_flight() != 0
            || session.messages_in_flight() != 0
        {
            let (applied, rows) = (session.applied(), session.rows_in_flight());
            return fail(
                "outcome",
                format!("applied {applied} of {} messages, {rows} rows in flight", actor.seq),
            );
        }
        if replica.applied != actor.seq {
            return fail("outcome", format!("was told applied = {}, not {}", replica.applied, actor.seq));
        }
        let nothing = BTreeSet::new();
        let expected = self.model.refusals.get(&actor.id).unwrap_or(&nothing);
        let mut told = BTreeSet::new();
        for r in &replica.rejections {
            let (seq, column, row) = (r.seq, r.column, r.row);
            let (reason, entity, component) = (r.reason, r.entity, r.component);
            let refusal = Refusal { seq, column, row, reason, entity, component };
            if self.model.is_exact(entity) && !is_owned(component) && !expected.contains(&refusal) {
                return fail("refused", format!("{refusal:?} should have been accepted"));
            }
            if !told.insert(refusal.clone()) {
                return fail("refused", format!("{refusal:?} was told twice"));
            }
        }
        let missing: Vec<&Refusal> = expected.iter().filter(|r| !told.contains(r)).collect();
        let collapsed: u64 = replica.collapsed.values().sum();
        if missing.len() as u64 > collapsed {
            return fail(
                "refused",
                format!("{:?} and {} others were not told", missing[0], missing.len() - 1),
            );
        }
        Ok(())
    }
}

impl Fact {
    fn new(partition: PartitionId, state: EntityState) -> Self {
        let mut components = Components::new();
        if let Some((at, revision)) = state.position {
            components.insert(ComponentId::POSITION, (revision, Value::At(at)));
        }
        for (component, revision, value) in state.values {
            components.insert(component, (revision, Value::Bytes(value.into_vec())));
        }
        let position = state.position.map(|(at, _)| at);
        Self { partition, position, ids: components.keys().copied().collect(), components }
    }

    fn meets(&self, entity: EntityId, constraint: &Constraint) -> bool {
        constraint.matches(&Subject { entity, position: self.position, components: &self.ids, values: self })
    }
}

impl Values for Fact {
    fn value(&self, component: ComponentId) -> Option<&[u8]> {
        match &self.components.get(&component)?.1 {
            Value::Bytes(bytes) => Some(bytes),
            Value::At(_) => None,
        }
    }
}

/// What views of a session follow.
struct Around<'a> {
    truth: &'a Truth,
    regions: Regions,
}

impl Around<'_> {
    /// The constraint with a sphere around each entity that it follows, and boxes around the session's regions.
    fn placed(&self, constraint: &Constraint) -> Constraint {
        let all = |list: &[Constraint]| list.iter().map(|c| self.placed(c)).collect();
        match constraint {
            Constraint::Near { entity, radius_m } => {
                match self.truth.get(entity).and_then(|fact| fact.position) {
                    Some(at) => Constraint::Sphere { space: at.space, center: at.point, radius_m: *radius_m },
                    None => Constraint::Not(Box::new(Constraint::All)),
                }
            }
            Constraint::Owned(layers) => {
                let regions =
                    layers.iter().flat_map(|of| self.regions.iter().map(move |region| (of, region)));
                let regions = regions.filter(|(of, (layer, _))| of.layer == *layer);
                Constraint::Or(regions.map(|(of, (_, inside))| self.region(inside, of.margin_m)).collect())
            }
            Constraint::And(list) => Constraint::And(all(list)),
            Constraint::Or(list) => Constraint::Or(all(list)),
            Constraint::Not(inner) => Constraint::Not(Box::new(self.placed(inner))),
            _ => constraint.clone(),
        }
    }

    /// A region, and so far around it.
    fn region(&self, inside: &Inside, margin_m: f64) -> Constraint {
        match inside {
            Inside::Box(space, area) => {
                let by = |p: Point3, by: f64| Point3::new(p.x + by, p.y + by, p.z + by);
                let bounds = Box3 { min: by(area.min, -margin_m), max: by(area.max, margin_m) };
                Constraint::Box { space: *space, bounds }
            }
            Inside::Nowhere => Constraint::Not(Box::new(Constraint::Has(ComponentId::POSITION))),
            Inside::Player(player) => {
                let owner = |fact: &Fact| values::owner_in(fact.value(ComponentId::PLAYER_OWNER)?);
                let own = self.truth.iter().filter(|(_, fact)| owner(fact).as_ref() == Some(player));
                Constraint::Entities(own.map(|(entity, _)| *entity).collect())
            }
        }
    }
}

/// The query for all there is.
pub(crate) const fn everything() -> Query {
    Query { constraint: Constraint::All, components: Vec::new(), limit: usize::MAX, nearest_to: None }
}

fn judge_state(entity: EntityId, known: &Known, truth: &Truth) -> Verdict {
    let Some(fact) = truth.get(&entity).filter(|_| known.writers != Writers::Shared) else { return Ok(()) };
    let mut is = State { position: fact.position, ..State::default() };
    for (component, (_, value)) in fact.components.iter().filter(|(component, _)| !is_owned(**component)) {
        if let Value::Bytes(value) = value {
            let Some(fields) = values::parse(value) else {
                return fail("value", format!("component {component} of {entity} is garbled: {value:?}"));
            };
            is.values.insert(*component, fields);
        }
    }
    if is == known.state {
        return Ok(());
    }
    fail("state", format!("entity {entity} is {is:?}, last written was {:?}", known.state))
}

/// A view is told to be filled once for each time it was asked for.
fn judge_views(actor: &Actor) -> Verdict {
    for (view, asks) in &actor.replica.views {
        let least = if asks.ended { 0 } else { 1 };
        let exact = asks.asked == 1 && !asks.ended;
        if asks.answered < least || (exact && asks.answered != 1) {
            return fail("view ready", format!("view {view}: {asks:?}"));
        }
    }
    Ok(())
}

/// The replica is what the views' queries say.
fn judge_replica(actor: &Actor, given: &[View], around: &Around<'_>) -> Verdict {
    let truth = around.truth;
    let held = &actor.replica.held;
    if actor.session.entities_in_view() != held.len() {
        let detail =
            format!("session counts {} in view, client {}", actor.session.entities_in_view(), held.len());
        return fail("oracle", detail);
    }
    if let Some(ghost) = held.keys().find(|e| !truth.contains_key(e)) {
        return fail("oracle", format!("entity {ghost} is in view and does not exist"));
    }
    let place = |part: &Part| Part { constraint: around.placed(&part.constraint), ..part.clone() };
    let views = actor.views.values().chain(given);
    let parts = views.flat_map(|v| v.parts.iter().map(move |part| (v, place(part))));
    let parts: Vec<(&View, Part)> = parts.collect();
    for (entity, fact) in truth {
        let all = parts.iter().map(|(v, part)| (*v, part));
        let views: Vec<_> = all.filter(|(_, part)| fact.meets(*entity, &part.constraint)).collect();
        let shown = held.get(entity);
        if views.is_empty() != shown.is_none() {
            let ids: Vec<ViewId> = views.iter().map(|(v, _)| v.id).collect();
            let what = if shown.is_some() { "is in view" } else { "is not in view" };
            let detail =
                format!("entity {entity} of partition {} {what}, views {ids:?} match it", fact.partition);
            return fail("oracle", detail);
        }
        if let Some(shown) = shown {
            judge_entity(actor.id, *entity, &views, shown, &fact.components)?;
        }
    }
    Ok(())
}

fn judge_entity(
    session: SessionId,
    entity: EntityId,
    views: &[(&View, &Part)],
    shown: &Components,
    is: &Components,
) -> Verdict {
    let wanted = |c: ComponentId| views.iter().any(|(_, part)| part.wants(c));
    if let Some(extra) = shown.keys().find(|&&c| !wanted(c) || !is.contains_key(&c)) {
        return fail("oracle", format!("component {extra} of {entity} is shown and should not be"));
    }
    for (&component, (revision, value)) in is.iter().filter(|&(&c, _)| wanted(c)) {
        let Some((shown_revision, shown_value)) = shown.get(&component) else {
            return fail("oracle", format!("component {component} of {entity} is not shown"));
        };
        let own = value.writer() == Some(session)
            && !views.iter().any(|(v, part)| v.own_updates && part.wants(component));
        if own && shown_revision < revision {
            continue;
        }
        if shown_revision != revision || shown_value != value {
            let detail = format!(
                "component {component} of {entity} is {value:?} at {revision}, shown is {shown_value:?} at {shown_revision}"
            );
            return fail("oracle", detail);
        }
    }
    Ok(())
}
