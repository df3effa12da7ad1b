//! The `spatialdb` command.

use std::process::ExitCode;

/// Partitions make what connections let go: with the system's allocator that took an eighth of the time of a loaded server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    spatialdb::cli::main()
}
