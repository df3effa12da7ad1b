//! How fast a million entities come out of a file: Position and two components of 32 bytes.

#![allow(missing_docs, reason = "criterion generates undocumented items")]
#![allow(clippy::unwrap_used, reason = "a bench ends where its world does not open")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use spatialdb_schema::Schema;
use spatialdb_snapshots::{Header, Reader, SpaceEntry, Writer, WriterOptions};
use spatialdb_types::{ComponentId, EntityId, Position, SpaceId};

const ENTITIES: u64 = 1_000_000;
const SIDE: u64 = 1000;

/// Bits that zstd finds no pattern in, so that the size is honest.
fn noise(seed: u64) -> [u8; 32] {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn world() -> Reader {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.snapshot");
    let spaces = vec![SpaceEntry { id: 0, name: "ground".to_owned() }];
    let header = Header::new("bench", spaces, &Schema::built_in());
    let mut writer = Writer::create(&path, header, WriterOptions::default()).unwrap();
    for number in 0..ENTITIES {
        let (x, y) = ((number % SIDE) as f64 * 1.1, (number / SIDE) as f64 * 1.7);
        let (a, b) = (noise(number), noise(number + ENTITIES));
        let values = [(ComponentId(1000), a.as_slice()), (ComponentId(1001), b.as_slice())];
        writer.push(EntityId(number + 1), Some(Position::new(SpaceId(0), x, y, 0.0)), values).unwrap();
    }
    writer.finish().unwrap();
    Reader::from_bytes(std::fs::read(path).unwrap()).unwrap()
}

fn decode(criterion: &mut Criterion) {
    let reader = world();
    let mut group = criterion.benchmark_group("snapshot");
    group.sample_size(10).throughput(Throughput::Elements(ENTITIES));
    group.bench_function("decode 1M entities", |bencher| {
        bencher.iter(|| {
            let (mut entities, mut bytes) = (0, 0);
            for index in 0..reader.blocks().len() {
                let block = reader.read_block(index).unwrap();
                entities += block.entities.len() as u64;
                bytes += block.columns.iter().map(|column| column.bytes.len() as u64).sum::<u64>();
            }
            assert_eq!((entities, bytes), (ENTITIES, ENTITIES * 64));
        });
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
