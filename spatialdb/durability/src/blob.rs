//! How a record, a part of a checkpoint, and the manifest look as bytes: a header that says what it is and where it belongs, and
//! a body. `docs/formats/log.md` describes it byte by byte.

use crate::error::{Damage, StorageError};

const MAGIC: [u8; 4] = *b"SDLB";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 48;
/// Where the checksum lies, of all before it and the body.
const CHECKSUM_AT: usize = 44;

/// A body has so many bytes at most.
pub const BLOB_BODY_BYTES_MAX: usize = 64 << 20;

/// What a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum BlobKind {
    /// A record of a log.
    Record = 1,
    /// A part of a checkpoint.
    Checkpoint = 2,
    /// The manifest.
    Manifest = 3,
}

/// What a blob is, and where it belongs: one that lies elsewhere is not taken for what should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) kind: BlobKind,
    /// Of a record and of a part of a checkpoint: which log it is of. Of the manifest: 0.
    pub(crate) log: u32,
    /// Of a record: its number; of a checkpoint: its id; of the manifest: its version.
    pub(crate) number: u64,
    /// Of a checkpoint: the index of the part; else 0.
    pub(crate) part: u32,
}

/// A blob, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    /// Under which term it was written.
    pub(crate) term: u64,
    /// When, in microseconds of Unix time.
    pub(crate) unix_us: i64,
    /// What it says.
    pub(crate) body: Vec<u8>,
}

impl Blob {
    /// As bytes, for that place.
    ///
    /// # Panics
    /// The body is longer than [`BLOB_BODY_BYTES_MAX`].
    pub(crate) fn encode(place: &Place, term: u64, unix_us: i64, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= BLOB_BODY_BYTES_MAX);
        let length = length.expect("whoever writes keeps to the limit");
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((place.kind as u16).to_le_bytes());
        bytes.extend(place.log.to_le_bytes());
        bytes.extend(place.part.to_le_bytes());
        bytes.extend(place.number.to_le_bytes());
        bytes.extend(term.to_le_bytes());
        bytes.extend(unix_us.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes), body);
        bytes.extend(checksum.to_le_bytes());
        bytes.extend(body);
        bytes
    }

    /// What lies at that place.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn decode(place: &Place, bytes: &[u8]) -> Result<Self, StorageError> {
        let damaged = |damage| StorageError::Damaged { what: place.to_string(), damage };
        let (found, blob) = Self::read(bytes).map_err(damaged)?;
        if found != *place {
            return Err(damaged(Damage::Misplaced { found: found.to_string() }));
        }
        Ok(blob)
    }

    fn read(bytes: &[u8]) -> Result<(Place, Self), Damage> {
        let short = || Damage::Short { bytes: bytes.len() as u64, least: HEADER_BYTES as u64 };
        let header = bytes.get(..HEADER_BYTES).ok_or_else(short)?;
        let body = &bytes[HEADER_BYTES..];
        if header[..4] != MAGIC {
            return Err(Damage::NoBlob);
        }
        let version = u16_at(header, 4);
        if version != VERSION {
            return Err(Damage::Version { found: version, known: VERSION });
        }
        let length = u32_at(header, 40) as usize;
        if body.len() != length {
            return Err(Damage::Length { bytes: body.len() as u64, said: length as u64 });
        }
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&header[..CHECKSUM_AT]), body);
        if checksum != u32_at(header, CHECKSUM_AT) {
            return Err(Damage::Checksum);
        }
        let kind = match u16_at(header, 6) {
            1 => BlobKind::Record,
            2 => BlobKind::Checkpoint,
            3 => BlobKind::Manifest,
            other => return Err(Damage::Kind { found: other }),
        };
        let place =
            Place { kind, log: u32_at(header, 8), part: u32_at(header, 12), number: u64_at(header, 16) };
        let (term, unix_us) = (u64_at(header, 24), u64_at(header, 32).cast_signed());
        Ok((place, Self { term, unix_us, body: body.to_vec() }))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, log, number, part } = self;
        let log = crate::LogId(*log);
        match kind {
            BlobKind::Record => write!(f, "record {number} of {log}"),
            BlobKind::Checkpoint => write!(f, "part {part} of checkpoint {number} of {log}"),
            BlobKind::Manifest => write!(f, "manifest {number}"),
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLACE: Place = Place { kind: BlobKind::Record, log: 3, number: 77, part: 0 };

    fn damage(place: &Place, bytes: &[u8]) -> Damage {
        match Blob::decode(place, bytes) {
            Err(StorageError::Damaged { what, damage }) => {
                assert_eq!(what, place.to_string());
                damage
            }
            other => panic!("not damaged: {other:?}"),
        }
    }

    #[test]
    fn it_is_what_the_document_says() {
        let bytes = Blob::encode(&PLACE, 5, -2, b"body");
        let golden = include_bytes!("../golden/record-v1.blob");
        assert_eq!(bytes, golden, "docs/formats/log.md describes golden/record-v1.blob");
        let blob = Blob::decode(&PLACE, golden).expect("whole");
        assert_eq!(blob, Blob { term: 5, unix_us: -2, body: b"body".to_vec() });
    }

    #[test]
    fn what_is_wrong_is_named() {
        let bytes = Blob::encode(&PLACE, 5, 9, b"body");
        assert_eq!(damage(&PLACE, &bytes[..47]), Damage::Short { bytes: 47, least: 48 });
        assert_eq!(damage(&PLACE, &bytes[..51]), Damage::Length { bytes: 3, said: 4 });
        assert_eq!(damage(&PLACE, &[b"SDLX", &bytes[4..]].concat()), Damage::NoBlob);
        assert_eq!(
            damage(&PLACE, &[&bytes[..4], &[2], &bytes[5..]].concat()),
            Damage::Version { found: 2, known: 1 }
        );
        let elsewhere = Place { number: 78, ..PLACE };
        let found = "record 77 of partition 2".to_owned();
        assert_eq!(damage(&elsewhere, &bytes), Damage::Misplaced { found });
    }

    proptest! {
        #[test]
        fn each_bit_counts(body in prop::collection::vec(any::<u8>(), 0..64), bit in any::<prop::sample::Index>()) {
            let mut bytes = Blob::encode(&PLACE, 1, 2, &body);
            prop_assert_eq!(Blob::decode(&PLACE, &bytes).expect("whole").body, body);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Blob::decode(&PLACE, &bytes).is_err());
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            let _ = Blob::decode(&PLACE, &bytes);
        }
    }
}
