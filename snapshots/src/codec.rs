//! Numbers as bytes: bounded reads that never trust a length, and byte planes.
//!
//! A *plane* layout of n numbers of w bytes holds first the lowest byte of every number, then the next, and so on.
//! Numbers of one column share their high bytes, so zstd sees long runs where rows would show it noise.

use crate::error::{Part, SnapshotError};

/// Reads little-endian fields from bytes of one part of a file.
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    part: Part,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], part: Part) -> Self {
        Self { rest: bytes, part }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn bytes(&mut self, field: &'static str, count: usize) -> Result<&'a [u8], SnapshotError> {
        match self.rest.split_at_checked(count) {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(head)
            }
            None => Err(self.wrong(field, format!("{count} bytes"), format!("{} left", self.rest.len()))),
        }
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], SnapshotError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(field, N)?);
        Ok(array)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, SnapshotError> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, SnapshotError> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, SnapshotError> {
        self.array(field).map(u64::from_le_bytes)
    }

    pub(crate) fn f64(&mut self, field: &'static str) -> Result<f64, SnapshotError> {
        self.array(field).map(f64::from_le_bytes)
    }

    /// A `u32` within bounds, both inclusive.
    pub(crate) fn u32_in(&mut self, field: &'static str, min: u32, max: u32) -> Result<u32, SnapshotError> {
        let value = self.u32(field)?;
        if value < min || value > max {
            return Err(self.wrong(field, format!("{min} to {max}"), value));
        }
        Ok(value)
    }

    /// Text after its `u16` length.
    pub(crate) fn text(&mut self, field: &'static str, max: u16) -> Result<String, SnapshotError> {
        let length = self.u16(field)?;
        if length > max {
            return Err(self.wrong(field, format!("at most {max} bytes"), length));
        }
        let bytes = self.bytes(field, usize::from(length))?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(self.wrong(field, "UTF-8", error)),
        }
    }

    pub(crate) fn u64_planes(
        &mut self,
        field: &'static str,
        count: usize,
    ) -> Result<Vec<u64>, SnapshotError> {
        let planes = self.bytes(field, count * 8)?;
        let p: [&[u8]; 8] = std::array::from_fn(|byte| &planes[byte * count..(byte + 1) * count]);
        let value = |i: usize| {
            u64::from_le_bytes([p[0][i], p[1][i], p[2][i], p[3][i], p[4][i], p[5][i], p[6][i], p[7][i]])
        };
        Ok((0..count).map(value).collect())
    }

    pub(crate) fn f64_planes(
        &mut self,
        field: &'static str,
        count: usize,
    ) -> Result<Vec<f64>, SnapshotError> {
        let bits = self.u64_planes(field, count)?;
        Ok(bits.into_iter().map(f64::from_bits).collect())
    }

    pub(crate) fn u32_planes(
        &mut self,
        field: &'static str,
        count: usize,
    ) -> Result<Vec<u32>, SnapshotError> {
        let planes = self.bytes(field, count * 4)?;
        let p: [&[u8]; 4] = std::array::from_fn(|byte| &planes[byte * count..(byte + 1) * count]);
        Ok((0..count).map(|i| u32::from_le_bytes([p[0][i], p[1][i], p[2][i], p[3][i]])).collect())
    }

    /// That nothing is left.
    pub(crate) fn end(self, field: &'static str) -> Result<(), SnapshotError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(self.wrong(field, "the end", format!("{left} more bytes"))),
        }
    }

    pub(crate) fn wrong(
        &self,
        field: &'static str,
        expected: impl Into<String>,
        found: impl std::fmt::Display,
    ) -> SnapshotError {
        SnapshotError::malformed(self.part, field, expected, found)
    }
}

/// Appends text after its `u16` length.
///
/// # Panics
/// Not for text of at most 65,535 bytes; callers check shorter limits.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("the caller has checked the length");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u64_planes(out: &mut Vec<u8>, values: &(impl Iterator<Item = u64> + Clone)) {
    for byte in 0..8 {
        out.extend(values.clone().map(|value| (value >> (8 * byte)) as u8));
    }
}

pub(crate) fn put_u32_planes(out: &mut Vec<u8>, values: &(impl Iterator<Item = u32> + Clone)) {
    for byte in 0..4 {
        out.extend(values.clone().map(|value| (value >> (8 * byte)) as u8));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_come_back() {
        let values = [0, 1, 0x0102_0304_0506_0708, u64::MAX];
        let mut out = Vec::new();
        put_u64_planes(&mut out, &values.iter().copied());
        assert_eq!(&out[..4], [0, 1, 8, 255], "the lowest bytes come first");
        assert_eq!(Cursor::new(&out, Part::Footer).u64_planes("ids", 4).unwrap(), values);

        let mut out = Vec::new();
        put_u32_planes(&mut out, &[7_u32, 1 << 31].into_iter());
        assert_eq!(Cursor::new(&out, Part::Footer).u32_planes("rows", 2).unwrap(), [7, 1 << 31]);
    }

    #[test]
    fn a_read_past_the_end_names_the_field() {
        let error = Cursor::new(&[1, 2], Part::Footer).u32("block count").unwrap_err();
        assert_eq!(error.to_string(), "footer: block count: expected 4 bytes, found 2 left");
    }
}
