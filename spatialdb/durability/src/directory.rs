//! A data directory: one process at a time has it, and it says what it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::StorageError;

/// In each data directory: what it is, in words.
const MARK: &str = "spatialdb-data";
const MARK_TEXT: &str = "spatialdb data directory, version 1\n";
/// Its name until it is whole.
const DRAFT: &str = "spatialdb-data.draft";
const LOCK: &str = "LOCK";

/// A data directory that this process has, as long as this lives.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Locked.
    _lock: File,
    is_new: bool,
}

impl Directory {
    /// Takes a directory; makes it, if there is none.
    ///
    /// # Errors
    /// Another process has it, it holds something else, or it cannot be made.
    pub fn take(path: &Path) -> Result<Self, StorageError> {
        let io = |what: &str, path: &Path| {
            let what = format!("{what} {}", path.display());
            move |source| StorageError::Io { what, source }
        };
        fs::create_dir_all(path).map_err(io("make the directory", path))?;
        let mark = path.join(MARK);
        let is_marked = match fs::read_to_string(&mark) {
            Ok(text) if text == MARK_TEXT => true,
            Ok(text) => {
                let why = format!("{MARK} says {:?}", text.lines().next().unwrap_or_default());
                return Err(StorageError::Foreign { directory: path.display().to_string(), why });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(io("read", &mark)(error)),
        };
        if !is_marked {
            check_empty(path)?;
        }
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&lock_path);
        let mut lock = lock.map_err(io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Whoever has it may be about to write its name.
                let _ = lock.read_to_string(&mut holder);
                let holder = holder.trim();
                let holder = if holder.is_empty() { "another process" } else { holder }.to_owned();
                return Err(StorageError::InUse { directory: path.display().to_string(), holder });
            }
            Err(fs::TryLockError::Error(error)) => return Err(io("lock", &lock_path)(error)),
        }
        let named = lock.set_len(0).and_then(|()| lock.rewind());
        let named = named.and_then(|()| writeln!(lock, "process {}", std::process::id()));
        named.map_err(io("write", &lock_path))?;
        if !is_marked {
            write_mark(path).map_err(io("write", &mark))?;
        }
        Ok(Self { path: path.to_owned(), _lock: lock, is_new: !is_marked })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was made, or marked, just now.
    pub const fn is_new(&self) -> bool {
        self.is_new
    }
}

/// Nothing may be there but what an attempt that was cut off leaves.
fn check_empty(path: &Path) -> Result<(), StorageError> {
    let read = |source| StorageError::Io { what: format!("read {}", path.display()), source };
    for entry in fs::read_dir(path).map_err(read)? {
        let name = entry.map_err(read)?.file_name();
        if name != LOCK && name != DRAFT {
            let why = format!("there is no {MARK} in it, and it holds {}", name.display());
            return Err(StorageError::Foreign { directory: path.display().to_string(), why });
        }
    }
    Ok(())
}

fn write_mark(path: &Path) -> io::Result<()> {
    let draft = path.join(DRAFT);
    let mut file = File::create(&draft)?;
    file.write_all(MARK_TEXT.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path.join(MARK))?;
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b");
        let first = Directory::take(&path).expect("free");
        assert!(first.is_new() && first.path() == path);
        let error = Directory::take(&path).expect_err("taken");
        let expected = format!("{} is in use by process {}", path.display(), std::process::id());
        assert_eq!(error.to_string(), expected);
        drop(first);
        assert!(!Directory::take(&path).expect("free again").is_new());
    }

    #[test]
    fn what_is_something_else_is_not_touched() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("thesis.txt"), "years").expect("written");
        let error = Directory::take(folder.path()).expect_err("not ours").to_string();
        assert!(error.contains("no spatialdb-data in it, and it holds thesis.txt"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 1);
        let later = tempfile::tempdir().expect("a folder");
        fs::write(later.path().join(MARK), "spatialdb data directory, version 2\n").expect("written");
        let error = Directory::take(later.path()).expect_err("of a later version").to_string();
        assert!(error.contains("version 2"), "{error}");
    }

    #[test]
    fn an_attempt_that_was_cut_off_is_no_obstacle() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(LOCK), "process 1\n").expect("written");
        fs::write(folder.path().join(DRAFT), "spati").expect("written");
        assert!(Directory::take(folder.path()).expect("nobody has it").is_new());
    }
}
