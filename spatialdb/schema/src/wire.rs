//! The protobuf wire format, one value at a time.
//!
//! Responsible for: reading keys, varints, fixed and length-delimited values from a slice, without allocation.
//! Not responsible for: what a field means.

use std::fmt;

/// What a key says about the bytes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireType {
    Varint,
    Fixed64,
    Length,
    Fixed32,
}

impl fmt::Display for WireType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Varint => "varint",
            Self::Fixed64 => "64-bit",
            Self::Length => "length-delimited",
            Self::Fixed32 => "32-bit",
        })
    }
}

/// Why bytes are no protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    VarintTruncated,
    VarintTooLong,
    FixedTruncated(u8),
    LengthPastEnd { length: u64, left: usize },
    FieldNumber(u64),
    WireType(u8),
    Group,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VarintTruncated => f.write_str("a varint ends too early"),
            Self::VarintTooLong => f.write_str("a varint is longer than 64 bits"),
            Self::FixedTruncated(bytes) => write!(f, "a value of {bytes} bytes ends too early"),
            Self::LengthPastEnd { length, left } => {
                write!(f, "a length of {length} bytes goes past the end, {left} bytes are left")
            }
            Self::FieldNumber(number) => write!(f, "field number {number} is not in 1..536870911"),
            Self::WireType(wire_type) => write!(f, "wire type {wire_type} does not exist"),
            Self::Group => f.write_str("groups are not supported"),
        }
    }
}

/// Takes a field number and wire type off the front.
#[inline(always)]
pub(crate) fn key(rest: &mut &[u8]) -> Result<(u32, WireType), Malformed> {
    let key = varint(rest)?;
    let number = key >> 3;
    if number == 0 || number >= 1 << 29 {
        return Err(Malformed::FieldNumber(number));
    }
    let wire_type = match key & 7 {
        0 => WireType::Varint,
        1 => WireType::Fixed64,
        2 => WireType::Length,
        5 => WireType::Fixed32,
        3 | 4 => return Err(Malformed::Group),
        other => return Err(Malformed::WireType(other as u8)),
    };
    Ok((number as u32, wire_type))
}

/// Takes a varint off the front.
#[inline(always)]
pub(crate) fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    match rest.split_first() {
        Some((&byte, tail)) if byte < 0x80 => {
            *rest = tail;
            Ok(u64::from(byte))
        }
        _ => long_varint(rest),
    }
}

#[inline(never)]
fn long_varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for (index, &byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            // The tenth byte has room for one bit.
            if index == 9 && byte > 1 {
                return Err(Malformed::VarintTooLong);
            }
            *rest = &rest[index + 1..];
            return Ok(value);
        }
    }
    Err(if rest.len() < 10 { Malformed::VarintTruncated } else { Malformed::VarintTooLong })
}

/// Takes `BYTES` bytes off the front.
#[inline(always)]
pub(crate) fn fixed<const BYTES: u8>(rest: &mut &[u8]) -> Result<(), Malformed> {
    *rest = rest.get(usize::from(BYTES)..).ok_or(Malformed::FixedTruncated(BYTES))?;
    Ok(())
}

/// Takes a length and as many bytes off the front.
#[inline(always)]
pub(crate) fn delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = varint(rest)?;
    if length > rest.len() as u64 {
        return Err(Malformed::LengthPastEnd { length, left: rest.len() });
    }
    let (value, tail) = rest.split_at(length as usize);
    *rest = tail;
    Ok(value)
}

/// Takes a value of that wire type off the front.
#[inline(always)]
pub(crate) fn skip(wire_type: WireType, rest: &mut &[u8]) -> Result<(), Malformed> {
    match wire_type {
        WireType::Varint => varint(rest).map(|_| ()),
        WireType::Fixed64 => fixed::<8>(rest),
        WireType::Length => delimited(rest).map(|_| ()),
        WireType::Fixed32 => fixed::<4>(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_end_at_64_bits() {
        let all_ones = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 7];
        let mut rest = &all_ones[..];
        assert_eq!(varint(&mut rest), Ok(u64::MAX));
        assert_eq!(rest, [7]);

        let mut over = all_ones;
        over[9] = 2;
        assert_eq!(varint(&mut &over[..]), Err(Malformed::VarintTooLong));
        assert_eq!(varint(&mut &all_ones[..9]), Err(Malformed::VarintTruncated));
        assert_eq!(varint(&mut &[0xff; 11][..]), Err(Malformed::VarintTooLong));
        assert_eq!(varint(&mut &[][..]), Err(Malformed::VarintTruncated));
    }

    #[test]
    fn keys_name_what_is_wrong() {
        assert_eq!(key(&mut &[0x0a][..]), Ok((1, WireType::Length)));
        assert_eq!(key(&mut &[0x02][..]), Err(Malformed::FieldNumber(0)));
        assert_eq!(key(&mut &[0x0b][..]), Err(Malformed::Group));
        assert_eq!(key(&mut &[0x0c][..]), Err(Malformed::Group));
        assert_eq!(key(&mut &[0x0e][..]), Err(Malformed::WireType(6)));
        assert_eq!(key(&mut &[0x80, 0x80, 0x80, 0x80, 0x10][..]), Err(Malformed::FieldNumber(1 << 29)));
    }

    #[test]
    fn lengths_stay_inside() {
        let mut rest = &[2, 1, 2, 3][..];
        assert_eq!(delimited(&mut rest), Ok(&[1, 2][..]));
        assert_eq!(rest, [3]);
        let past = Malformed::LengthPastEnd { length: 3, left: 2 };
        assert_eq!(delimited(&mut &[3, 1, 2][..]), Err(past));
        assert_eq!(fixed::<4>(&mut &[0; 3][..]), Err(Malformed::FixedTruncated(4)));
    }
}
