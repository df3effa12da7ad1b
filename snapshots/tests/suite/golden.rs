//! Every version of the format that was ever released still opens.

use std::{fs, path::PathBuf};

use super::common::{schema, temp_path};
use spatialdb_snapshots::{Reader, WriterOptions, json, verify::verify};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

fn lines_of(reader: &Reader) -> String {
    let mut out = Vec::new();
    json::export(reader, &mut out, |_| ()).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn version_1_opens_and_says_what_it_said() {
    let reader = Reader::open(golden("v1-small.snapshot")).unwrap();
    verify(&reader, |_| ()).unwrap();
    assert_eq!(lines_of(&reader), fs::read_to_string(golden("v1-small.expected.jsonl")).unwrap());
    assert_eq!(reader.totals().next_entity_id, 5001);
}

// The bytes are this build's too: a change of the format, not of zstd, must come with a new version.
#[test]
fn the_lines_make_the_same_world() {
    let (_folder, path) = temp_path("again.snapshot");
    let mut input = fs::File::open(golden("v1-small.jsonl")).map(std::io::BufReader::new).unwrap();
    let options = json::ImportOptions { world: "x".to_owned(), writer: WriterOptions::default() };
    let imported = json::import(&mut input, &schema(), &path, options, |_| ()).unwrap();
    assert_eq!(imported.ids_given, 1);
    let (new, old) = (Reader::open(&path).unwrap(), Reader::open(golden("v1-small.snapshot")).unwrap());
    assert_eq!(lines_of(&new), lines_of(&old));
    // Later versions have more built-in components, so the schemas need not be the same.
    let said = |reader: &Reader| (reader.header().world.clone(), reader.header().spaces.clone());
    assert_eq!(said(&new), said(&old));
    assert_eq!(new.totals(), old.totals());
    let blocks = |reader: &Reader| -> Vec<_> {
        (0..reader.blocks().len()).map(|index| reader.read_block(index).unwrap()).collect()
    };
    assert_eq!(blocks(&new), blocks(&old));
}
