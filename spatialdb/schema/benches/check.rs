//! The payload checker: a small component, a wide one, and what it replaces.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use prost_reflect::{DescriptorPool, DynamicMessage};
use spatialdb_schema::{Component, Schema};
use spatialdb_types::ComponentId;
use tempfile::TempDir;

const PROTO: &str = "syntax = \"proto3\"; package bench; import \"spatialdb/v1/schema.proto\";
    message Aircraft { option (spatialdb.v1.component) = { id: 1000 };
      string callsign = 1; double speed = 2; float heading = 3; uint32 fuel = 4; }
    message Route { option (spatialdb.v1.component) = { id: 1001 };
      repeated Leg legs = 1; repeated int32 heights = 2; }
    message Leg { string name = 1; double length = 2; sint32 turn = 3; }";

// 30 bytes, 4 fields.
const AIRCRAFT: &[u8] = &[
    0x0a, 9, b'Q', b'F', b'0', b'0', b'0', b'1', b'2', b'3', b'4', // callsign
    0x11, 0, 0, 0, 0, 0, 0, 0x69, 0x40, // speed
    0x1d, 0, 0, 0x34, 0x42, // heading
    0x20, 0x80, 0x80, 0x80, 1, // fuel
];

fn schema() -> Schema {
    let directory = TempDir::new().expect("a directory");
    std::fs::write(directory.path().join("bench.proto"), PROTO).expect("a file");
    Schema::compile(&[directory.path().to_owned()]).expect("compiles")
}

fn route() -> Vec<u8> {
    let leg = [0x0a, 4, b'S', b'Y', b'D', b'1', 0x11, 0, 0, 0, 0, 0, 0, 0x69, 0x40, 0x18, 7];
    let mut payload = Vec::new();
    for _ in 0..32 {
        payload.extend([0x0a, leg.len() as u8]);
        payload.extend(leg);
    }
    payload.extend([0x12, 100]);
    payload.extend([7; 100]);
    payload
}

fn find(schema: &Schema, id: u32) -> Component {
    schema.component(ComponentId(id)).expect("a component").clone()
}

fn benches(criterion: &mut Criterion) {
    let schema = schema();
    let (aircraft, route_component) = (find(&schema, 1000), find(&schema, 1001));
    let route = route();
    assert_eq!(AIRCRAFT.len(), 30);
    assert_eq!(aircraft.check(AIRCRAFT), Ok(0));
    assert_eq!(route_component.check(&route), Ok(0));
    criterion.bench_function("check 30 bytes, 4 fields", |bencher| {
        bencher.iter(|| aircraft.check(black_box(AIRCRAFT)));
    });
    criterion.bench_function("find component by id, then check", |bencher| {
        bencher.iter(|| {
            schema.component(black_box(ComponentId(1000))).map(|one| one.check(black_box(AIRCRAFT)))
        });
    });
    let plan = aircraft.plan_fields(&[1, 2, 3, 4]).expect("a plan");
    assert_eq!(aircraft.check_fields(&plan, AIRCRAFT), Ok(()));
    criterion.bench_function("check 4 listed fields", |bencher| {
        bencher.iter(|| aircraft.check_fields(&plan, black_box(AIRCRAFT)));
    });
    criterion.bench_function("check 710 bytes, 32 nested messages", |bencher| {
        bencher.iter(|| route_component.check(black_box(&route)));
    });
    let pool = DescriptorPool::decode(schema.descriptor_set()).expect("a pool");
    let descriptor = pool.get_message_by_name("bench.Aircraft").expect("a message");
    assert!(DynamicMessage::decode(descriptor.clone(), AIRCRAFT).is_ok());
    criterion.bench_function("DynamicMessage of 30 bytes, for comparison", |bencher| {
        bencher.iter(|| DynamicMessage::decode(descriptor.clone(), black_box(AIRCRAFT)));
    });
}

criterion_group!(checks, benches);
criterion_main!(checks);
