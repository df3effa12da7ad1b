//! The `.proto` files of a world.
//!
//! Responsible for: finding them below directories, and resolving imports to them, to spatialdb's own files and to
//! google/protobuf's.
//! Not responsible for: compiling.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use protox::{
    Error as CompileError,
    file::{File, FileResolver, GoogleFileResolver},
};
use spatialdb_proto::BUILT_IN_FILES;

use crate::{error::SchemaError, options::BUILT_IN_PREFIX};

const GOOGLE_PREFIX: &str = "google/protobuf/";

// Levels of directories that are followed.
const DIRECTORY_DEPTH_MAX: usize = 32;

/// Every `.proto` file below the directories, by import path.
pub(crate) fn find(directories: &[PathBuf]) -> Result<BTreeMap<String, PathBuf>, SchemaError> {
    let mut found = BTreeMap::new();
    for directory in directories {
        let mut files = Vec::new();
        walk(directory, DIRECTORY_DEPTH_MAX, &mut files)?;
        if files.is_empty() {
            return Err(SchemaError::DirectoryEmpty { path: directory.clone() });
        }
        for path in files {
            let name = import_path(directory, &path)?;
            if name.starts_with(BUILT_IN_PREFIX) || name.starts_with(GOOGLE_PREFIX) {
                return Err(SchemaError::ShadowsBuiltIn { path, name });
            }
            if let Some(first) = found.insert(name.clone(), path.clone()) {
                return Err(SchemaError::FileTwice { name, first, second: path });
            }
        }
    }
    Ok(found)
}

fn walk(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), SchemaError> {
    let path = directory.to_owned();
    if depth == 0 {
        return Err(SchemaError::DirectoryTooDeep { path, limit: DIRECTORY_DEPTH_MAX });
    }
    let entries = fs::read_dir(directory).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let mut entries = match entries {
        Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect::<Vec<_>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SchemaError::DirectoryMissing { path });
        }
        Err(source) => return Err(SchemaError::Unreadable { path, source }),
    };
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, depth - 1, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}

// Imports use '/' on every system.
fn import_path(directory: &Path, path: &Path) -> Result<String, SchemaError> {
    let relative = path.strip_prefix(directory).unwrap_or(path);
    let parts: Option<Vec<_>> = relative.iter().map(|part| part.to_str()).collect();
    parts.map(|parts| parts.join("/")).ok_or_else(|| SchemaError::PathNotUtf8 { path: path.to_owned() })
}

/// Resolves imports.
#[derive(Debug)]
pub(crate) struct Resolver {
    /// A world's own files, by import path.
    pub(crate) files: BTreeMap<String, PathBuf>,
}

impl FileResolver for Resolver {
    fn open_file(&self, name: &str) -> Result<File, CompileError> {
        if let Some((_, text)) = BUILT_IN_FILES.iter().find(|(path, _)| *path == name) {
            return File::from_source(name, text);
        }
        match self.files.get(name) {
            Some(path) => File::open(name, path),
            None => GoogleFileResolver::new().open_file(name),
        }
    }
}

/// Whether an import path is one of google/protobuf's.
pub(crate) fn is_google(name: &str) -> bool {
    name.starts_with(GOOGLE_PREFIX)
}
