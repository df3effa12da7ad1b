//! Python programs of this repository, in its own `.venv`.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Process, World, repository};

/// A program with `args`, attached to the world by its environment. It finds the generated code of the examples,
/// and modules in `folders`.
///
/// # Panics
/// If `.venv` is not there.
pub fn python(world: &World, folders: &[&Path], args: &[&str]) -> Command {
    let mut command = interpreter();
    let generated = repository().join("workers/python/examples/generated");
    assert!(generated.is_dir(), "{} is missing: run `deploy/setup.sh`", generated.display());
    let path: OsString =
        env::join_paths(folders.iter().copied().chain([generated.as_path()])).expect("no colon in them");
    command.args(args).current_dir(repository());
    command.env("PYTHONPATH", path).env("SPATIALDB_ADDRESS", world.address());
    command
}

/// Python code of `tests/schema`, generated into a folder.
///
/// # Panics
/// If the generator fails.
pub fn generate_python(folder: &Path) {
    let root = repository();
    let include = |path: PathBuf| format!("-I{}", path.display());
    let mut command = interpreter();
    command.args(["-m", "grpc_tools.protoc"]);
    command.args([include(root.join("proto")), include(root.join("tests/schema"))]);
    command.arg(format!("--python_out={}", folder.display())).arg("probe.proto");
    let done = Process::start(&mut command).finish();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
}

fn interpreter() -> Command {
    let path = repository().join(".venv/bin/python");
    assert!(path.exists(), "{} is missing: run `deploy/setup.sh`", path.display());
    let mut command = Command::new(path);
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("SPATIALDB_")) {
        command.env_remove(name);
    }
    // Their output is waited for line by line.
    command.env("PYTHONUNBUFFERED", "1").env("PYTHONDONTWRITEBYTECODE", "1");
    command
}
