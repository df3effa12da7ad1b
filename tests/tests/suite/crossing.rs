//! Entities that cross the borders of partitions while they are looked at.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use spatialdb_proto::v1;
use spatialdb_tests::{
    Client, Launch, METADATA, Outcome, VITALS, Vitals, World, box_xy, column, eventually, has, metadata,
    new_rows, position_rows, positions, update, view,
};

const ENTITIES: usize = 200;
const ROUNDS: i32 = 300;
const AT_ONCE: usize = 1000;

async fn make(client: &mut Client, count: usize) -> Vec<u64> {
    let at: Vec<_> = (0..count).map(|i| (-500.0, i as f64 * 10.0 - 1000.0)).collect();
    let vitals = new_rows(VITALS, (0..count).map(|_| Vitals::hp(0).bytes()));
    let names = new_rows(METADATA, (0..count).map(|_| metadata("ball", "0")));
    client
        .create(v1::Create {
            count: count as u32,
            positions: vec![position_rows(&at)],
            columns: vec![vitals, names],
            ..Default::default()
        })
        .await
}

// A few numbers that look random and are the same each time.
fn scatter(seed: u64) -> f64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((x ^ (x >> 27)) % 2000) as f64 - 1000.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn entities_that_cross_again_and_again_are_in_view_exactly_as_queried() {
    let world = World::launch(Launch::probe());
    let mut writer = world.attach("probe").await;
    let ids = make(&mut writer, ENTITIES).await;
    // All, those in a box over all four partitions, and those in a box of one partition.
    let constraints = [has(VITALS), box_xy(-400.0, -400.0, 400.0, 400.0), box_xy(40.0, 40.0, 5000.0, 5000.0)];
    let mut viewers = Vec::new();
    for constraint in &constraints {
        let mut viewer = world.attach("viewer").await;
        viewer.subscribe(view(1, constraint.clone())).await;
        viewers.push(viewer);
    }
    let mut partitions = BTreeSet::new();
    for round in 1..=ROUNDS {
        let rows: Vec<_> = ids
            .iter()
            .map(|&id| {
                let seed = id * 1000 + round as u64;
                (id, scatter(seed * 2), scatter(seed * 2 + 1))
            })
            .collect();
        let vitals = column(VITALS, ids.iter().map(|&id| (id, Vitals::hp(round).bytes())));
        let seq = writer.send(update(vec![positions(&rows)], vec![vitals])).await;
        if round % 50 == 0 {
            assert_eq!(writer.decided(seq).await, Outcome::default());
            partitions.insert(world.entity(ids[0]).await.expect("there").partition);
        }
    }
    let last = writer.send(update(vec![], vec![column(VITALS, [(ids[0], Vitals::hp(0).bytes())])])).await;
    assert_eq!(writer.decided(last).await, Outcome::default());
    assert!(writer.rejections.is_empty(), "{:?}", writer.rejections.first());
    assert!(partitions.len() > 1, "it was in several partitions");
    for (viewer, constraint) in viewers.iter_mut().zip(constraints) {
        world.agrees(viewer, constraint).await;
    }
    // Who always matches never left.
    assert_eq!((viewers[0].replica.entered_count, viewers[0].replica.left_count), (ENTITIES as u64, 0));
    assert!(viewers[1].replica.left_count > 0);
    let whole = eventually("all are at rest", || async {
        Some(world.query(has(VITALS)).await).filter(|whole| whole.len() == ENTITIES)
    })
    .await;
    assert!(ids[1..].iter().all(|id| {
        let vitals: Vitals = prost::Message::decode(whole[id][&VITALS].bytes.clone()).expect("vitals");
        vitals.hp == ROUNDS
    }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_world_that_starts_empty_has_borders_too() {
    let schema = spatialdb_tests::repository().join("tests/schema");
    let world = World::launch(
        Launch::default()
            .arg("--partitions")
            .arg("2")
            .config(&format!("[world]\nschema = [{schema:?}]\ncell_m = 16")),
    );
    let mut writer = world.attach("probe").await;
    let mut viewer = world.attach("viewer").await;
    let ids = make(&mut writer, 20).await;
    viewer.subscribe(view(1, has(VITALS))).await;
    let mut partitions = BTreeSet::new();
    for round in 1..=20 {
        let rows: Vec<_> =
            ids.iter().map(|&id| (id, scatter(id * 99 + round), scatter(id * 77 + round))).collect();
        assert_eq!(writer.write(update(vec![positions(&rows)], vec![])).await, Outcome::default());
        partitions.insert(world.entity(ids[0]).await.expect("there").partition);
        world.agrees(&mut viewer, has(VITALS)).await;
    }
    assert_eq!(partitions.len(), 2, "the work is shared");
    assert_eq!((viewer.replica.entered_count, viewer.replica.left_count), (20, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn all_that_one_message_says_of_an_entity_shows_at_once() {
    let world = World::launch(Launch::probe());
    let mut writer = world.attach("probe").await;
    let mut viewer = world.attach("viewer").await;
    let ids = make(&mut writer, AT_ONCE).await;
    viewer.subscribe(view(1, has(VITALS))).await;
    let write = async {
        for round in 1..=ROUNDS {
            // Each message crosses a border, and says the number three times.
            let side = if round % 2 == 0 { -1.0 } else { 1.0 };
            let rows: Vec<_> = ids.iter().map(|&id| (id, side * (500.0 + f64::from(round)), 400.0)).collect();
            let vitals = column(VITALS, ids.iter().map(|&id| (id, Vitals::hp(round).bytes())));
            let names = column(METADATA, ids.iter().map(|&id| (id, metadata("ball", &round.to_string()))));
            let seq = writer.send(update(vec![positions(&rows)], vec![vitals, names])).await;
            // Many at once, and yet not all, so that the viewer sees some that are between.
            if round % 7 == 0 {
                writer.decided(seq).await;
            }
        }
        writer
    };
    let read = async {
        let (mut last, mut frames) = (vec![0; ids.len()], 0);
        while last.iter().any(|&round| round != ROUNDS) {
            viewer.message().await.expect("a frame");
            frames += 1;
            if viewer.replica.more {
                continue;
            }
            for (slot, &id) in last.iter_mut().zip(&ids) {
                let round = round_of(&viewer, id);
                assert!(round >= *slot, "entity {id}: {round} after {slot}");
                *slot = round;
            }
        }
        frames
    };
    let (mut writer, frames) = tokio::join!(write, read);
    let seq = writer.send(update(vec![], vec![])).await;
    assert_eq!(writer.decided(seq).await, Outcome::default());
    assert!(frames > 10, "{frames} frames");
    assert_eq!((viewer.replica.entered_count, viewer.replica.left_count), (AT_ONCE as u64, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_query_has_everything_once_while_everything_moves() {
    let world = World::launch(Launch::probe());
    let mut writer = world.attach("probe").await;
    let ids = make(&mut writer, AT_ONCE).await;
    let done = AtomicBool::new(false);
    let write = async {
        for round in 1..=ROUNDS {
            let seed = |id: u64| id * 1000 + round as u64;
            let rows: Vec<_> =
                ids.iter().map(|&id| (id, scatter(seed(id) * 2), scatter(seed(id) * 2 + 1))).collect();
            let seq = writer.send(update(vec![positions(&rows)], vec![])).await;
            if round % 5 == 0 {
                writer.decided(seq).await;
            }
        }
        done.store(true, Ordering::Relaxed);
    };
    let ask = async {
        let mut asked = 0;
        while !done.load(Ordering::Relaxed) {
            let request = v1::QueryRequest { constraint: Some(has(VITALS)), ..v1::QueryRequest::default() };
            let pages = world.pages(request).await.expect("pages");
            let mut told: Vec<u64> = pages.iter().flat_map(|page| &page.entities).map(|e| e.entity).collect();
            told.sort_unstable();
            assert_eq!(told, ids, "query {asked}");
            assert_eq!(pages.last().map(|page| page.match_count), Some(AT_ONCE as u64));
            assert_eq!(world.count(has(VITALS)).await, AT_ONCE as u64);
            asked += 1;
        }
        asked
    };
    let ((), asked) = tokio::join!(write, ask);
    assert!(asked > 5, "{asked} queries");
}

/// With room for hardly anything the edge holds writers back again and again, and lets each of them go.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn writers_that_are_held_back_are_let_go() {
    let limits = "[limits]\npartition_queue_rows_max = 300\npartition_moves_in_flight_max = 20\n\
                  partition_writes_parked_max = 20";
    let world = World::launch(Launch::probe().config(limits));
    let write = async |n: u64| {
        let mut writer = world.attach("probe").await;
        let ids = make(&mut writer, ENTITIES).await;
        let mut last = 0;
        for round in 1..=ROUNDS as u64 {
            let seed = |id: u64| id * 1000 + round * 4 + n;
            let rows: Vec<_> =
                ids.iter().map(|&id| (id, scatter(seed(id) * 2), scatter(seed(id) * 2 + 1))).collect();
            last = writer.send(update(vec![positions(&rows)], vec![])).await;
        }
        assert_eq!(writer.decided(last).await, Outcome::default());
        assert!(writer.rejections.is_empty(), "{:?}", writer.rejections.first());
    };
    let started = Instant::now();
    tokio::join!(write(0), write(1), write(2), write(3));
    // A writer that is not woken would wait for a second or for good; the work takes about a second.
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!(world.count(has(VITALS)).await, 4 * ENTITIES as u64);
}

/// The number that the last message about the entity said, after checking that all of it is of one message.
fn round_of(viewer: &Client, id: u64) -> i32 {
    let hp = viewer.replica.component::<Vitals>(id, VITALS).expect("vitals").hp;
    let name = viewer.replica.component::<v1::Metadata>(id, METADATA).expect("metadata").name;
    let x = viewer.replica.position(id).expect("a position").x;
    assert_eq!(name, hp.to_string(), "entity {id}");
    let expected = if hp == 0 { 500.0 } else { 500.0 + f64::from(hp) };
    assert_eq!(x.abs(), expected, "entity {id} at hp {hp}");
    hp
}
