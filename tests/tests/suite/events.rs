//! Events: told once, in order, to whoever has the entity and component in view.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use spatialdb_proto::v1::{self, client_message::Body};
use spatialdb_tests::{
    BLOB_FIRST, Client, Event, Hit, Launch, Outcome, POSITION, VITALS, Vitals, World, box_xy, column,
    entity_ids, events, happen, has, http_get, new_rows, position_rows, positions, run, update, view,
};

const HIT: u32 = 1;
const HEALED: u32 = 2;
const BEAMED: u32 = 1;

/// So many entities with Vitals and Tag at (300, 300).
async fn make(client: &mut Client, count: u32) -> Vec<u64> {
    let rows = || vec![Bytes::new(); count as usize];
    let place = position_rows(&vec![(300.0, 300.0); count as usize]);
    let columns = vec![new_rows(VITALS, rows()), new_rows(BLOB_FIRST, rows())];
    client.create(v1::Create { count, positions: vec![place], columns, ..Default::default() }).await
}

fn hits(power: i32, entities: &[u64]) -> v1::EventColumn {
    events(VITALS, HIT, entities.iter().map(|&entity| (entity, Hit::bytes(power))))
}

fn power(event: &Event) -> i32 {
    assert_eq!((event.component, event.event), (VITALS, HIT));
    Hit::decode(event.payload.clone()).expect("a Hit").power
}

/// What was told of each entity.
fn powers(client: &Client) -> BTreeMap<u64, Vec<i32>> {
    let mut powers: BTreeMap<u64, Vec<i32>> = BTreeMap::new();
    for event in &client.replica.events {
        powers.entry(event.entity).or_default().push(power(event));
    }
    powers
}

