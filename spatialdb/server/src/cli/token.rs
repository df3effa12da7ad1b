//! `spatialdb token`: who may do what.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use spatialdb_core::world::check_name;

use super::CliError;
use crate::auth::{Entry, Kind, Right, Token, TokenFile};

const EXAMPLES: &str = "\
A running server reads the file again within a second: a new token works at once, and sessions of a revoked one end.

Examples:
  A token for flight workers that holds for a month:
    spatialdb token new --worker flight --expires 30d
  One for people who only look:
    spatialdb token new --tool --read-only --name guests
  Which there are, and taking one back:
    spatialdb token list
    spatialdb token revoke guests";

/// Make, list and take back the tokens of a server
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TokenArgs {
    /// The token file, which `[server] tokens` of the settings names
    #[arg(long, env = "SPATIALDB_TOKENS", default_value = "tokens.toml", value_name = "FILE", global = true)]
    file: PathBuf,

    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token and print it: this is the only time that it shows
    New(NewArgs),
    /// Print the tokens of the file, without their secrets
    List {
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Take a token back, by its id or its name
    Revoke {
        /// The id, or the name if only one has it
        #[arg(value_name = "ID-OR-NAME")]
        token: String,
    },
}

#[derive(Debug, Args)]
struct NewArgs {
    /// For workers of this type; may be given again
    #[arg(long = "worker", value_name = "TYPE", required_unless_present = "tool", value_parser = parse_type)]
    worker_types: Vec<String>,

    /// For tools: it may look, and attach as a viewer
    #[arg(long)]
    tool: bool,

    /// Who has it, for logs and limits [default: the worker types]
    #[arg(long, value_parser = parse_name)]
    name: Option<String>,

    /// It changes nothing, whatever else is granted
    #[arg(long)]
    read_only: bool,

    /// What it may do: create, delete, query, edit (schema and flags; of a tool, entities too). Workers always write what
    /// is there. May be given again [default: create, delete, query; of a tool: query]
    #[arg(long = "may", value_name = "RIGHT", value_parser = parse_right)]
    rights: Vec<Right>,

    /// How long it holds, as 12h or 30d [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = parse_lifetime)]
    expires: Option<std::time::Duration>,
}

/// Longer ones are a slip of the hand, and dates after the year 9999 cannot be written down.
const LIFETIME_MAX: std::time::Duration = std::time::Duration::from_secs(1000 * 365 * 24 * 3600);

fn parse_lifetime(text: &str) -> Result<std::time::Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time.is_zero() || time > LIFETIME_MAX {
        return Err("more than nothing and at most 1000 years are needed".to_owned());
    }
    Ok(time)
}

fn parse_name(text: &str) -> Result<String, String> {
    let is_plain = (1..=64).contains(&text.len()) && !text.chars().any(char::is_control);
    is_plain.then(|| text.to_owned()).ok_or_else(|| "1 to 64 bytes without line ends are needed".to_owned())
}

fn parse_type(text: &str) -> Result<String, String> {
    check_name("worker type", text).map(|()| text.to_owned()).map_err(|error| error.detail)
}

fn parse_right(name: &str) -> Result<Right, String> {
    Right::from_name(name).ok_or_else(|| "one of create, delete, query, edit".to_owned())
}

/// Runs the command.
pub(super) fn run(args: TokenArgs) -> Result<(), CliError> {
    // Held until the file is written: two at once must not undo each other.
    let _lock = match &args.command {
        TokenCommand::List { .. } => None,
        _ => Some(TokenFile::lock(&args.file).map_err(|error| CliError::Tokens(error.to_string()))?),
    };
    let mut file = match &args.command {
        TokenCommand::New(_) => TokenFile::read_or_new(&args.file),
        _ => TokenFile::read(&args.file),
    }
    .map_err(|error| CliError::Tokens(error.to_string()))?;
    match args.command {
        TokenCommand::New(new) => {
            let token = Token::random();
            file.push(entry(new, &token));
            file.write(&args.file).map_err(|error| CliError::Tokens(error.to_string()))?;
            writeln!(io::stdout(), "{}", token.text()).map_err(CliError::from)
        }
        TokenCommand::List { json } => list(&file, json),
        TokenCommand::Revoke { token } => {
            let Some(entry) = file.remove(&token) else {
                return Err(CliError::TokenUnknown { token, file: args.file });
            };
            file.write(&args.file).map_err(|error| CliError::Tokens(error.to_string()))?;
            writeln!(io::stdout(), "revoked {} ({})", entry.id, entry.name).map_err(CliError::from)
        }
    }
}

fn entry(new: NewArgs, token: &Token) -> Entry {
    let kind = if new.tool { Kind::Tool } else { Kind::Worker };
    let mut rights: BTreeSet<Right> = new.rights.into_iter().collect();
    if rights.is_empty() {
        rights.insert(Right::Query);
        if kind == Kind::Worker {
            rights.extend([Right::Create, Right::Delete]);
        }
    }
    let name = new.name.unwrap_or_else(|| {
        if new.worker_types.is_empty() { "tool".to_owned() } else { new.worker_types.join("+") }
    });
    Entry {
        id: token.id().to_owned(),
        name,
        hash: token.hash(),
        kind,
        worker_types: new.worker_types.into_iter().collect(),
        read_only: new.read_only,
        rights,
        expires: new.expires.and_then(|time| SystemTime::now().checked_add(time)),
    }
}

fn list(file: &TokenFile, json: bool) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let now = SystemTime::now();
    if !json {
        writeln!(out, "{:16}  {:16}  {:6}  {:20}  {:28}  expires", "id", "name", "kind", "types", "may")
            .map_err(CliError::from)?;
    }
    for entry in file.entries() {
        let kind = if entry.kind == Kind::Tool { "tool" } else { "worker" };
        let types: Vec<&str> = entry.worker_types.iter().map(String::as_str).collect();
        let may: Vec<&str> = entry.rights.iter().map(|right| right.name()).collect();
        let expires = entry.expires.map(|time| humantime::format_rfc3339_seconds(time).to_string());
        let line = if json {
            serde_json::json!({
                "id": entry.id, "name": entry.name, "kind": kind, "worker_types": types, "may": may,
                "read_only": entry.read_only, "expires": expires, "expired": entry.is_expired(now),
            })
            .to_string()
        } else {
            let may = if entry.read_only { "read only".to_owned() } else { may.join(",") };
            let expired = if entry.is_expired(now) { " (expired)" } else { "" };
            let expires = expires.unwrap_or_else(|| "never".to_owned());
            format!(
                "{:16}  {:16}  {kind:6}  {:20}  {may:28}  {expires}{expired}",
                entry.id,
                entry.name,
                types.join(",")
            )
        };
        writeln!(out, "{line}").map_err(CliError::from)?;
    }
    Ok(())
}
