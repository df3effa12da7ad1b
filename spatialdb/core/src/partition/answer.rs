//! Answers to queries: hits in one piece of memory, however many there are.

use spatialdb_types::{ComponentId, EntityId, Position, Revision};

use super::Query;
use super::query::{EntityState, wants};

/// How many hits an answer has room for from the first on.
const HITS_EXPECTED: usize = 128;

/// The answer to a query.
#[derive(Clone, Debug, Default)]
pub struct QueryAnswer {
    hits: Vec<Hit>,
    values: Vec<Value>,
    bytes: Vec<u8>,
    /// How many match. With an order and a limit: how many are told.
    pub match_count: u64,
    /// Nothing was looked at: what was asked before takes enough memory. To be asked again.
    pub is_postponed: bool,
}

/// An entity that matches.
#[derive(Clone, Copy, Debug)]
struct Hit {
    entity: EntityId,
    position: Option<(Position, Revision)>,
    distance_squared: f64,
    /// Up to where its values go; they begin where those of the hit before end.
    values: (u32, u32),
}

#[derive(Clone, Copy, Debug)]
struct Value {
    component: ComponentId,
    revision: Revision,
    start: usize,
    length: u32,
}

/// An entity that matches, as it was.
#[derive(Clone, Copy, Debug)]
pub struct HitRef<'a> {
    answer: &'a QueryAnswer,
    hit: &'a Hit,
}

impl QueryAnswer {
    pub(super) fn postponed() -> Self {
        Self { is_postponed: true, ..Self::default() }
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.hits.len() * size_of::<Hit>() + self.values.len() * size_of::<Value>() + self.bytes.len()
    }

    /// How many entities are told.
    pub fn len(&self) -> usize {
        self.hits.len()
    }

    /// Whether none is told.
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty()
    }

    /// The entities that are told, the nearest first if the query has an order; otherwise in no particular one.
    pub fn hits(&self) -> impl Iterator<Item = HitRef<'_>> {
        self.hits.iter().map(|hit| HitRef { answer: self, hit })
    }

    /// Adds an entity.
    pub(super) fn push<'a>(
        &mut self,
        query: &Query,
        entity: EntityId,
        position: Option<(Position, Revision)>,
        values: impl Iterator<Item = (ComponentId, Revision, &'a [u8])>,
    ) {
        if self.hits.is_empty() {
            self.hits.reserve(query.limit.min(HITS_EXPECTED));
        }
        let distance_squared = query.distance_squared(position.map(|(at, _)| at)).unwrap_or(0.0);
        let first = self.values.len() as u32;
        for (component, revision, value) in values.filter(|&(c, ..)| wants(&query.components, c)) {
            let (start, length) = (self.bytes.len(), value.len() as u32);
            self.bytes.extend_from_slice(value);
            self.values.push(Value { component, revision, start, length });
        }
        let position = position.filter(|_| wants(&query.components, ComponentId::POSITION));
        self.hits.push(Hit { entity, position, distance_squared, values: (first, self.values.len() as u32) });
    }
}

impl<'a> HitRef<'a> {
    /// Which entity.
    pub fn entity(&self) -> EntityId {
        self.hit.entity
    }

    /// Where it is, and the revision of that, if it was asked for.
    pub fn position(&self) -> Option<(Position, Revision)> {
        self.hit.position
    }

    /// How far away it is, if the query has an order. Metres, squared.
    pub fn distance_squared(&self) -> f64 {
        self.hit.distance_squared
    }

    /// Its other components by rising id, as far as they were asked for.
    pub fn values(&self) -> impl Iterator<Item = (ComponentId, Revision, &'a [u8])> {
        let (from, to) = self.hit.values;
        let answer = self.answer;
        answer.values[from as usize..to as usize].iter().map(|value| {
            let bytes = &answer.bytes[value.start..][..value.length as usize];
            (value.component, value.revision, bytes)
        })
    }

    /// The same, apart from the answer.
    pub fn state(&self) -> EntityState {
        EntityState {
            entity: self.entity(),
            position: self.position(),
            values: self.values().map(|(c, revision, value)| (c, revision, value.into())).collect(),
        }
    }
}
