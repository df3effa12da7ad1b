//! The header of a file: which world, which spaces, which schema.
//!
//! Counts are not here but in the footer, because a writer that streams knows them only at the end.

use sha2::{Digest, Sha256};
use spatialdb_schema::Schema;

use crate::{
    FORMAT_VERSION,
    codec::{Cursor, put_text, put_u32},
    error::{Part, SnapshotError},
    limits::{HEADER_BYTES_MAX, NAME_BYTES_MAX, SCHEMA_BYTES_MAX, SPACES_MAX},
    reader::hex,
};

/// The first bytes: a byte that is no text, the name, and line ends that a text-mode transfer would change.
pub(crate) const MAGIC: [u8; 8] = *b"\x89SDBW\r\n\n";
/// Magic, version, length of the body.
pub(crate) const PRELUDE_BYTES: usize = 16;

const SCHEMA_ZSTD_LEVEL: i32 = 19;
const DIGEST_BYTES_MAX: u16 = 128;

/// A space of a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceEntry {
    /// Its id, as in `Position.space`.
    pub id: u32,
    /// Its name, e.g. "earth".
    pub name: String,
}

/// What a file says about its world before the first entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name of the world, e.g. "earth".
    pub world: String,
    /// The spaces, by rising id.
    pub spaces: Vec<SpaceEntry>,
    /// SHA-256 of `descriptor_set`, hexadecimal.
    pub schema_digest: String,
    /// The schema: a serialised `google.protobuf.FileDescriptorSet`.
    pub descriptor_set: Vec<u8>,
}

impl Header {
    /// A header for that world; spaces are put in order.
    pub fn new(world: impl Into<String>, mut spaces: Vec<SpaceEntry>, schema: &Schema) -> Self {
        spaces.sort_by_key(|space| space.id);
        Self {
            world: world.into(),
            spaces,
            schema_digest: hex(&Sha256::digest(schema.descriptor_set())),
            descriptor_set: schema.descriptor_set().to_vec(),
        }
    }

    /// The schema that the file carries, compiled.
    ///
    /// # Errors
    /// `Schema` if it does not load or is not the one that the digest names. The digest is that of the bytes in the
    /// file, so a later build that orders descriptors otherwise still takes them.
    pub fn schema(&self) -> Result<Schema, SnapshotError> {
        let found = hex(&Sha256::digest(&self.descriptor_set));
        if found != self.schema_digest {
            let reason = format!("expected digest {}, found {found}", self.schema_digest);
            return Err(SnapshotError::Schema { reason });
        }
        Schema::from_descriptor_set(&self.descriptor_set)
            .map_err(|error| SnapshotError::Schema { reason: error.to_string() })
    }

    /// Whether the world has a space of that id.
    pub fn has_space(&self, id: u32) -> bool {
        self.spaces.binary_search_by_key(&id, |space| space.id).is_ok()
    }

    /// The bytes from offset 0 to the first block.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, SnapshotError> {
        self.check_writable()?;
        let mut body = Vec::new();
        put_text(&mut body, &self.world);
        put_u32(&mut body, self.spaces.len() as u32);
        for space in &self.spaces {
            put_u32(&mut body, space.id);
            put_text(&mut body, &space.name);
        }
        put_text(&mut body, &self.schema_digest);
        let schema = zstd::bulk::compress(&self.descriptor_set, SCHEMA_ZSTD_LEVEL)
            .map_err(|error| SnapshotError::unwritable("header", format!("schema: {error}")))?;
        put_u32(&mut body, self.descriptor_set.len() as u32);
        put_u32(&mut body, schema.len() as u32);
        body.extend_from_slice(&schema);

