//! `spatialdb schema export`: the `.proto` files of a running world.
//!
//! Responsible for: which files are written where, and the proof that they are the schema.
//! Not responsible for: their text (`proto_text`).

use std::{collections::BTreeMap, io::Write, path::PathBuf};

use clap::Args;
use prost_reflect::DescriptorPool;
use serde_json::json;
use spatialdb_proto::{BUILT_IN_FILES, v1::GetSchemaRequest};
use spatialdb_schema::Schema;

use super::proto_text::proto_text;
use crate::cli::{
    CliError,
    client::{Client, ClientArgs},
    folder::{refuse_others_files, write},
    print,
};

const EXAMPLES: &str = "\
The files compile to exactly the schema of the world, which is checked. A world takes them as they are, since it has
spatialdb's own files built in. Other compilers need those too: --with-built-ins writes them beside, under
spatialdb/v1, and such a folder is for other compilers only.

Examples:
  The components of a world, to launch another with:
    spatialdb schema export schema
  All that a worker in a new language needs:
    spatialdb schema export proto --with-built-ins && protoc -I proto --go_out=. $(find proto -name '*.proto')";

const BUILT_IN_PREFIX: &str = "spatialdb/v1/";
const GOOGLE_PREFIX: &str = "google/protobuf/";

/// Write the .proto files of a running world
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExportArgs {
    /// A folder, new or empty
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Write spatialdb's own files too, for other compilers
    #[arg(long)]
    with_built_ins: bool,

    #[command(flatten)]
    client: ClientArgs,
}

/// Asks for the schema and writes it.
pub(super) async fn run(args: &ExportArgs) -> Result<(), CliError> {
    refuse_others_files(&args.folder)?;
    let mut client = Client::connect(&args.client).await?;
    let answer = client.world.get_schema(GetSchemaRequest {}).await;
    let schema = answer.map_err(|status| client.failed(&status))?.into_inner();
    let files = texts(&schema.descriptor_set)
        .and_then(|files| prove(&files, &schema.digest).map(|()| files))
        .map_err(|cause| CliError::Schema { address: client.address().to_owned(), cause })?;
    let mut written: Vec<&str> = Vec::new();
    for (name, text) in &files {
        write(&args.folder, name, text)?;
        written.push(name);
    }
    for (name, text) in BUILT_IN_FILES.iter().filter(|_| args.with_built_ins) {
        write(&args.folder, name, text)?;
        written.push(name);
    }
    let mut out = print::stdout();
    if args.client.json {
        writeln!(out, "{}", json!({ "digest": schema.digest, "files": written }))?;
    } else {
        writeln!(out, "{}: {} files, schema {}", args.folder.display(), written.len(), schema.digest)?;
        for name in &written {
            writeln!(out, "  {name}")?;
        }
        if files.is_empty() {
            writeln!(out, "the world has no components of its own")?;
        }
    }
    Ok(out.flush()?)
}

/// The world's own files by import path.
fn texts(descriptor_set: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let pool = DescriptorPool::decode(descriptor_set).map_err(|error| error.to_string())?;
    let is_own = |name: &str| !name.starts_with(BUILT_IN_PREFIX) && !name.starts_with(GOOGLE_PREFIX);
    let own = pool.files().filter(|file| is_own(file.name()));
    own.map(|file| {
        // It comes from elsewhere and becomes a path here.
        let is_plain =
            |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '\0']);
        if !file.name().split('/').all(is_plain) || !file.name().ends_with(".proto") {
            return Err(format!("{:?} is no name for a .proto file", file.name()));
        }
        let text = proto_text(&file).map_err(|reason| format!("{}: {reason}", file.name()))?;
        Ok((file.name().to_owned(), text))
    })
    .collect()
}

/// Compiles the texts and compares.
fn prove(files: &BTreeMap<String, String>, digest: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    for (name, text) in files {
        write(folder.path(), name, text).map_err(|error| error.to_string())?;
    }
    let folders = if files.is_empty() { Vec::new() } else { vec![folder.path().to_owned()] };
    let compiled = Schema::compile(&folders).map_err(|error| error.to_string())?;
    if compiled.digest() == digest {
        return Ok(());
    }
    Err(format!(
        "its files would compile to the schema {}, not {digest}; is spatialdb of the version that runs the world?",
        compiled.digest()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(name: &str, text: &str) -> String {
        let folder = tempfile::tempdir().expect("folder");
        write(folder.path(), name, text).expect("written");
        let schema = Schema::compile(&[folder.path().to_owned()]).expect("it compiles");
        let files = texts(schema.descriptor_set()).expect("it can be written");
        prove(&files, schema.digest()).unwrap_or_else(|error| panic!("{error}:\n{}", files[name]));
        files[name].clone()
    }

    #[test]
    fn the_text_compiles_to_the_same_schema() {
        let text = round_trip("deep/all.proto", include_str!("export/all.proto"));
        assert!(
            text.contains("option (spatialdb.v1.component) = { id: 1000, durability: DURABILITY_DURABLE };"),
            "{text}"
        );
        assert!(text.contains("map<string, Mood> moods = 7;"), "{text}");
        round_trip("old.proto", include_str!("export/old.proto"));
    }

    #[test]
    fn a_name_that_means_another_type_inside_is_written_whole() {
        let text = round_trip("a.proto", include_str!("export/shadows.proto"));
        assert!(text.contains("  a.Inner outer = 2;") && text.contains("  .a.Inner outer = 3;"), "{text}");
    }

    #[test]
    fn a_path_out_of_the_folder_is_refused() {
        let schema = |name: &str| {
            let file = prost_types::FileDescriptorProto { name: Some(name.to_owned()), ..Default::default() };
            prost::Message::encode_to_vec(&prost_types::FileDescriptorSet { file: vec![file] })
        };
        for name in ["../a.proto", "/a.proto", "a//b.proto", "a"] {
            assert!(texts(&schema(name)).is_err(), "{name}");
        }
        assert!(texts(&schema("b/a.proto")).is_ok());
    }

    #[test]
    fn comments_stand_where_they_stood() {
        use prost_types::{DescriptorProto, FileDescriptorProto, SourceCodeInfo, source_code_info::Location};
        let location = Location {
            path: vec![4, 0],
            leading_comments: Some(" A sheep.\n It walks.\n".to_owned()),
            ..Default::default()
        };
        let file = FileDescriptorProto {
            name: Some("a.proto".to_owned()),
            syntax: Some("proto3".to_owned()),
            message_type: vec![DescriptorProto { name: Some("Sheep".to_owned()), ..Default::default() }],
            source_code_info: Some(SourceCodeInfo { location: vec![location] }),
            ..Default::default()
        };
        let set = prost::Message::encode_to_vec(&prost_types::FileDescriptorSet { file: vec![file] });
        let text = &texts(&set).expect("it can be written")["a.proto"];
        assert_eq!(text, "syntax = \"proto3\";\n\n// A sheep.\n// It walks.\nmessage Sheep {\n}\n");
    }
}
