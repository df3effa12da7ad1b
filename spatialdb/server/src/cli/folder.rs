//! A folder for new files: it must be new or empty, so that nobody's files are lost.

use std::{fs, io, path::Path};

use super::CliError;

/// Refuses a folder that has something in it.
pub(super) fn refuse_others_files(folder: &Path) -> Result<(), CliError> {
    let refused = |rule: &str| Err(CliError::Usage(format!("{}: {rule}", folder.display())));
    match fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
        Ok(true) => refused("the folder is not empty; name a new one"),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => refused("there is a file of that name"),
        Err(source) => Err(CliError::File { action: "read", path: folder.to_owned(), source }),
    }
}

/// Writes a file below the folder, and the folders on the way to it.
pub(super) fn write(folder: &Path, name: &str, text: &str) -> Result<(), CliError> {
    let path = folder.join(name);
    let parent = path.parent().unwrap_or(folder);
    let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, text));
    written.map_err(|source| CliError::File { action: "write", path: path.clone(), source })
}
