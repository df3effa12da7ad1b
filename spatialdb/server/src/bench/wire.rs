//! Protobuf bytes, read where they lie.
//!
//! Responsible for: fields, varints and packed columns of positions, without building messages of them.
//! Not responsible for: what they mean (`watch`).
//!
//! A hundred readers share two cores with the server: a column that is decoded into vectors costs more than its check.

use prost::Message;
use spatialdb_proto::v1::PositionColumn;
use spatialdb_types::Point3;

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes that do not parse: {0}")]
pub(super) struct Malformed(&'static str);

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// A number.
    Varint(u64),
    /// Eight bytes, little-endian.
    Fixed64(u64),
    /// Four bytes, little-endian.
    Fixed32(u32),
    /// A message, a text, or packed numbers.
    Bytes(&'a [u8]),
}

/// The fields of a message in the order of its bytes.
pub(super) struct Fields<'a>(&'a [u8]);

/// Numbers one after the other.
pub(super) struct Varints<'a>(&'a [u8]);

/// A row of a column of positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    /// Which entity.
    pub(super) entity: u64,
    /// Which write.
    pub(super) revision: u64,
    /// Where.
    pub(super) at: Point3,
}

impl<'a> Fields<'a> {
    /// Of this message.
    pub(super) const fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let key = varint(&mut self.0)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut self.0)?),
            1 => Value::Fixed64(u64::from_le_bytes(array(&mut self.0)?)),
            2 => {
                let length = usize::try_from(varint(&mut self.0)?).map_err(|_| Malformed("a length"))?;
                Value::Bytes(take(&mut self.0, length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(array(&mut self.0)?)),
            _ => return Err(Malformed("a wire type")),
        };
        Ok(((key >> 3) as u32, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Varints<'a> {
    /// Of these bytes.
    pub(super) const fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl Iterator for Varints<'_> {
    type Item = Result<u64, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let number = varint(&mut self.0);
        if number.is_err() {
            self.0 = &[];
        }
        Some(number)
    }
}

/// Hands over each row of a `PositionColumn` of the server.
///
/// # Errors
/// The first of the column or of `take`; rows before it have been handed over.
pub(super) fn position_rows<E: From<Malformed>>(
    column: &[u8],
    mut take: impl FnMut(Row) -> Result<(), E>,
) -> Result<(), E> {
    let mut packed: [&[u8]; 7] = [&[]; 7];
    for field in Fields::of(column) {
        match field? {
            (1, Value::Varint(_)) => {}
            (number @ 2..=6, Value::Bytes(bytes)) if packed[number as usize].is_empty() => {
                packed[number as usize] = bytes;
            }
            // A field in several pieces, or not packed: right, but nobody sends it often.
            _ => return decoded_rows(column, take),
        }
    }
    let [_, _, entities, revisions, x, y, z] = packed;
    let mut revisions = Varints::of(revisions);
    let (mut x, mut y, mut z) = (doubles(x)?, doubles(y)?, doubles(z)?);
    if x.len() != y.len() || (z.len() != x.len() && z.len() != 0) {
        return Err(UNEQUAL.into());
    }
    let has_height = z.len() > 0;
    for entity in Varints::of(entities) {
        let (Some(x), Some(y), Some(revision)) = (x.next(), y.next(), revisions.next()) else {
            return Err(UNEQUAL.into());
        };
        let z = if has_height { z.next().ok_or(UNEQUAL)? } else { 0.0 };
        take(Row { entity: entity?, revision: revision?, at: Point3::new(x, y, z) })?;
    }
    if x.len() > 0 || revisions.next().is_some() {
        return Err(UNEQUAL.into());
    }
    Ok(())
}

const UNEQUAL: Malformed = Malformed("columns of unequal length");

fn decoded_rows<E: From<Malformed>>(
    column: &[u8],
    mut take: impl FnMut(Row) -> Result<(), E>,
) -> Result<(), E> {
    let column = PositionColumn::decode(column).map_err(|_| Malformed("a column of positions"))?;
    let rows = column.entities.len();
    let has_height = !column.z.is_empty();
    let lengths = [column.revisions.len(), column.x.len(), column.y.len()];
    if lengths != [rows; 3] || (has_height && column.z.len() != rows) {
        return Err(UNEQUAL.into());
    }
    for row in 0..rows {
        let z = if has_height { column.z[row] } else { 0.0 };
        let at = Point3::new(column.x[row], column.y[row], z);
        take(Row { entity: column.entities[row], revision: column.revisions[row], at })?;
    }
    Ok(())
}

fn doubles(bytes: &[u8]) -> Result<impl ExactSizeIterator<Item = f64> + '_, Malformed> {
    let (each, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Malformed("doubles"));
    }
    Ok(each.iter().map(|bytes| f64::from_le_bytes(*bytes)))
}

