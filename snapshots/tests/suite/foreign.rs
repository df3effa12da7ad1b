//! Other formats: what they become, and errors that name line, column and reason.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

use super::common::{schema, temp_path};
use spatialdb_snapshots::{
    ImportOptions, Imported, LeftOut, Reader, SnapshotError, WriterOptions,
    foreign::{MapFile, import_csv, import_geojson, import_spatialos, import_spatialos_json},
    json,
};

fn options() -> ImportOptions {
    ImportOptions { world: "imported".to_owned(), writer: WriterOptions::default() }
}

/// What a reader of a foreign format made: the entities as lines of JSON.
fn lines_of(
    import: impl FnOnce(&std::path::Path) -> Result<Imported, SnapshotError>,
) -> Result<(Imported, Vec<serde_json::Value>), SnapshotError> {
    let (folder, path) = temp_path("a.snapshot");
    let outcome = import(&path);
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, usize::from(outcome.is_ok()), "a failed conversion leaves no file");
    let imported = outcome?;
    let mut out = Vec::new();
    json::export(&Reader::open(&path).unwrap(), &mut out, |_| ()).unwrap();
    let mut lines: Vec<serde_json::Value> =
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines[1..].sort_by_key(|line| line["id"].as_str().unwrap().parse::<u64>().unwrap());
    Ok((imported, lines))
}

fn map(text: &str) -> MapFile {
    MapFile::parse("a.toml", text).unwrap()
}

fn csv(text: &str, mapping: &str) -> Result<(Imported, Vec<serde_json::Value>), SnapshotError> {
    lines_of(|path| import_csv(text.as_bytes(), &map(mapping), &schema(), path, options(), |_| ()))
}

fn geojson(text: &str, mapping: &str) -> Result<(Imported, Vec<serde_json::Value>), SnapshotError> {
    lines_of(|path| import_geojson(text.as_bytes(), &map(mapping), &schema(), path, options(), |_| ()))
}

#[track_caller]
fn refused<T>(outcome: Result<T, SnapshotError>, expected: &str, code: u8) {
    let Err(error) = outcome else { panic!("it is wrong: {expected}") };
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.exit_code(), code);
}

const AIRPORTS: &str = r#"
world = "airports"
[entity]
id = { column = "id", offset = 1000000 }
[position]
longitude = "lon"
latitude = "lat"
z = { column = "feet", scale = 0.3048 }
round_m = 0.125
[components.Metadata]
type = { constant = "airport" }
name = "name"
[components."golden.Shop"]
rating = { column = "rating", default = 4.5 }
mood = { column = "mood", values = { c = "MOOD_CALM" } }
"#;

#[test]
fn rows_of_csv_become_entities() {
    let text = "id,name,lat,lon,feet,rating,mood\n\
                3361,\"Sydney, Kingsford \"\"Smith\"\"\",-33.94609832763672,151.177001953125,21,,c\n\
                \n\
                2,Madang,-5.20708,145.789,,2.5,0\n";
    let (imported, lines) = csv(text, AIRPORTS).unwrap();
    assert_eq!((imported.summary.totals.entity_count, imported.ids_given), (2, 0));
    assert_eq!(lines[0]["world"], "airports");
    assert_eq!(lines[2]["id"], "1003361");
    let sydney = &lines[2]["components"];
    // Where the earth world has it too.
    assert_eq!(sydney["spatialdb.v1.Position"]["x"], 16_810_138.875);
    assert_eq!(sydney["spatialdb.v1.Position"]["y"], -3_774_639.125);
    assert_eq!(sydney["spatialdb.v1.Position"]["z"], 6.375);
    assert_eq!(sydney["spatialdb.v1.Metadata"]["name"], "Sydney, Kingsford \"Smith\"");
    assert_eq!(sydney["golden.Shop"]["rating"], 4.5);
    assert_eq!(sydney["golden.Shop"]["mood"], "MOOD_CALM");
    let madang = &lines[1]["components"];
    assert_eq!(
        (&madang["spatialdb.v1.Position"]["z"], &madang["golden.Shop"]["rating"]),
        (&0.0.into(), &2.5.into())
    );
}

