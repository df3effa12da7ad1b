//! The committed earth world is whole, has what its sources have, and fits its schema as it is in the folder.

use std::path::PathBuf;

use spatialdb_schema::{Schema, incompatibilities};
use spatialdb_snapshots::{Reader, verify::verify};
use spatialdb_types::ComponentId;

const CITY: ComponentId = ComponentId(1001);
const AIRPORT: ComponentId = ComponentId(1002);

fn here(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_earth_is_whole() {
    let reader = Reader::open(here("earth.snapshot")).unwrap();
    let verified = verify(&reader, |_| ()).unwrap();
    assert_eq!(verified.totals.component(CITY).count, 138_398);
    assert_eq!(verified.totals.component(AIRPORT).count, 7_184);
    let all = verified.totals.entity_count;
    assert_eq!(all, 138_398 + 7_184);
    assert_eq!(verified.totals.component(ComponentId::POSITION).count, all);
    assert_eq!(verified.totals.component(ComponentId::METADATA).count, all);
    assert!(reader.file_bytes() < 6_000_000);
}

#[test]
fn its_schema_is_the_one_in_the_folder() {
    let reader = Reader::open(here("earth.snapshot")).unwrap();
    let folder = Schema::compile(&[here("earth/schema")]).unwrap();
    assert_eq!(incompatibilities(&reader.schema().unwrap(), &folder), Vec::<String>::new());
    for component in folder.components() {
        assert!(
            reader.schema().unwrap().component(component.id()).is_some(),
            "{} is missing",
            component.name()
        );
    }
}

// Sydney airport: longitude 151.177002, latitude -33.946098, 21 feet above the sea.
#[test]
fn sydney_is_where_the_projection_puts_it() {
    let reader = Reader::open(here("earth.snapshot")).unwrap();
    let airport = reader.schema().unwrap();
    let airport = airport.component(AIRPORT).unwrap();
    let blocks = (0..reader.blocks().len()).map(|index| reader.read_block(index).unwrap());
    let mut sydney = Vec::new();
    for block in blocks {
        for row in block.iter() {
            let Some((_, bytes)) = row.values.iter().find(|(id, _)| *id == AIRPORT) else { continue };
            if airport.to_json(bytes).unwrap()["iata"] == "SYD" {
                sydney.push(row.position.unwrap().point);
            }
        }
    }
    let [at] = sydney[..] else { panic!("one Sydney, not {sydney:?}") };
    let metres = |degrees: f64| 6_371_008.8 * degrees.to_radians();
    assert!((at.x - metres(151.177_002)).abs() < 1.0, "{at:?}");
    assert!((at.y - metres(-33.946_098)).abs() < 1.0, "{at:?}");
    assert!((at.z - 21.0 * 0.3048).abs() < 0.1, "{at:?}");
}