#[inline]
fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    match *bytes {
        [byte @ 0..0x80, rest @ ..] => {
            *bytes = rest;
            Ok(u64::from(*byte))
        }
        _ => long_varint(bytes),
    }
}

fn long_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for (place, byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if *byte < 0x80 {
            *bytes = &bytes[place + 1..];
            return Ok(number);
        }
    }
    Err(Malformed("a varint"))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Malformed("a length"))?;
    *bytes = rest;
    Ok(taken)
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(Malformed("a number"))?;
    *bytes = rest;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(column: &[u8]) -> Result<Vec<Row>, Malformed> {
        let mut rows = Vec::new();
        position_rows(column, |row| {
            rows.push(row);
            Ok::<_, Malformed>(())
        })?;
        Ok(rows)
    }

    fn column(ids: &[u64]) -> PositionColumn {
        let along = |scale: f64| ids.iter().map(|id| *id as f64 * scale).collect();
        PositionColumn {
            space: 3,
            entities: ids.to_vec(),
            revisions: ids.iter().map(|id| id * 1000).collect(),
            x: along(1.0),
            y: along(-0.5),
            z: along(2.0),
        }
    }

    fn row(entity: u64) -> Row {
        let at = entity as f64;
        Row { entity, revision: entity * 1000, at: Point3::new(at, -0.5 * at, 2.0 * at) }
    }

    #[test]
    fn a_column_in_one_piece_or_several_is_the_same() {
        let ids = [1, 127, 128, 1 << 40];
        let expected: Vec<Row> = ids.into_iter().map(row).collect();
        assert_eq!(rows(&column(&ids).encode_to_vec()), Ok(expected.clone()));
        let mut pieces = column(&ids[..1]).encode_to_vec();
        pieces.extend(column(&ids[1..]).encode_to_vec());
        assert_eq!(rows(&pieces), Ok(expected));
        let flat = PositionColumn { z: Vec::new(), ..column(&[5]) };
        assert_eq!(rows(&flat.encode_to_vec()).expect("a row")[0].at, Point3::new(5.0, -2.5, 0.0));
    }

    #[test]
    fn what_is_cut_or_unequal_is_refused() {
        let whole = column(&[1, 300, 7]).encode_to_vec();
        // A cut between two fields leaves a shorter message. Right are those with nothing but a space, and without z.
        let z_bytes = 2 + 3 * size_of::<f64>();
        for length in (3..whole.len()).filter(|length| *length != whole.len() - z_bytes) {
            assert!(rows(&whole[..length]).is_err(), "{length}");
        }
        let unequal = PositionColumn { revisions: vec![1], ..column(&[1, 2]) };
        assert_eq!(rows(&unequal.encode_to_vec()), Err(UNEQUAL));
        let unequal = PositionColumn { entities: vec![1], ..column(&[1, 2]) };
        assert_eq!(rows(&unequal.encode_to_vec()), Err(UNEQUAL));
        assert!(Fields::of(&[0xff; 20]).any(|field| field.is_err()));
        assert!(Varints::of(&[0x80]).any(|number| number.is_err()));
    }
}
