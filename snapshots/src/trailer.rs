//! The last bytes of a file: they find the footer and seal the whole.

use crate::{
    codec::{Cursor, put_u32, put_u64},
    error::{Part, SnapshotError},
    limits::FOOTER_BYTES_MAX,
};

pub(crate) const TRAILER_BYTES: usize = 68;
/// The last bytes of every file.
const END_MAGIC: [u8; 8] = *b"SDBW.END";

/// The last bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) footer_offset: u64,
    pub(crate) footer_bytes: u32,
    pub(crate) footer_checksum: u32,
    /// SHA-256 of everything before the trailer.
    pub(crate) digest: [u8; 32],
}

impl Trailer {
    fn file_bytes(&self) -> Option<u64> {
        let after = u64::from(self.footer_bytes) + TRAILER_BYTES as u64;
        self.footer_offset.checked_add(after)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(TRAILER_BYTES);
        put_u64(&mut out, self.file_bytes().unwrap_or(u64::MAX));
        put_u64(&mut out, self.footer_offset);
        put_u32(&mut out, self.footer_bytes);
        put_u32(&mut out, self.footer_checksum);
        out.extend_from_slice(&self.digest);
        let checksum = crc32c::crc32c(&out);
        put_u32(&mut out, checksum);
        out.extend_from_slice(&END_MAGIC);
        out
    }

    /// Reads the last bytes of a file of that length.
    pub(crate) fn decode(bytes: &[u8], file_bytes: u64) -> Result<Self, SnapshotError> {
        if !bytes.ends_with(&END_MAGIC) {
            let found = "other bytes: the file is cut off or damaged";
            return Err(SnapshotError::malformed(Part::Trailer, "end mark", "\"SDBW.END\"", found));
        }
        let sealed = bytes.len() - END_MAGIC.len() - 4;
        let mut cursor = Cursor::new(bytes, Part::Trailer);
        let (length, footer_offset) = (cursor.u64("file length")?, cursor.u64("footer offset")?);
        let (footer_bytes, footer_checksum) = (cursor.u32("footer length")?, cursor.u32("footer checksum")?);
        let mut digest = [0; 32];
        digest.copy_from_slice(cursor.bytes("digest", 32)?);
        let (expected, found) = (cursor.u32("trailer checksum")?, crc32c::crc32c(&bytes[..sealed]));
        if expected != found {
            return Err(SnapshotError::Checksum { part: Part::Trailer, expected, found });
        }
        if length > file_bytes {
            let part = Part::Trailer;
            return Err(SnapshotError::Truncated { part, expected: length, found: file_bytes });
        }
        let trailer = Self { footer_offset, footer_bytes, footer_checksum, digest };
        if length != file_bytes || trailer.file_bytes() != Some(length) || footer_bytes > FOOTER_BYTES_MAX {
            return Err(cursor.wrong("file length", length.to_string(), file_bytes));
        }
        Ok(trailer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_comes_back_and_fits_one_length_only() {
        let trailer = Trailer { footer_offset: 100, footer_bytes: 32, footer_checksum: 5, digest: [7; 32] };
        let bytes = trailer.encode();
        assert_eq!(bytes.len(), TRAILER_BYTES);
        assert_eq!(Trailer::decode(&bytes, 200).unwrap(), trailer);
        assert!(matches!(Trailer::decode(&bytes, 199), Err(SnapshotError::Truncated { .. })));
        assert!(matches!(Trailer::decode(&bytes, 201), Err(SnapshotError::Malformed { .. })));
    }
}
