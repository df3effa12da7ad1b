//! What views can ask for: fields, places that move, rates by distance; and asking once over a session.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use spatialdb_proto::error_of_status;
use spatialdb_proto::v1::{self, Comparison, bands::From, client_message::Body};
use spatialdb_tests::{
    Client, Launch, Outcome, VITALS, Vitals, World, all, box_xy, column, entity_ids, field, has, near,
    new_rows, not, position_rows, positions, sphere, text, update, view,
};
use spatialdb_types::Reason;

async fn probe() -> (World, Client, Client) {
    let world = World::launch(Launch::probe());
    let (client, viewer) = (world.attach("probe").await, world.attach("viewer").await);
    (world, client, viewer)
}

/// Entities with `hp` 0, 1, 2, ... on a line from west to east over all partitions, 100 m apart.
async fn line(client: &mut Client, count: u32) -> Vec<u64> {
    let at: Vec<_> = (0..count).map(|i| (f64::from(i) * 100.0 - 750.0, 50.0)).collect();
    let columns = vec![new_rows(VITALS, (0..count as i32).map(|hp| Vitals::hp(hp).bytes()))];
    let positions = vec![position_rows(&at)];
    client.create(v1::Create { count, positions, columns, ..v1::Create::default() }).await
}

fn shown(viewer: &Client) -> BTreeSet<u64> {
    viewer.replica.entities.keys().copied().collect()
}

