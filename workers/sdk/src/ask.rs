//! Asking once over a session.
//!
//! Responsible for: the question, the answer put together from its pages, reading it by type.
//! Not responsible for: sending the question and knowing whose answer comes (`session.rs`).

use bytes::Bytes;
use rustc_hash::FxHashMap;
use spatialdb_types::{ComponentId, EntityId, Position, Revision, SpaceId};

use crate::{Component, Constraint, ReadError, Ticket, v1, view::place_of};

/// A question: which entities, which of their components. See [`Worker::ask`](crate::Worker::ask).
#[derive(Clone, Debug, PartialEq)]
pub struct Ask(v1::Ask);

impl Ask {
    /// Every component of the entities that match.
    pub fn new(constraint: Constraint) -> Self {
        Self(v1::Ask { constraint: Some(constraint.into_wire()), ..Default::default() })
    }

    /// Only how many match.
    pub fn count(constraint: Constraint) -> Self {
        Self(v1::Ask { count_only: true, ..Self::new(constraint).0 })
    }

    /// Also tells `C`. A question that names no component is told all.
    pub fn component<C: Component>(mut self) -> Self {
        self.0.components.push(C::ID.0);
        self
    }

    /// Also tells positions. A question that names no component is told all.
    pub fn positions(mut self) -> Self {
        self.0.components.push(ComponentId::POSITION.0);
        self
    }

    /// At most so many entities; 0: no limit.
    pub fn limit(mut self, entities: u64) -> Self {
        self.0.limit = entities;
        self
    }

    /// The nearest first, each with its distance. Entities without a position in that space are left out.
    pub fn nearest_to(mut self, place: Position) -> Self {
        self.0.nearest_to = Some(place_of(place));
        self
    }

    pub(crate) fn into_wire(self) -> v1::Ask {
        self.0
    }
}

/// What the server answered: the world as of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The entities, nearest first if the question had an order.
    pub entities: Vec<Found>,
    /// How many entities match, not only those told.
    pub match_count: u64,
}

/// An entity of an [`Answer`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Which.
    pub entity: EntityId,
    /// Where it is; `None` if it has no position or positions were not asked for.
    pub position: Option<Position>,
    /// How far it is from where the question said, in metres.
    pub distance_m: Option<f64>,
    values: Vec<(ComponentId, Revision, Bytes)>,
}

impl Found {
    /// The entity's `C`; `None` if it has none, or `C` was not asked for.
    ///
    /// # Errors
    /// When the value does not decode as `C`.
    pub fn get<C: Component>(&self) -> Result<Option<C>, ReadError> {
        let read_error = |source| ReadError { entity: self.entity, component: C::NAME, source };
        let value = self.values.iter().find(|(component, ..)| *component == C::ID);
        value.map(|(_, _, value)| C::decode(value.clone()).map_err(read_error)).transpose()
    }

    /// Its components but for Position: id, revision, encoded value.
    pub fn values(&self) -> impl Iterator<Item = (ComponentId, Revision, &Bytes)> {
        self.values.iter().map(|(component, revision, value)| (*component, *revision, value))
    }
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The server refused it.
    #[error("{reason}: {detail}")]
    Refused {
        /// A reason of `docs/errors.md`; empty if the server only counted its refusals.
        reason: String,
        /// For people.
        detail: String,
    },
    /// The connection was lost before the answer came. A question changes nothing: ask again.
    #[error("the connection was lost before the answer came")]
    Lost,
    /// No answer of that ticket is awaited, or it was taken already.
    #[error("message {} is no question, or its answer was taken", .0.0)]
    NotAsked(Ticket),
}

