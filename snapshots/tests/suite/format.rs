//! What is written comes back; what is damaged is named, and never read as something else.

use super::common::{self, one_block_world, position, schema, small_world, temp_path};
use proptest::prelude::*;
use spatialdb_snapshots::{
    Block, Header, Part, Reader, SnapshotError, SpaceEntry, Writer, WriterOptions, verify::verify,
};
use spatialdb_types::{Box3, ComponentId, EntityId, Point3, Position, SpaceId};

type Row = (u64, Option<Position>, Vec<(ComponentId, Vec<u8>)>);

fn rows_of(blocks: &[Block]) -> Vec<Row> {
    let rows = blocks.iter().flat_map(Block::iter).map(|row| {
        let values = row.values.iter().map(|(component, bytes)| (*component, bytes.to_vec())).collect();
        (row.id.0, row.position, values)
    });
    rows.collect()
}

fn read_all(reader: &Reader) -> Result<Vec<Block>, SnapshotError> {
    (0..reader.blocks().len()).map(|index| reader.read_block(index)).collect()
}

fn write(rows: &[Row], options: WriterOptions) -> Vec<u8> {
    let (_folder, path) = temp_path("a.snapshot");
    let mut writer = Writer::create(&path, header(), options).unwrap();
    for (id, position, values) in rows {
        let values = values.iter().map(|(component, bytes)| (*component, bytes.as_slice()));
        writer.push(EntityId(*id), *position, values).unwrap();
    }
    writer.finish().unwrap();
    std::fs::read(path).unwrap()
}

fn header() -> Header {
    let space = |id, name: &str| SpaceEntry { id, name: name.to_owned() };
    Header::new("test", vec![space(0, "ground"), space(3, "cellar")], &schema())
}

fn any_row() -> impl Strategy<Value = (Option<Position>, Vec<(ComponentId, Vec<u8>)>)> {
    let coordinate = prop_oneof![Just(-0.0), Just(f64::MIN_POSITIVE), -1e9_f64..1e9];
    let position = (prop_oneof![Just(0_u32), Just(3)], coordinate.clone(), coordinate.clone(), coordinate)
        .prop_map(|(space, x, y, z)| Position::new(SpaceId(space), x, y, z));
    let value =
        (prop_oneof![Just(2_u32), Just(1000), Just(77_777)], prop::collection::vec(any::<u8>(), 0..40));
    let values = prop::collection::btree_map(value.clone().prop_map(|v| v.0), value.prop_map(|v| v.1), 0..4);
    let values = values.prop_map(|map| map.into_iter().map(|(id, bytes)| (ComponentId(id), bytes)).collect());
    (prop::option::of(position), values)
}

fn any_world() -> impl Strategy<Value = Vec<Row>> {
    let rows = prop::collection::btree_map(1_u64..(1 << 53), any_row(), 0..40);
    rows.prop_map(|map| map.into_iter().map(|(id, (position, values))| (id, position, values)).collect())
}