async fn until_shown(viewer: &mut Client, wanted: &[u64]) {
    let wanted: BTreeSet<u64> = wanted.iter().copied().collect();
    viewer.until("the view shows them", |viewer| shown(viewer) == wanted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn entities_enter_and_leave_as_a_field_changes() {
    let (_world, mut client, mut viewer) = probe().await;
    let ids = line(&mut client, 16).await;
    let strong = field(VITALS, "hp", Comparison::AtLeast, 10);
    assert_eq!(viewer.subscribe(view(1, strong)).await, 6);
    until_shown(&mut viewer, &ids[10..]).await;

    let hp = |i: usize, hp| column(VITALS, [(ids[i], Vitals::hp(hp).bytes())]);
    client.write(update(vec![], vec![hp(3, 99), hp(15, 0)])).await;
    let mut wanted = vec![ids[3]];
    wanted.extend(&ids[10..15]);
    until_shown(&mut viewer, &wanted).await;
    assert_eq!((viewer.replica.entered_count, viewer.replica.left_count), (7, 1));

    // What is not set is 0, and what lacks the component passes nothing.
    let weak = viewer.change_view(view(1, text("Vitals.hp = 0 or Vitals.hp in (4, 5)"))).await;
    assert_eq!(weak, 4);
    until_shown(&mut viewer, &[ids[0], ids[4], ids[5], ids[15]]).await;
    let other = viewer.change_view(view(1, text("Vitals.label != \"\" or Position.x > 700"))).await;
    assert_eq!(other, 1 + 16, "one of the line and two columns of posts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_view_follows_an_entity_over_borders_until_it_is_gone() {
    let (_world, mut client, mut viewer) = probe().await;
    let ids = line(&mut client, 16).await;
    let runner = client
        .create(v1::Create {
            count: 1,
            positions: vec![position_rows(&[(-750.0, 60.0)])],
            ..v1::Create::default()
        })
        .await[0];
    let around = || view(1, text(&format!("near {runner} within 120 and (has Vitals or id = {runner})")));
    assert_eq!(viewer.subscribe(around()).await, 3);
    until_shown(&mut viewer, &[runner, ids[0], ids[1]]).await;

    for i in 0..16 {
        client.write(update(vec![positions(&[(runner, f64::from(i) * 100.0 - 750.0, 60.0)])], vec![])).await;
    }
    until_shown(&mut viewer, &[runner, ids[14], ids[15]]).await;
    assert_eq!(viewer.ready.len(), 1, "what the server moves is not told as a change of the view");

    // Beside the line: nothing but itself. Without a position, and when it is gone: nothing at all.
    client.write(update(vec![positions(&[(runner, 0.0, 900.0)])], vec![])).await;
    until_shown(&mut viewer, &[runner]).await;
    client.write(Body::Delete(v1::Delete { entities: vec![runner], ..v1::Delete::default() })).await;
    until_shown(&mut viewer, &[]).await;
    assert_eq!(viewer.change_view(view(1, near(runner, 1e6))).await, 0);
    assert!(viewer.change_view(view(1, not(near(runner, 1e6)))).await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_near_is_told_more_often() {
    let (_world, mut client, mut viewer) = probe().await;
    let ids = line(&mut client, 16).await;
    let band = |radius_m, rate_hz| v1::Band { radius_m, rate_hz, components: vec![] };
    let bands =
        v1::Bands { from: Some(From::Entity(ids[0])), bands: vec![band(150.0, 0.0), band(650.0, 10.0)] };
    let banded = v1::View { rate_hz: 2.0, bands: Some(bands), ..view(1, has(VITALS)) };
    assert_eq!(viewer.subscribe(banded).await, 16);
    let revisions = |viewer: &Client, of: u64| viewer.replica.entities[&of][&VITALS].revision;
    let mut told = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
    let watched = [ids[1], ids[5], ids[12]];
    let started = Instant::now();
    let mut hp = 100;
    while started.elapsed() < Duration::from_secs(2) {
        hp += 1;
        let rows = watched.map(|id| (id, Vitals::hp(hp).bytes()));
        client.write(update(vec![], vec![column(VITALS, rows)])).await;
        // Each write is decided before the next: frames come in between.
        while let Ok(Some(_)) = tokio::time::timeout(Duration::from_millis(2), viewer.message()).await {}
        for (told, id) in told.iter_mut().zip(watched) {
            told.insert(revisions(&viewer, id));
        }
    }
    let counts = told.map(|revisions| revisions.len());
    let seconds = started.elapsed().as_secs_f64();
    assert!(counts[0] > 60, "at the full rate: {counts:?} in {seconds} s");
    assert!((10..=(seconds * 10.0) as usize + 3).contains(&counts[1]), "10 Hz: {counts:?} in {seconds} s");
    assert!((2..=(seconds * 2.0) as usize + 3).contains(&counts[2]), "2 Hz: {counts:?} in {seconds} s");
    let last = Vitals::hp(hp).bytes();
    let is_last =
        |viewer: &Client| watched.iter().all(|id| viewer.replica.entities[id][&VITALS].bytes == last);
    viewer.until("all show the last value", is_last).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_session_asks_once() {
    let (_world, mut client, mut viewer) = probe().await;
    let ids = line(&mut client, 16).await;
    let place = |x, y| Some(v1::Place { space: 0, point: Some(v1::Point { x, y, z: None }) });
    let ask = |constraint| v1::Ask { constraint: Some(constraint), ..v1::Ask::default() };

    let pages = viewer.ask(ask(has(VITALS))).await;
    let mut found: Vec<u64> = pages.iter().flat_map(|page| page.entities.clone()).collect();
    found.sort_unstable();
    assert_eq!((found, pages[0].match_count, pages.len()), (ids.clone(), 16, 1));
    assert_eq!(pages[0].columns[0].values.len(), 16);
    assert!(pages[0].distances_m.is_empty());

    let nearest =
        v1::Ask { limit: 3, nearest_to: place(-540.0, 50.0), components: vec![1], ..ask(has(VITALS)) };
    let page = viewer.ask(nearest).await.remove(0);
    assert_eq!((&page.entities[..], page.match_count), (&[ids[2], ids[3], ids[1]][..], 3));
    assert_eq!(page.distances_m, [10.0, 90.0, 110.0]);
    assert!(page.columns.is_empty() && page.positions[0].entities.len() == 3);

    let count = viewer.ask(v1::Ask { count_only: true, ..ask(box_xy(-1e4, -1e4, 1e4, 1e4)) }).await.remove(0);
    assert_eq!((count.match_count, count.entities.len()), (64 + 16, 0));

    // Many at once, each with its own answer.
    let mut seqs = Vec::new();
    for i in 0..200 {
        seqs.push((viewer.send(Body::Ask(ask(entity_ids(&[ids[i % 16]])))).await, ids[i % 16]));
    }
    for (seq, id) in seqs {
        viewer.until("its answer", |viewer| viewer.answers.iter().any(|page| page.seq == seq)).await;
        let page = viewer.answers.iter().find(|page| page.seq == seq).expect("it came");
        assert_eq!((&page.entities[..], page.last), (&[id][..], true));
    }

    for wrong in [ask(near(ids[0], 10.0)), v1::Ask { nearest_to: place(1e300, 0.0), ..ask(all()) }] {
        let outcome = viewer.write(Body::Ask(wrong)).await;
        assert_eq!(outcome.rejections[0].reason, "QUERY_INVALID");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_question_that_cannot_be_read_is_the_callers_fault() {
    let (world, _client, _viewer) = probe().await;
    for levels in [20, 1000] {
        let constraint = (0..levels).fold(all(), |inner, _| not(inner));
        let question = v1::QueryRequest { constraint: Some(constraint), ..v1::QueryRequest::default() };
        let error = error_of_status(&world.pages(question).await.expect_err("refused")).expect("ours");
        assert_eq!(error.reason, Reason::QueryInvalid);
        assert!(error.detail.contains("constraint_depth_max"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_smallest_queue_takes_writes_one_after_the_other() {
    let world = World::launch(Launch::probe().config("[limits]\npartition_queue_rows_max = 1"));
    let mut client = world.attach("probe").await;
    let ids = line(&mut client, 16).await;
    let vitals = column(VITALS, ids.iter().map(|&id| (id, Vitals::hp(1).bytes())));
    let mut last = 0;
    for _ in 0..200 {
        last = client.send(update(vec![], vec![vitals.clone()])).await;
    }
    assert_eq!(client.decided(last).await, Outcome::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_cannot_be_meant_is_refused_and_the_session_lives_on() {
    let (_world, mut client, mut viewer) = probe().await;
    let ids = line(&mut client, 4).await;
    let hp = |name, comparison| field(VITALS, name, comparison, 1);
    // The last one deeper than protobuf reads.
    let deep = |levels| (0..levels).fold(all(), |inner, _| not(inner));
    let bad = [
        (hp("hp", Comparison::Unspecified), "QUERY_INVALID", "comparison"),
        (hp("mana", Comparison::Equal), "FIELD_UNKNOWN", "hp"),
        (hp("label", Comparison::Equal), "QUERY_INVALID", "string"),
        (hp("marks", Comparison::Equal), "QUERY_INVALID", "repeated"),
        (hp("alive", Comparison::Less), "QUERY_INVALID", "order"),
        (field(4711, "hp", Comparison::Equal, 1), "COMPONENT_UNKNOWN", "4711"),
        (field(VITALS, "hp", Comparison::Equal, 1 << 40), "QUERY_INVALID", "int32"),
        (sphere(f64::NAN, 0.0, 1.0), "QUERY_INVALID", "sphere"),
        (sphere(0.0, 0.0, -1.0), "QUERY_INVALID", "radius_m"),
        (near(0, 10.0), "QUERY_INVALID", "above 0"),
        (near(ids[0], f64::INFINITY), "QUERY_INVALID", "radius_m"),
        (text("has Vitals and"), "QUERY_INVALID", "at "),
        (text("has Nonsense"), "COMPONENT_UNKNOWN", "at 4"),
        (deep(20), "QUERY_INVALID", "constraint_depth_max"),
        (deep(90), "QUERY_INVALID", "constraint_depth_max"),
        (deep(1000), "QUERY_INVALID", "constraint_depth_max"),
    ];
    for (constraint, reason, part) in bad {
        let body = Body::Subscribe(v1::Subscribe { view: Some(view(9, constraint.clone())) });
        let outcome = viewer.write(body).await;
        assert_eq!(outcome.rejections.len(), 1, "{constraint:?}");
        let rejection = &outcome.rejections[0];
        assert_eq!(rejection.reason, reason, "{rejection:?}");
        assert!(rejection.detail.contains(part), "{rejection:?} does not say {part}");
    }
    let band = |radius_m, rate_hz| v1::Band { radius_m, rate_hz, components: vec![] };
    let from = || Some(From::Entity(ids[0]));
    for (bands, part) in [
        (v1::Bands { from: None, bands: vec![band(1.0, 0.0)] }, "go out from"),
        (v1::Bands { from: from(), bands: vec![] }, "empty"),
        (v1::Bands { from: from(), bands: vec![band(f64::NAN, 0.0)] }, "NaN"),
        (v1::Bands { from: from(), bands: vec![band(2.0, 0.0), band(1.0, 0.0)] }, "larger"),
        (v1::Bands { from: from(), bands: vec![band(1.0, 5.0), band(2.0, 0.0)] }, "outwards"),
        (v1::Bands { from: from(), bands: vec![band(1.0, 0.0); 9] }, "view_bands_max"),
    ] {
        let banded = v1::View { rate_hz: 1.0, bands: Some(bands), ..view(9, has(VITALS)) };
        let outcome = viewer.write(Body::Subscribe(v1::Subscribe { view: Some(banded) })).await;
        assert!(outcome.rejections[0].detail.contains(part), "{outcome:?} does not say {part}");
    }
    assert_eq!(viewer.subscribe(view(9, has(VITALS))).await, 4);
}