#[test]
fn a_bad_row_names_line_column_and_reason() {
    let head = "id,name,lat,lon,feet,rating,mood\n1,a,0,0,0,1,c\n";
    let cases = [
        (
            "2,b,95,0,0,1,c",
            "line 3: column lat: position: a latitude from -90 to 90 degrees is expected, found 95",
        ),
        (
            "2,b,0,181,0,1,c",
            "line 3: column lon: position: a longitude from -180 to 180 degrees is expected, found 181",
        ),
        ("2,b,,0,0,1,c", "line 3: column lat: position.latitude: a number is expected, found nothing"),
        ("2,b,0,0,high,1,c", "line 3: column feet: position.z: a number is expected, found \"high\""),
        (
            "2,b,0,0,0,good,c",
            "line 3: column rating: golden.Shop.rating: a number is expected, found \"good\"",
        ),
        ("x,b,0,0,0,1,c", "line 3: column id: id: a whole number is expected, found \"x\""),
        ("1,b,0,0,0,1,c", "line 3: id: entity 1000001 is on line 2 already"),
        ("\"2\n\",b,0,0,0,1\n3,b,0,0,0,1,c", "line 3: row: 7 columns are expected, found 6"),
    ];
    for (row, expected) in cases {
        refused(csv(&format!("{head}{row}\n"), AIRPORTS), expected, 65);
    }
    let mood = csv(&format!("{head}2,b,0,0,0,1,glum\n"), AIRPORTS).err().unwrap().to_string();
    assert!(mood.starts_with("line 3: column mood: golden.Shop.mood: ") && mood.contains("glum"), "{mood}");
    let (_folder, path) = temp_path("a.snapshot");
    let text = [head.as_bytes(), b"2,\xff,0,0,0,1,c\n"].concat();
    let outcome = import_csv(text.as_slice(), &map(AIRPORTS), &schema(), path, options(), |_| ());
    refused(outcome, "line 3: column 2: the text is not UTF-8", 65);
}

#[test]
fn a_quote_that_is_never_closed_is_found() {
    let mapping = "csv = { header = false }\ncomponents.Metadata.name = \"1\"";
    let found = "line 2: row: a quote is opened here and never closed";
    refused(csv("Lyon,1\n\"Paris,2\nRome,3\n", mapping), found, 65);
    // Quotes that are closed, doubled, over lines, or inside of a plain value are none of its business.
    let (imported, _) = csv("\"a \"\"b\"\"\nc\",1\n5\" pipe,2\n\"\",3\n\"end\"", mapping).unwrap();
    assert_eq!(imported.ids_given, 4);
}

#[test]
fn a_property_that_no_feature_has_is_named() {
    let text = r#"{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"name":"a"},"geometry":null}]}"#;
    let wrong = "[components.Metadata]\nname = \"nmae\"";
    let found = "a.toml:2: components.Metadata.name: no feature has a property \"nmae\"";
    refused(geojson(text, wrong), found, 78);
    assert!(geojson(text, "[components.Metadata]\nname = \"name\"").is_ok());
}

#[test]
fn csv_may_have_no_header_and_another_delimiter() {
    let mapping = "csv = { delimiter = \"\\t\", header = false }\nposition = { x = \"2\", y = \"3\" }\n\
                   components.Metadata.name = \"1\"";
    let (imported, lines) = csv("one\t1\t2\ntwo\t3\t4\n", mapping).unwrap();
    assert_eq!(imported.ids_given, 2);
    assert_eq!(
        lines[2]["components"]["spatialdb.v1.Position"],
        serde_json::json!({"space":0,"x":3.0,"y":4.0,"z":0.0})
    );
    assert_eq!(lines[2]["components"]["spatialdb.v1.Metadata"]["name"], "two");
}

