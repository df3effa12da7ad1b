//! What many images of one entity mean together, in whatever order they are read.
//!
//! Revisions of one entity rise across moves between partitions. So the whole image of the highest revision says which components
//! it had then, and of each component the value of the highest revision from there on is the last. *Gone* beats all.

use rustc_hash::FxHashMap;
use spatialdb_types::{ComponentId, EntityId, Epoch, Position, Revision, SessionId};

use super::{Form, Image, StoredValue, decode_position};

/// Entities as their images say, merged so far.
#[derive(Clone, Debug, Default)]
pub struct Merge {
    /// In no order that anybody is shown.
    entities: FxHashMap<EntityId, State>,
}

/// An entity as all its images say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Which entity.
    pub entity: EntityId,
    /// Its values, by rising component.
    pub values: Vec<(ComponentId, MergedValue)>,
    /// All images of it are parts: whatever else it had is missing.
    pub is_cut: bool,
}

/// A value as the last image of it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedValue {
    /// Its revision.
    pub revision: Revision,
    /// Who wrote it.
    pub writer: SessionId,
    /// Under which grant.
    pub epoch: Epoch,
    /// The whole value.
    pub bytes: Box<[u8]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Gone,
    There {
        /// As of when it is known which components it had.
        base: Revision,
        /// It had none then.
        is_absent: bool,
        /// By rising component.
        values: Vec<(ComponentId, MergedValue)>,
    },
}

impl Merge {
    /// Another image.
    pub fn add(&mut self, image: &Image<'_>) {
        let values = || Vec::with_capacity(image.values.len());
        let new = || State::There { base: Revision(0), is_absent: false, values: values() };
        let state = self.entities.entry(image.entity).or_insert_with(new);
        let State::There { base, is_absent, values } = state else { return };
        let as_of = match image.form {
            Form::Gone => {
                *state = State::Gone;
                return;
            }
            Form::Whole(as_of) | Form::Absent(as_of) => Some(as_of),
            Form::Part => None,
        };
        if let Some(as_of) = as_of.filter(|as_of| as_of > base) {
            // What it does not name, the entity had no more.
            values.retain(|(_, value)| value.revision > as_of);
            (*base, *is_absent) = (as_of, matches!(image.form, Form::Absent(_)));
        }
        // Of the same moment, or of one before, an image says nothing that was removed since.
        let counts = |value: &&StoredValue<'_>| as_of == Some(*base) || value.revision > *base;
        for value in image.values.iter().filter(counts) {
            // Mostly they come in order, as the first of their entity.
            let is_last = values.last().is_none_or(|(last, _)| *last < value.component);
            let place = if is_last { Err(values.len()) } else { find(values, value.component) };
            match place {
                Ok(at) if values[at].1.revision < value.revision => values[at].1 = MergedValue::of(value),
                Ok(_) => {}
                Err(at) => values.insert(at, (value.component, MergedValue::of(value))),
            }
        }
    }

    /// The highest revision of all images so far; those to come rise above it.
    pub fn last_revision(&self) -> Revision {
        let of = |state: &State| match state {
            State::Gone => Revision(0),
            State::There { base, values, .. } => {
                values.iter().map(|(_, value)| value.revision).max().unwrap_or_default().max(*base)
            }
        };
        self.entities.values().map(of).max().unwrap_or_default()
    }

    /// The entities that there are, by rising id.
    pub fn finish(self) -> impl Iterator<Item = Merged> {
        let mut entities: Vec<(EntityId, State)> = self.entities.into_iter().collect();
        entities.sort_unstable_by_key(|(entity, _)| *entity);
        entities.into_iter().filter_map(|(entity, state)| match state {
            State::Gone => None,
            State::There { is_absent: true, values, .. } if values.is_empty() => None,
            State::There { base, values, .. } => Some(Merged { entity, values, is_cut: base == Revision(0) }),
        })
    }
}

fn find(values: &[(ComponentId, MergedValue)], component: ComponentId) -> Result<usize, usize> {
    values.binary_search_by_key(&component, |(component, _)| *component)
}

impl Merged {
    /// Where it is; `None`: nowhere, or what is stored is none.
    pub fn position(&self) -> Option<Position> {
        let at = find(&self.values, ComponentId::POSITION).ok()?;
        decode_position(&self.values[at].1.bytes)
    }
}

