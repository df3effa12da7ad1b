//! `spatialdb query`: asks a running world once.

use std::io::{self, Write};

use clap::Args;
use serde_json::json;
use spatialdb_proto::v1::{self, constraint::Kind};
use spatialdb_schema::Schema;

use super::{
    CliError,
    client::{Client, ClientArgs},
    place::{BoxArg, PointArg, SphereArg},
    print,
};

const EXAMPLES: &str = "\
Conditions compose: an entity must meet all that are given, the query and every option. Without
any, every entity matches.
docs/query-language.md tells what a query can say.

Examples:
  Cities within 50 km of a point:
    spatialdb query 'has earth.City and sphere(950000, 5267000, 50km)'
    spatialdb query --sphere 950000,5267000,0,50000 --has earth.City
  How many aircraft are in a box, and then all of each as JSON lines:
    spatialdb query --box -1000000,4000000,2000000,7000000 --has earth.Aircraft --count
    spatialdb query --box -1000000,4000000,2000000,7000000 --has earth.Aircraft --limit 0 --json
  The three airports nearest to a point, and how far away they are:
    spatialdb query 'has earth.Airport' --nearest 261000,5431000 --limit 3";

// Enough to print a row for people.
const TABLE_COMPONENTS: [&str; 2] = ["spatialdb.v1.Position", "spatialdb.v1.Metadata"];

/// Ask a running world which entities meet conditions
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct QueryArgs {
    /// What to ask for, as `has earth.City and box(0, 0, 10km, 10km)`
    #[arg(value_name = "QUERY")]
    text: Option<String>,

    /// Inside this box over x and y, of any height; its corners may come in any order
    #[arg(long = "box", value_name = "X1,Y1,X2,Y2", allow_hyphen_values = true)]
    inside_box: Option<BoxArg>,

    /// Inside this ball; z is 0 unless given
    #[arg(long, value_name = "X,Y[,Z],R", allow_hyphen_values = true)]
    sphere: Option<SphereArg>,

    /// The nearest to this point first, with their distances; z is 0 unless given
    #[arg(long, value_name = "X,Y[,Z]", allow_hyphen_values = true, conflicts_with = "count")]
    nearest: Option<PointArg>,

    /// In this space; --box, --sphere and --nearest are in it too [default for them: 0]
    #[arg(long, value_name = "N")]
    space: Option<u32>,

    /// One of these entities
    #[arg(long, value_name = "ID,...", value_delimiter = ',')]
    ids: Vec<u64>,

    /// Has the component of this full name, or short name if that is unique; repeat it for more
    #[arg(long, value_name = "NAME")]
    has: Vec<String>,

    /// Show these components [default: all with --json, type, name and position in the table]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    components: Vec<String>,

    /// Show at most so many entities; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,

    /// Only say how many there are
    #[arg(long)]
    count: bool,

    #[command(flatten)]
    client: ClientArgs,
}

/// Asks, and prints the answer page by page.
pub(super) async fn run(args: QueryArgs) -> Result<(), CliError> {
    let mut client = Client::connect(&args.client).await?;
    let printer = Printer {
        schema: client.schema().await?,
        is_json: args.client.json,
        shows_values: !args.components.is_empty(),
        shows_distances: args.nearest.is_some(),
    };
    let answer = client.world.query(args.request()).await;
    let refused = |status| {
        CliError::of_status(&args.client.address, &status).with_place(args.text.as_deref(), &printer.schema)
    };
    let mut pages = answer.map_err(refused)?.into_inner();
    let (mut shown, mut matches) = (0, 0);
    let mut rows = Vec::new();
    while let Some(page) = pages.message().await.map_err(|status| client.failed(&status))? {
        shown += page.entities.len() as u64;
        printer.take(&page.entities, &mut rows)?;
        if page.last {
            matches = page.match_count;
        }
    }
    if args.count {
        return Ok(printer.count(matches)?);
    }
    printer.finish(&rows)?;
    if shown < matches {
        writeln!(io::stderr(), "{shown} of {matches} shown; --limit 0 shows all")?;
    }
    Ok(())
}

impl QueryArgs {
    fn request(&self) -> v1::QueryRequest {
        let mut components = self.components.clone();
        if !self.client.json {
            components.extend(TABLE_COMPONENTS.map(str::to_owned));
        }
        v1::QueryRequest {
            constraint: Some(self.constraint()),
            components,
            limit: self.limit,
            count_only: self.count,
            nearest_to: self.nearest.map(|arg| arg.in_space(self.space.unwrap_or(0))),
        }
    }

    fn constraint(&self) -> v1::Constraint {
        let space = self.space.unwrap_or(0);
        let mut kinds = Vec::new();
        kinds.extend(self.text.clone().map(Kind::Text));
        kinds.extend(self.inside_box.map(|arg| arg.in_space(space)));
        kinds.extend(self.sphere.map(|arg| arg.in_space(space)));
        if kinds.is_empty()
            && self.nearest.is_none()
            && let Some(space) = self.space
        {
            // A box without corners is the whole space.
            kinds.push(Kind::Box(v1::Box { space, min: None, max: None }));
        }
        if !self.ids.is_empty() {
            kinds.push(Kind::EntityIds(v1::EntityIds { entities: self.ids.clone() }));
        }
        kinds.extend(self.has.iter().cloned().map(Kind::HasComponentNamed));
        all_of(kinds)
    }
}

