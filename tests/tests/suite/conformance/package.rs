//! The Python package itself: its own tests, its install, the worker of its README.

use std::{fs, path::Path, process::Command};

use spatialdb_tests::{Finished, Launch, Process, World, repository, search_path};

/// Python of the repository with modules from a folder.
fn python(folder: &Path) -> Command {
    let path = repository().join(".venv/bin/python");
    assert!(path.exists(), "{} is missing: run `deploy/setup.sh`", path.display());
    let mut command = Command::new(path);
    command
        .env("PATH", search_path())
        .env("PYTHONPATH", folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(repository());
    command
}

fn well(command: &mut Command) -> Finished {
    let done = Process::start(command).finish();
    assert_eq!(done.code, Some(0), "{}\n{}", done.stdout, done.stderr);
    done
}

#[test]
fn its_own_tests_pass_with_and_without_numpy() {
    let package = repository().join("workers/python");
    for prepare in ["import numpy", "import sys; sys.modules['numpy'] = None"] {
        let run = "import unittest; unittest.main(module=None, argv=['tests', 'discover', '-s', 'workers/python/tests'])";
        let done = well(python(&package).args(["-c", &format!("{prepare}\n{run}")]));
        assert!(done.stderr.ends_with("OK"), "{}", done.stderr);
        let count = done.stderr.lines().find_map(|line| line.strip_prefix("Ran ")).expect("a count");
        let count: u32 = count.split(' ').next().and_then(|count| count.parse().ok()).expect("a number");
        assert!(count > 15, "{}", done.stderr);
    }
}

#[test]
fn it_installs_without_a_network_and_the_worker_of_its_readme_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("installed");
    // Built from a copy, so that nothing is left in the checkout. Its .proto files are found beside it.
    let copy = folder.path().join("checkout");
    for part in ["workers/python", "proto/spatialdb/v1"] {
        copy_files(&repository().join(part), &copy.join(part));
    }
    fs::remove_dir_all(copy.join("workers/python/spatialdb/v1")).expect("it is generated anew");
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let args =
        ["-m", "pip", "install", "--quiet", "--no-index", "--no-build-isolation", "--no-deps", "--target"];
    well(python(&target).args(args).args([text(&target), text(&copy.join("workers/python"))]));
    assert!(target.join("spatialdb/py.typed").is_file());

    let readme = fs::read_to_string(repository().join("workers/python/README.md")).expect("a README");
    let block = readme.split("```python\n").nth(1).and_then(|rest| rest.split("```").next());
    let first = folder.path().join("first.py");
    fs::write(&first, block.expect("a block of Python")).expect("written");
    let world = World::launch(Launch::earth());
    let done = well(python(&target).arg(first).env("SPATIALDB_ADDRESS", world.address()));
    let lines: Vec<&str> = done.stdout.lines().collect();
    let [count, refused, boat] = lines[..] else { panic!("{}", done.stdout) };
    assert!(
        count.strip_prefix("in view: ").and_then(|count| count.parse::<u32>().ok()) > Some(10),
        "{count}"
    );
    assert_eq!((refused, boat), ("refused: []", "boat: 450.0 metres on"));
    assert_eq!(done.stderr, "");
}

/// The files of a folder and of those in it.
fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_files(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("copied");
        }
    }
}
