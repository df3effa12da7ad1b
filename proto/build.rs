//! Compiles `spatialdb/v1/*.proto` without `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

const FILES: [&str; 10] = [
    "spatialdb/v1/schema.proto",
    "spatialdb/v1/snapshot.proto",
    "spatialdb/v1/components.proto",
    "spatialdb/v1/authority.proto",
    "spatialdb/v1/query.proto",
    "spatialdb/v1/worker.proto",
    "spatialdb/v1/world.proto",
    "spatialdb/v1/region.proto",
    "spatialdb/v1/explain.proto",
    "spatialdb/v1/admin.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=spatialdb");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("spatialdb.v1.fds");
    // Encoded by the compiler: the generated descriptor types would lose the component options.
    fs::write(out, compiler.encode_file_descriptor_set())?;
    let files = compiler.file_descriptor_set();
    tonic_prost_build::configure()
        .bytes(".spatialdb.v1")
        .extern_path(".spatialdb.v1.PositionColumn", "crate::PositionColumn")
        .compile_fds(files.clone())?;
    // The same services once more, for a server that sends what is encoded already and bears what it cannot read.
    let outgoing = PathBuf::from(env::var("OUT_DIR")?).join("outgoing");
    fs::create_dir_all(&outgoing)?;
    tonic_prost_build::configure()
        .build_client(false)
        .extern_path(".spatialdb.v1", "crate::v1")
        .extern_path(".spatialdb.v1.ServerMessage", "crate::Outgoing")
        .extern_path(".spatialdb.v1.ClientMessage", "crate::Incoming")
        .extern_path(".spatialdb.v1.SendRequest", "crate::IncomingSend")
        .out_dir(outgoing)
        .compile_fds(files)?;
    Ok(())
}
