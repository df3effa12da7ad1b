//! The footer of a file: totals, and the index of the blocks.

use spatialdb_types::{Box3, ComponentId, ID_END, Point3};

use crate::{
    block::{Block, BlockPositions},
    codec::{Cursor, put_u32, put_u64},
    error::{Part, SnapshotError},
    limits::{BLOCK_ENTITIES_MAX, BLOCK_RAW_BYTES_MAX, COMPONENTS_MAX, SPACES_MAX},
};

/// Lengths and checksum before each block.
pub(crate) const BLOCK_PREFIX_BYTES: u64 = 12;

/// Bytes that the position of one entity counts in the totals: a `u32` and three doubles.
const POSITION_BYTES: u64 = 28;
const BLOCK_ENTRY_BYTES_MIN: usize = 44;

/// How much there is of one component in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComponentTotal {
    /// Which component.
    pub component: ComponentId,
    /// How many entities have it.
    pub count: u64,
    /// Bytes of all its values, uncompressed; a Position counts 28.
    pub bytes: u64,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entities of all blocks.
    pub entity_count: u64,
    /// Above every id ever given in the world: the first that may be given next.
    pub next_entity_id: u64,
    /// By rising component id; Position included.
    pub components: Vec<ComponentTotal>,
}

/// Where the entities of a block are in one space.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpaceBounds {
    /// The space.
    pub space: u32,
    /// Entities there.
    pub count: u32,
    /// The smallest x, y and z that occur.
    pub min: Point3,
    /// The largest x, y and z that occur, so inclusive.
    pub max: Point3,
}

/// What the index says of one block.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockInfo {
    /// Where it starts, in bytes from the start of the file.
    pub offset: u64,
    /// Its size in the file, without the 12 bytes before it.
    pub packed_bytes: u32,
    /// Its size uncompressed.
    pub raw_bytes: u32,
    /// The CRC32C of its lengths and compressed bytes.
    pub checksum: u32,
    /// How many entities it holds.
    pub entity_count: u32,
    /// The smallest id in it.
    pub first_id: u64,
    /// The largest id in it.
    pub last_id: u64,
    /// By rising space; empty when no entity has a position.
    pub spaces: Vec<SpaceBounds>,
}

impl SpaceBounds {
    /// Whether some position of the block may be in the box.
    pub fn meets(&self, area: &Box3) -> bool {
        let (min, max) = (self.min, self.max);
        let x = min.x < area.max.x && max.x >= area.min.x;
        let y = min.y < area.max.y && max.y >= area.min.y;
        let z = min.z < area.max.z && max.z >= area.min.z;
        x && y && z
    }

    /// The bounds that hold both; the space is that of the first.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        let count = self.count.saturating_add(other.count);
        let (low, high) = (other.min, other.max);
        let min = Point3::new(self.min.x.min(low.x), self.min.y.min(low.y), self.min.z.min(low.z));
        let max = Point3::new(self.max.x.max(high.x), self.max.y.max(high.y), self.max.z.max(high.z));
        Self { space: self.space, count, min, max }
    }

    /// The bounds of positions, by rising space.
    pub(crate) fn of(positions: &BlockPositions) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for index in 0..positions.rows.len() {
            let at = positions.get(index);
            let one = Self { space: at.space.0, count: 1, min: at.point, max: at.point };
            match all.iter_mut().rev().find(|bounds| bounds.space == at.space.0) {
                Some(bounds) => *bounds = bounds.joined(one),
                None => all.push(one),
            }
        }
        all.sort_by_key(|bounds| bounds.space);
        all
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_u32(out, self.space);
        put_u32(out, self.count);
        for value in [self.min.x, self.min.y, self.min.z, self.max.x, self.max.y, self.max.z] {
            put_u64(out, value.to_bits());
        }
    }

    fn decode(cursor: &mut Cursor<'_>) -> Result<Self, SnapshotError> {
        let space = cursor.u32("bounds space")?;
        let count = cursor.u32_in("bounds count", 1, BLOCK_ENTITIES_MAX)?;
        let mut point = || -> Result<Point3, SnapshotError> {
            Ok(Point3::new(cursor.f64("bounds")?, cursor.f64("bounds")?, cursor.f64("bounds")?))
        };
        let (min, max) = (point()?, point()?);
        Ok(Self { space, count, min, max })
    }
}

impl Totals {
    /// The total of that component; 0 of one that does not occur.
    pub fn component(&self, component: ComponentId) -> ComponentTotal {
        let found = self.components.binary_search_by_key(&component, |total| total.component);
        found.map_or(ComponentTotal { component, count: 0, bytes: 0 }, |index| self.components[index])
    }

    /// Adds the entities and values of a block.
    pub(crate) fn count(&mut self, block: &Block) {
        self.entity_count += block.entities.len() as u64;
        let positions = block.positions.rows.len() as u64;
        if positions > 0 {
            self.add(ComponentId::POSITION, positions, positions * POSITION_BYTES);
        }
        for column in &block.columns {
            self.add(column.component, column.rows.len() as u64, column.bytes.len() as u64);
        }
    }

    fn add(&mut self, component: ComponentId, count: u64, bytes: u64) {
        match self.components.binary_search_by_key(&component, |total| total.component) {
            Ok(index) => {
                self.components[index].count += count;
                self.components[index].bytes += bytes;
            }
            Err(index) => self.components.insert(index, ComponentTotal { component, count, bytes }),
        }
    }

