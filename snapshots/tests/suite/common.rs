//! Small worlds, and a hand that writes bytes where the writer would not.

use std::{path::PathBuf, sync::LazyLock};

use spatialdb_schema::Schema;
use spatialdb_snapshots::{Entity, Header, SortedWriter, SpaceEntry, WriterOptions};
use spatialdb_types::{ComponentId, EntityId, Position, SpaceId};
use tempfile::TempDir;

const TRAILER_BYTES: usize = 68;

/// A schema with components of every shape that the tests use.
pub(crate) fn schema() -> Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
        Schema::compile(&[PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/schema")]).unwrap()
    });
    SCHEMA.clone()
}

/// A path in a folder that lives as long as what comes with it.
pub(crate) fn temp_path(name: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    (folder, path)
}

pub(crate) fn position(x: f64) -> Position {
    Position::new(SpaceId(0), x, 0.0, 0.0)
}

/// 300 entities on a grid, each fifth without a position, some with Metadata.
fn world(block_entities: usize) -> Vec<u8> {
    let (_folder, path) = temp_path("small.snapshot");
    let spaces = vec![SpaceEntry { id: 0, name: "ground".to_owned() }];
    let options = WriterOptions { block_entities, ..WriterOptions::default() };
    let mut writer = SortedWriter::create(&path, Header::new("small", spaces, &schema()), options).unwrap();
    for number in 0..300_u32 {
        let at = Position::new(SpaceId(0), f64::from(number % 20), f64::from(number / 20), 0.5);
        let name = format!("n{number}");
        let metadata = [&[0x12, name.len() as u8], name.as_bytes()].concat();
        writer.push(Entity {
            id: EntityId(u64::from(1000 - number)),
            position: (number % 5 != 1).then_some(at),
            values: if number % 3 == 0 { vec![(ComponentId(2), metadata)] } else { Vec::new() },
        });
    }
    writer.finish(|| ()).unwrap();
    std::fs::read(path).unwrap()
}

/// A world in many blocks.
pub(crate) fn small_world() -> Vec<u8> {
    static WORLD: LazyLock<Vec<u8>> = LazyLock::new(|| world(25));
    WORLD.clone()
}

/// The same in one block.
pub(crate) fn one_block_world() -> Vec<u8> {
    static WORLD: LazyLock<Vec<u8>> = LazyLock::new(|| world(1000));
    WORLD.clone()
}

/// Changes the uncompressed body of the only block and makes every checksum match again.
pub(crate) fn forge_block(file: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let (block, footer) = block_and_footer(file);
    let raw_bytes = u32_at(file, block + 4) as usize;
    let mut raw = zstd::bulk::decompress(&file[block + 12..footer], raw_bytes).unwrap();
    change(&mut raw);
    let packed = zstd::bulk::compress(&raw, 3).unwrap();
    let mut prefix = [(packed.len() as u32).to_le_bytes(), (raw.len() as u32).to_le_bytes()].concat();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&prefix), &packed);
    prefix.extend_from_slice(&checksum.to_le_bytes());

    let mut index = file[footer..file.len() - TRAILER_BYTES].to_vec();
    let components = u32_at(&index, 16) as usize;
    let entry = 20 + components * 20 + 4;
    index[entry + 8..entry + 20].copy_from_slice(&prefix);
    seal(&[&file[..block], &prefix, &packed].concat(), &index)
}

/// Changes the footer and makes every checksum match again.
pub(crate) fn forge_footer(file: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let footer = u64_at(file, file.len() - TRAILER_BYTES + 8) as usize;
    let mut index = file[footer..file.len() - TRAILER_BYTES].to_vec();
    change(&mut index);
    seal(&file[..footer], &index)
}

/// Adds a footer and a trailer.
fn seal(body: &[u8], footer: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let mut file = [body, footer].concat();
    let digest = Sha256::digest(&file);
    let mut trailer = Vec::new();
    trailer.extend_from_slice(&((file.len() + TRAILER_BYTES) as u64).to_le_bytes());
    trailer.extend_from_slice(&(body.len() as u64).to_le_bytes());
    trailer.extend_from_slice(&(footer.len() as u32).to_le_bytes());
    trailer.extend_from_slice(&crc32c::crc32c(footer).to_le_bytes());
    trailer.extend_from_slice(&digest);
    let checksum = crc32c::crc32c(&trailer);
    trailer.extend_from_slice(&checksum.to_le_bytes());
    trailer.extend_from_slice(b"SDBW.END");
    file.extend_from_slice(&trailer);
    file
}

fn block_and_footer(file: &[u8]) -> (usize, usize) {
    let block = 16 + u32_at(file, 12) as usize + 4;
    (block, u64_at(file, file.len() - TRAILER_BYTES + 8) as usize)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}