#[test]
fn a_wrong_mapping_names_file_line_key_and_rule() {
    let cases = [
        (
            "[components.Shoop]\n",
            "a.toml:1: components.Shoop: no component is named \"Shoop\"; near: golden.Shop",
        ),
        (
            "\n[components.Shop]\nmod = \"a\"",
            "a.toml:3: components.Shop.mod: golden.Shop has no field mod; it has mood, goods, stock, seal, entity, person, rating",
        ),
        (
            "[components.Shop]\nrating = \"c\"",
            "a.toml:2: components.Shop.rating: there is no column \"c\"; there are a, b",
        ),
        (
            "[components.Shop]\nrating = { scale = 2 }",
            "a.toml:2: components.Shop.rating: either a column or a constant is needed",
        ),
        (
            "[components.Position]\nx = \"a\"",
            "a.toml:1: components.Position: positions have a table of their own: [position]",
        ),
        (
            "[position]\nx = \"a\"",
            "a.toml:1: position: either longitude and latitude (degrees), or x and y (metres) are needed",
        ),
        ("[csv]\ndelimiter = \";;\"", "a.toml:2: csv.delimiter: must be one character of ASCII, e.g. \";\""),
    ];
    for (mapping, expected) in cases {
        refused(csv("a,b\n1,2\n", mapping), expected, 78);
    }
    for (text, part) in
        [("[components.Shop]\nrating = 7", "a.toml:2: "), ("\n[entety]", "unknown field `entety`")]
    {
        let error = MapFile::parse("a.toml", text).err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn features_become_entities_where_they_are() {
    let text = r#"{"type":"FeatureCollection","name":"x","features":[
{"type":"Feature","id":7,"geometry":{"type":"Point","coordinates":[10,20,5]},"properties":{"n":"a","tea":{"tea":"3"}}},
{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[0,0],[2,0],[2,4],[0,0]]]},"properties":{"n":"b"}},
{"type":"Feature","geometry":null,"properties":null}]}"#;
    let mapping =
        "entity.id = \"@id\"\n[components.Metadata]\nname = \"n\"\n[components.Shop]\nstock = \"tea\"";
    let (imported, lines) = geojson(text, mapping).unwrap();
    assert_eq!((imported.summary.totals.entity_count, imported.ids_given), (3, 2));
    let metres = |degrees: f64| 6_371_008.8 * degrees.to_radians();
    let place = &lines[1]["components"]["spatialdb.v1.Position"];
    assert_eq!(place, &serde_json::json!({"space":0,"x":metres(10.0),"y":metres(20.0),"z":5.0}));
    assert_eq!(lines[1]["components"]["golden.Shop"]["stock"]["tea"], "3");
    assert_eq!(lines[2]["components"]["spatialdb.v1.Position"]["y"], metres(2.0));
    assert!(lines[3]["components"].get("spatialdb.v1.Position").is_none());

    // Features one after the other.
    let one = r#"{"properties":{"n":"c","tea":null},"geometry":{"type":"Point","coordinates":[1,2]},"type":"Feature"}"#;
    let (imported, _) = geojson(&format!("{one}\n{one}\n"), mapping).unwrap();
    assert_eq!(imported.ids_given, 2);
    refused(
        geojson(&format!("{one}\n\n{}", one.replace("[1,2]", "[1,200]")), mapping),
        "line 3: geometry: a latitude from -90 to 90 degrees is expected, found 200",
        65,
    );
    refused(
        geojson(&text.replace("\"n\":\"b\"", "\"n\":\"b\",\"tea\":3"), mapping).map_err(
            |error| match error {
                SnapshotError::Row { unit, number, field, .. } => {
                    SnapshotError::Row { unit, number, field, reason: "wrong".to_owned() }
                }
                other => other,
            },
        ),
        "line 3: column tea: golden.Shop.stock: wrong",
        65,
    );
    refused(
        geojson("{\"type\":\"Topology\"}", mapping),
        "line 1: type: a FeatureCollection or a Feature is expected, found Topology",
        65,
    );
    refused(
        geojson(&text[..text.len() - 2], mapping),
        "line 4: JSON: EOF while parsing a list at column 52",
        65,
    );
}

const SPATIALOS: &str = r#"
[[spatialos.components]]
id = 1001
name = "sample.Shop"
to = "golden.Shop"
"#;

/// One message of protobuf: a key and a length before it.
fn wrapped(field: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = varint(u64::from(field << 3 | 2));
    out.extend(varint(bytes.len() as u64));
    out.extend(bytes);
    out
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 127 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn spatialos_entity(id: u64, components: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let components: Vec<u8> = components.iter().flat_map(|(id, value)| wrapped(*id, value)).collect();
    let entity = [vec![8], varint(id), wrapped(3, &components)].concat();
    let message = wrapped(2, &entity);
    [varint(message.len() as u64), message].concat()
}

fn spatialos_file(entities: &[Vec<u8>], end: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&[&[0], entities.concat().as_slice(), end].concat()).unwrap();
    gzip.finish().unwrap()
}

fn coordinates(x: f64, y: f64, z: f64) -> Vec<u8> {
    let axis = |number: u8, value: f64| [vec![number << 3 | 1], value.to_le_bytes().to_vec()].concat();
    wrapped(1, &[axis(1, x), axis(2, y), axis(3, z)].concat())
}

const END: [u8; 3] = [2, 8, 1];

