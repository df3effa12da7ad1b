//! Snapshots of SpatialOS, in both of their forms.
//!
//! Responsible for: which of their components become which of ours, and their axes.
//! Not responsible for: reading either form (`binary`, `json`).
//!
//! SpatialOS has y up and z ahead, so x stays, z becomes y, and y becomes z.

mod binary;
mod json;
mod wire;

use std::collections::BTreeMap;

use spatialdb_schema::{Component, Schema};
use spatialdb_types::{ComponentId, Position, SpaceId};

use super::{map::MapFile, map_error::MapError};
use crate::{error::SnapshotError, gather::LeftOut};

pub use binary::import_spatialos;
pub use json::import_spatialos_json;

/// The components of its standard library that mean something here.
const POSITION: (u32, &str) = (54, "improbable.Position");
const METADATA: (u32, &str) = (53, "improbable.Metadata");

/// Other components that nearly every snapshot has, for the list of what was left out.
const KNOWN: [(u32, &str); 4] = [
    (50, "improbable.EntityAcl"),
    (55, "improbable.Persistence"),
    (58, "improbable.Interest"),
    (65, "improbable.AuthorityDelegation"),
];

/// What of theirs becomes what of ours.
struct Mapping {
    by_id: BTreeMap<u32, Component>,
    by_name: BTreeMap<String, Component>,
    names: BTreeMap<u32, String>,
}

impl Mapping {
    fn new(map: &MapFile, schema: &Schema) -> Result<Self, MapError> {
        let names = KNOWN.into_iter().map(|(id, name)| (id, name.to_owned())).collect();
        let mut mapping = Self { by_id: BTreeMap::new(), by_name: BTreeMap::new(), names };
        for (index, entry) in map.keys.spatialos.components.iter().enumerate() {
            let key = format!("spatialos.components[{index}]");
            let wrong = |reason: String| map.wrong(entry.to.span(), &key, reason);
            let component =
                schema.component_named(entry.to.get_ref()).map_err(|error| wrong(error.detail))?;
            if component.id() == ComponentId::POSITION {
                return Err(wrong("Position is mapped already: 54, improbable.Position".to_owned()));
            }
            if entry.id.is_none() && entry.name.is_none() {
                return Err(wrong("an id (binary snapshots), a name (JSON) or both are needed".to_owned()));
            }
            let taken = |what: &str| wrong(format!("{what} is mapped already"));
            if let Some(id) = entry.id
                && (id == POSITION.0 || mapping.by_id.insert(id, component.clone()).is_some())
            {
                return Err(taken(&id.to_string()));
            }
            if let Some(name) = &entry.name
                && (name == POSITION.1 || mapping.by_name.insert(name.clone(), component.clone()).is_some())
            {
                return Err(taken(name));
            }
            if let (Some(id), Some(name)) = (entry.id, &entry.name) {
                mapping.names.insert(id, name.clone());
            }
        }
        Ok(mapping)
    }

    fn name_of(&self, id: u32) -> String {
        self.names.get(&id).map_or_else(|| id.to_string(), |name| format!("{id} {name}"))
    }
}

/// How often each component was left out.
#[derive(Default)]
struct Counts(BTreeMap<String, u64>);

impl Counts {
    fn add(&mut self, name: String) {
        *self.0.entry(name).or_insert(0) += 1;
    }

    fn list(self) -> Vec<LeftOut> {
        self.0.into_iter().map(|(name, count)| LeftOut { name, count }).collect()
    }
}

/// Their axes as ours.
fn position(x: f64, y: f64, z: f64) -> Position {
    Position::new(SpaceId(0), x, z, y)
}

fn mapping_of(map: Option<&MapFile>, schema: &Schema) -> Result<Mapping, SnapshotError> {
    match map {
        Some(map) => Ok(Mapping::new(map, schema)?),
        None => Ok(Mapping::new(&MapFile::empty(), schema)?),
    }
}