proptest! {
    #[test]
    fn a_world_comes_back_bit_by_bit(rows in any_world(), block_entities in 1_usize..20) {
        let bytes = write(&rows, WriterOptions { block_entities, ..WriterOptions::default() });
        prop_assert_eq!(&bytes, &write(&rows, WriterOptions { block_entities, ..WriterOptions::default() }));
        let reader = Reader::from_bytes(bytes).unwrap();
        let found = rows_of(&read_all(&reader).unwrap());
        let bits = |rows: &[Row]| -> Vec<_> {
            let point = |p: &Position| [p.point.x, p.point.y, p.point.z].map(f64::to_bits);
            rows.iter().map(|(_, position, _)| position.as_ref().map(point)).collect()
        };
        prop_assert_eq!(bits(&found), bits(&rows));
        prop_assert_eq!(found, rows);
        prop_assert_eq!(reader.header(), &header());
    }

    #[test]
    fn any_flipped_bit_is_found(place in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let whole = small_world();
        let mut bytes = whole.clone();
        bytes[place.index(whole.len())] ^= 1 << bit;
        let outcome = Reader::from_bytes(bytes).and_then(|reader| verify(&reader, |_| ()));
        prop_assert!(outcome.is_err());
    }

    #[test]
    fn a_flipped_bit_never_yields_other_data(place in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let whole = small_world();
        let expected = read_all(&Reader::from_bytes(whole.clone()).unwrap()).unwrap();
        let mut bytes = whole.clone();
        bytes[place.index(whole.len())] ^= 1 << bit;
        if let Ok(blocks) = Reader::from_bytes(bytes).and_then(|reader| read_all(&reader)) {
            prop_assert_eq!(blocks, expected);
        }
    }

    #[test]
    fn any_cut_is_found_when_opening(place in any::<prop::sample::Index>()) {
        let mut bytes = small_world();
        bytes.truncate(place.index(bytes.len()));
        prop_assert!(Reader::from_bytes(bytes).is_err());
    }

    #[test]
    fn bytes_at_random_open_as_nothing(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Reader::from_bytes(bytes).is_err());
    }

    // Checksums that match do not make a decoder trust the lengths under them.
    #[test]
    fn a_forged_block_is_decoded_or_refused(
        place in any::<prop::sample::Index>(),
        patch in prop::collection::vec(any::<u8>(), 1..6),
    ) {
        let bytes = common::forge_block(&one_block_world(), |raw| {
            let at = place.index(raw.len());
            let end = (at + patch.len()).min(raw.len());
            raw[at..end].copy_from_slice(&patch[..end - at]);
        });
        if let Ok(block) = Reader::from_bytes(bytes).and_then(|reader| reader.read_block(0)) {
            prop_assert!(block.entities.windows(2).all(|pair| pair[0] < pair[1]));
            for row in block.iter() {
                prop_assert!(row.id.is_valid());
                prop_assert!(row.position.is_none_or(|position| position.point.is_finite()));
            }
        }
    }

    #[test]
    fn a_forged_footer_is_read_or_refused(
        place in any::<prop::sample::Index>(),
        patch in prop::collection::vec(any::<u8>(), 1..9),
    ) {
        let bytes = common::forge_footer(&small_world(), |footer| {
            let at = place.index(footer.len());
            let end = (at + patch.len()).min(footer.len());
            footer[at..end].copy_from_slice(&patch[..end - at]);
        });
        if let Ok(reader) = Reader::from_bytes(bytes) {
            let _ = read_all(&reader);
        }
    }
}

fn error_of(bytes: Vec<u8>) -> String {
    let outcome = Reader::from_bytes(bytes).and_then(|reader| verify(&reader, |_| ()));
    outcome.unwrap_err().to_string()
}

#[test]
fn errors_name_the_part_of_the_file() {
    let whole = small_world();
    let reader = Reader::from_bytes(whole.clone()).unwrap();
    assert!(reader.blocks().len() >= 3, "the world has several blocks");
    let offset = reader.blocks()[2].offset;
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        error_of(bytes)
    };
    assert!(flipped(0).starts_with("header: not a snapshot"), "{}", flipped(0));
    assert!(flipped(8).contains("format version 0 is not supported"), "{}", flipped(8));
    assert!(flipped(20).starts_with("header: damaged: expected CRC32C"), "{}", flipped(20));
    assert!(flipped(whole.len() - 90).starts_with("footer: damaged"), "{}", flipped(whole.len() - 90));
    assert!(flipped(whole.len() - 40).starts_with("trailer: damaged"), "{}", flipped(whole.len() - 40));
    let mut bytes = whole.clone();
    bytes[offset as usize + 20] ^= 1;
    let error = Reader::from_bytes(bytes).unwrap().read_block(2).unwrap_err();
    assert!(matches!(error, SnapshotError::Checksum { part: Part::Block { index: 2, .. }, .. }));
    assert!(error.to_string().starts_with(&format!("block 2 at offset {offset}: damaged")));
    assert_eq!(error.exit_code(), 65);
    assert!(error_of(whole[..whole.len() - 100].to_vec()).contains("cut off or damaged"));
    let mut longer = whole.clone();
    longer.extend_from_slice(&whole[whole.len() - 68..]);
    assert!(error_of(longer).starts_with("trailer: file length"));
}

#[test]
fn verify_finds_what_checksums_cannot() {
    let rows = |ids: [u64; 2], value: &[u8]| -> Vec<Row> {
        ids.iter()
            .map(|id| (*id, Some(position(*id as f64)), vec![(ComponentId(2), value.to_vec())]))
            .collect()
    };
    let one = WriterOptions { block_entities: 1, ..WriterOptions::default() };
    let doubled = error_of(write(&rows([5, 5], b""), one));
    assert!(
        doubled.starts_with("block 1 at offset")
            && doubled.contains("entity 5: the id is in block 0 already")
    );
    let payload = error_of(write(&rows([5, 6], b"\x0a\x05ab"), one));
    assert!(
        payload.contains("block 0 at offset") && payload.contains("entity 5: spatialdb.v1.Metadata: "),
        "{payload}"
    );
    let unknown = vec![(5, None, vec![(ComponentId(4000), Vec::new())])];
    assert!(
        error_of(write(&unknown, one)).contains("component 4000: the schema has no component of that id")
    );
    let mut header = header();
    header.schema_digest = "0".repeat(64);
    let (_folder, path) = temp_path("a.snapshot");
    Writer::create(&path, header, one).unwrap().finish().unwrap();
    assert!(error_of(std::fs::read(path).unwrap()).starts_with("header: schema: expected digest 000"));
}

