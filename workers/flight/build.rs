//! Compiles the schema of the earth world without `protoc`.

use std::error::Error;

const SCHEMA: &str = "../../snapshots/earth/schema";
const BUILT_IN: &str = "../../proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={SCHEMA}");
    println!("cargo:rerun-if-changed={BUILT_IN}");
    let descriptors = protox::compile(["earth.proto"], [SCHEMA, BUILT_IN])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