/// Waits until the client has seen the last of what was written before.
async fn catch_up(writer: &mut Client, viewer: &mut Client, entity: u64) {
    let last = vec![column(BLOB_FIRST, [(entity, Bytes::from_static(b"\x0a\x01x"))])];
    assert_eq!(writer.write(update(vec![], last)).await, Outcome::default());
    viewer
        .until("the last write", |viewer| {
            viewer.replica.entities.get(&entity).is_some_and(|held| !held[&BLOB_FIRST].bytes.is_empty())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn events_are_told_once_in_order_behind_values_to_who_looks() {
    let world = World::launch(Launch::probe());
    let mut writer = world.attach("writer").await;
    let ids = make(&mut writer, 3).await;
    let mut viewer = world.attach("viewer").await;
    viewer.subscribe(view(1, has(VITALS))).await;
    // A second view of the same does not make it twice.
    viewer.subscribe(view(2, entity_ids(&ids))).await;
    let mut blind = world.attach("blind").await;
    blind.subscribe(v1::View { components: vec![BLOB_FIRST], ..view(1, has(VITALS)) }).await;
    let mut far = world.attach("far").await;
    far.subscribe(view(1, box_xy(-2000.0, -2000.0, -1900.0, -1900.0))).await;
    writer.subscribe(v1::View { components: vec![VITALS, BLOB_FIRST], ..view(1, has(VITALS)) }).await;

    for n in 1..=100 {
        let columns = vec![column(VITALS, ids.iter().map(|&id| (id, Vitals::hp(n).bytes())))];
        let events = vec![hits(n, &ids)];
        writer.send(Body::Update(v1::Update { columns, events, ..Default::default() })).await;
    }
    viewer.until("all events", |viewer| viewer.replica.events.len() == 300).await;
    for client in [&mut viewer, &mut blind] {
        catch_up(&mut writer, client, ids[0]).await;
    }
    let in_order: Vec<i32> = (1..=100).collect();
    assert_eq!(powers(&viewer), ids.iter().map(|&id| (id, in_order.clone())).collect());
    for event in &viewer.replica.events {
        let shown = Vitals::decode(event.value.clone().expect("in view")).expect("Vitals").hp;
        assert!(shown >= power(event), "an event came with hp {shown} before its value: {event:?}");
    }
    for client in [&blind, &far, &writer] {
        assert_eq!((client.replica.events.len(), client.replica.missed.len()), (0, 0));
    }

    // Its own come back to who asks for them.
    writer.subscribe(v1::View { own_updates: true, ..view(3, entity_ids(&ids[..1])) }).await;
    assert_eq!(writer.write(happen(vec![hits(1, &ids)])).await, Outcome::default());
    writer.until("its own event", |writer| !writer.replica.events.is_empty()).await;
    assert_eq!(powers(&writer), BTreeMap::from([(ids[0], vec![1])]));
    let metrics = http_get(world.address(), "/metrics").1;
    assert!(metrics.contains("spatialdb_session_events_total "), "{metrics}");
    let listed = run(&["schema", "--address", world.address()]).stdout;
    assert!(listed.contains("probe.Hit") && listed.contains("probe.Beamed"), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn bad_events_are_refused_alone() {
    let world = World::launch(Launch::probe());
    let mut writer = world.attach("writer").await;
    let ids = make(&mut writer, 2).await;
    let bare = writer.create(v1::Create { count: 1, ..Default::default() }).await[0];
    let mut viewer = world.attach("viewer").await;
    viewer.subscribe(view(1, has(VITALS))).await;
    let one = |event, payload: &'static [u8]| events(VITALS, event, [(ids[0], Bytes::from_static(payload))]);
    let long = v1::EventColumn { payloads: vec![], ..hits(1, &ids) };
    let large = events(POSITION, BEAMED, [(ids[0], Bytes::from(vec![0; (256 << 10) + 1]))]);
    let sent = vec![
        hits(1, &ids),
        one(9, b""),
        events(4711, HIT, [(ids[0], Bytes::new())]),
        events(6, HIT, [(ids[0], Bytes::new())]),
        long,
        large,
        one(HIT, b"\x08"),
        hits(2, &[0, 123_456, bare, ids[1]]),
        one(HEALED, b"\x08\x07"),
    ];
    let columns = vec![column(BLOB_FIRST, [(ids[0], Bytes::new())])];
    let body = Body::Update(v1::Update { columns, events: sent, ..Default::default() });
    let outcome = writer.write(body).await;
    let mut refused: Vec<_> =
        outcome.rejections.iter().map(|r| (r.column, r.row, r.reason.as_str(), r.entity)).collect();
    refused.sort_unstable();
    // Columns are counted through: that of values is number 0.
    assert_eq!(
        refused,
        [
            (2, 0, "EVENT_UNKNOWN", 0),
            (3, 0, "COMPONENT_UNKNOWN", 0),
            (4, 0, "COMPONENT_RESERVED", 0),
            (5, 0, "COLUMN_LENGTHS_DIFFER", 0),
            (6, 0, "VALUE_TOO_LARGE", ids[0]),
            (7, 0, "PAYLOAD_INVALID", ids[0]),
            (8, 0, "ENTITY_ID_INVALID", 0),
            (8, 1, "ENTITY_NOT_FOUND", 123_456),
            (8, 2, "COMPONENT_NOT_FOUND", bare),
        ]
    );
    let detail = |column| {
        let mut found = outcome.rejections.iter().filter(|r| r.column == column);
        found.next().map(|r| r.detail.as_str()).unwrap_or_default()
    };
    assert_eq!(detail(2), "component probe.Vitals has no event 9");
    assert_eq!(detail(6), "event probe.Beamed: 262145 bytes; value_bytes_max = 262144");
    assert!(detail(7).starts_with("event probe.Hit"), "{}", detail(7));
    // The others are told, and the session lives on.
    viewer.until("the good ones", |viewer| viewer.replica.events.len() == 4).await;
    let told: Vec<_> = viewer.replica.events.iter().map(|e| (e.event, e.entity)).collect();
    assert_eq!(told, [(HIT, ids[0]), (HIT, ids[1]), (HIT, ids[1]), (HEALED, ids[0])]);
    assert_eq!(writer.write(happen(vec![hits(3, &ids)])).await, Outcome::default());
    viewer.until("two more", |viewer| viewer.replica.events.len() == 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn events_stay_in_order_across_partitions_and_come_before_a_leave() {
    let world = World::launch(Launch::probe());
    let mut writer = world.attach("writer").await;
    let ids = make(&mut writer, 20).await;
    let mut viewer = world.attach("viewer").await;
    viewer.subscribe(view(1, has(VITALS))).await;
    for n in 1..=200 {
        // Each message is on the other side of a border; the event is written with the move.
        let side = |i: usize, bit: u32| if (n as u32 + i as u32) >> bit & 1 == 0 { -500.0 } else { 500.0 };
        let rows: Vec<_> = ids.iter().enumerate().map(|(i, &id)| (id, side(i, 0), side(i, 1))).collect();
        let (positions, events) = (vec![positions(&rows)], vec![hits(n, &ids)]);
        writer.send(Body::Update(v1::Update { positions, events, ..Default::default() })).await;
    }
    let last = writer.send(Body::Delete(v1::Delete { entities: ids.clone(), ..Default::default() })).await;
    assert_eq!(writer.decided(last).await, Outcome::default());
    viewer.until("all are deleted", |viewer| viewer.replica.deleted.len() == 20).await;
    let in_order: Vec<i32> = (1..=200).collect();
    assert_eq!(powers(&viewer), ids.iter().map(|&id| (id, in_order.clone())).collect());
    assert!(viewer.replica.missed.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_does_not_read_is_told_how_many_events_were_missed() {
    const ROUNDS: usize = 400;
    let world = World::launch(Launch::probe().config("[limits]\nsession_events_max = 100"));
    let mut writer = world.attach("writer").await;
    let ids = make(&mut writer, 10).await;
    let mut deaf = world.attach("deaf").await;
    deaf.subscribe(view(1, has(VITALS))).await;
    let mut keen = world.attach("keen").await;
    keen.subscribe(view(1, entity_ids(&ids[..1]))).await;
    // 40 MB that nobody reads.
    let filler = "x".repeat(10_000);
    for n in 1..=ROUNDS as i32 {
        let payload: Bytes = Hit { power: n, by: filler.clone() }.encode_to_vec().into();
        let column = events(VITALS, HIT, ids.iter().map(|&id| (id, payload.clone())));
        assert_eq!(writer.write(happen(vec![column])).await, Outcome::default());
        keen.until("its event", |keen| keen.replica.events.len() == n as usize).await;
    }
    deaf.until("all that was sent", |deaf| {
        deaf.replica.events.len() as u64 + deaf.replica.missed.values().sum::<u64>() == 10 * ROUNDS as u64
    })
    .await;
    let missed = deaf.replica.missed.clone();
    assert!(missed.len() == 1 && missed[&(VITALS, HIT)] > 100, "{missed:?}");
    for told in powers(&deaf).values() {
        assert!(told.windows(2).all(|pair| pair[0] < pair[1]), "{told:?}");
    }
    let metrics = http_get(world.address(), "/metrics").1;
    let count = format!("spatialdb_session_events_missed_total {}", missed[&(VITALS, HIT)]);
    assert!(metrics.contains(&count), "{count}: {metrics}");
    // It reads again, and misses no more.
    assert_eq!(writer.write(happen(vec![hits(7, &ids)])).await, Outcome::default());
    let told = deaf.replica.events.len();
    deaf.until("new ones", |deaf| deaf.replica.events.len() == told + 10).await;
    assert_eq!(deaf.replica.missed, missed);
}
