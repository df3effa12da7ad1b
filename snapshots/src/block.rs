//! One block of entities as columns, and how it is read from its bytes.

mod encode;

pub(crate) use encode::BlockBuilder;

use spatialdb_types::{ComponentId, EntityId, ID_END, Position, SpaceId};

use crate::{
    codec::Cursor,
    error::{Part, SnapshotError},
    limits::{BLOCK_ENTITIES_MAX, COMPONENTS_MAX, POSITION_ABS_M_MAX, VALUE_BYTES_MAX},
};

/// Some entities of a world. Decoding has checked everything that needs no schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// Ids, strictly rising, each valid. A *row* is an index into this.
    pub entities: Vec<u64>,
    /// The positions of the entities that have one.
    pub positions: BlockPositions,
    /// Every other component that an entity of the block has, by rising id.
    pub columns: Vec<BlockColumn>,
}

/// Positions.
///
/// # Shape
/// All vectors are of one length; `rows` strictly rises.
///
/// # Units
/// Metres, finite, within `POSITION_ABS_M_MAX` on each axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlockPositions {
    /// Rows of the block.
    pub rows: Vec<u32>,
    /// The space of each, which the reader has found in the header.
    pub space: Vec<u32>,
    /// East.
    pub x: Vec<f64>,
    /// North.
    pub y: Vec<f64>,
    /// Up.
    pub z: Vec<f64>,
}

/// The values of one component.
///
/// # Shape
/// `rows` strictly rises; `ends` is as long and never falls. Value i is `bytes[ends[i - 1]..ends[i]]`, from 0 for
/// the first.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockColumn {
    /// Which component; never Position.
    pub component: ComponentId,
    /// Rows of the block.
    pub rows: Vec<u32>,
    /// Where each value ends in `bytes`.
    pub ends: Vec<u32>,
    /// All values, one after the other. Not checked against a schema.
    pub bytes: Vec<u8>,
}

/// One entity of a block.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityRow<'a> {
    /// Its id.
    pub id: EntityId,
    /// Where it is, if anywhere.
    pub position: Option<Position>,
    /// Its other components, by rising id.
    pub values: Vec<(ComponentId, &'a [u8])>,
}

impl BlockColumn {
    /// The value at an index of `rows`; empty past the end.
    pub fn value(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends.get(index - 1).copied().unwrap_or(0) };
        let end = self.ends.get(index).copied().unwrap_or(start);
        self.bytes.get(start as usize..end as usize).unwrap_or_default()
    }
}

impl Block {
    /// The entities one by one, by rising id. Bulk loading takes the columns instead.
    pub fn iter(&self) -> impl Iterator<Item = EntityRow<'_>> {
        let mut position_next = 0;
        let mut column_next = vec![0; self.columns.len()];
        self.entities.iter().zip(0_u32..).map(move |(&id, row)| {
            let position = (self.positions.rows.get(position_next) == Some(&row)).then(|| {
                position_next += 1;
                self.positions.get(position_next - 1)
            });
            let mut values = Vec::with_capacity(self.columns.len());
            for (column, next) in self.columns.iter().zip(&mut column_next) {
                if column.rows.get(*next) == Some(&row) {
                    values.push((column.component, column.value(*next)));
                    *next += 1;
                }
            }
            EntityRow { id: EntityId(id), position, values }
        })
    }

    /// The entity of a row, found by binary search in each column. [`Self::iter`] is faster for all of them.
    ///
    /// # Panics
    /// If the block has no such row.
    pub fn row(&self, row: u32) -> EntityRow<'_> {
        let position = self.positions.rows.binary_search(&row).ok().map(|index| self.positions.get(index));
        let value = |column: &'_ BlockColumn| column.rows.binary_search(&row).ok();
        let values = self
            .columns
            .iter()
            .filter_map(|column| value(column).map(|index| (column.component, column.value(index))));
        EntityRow { id: EntityId(self.entities[row as usize]), position, values: values.collect() }
    }

    /// Reads the uncompressed body of a block.
    pub(crate) fn decode(raw: &[u8], part: Part) -> Result<Self, SnapshotError> {
        let mut cursor = Cursor::new(raw, part);
        let entity_count = cursor.u32_in("entity count", 1, BLOCK_ENTITIES_MAX)?;
        let position_count = cursor.u32_in("position count", 0, entity_count)?;
        let column_count = cursor.u32_in("column count", 0, COMPONENTS_MAX)?;
        let entities = decode_ids(&mut cursor, entity_count as usize)?;
        let positions = BlockPositions::decode(&mut cursor, position_count, entity_count)?;
        let mut columns: Vec<BlockColumn> = Vec::new();
        for _ in 0..column_count {
            let above = columns.last().map_or(0, |column| column.component.0);
            columns.push(BlockColumn::decode(&mut cursor, above, entity_count)?);
        }
        cursor.end("end of block")?;
        Ok(Self { entities, positions, columns })
    }
}

