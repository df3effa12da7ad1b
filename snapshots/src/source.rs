//! Bytes that can be read at a position, by several threads at once.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use crate::error::{Part, SnapshotError};

/// An open file, or bytes in memory.
pub(crate) enum Source {
    File { file: File, path: PathBuf, length: u64 },
    Memory(Vec<u8>),
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self, SnapshotError> {
        let io = |action| {
            let path = path.to_owned();
            move |source| SnapshotError::Io { action, path, source }
        };
        let file = File::open(path).map_err(io("open"))?;
        let metadata = file.metadata().map_err(io("read the size of"))?;
        if !metadata.is_file() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(SnapshotError::Io { action: "open", path: path.to_owned(), source });
        }
        Ok(Self::File { file, path: path.to_owned(), length: metadata.len() })
    }

    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::File { length, .. } => *length,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Reads `count` bytes, of which the caller has checked that `count` is within a limit.
    pub(crate) fn read(&self, part: Part, offset: u64, count: usize) -> Result<Vec<u8>, SnapshotError> {
        let left = self.length().saturating_sub(offset);
        if (count as u64) > left {
            return Err(SnapshotError::Truncated { part, expected: count as u64, found: left });
        }
        match self {
            Self::Memory(bytes) => Ok(bytes[offset as usize..offset as usize + count].to_vec()),
            Self::File { file, path, .. } => {
                let mut buffer = vec![0; count];
                read_exact_at(file, &mut buffer, offset).map_err(|source| match source.kind() {
                    // The file has become shorter since it was opened.
                    io::ErrorKind::UnexpectedEof => {
                        SnapshotError::Truncated { part, expected: count as u64, found: 0 }
                    }
                    _ => SnapshotError::Io { action: "read", path: path.clone(), source },
                })?;
                Ok(buffer)
            }
        }
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                buffer = &mut buffer[read..];
                offset += read as u64;
            }
        }
    }
    Ok(())
}
