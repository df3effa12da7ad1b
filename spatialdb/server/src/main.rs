//! The `spatialdb` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    spatialdb::cli::main()
}
