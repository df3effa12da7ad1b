//! The file of a recorded session: the messages of the wire, each with its time. See `docs/formats/recording.md`.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use prost::Message;
use spatialdb_proto::v1::{ClientMessage, ServerMessage, client_message};

/// The first bytes: what it is, and which version.
const MAGIC: [u8; 8] = *b"SDBREC\x00\x01";

/// One message. Larger ones than the server can be set to take are damage.
const RECORD_BYTES_MAX: u32 = (1 << 30) + 64;

/// What was said, and when.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Record {
    /// Microseconds since the session began.
    #[prost(uint64, tag = "1")]
    pub(super) at_us: u64,
    #[prost(message, optional, tag = "2")]
    pub(super) by_worker: Option<ClientMessage>,
    #[prost(message, optional, tag = "3")]
    pub(super) by_server: Option<ServerMessage>,
}

/// One message that is to be kept.
#[derive(Clone, Copy)]
pub(super) enum Said<'a> {
    ByWorker(&'a ClientMessage),
    ByServer(&'a ServerMessage),
}

/// Writes a recording.
pub(super) struct Recorder {
    file: BufWriter<File>,
    started: Instant,
    is_broken: bool,
}

/// What is wrong with a recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is none, or one of another version.
    #[error("{}: this is no recording of version 1", path.display())]
    Magic {
        /// Which file.
        path: PathBuf,
    },
    /// It is damaged.
    #[error("{}: byte {offset}: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
}

impl Recorder {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        // What was recorded before is never written over.
        let mut file = BufWriter::new(File::create_new(path)?);
        file.write_all(&MAGIC)?;
        file.flush()?;
        Ok(Self { file, started: Instant::now(), is_broken: false })
    }

    /// Adds a message. After an error nothing more is added, and nothing more is said.
    pub(super) fn note(&mut self, said: Said<'_>) -> io::Result<()> {
        if self.is_broken {
            return Ok(());
        }
        let mut record = Record { at_us: self.started.elapsed().as_micros() as u64, ..Record::default() };
        match said {
            Said::ByWorker(message) => record.by_worker = Some(without_secrets(message.clone())),
            Said::ByServer(message) => record.by_server = Some(message.clone()),
        }
        let bytes = record.encode_to_vec();
        let written = self
            .file
            .write_all(&(bytes.len() as u32).to_le_bytes())
            .and_then(|()| self.file.write_all(&bytes))
            // What was said is on its way to the disk whatever becomes of this process.
            .and_then(|()| self.file.flush());
        self.is_broken = written.is_err();
        written
    }
}

fn without_secrets(mut message: ClientMessage) -> ClientMessage {
    if let Some(client_message::Body::Hello(hello)) = &mut message.body {
        hello.token.clear();
        hello.resume_token.clear();
    }
    message
}

/// Reads a recording whole.
///
/// # Errors
/// File, offset and reason. A recording whose last record is cut off is read up to it.
pub(super) fn read(path: &Path) -> Result<Vec<Record>, RecordingError> {
    let io = |source| RecordingError::Io { path: path.to_owned(), source };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let mut magic = [0; MAGIC.len()];
    match file.read_exact(&mut magic) {
        Ok(()) if magic == MAGIC => {}
        Ok(()) => return Err(RecordingError::Magic { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(RecordingError::Magic { path: path.to_owned() });
        }
        Err(error) => return Err(io(error)),
    }
    let mut records = Vec::new();
    let mut offset = MAGIC.len() as u64;
    while let Some(bytes) = next(&mut file).map_err(io)? {
        let damaged = |reason: String| RecordingError::Damaged { path: path.to_owned(), offset, reason };
        let bytes =
            bytes.ok_or_else(|| damaged(format!("a record is longer than {RECORD_BYTES_MAX} bytes")))?;
        records.push(Record::decode(bytes.as_slice()).map_err(|error| damaged(error.to_string()))?);
        offset += 4 + bytes.len() as u64;
    }
    Ok(records)
}

/// The next record's bytes; `None` at the end, also when the last record is cut off; `Some(None)` for a length that
/// cannot be.
fn next(file: &mut impl Read) -> io::Result<Option<Option<Vec<u8>>>> {
    let mut length = [0; 4];
    let whole = |read: io::Result<()>| match read {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    };
    if !whole(file.read_exact(&mut length))? {
        return Ok(None);
    }
    let length = u32::from_le_bytes(length);
    if length > RECORD_BYTES_MAX {
        return Ok(Some(None));
    }
    let mut bytes = Vec::new();
    file.take(u64::from(length)).read_to_end(&mut bytes)?;
    Ok((bytes.len() == length as usize).then_some(Some(bytes)))
}
