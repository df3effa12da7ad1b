//! `spatialdb completions`: what a shell needs to complete this command line.

use std::io::Write;

use clap::Args;
use clap_complete::{Shell, generate};

use super::{CliError, print};

const EXAMPLES: &str = "\
`make install` puts them where the shell finds them. By hand:

Examples:
  For this session of bash:
    source <(spatialdb completions bash)
  For every session of zsh and of fish:
    spatialdb completions zsh > ~/.zfunc/_spatialdb        # fpath+=~/.zfunc in ~/.zshrc, before compinit
    spatialdb completions fish > ~/.config/fish/completions/spatialdb.fish";

/// Print the completions for a shell
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum, value_parser = clap::builder::EnumValueParser::<Known>::new())]
    shell: Known,
}

/// The shells whose completions are tried.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

/// Prints them.
pub(super) fn run(args: &CompletionsArgs, mut command: clap::Command) -> Result<(), CliError> {
    let shell = match args.shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    let mut text = Vec::new();
    generate(shell, &mut command, "spatialdb", &mut text);
    let mut out = print::stdout();
    out.write_all(&text)?;
    Ok(out.flush()?)
}
