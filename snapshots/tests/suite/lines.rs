//! Lines of JSON: exact both ways, errors that name line and field, and differences by field.

use super::common::{schema, temp_path};
use proptest::prelude::*;
use spatialdb_snapshots::{
    Reader, SnapshotError, WriterOptions,
    diff::{DiffCounts, Difference, diff},
    json,
};

fn import(text: &str) -> Result<Reader, SnapshotError> {
    let (folder, path) = temp_path("a.snapshot");
    let options = json::ImportOptions { world: "lines".to_owned(), writer: WriterOptions::default() };
    let outcome = json::import(&mut text.as_bytes(), &schema(), &path, options, |_| ());
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, usize::from(outcome.is_ok()), "a failed conversion leaves no file");
    outcome.map(|_| Reader::from_bytes(std::fs::read(&path).unwrap()).unwrap())
}

fn export(reader: &Reader) -> String {
    let mut out = Vec::new();
    json::export(reader, &mut out, |_| ()).unwrap();
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = import(text).err().expect("the lines are wrong");
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.exit_code(), 65);
}

#[test]
fn errors_name_line_field_and_reason() {
    let first = r#"{"id":"1","components":{}}"#;
    refused(&format!("{first}\n{first}"), "line 2: id: entity 1 is on line 1 already");
    refused(&format!("{first}\n{{"), "line 2: JSON: EOF while parsing an object at column 1");
    refused("\n\n[]", "line 3: JSON: an entity is an object with \"id\" and \"components\"");
    refused(
        r#"{"components":{"Position":{"x":1},"Position":{"x":2}}}"#,
        "line 1: JSON: the key \"Position\" is there twice at column 44",
    );
    refused(r#"{"id":"x"}"#, "line 1: id: a number from 1 to 2^53 - 1 is expected, found \"x\"");
    refused(
        r#"{"id":9007199254740992}"#,
        "line 1: id: a number from 1 to 2^53 - 1 is expected, found 9007199254740992",
    );
    refused(r#"{"id":"1","extra":1}"#, "line 1: extra: an entity has only \"id\" and \"components\"");
    refused(
        r#"{"id":"1","components":{"Position":{"x":"a"}}}"#,
        "line 1: components.Position.x: metres within +-1099511627776 are expected, found \"a\"",
    );
    refused(
        r#"{"id":"1","components":{"Position":{"w":1}}}"#,
        "line 1: components.Position.w: there is no such field",
    );
    refused(
        r#"{"id":"1","components":{"Metadata":{},"spatialdb.v1.Metadata":{}}}"#,
        "line 1: components.spatialdb.v1.Metadata: the component is there twice",
    );
    refused(
        "{\"world\":\"w\",\"spaces\":[{\"id\":0,\"name\":\"a\"}]}\n{\"components\":{\"Position\":{\"space\":2}}}",
        "line 2: components.spatialdb.v1.Position.space: space 2 is not one of the header's",
    );
    refused(r#"{"world":"w","spaces":[{"id":0}]}"#, "line 1: header: missing field `name`");
    let unknown = import(r#"{"id":"1","components":{"Shoop":{}}}"#).err().unwrap().to_string();
    assert!(unknown.starts_with("line 1: components.Shoop: "), "{unknown}");
    let wrong =
        import(r#"{"id":"1","components":{"Shop":{"goods":[{"price":"much"}]}}}"#).err().unwrap().to_string();
    assert!(wrong.starts_with("line 1: components.Shop") && wrong.contains("price"), "{wrong}");
}

proptest! {
    // Each case puts two files on disk.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn doubles_come_back_exactly(bits in prop::array::uniform3(any::<u64>()), price in any::<f64>()) {
        let [x, y, z] = bits.map(|bits| {
            let value = f64::from_bits(bits);
            if value.abs() <= 1e12 { value } else { f64::from_bits(bits >> 2) }
        });
        prop_assume!([x, y, z].iter().all(|value| value.abs() <= 1e12));
        let line = serde_json::json!({"id": "5", "components": {
            "spatialdb.v1.Position": {"space": 0, "x": x, "y": y, "z": z},
            "golden.Shop": {"goods": [{"price": price}]},
        }});
        let reader = import(&line.to_string()).unwrap();
        let positions = reader.read_block(0).unwrap().positions;
        let found = [positions.x[0], positions.y[0], positions.z[0]].map(f64::to_bits);
        prop_assert_eq!(found, [x, y, z].map(f64::to_bits));
        let text = export(&reader);
        let again = import(&text).unwrap();
        prop_assert_eq!(export(&again), text);
        prop_assert_eq!(again.read_block(0).unwrap(), reader.read_block(0).unwrap());
    }
}

#[test]
fn differences_are_told_by_field() {
    let first = import(concat!(
        r#"{"id":"1","components":{"Metadata":{"name":"a"},"Shop":{"goods":[{"name":"x","price":1}]}}}"#,
        "\n",
        r#"{"id":"2","components":{"Position":{"x":1}}}"#,
        "\n",
        r#"{"id":"3"}"#,
        "\n",
        r#"{"id":"5","components":{"Empty":{}}}"#,
    ))
    .unwrap();
    let second = import(concat!(
        r#"{"id":"1","components":{"Metadata":{"name":"b"},"Shop":{"goods":[{"name":"x","price":2},{}]}}}"#,
        "\n",
        r#"{"id":"2","components":{"Position":{"x":1.5}}}"#,
        "\n",
        r#"{"id":"4"}"#,
        "\n",
        r#"{"id":"5"}"#,
    ))
    .unwrap();
    let mut found = Vec::new();
    let counts = diff(&first, &second, |difference| found.push(difference)).unwrap();
    assert_eq!(counts, DiffCounts { only_in_first: 1, only_in_second: 1, changed: 3, equal: 0 });
    let told: Vec<String> = found
        .iter()
        .map(|difference| match difference {
            Difference::OnlyInFirst(id) => format!("-{id}"),
            Difference::OnlyInSecond(id) => format!("+{id}"),
            Difference::Changed { entity, component, path, .. } => format!("{entity} {component} {path}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "1 spatialdb.v1.Metadata name",
            "1 golden.Shop goods.0.price",
            "1 golden.Shop goods.1",
            "2 spatialdb.v1.Position x",
            "-3",
            "+4",
            "5 golden.Empty ",
        ]
    );
    let same = diff(&first, &first, |difference| panic!("{difference:?}")).unwrap();
    assert!(same.is_same());
    assert_eq!(same.equal, 4);
}

#[test]
fn what_is_left_out_is_at_its_default_and_short_names_do() {
    let text = concat!(
        "\u{feff}\r\n",
        r#"{"components":{"Position":{"x":1},"Shop":{}}}"#,
        "\r\n",
        r#"{"id":7}"#,
        "\n",
        r#"{"components":{"golden.Shop":{"goods":[{"price":2}]},"2":{"name":"by number"}}}"#,
    );
    let reader = import(text).unwrap();
    let lines = export(&reader);
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let by_id = |id: &str| lines.iter().find(|line| line["id"] == id).unwrap()["components"].clone();
    // Ids go on after the largest, in the order of the lines.
    assert_eq!(
        by_id("8"),
        serde_json::json!({"spatialdb.v1.Position": {"space":0,"x":1.0,"y":0.0,"z":0.0}, "golden.Shop": {}})
    );
    assert_eq!(by_id("7"), serde_json::json!({}));
    assert_eq!(by_id("9")["spatialdb.v1.Metadata"], serde_json::json!({"name": "by number"}));
    assert_eq!(by_id("9")["golden.Shop"], serde_json::json!({"goods": [{"price": 2.0}]}));
    assert_eq!(lines[0]["next_entity_id"], "10");
}

#[test]
fn a_short_name_that_two_components_have_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (package, id) in [("a", 1000), ("b", 1001)] {
        let text = format!(
            "syntax = \"proto3\";\npackage {package};\nimport \"spatialdb/v1/schema.proto\";\n\
             message Cart {{ option (spatialdb.v1.component) = {{ id: {id} }}; int32 wheels = 1; }}\n"
        );
        std::fs::write(folder.path().join(format!("{package}.proto")), text).unwrap();
    }
    let schema = spatialdb_schema::Schema::compile(&[folder.path().to_owned()]).unwrap();
    let (_folder, path) = temp_path("a.snapshot");
    let options = || json::ImportOptions { world: "w".to_owned(), writer: WriterOptions::default() };
    let with = |text: &str| json::import(&mut text.as_bytes(), &schema, &path, options(), |_| ());
    let error = with(r#"{"components":{"Cart":{"wheels":4}}}"#).err().unwrap().to_string();
    let expected =
        "line 1: components.Cart: component \"Cart\" may be any of a.Cart, b.Cart: use the full name";
    assert_eq!(error, expected);
    let error = with("{}\n{\"components\":{\"a.Cart\":{\"weels\":4}}}").err().unwrap().to_string();
    assert!(error.starts_with("line 2: components.a.Cart") && error.contains("weels"), "{error}");
    with(r#"{"components":{"b.Cart":{"wheels":4}}}"#).unwrap();
}
