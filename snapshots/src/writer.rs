//! Writes a snapshot as a stream: blocks leave memory as they fill.

mod target;

use std::path::Path;

use sha2::{Digest, Sha256};
use spatialdb_types::{ComponentId, EntityId, Position};

use crate::{
    block::{Block, BlockBuilder},
    error::{Part, SnapshotError},
    footer::{BlockInfo, SpaceBounds, Totals, encode_footer},
    header::Header,
    limits::{BLOCK_ENTITIES_MAX, COMPONENTS_MAX},
    reader::hex,
    trailer::Trailer,
};
use target::Target;

/// A block is ended once its body is this large.
const BLOCK_BYTES_TARGET: usize = 1 << 20;

/// How to write.
#[derive(Clone, Copy, Debug)]
pub struct WriterOptions {
    /// The level of zstd, 1 to 22. Reading is as fast at any.
    pub zstd_level: i32,
    /// Entities of a block: fewer make finer seeking, more a smaller file.
    pub block_entities: usize,
    /// The world's mark of ids already given; the file gets this or the largest id + 1, whichever is more.
    pub next_entity_id: u64,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { zstd_level: 3, block_entities: 8192, next_entity_id: 1 }
    }
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Counts and the mark of ids.
    pub totals: Totals,
    /// Blocks in the file.
    pub block_count: usize,
    /// Size of the file.
    pub file_bytes: u64,
    /// SHA-256 of everything before the trailer, hexadecimal.
    pub digest: String,
}

/// A snapshot being written. Equal input gives equal bytes.
///
/// Memory is bounded by one block and the index. Nothing stands under the final name until [`Writer::finish`] has
/// put all of it on disk; a writer that is dropped leaves nothing behind.
pub struct Writer {
    target: Target,
    header: Header,
    options: WriterOptions,
    compressor: zstd::bulk::Compressor<'static>,
    builder: BlockBuilder,
    blocks: Vec<BlockInfo>,
    totals: Totals,
    hash: Sha256,
    offset: u64,
}

impl Writer {
    /// Starts a file beside `path`.
    ///
    /// # Errors
    /// If the header breaks a limit, the options are out of range or the folder cannot be written to.
    pub fn create(
        path: impl AsRef<Path>,
        header: Header,
        options: WriterOptions,
    ) -> Result<Self, SnapshotError> {
        check_options(&options)?;
        let head = header.encode()?;
        let compressor = zstd::bulk::Compressor::new(options.zstd_level)
            .map_err(|error| SnapshotError::unwritable("file", format!("zstd: {error}")))?;
        let mut writer = Self {
            target: Target::create(path.as_ref())?,
            header,
            options,
            compressor,
            builder: BlockBuilder::default(),
            blocks: Vec::new(),
            totals: Totals::default(),
            hash: Sha256::new(),
            offset: 0,
        };
        writer.put(&head)?;
        Ok(writer)
    }

    /// Adds an entity. Any order is right, but a block covers a small area only if neighbours in space come one after
    /// the other. That an id is new is checked inside a block; over the whole file it is for the caller to know.
    ///
    /// # Errors
    /// `Unwritable` if the entity breaks a rule of the format: the writer is as before and may go on. After `Io` the
    /// writer is of no further use.
    pub fn push<'a>(
        &mut self,
        id: EntityId,
        position: Option<Position>,
        values: impl IntoIterator<Item = (ComponentId, &'a [u8])>,
    ) -> Result<(), SnapshotError> {
        if let Some(space) = position.map(|position| position.space.0)
            && !self.header.has_space(space)
        {
            let reason = format!("space {space} is not one of the world");
            return Err(SnapshotError::unwritable(format!("entity {id}"), reason));
        }
        self.builder.push(id, position, values)?;
        let full = self.builder.entity_count() >= self.options.block_entities
            || self.builder.raw_bytes() >= BLOCK_BYTES_TARGET;
        if full { self.end_block() } else { Ok(()) }
    }

    /// Ends the file, waits until it is on disk and gives it its name, replacing a file of that name.
    ///
    /// # Errors
    /// If something cannot be written; what stood under the name before still does.
    pub fn finish(mut self) -> Result<Summary, SnapshotError> {
        if self.builder.entity_count() > 0 {
            self.end_block()?;
        }
        let largest = self.blocks.iter().map(|block| block.last_id).max().unwrap_or(0);
        self.totals.next_entity_id = self.options.next_entity_id.max(largest + 1);
        let footer = encode_footer(&self.totals, &self.blocks);
        let footer_offset = self.offset;
        self.put(&footer)?;
        let trailer = Trailer {
            footer_offset,
            footer_bytes: footer.len() as u32,
            footer_checksum: crc32c::crc32c(&footer),
            digest: self.hash.finalize().into(),
        };
        let tail = trailer.encode();
        self.target.write(&tail)?;
        self.target.commit()?;
        Ok(Summary {
            totals: self.totals,
            block_count: self.blocks.len(),
            file_bytes: self.offset + tail.len() as u64,
            digest: hex(&trailer.digest),
        })
    }

    fn end_block(&mut self) -> Result<(), SnapshotError> {
        let raw = self.builder.encode()?;
        let packed = self
            .compressor
            .compress(&raw)
            .map_err(|error| SnapshotError::unwritable("block", format!("zstd: {error}")))?;
        let mut prefix = Vec::with_capacity(12);
        prefix.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        prefix.extend_from_slice(&(raw.len() as u32).to_le_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&prefix), &packed);
        prefix.extend_from_slice(&checksum.to_le_bytes());

        let (packed_bytes, raw_bytes) = (packed.len() as u32, raw.len() as u32);
        let part = Part::Block { index: self.blocks.len(), offset: self.offset };
        // What a reader will see is what the index is made from.
        let block = Block::decode(&raw, part)?;
        let info = BlockInfo {
            offset: self.offset,
            packed_bytes,
            raw_bytes,
            checksum,
            entity_count: block.entities.len() as u32,
            first_id: block.entities.first().copied().unwrap_or(0),
            last_id: block.entities.last().copied().unwrap_or(0),
            spaces: SpaceBounds::of(&block.positions),
        };
        self.totals.count(&block);
        if self.totals.components.len() > COMPONENTS_MAX as usize {
            let reason = format!("more than {COMPONENTS_MAX} component types");
            return Err(SnapshotError::unwritable("file", reason));
        }
        self.blocks.push(info);
        self.put(&prefix)?;
        self.put(&packed)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.hash.update(bytes);
        self.offset += bytes.len() as u64;
        self.target.write(bytes)
    }
}

fn check_options(options: &WriterOptions) -> Result<(), SnapshotError> {
    if !(1..=22).contains(&options.zstd_level) {
        let reason = format!("the level is 1 to 22, not {}", options.zstd_level);
        return Err(SnapshotError::unwritable("file", reason));
    }
    if !(1..=BLOCK_ENTITIES_MAX as usize).contains(&options.block_entities) {
        let reason =
            format!("a block has 1 to {BLOCK_ENTITIES_MAX} entities, not {}", options.block_entities);
        return Err(SnapshotError::unwritable("file", reason));
    }
    if !(1..=spatialdb_types::ID_END).contains(&options.next_entity_id) {
        let reason = format!("the next entity id is 1 to 2^53, not {}", options.next_entity_id);
        return Err(SnapshotError::unwritable("file", reason));
    }
    Ok(())
}
