//! A world whose every entity has a Position and three components of 32 bytes, all known from its id.
//!
//! Responsible for: writing it, and telling whether an entity of the server is the one that was written.
//! Not responsible for: what is measured with it.

use prost::Message;
use spatialdb_proto::v1;
use spatialdb_types::{ComponentId, EntityId, Point3, Position};

use super::{
    error::BenchError,
    random::mix,
    world::{SPACE, WorldFiles},
};

/// The components of each entity besides its Position.
pub(super) const COMPONENTS: [ComponentId; 3] = [ComponentId(1001), ComponentId(1002), ComponentId(1003)];

/// The size of each of their values.
pub(super) const VALUE_BYTES: usize = 32;

// About ten entities in the square of a hundred metres.
const SPACING_M: f64 = 30.0;

/// A world on disk.
pub(super) struct LadenWorld {
    files: WorldFiles,
    entities: u64,
    file_bytes: u64,
}

/// The components of [`COMPONENTS`] share this form.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(fixed64, tag = "1")]
    pub(super) key: u64,
    #[prost(double, tag = "2")]
    pub(super) level: f64,
    #[prost(fixed64, tag = "3")]
    pub(super) count: u64,
    #[prost(fixed32, tag = "4")]
    pub(super) mark: u32,
}

impl LadenWorld {
    /// Writes a world of that many entities.
    ///
    /// # Errors
    /// There is no room for it.
    pub(super) fn write(entities: u64) -> Result<Self, BenchError> {
        let files = WorldFiles::new()?;
        let mut writer = files.snapshot_writer()?;
        for id in 1..=entities {
            let values = COMPONENTS.map(|component| value(id, component));
            let values = COMPONENTS.into_iter().zip(values.iter().map(Vec::as_slice));
            writer.push(EntityId(id), Some(Position { space: SPACE, point: point(id, entities) }), values)?;
        }
        let file_bytes = writer.finish()?.file_bytes;
        Ok(Self { files, entities, file_bytes })
    }

    /// The same, in a data directory.
    pub(super) fn kept(self) -> Self {
        Self { files: self.files.kept(), ..self }
    }

    /// Where an entity is.
    pub(super) fn place(&self, id: u64) -> Point3 {
        point(id, self.entities)
    }

    /// Where it is.
    pub(super) const fn files(&self) -> &WorldFiles {
        &self.files
    }

    /// How many entities it has; their ids are 1 up to this.
    pub(super) const fn entities(&self) -> u64 {
        self.entities
    }

    /// The size of its snapshot.
    pub(super) const fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Checks what the server says of an entity.
    ///
    /// # Errors
    /// What differs from what was written.
    pub(super) fn check(&self, found: &v1::Entity) -> Result<(), String> {
        let id = found.entity;
        let at = point(id, self.entities);
        let position = v1::Position { space: SPACE.0, x: at.x, y: at.y, z: at.z };
        let mut expected = vec![(ComponentId::POSITION, position.encode_to_vec())];
        expected.extend(COMPONENTS.map(|component| (component, value(id, component))));
        if found.components.len() != expected.len() {
            return Err(format!("entity {id} has {} components", found.components.len()));
        }
        for (component, bytes) in expected {
            let value = found.components.iter().find(|c| c.id == component.0);
            if value.and_then(|c| c.value.as_ref()).is_none_or(|any| any.value != bytes) {
                return Err(format!(
                    "entity {id}, component {component}: {value:?}, expected bytes {bytes:?}"
                ));
            }
        }
        Ok(())
    }
}

// Row by row over a square, each a little off its place: neighbours in the file are neighbours in space, as in a
// snapshot of a real world.
fn point(id: u64, entities: u64) -> Point3 {
    let side = (entities as f64).sqrt().ceil().max(1.0) as u64;
    let off = |salt: u64| (mix(id ^ salt) >> 11) as f64 / (1u64 << 53) as f64 * SPACING_M;
    let along = |place: u64, salt: u64| place as f64 * SPACING_M + off(salt);
    Point3::new(along((id - 1) % side, 1 << 60), along((id - 1) / side, 2 << 60), off(3 << 60))
}

// Half of the bytes are noise, half are what numbers in a game look like.
fn value(id: u64, component: ComponentId) -> Vec<u8> {
    let noise = mix(id ^ (u64::from(component.0) << 40));
    let value = Value {
        key: noise | 1,
        level: ((noise >> 20) % 1000 + 1) as f64 / 8.0,
        count: id,
        mark: (noise >> 32) as u32 | 1,
    };
    value.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_its_size() {
        for id in 1..2000 {
            assert!(COMPONENTS.iter().all(|component| value(id, *component).len() == VALUE_BYTES), "{id}");
        }
    }

    #[test]
    fn a_wrong_value_is_found() {
        let world = LadenWorld::write(10).expect("a world");
        let component = |id: ComponentId, value: Vec<u8>| v1::ComponentValue {
            id: id.0,
            value: Some(prost_types::Any { value, ..Default::default() }),
            ..Default::default()
        };
        let at = point(3, 10);
        let position = v1::Position { space: SPACE.0, x: at.x, y: at.y, z: at.z };
        let mut components = vec![component(ComponentId::POSITION, position.encode_to_vec())];
        components.extend(COMPONENTS.map(|id| component(id, value(3, id))));
        let mut entity = v1::Entity { entity: 3, components, ..v1::Entity::default() };
        assert_eq!(world.check(&entity), Ok(()));
        entity.components.swap(2, 3);
        assert_eq!(world.check(&entity), Ok(()));
        if let Some(any) = &mut entity.components[1].value {
            any.value[5] ^= 1;
        }
        assert!(world.check(&entity).expect_err("differs").contains("entity 3, component 1001"));
        entity.components.pop();
        assert_eq!(world.check(&entity), Err("entity 3 has 3 components".to_owned()));
    }
}