        let mut out = Vec::with_capacity(PRELUDE_BYTES + body.len() + 4);
        out.extend_from_slice(&MAGIC);
        put_u32(&mut out, FORMAT_VERSION);
        put_u32(&mut out, body.len() as u32);
        out.extend_from_slice(&body);
        let checksum = crc32c::crc32c(&out);
        put_u32(&mut out, checksum);
        Ok(out)
    }

    fn check_writable(&self) -> Result<(), SnapshotError> {
        let refuse = |reason| Err(SnapshotError::unwritable("header", reason));
        let names = self.spaces.iter().map(|space| &space.name).chain([&self.world]);
        for name in names {
            if name.len() > usize::from(NAME_BYTES_MAX) {
                return refuse(format!("the name {name:?} is longer than {NAME_BYTES_MAX} bytes"));
            }
        }
        if self.spaces.len() > SPACES_MAX as usize {
            return refuse(format!("{} spaces are more than {SPACES_MAX}", self.spaces.len()));
        }
        if let Some(pair) = self.spaces.windows(2).find(|pair| pair[0].id >= pair[1].id) {
            return refuse(format!("space {} comes after space {}", pair[1].id, pair[0].id));
        }
        if self.schema_digest.len() > usize::from(DIGEST_BYTES_MAX) {
            return refuse(format!("the schema digest is longer than {DIGEST_BYTES_MAX} bytes"));
        }
        if self.descriptor_set.len() > SCHEMA_BYTES_MAX as usize {
            let found = self.descriptor_set.len();
            return refuse(format!("a schema of {found} bytes is larger than {SCHEMA_BYTES_MAX}"));
        }
        Ok(())
    }

    /// The length of the body, from the first 16 bytes of a file (fewer if the file is shorter).
    pub(crate) fn decode_prelude(prelude: &[u8]) -> Result<usize, SnapshotError> {
        if !prelude.starts_with(&MAGIC) {
            let found = prelude[..prelude.len().min(MAGIC.len())].to_vec();
            return Err(SnapshotError::NotASnapshot { expected: MAGIC, found });
        }
        if prelude.len() < PRELUDE_BYTES {
            let (expected, found) = (PRELUDE_BYTES as u64, prelude.len() as u64);
            return Err(SnapshotError::Truncated { part: Part::Header, expected, found });
        }
        let mut cursor = Cursor::new(&prelude[MAGIC.len()..], Part::Header);
        let version = cursor.u32("format version")?;
        if version != FORMAT_VERSION {
            return Err(SnapshotError::VersionUnsupported { found: version, supported: FORMAT_VERSION });
        }
        Ok(cursor.u32_in("header length", 0, HEADER_BYTES_MAX)? as usize)
    }

    /// Reads the body of a header whose checksum has been found right.
    pub(crate) fn decode_body(body: &[u8]) -> Result<Self, SnapshotError> {
        let mut cursor = Cursor::new(body, Part::Header);
        let world = cursor.text("world name", NAME_BYTES_MAX)?;
        let space_count = cursor.u32_in("space count", 0, SPACES_MAX)?;
        let mut spaces: Vec<SpaceEntry> = Vec::new();
        for _ in 0..space_count {
            let id = cursor.u32("space id")?;
            if let Some(last) = spaces.last().filter(|last| last.id >= id) {
                return Err(cursor.wrong("space id", format!("more than {}", last.id), id));
            }
            spaces.push(SpaceEntry { id, name: cursor.text("space name", NAME_BYTES_MAX)? });
        }
        let schema_digest = cursor.text("schema digest", DIGEST_BYTES_MAX)?;
        let raw_length = cursor.u32_in("schema length", 0, SCHEMA_BYTES_MAX)? as usize;
        let packed_length = cursor.u32("compressed schema length")? as usize;
        let packed = cursor.bytes("schema", packed_length)?;
        let descriptor_set = unpack(packed, raw_length, Part::Header)?;
        cursor.end("end of header")?;
        Ok(Self { world, spaces, schema_digest, descriptor_set })
    }
}

/// Decompresses one zstd frame that must yield exactly `raw_length` bytes.
pub(crate) fn unpack(packed: &[u8], raw_length: usize, part: Part) -> Result<Vec<u8>, SnapshotError> {
    let raw = zstd::bulk::decompress(packed, raw_length).map_err(|error| {
        SnapshotError::malformed(part, "zstd frame", format!("{raw_length} bytes"), error)
    })?;
    if raw.len() != raw_length {
        let found = format!("{} bytes", raw.len());
        return Err(SnapshotError::malformed(part, "zstd frame", format!("{raw_length} bytes"), found));
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            world: "test".to_owned(),
            spaces: vec![
                SpaceEntry { id: 0, name: "ground".to_owned() },
                SpaceEntry { id: 7, name: "cellar".to_owned() },
            ],
            schema_digest: "abc".to_owned(),
            descriptor_set: vec![1, 2, 3],
        }
    }

    #[test]
    fn a_header_comes_back() {
        let bytes = header().encode().unwrap();
        let length = Header::decode_prelude(&bytes[..PRELUDE_BYTES]).unwrap();
        assert_eq!(length, bytes.len() - PRELUDE_BYTES - 4);
        assert_eq!(Header::decode_body(&bytes[PRELUDE_BYTES..bytes.len() - 4]).unwrap(), header());
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = header().encode().unwrap();
        bytes[8] = 9;
        let error = Header::decode_prelude(&bytes[..PRELUDE_BYTES]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "header: format version 9 is not supported: this build reads version 1"
        );
    }

    #[test]
    fn spaces_out_of_order_and_long_names_are_refused() {
        let mut wrong = header();
        wrong.spaces.reverse();
        assert!(wrong.encode().unwrap_err().to_string().contains("space 0 comes after space 7"));
        let mut wrong = header();
        wrong.world = "x".repeat(256);
        assert!(wrong.encode().unwrap_err().to_string().contains("longer than 255 bytes"));
    }
}
