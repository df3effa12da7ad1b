//! The little of protobuf's wire format that partial updates and field tests need: telling fields apart.

/// A field of a message as it lies there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Field<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Bytes(&'a [u8]),
}

/// Appends to `out` the fields of `whole` that are not in `cleared` (sorted), then `payload`.
///
/// Both inputs have been checked against their descriptor when they came in. Should `whole` not parse, what does
/// parse is kept.
pub(crate) fn replace_fields(whole: &[u8], cleared: &[u32], payload: &[u8], out: &mut Vec<u8>) {
    let mut rest = whole;
    while let Some((field, length)) = next_field(rest) {
        let (this, after) = rest.split_at(length);
        if cleared.binary_search(&field).is_err() {
            out.extend_from_slice(this);
        }
        rest = after;
    }
    out.extend_from_slice(payload);
}

/// The fields of a message with their numbers, in order. Ends where it does not parse.
pub(crate) fn fields(message: &[u8]) -> impl Iterator<Item = (u32, Field<'_>)> {
    let mut rest = message;
    std::iter::from_fn(move || {
        let (number, length) = next_field(rest)?;
        let (this, after) = rest.split_at(length);
        rest = after;
        let (tag, prefix) = varint(this)?;
        let body = &this[prefix..];
        let field = match tag & 7 {
            0 => Field::Varint(varint(body)?.0),
            1 => Field::Fixed64(u64::from_le_bytes(body.try_into().ok()?)),
            2 => Field::Bytes(&body[varint(body)?.1..]),
            _ => Field::Fixed32(u32::from_le_bytes(body.try_into().ok()?)),
        };
        Some((number, field))
    })
}

/// The number of the first field and how many bytes it takes, tag included.
fn next_field(bytes: &[u8]) -> Option<(u32, usize)> {
    let (tag, tag_length) = varint(bytes)?;
    let field = u32::try_from(tag >> 3).ok()?;
    let body = &bytes[tag_length..];
    let body_length = match tag & 7 {
        0 => varint(body)?.1,
        1 => 8,
        2 => {
            let (length, prefix) = varint(body)?;
            prefix.checked_add(usize::try_from(length).ok()?)?
        }
        5 => 4,
        _ => return None,
    };
    (body_length <= body.len()).then_some((field, tag_length + body_length))
}

fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * i as u32)?;
        if byte < 0x80 {
            return Some((value, i + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field 1 varint 5, field 2 "ab", field 3 fixed64, field 4 fixed32, field 1 again.
    const WHOLE: &[u8] =
        &[0x08, 5, 0x12, 2, b'a', b'b', 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x25, 1, 2, 3, 4, 0x08, 6];

    fn replaced(cleared: &[u32], payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        replace_fields(WHOLE, cleared, payload, &mut out);
        out
    }

    #[test]
    fn cleared_fields_go_wherever_they_stand() {
        assert_eq!(replaced(&[1], &[]), WHOLE[2..20]);
        assert_eq!(replaced(&[1, 2, 3, 4], &[0x08, 7]), [0x08, 7]);
        assert_eq!(replaced(&[], &[]), WHOLE);
        assert_eq!(replaced(&[9], &[0x48, 1]), [WHOLE, &[0x48, 1]].concat());
    }

    #[test]
    fn garbage_ends_the_scan() {
        let mut out = Vec::new();
        replace_fields(&[0x12, 200, 1], &[1], &[0x08, 1], &mut out);
        assert_eq!(out, [0x08, 1]);
    }
}
