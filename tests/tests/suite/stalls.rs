//! Workers whose heartbeats go on while their own loop stands still.

use std::time::{Duration, Instant};

use spatialdb_proto::{v1, v1::client_message::Body};
use spatialdb_tests::{Client, DEADLINE, Launch, World};

const ALL: &str = "[[layers]]\nname = \"all\"\nworker_type = \"sim\"\nwrites = [\"Position\", \"Vitals\"]\n\
    [authority]\nlease_ttl = \"1s\"\n";

/// One of each space, and one of entities without a position.
const REGIONS: usize = 3;

/// Longer than heartbeats take to come, and to be answered.
const STALL_AFTER: &str = "stall_after = \"700ms\"\n";

async fn launched(authority: &str) -> World {
    World::launch(Launch::probe().config(&format!("{ALL}{authority}")))
}

/// Says that it lives, as a thread beside the worker's loop would: the loop has come to that frame.
async fn beat(client: &mut Client, seen_frame: u64) {
    client.send(Body::Heartbeat(v1::Heartbeat { load: 0.5, tick_ms: 3.0, seen_frame })).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// Takes what has come.
async fn read(client: &mut Client) {
    while tokio::time::timeout(Duration::from_millis(20), client.message()).await.is_ok() {}
}

/// Heartbeats of a loop that stands still until somebody else, who goes on, has all it had.
async fn lose_to(hanging: &mut Client, other: &mut Client, seen_frame: u64) {
    let start = Instant::now();
    while other.owned.regions.is_empty() {
        beat(hanging, seen_frame).await;
        read(other).await;
        other.report().await;
        beat(other, 0).await;
        assert!(start.elapsed() < DEADLINE, "who hangs keeps it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_heartbeats_and_reads_nothing_loses_what_it_has_until_it_goes_on() {
    let world = launched(STALL_AFTER).await;
    let mut ann = Client::attach(&world, "sim", "ann").await;
    let mut bob = Client::attach(&world, "sim", "bob").await;
    lose_to(&mut ann, &mut bob, 0).await;
    // Now she hangs, and he is gone: nobody gets anything.
    drop(bob);
    for _ in 0..30 {
        beat(&mut ann, 0).await;
    }
    ann.until("she was told why", |client| !client.owned.lost.is_empty()).await;
    assert_eq!(ann.owned.lost[0].reason, i32::from(v1::LossReason::Stalled));
    read(&mut ann).await;
    assert!(ann.owned.regions.is_empty(), "{:?}", ann.owned.regions);
    let state = world.admin().await.list_regions(v1::ListRegionsRequest::default()).await.expect("regions");
    let past = state.into_inner().regions.remove(0).before.expect("somebody had it");
    assert_eq!(past.reason, i32::from(v1::LossReason::Ended), "bob had it last");
    ann.report().await;
    ann.until("she goes on and gets it", |client| !client.owned.regions.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_names_the_same_frame_for_ever_hangs_and_who_names_the_last_does_not() {
    let world = launched(STALL_AFTER).await;
    let mut ann = Client::attach(&world, "sim", "ann").await;
    ann.until("she has all", |client| client.owned.regions.len() == REGIONS).await;
    ann.report().await;
    let mut bob = Client::attach(&world, "sim", "bob").await;
    let session = ann.welcome.session_id;
    // Nothing happens in this world but the answers to heartbeats, for more than twice as long as she may stand still.
    for _ in 0..30 {
        read(&mut ann).await;
        let last = ann.replica.last_frame();
        beat(&mut ann, last).await;
        beat(&mut bob, 0).await;
    }
    assert!(
        ann.owned.lost.is_empty() && ann.owned.regions.len() == REGIONS,
        "session {session} was only idle"
    );
    let last = ann.replica.last_frame();
    assert!(last > 0, "heartbeats are answered");
    lose_to(&mut ann, &mut bob, last).await;
    ann.until("she was told why", |client| !client.owned.lost.is_empty()).await;
    assert_eq!(ann.owned.lost[0].reason, i32::from(v1::LossReason::Stalled));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn without_stall_after_a_heartbeat_is_enough() {
    let world = launched("").await;
    let mut ann = Client::attach(&world, "sim", "ann").await;
    let mut bob = Client::attach(&world, "sim", "bob").await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        beat(&mut ann, 0).await;
        beat(&mut bob, 0).await;
    }
    read(&mut ann).await;
    read(&mut bob).await;
    assert_eq!((ann.owned.regions.len(), ann.owned.lost.len(), bob.owned.regions.len()), (REGIONS, 0, 0));
}
