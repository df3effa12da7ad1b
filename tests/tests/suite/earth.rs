//! The earth world, as it is committed.

use spatialdb_proto::v1;
use spatialdb_tests::{Launch, METADATA, POSITION, World, all_made, all_of, has, run, sphere};

const CITY: u32 = 1001;
const AIRPORT: u32 = 1002;

/// The projection that `snapshots/earth/README.md` documents: degrees to metres.
fn metres(degrees: f64) -> f64 {
    6_371_008.8 * degrees.to_radians()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn all_cities_and_airports_are_there() {
    let world = World::launch(Launch::earth());
    assert_eq!(world.count(has(CITY)).await, 138_398);
    assert_eq!(world.count(has(AIRPORT)).await, 7_184);
    assert_eq!(world.count(all_made()).await, 138_398 + 7_184);
    assert_eq!(world.count(all_of(vec![has(POSITION), has(METADATA)])).await, 138_398 + 7_184);
    let told = world.tools().await.get_world(v1::GetWorldRequest {}).await.expect("told").into_inner();
    assert_eq!((told.name.as_str(), told.entity_count), ("earth", 145_582));
    // Work is shared: no partition has twice what another has.
    let counts: Vec<u64> = told.partitions.iter().map(|one| one.entity_count).collect();
    let (least, most) = (counts.iter().min().expect("some"), counts.iter().max().expect("some"));
    assert!(counts.len() >= 2 && most < &(2 * least), "{counts:?}");
}

// GeoNames: Sydney 33.86785 S 151.20732 E; Paris 48.85341 N 2.3488 E.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn cities_are_where_the_projection_puts_them() {
    let world = World::launch(Launch::earth());
    for (id, name, latitude, longitude) in
        [(2_003_804, "Sydney", -33.86785, 151.20732), (2_051_203, "Paris", 48.85341, 2.3488)]
    {
        assert_eq!(world.component::<v1::Metadata>(id, METADATA).await.name, name);
        let at = world.component::<v1::Position>(id, POSITION).await;
        let (x, y) = (metres(longitude), metres(latitude));
        // Positions are rounded to an eighth of a metre, and sources to about a metre.
        assert!((at.x - x).abs() < 1.5 && (at.y - y).abs() < 1.5 && at.z == 0.0, "{at:?}, not {x} {y}");
        let found = world.query(all_of(vec![sphere(x, y, 10.0), has(CITY)])).await;
        assert!(found.contains_key(&id));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_command_line_finds_a_city() {
    let world = World::launch(Launch::earth());
    let place = format!("{:.0},{:.0},5000", metres(151.20732), metres(-33.86785));
    let done = run(&[
        "query",
        "--sphere",
        &place,
        "--has",
        "earth.City",
        "--json",
        "--limit",
        "0",
        "--address",
        world.address(),
    ]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let sydney =
        done.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let sydney = sydney.into_iter().find(|line| line["entity"] == "2003804").expect("Sydney");
    assert_eq!(sydney["components"]["earth.City"]["population"], 4_627_345);
    assert_eq!(sydney["components"]["earth.City"]["country"], "AU");
}
