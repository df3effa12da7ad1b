//! Bytes as images.

use spatialdb_types::{ComponentId, EntityId, Epoch, Revision, SessionId};

use super::{Form, Image, LogError, StoredValue, VERSION};
use crate::Micros;

/// A record of a partition.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRecord<'a> {
    /// The partition's revision counter when it was written.
    pub clock: Revision,
    /// The time of the world then.
    pub now: Micros,
    /// In order.
    pub images: Vec<Image<'a>>,
}

/// What a record says.
///
/// # Errors
/// What is wrong with the bytes.
pub fn images(bytes: &[u8]) -> Result<LogRecord<'_>, LogError> {
    let mut reader = Reader { bytes, at: 0, begin: 0 };
    let [version] = reader.take()?;
    if version != VERSION {
        return Err(LogError::Version { found: version });
    }
    let (clock, now) = (Revision(reader.number()?), reader.number()?);
    let mut images = Vec::new();
    while reader.at < bytes.len() {
        images.push(reader.image()?);
    }
    Ok(LogRecord { clock, now, images })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where what is being read began.
    begin: usize,
}

impl<'a> Reader<'a> {
    fn image(&mut self) -> Result<Image<'a>, LogError> {
        self.begin = self.at;
        let entity = EntityId(self.number()?);
        let [form] = self.take()?;
        let as_of = Revision(self.number()?);
        let form = match form {
            1 => Form::Whole(as_of),
            2 => Form::Part,
            3 => Form::Absent(as_of),
            4 => Form::Gone,
            found => return Err(LogError::Form { found, at: self.begin }),
        };
        let count = u16::from_le_bytes(self.take()?);
        let mut values: Vec<StoredValue<'a>> = Vec::new();
        for _ in 0..count {
            let value = self.value()?;
            if values.last().is_some_and(|last| last.component >= value.component) {
                return Err(LogError::Order { entity });
            }
            values.push(value);
        }
        Ok(Image { entity, form, values })
    }

    fn value(&mut self) -> Result<StoredValue<'a>, LogError> {
        let component = ComponentId(u32::from_le_bytes(self.take()?));
        let revision = Revision(self.number()?);
        let writer = SessionId(u32::from_le_bytes(self.take()?));
        let epoch = Epoch(self.number()?);
        let length = u32::from_le_bytes(self.take()?) as usize;
        let bytes = self.rest().get(..length).ok_or(LogError::Short { at: self.begin })?;
        self.at += length;
        Ok(StoredValue { component, revision, writer, epoch, bytes })
    }

    fn number(&mut self) -> Result<u64, LogError> {
        self.take().map(u64::from_le_bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], LogError> {
        let bytes = self.rest().first_chunk().copied().ok_or(LogError::Short { at: self.begin })?;
        self.at += N;
        Ok(bytes)
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::log::LogWriter;

    fn value(component: u32, bytes: &[u8]) -> StoredValue<'_> {
        let (revision, writer, epoch) = (Revision(u64::from(component) + 40), SessionId(7), Epoch(3));
        StoredValue { component: ComponentId(component), revision, writer, epoch, bytes }
    }

    fn golden() -> Vec<u8> {
        let mut writer = LogWriter::new(Revision(99), 1_000_000);
        writer.image(EntityId(5), Form::Whole(Revision(90)));
        let at = [&2_u32.to_le_bytes()[..], &1.5_f64.to_le_bytes(), &[0; 8], &[0; 8]].concat();
        writer.value(&value(1, &at));
        writer.value(&value(1000, b"hp"));
        writer.image(EntityId(6), Form::Part);
        writer.value(&value(1000, b""));
        writer.image(EntityId(7), Form::Absent(Revision(91)));
        writer.image(EntityId(8), Form::Gone);
        writer.finish()
    }

    #[test]
    fn it_is_what_the_document_says() {
        assert_eq!(golden(), include_bytes!("../../golden/log-record-v1.bin"), "docs/formats/log.md");
        let bytes = golden();
        let record = images(&bytes).expect("a record");
        assert_eq!((record.clock, record.now), (Revision(99), 1_000_000));
        let forms: Vec<Form> = record.images.iter().map(|image| image.form).collect();
        let expected = [Form::Whole(Revision(90)), Form::Part, Form::Absent(Revision(91)), Form::Gone];
        assert_eq!(forms, expected);
        assert_eq!(record.images[0].values[1], value(1000, b"hp"));
        assert_eq!(record.images[1].values, [value(1000, b"")]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let bytes = golden();
        assert_eq!(images(&[]), Err(LogError::Short { at: 0 }));
        assert_eq!(images(&[2]), Err(LogError::Version { found: 2 }));
        let second =
            images(&bytes).expect("whole").images[0].values.iter().map(|v| 28 + v.bytes.len()).sum::<usize>()
                + 36;
        let short = images(&bytes[..second + 9]).expect_err("cut off");
        assert_eq!(
            (short, short.to_string()),
            (LogError::Short { at: second }, format!("the record ends within what begins at byte {second}"))
        );
        let mut form = bytes;
        form[second + 8] = 9;
        assert_eq!(images(&form), Err(LogError::Form { found: 9, at: second }));
        let mut writer = LogWriter::new(Revision(1), 0);
        writer.image(EntityId(5), Form::Part);
        writer.value(&value(3, b""));
        writer.value(&value(3, b""));
        assert_eq!(images(&writer.finish()), Err(LogError::Order { entity: EntityId(5) }));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = images(&bytes);
            let _ = images(&[&[VERSION], &bytes[..]].concat());
        }

        #[test]
        fn a_record_that_is_cut_off_is_none_or_has_fewer_images(length in 0..200_usize) {
            let bytes = golden();
            let whole = images(&bytes).expect("whole");
            if let Some(Ok(part)) = bytes.get(..length).map(images) {
                prop_assert!(whole.images.starts_with(&part.images) && part.images.len() < whole.images.len());
            }
        }
    }
}