    fn decode(cursor: &mut Cursor<'_>) -> Result<Self, SnapshotError> {
        let entity_count = cursor.u64("entity count")?;
        let next_entity_id = cursor.u64("next entity id")?;
        if next_entity_id == 0 || next_entity_id > ID_END {
            return Err(cursor.wrong("next entity id", format!("1 to {ID_END}"), next_entity_id));
        }
        let count = cursor.u32_in("component count", 0, COMPONENTS_MAX)?;
        let mut components: Vec<ComponentTotal> = Vec::new();
        for _ in 0..count {
            let component = ComponentId(cursor.u32_in("component id", 1, ComponentId::LAST.0)?);
            if let Some(last) = components.last().filter(|last| last.component >= component) {
                return Err(cursor.wrong("component id", format!("more than {}", last.component), component));
            }
            let (count, bytes) = (cursor.u64("component count")?, cursor.u64("component bytes")?);
            components.push(ComponentTotal { component, count, bytes });
        }
        Ok(Self { entity_count, next_entity_id, components })
    }
}

impl BlockInfo {
    /// Where the next part of the file starts.
    pub fn end(&self) -> u64 {
        self.offset + BLOCK_PREFIX_BYTES + u64::from(self.packed_bytes)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.offset);
        for value in [self.packed_bytes, self.raw_bytes, self.checksum, self.entity_count] {
            put_u32(out, value);
        }
        put_u64(out, self.first_id);
        put_u64(out, self.last_id);
        put_u32(out, self.spaces.len() as u32);
        self.spaces.iter().for_each(|bounds| bounds.encode(out));
    }

    /// Reads one entry; the block must start at `offset` and end before the footer.
    fn decode(cursor: &mut Cursor<'_>, offset: u64, footer: u64) -> Result<Self, SnapshotError> {
        let found = cursor.u64("block offset")?;
        if found != offset {
            return Err(cursor.wrong("block offset", offset.to_string(), found));
        }
        let mut info = Self {
            offset,
            packed_bytes: cursor.u32("compressed block length")?,
            raw_bytes: cursor.u32_in("block length", 1, BLOCK_RAW_BYTES_MAX)?,
            checksum: cursor.u32("block checksum")?,
            entity_count: cursor.u32_in("entities of block", 1, BLOCK_ENTITIES_MAX)?,
            first_id: cursor.u64("first id of block")?,
            last_id: cursor.u64("last id of block")?,
            spaces: Vec::new(),
        };
        if info.end() > footer {
            let expected = format!("a block that ends at or before {footer}");
            return Err(cursor.wrong("compressed block length", expected, info.packed_bytes));
        }
        let spaces = cursor.u32_in("spaces of block", 0, SPACES_MAX)?;
        for _ in 0..spaces {
            info.spaces.push(SpaceBounds::decode(cursor)?);
        }
        Ok(info)
    }
}

/// The bytes of a footer.
pub(crate) fn encode_footer(totals: &Totals, blocks: &[BlockInfo]) -> Vec<u8> {
    let mut out = Vec::new();
    put_u64(&mut out, totals.entity_count);
    put_u64(&mut out, totals.next_entity_id);
    put_u32(&mut out, totals.components.len() as u32);
    for total in &totals.components {
        put_u32(&mut out, total.component.0);
        put_u64(&mut out, total.count);
        put_u64(&mut out, total.bytes);
    }
    put_u32(&mut out, blocks.len() as u32);
    blocks.iter().for_each(|block| block.encode(&mut out));
    out
}

/// Reads a footer whose checksum has been found right. The blocks must tile the file from the end of the header to
/// the start of the footer, so that no byte is outside every checksum.
pub(crate) fn decode_footer(
    bytes: &[u8],
    header_end: u64,
    footer_offset: u64,
) -> Result<(Totals, Vec<BlockInfo>), SnapshotError> {
    let mut cursor = Cursor::new(bytes, Part::Footer);
    let totals = Totals::decode(&mut cursor)?;
    let count = cursor.u32("block count")? as usize;
    let room = cursor.remaining() / BLOCK_ENTRY_BYTES_MIN;
    if count > room {
        return Err(cursor.wrong("block count", format!("at most {room}"), count));
    }
    let mut blocks: Vec<BlockInfo> = Vec::with_capacity(count);
    let (mut offset, mut entities) = (header_end, 0_u64);
    for _ in 0..count {
        let info = BlockInfo::decode(&mut cursor, offset, footer_offset)?;
        if info.last_id >= totals.next_entity_id {
            let expected = format!("below the next entity id {}", totals.next_entity_id);
            return Err(cursor.wrong("last id of block", expected, info.last_id));
        }
        offset = info.end();
        entities += u64::from(info.entity_count);
        blocks.push(info);
    }
    if offset != footer_offset {
        return Err(cursor.wrong("end of blocks", footer_offset.to_string(), offset));
    }
    if entities != totals.entity_count {
        return Err(cursor.wrong(
            "entity count",
            format!("the {entities} of the blocks"),
            totals.entity_count,
        ));
    }
    cursor.end("end of footer")?;
    Ok((totals, blocks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_areas_half_open() {
        let bounds = SpaceBounds {
            space: 0,
            count: 2,
            min: Point3::new(0.0, 0.0, 0.0),
            max: Point3::new(9.0, 9.0, 0.0),
        };
        let area = |min, max| Box3 {
            min: Point3::new(min, 0.0, f64::NEG_INFINITY),
            max: Point3::new(max, 1.0, f64::INFINITY),
        };
        assert!(bounds.meets(&area(9.0, 10.0)));
        assert!(!bounds.meets(&area(9.5, 10.0)));
        assert!(!bounds.meets(&area(-1.0, 0.0)));
    }
}