impl Answer {
    /// Adds a page.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn add(&mut self, page: v1::Answer) -> Result<(), String> {
        let first = self.entities.len();
        if !page.distances_m.is_empty() && page.distances_m.len() != page.entities.len() {
            return Err(lengths_differ("distances"));
        }
        let rows: FxHashMap<u64, usize> = page.entities.iter().copied().zip(first..).collect();
        let mut distances = page.distances_m.into_iter();
        self.entities.extend(page.entities.iter().map(|id| Found {
            entity: EntityId(*id),
            distance_m: distances.next(),
            ..Found::default()
        }));
        let row_of =
            |id: &u64| rows.get(id).copied().ok_or_else(|| format!("entity {id} is in a column only"));
        for column in page.positions {
            let count = column.entities.len();
            let z_fits = column.z.is_empty() || column.z.len() == count;
            if column.x.len() != count || column.y.len() != count || !z_fits {
                return Err(lengths_differ("positions"));
            }
            for (i, id) in column.entities.iter().enumerate() {
                let z = column.z.get(i).copied().unwrap_or(0.0);
                let position = Position::new(SpaceId(column.space), column.x[i], column.y[i], z);
                self.entities[row_of(id)?].position = Some(position);
            }
        }
        for column in page.columns {
            let count = column.entities.len();
            if column.values.len() != count || column.revisions.len() != count {
                return Err(lengths_differ("values"));
            }
            for ((id, revision), value) in column.entities.iter().zip(column.revisions).zip(column.values) {
                let found = &mut self.entities[row_of(id)?];
                found.values.push((ComponentId(column.component), Revision(revision), value));
            }
        }
        self.match_count = page.match_count;
        Ok(())
    }
}

fn lengths_differ(what: &str) -> String {
    format!("an answer has {what} of different lengths")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Metadata;

    fn page() -> v1::Answer {
        let name = prost::Message::encode_to_vec(&Metadata { name: "seven".into(), ..Default::default() });
        v1::Answer {
            seq: 2,
            entities: vec![7, 8],
            distances_m: vec![1.5, 2.5],
            positions: vec![v1::PositionColumn {
                space: 3,
                entities: vec![8],
                revisions: vec![1],
                x: vec![1.0],
                y: vec![2.0],
                z: vec![],
            }],
            columns: vec![v1::Column {
                component: 2,
                entities: vec![7],
                revisions: vec![5],
                values: vec![name.into()],
                fields: vec![],
            }],
            ..Default::default()
        }
    }

    #[test]
    fn pages_become_one_answer() {
        let mut answer = Answer::default();
        assert_eq!(answer.add(page()), Ok(()));
        let last = v1::Answer { entities: vec![9], match_count: 40, last: true, ..Default::default() };
        assert_eq!(answer.add(last), Ok(()));
        assert_eq!(answer.match_count, 40);
        let [seven, eight, nine] = answer.entities.as_slice() else { panic!("{answer:?}") };
        assert_eq!(
            seven.get::<Metadata>().expect("decodes").map(|metadata| metadata.name),
            Some("seven".into())
        );
        assert_eq!((seven.distance_m, seven.position), (Some(1.5), None));
        assert_eq!(seven.values().map(|(id, revision, _)| (id.0, revision.0)).collect::<Vec<_>>(), [(2, 5)]);
        assert_eq!(eight.position, Some(Position::new(SpaceId(3), 1.0, 2.0, 0.0)));
        assert_eq!(
            (nine.entity, nine.distance_m, nine.get::<Metadata>().ok()),
            (EntityId(9), None, Some(None))
        );
    }

    #[test]
    fn pages_that_do_not_fit_are_refused() {
        let short = v1::Answer { distances_m: vec![1.0], ..page() };
        assert_eq!(Answer::default().add(short), Err("an answer has distances of different lengths".into()));
        let stranger = v1::Answer { entities: vec![], distances_m: vec![], ..page() };
        assert_eq!(Answer::default().add(stranger), Err("entity 8 is in a column only".into()));
        let mut uneven = page();
        uneven.columns[0].values.clear();
        assert_eq!(Answer::default().add(uneven), Err("an answer has values of different lengths".into()));
    }
}
