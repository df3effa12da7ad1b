//! Makes Rust types of the components in `schema/`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=schema");
    let files = protox::compile(["meadow.proto"], ["schema", "proto"])?;
    prost_build::Config::new().compile_fds(files)?;
    Ok(())
}
