//! Schemas from text, in directories of their own.

use std::fs;

use spatialdb_schema::{Component, Schema, SchemaError};
use tempfile::TempDir;

/// Compiles files given as (path, text) in one directory.
pub(crate) fn compile(files: &[(&str, &str)]) -> Result<Schema, SchemaError> {
    let directory = directory(files);
    Schema::compile(&[directory.path().to_owned()])
}

/// A directory with these files.
pub(crate) fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (path, text) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

/// One proto3 file of package `t` with these definitions.
pub(crate) fn proto3(definitions: &str) -> Result<Schema, SchemaError> {
    compile(&[("t.proto", &format!("{HEAD3}{definitions}"))])
}

/// One proto2 file of package `t` with these definitions.
pub(crate) fn proto2(definitions: &str) -> Result<Schema, SchemaError> {
    compile(&[("t.proto", &format!("{HEAD2}{definitions}"))])
}

/// The component `t.C` of a proto3 file, given its fields and what follows the message.
pub(crate) fn component(fields: &str, more: &str) -> Component {
    let schema = proto3(&format!("message C {{ {OPTION} {fields} }} {more}")).unwrap();
    schema.component_named("t.C").unwrap().clone()
}

/// The option of the component 1000.
pub(crate) const OPTION: &str = "option (spatialdb.v1.component) = { id: 1000 };";

const HEAD3: &str = "syntax = \"proto3\";\npackage t;\nimport \"spatialdb/v1/schema.proto\";\n";
const HEAD2: &str = "syntax = \"proto2\";\npackage t;\nimport \"spatialdb/v1/schema.proto\";\n";
