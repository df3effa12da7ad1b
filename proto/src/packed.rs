//! Lists of numbers as protobuf packs them, many at a time: one by one they take most of the time that a frame takes.

use bytes::{Buf, BufMut};
use prost::DecodeError;
use prost::encoding::{
    self, DecodeContext, WireType, decode_varint, encode_key, encode_varint, encoded_len_varint, key_len,
};

/// So many numbers are put together before they go to the buffer.
const AT_ONCE: usize = 64;

const VARINT_BYTES_MAX: usize = 10;
const DOUBLE_BYTES: usize = 8;

/// Adds the numbers of a field to those there are.
pub(crate) fn merge_varints(
    values: &mut Vec<u64>,
    wire_type: WireType,
    buffer: &mut impl Buf,
    context: DecodeContext,
) -> Result<(), DecodeError> {
    if wire_type != WireType::LengthDelimited {
        return encoding::uint64::merge_repeated(wire_type, values, buffer, context);
    }
    with_bytes(buffer, |mut bytes| {
        values.reserve(bytes.iter().filter(|&&byte| byte < 0x80).count());
        while !bytes.is_empty() {
            values.push(decode_varint(&mut bytes)?);
        }
        Ok(())
    })
}

/// Adds the numbers of a field to those there are.
pub(crate) fn merge_doubles(
    values: &mut Vec<f64>,
    wire_type: WireType,
    buffer: &mut impl Buf,
    context: DecodeContext,
) -> Result<(), DecodeError> {
    if wire_type != WireType::LengthDelimited {
        return encoding::double::merge_repeated(wire_type, values, buffer, context);
    }
    with_bytes(buffer, |bytes| {
        let (doubles, mut rest) = bytes.as_chunks::<DOUBLE_BYTES>();
        values.extend(doubles.iter().map(|bytes| f64::from_le_bytes(*bytes)));
        if rest.is_empty() {
            return Ok(());
        }
        encoding::double::merge(WireType::SixtyFourBit, &mut 0.0, &mut rest, context)
    })
}

/// Takes what has its length before it out of the buffer.
fn with_bytes(
    buffer: &mut impl Buf,
    take: impl FnOnce(&[u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let length = decode_varint(buffer)?;
    if length > buffer.remaining() as u64 {
        // Says that it ends too early.
        return decode_varint(&mut &b""[..]).map(drop);
    }
    let length = length as usize;
    if buffer.chunk().len() < length {
        return take(&buffer.copy_to_bytes(length));
    }
    let taken = take(&buffer.chunk()[..length]);
    buffer.advance(length);
    taken
}

pub(crate) fn encode_varints(field: u32, values: &[u64], buffer: &mut impl BufMut) {
    if values.is_empty() {
        return;
    }
    encode_key(field, WireType::LengthDelimited, buffer);
    encode_varint(varint_bytes(values) as u64, buffer);
    for values in values.chunks(AT_ONCE) {
        let mut bytes = [0; AT_ONCE * VARINT_BYTES_MAX];
        let mut length = 0;
        for &value in values {
            let mut rest = value;
            while rest >= 0x80 {
                bytes[length] = rest as u8 | 0x80;
                rest >>= 7;
                length += 1;
            }
            bytes[length] = rest as u8;
            length += 1;
        }
        buffer.put_slice(&bytes[..length]);
    }
}

pub(crate) fn encode_doubles(field: u32, values: &[f64], buffer: &mut impl BufMut) {
    if values.is_empty() {
        return;
    }
    encode_key(field, WireType::LengthDelimited, buffer);
    encode_varint((values.len() * DOUBLE_BYTES) as u64, buffer);
    for values in values.chunks(AT_ONCE) {
        let mut bytes = [[0; DOUBLE_BYTES]; AT_ONCE];
        for (bytes, value) in bytes.iter_mut().zip(values) {
            *bytes = value.to_le_bytes();
        }
        buffer.put_slice(bytes[..values.len()].as_flattened());
    }
}

pub(crate) fn varints_len(field: u32, values: &[u64]) -> usize {
    if values.is_empty() { 0 } else { field_len(field, varint_bytes(values)) }
}

pub(crate) fn doubles_len(field: u32, values: &[f64]) -> usize {
    if values.is_empty() { 0 } else { field_len(field, values.len() * DOUBLE_BYTES) }
}

fn field_len(field: u32, length: usize) -> usize {
    key_len(field) + encoded_len_varint(length as u64) + length
}

fn varint_bytes(values: &[u64]) -> usize {
    values.iter().map(|&value| encoded_len_varint(value)).sum()
}
