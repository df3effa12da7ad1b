//! As much of the protobuf encoding as a SpatialOS snapshot needs. Every length is checked before it is used.

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(&'a [u8]),
}

/// The fields of a message, in its order.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = field(&mut self.0);
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn field<'a>(rest: &mut &'a [u8]) -> Result<(u32, Field<'a>), String> {
    let key = varint(rest)?;
    let number = u32::try_from(key >> 3).ok().filter(|number| (1..1 << 29).contains(number));
    let number = number.ok_or_else(|| format!("field number {} is out of range", key >> 3))?;
    let field = match key & 7 {
        0 => Field::Varint(varint(rest)?),
        1 => Field::Fixed64(array(rest)?),
        2 => {
            let length = varint(rest)?;
            let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
            let length = length.ok_or_else(|| format!("field {number} is cut off"))?;
            let (bytes, after) = rest.split_at(length);
            *rest = after;
            Field::Bytes(bytes)
        }
        5 => Field::Fixed32(array(rest)?),
        other => return Err(format!("field {number} has the unknown wire type {other}")),
    };
    Ok((number, field))
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], String> {
    let (bytes, after) = rest.split_first_chunk().ok_or("a number is cut off")?;
    *rest = after;
    Ok(*bytes)
}

fn varint(rest: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().ok_or("a number is cut off")?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number is longer than 10 bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_order_and_damage_is_an_error() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 2, 7, 8, 0x1d, 0, 0, 0x80, 0x3f];
        let fields: Vec<_> = Fields(&bytes).collect::<Result<_, _>>().unwrap();
        let one = Field::Fixed32(1.0_f32.to_le_bytes());
        assert_eq!(fields, [(1, Field::Varint(150)), (2, Field::Bytes(&[7, 8])), (3, one)]);
        for end in 1..bytes.len() {
            // Any cut gives fewer fields or an error, never a panic.
            let count = Fields(&bytes[..end]).take_while(Result::is_ok).count();
            assert!(count < 3);
        }
        for bad in [&[0x00, 1][..], &[0x0b], &[0x12, 5, 1], &[0xff; 11]] {
            assert!(Fields(bad).any(|field| field.is_err()), "{bad:?}");
        }
    }
}
