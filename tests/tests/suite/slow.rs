//! A client that writes and does not read harms nobody but itself.

use std::time::{Duration, Instant};

use bytes::Bytes;
use spatialdb_proto::v1;
use spatialdb_tests::{
    BLOB_FIRST, Launch, Outcome, VITALS, Value, Vitals, World, column, entity_ids, has, new_rows, update,
    view,
};

const ENTITIES: usize = 1000;
const VALUE_BYTES: usize = 2000;
const ROUNDS: u8 = 100;

fn blob(round: u8) -> Bytes {
    let mut value = vec![0x0a, (VALUE_BYTES & 0x7f) as u8 | 0x80, (VALUE_BYTES >> 7) as u8];
    value.resize(3 + VALUE_BYTES, round);
    value.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_client_that_writes_without_reading_stalls_only_itself() {
    let world = World::launch(Launch::probe());
    let mut deaf = world.attach("deaf").await;
    let mut other = world.attach("other").await;
    let rows = new_rows(BLOB_FIRST, (0..ENTITIES).map(|_| blob(0)));
    let ids =
        deaf.create(v1::Create { count: ENTITIES as u32, columns: vec![rows], ..Default::default() }).await;
    deaf.subscribe(v1::View { own_updates: true, ..view(1, has(BLOB_FIRST)) }).await;
    let mine = other
        .create(v1::Create {
            count: 1,
            columns: vec![new_rows(VITALS, [Vitals::hp(0).bytes()])],
            ..Default::default()
        })
        .await;
    let mut viewer = world.attach("viewer").await;
    viewer.subscribe(view(1, entity_ids(&mine))).await;

    // 200 MB in, of which a view at the full rate would send 200 MB back.
    let before = world.memory_bytes();
    let sent = VALUE_BYTES * ENTITIES * usize::from(ROUNDS);
    let mut slowest = Duration::ZERO;
    let mut last = 0;
    for round in 1..=ROUNDS {
        last = deaf
            .send(update(vec![], vec![column(BLOB_FIRST, ids.iter().map(|&id| (id, blob(round))))]))
            .await;
        // Meanwhile others write and see.
        let hp = i32::from(round);
        let started = Instant::now();
        let outcome =
            other.write(update(vec![], vec![column(VITALS, [(mine[0], Vitals::hp(hp).bytes())])])).await;
        assert_eq!(outcome, Outcome::default());
        viewer
            .until("the other's write", |viewer| {
                viewer.replica.component::<Vitals>(mine[0], VITALS).is_some_and(|found| found.hp == hp)
            })
            .await;
        slowest = slowest.max(started.elapsed());
    }
    let session_id = deaf.welcome.session_id;
    spatialdb_tests::eventually("all of it is written", || async {
        let latest =
            |one: &std::collections::BTreeMap<u32, Value>| one[&BLOB_FIRST].bytes.ends_with(&[ROUNDS]);
        world.query(has(BLOB_FIRST)).await.values().all(latest).then_some(())
    })
    .await;
    let stalled = world.session("it is listed", |one| one.session_id == session_id).await;
    assert!(stalled.staleness_us > 0);
    let grown = world.memory_bytes().saturating_sub(before) as usize;
    assert!(grown < sent / 4, "{grown} bytes more for {sent} that nobody read");
    assert!(slowest < Duration::from_secs(5), "another session waited {slowest:?}");

    // It reads again: the latest state, and not all that was between.
    let values = deaf.replica.value_count;
    assert_eq!(deaf.decided(last).await, Outcome::default());
    world.agrees(&mut deaf, has(BLOB_FIRST)).await;
    assert!(deaf.replica.entities.values().all(|one| one[&BLOB_FIRST].bytes.ends_with(&[ROUNDS])));
    let caught_up = (deaf.replica.value_count - values) as usize;
    assert!(caught_up < ENTITIES * usize::from(ROUNDS) / 4, "{caught_up} values to catch up");
}
