//! `spatialdb flags`: the settings of worker types in a running world.

use std::collections::HashMap;
use std::io::{self, Write};

use clap::{Args, Subcommand};
use spatialdb_proto::v1::{GetFlagsRequest, SetFlagsRequest};

use super::CliError;
use super::client::{Client, ClientArgs};

const EXAMPLES: &str = "\
Workers are told at once. What is set here lasts until the world stops; `[flags.TYPE]` of the settings lasts longer.

Examples:
  spatialdb flags get flight
  spatialdb flags set flight aircraft=500 colour=red
  spatialdb flags set flight --remove colour";

/// Look at and change the flags of a worker type
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct FlagsArgs {
    #[command(subcommand)]
    command: FlagsCommand,
}

#[derive(Debug, Subcommand)]
enum FlagsCommand {
    /// Print the flags of a worker type
    Get {
        /// The worker type
        #[arg(value_name = "TYPE")]
        worker_type: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Set some, remove some, and print what there is then
    Set {
        /// The worker type
        #[arg(value_name = "TYPE")]
        worker_type: String,
        /// What to set
        #[arg(value_name = "NAME=VALUE", value_parser = parse_flag)]
        flags: Vec<(String, String)>,
        /// A flag to remove; may be given again
        #[arg(long, value_name = "NAME")]
        remove: Vec<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
}

fn parse_flag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is needed")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs the command.
pub(super) async fn run(args: FlagsArgs) -> Result<(), CliError> {
    let (FlagsCommand::Get { client: to, .. } | FlagsCommand::Set { client: to, .. }) = &args.command;
    let (json, mut client) = (to.json, Client::connect(to).await?);
    let answer = match args.command {
        FlagsCommand::Get { worker_type, .. } => {
            client.world.get_flags(GetFlagsRequest { worker_type }).await
        }
        FlagsCommand::Set { worker_type, flags, remove, .. } => {
            let flags: HashMap<String, String> = flags.into_iter().collect();
            client.world.set_flags(SetFlagsRequest { worker_type, flags, removed: remove }).await
        }
    };
    let flags = answer.map_err(|status| client.failed(&status))?.into_inner().flags;
    let mut flags: Vec<_> = flags.into_iter().collect();
    flags.sort();
    let mut out = io::stdout().lock();
    for (name, value) in flags {
        if json {
            writeln!(out, "{}", serde_json::json!({ "name": name, "value": value }))
        } else {
            writeln!(out, "{name}={value}")
        }
        .map_err(CliError::from)?;
    }
    Ok(())
}
