//! One form for each schema.
//!
//! Responsible for: descriptor sets in a fixed order, with all imports and without comments; reading such sets from
//! strangers.
//! Not responsible for: what the descriptors mean.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use prost_types::FileDescriptorProto;
use protox::file::{FileResolver, GoogleFileResolver};

use crate::{error::SchemaError, sources, wire};

// Bounds for a set from a stranger. The pool keeps, for each file, the set of files it imports.
const SET_BYTES_MAX: usize = 16 << 20;
const SET_FILES_MAX: usize = 4096;

// `FileDescriptorSet.file`.
const SET_FILE: u32 = 1;
// `FileDescriptorProto.source_code_info`.
const FILE_SOURCE_INFO: u32 = 9;

/// Serialised `FileDescriptorProto`s by import path.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// The files of a pool, without source info.
pub(crate) fn files_of_pool(pool: &DescriptorPool) -> Result<Files, SchemaError> {
    let files =
        pool.files().map(|file| Ok((file.name().to_owned(), without_source_info(&file.encode_to_vec())?)));
    files.collect()
}

/// The files of a serialised set. Those of google/protobuf are replaced by ours: JSON relies on what is in them.
pub(crate) fn files_of_set(bytes: &[u8]) -> Result<Files, SchemaError> {
    if bytes.len() > SET_BYTES_MAX {
        return Err(damaged(format!("{} bytes are more than {SET_BYTES_MAX}", bytes.len())));
    }
    let mut files = Files::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let Some(file) = next_file(&mut rest).map_err(|error| damaged(error.to_string()))? else { continue };
        let (name, file) = read_file(file)?;
        if files.insert(name.clone(), file).is_some() {
            return Err(damaged(format!("file {name} is there twice")));
        }
        if files.len() > SET_FILES_MAX {
            return Err(damaged(format!("more than {SET_FILES_MAX} files")));
        }
    }
    Ok(files)
}

/// Builds a pool and its set, in an order that depends on names and imports only.
pub(crate) fn build(files: &Files) -> Result<(DescriptorPool, Vec<u8>), SchemaError> {
    let mut pool = DescriptorPool::new();
    for name in ordered(files)? {
        pool.decode_file_descriptor_proto(files[name].as_slice())
            .map_err(|error| damaged(format!("{error:?}")))?;
    }
    let mut set = Vec::new();
    for file in pool.files() {
        prost::encoding::bytes::encode(SET_FILE, &file.encode_to_vec(), &mut set);
    }
    Ok((pool, set))
}

fn damaged(detail: String) -> SchemaError {
    SchemaError::DescriptorSet { detail }
}

fn next_file<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, wire::Malformed> {
    let (number, wire_type) = wire::key(rest)?;
    if number == SET_FILE && wire_type == wire::WireType::Length {
        return wire::delimited(rest).map(Some);
    }
    wire::skip(wire_type, rest)?;
    Ok(None)
}

fn read_file(bytes: &[u8]) -> Result<(String, Vec<u8>), SchemaError> {
    let file = FileDescriptorProto::decode(bytes).map_err(|error| damaged(error.to_string()))?;
    let name = file.name();
    if name.is_empty() {
        return Err(damaged("a file has no name".to_owned()));
    }
    if sources::is_google(name) {
        return Ok((name.to_owned(), google(name)?));
    }
    if file.package() == "google.protobuf" {
        return Err(damaged(format!("file {name} claims the package google.protobuf")));
    }
    match file.syntax() {
        "" | "proto2" | "proto3" => Ok((name.to_owned(), without_source_info(bytes)?)),
        "editions" => Err(SchemaError::Edition { place: crate::Place { file: name.to_owned(), line: None } }),
        syntax => Err(damaged(format!("file {name} has the unknown syntax {syntax:?}"))),
    }
}

fn google(name: &str) -> Result<Vec<u8>, SchemaError> {
    let file = GoogleFileResolver::new()
        .open_file(name)
        .map_err(|_| damaged(format!("file {name} is none that this version knows")))?;
    // Options with extensions are not in these files, so nothing is lost here.
    without_source_info(&file.file_descriptor_proto().encode_to_vec())
}

fn without_source_info(bytes: &[u8]) -> Result<Vec<u8>, SchemaError> {
    let mut kept = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let field = rest;
        let skipped = wire::key(&mut rest).and_then(|(number, wire_type)| {
            wire::skip(wire_type, &mut rest)?;
            Ok(number)
        });
        let number = skipped.map_err(|error| damaged(error.to_string()))?;
        if number != FILE_SOURCE_INFO {
            kept.extend_from_slice(&field[..field.len() - rest.len()]);
        }
    }
    Ok(kept)
}

// Imports first, and by name among those that could come next.
fn ordered(files: &Files) -> Result<Vec<&str>, SchemaError> {
    let mut importers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut missing = BTreeMap::new();
    let mut ready = BTreeSet::new();
    for (name, bytes) in files {
        let imports = imports_of(name, bytes, files)?;
        for import in &imports {
            importers.entry(import).or_default().push(name);
        }
        if imports.is_empty() {
            ready.insert(name.as_str());
        }
        missing.insert(name.as_str(), imports.len());
    }
    let mut order = Vec::with_capacity(files.len());
    while let Some(name) = ready.pop_first() {
        order.push(name);
        missing.remove(name);
        for importer in importers.remove(name).unwrap_or_default() {
            let left = missing.entry(importer).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                ready.insert(importer);
            }
        }
    }
    match missing.keys().next() {
        Some(file) => Err(SchemaError::ImportCycle { file: (*file).to_owned() }),
        None => Ok(order),
    }
}

fn imports_of<'a>(name: &str, bytes: &[u8], files: &'a Files) -> Result<BTreeSet<&'a str>, SchemaError> {
    let file = FileDescriptorProto::decode(bytes).map_err(|error| damaged(error.to_string()))?;
    let find = |import: &String| match files.get_key_value(import) {
        Some((import, _)) => Ok(import.as_str()),
        None => Err(damaged(format!("file {name} imports {import}, which is not in the set"))),
    };
    file.dependency.iter().map(find).collect()
}

/// Refuses map entries that no compiler makes; the code that prints them relies on their form.
pub(crate) fn refuse_bad_map_entries(pool: &DescriptorPool) -> Result<(), SchemaError> {
    for message in pool.all_messages().filter(|message| message.is_map_entry()) {
        if !is_map_entry(&message) {
            return Err(damaged(format!("{} is no well-formed map entry", message.full_name())));
        }
    }
    Ok(())
}

fn is_map_entry(message: &MessageDescriptor) -> bool {
    let (Some(key), Some(value)) = (message.get_field(1), message.get_field(2)) else { return false };
    let key_kind_fits =
        !matches!(key.kind(), Kind::Double | Kind::Float | Kind::Bytes | Kind::Enum(_) | Kind::Message(_));
    let plain = |field: &FieldDescriptor| field.cardinality() == Cardinality::Optional && !field.is_group();
    key_kind_fits && plain(&key) && plain(&value) && message.fields().len() == 2
}