#[test]
fn what_the_format_forbids_is_not_written() {
    let (folder, path) = temp_path("a.snapshot");
    let mut writer = Writer::create(&path, header(), WriterOptions::default()).unwrap();
    let none: [(ComponentId, &[u8]); 0] = [];
    let mut refused = |id, position, values: &[(ComponentId, &[u8])]| {
        writer.push(EntityId(id), position, values.iter().copied()).unwrap_err().to_string()
    };
    assert!(refused(0, None, &none).contains("entity 0: an id is not 0"));
    assert!(refused(1 << 53, None, &none).contains("below 2^53"));
    assert!(refused(1, Some(position(f64::NAN)), &none).contains("not finite"));
    assert!(refused(1, Some(Position::new(SpaceId(9), 0.0, 0.0, 0.0)), &none).contains("space 9 is not one"));
    let large = vec![0; (256 << 10) + 1];
    assert!(refused(1, None, &[(ComponentId(2), &large)]).contains("has 262145 bytes, the limit is 262144"));
    assert!(
        refused(1, None, &[(ComponentId(2), b""), (ComponentId(2), b"")])
            .contains("component 2 is there twice")
    );
    assert!(refused(1, None, &[(ComponentId(1), b"")]).contains("component 1 is not"));
    writer.push(EntityId(1), None, none).unwrap();
    drop(writer);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a dropped writer leaves nothing");
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let (folder, path) = temp_path("a.snapshot");
    std::fs::write(&path, "old").unwrap();
    let mut writer = Writer::create(&path, header(), WriterOptions::default()).unwrap();
    let none: [(ComponentId, &[u8]); 0] = [];
    writer.push(EntityId(4), None, none).unwrap();
    writer.push(EntityId(4), None, none).unwrap();
    assert!(writer.finish().unwrap_err().to_string().contains("entity 4: the id is there twice"));
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn large_values_do_not_overfill_a_block() {
    let value = vec![7_u8; 256 << 10];
    let rows: Vec<Row> = (1..=40).map(|id| (id, None, vec![(ComponentId(2), value.clone())])).collect();
    let reader = Reader::from_bytes(write(&rows, WriterOptions::default())).unwrap();
    assert!(reader.blocks().len() >= 8);
    assert_eq!(rows_of(&read_all(&reader).unwrap()), rows);
}

#[test]
fn a_region_needs_few_blocks() {
    let reader = Reader::from_bytes(small_world()).unwrap();
    let area =
        Box3 { min: Point3::new(0.0, 0.0, f64::NEG_INFINITY), max: Point3::new(1.0, 1.0, f64::INFINITY) };
    let found: Vec<usize> = reader.blocks_in(SpaceId(0), &area).collect();
    assert!(!found.is_empty() && found.len() < reader.blocks().len() / 2, "{found:?}");
    let inside = |blocks: Vec<Block>| {
        let points = blocks.iter().flat_map(Block::iter).filter_map(|row| row.position.map(|p| p.point));
        points.filter(|point| area.contains(*point)).count()
    };
    let sought = inside(found.into_iter().map(|index| reader.read_block(index).unwrap()).collect());
    assert!(sought > 0);
    assert_eq!(sought, inside(read_all(&reader).unwrap()));
    assert_eq!(reader.blocks_in(SpaceId(3), &area).count(), 0);
}

#[test]
fn an_empty_world_and_the_mark_of_ids() {
    let options = WriterOptions { next_entity_id: 500, ..WriterOptions::default() };
    let reader = Reader::from_bytes(write(&[], options)).unwrap();
    assert_eq!((reader.totals().entity_count, reader.totals().next_entity_id), (0, 500));
    verify(&reader, |_| ()).unwrap();
    let reader = Reader::from_bytes(write(&[(900, None, Vec::new())], options)).unwrap();
    assert_eq!(reader.totals().next_entity_id, 901);
}
