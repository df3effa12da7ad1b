//! `spatialdb split`: cuts a region in two.

use std::io::Write;

use clap::Args;
use serde_json::json;
use spatialdb_proto::v1::{SplitRegionRequest, split_region_request::At};

use super::CliError;
use super::client::{Client, ClientArgs};
use super::print;

const EXAMPLES: &str = "\
The new region is the part east or north of the cut. It goes to the worker with the least to do, if there is another one.
Regions that have little to do together are joined again some time later; `spatialdb pin` keeps them as they are.

Examples:
  Where that shares out the load best:
    spatialdb split 3
  Where x is 1500 m:
    spatialdb split 3 --x 1500";

/// Cut a region in two
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SplitArgs {
    /// Which one; `spatialdb regions` lists them
    #[arg(value_name = "REGION")]
    region: u64,

    /// Where to cut from north to south, metres
    #[arg(long, value_name = "METRES", allow_negative_numbers = true, conflicts_with = "y")]
    x: Option<f64>,

    /// Where to cut from west to east, metres
    #[arg(long, value_name = "METRES", allow_negative_numbers = true)]
    y: Option<f64>,

    #[command(flatten)]
    client: ClientArgs,
}

/// Splits it, and says what is new.
pub(super) async fn run(args: SplitArgs) -> Result<(), CliError> {
    let mut client = Client::connect(&args.client).await?;
    let at = args.x.map(At::X).or(args.y.map(At::Y));
    let answer = client.admin.split_region(SplitRegionRequest { region: args.region, at }).await;
    let new = answer.map_err(|status| client.failed(&status))?.into_inner().new_region;
    let mut out = print::stdout();
    if args.client.json {
        writeln!(out, "{}", json!({ "region": args.region.to_string(), "new_region": new.to_string() }))?;
    } else {
        writeln!(out, "region {} was cut: region {new} is new", args.region)?;
    }
    Ok(out.flush()?)
}
