//! `spatialdb merge`: makes two regions one.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use spatialdb_proto::v1::{ListRegionsRequest, MergeRegionsRequest, Region};
use tokio::time::{Instant, sleep};

use super::CliError;
use super::client::{Client, ClientArgs};
use super::print;

const EXAMPLES: &str = "\
The two must be halves of one cut, and not pinned. First the owner of the one that stays gets the other one too.

Examples:
  Region 4 becomes part of region 3:
    spatialdb merge 4 3
  And do not wait until it has:
    spatialdb merge 4 3 --no-wait";

/// How often it is looked whether they are one.
const POLL: Duration = Duration::from_millis(100);

/// Longer than any sensible hand-over takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Make two regions one
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MergeArgs {
    /// This one becomes part of the other
    #[arg(value_name = "GONE")]
    gone: u64,

    /// This one stays
    #[arg(value_name = "KEEP")]
    keep: u64,

    /// Return at once
    #[arg(long)]
    no_wait: bool,

    #[command(flatten)]
    client: ClientArgs,
}

/// Merges them, and waits until they are one.
pub(super) async fn run(args: MergeArgs) -> Result<(), CliError> {
    let mut client = Client::connect(&args.client).await?;
    let (gone, keep) = (args.gone, args.keep);
    let answer = client.admin.merge_regions(MergeRegionsRequest { gone, keep }).await;
    answer.map_err(|status| client.failed(&status))?;
    let deadline = Instant::now() + PATIENCE;
    let mut is_done = false;
    while !args.no_wait && !is_done && Instant::now() < deadline {
        sleep(POLL).await;
        let regions = client.admin.list_regions(ListRegionsRequest::default()).await;
        let regions = regions.map_err(|status| client.failed(&status))?.into_inner().regions;
        is_done = !regions.iter().any(|region| id(region) == gone);
    }
    if !args.no_wait && !is_done {
        let seconds = PATIENCE.as_secs();
        return Err(CliError::Unfinished(format!(
            "region {gone} is still there after {seconds} s; `spatialdb regions` shows how both stand"
        )));
    }
    let mut out = print::stdout();
    if args.client.json {
        writeln!(out, "{}", json!({ "gone": gone.to_string(), "keep": keep.to_string(), "done": is_done }))?;
    } else if is_done {
        writeln!(out, "region {gone} is part of region {keep} now")?;
    } else {
        writeln!(out, "region {gone} becomes part of region {keep}")?;
    }
    Ok(out.flush()?)
}

fn id(region: &Region) -> u64 {
    region.lease.as_ref().map_or(0, |lease| lease.region)
}
