//! Checks all of a file: every checksum, the digest, ids, counts, bounds, and every value against the schema.

use spatialdb_schema::Schema;
use spatialdb_types::ComponentId;

use crate::{
    block::Block,
    error::{Part, SnapshotError},
    footer::{SpaceBounds, Totals},
    reader::Reader,
};

/// What a file that passed holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Counts, found by counting.
    pub totals: Totals,
    /// Blocks read.
    pub block_count: usize,
    /// SHA-256 of everything before the trailer, hexadecimal.
    pub digest: String,
    /// Fields that the schema does not have, kept as they are.
    pub unknown_fields: u64,
}

/// Reads everything and compares it with everything the file says of itself. `progress` is told bytes as they are
/// done; they add up to about twice the size of the file, which is read once for the digest and once by blocks.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(reader: &Reader, mut progress: impl FnMut(u64)) -> Result<Verified, SnapshotError> {
    let schema = reader.schema()?;
    let mut totals = Totals { next_entity_id: reader.totals().next_entity_id, ..Totals::default() };
    let mut unknown_fields = 0;
    let mut ids: Vec<(u64, u32)> = Vec::new();
    for (index, info) in reader.blocks().iter().enumerate() {
        let (block, part) = (reader.read_block(index)?, reader.part(index));
        let bounds = SpaceBounds::of(&block.positions);
        if bounds != info.spaces {
            let expected = format!("{:?} as in the index", info.spaces);
            return Err(SnapshotError::malformed(part, "bounds", expected, format!("{bounds:?}")));
        }
        unknown_fields += check_values(&block, &schema, part)?;
        totals.count(&block);
        ids.extend(block.entities.iter().map(|id| (*id, index as u32)));
        progress(u64::from(info.packed_bytes));
    }
    check_unique(reader, ids)?;
    if totals != *reader.totals() {
        let (expected, found) = (format!("{totals:?}"), format!("{:?}", reader.totals()));
        return Err(SnapshotError::malformed(Part::Footer, "totals", expected, found));
    }
    // Last, because a checksum that fails before says which block it is.
    reader.check_digest(&mut progress)?;
    Ok(Verified { totals, block_count: reader.blocks().len(), digest: reader.digest(), unknown_fields })
}

/// Checks every value of a block against the schema; says how many fields the schema does not know.
///
/// # Errors
/// `Payload` with the entity, the component, the field and the reason.
pub fn check_values(block: &Block, schema: &Schema, part: Part) -> Result<u64, SnapshotError> {
    let mut unknown_fields = 0;
    for column in &block.columns {
        let entity_of = |index: usize| block.entities[column.rows[index] as usize];
        let Some(component) = schema.component(column.component) else {
            return Err(unknown_component(part, entity_of(0), column.component));
        };
        for index in 0..column.rows.len() {
            let checked = component
                .check(column.value(index))
                .map_err(|error| SnapshotError::payload(part, entity_of(index), error))?;
            unknown_fields += u64::from(checked);
        }
    }
    Ok(unknown_fields)
}

pub(crate) fn unknown_component(part: Part, entity: u64, component: ComponentId) -> SnapshotError {
    let component = format!("component {component}");
    SnapshotError::Payload {
        part,
        entity,
        component,
        reason: "the schema has no component of that id".into(),
    }
}

fn check_unique(reader: &Reader, mut ids: Vec<(u64, u32)>) -> Result<(), SnapshotError> {
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(SnapshotError::DuplicateEntity {
            part: reader.part(pair[1].1 as usize),
            entity: pair[0].0,
            first_block: pair[0].1 as usize,
        }),
        None => Ok(()),
    }
}
