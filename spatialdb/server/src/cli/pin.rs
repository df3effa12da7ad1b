//! `spatialdb pin` and `unpin`: a region keeps its shape, and its worker.

use std::io::Write;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;
use spatialdb_proto::v1::{PinRegionRequest, Region, UnpinRegionRequest};

use super::CliError;
use super::client::{Client, ClientArgs};
use super::print;
use super::regions::worker_json;

const PIN_EXAMPLES: &str = "\
A pinned region is neither split nor joined, and its borders stay, until `spatialdb unpin`. With --worker it goes to the
worker of that name as soon as that one can have it; until then whoever has it keeps it. A layer of strategy single has one
owner: there the pin goes for all its regions.

Examples:
  Region 3 keeps its shape:
    spatialdb pin 3
  And only flight-2 may own it:
    spatialdb pin 3 --worker flight-2";

const UNPIN_EXAMPLES: &str = "\
Examples:
  Region 3 may change again:
    spatialdb unpin 3
  All of them:
    spatialdb regions --json | jq -r 'select(.pinned) | .region' | xargs -n1 spatialdb unpin";

/// Keep the shape of a region, and its worker
#[derive(Debug, Args)]
#[command(after_help = PIN_EXAMPLES)]
pub(super) struct PinArgs {
    /// Which one; `spatialdb regions` lists them
    #[arg(value_name = "REGION")]
    region: u64,

    /// Only the worker of this name may own it
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    worker: Option<String>,

    #[command(flatten)]
    client: ClientArgs,
}

/// Let a region change its shape and worker again
#[derive(Debug, Args)]
#[command(after_help = UNPIN_EXAMPLES)]
pub(super) struct UnpinArgs {
    /// Which one; `spatialdb regions` lists them
    #[arg(value_name = "REGION")]
    region: u64,

    #[command(flatten)]
    client: ClientArgs,
}

/// Pins it.
pub(super) async fn pin(args: PinArgs) -> Result<(), CliError> {
    let mut client = Client::connect(&args.client).await?;
    let request = PinRegionRequest { region: args.region, worker: args.worker.unwrap_or_default() };
    let answer = client.admin.pin_region(request).await;
    tell(&args.client, &answer.map_err(|status| client.failed(&status))?.into_inner())
}

/// Unpins it.
pub(super) async fn unpin(args: UnpinArgs) -> Result<(), CliError> {
    let mut client = Client::connect(&args.client).await?;
    let answer = client.admin.unpin_region(UnpinRegionRequest { region: args.region }).await;
    tell(&args.client, &answer.map_err(|status| client.failed(&status))?.into_inner())
}

fn tell(args: &ClientArgs, region: &Region) -> Result<(), CliError> {
    let id = region.lease.as_ref().map_or(0, |lease| lease.region);
    let pinned_to = region.pin.as_ref().map(|pin| pin.worker.as_str()).filter(|worker| !worker.is_empty());
    let owner = region.owner.as_ref().map(|owner| owner.name.as_str());
    let next = region.next.as_ref().map(|next| next.name.as_str());
    let mut out = print::stdout();
    if args.json {
        let json = json!({
            "region": id.to_string(),
            "pinned": region.pin.is_some(),
            "pinned_to": pinned_to,
            "owner": worker_json(region.owner.as_ref()),
            "next": worker_json(region.next.as_ref()),
        });
        writeln!(out, "{json}")?;
    } else {
        let what = match (&region.pin, pinned_to) {
            (None, _) => "is not pinned any more".to_owned(),
            (Some(_), None) => "keeps its shape".to_owned(),
            (Some(_), Some(worker)) => {
                format!("keeps its shape, and is for {worker} only{}", until(worker, owner, next))
            }
        };
        writeln!(out, "region {id} {what}")?;
    }
    Ok(out.flush()?)
}

/// Who has the region as long as the worker that it is for has not.
fn until(worker: &str, owner: Option<&str>, next: Option<&str>) -> String {
    match owner {
        Some(owner) if owner == worker => String::new(),
        Some(owner) if next == Some(worker) => format!("; {owner} hands it over"),
        Some(owner) => format!("; {worker} cannot have it now, {owner} keeps it until then"),
        None => format!("; nobody has it until {worker} can"),
    }
}
