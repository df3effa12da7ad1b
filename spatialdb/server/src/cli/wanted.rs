//! `spatialdb wanted`: how many workers there should be.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};
use spatialdb_proto::v1::{GetWantedRequest, Wanted};

use super::CliError;
use super::client::{Client, ClientArgs};
use super::print;
use super::regions::tell_open;

const EXAMPLES: &str = "\
For whoever starts and stops workers; `spatialdb launch` does so for its own. The same numbers are in /metrics, as
spatialdb_authority_workers_wanted.

Columns:
  wanted     as many should be there
  connected  as many are, those that are drained among them
  draining   as many get nothing more, and go
  surplus    one that could go, if there are more than wanted: `spatialdb drain` it

Examples:
  How many of each type:
    spatialdb wanted
  How many flight workers should be started:
    spatialdb wanted --json | jq 'select(.type == \"flight\") | .wanted - .connected + .draining'";

const HEADER: [&str; 5] = ["type", "wanted", "connected", "draining", "surplus"];

/// Say how many workers there should be
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct WantedArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// Asks and prints.
pub(super) async fn run(args: WantedArgs) -> Result<(), CliError> {
    let mut client = Client::connect(&args.client).await?;
    let answer = client.admin.get_wanted(GetWantedRequest {}).await;
    let answer = answer.map_err(|status| client.failed(&status))?.into_inner();
    if answer.open {
        return tell_open();
    }
    let mut out = print::stdout();
    if args.client.json {
        for wanted in &answer.types {
            writeln!(out, "{}", wanted_json(wanted))?;
        }
    } else {
        print::table(&mut out, &HEADER, &answer.types.iter().map(row).collect::<Vec<_>>())?;
    }
    Ok(out.flush()?)
}

fn row(wanted: &Wanted) -> Vec<String> {
    let counts = [wanted.wanted, wanted.connected, wanted.draining].map(|count| count.to_string());
    [vec![wanted.worker_type.clone()], counts.to_vec(), vec![wanted.surplus.clone()]].concat()
}

fn wanted_json(wanted: &Wanted) -> Value {
    json!({
        "type": wanted.worker_type,
        "wanted": wanted.wanted,
        "connected": wanted.connected,
        "draining": wanted.draining,
        "surplus": Some(&wanted.surplus).filter(|surplus| !surplus.is_empty()),
    })
}
