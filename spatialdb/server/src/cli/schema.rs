//! `spatialdb schema`: which components and events a running world knows, and their files.

mod apply;
mod export;
mod names;
mod option_text;
mod proto_text;

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::json;
use spatialdb_proto::v1::{GetSchemaRequest, GetWorldRequest};
use spatialdb_schema::{EventType, Schema};
use spatialdb_types::Error;

use super::{
    CliError,
    client::{Client, ClientArgs},
    print,
};

const EXAMPLES: &str = "\
Examples:
  Names to use with `spatialdb query --has`, and the events of components:
    spatialdb schema
  The .proto files of a running world:
    spatialdb schema export schema
  The digest that workers see, with jq:
    spatialdb schema --json | jq -r .schema_digest | head -1";

/// List the component types and events of a running world, or write its .proto files
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

/// Asks for the schema and prints its components and events.
async fn list(args: SchemaArgs) -> Result<(), CliError> {
    let mut client = Client::connect(&args.client).await?;
    let answer = client.world.get_schema(GetSchemaRequest {}).await;
    let schema = answer.map_err(|status| client.failed(&status))?.into_inner();
    let described = Schema::from_descriptor_set(&schema.descriptor_set).map_err(Error::from)?;
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
        for event in described.events() {
            let (component, id, name) = (event.component().0, event.id().0, event.name());
            writeln!(
                out,
                "{}",
                json!({ "component": component, "event": id, "name": name, "schema_digest": &schema.digest })
            )?;
        }
        return Ok(out.flush()?);
    }
    let answer = client.world.get_world(GetWorldRequest {}).await;
    let world = answer.map_err(|status| client.failed(&status))?.into_inner();
    let row = |info: &spatialdb_proto::v1::ComponentInfo| vec![info.id.to_string(), info.name.clone()];
    writeln!(out, "world {}, {} entities, schema {}", world.name, world.entity_count, schema.digest)?;
    print::table(&mut out, &["id", "component"], &schema.components.iter().map(row).collect::<Vec<_>>())?;
    if !described.events().is_empty() {
        let row = |event: &EventType| {
            let component = described.component(event.component()).map_or("", |component| component.name());
            vec![component.to_owned(), event.id().to_string(), event.name().to_owned()]
        };
        let rows: Vec<_> = described.events().iter().map(row).collect();
        print::table(&mut out, &["of", "id", "event"], &rows)?;
    }
    Ok(out.flush()?)
}