#[test]
fn a_snapshot_of_spatialos_keeps_its_entities() {
    let entities = [
        spatialos_entity(1, &[(53, wrapped(1, b"Tree")), (54, coordinates(1.0, 2.0, 3.0)), (55, vec![])]),
        spatialos_entity(
            9,
            &[(54, coordinates(-1.5, 0.0, 0.0)), (1001, vec![0x08, 1]), (50, vec![]), (4711, vec![])],
        ),
    ];
    let file = spatialos_file(&entities, &END);
    let read = |file: &[u8], mapping: &str| {
        lines_of(|path| import_spatialos(file, Some(&map(mapping)), &schema(), path, options(), |_| ()))
    };
    let (imported, lines) = read(&file, SPATIALOS).unwrap();
    let out = |name: &str| LeftOut { name: name.to_owned(), count: 1 };
    assert_eq!(
        imported.left_out,
        [out("4711"), out("50 improbable.EntityAcl"), out("55 improbable.Persistence")]
    );
    // y is up there: it becomes z.
    assert_eq!(
        lines[1]["components"]["spatialdb.v1.Position"],
        serde_json::json!({"space":0,"x":1.0,"y":3.0,"z":2.0})
    );
    assert_eq!(lines[1]["components"]["spatialdb.v1.Metadata"]["type"], "Tree");
    assert_eq!(lines[2]["id"], "9");
    assert_eq!(lines[2]["components"]["golden.Shop"]["mood"], "MOOD_CALM");

    let bare = lines_of(|path| import_spatialos(file.as_slice(), None, &schema(), path, options(), |_| ()));
    assert_eq!(bare.unwrap().0.left_out.len(), 4, "without a mapping the shop is left out too");

    let cut =
        "message 4: length: the file is cut off: its last message, which says that it is whole, is missing";
    refused(read(&spatialos_file(&entities, &[]), SPATIALOS), cut, 65);
    refused(
        read(&spatialos_file(&[spatialos_entity(0, &[])], &END), SPATIALOS),
        "message 2: id: a number from 1 to 2^53 - 1 is expected, found 0",
        65,
    );
    refused(
        read(&spatialos_file(&[spatialos_entity(3, &[(1001, vec![0x0a, 9])])], &END), SPATIALOS).map_err(
            |error| match error {
                SnapshotError::Row { unit, number, field, .. } => {
                    SnapshotError::Row { unit, number, field, reason: "wrong".to_owned() }
                }
                other => other,
            },
        ),
        "message 2: entity 3: component 1001 sample.Shop as golden.Shop.mood: wrong",
        65,
    );
    refused(
        read(&spatialos_file(&entities, &[END, END].concat()), SPATIALOS),
        "message 4: end: something follows the last message",
        65,
    );
    let wrong = SPATIALOS.replace("golden.Shop", "Position");
    refused(
        read(&file, &wrong),
        "a.toml:5: spatialos.components[0]: Position is mapped already: 54, improbable.Position",
        78,
    );
    // No cut and no flipped byte makes it panic.
    for end in 0..file.len() {
        assert!(read(&file[..end], SPATIALOS).is_err(), "{end}");
    }
    for index in 0..file.len() {
        let mut damaged = file.clone();
        damaged[index] ^= 0x10;
        let _ = read(&damaged, SPATIALOS);
    }
}

#[test]
fn the_json_twin_gives_the_same_world() {
    let text = r#"{
    "__entity_id": "1",
    "improbable.Metadata": {"entity_type": "Tree"},
    "improbable.Position": {"coords": {"x": 1.0, "y": 2.0, "z": 3.0}},
    "improbable.Persistence": {}
}
{
    "__entity_id": "9",
    "improbable.Position": {"coords": {"x": -1.5}},
    "sample.Shop": {
        "mood": 1, "rating": [2.5], "person": [],
        "stock": [{"key": "tea", "value": 3}],
        "goods": [{"name": "x", "price": 1}]
    }
}
"#;
    let read = |text: &str| {
        lines_of(|path| {
            import_spatialos_json(text.as_bytes(), Some(&map(SPATIALOS)), &schema(), path, options(), |_| ())
        })
    };
    let (imported, lines) = read(text).unwrap();
    assert_eq!(imported.left_out, [LeftOut { name: "improbable.Persistence".to_owned(), count: 1 }]);
    assert_eq!(
        lines[1]["components"]["spatialdb.v1.Position"],
        serde_json::json!({"space":0,"x":1.0,"y":3.0,"z":2.0})
    );
    assert_eq!(lines[1]["components"]["spatialdb.v1.Metadata"]["type"], "Tree");
    let shop = &lines[2]["components"]["golden.Shop"];
    assert_eq!((&shop["rating"], &shop["stock"]["tea"]), (&2.5.into(), &"3".into()));
    assert_eq!((&shop["mood"], &shop["goods"][0]["name"]), (&"MOOD_CALM".into(), &"x".into()));
    refused(
        read(&text.replace("-1.5", "\"far\"")),
        "line 7: improbable.Position: coords.x: metres within +-1099511627776 are expected, found \"far\"",
        65,
    );
    refused(read(&text.replace("\"9\"", "\"1\"")), "line 7: id: entity 1 is on line 1 already", 65);
}
