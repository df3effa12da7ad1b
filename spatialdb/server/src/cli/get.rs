//! `spatialdb get`: one entity, whole.

use std::io::Write;

use clap::Args;
use spatialdb_proto::v1::{self, GetEntityRequest};
use spatialdb_schema::Schema;

use super::{
    CliError,
    client::{Client, ClientArgs},
    print,
};

const EXAMPLES: &str = "\
Examples:
  Everything about one entity:
    spatialdb get 4242
  One field of it, with jq:
    spatialdb get 4242 --json | jq -r '.components[\"spatialdb.v1.Metadata\"].name'";

/// Show one entity with all its components
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct GetArgs {
    /// The id of the entity
    #[arg(value_name = "ENTITY")]
    entity: u64,

    #[command(flatten)]
    client: ClientArgs,
}

/// Asks for the entity and prints it.
pub(super) async fn run(args: GetArgs) -> Result<(), CliError> {
    let mut client = Client::connect(&args.client).await?;
    let schema = client.schema().await?;
    let answer = client.world.get_entity(GetEntityRequest { entity: args.entity }).await;
    let entity = answer.map_err(|status| client.failed(&status))?.into_inner();
    let mut out = print::stdout();
    if args.client.json {
        writeln!(out, "{}", print::entity_json(&entity, &schema))?;
    } else {
        writeln!(out, "entity {} in partition {}", entity.entity, entity.partition)?;
        print::table(&mut out, &["component", "revision", "value"], &rows(&entity, &schema))?;
    }
    Ok(out.flush()?)
}

fn rows(entity: &v1::Entity, schema: &Schema) -> Vec<Vec<String>> {
    let row = |value: &v1::ComponentValue| {
        let text = print::component_json(value, schema).to_string();
        vec![value.name.clone(), value.revision.to_string(), text]
    };
    entity.components.iter().map(row).collect()
}
