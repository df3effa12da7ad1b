//! `.proto` files to descriptors.
//!
//! Responsible for: running the compiler, and turning its errors into ours, with file, line and advice.
//! Not responsible for: finding files, or the rules for components.

use std::{collections::BTreeMap, fs, path::PathBuf};

use prost_reflect::DescriptorPool;
use protox::{Compiler, Error as CompileError};

use crate::{
    error::{Place, SchemaError},
    places::Places,
    sources::Resolver,
};

/// The built-in file that every schema holds; it imports what defines the component option.
const ROOT_FILE: &str = "spatialdb/v1/components.proto";

/// Compiles the files, and the built-in components with them. The descriptors know their lines.
pub(crate) fn compile(files: BTreeMap<String, PathBuf>) -> Result<(DescriptorPool, Places), SchemaError> {
    let places = Places { paths: files.clone() };
    let mut compiler = Compiler::with_file_resolver(Resolver { files });
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file(ROOT_FILE).map_err(|error| translate(&error, ROOT_FILE, &places))?;
    for name in places.paths.keys() {
        compiler.open_file(name).map_err(|error| translate(&error, name, &places))?;
    }
    Ok((compiler.descriptor_pool(), places))
}

fn translate(error: &CompileError, opened: &str, places: &Places) -> SchemaError {
    let import = error.file().unwrap_or(opened);
    // Only the debug form tells the line.
    let text = format!("{error:?}");
    let (line, detail) = split_position(text.strip_prefix(import).unwrap_or(&text));
    let place = places.line(import, line);
    if detail.starts_with("import cycle") {
        return SchemaError::ImportCycle { file: place.file };
    }
    if detail.starts_with("import '") && detail.ends_with("not found") {
        return SchemaError::ImportMissing { place, detail };
    }
    if error.is_parse() && is_edition(&place, places, import) {
        return SchemaError::Edition { place };
    }
    SchemaError::Invalid { place, detail }
}

// ":LINE:COLUMN: text" to its parts.
fn split_position(text: &str) -> (Option<u32>, String) {
    let position = text.strip_prefix(':').and_then(|text| {
        let (line, text) = text.split_once(':')?;
        let (column, text) = text.split_once(':')?;
        column.trim().parse::<u32>().ok()?;
        Some((line.trim().parse().ok()?, text))
    });
    match position {
        Some((line, text)) => (Some(line), text.trim().to_owned()),
        None => (None, text.trim_start_matches(':').trim().to_owned()),
    }
}

fn is_edition(place: &Place, places: &Places, import: &str) -> bool {
    let (Some(line), Some(path)) = (place.line, places.paths.get(import)) else { return false };
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().nth(line.saturating_sub(1) as usize);
    line.is_some_and(|line| line.trim_start().starts_with("edition"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_split_off() {
        assert_eq!(split_position(":3:7: no"), (Some(3), "no".to_owned()));
        assert_eq!(split_position(": no: way"), (None, "no: way".to_owned()));
        assert_eq!(split_position("no"), (None, "no".to_owned()));
    }
}
