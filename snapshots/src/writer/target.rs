//! A file that takes its name only when it is whole and on disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::error::SnapshotError;

/// Tells apart the temporary files of one process.
static NEXT: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Target {
    file: Option<BufWriter<File>>,
    temporary: PathBuf,
    path: PathBuf,
}

impl Target {
    /// Starts a temporary file in the folder of `path`.
    pub(crate) fn create(path: &Path) -> Result<Self, SnapshotError> {
        let Some(name) = path.file_name() else {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "the path names no file");
            return Err(SnapshotError::Io { action: "create", path: path.to_owned(), source });
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let suffix = format!(".{}.{number}.partial", std::process::id());
        let mut temporary = name.to_owned();
        temporary.push(suffix);
        let temporary = path.with_file_name(temporary);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .map_err(|source| SnapshotError::Io { action: "create", path: temporary.clone(), source })?;
        Ok(Self { file: Some(BufWriter::new(file)), temporary, path: path.to_owned() })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let written = match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => Err(io::Error::other("the file is closed")),
        };
        written.map_err(|source| self.io("write", source))
    }

    pub(crate) fn commit(mut self) -> Result<(), SnapshotError> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let file = file.into_inner().map_err(|error| self.io("write", error.into_error()))?;
        file.sync_all().map_err(|source| self.io("put on disk", source))?;
        fs::rename(&self.temporary, &self.path).map_err(|source| self.io("rename", source))?;
        sync_folder(&self.path).map_err(|source| self.io("put on disk the folder of", source))
    }

    fn io(&self, action: &'static str, source: io::Error) -> SnapshotError {
        SnapshotError::Io { action, path: self.path.clone(), source }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // After a commit there is no file of that name any longer, and nothing to do.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Puts the new name on disk too. Only Unix lets a folder be opened for that.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