impl MergedValue {
    fn of(value: &StoredValue<'_>) -> Self {
        let StoredValue { revision, writer, epoch, bytes, .. } = *value;
        Self { revision, writer, epoch, bytes: bytes.into() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const COMPONENTS: u32 = 4;

    /// An image: its form, and components with their revisions.
    type Written = (Form, Vec<(u32, u64)>);

    /// What happens to an entity.
    #[derive(Clone, Debug)]
    enum Act {
        /// A component gets another value, or one.
        Write(u32),
        /// It loses a component.
        Remove(u32),
        /// What changed is written, or all.
        Sweep {
            whole: bool,
        },
        Delete,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            6 => (0..COMPONENTS).prop_map(Act::Write),
            2 => (0..COMPONENTS).prop_map(Act::Remove),
            4 => any::<bool>().prop_map(|whole| Act::Sweep { whole }),
            1 => Just(Act::Delete),
        ];
        prop::collection::vec(act, 1..40)
    }

    /// Lives a life. Returns the images that were written of it, with revisions for bytes, and how it is as of the last one.
    fn live(acts: &[Act]) -> (Vec<Written>, Option<BTreeMap<u32, u64>>) {
        let (mut clock, mut has, mut dirty) = (0, BTreeMap::new(), Vec::new());
        let (mut images, mut is_reshaped) = (Vec::new(), true);
        let mut last = None;
        for act in acts {
            clock += 1;
            match act {
                Act::Write(component) => {
                    is_reshaped |= has.insert(*component, clock).is_none();
                    dirty.push(*component);
                }
                Act::Remove(component) => is_reshaped |= has.remove(component).is_some(),
                Act::Sweep { whole } => {
                    let all = *whole || is_reshaped;
                    let values = has.iter().filter(|(component, _)| all || dirty.contains(component));
                    let values: Vec<(u32, u64)> = values.map(|(component, at)| (*component, *at)).collect();
                    let form = match (all, has.is_empty()) {
                        (_, true) => Form::Absent(Revision(clock)),
                        (true, false) => Form::Whole(Revision(clock)),
                        (false, false) => Form::Part,
                    };
                    images.push((form, values));
                    (is_reshaped, last) = (false, Some(has.clone()));
                    dirty.clear();
                }
                Act::Delete => {
                    images.push((Form::Gone, Vec::new()));
                    return (images, None);
                }
            }
        }
        (images, last.filter(|last| !last.is_empty()))
    }

    fn merged(images: &[Written]) -> Option<BTreeMap<u32, u64>> {
        let mut merge = Merge::default();
        for (form, values) in images {
            let bytes: Vec<[u8; 8]> = values.iter().map(|(_, at)| at.to_le_bytes()).collect();
            let value = |((component, at), bytes): (&(u32, u64), &'_ [u8; 8])| {
                (ComponentId(*component), Revision(*at), bytes.to_vec())
            };
            let owned: Vec<_> = values.iter().zip(&bytes).map(value).collect();
            let stored = owned.iter().map(|(component, revision, bytes)| StoredValue {
                component: *component,
                revision: *revision,
                writer: SessionId(1),
                epoch: Epoch(1),
                bytes,
            });
            merge.add(&Image { entity: EntityId(9), form: *form, values: stored.collect() });
        }
        let last = merge.last_revision();
        let mut entities = merge.finish();
        let found = entities.next().map(|entity| {
            assert!(!entity.is_cut, "the first image is whole");
            let values = entity.values.into_iter();
            let values = values.map(|(component, value)| {
                assert_eq!(&*value.bytes, value.revision.0.to_le_bytes());
                assert!(value.revision <= last);
                (component.0, value.revision.0)
            });
            values.collect()
        });
        assert!(entities.next().is_none());
        found
    }

    proptest! {
        #[test]
        fn in_whatever_order_and_however_often_they_are_read(
            acts in acts(),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        ) {
            let (images, expected) = live(&acts);
            if images.is_empty() {
                return Ok(());
            }
            prop_assert_eq!(&merged(&images), &expected);
            let backwards: Vec<_> = images.iter().rev().cloned().collect();
            prop_assert_eq!(&merged(&backwards), &expected);
            let mut mixed: Vec<_> = order.iter().map(|index| images[index.index(images.len())].clone()).collect();
            mixed.extend(backwards);
            prop_assert_eq!(&merged(&mixed), &expected);
        }
    }

    #[test]
    fn parts_alone_are_not_all_of_it() {
        let mut merge = Merge::default();
        let value = StoredValue {
            component: ComponentId(1),
            revision: Revision(5),
            writer: SessionId(1),
            epoch: Epoch(0),
            bytes: b"x",
        };
        merge.add(&Image { entity: EntityId(3), form: Form::Part, values: vec![value] });
        assert_eq!(merge.last_revision(), Revision(5));
        let all: Vec<_> = merge.finish().collect();
        assert_eq!((all.len(), all[0].is_cut), (1, true));
    }
}
