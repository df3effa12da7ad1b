//! `spatialdb schema apply`: more components and fields for a running world.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use spatialdb_proto::v1::ApplySchemaRequest;
use spatialdb_schema::Schema;

use crate::cli::client::{Client, ClientArgs};
use crate::cli::{CliError, print};

const EXAMPLES: &str = "\
The folder has all of the world's own components, those that are there and those that come. Workers are told at once;
what data would no longer fit is refused, field by field, and then nothing changes. Nothing can be taken away.

Examples:
  What would change:
    spatialdb schema apply schema --dry-run
  Do it:
    spatialdb schema apply schema";

/// Add components and fields to a running world
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ApplyArgs {
    /// The folder with the .proto files; may be given again
    #[arg(value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,

    /// Only say what would change
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    client: ClientArgs,
}

/// Compiles the folder, and has the world apply it.
pub(super) async fn run(args: &ApplyArgs) -> Result<(), CliError> {
    let schema = Schema::compile(&args.folders).map_err(crate::server::LaunchError::from)?;
    let mut client = Client::connect(&args.client).await?;
    let descriptor_set = schema.descriptor_set().to_vec().into();
    let request = ApplySchemaRequest { descriptor_set, dry_run: args.dry_run };
    let answer =
        client.world.apply_schema(request).await.map_err(|status| client.failed(&status))?.into_inner();
    let mut out = print::stdout();
    if args.client.json {
        let line = json!({ "digest": answer.digest, "added": answer.added, "changed": answer.changed, "dry_run": args.dry_run });
        writeln!(out, "{line}")?;
        return Ok(out.flush()?);
    }
    let word = if args.dry_run { "would add" } else { "added" };
    for name in &answer.added {
        writeln!(out, "{word} {name}")?;
    }
    let word = if args.dry_run { "would change" } else { "changed" };
    for what in &answer.changed {
        writeln!(out, "{word} {what}")?;
    }
    if answer.added.is_empty() && answer.changed.is_empty() {
        writeln!(out, "nothing to add")?;
    }
    writeln!(out, "schema {}", answer.digest)?;
    Ok(out.flush()?)
}
