//! From a descriptor back to the line it stands on.
//!
//! Responsible for: [`Place`]s of descriptors and import paths.
//! Not responsible for: errors of the compiler, which bring their own lines.

use std::{collections::BTreeMap, path::PathBuf};

use prost_reflect::{FieldDescriptor, FileDescriptor, MessageDescriptor};

use crate::error::Place;

/// The files of a schema by import path; empty for a descriptor set.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) paths: BTreeMap<String, PathBuf>,
}

impl Places {
    /// The place of a line of a file. `line` counts from 1.
    pub(crate) fn line(&self, import: &str, line: Option<u32>) -> Place {
        let file =
            self.paths.get(import).map_or_else(|| import.to_owned(), |path| path.display().to_string());
        Place { file, line }
    }

    /// Where a message is declared.
    pub(crate) fn message(&self, message: &MessageDescriptor) -> Place {
        self.element(&message.parent_file(), message.path())
    }

    /// Where a field is declared.
    pub(crate) fn field(&self, field: &FieldDescriptor) -> Place {
        self.element(&field.parent_file(), field.path())
    }

    fn element(&self, file: &FileDescriptor, path: &[i32]) -> Place {
        let info = file.file_descriptor_proto().source_code_info.as_ref();
        let location = info.and_then(|info| info.location.iter().find(|location| location.path == path));
        let line =
            location.and_then(|location| location.span.first()).and_then(|line| u32::try_from(*line).ok());
        self.line(file.name(), line.map(|line| line.saturating_add(1)))
    }
}
