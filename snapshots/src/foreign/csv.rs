//! A CSV file as entities, a row each.

use std::{
    borrow::Cow,
    io::{self, Read},
    path::Path,
};

use csv::{ReaderBuilder, StringRecord};
use spatialdb_schema::Schema;

use super::{
    cell::Cell,
    map::MapFile,
    map_error::MapError,
    plan::{Plan, Row},
};
use crate::{
    error::SnapshotError,
    gather::{At, Gather, ImportOptions, ImportStep, Imported},
};

/// Reads rows of CSV (UTF-8) and writes them as a snapshot with that schema, by that mapping.
///
/// # Errors
/// `Row` with line, column and reason; `Map` if the mapping does not fit the schema or names a column that is not
/// there; `Unwritable` and `Io` as [`SortedWriter::finish`](crate::SortedWriter::finish). No file is left then.
pub fn import_csv(
    input: impl Read,
    map: &MapFile,
    schema: &Schema,
    path: impl AsRef<Path>,
    mut options: ImportOptions,
    mut progress: impl FnMut(ImportStep),
) -> Result<Imported, SnapshotError> {
    let plan = Plan::new(map, schema)?;
    let keys = &map.keys.csv;
    let &[delimiter @ (b'\t' | b' '..=b'!' | b'#'..=b'~')] = keys.delimiter.get_ref().as_bytes() else {
        let reason = "must be one character of ASCII, e.g. \";\"";
        return Err(map.wrong(keys.delimiter.span(), "csv.delimiter", reason).into());
    };
    // Every row is asked for the columns that it needs, so that an error can name line and column.
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(keys.header)
        .flexible(true)
        .from_reader(Quotes::new(input, delimiter));
    let header = match keys.header {
        true => Some(reader.headers().map_err(|error| read_error(&error, 1))?.clone()),
        false => None,
    };
    let indexes = indexes(&plan, header.as_ref(), map)?;
    options.world = map.keys.world.clone().unwrap_or(options.world);
    let mut gather = Gather::new(options, schema);
    let mut record = StringRecord::new();
    let mut bytes = 0;
    loop {
        let line = reader.position().line();
        if !reader.read_record(&mut record).map_err(|error| read_error(&error, line))? {
            break;
        }
        if let Some(line) = reader.get_ref().unclosed_at_end() {
            return Err(At::line(line).wrong("row", "a quote is opened here and never closed".to_owned()));
        }
        // Blank lines before a row belong to no row.
        let at = At::line(record.position().map_or(line, csv::Position::line));
        let columns = header.as_ref().map_or(record.len(), StringRecord::len);
        if record.len() != columns {
            let reason = format!("{columns} columns are expected, found {}", record.len());
            return Err(at.wrong("row", reason));
        }
        let (id, entity) = plan.entity(&CsvRow { record: &record, indexes: &indexes }, at)?;
        gather.add(id, entity, at)?;
        let now = reader.position().byte();
        progress(ImportStep::Read { bytes: now - bytes });
        bytes = now;
    }
    gather.finish(path, progress)
}

/// Follows the quotes of what is read: the parser takes all that follows an unclosed one for a value.
struct Quotes<R> {
    input: R,
    delimiter: u8,
    line: u64,
    at: Quoted,
    /// Where the last quote was opened.
    opened: u64,
    has_ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoted {
    FieldStart,
    No,
    Yes,
    /// After a quote inside: the end, or half of a doubled one.
    Perhaps,
}

impl<R> Quotes<R> {
    const fn new(input: R, delimiter: u8) -> Self {
        Self { input, delimiter, line: 1, at: Quoted::FieldStart, opened: 0, has_ended: false }
    }

    fn unclosed_at_end(&self) -> Option<u64> {
        (self.has_ended && self.at == Quoted::Yes).then_some(self.opened)
    }

    fn follow(&mut self, byte: u8) {
        self.line += u64::from(byte == b'\n');
        self.at = match (self.at, byte) {
            (Quoted::FieldStart, b'"') => {
                self.opened = self.line;
                Quoted::Yes
            }
            (Quoted::Yes, b'"') => Quoted::Perhaps,
            (Quoted::Yes, _) | (Quoted::Perhaps, b'"') => Quoted::Yes,
            (_, b'\n' | b'\r') => Quoted::FieldStart,
            (_, byte) if byte == self.delimiter => Quoted::FieldStart,
            _ => Quoted::No,
        };
    }
}

impl<R: Read> Read for Quotes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        buffer[..count].iter().for_each(|byte| self.follow(*byte));
        self.has_ended = count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

struct CsvRow<'a> {
    record: &'a StringRecord,
    indexes: &'a [usize],
}

impl Row for CsvRow<'_> {
    fn cell(&self, column: usize) -> Cell<'_> {
        let text = self.record.get(self.indexes[column]);
        text.map_or(Cell::Missing, |text| Cell::Text(Cow::Borrowed(text)))
    }

    fn place(&self) -> Result<Option<[f64; 3]>, String> {
        Ok(None)
    }
}

// Where each column of the plan is in a row.
fn indexes(plan: &Plan, header: Option<&StringRecord>, map: &MapFile) -> Result<Vec<usize>, MapError> {
    let find = |column: &super::plan::Column| {
        let found = match header {
            Some(header) => header.iter().position(|name| name.trim() == column.name),
            None => column.name.parse::<usize>().ok().and_then(|number| number.checked_sub(1)),
        };
        found.ok_or_else(|| {
            let reason = match header {
                Some(header) => {
                    let known: Vec<_> = header.iter().map(str::trim).collect();
                    format!("there is no column {:?}; there are {}", column.name, known.join(", "))
                }
                None => format!("without a header columns are 1, 2, 3, not {:?}", column.name),
            };
            map.wrong(column.at.clone(), &column.key, reason)
        })
    };
    plan.columns.iter().map(find).collect()
}

fn read_error(error: &csv::Error, line: u64) -> SnapshotError {
    let at = At::line(error.position().map_or(line, csv::Position::line));
    match error.kind() {
        csv::ErrorKind::Utf8 { err, .. } => {
            at.wrong(format!("column {}", err.field() + 1), "the text is not UTF-8")
        }
        csv::ErrorKind::Io(source) => SnapshotError::Io {
            action: "read",
            path: "the CSV file".into(),
            source: io::Error::new(source.kind(), source.to_string()),
        },
        _ => at.wrong("row", error.to_string()),
    }
}
