//! `spatialdb schema`: which components a running world knows, and their files.

mod apply;
mod export;
mod names;
mod option_text;
mod proto_text;

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::json;
use spatialdb_proto::v1::{GetSchemaRequest, GetWorldRequest};

use super::{
    CliError,
    client::{Client, ClientArgs},
    print,
};

const EXAMPLES: &str = "\
Examples:
  Names to use with `spatialdb query --has`:
    spatialdb schema
  The .proto files of a running world:
    spatialdb schema export schema
  The digest that workers see, with jq:
    spatialdb schema --json | jq -r .schema_digest | head -1";

/// List the component types of a running world, or write its .proto files
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct SchemaArgs {
    #[command(subcommand)]
    command: Option<SchemaCommand>,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum SchemaCommand {
    Apply(apply::ApplyArgs),
    Export(export::ExportArgs),
}

/// Does what the command says; without one it lists.
pub(super) async fn run(args: SchemaArgs) -> Result<(), CliError> {
    match &args.command {
        None => list(args).await,
        Some(SchemaCommand::Apply(args)) => apply::run(args).await,
        Some(SchemaCommand::Export(args)) => export::run(args).await,
    }
}

/// Asks for the schema and prints its components.
async fn list(args: SchemaArgs) -> Result<(), CliError> {
    let mut client = Client::connect(&args.client).await?;
    let answer = client.world.get_schema(GetSchemaRequest {}).await;
    let schema = answer.map_err(|status| client.failed(&status))?.into_inner();
    let mut out = print::stdout();
    if args.client.json {
        for component in &schema.components {
            let digest = &schema.digest;
            writeln!(
                out,
                "{}",
                json!({ "id": component.id, "name": component.name, "schema_digest": digest })
            )?;
        }
        return Ok(out.flush()?);
    }
    let answer = client.world.get_world(GetWorldRequest {}).await;
    let world = answer.map_err(|status| client.failed(&status))?.into_inner();
    let row = |info: &spatialdb_proto::v1::ComponentInfo| vec![info.id.to_string(), info.name.clone()];
    writeln!(out, "world {}, {} entities, schema {}", world.name, world.entity_count, schema.digest)?;
    print::table(&mut out, &["id", "component"], &schema.components.iter().map(row).collect::<Vec<_>>())?;
    Ok(out.flush()?)
}