fn decode_ids(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<u64>, SnapshotError> {
    let mut ids = cursor.u64_planes("entity ids", count)?;
    let mut last = 0_u64;
    for id in &mut ids {
        let gap = *id;
        *id = match last.checked_add(gap) {
            Some(id) if gap > 0 && id < ID_END => id,
            _ => {
                let expected = format!("ids that rise from {last} and stay below {ID_END}");
                return Err(cursor.wrong("entity ids", expected, format!("a step of {gap}")));
            }
        };
        last = *id;
    }
    Ok(ids)
}

/// Rows: none are stored when every entity has one, else the first and then the steps.
fn decode_rows(cursor: &mut Cursor<'_>, count: u32, entities: u32) -> Result<Vec<u32>, SnapshotError> {
    if count == entities {
        return Ok((0..count).collect());
    }
    let mut rows = cursor.u32_planes("rows", count as usize)?;
    let mut next = 0_u32;
    for row in &mut rows {
        let skipped = *row;
        *row = match next.checked_add(skipped) {
            Some(row) if row < entities => row,
            _ => {
                let expected = format!("rows below {entities}");
                return Err(cursor.wrong("rows", expected, format!("{skipped} skipped from {next}")));
            }
        };
        next = *row + 1;
    }
    Ok(rows)
}

impl BlockPositions {
    /// The position at an index of `rows`.
    ///
    /// # Panics
    /// If the index is not below the length of `rows`.
    pub fn get(&self, index: usize) -> Position {
        Position::new(SpaceId(self.space[index]), self.x[index], self.y[index], self.z[index])
    }

    fn decode(cursor: &mut Cursor<'_>, count: u32, entities: u32) -> Result<Self, SnapshotError> {
        let rows = decode_rows(cursor, count, entities)?;
        let count = count as usize;
        let space = cursor.u32_planes("position spaces", count)?;
        let axis = |cursor: &mut Cursor<'_>, field| {
            let values = cursor.f64_planes(field, count)?;
            match values.iter().find(|value| value.is_nan() || value.abs() > POSITION_ABS_M_MAX) {
                Some(value) => {
                    let expected = format!("finite metres within +-{POSITION_ABS_M_MAX}");
                    Err(cursor.wrong(field, expected, value))
                }
                None => Ok(values),
            }
        };
        let (x, y, z) =
            (axis(cursor, "position x")?, axis(cursor, "position y")?, axis(cursor, "position z")?);
        Ok(Self { rows, space, x, y, z })
    }
}

impl BlockColumn {
    fn decode(cursor: &mut Cursor<'_>, above: u32, entities: u32) -> Result<Self, SnapshotError> {
        let component = ComponentId(cursor.u32_in("component id", 1, ComponentId::LAST.0)?);
        if component.0 <= above || component == ComponentId::POSITION {
            let expected = format!("more than {above} and not that of Position");
            return Err(cursor.wrong("component id", expected, component));
        }
        let count = cursor.u32_in("value count", 1, entities)?;
        let total = cursor.u32("value bytes")?;
        let rows = decode_rows(cursor, count, entities)?;
        let mut ends = cursor.u32_planes("value lengths", count as usize)?;
        let mut end = 0_u64;
        for length in &mut ends {
            end += u64::from(*length);
            if *length > VALUE_BYTES_MAX || end > u64::from(total) {
                let expected = format!("at most {VALUE_BYTES_MAX} bytes each and {total} together");
                return Err(cursor.wrong("value lengths", expected, length));
            }
            *length = end as u32;
        }
        if end != u64::from(total) {
            return Err(cursor.wrong("value lengths", format!("a sum of {total}"), end));
        }
        let bytes = cursor.bytes("values", total as usize)?.to_vec();
        Ok(Self { component, rows, ends, bytes })
    }
}
