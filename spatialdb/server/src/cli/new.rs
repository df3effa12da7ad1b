//! `spatialdb new`: a world of one's own, ready to launch.
//!
//! Responsible for: which files there are, and the few words in them that differ.
//! Not responsible for: what is in them (`templates/`).

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use spatialdb_proto::BUILT_IN_FILES;

use super::{
    CliError,
    folder::{refuse_others_files, write},
    print,
};

const EXAMPLES: &str = "\
Writes world.toml, schema/ with one component, world.jsonl with some entities, proto/ with the messages of spatialdb,
a worker that moves the entities, and a README.md that says how to run it. The folder must be new or empty.

Examples:
  A world with a worker in Python:
    spatialdb new meadow --lang python && cd meadow && cat README.md
  One in Rust, with the SDK of a checkout of spatialdb:
    spatialdb new meadow --lang rust --sdk ~/spatialdb/workers/sdk";

// Where the Rust SDK is for those who have no checkout.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

// The folder of this crate, where it was built.
const BUILT_IN: &str = env!("CARGO_MANIFEST_DIR");

/// Make a world of your own: settings, schema, entities, a worker
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct NewArgs {
    /// The folder to make; the world gets its name
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// The language of the worker
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    lang: Language,

    /// The folder of the Rust SDK [default: that of the checkout that this program was built in, else its repository]
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Language {
    Python,
    Rust,
    Typescript,
}

/// A file of a template: where it goes, and its text.
type File = (&'static str, &'static str);

macro_rules! template {
    ($folder:literal: $($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../templates/", $folder, "/", $path)))),*]
    };
}

const COMMON: &[File] = template!("common": "README.md", "world.toml", "world.jsonl", "schema/meadow.proto");
// Its name would make git ignore files of this repository.
const IGNORE: &str = "gitignore";

impl Language {
    fn files(self) -> &'static [File] {
        match self {
            Self::Python => {
                template!("python": "worker.py", "authority.py", "test_world.py", "requirements.txt", "gitignore")
            }
            Self::Rust => {
                template!("rust": "Cargo.toml", "build.rs", "src/main.rs", "tests/world.rs", "gitignore")
            }
            Self::Typescript => {
                template!(
                    "typescript": "package.json", "package-lock.json", "tsconfig.json", "src/worker.ts", "src/authority.ts",
                    "test/world.test.mjs", "gitignore",
                )
            }
        }
    }

    /// For the README: the lines of its table, and how to set up.
    fn words(self) -> [&'static str; 2] {
        match self {
            Self::Python => [
                include_str!("../../templates/python/files.md"),
                include_str!("../../templates/python/setup.md"),
            ],
            Self::Rust => {
                [include_str!("../../templates/rust/files.md"), include_str!("../../templates/rust/setup.md")]
            }
            Self::Typescript => [
                include_str!("../../templates/typescript/files.md"),
                include_str!("../../templates/typescript/setup.md"),
            ],
        }
    }

    fn test(self) -> &'static str {
        match self {
            Self::Python => ".venv/bin/python -m unittest",
            Self::Rust => "cargo test --release",
            Self::Typescript => "npm test",
        }
    }

    fn command(self) -> &'static [&'static str] {
        match self {
            Self::Python => &[".venv/bin/python", "worker.py"],
            Self::Rust => &["target/release/shepherd"],
            Self::Typescript => &["node", "dist/worker.js"],
        }
    }
}

/// Writes the world.
pub(super) fn run(args: &NewArgs) -> Result<(), CliError> {
    let folder = &args.folder;
    refuse_others_files(folder)?;
    if args.sdk.is_some() && args.lang != Language::Rust {
        return Err(CliError::Usage("--sdk is for --lang rust: the others need no SDK".to_owned()));
    }
    let name = name_of(folder)?;
    let sdk = sdk(args.sdk.as_deref())?;
    let protos = BUILT_IN_FILES.iter().map(|(path, text)| (format!("proto/{path}"), (*text).to_owned()));
    let templates = COMMON.iter().chain(args.lang.files());
    let files = templates.map(|(path, text)| (place(path), fill(path, text, args.lang, &name, &sdk)));
    let files: Vec<(String, String)> = files.chain(protos).collect();
    for (path, text) in &files {
        write(folder, path, text)?;
    }
    let mut out = print::stdout();
    let shown = folder.display();
    writeln!(out, "{shown}: a world with {} files. {shown}/README.md says how to run it:", files.len())?;
    let [_, setup] = args.lang.words();
    let commands = setup.lines().skip_while(|line| !line.starts_with("```")).skip(1);
    writeln!(out, "  cd {shown}")?;
    for command in commands.take_while(|line| !line.starts_with("```")) {
        writeln!(out, "  {}", command.split(" #").next().unwrap_or(command).trim_end())?;
    }
    writeln!(out, "  spatialdb launch")?;
    Ok(out.flush()?)
}

// As TOML can hold it without escapes.
fn name_of(folder: &Path) -> Result<String, CliError> {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let name = absolute.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_plain = |c: char| c.is_alphanumeric() || " _-.".contains(c);
    if name.is_empty() || name.len() > 255 || !name.chars().all(is_plain) {
        let rule = "the world gets the name of the folder: letters, digits, ' ', '_', '-' and '.'";
        return Err(CliError::Usage(format!("{}: {rule}", folder.display())));
    }
    Ok(name.to_owned())
}

fn place(path: &str) -> String {
    if path == IGNORE { format!(".{path}") } else { path.to_owned() }
}

fn fill(path: &str, text: &str, lang: Language, name: &str, sdk: &str) -> String {
    match path {
        "README.md" => {
            let [files, setup] = lang.words();
            text.replacen("# meadow", &format!("# {name}"), 1)
                .replace("@files@", files.trim_end())
                .replace("@setup@", setup.trim_end())
                .replace("@test@", lang.test())
        }
        "world.toml" => text
            .replace("name = \"meadow\"", &format!("name = \"{name}\""))
            .replace("\"@command@\"", &format!("\"{}\"", lang.command().join("\", \""))),
        "Cargo.toml" => text.replace("{ path = \"@sdk@\" }", sdk),
        _ => text.to_owned(),
    }
}

/// Where the Rust SDK comes from, as Cargo.toml says it.
fn sdk(given: Option<&Path>) -> Result<String, CliError> {
    let is_sdk = |folder: &Path| folder.join("Cargo.toml").is_file();
    let found = match given {
        Some(folder) if is_sdk(folder) => Some(folder.to_owned()),
        Some(folder) => {
            let text = format!("--sdk {}: there is no Cargo.toml in it", folder.display());
            return Err(CliError::Usage(text));
        }
        None => candidates().find(|folder| is_sdk(folder)),
    };
    Ok(match found {
        Some(folder) => {
            let folder = std::path::absolute(&folder).unwrap_or(folder);
            format!("{{ path = {} }}", toml::Value::from(folder.display().to_string()))
        }
        None => format!("{{ git = \"{REPOSITORY}\" }}"),
    })
}

// Of the checkout that this program lies in, or was built in.
fn candidates() -> impl Iterator<Item = PathBuf> {
    let program = env::current_exe().unwrap_or_default();
    let around: Vec<_> = program.ancestors().map(|folder| folder.join("workers/sdk")).collect();
    around.into_iter().chain(Path::new(BUILT_IN).join("../../workers/sdk").canonicalize())
}
