//! Collects entities and writes the body of a block.

use spatialdb_types::{ComponentId, EntityId, Position};

use crate::{
    codec::{put_u32, put_u32_planes, put_u64_planes},
    error::SnapshotError,
    limits::{ENTITY_BYTES_MAX, POSITION_ABS_M_MAX, VALUE_BYTES_MAX},
};

/// Bytes that an entity costs at most besides its values: id, row, position.
const ENTITY_BYTES: usize = 8 + 4 + 28;
/// Bytes that a value costs at most besides itself: row, length, and its column's head.
const VALUE_BYTES: usize = 8 + 12;
const BLOCK_HEAD_BYTES: usize = 12;

struct Row {
    id: u64,
    position: Option<Position>,
    /// Half-open, in `BlockBuilder::values`.
    values: (usize, usize),
}

struct Value {
    component: ComponentId,
    /// Half-open, in `BlockBuilder::bytes`.
    bytes: (usize, usize),
}

/// Entities on their way into one block.
#[derive(Default)]
pub(crate) struct BlockBuilder {
    rows: Vec<Row>,
    values: Vec<Value>,
    bytes: Vec<u8>,
}

impl BlockBuilder {
    pub(crate) fn entity_count(&self) -> usize {
        self.rows.len()
    }

    /// An upper bound of the size of the body.
    pub(crate) fn raw_bytes(&self) -> usize {
        BLOCK_HEAD_BYTES + self.rows.len() * ENTITY_BYTES + self.values.len() * VALUE_BYTES + self.bytes.len()
    }

    /// Adds an entity. On an error the builder is as before.
    pub(crate) fn push<'a>(
        &mut self,
        id: EntityId,
        position: Option<Position>,
        values: impl IntoIterator<Item = (ComponentId, &'a [u8])>,
    ) -> Result<(), SnapshotError> {
        let (values_before, bytes_before) = (self.values.len(), self.bytes.len());
        let pushed = self.try_push(id, position, values);
        if pushed.is_err() {
            self.values.truncate(values_before);
            self.bytes.truncate(bytes_before);
        }
        pushed
    }

    fn try_push<'a>(
        &mut self,
        id: EntityId,
        position: Option<Position>,
        values: impl IntoIterator<Item = (ComponentId, &'a [u8])>,
    ) -> Result<(), SnapshotError> {
        let refuse = |reason| Err(SnapshotError::unwritable(format!("entity {id}"), reason));
        if !id.is_valid() {
            return refuse("an id is not 0 and below 2^53".to_owned());
        }
        if let Some(p) = position.map(|position| position.point)
            && ![p.x, p.y, p.z].iter().all(|c| c.abs() <= POSITION_ABS_M_MAX)
        {
            return refuse(format!("position {p:?} is not finite and within +-{POSITION_ABS_M_MAX} metres"));
        }
        let (first, bytes_before) = (self.values.len(), self.bytes.len());
        for (component, bytes) in values {
            let known = (1..=ComponentId::LAST.0).contains(&component.0);
            if !known || component == ComponentId::POSITION {
                return refuse(format!("component {component} is not a component of a column"));
            }
            if self.values[first..].iter().any(|value| value.component == component) {
                return refuse(format!("component {component} is there twice"));
            }
            if bytes.len() > VALUE_BYTES_MAX as usize {
                let found = bytes.len();
                return refuse(format!(
                    "component {component} has {found} bytes, the limit is {VALUE_BYTES_MAX}"
                ));
            }
            let start = self.bytes.len();
            self.bytes.extend_from_slice(bytes);
            self.values.push(Value { component, bytes: (start, self.bytes.len()) });
        }
        let size = ENTITY_BYTES
            + BLOCK_HEAD_BYTES
            + (self.values.len() - first) * VALUE_BYTES
            + (self.bytes.len() - bytes_before);
        if size > ENTITY_BYTES_MAX as usize {
            return refuse(format!("its {size} bytes are more than the {ENTITY_BYTES_MAX} of the limit"));
        }
        self.rows.push(Row { id: id.0, position, values: (first, self.values.len()) });
        Ok(())
    }

    /// Writes the body and empties the builder.
    ///
    /// # Errors
    /// If an id is there twice.
    pub(crate) fn encode(&mut self) -> Result<Vec<u8>, SnapshotError> {
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_by_key(|row| row.id);
        if let Some(pair) = rows.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(SnapshotError::unwritable(format!("entity {}", pair[0].id), "the id is there twice"));
        }
        let columns = self.columns(&rows);
        let positions: Vec<(u32, Position)> = (0..)
            .zip(&rows)
            .filter_map(|(number, row): (u32, &Row)| row.position.map(|position| (number, position)))
            .collect();

        let mut out = Vec::with_capacity(self.raw_bytes());
        put_u32(&mut out, rows.len() as u32);
        put_u32(&mut out, positions.len() as u32);
        put_u32(&mut out, columns.len() as u32);
        let before = std::iter::once(0).chain(rows.iter().map(|row| row.id));
        put_u64_planes(&mut out, &rows.iter().zip(before).map(|(row, before)| row.id - before));
        put_positions(&mut out, &positions, rows.len());
        for column in &columns {
            self.put_column(&mut out, column, rows.len());
        }
        self.values.clear();
        self.bytes.clear();
        Ok(out)
    }

    /// Every value as (component, row, index), grouped by component, rows rising.
    fn columns(&self, rows: &[Row]) -> Vec<Vec<(ComponentId, u32, usize)>> {
        let mut all: Vec<(ComponentId, u32, usize)> = Vec::with_capacity(self.values.len());
        for (number, row) in (0..).zip(rows) {
            all.extend(
                (row.values.0..row.values.1).map(|index| (self.values[index].component, number, index)),
            );
        }
        all.sort_unstable();
        all.chunk_by(|a, b| a.0 == b.0).map(<[_]>::to_vec).collect()
    }

    fn put_column(&self, out: &mut Vec<u8>, column: &[(ComponentId, u32, usize)], entities: usize) {
        let values = column.iter().map(|&(_, _, index)| {
            let (start, end) = self.values[index].bytes;
            &self.bytes[start..end]
        });
        put_u32(out, column.first().map_or(0, |value| value.0.0));
        put_u32(out, column.len() as u32);
        put_u32(out, values.clone().map(<[u8]>::len).sum::<usize>() as u32);
        put_rows(out, column.iter().map(|&(_, row, _)| row), column.len(), entities);
        put_u32_planes(out, &values.clone().map(|value| value.len() as u32));
        values.for_each(|value| out.extend_from_slice(value));
    }
}

fn put_positions(out: &mut Vec<u8>, positions: &[(u32, Position)], entities: usize) {
    put_rows(out, positions.iter().map(|&(row, _)| row), positions.len(), entities);
    put_u32_planes(out, &positions.iter().map(|(_, position)| position.space.0));
    put_u64_planes(out, &positions.iter().map(|(_, position)| position.point.x.to_bits()));
    put_u64_planes(out, &positions.iter().map(|(_, position)| position.point.y.to_bits()));
    put_u64_planes(out, &positions.iter().map(|(_, position)| position.point.z.to_bits()));
}

fn put_rows(out: &mut Vec<u8>, rows: impl Iterator<Item = u32> + Clone, count: usize, entities: usize) {
    if count != entities {
        let next = std::iter::once(0).chain(rows.clone().map(|row| row + 1));
        put_u32_planes(out, &rows.zip(next).map(|(row, next)| row - next));
    }
}
