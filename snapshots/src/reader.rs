//! Opens a snapshot and reads its blocks.

use std::path::Path;

use sha2::{Digest, Sha256};
use spatialdb_schema::Schema;
use spatialdb_types::{Box3, SpaceId};

use crate::{
    block::Block,
    error::{Part, SnapshotError},
    footer::{BLOCK_PREFIX_BYTES, BlockInfo, Totals, decode_footer},
    header::{Header, PRELUDE_BYTES, unpack},
    source::Source,
    trailer::{TRAILER_BYTES, Trailer},
};

const DIGEST_CHUNK_BYTES: u64 = 1 << 20;

/// An open snapshot. Reading takes `&self`: share it between threads.
pub struct Reader {
    source: Source,
    header: Header,
    totals: Totals,
    blocks: Vec<BlockInfo>,
    trailer: Trailer,
}

impl Reader {
    /// Opens a file and reads its header and index, not its blocks.
    ///
    /// # Errors
    /// If it cannot be read, is no snapshot or of another version, is cut off, or its header or index is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SnapshotError> {
        Self::from_source(Source::open(path.as_ref())?)
    }

    /// The same for a snapshot in memory.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, SnapshotError> {
        Self::from_source(Source::Memory(bytes))
    }

    fn from_source(source: Source) -> Result<Self, SnapshotError> {
        let (header, header_end) = read_header(&source)?;
        let trailer_offset =
            source.length().checked_sub(TRAILER_BYTES as u64).ok_or(SnapshotError::Truncated {
                part: Part::Trailer,
                expected: TRAILER_BYTES as u64,
                found: source.length(),
            })?;
        let trailer = source.read(Part::Trailer, trailer_offset, TRAILER_BYTES)?;
        let trailer = Trailer::decode(&trailer, source.length())?;
        let footer = source.read(Part::Footer, trailer.footer_offset, trailer.footer_bytes as usize)?;
        check_crc(Part::Footer, trailer.footer_checksum, crc32c::crc32c(&footer))?;
        let (totals, blocks) = decode_footer(&footer, header_end, trailer.footer_offset)?;
        Ok(Self { source, header, totals, blocks, trailer })
    }

    /// Which world, spaces and schema.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How much there is.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The index: where each block is and what it holds.
    pub fn blocks(&self) -> &[BlockInfo] {
        &self.blocks
    }

    /// The schema that the file carries, compiled.
    ///
    /// # Errors
    /// `Schema` if it does not load or is not the one that the header names.
    pub fn schema(&self) -> Result<Schema, SnapshotError> {
        self.header.schema()
    }

    /// The size of the file in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.source.length()
    }

    /// The SHA-256 of everything before the trailer as the file states it, hexadecimal. Only `verify` compares it.
    pub fn digest(&self) -> String {
        hex(&self.trailer.digest)
    }

    /// The blocks that may hold a position of that space inside the box.
    pub fn blocks_in<'a>(&'a self, space: SpaceId, area: &'a Box3) -> impl Iterator<Item = usize> + 'a {
        let meets = move |info: &BlockInfo| {
            info.spaces.iter().any(|bounds| bounds.space == space.0 && bounds.meets(area))
        };
        self.blocks.iter().enumerate().filter(move |(_, info)| meets(info)).map(|(index, _)| index)
    }

    /// Which part of the file a block is, for errors.
    pub fn part(&self, index: usize) -> Part {
        Part::Block { index, offset: self.blocks.get(index).map_or(0, |info| info.offset) }
    }

    /// Reads, checks and decodes one block. That ids are unique is checked inside the block; over the whole file it
    /// is for the caller or [`verify`](crate::verify) to check, as is that values fit the schema.
    ///
    /// # Errors
    /// If the block is damaged, breaks the format, or is not what the index says.
    ///
    /// # Panics
    /// If there is no block of that number.
    pub fn read_block(&self, index: usize) -> Result<Block, SnapshotError> {
        let (info, part) = (&self.blocks[index], self.part(index));
        let frame_bytes = BLOCK_PREFIX_BYTES as usize + info.packed_bytes as usize;
        let frame = self.source.read(part, info.offset, frame_bytes)?;
        let (prefix, packed) = frame.split_at(BLOCK_PREFIX_BYTES as usize);
        let found = crc32c::crc32c_append(crc32c::crc32c(&prefix[..8]), packed);
        check_crc(part, info.checksum, found)?;
        let mut expected = Vec::with_capacity(prefix.len());
        for value in [info.packed_bytes, info.raw_bytes, info.checksum] {
            expected.extend_from_slice(&value.to_le_bytes());
        }
        if prefix != expected {
            let (expected, found) = (format!("{expected:02x?} as in the index"), format!("{prefix:02x?}"));
            return Err(SnapshotError::malformed(part, "lengths and checksum", expected, found));
        }
        let raw = unpack(packed, info.raw_bytes as usize, part)?;
        let block = Block::decode(&raw, part)?;
        self.check_against_index(&block, info, part)?;
        Ok(block)
    }

    fn check_against_index(&self, block: &Block, info: &BlockInfo, part: Part) -> Result<(), SnapshotError> {
        let wrong = |field, expected: String, found: String| {
            Err(SnapshotError::malformed(part, field, format!("{expected} as in the index"), found))
        };
        if block.entities.len() != info.entity_count as usize {
            return wrong("entity count", info.entity_count.to_string(), block.entities.len().to_string());
        }
        let (first, last) = (block.entities.first().copied(), block.entities.last().copied());
        if (first, last) != (Some(info.first_id), Some(info.last_id)) {
            let expected = format!("{} to {}", info.first_id, info.last_id);
            return wrong("entity ids", expected, format!("{first:?} to {last:?}"));
        }
        // Positions mostly stay in one space: look each run up once.
        for run in block.positions.space.chunk_by(|a, b| a == b) {
            if !self.header.has_space(run[0]) {
                let expected = "a space of the header";
                return Err(SnapshotError::malformed(part, "position spaces", expected, run[0]));
            }
        }
        Ok(())
    }

    /// Computes the digest of the file and compares it with the one in the trailer.
    pub(crate) fn check_digest(&self, mut progress: impl FnMut(u64)) -> Result<(), SnapshotError> {
        let end = self.source.length() - TRAILER_BYTES as u64;
        let mut hash = Sha256::new();
        let mut offset = 0;
        while offset < end {
            let count = (end - offset).min(DIGEST_CHUNK_BYTES);
            hash.update(self.source.read(Part::Trailer, offset, count as usize)?);
            offset += count;
            progress(count);
        }
        let found: [u8; 32] = hash.finalize().into();
        if found != self.trailer.digest {
            return Err(SnapshotError::Digest { expected: self.digest(), found: hex(&found) });
        }
        Ok(())
    }
}

fn read_header(source: &Source) -> Result<(Header, u64), SnapshotError> {
    let available = source.length().min(PRELUDE_BYTES as u64) as usize;
    let mut bytes = source.read(Part::Header, 0, available)?;
    let body_bytes = Header::decode_prelude(&bytes)?;
    let rest = source.read(Part::Header, PRELUDE_BYTES as u64, body_bytes + 4)?;
    let (body, checksum) = rest.split_at(body_bytes);
    bytes.extend_from_slice(body);
    let mut expected = [0; 4];
    expected.copy_from_slice(checksum);
    check_crc(Part::Header, u32::from_le_bytes(expected), crc32c::crc32c(&bytes))?;
    let header = Header::decode_body(body)?;
    Ok((header, (PRELUDE_BYTES + body_bytes + 4) as u64))
}

fn check_crc(part: Part, expected: u32, found: u32) -> Result<(), SnapshotError> {
    if expected == found { Ok(()) } else { Err(SnapshotError::Checksum { part, expected, found }) }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