fn all_of(mut kinds: Vec<Kind>) -> v1::Constraint {
    let kind = match kinds.len() {
        0 => Kind::All(v1::All {}),
        1 => kinds.remove(0),
        _ => {
            let constraints = kinds.into_iter().map(|kind| v1::Constraint { kind: Some(kind) }).collect();
            Kind::And(v1::ConstraintList { constraints })
        }
    };
    v1::Constraint { kind: Some(kind) }
}

struct Printer {
    schema: Schema,
    is_json: bool,
    // The table has a column of values.
    shows_values: bool,
    // The table has a column of distances.
    shows_distances: bool,
}

impl Printer {
    // JSON goes out at once; a table needs all rows to know its widths.
    fn take(&self, entities: &[v1::Entity], rows: &mut Vec<Vec<String>>) -> io::Result<()> {
        if !self.is_json {
            rows.extend(entities.iter().map(|entity| self.row(entity)));
            return Ok(());
        }
        let mut out = print::stdout();
        for entity in entities {
            writeln!(out, "{}", print::entity_json(entity, &self.schema))?;
        }
        out.flush()
    }

    fn finish(&self, rows: &[Vec<String>]) -> io::Result<()> {
        if self.is_json {
            return Ok(());
        }
        let mut header = vec!["id", "type", "name", "space", "x", "y", "z"];
        if self.shows_distances {
            header.push("distance_m");
        }
        if self.shows_values {
            header.push("components");
        }
        let mut out = print::stdout();
        print::table(&mut out, &header, rows)?;
        out.flush()
    }

    fn count(&self, matches: u64) -> io::Result<()> {
        let mut out = print::stdout();
        if self.is_json {
            writeln!(out, "{}", json!({ "count": matches }))
        } else {
            writeln!(out, "{matches}")
        }?;
        out.flush()
    }

    fn row(&self, entity: &v1::Entity) -> Vec<String> {
        let metadata = print::metadata_of(entity).unwrap_or_default();
        let mut row = vec![entity.entity.to_string(), metadata.r#type, metadata.name];
        match print::position_of(entity) {
            Some(at) => {
                row.push(at.space.to_string());
                row.extend([at.x, at.y, at.z].map(|metres| format!("{metres:.1}")));
            }
            None => row.extend([const { String::new() }; 4]),
        }
        if self.shows_distances {
            row.push(entity.distance_m.map_or(String::new(), |metres| format!("{metres:.1}")));
        }
        if self.shows_values {
            let others =
                entity.components.iter().filter(|value| !TABLE_COMPONENTS.contains(&value.name.as_str()));
            let texts: Vec<_> = others
                .map(|value| format!("{} {}", value.name, print::component_json(value, &self.schema)))
                .collect();
            row.push(texts.join("  "));
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: QueryArgs,
    }

    fn kind(line: &str) -> Kind {
        let words = std::iter::once("query").chain(line.split_whitespace());
        let command = Command::try_parse_from(words).expect("valid");
        command.args.constraint().kind.expect("a kind")
    }

    #[test]
    fn conditions_compose() {
        assert_eq!(kind(""), Kind::All(v1::All {}));
        assert_eq!(kind("--has City"), Kind::HasComponentNamed("City".to_owned()));
        let Kind::And(list) = kind("--box -5,-5,5,5 --has a.B --has C --ids 1,2 --space 7") else {
            panic!("a list")
        };
        let kinds: Vec<_> = list.constraints.into_iter().filter_map(|constraint| constraint.kind).collect();
        assert!(matches!(&kinds[0], Kind::Box(found) if found.space == 7 && found.min.is_some()));
        assert_eq!(kinds[1], Kind::EntityIds(v1::EntityIds { entities: vec![1, 2] }));
        assert_eq!(kinds[2..], ["a.B", "C"].map(|name| Kind::HasComponentNamed(name.to_owned())));
    }

    #[test]
    fn a_text_is_one_condition_of_all() {
        let text = Kind::Text("all".to_owned());
        assert_eq!(kind("all"), text);
        let Kind::And(list) = kind("all --has City") else { panic!("a list") };
        let kinds: Vec<_> = list.constraints.into_iter().filter_map(|constraint| constraint.kind).collect();
        assert_eq!(kinds, [text, Kind::HasComponentNamed("City".to_owned())]);
    }

    #[test]
    fn the_nearest_are_in_the_space() {
        let words = ["query", "--nearest", "1,-2", "--space", "7"];
        let request = Command::try_parse_from(words).expect("valid").args.request();
        let point = Some(v1::Point { x: 1.0, y: -2.0, z: Some(0.0) });
        assert_eq!(request.nearest_to, Some(v1::Place { space: 7, point }));
        assert_eq!(request.constraint.and_then(|of| of.kind), Some(Kind::All(v1::All {})));
    }

    #[test]
    fn a_space_alone_is_a_box_without_corners() {
        assert_eq!(kind("--space 2"), Kind::Box(v1::Box { space: 2, min: None, max: None }));
    }
}
