//! What a session is shown.

use std::time::{Duration, Instant};

use bytes::Bytes;
use spatialdb_proto::v1::{self, client_message::Body, constraint::Kind};
use spatialdb_tests::{
    Client, Launch, METADATA, Outcome, POSITION, TAG, VITALS, Vitals, World, all_made, all_of, any_of,
    box_xy, column, entity_ids, has, http_get, metadata, new_rows, not, position_rows, positions, sphere,
    update, view,
};

async fn probe() -> (World, Client, Client) {
    let world = World::launch(Launch::probe());
    let (client, viewer) = (world.attach("probe").await, world.attach("viewer").await);
    (world, client, viewer)
}

/// Sixteen entities with Vitals on a line through all of the ground; every second has a Tag; two more are nowhere.
async fn populate(client: &mut Client) -> Vec<u64> {
    let at: Vec<_> =
        (0..16).map(|i| (f64::from(i) * 100.0 - 750.0, f64::from(i % 4) * 400.0 - 600.0)).collect();
    let tags = v1::Column { entities: (0..16).step_by(2).collect(), ..new_rows(TAG, vec![Bytes::new(); 8]) };
    let place = v1::PositionColumn { entities: (0..16).collect(), ..position_rows(&at) };
    let vitals = new_rows(VITALS, (0..18).map(|hp| Vitals::hp(hp).bytes()));
    client
        .create(v1::Create {
            count: 18,
            positions: vec![place],
            columns: vec![vitals, tags],
            ..Default::default()
        })
        .await
}

fn constraints(ids: &[u64]) -> Vec<v1::Constraint> {
    let kind = |kind| v1::Constraint { kind: Some(kind) };
    let west = || box_xy(f64::NEG_INFINITY, -2000.0, 50.0, 2000.0);
    vec![
        all_made(),
        west(),
        box_xy(-50.0, -200.0, 50.0, -200.0),
        kind(Kind::Box(v1::Box { space: 0, min: None, max: None })),
        kind(Kind::Box(v1::Box { space: 7, min: None, max: None })),
        sphere(0.0, 0.0, 700.0),
        sphere(-750.0, -600.0, 0.0),
        kind(Kind::Cylinder(v1::Cylinder { radius_m: 700.0, max_z: Some(5.0), ..Default::default() })),
        kind(Kind::Space(v1::Space { space: 7 })),
        entity_ids(&[ids[3], 5, 123_456]),
        has(TAG),
        kind(Kind::HasComponentNamed("probe.Vitals".to_owned())),
        kind(Kind::HasComponentNamed("Tag".to_owned())),
        all_of(vec![west(), has(VITALS), not(has(TAG))]),
        any_of(vec![sphere(500.0, 500.0, 300.0), entity_ids(&ids[..2]), has(TAG)]),
        not(has(POSITION)),
        not(west()),
        all_of(vec![]),
        any_of(vec![]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_kind_of_view_is_what_its_query_says_at_rest_and_after_moves() {
    let (world, mut client, _) = probe().await;
    let ids = populate(&mut client).await;
    let mut viewers = Vec::new();
    for constraint in constraints(&ids) {
        let mut viewer = world.attach("viewer").await;
        let count = viewer.subscribe(view(1, constraint.clone())).await;
        assert_eq!(count, world.count(constraint.clone()).await, "{constraint:?}");
        assert_eq!(viewer.replica.entities.len() as u64, count, "{constraint:?}");
        world.agrees(&mut viewer, constraint.clone()).await;
        viewers.push((viewer, constraint));
    }
    for round in 1..=10 {
        let turn = f64::from(round) * 0.7;
        let rows: Vec<_> = ids[..16]
            .iter()
            .map(|&id| {
                let angle = turn + id as f64;
                (id, 800.0 * angle.sin(), 800.0 * (angle * 1.3).cos())
            })
            .collect();
        let vitals = column(VITALS, ids.iter().map(|&id| (id, Vitals::hp(round).bytes())));
        assert_eq!(client.write(update(vec![positions(&rows)], vec![vitals])).await, Outcome::default());
        for (viewer, constraint) in &mut viewers {
            world.agrees(viewer, constraint.clone()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_box_is_half_open_and_a_sphere_closed() {
    let (_world, mut client, mut viewer) = probe().await;
    let ids = client
        .create(v1::Create {
            count: 3,
            positions: vec![position_rows(&[(10.0, 20.0), (30.0, 20.0), (30.0, 40.0)])],
            ..Default::default()
        })
        .await;
    assert_eq!(viewer.subscribe(view(1, box_xy(10.0, 20.0, 30.0, 40.0))).await, 1);
    assert_eq!(viewer.replica.ids(), ids[..1]);
    assert_eq!(viewer.subscribe(view(2, sphere(10.0, 20.0, 20.0))).await, 2);
    assert_eq!(viewer.replica.ids(), ids[..2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_filter_sends_only_its_components_and_the_union_sends_each_once() {
    let (world, mut client, mut viewer) = probe().await;
    let ids = populate(&mut client).await;
    viewer.subscribe(v1::View { components: vec![VITALS], ..view(1, has(TAG)) }).await;
    assert_eq!(viewer.replica.entities.len(), 8);
    assert!(viewer.replica.entities.values().all(|components| components.keys().eq([&VITALS])));
    // A second view of some of them adds what the first lacks, and enters nobody twice.
    viewer
        .subscribe(v1::View { components: vec![POSITION, VITALS], ..view(2, entity_ids(&[ids[0], ids[1]])) })
        .await;
    let components =
        |viewer: &Client, id: u64| viewer.replica.entities[&id].keys().copied().collect::<Vec<_>>();
    assert_eq!(components(&viewer, ids[0]), [POSITION, VITALS]);
    assert_eq!(components(&viewer, ids[2]), [VITALS]);
    assert_eq!((viewer.replica.entered_count, viewer.replica.value_count), (9, 8 + 1 + 2));
    // Tags are in no filter: that they change is not told.
    let tag = column(TAG, [(ids[0], Bytes::new())]);
    client.write(update(vec![positions(&[(ids[0], 1.0, 1.0)])], vec![tag])).await;
    viewer.until("it moved", |viewer| viewer.replica.position(ids[0]).is_some_and(|at| at.x == 1.0)).await;
    assert_eq!(components(&viewer, ids[0]), [POSITION, VITALS]);

    viewer.write(Body::EndView(v1::EndView { view_id: 2 })).await;
    viewer
        .until("the rest stays", |viewer| {
            viewer.replica.entities.len() == 8 && components(viewer, ids[0]) == [VITALS]
        })
        .await;
    viewer.write(Body::EndView(v1::EndView { view_id: 1 })).await;
    viewer.until("nothing stays", |viewer| viewer.replica.entities.is_empty()).await;
    assert_eq!(viewer.replica.entered_count, viewer.replica.left_count);
    let session = world
        .session("no views", |session| {
            session.session_id == viewer.welcome.session_id && session.view_count == 0
        })
        .await;
    assert_eq!(session.entities_in_view, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn changing_a_view_sends_the_difference() {
    let (world, mut client, mut viewer) = probe().await;
    populate(&mut client).await;
    let west = || box_xy(-2000.0, -2000.0, 0.0, 2000.0);
    let wider = || box_xy(-2000.0, -2000.0, 150.0, 2000.0);
    let count = viewer.subscribe(view(1, west())).await;
    let before = viewer.replica.value_count;
    let wide = viewer.change_view(view(1, wider())).await;
    assert!(wide > count);
    assert_eq!((viewer.replica.entered_count, viewer.replica.left_count), (wide, 0));
    let new: usize =
        world.query(all_of(vec![wider(), not(west())])).await.values().map(|one| one.len()).sum();
    assert_eq!(viewer.replica.value_count - before, new as u64, "only what is new is sent");
    world.agrees(&mut viewer, wider()).await;

    let fills = viewer.ready.len();
    viewer.change_view(view(1, west())).await;
    world.agrees(&mut viewer, west()).await;
    assert_eq!((viewer.replica.entered_count, viewer.replica.left_count), (wide, wide - count));
    assert_eq!(viewer.ready.len(), fills + 1, "one view_ready for each change");
    assert_eq!(viewer.replica.repeated_count, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_rate_conflates() {
    let (_world, mut client, mut viewer) = probe().await;
    let mut full = Client::attach(&_world, "viewer", "full").await;
    viewer.subscribe(v1::View { rate_hz: 5.0, ..view(1, entity_ids(&[1])) }).await;
    full.subscribe(view(1, entity_ids(&[1]))).await;
    let (slow_before, full_before) = (viewer.replica.value_count, full.replica.value_count);
    let started = Instant::now();
    let mut x = 0.0;
    while started.elapsed() < Duration::from_secs(1) {
        x += 1.0;
        client.write(update(vec![positions(&[(1, x, 0.0)])], vec![])).await;
    }
    let is_there = move |viewer: &Client| viewer.replica.position(1).is_some_and(|at| at.x == x);
    viewer.until("the last position", is_there).await;
    full.until("the last position", is_there).await;
    let (slow, fast) = (viewer.replica.value_count - slow_before, full.replica.value_count - full_before);
    let at_most = (started.elapsed().as_secs_f64() * 5.0) as u64 + 2;
    assert!((2..=at_most).contains(&slow), "{slow} values at 5 Hz in {:?}", started.elapsed());
    assert!(fast > slow, "{fast} at the full rate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn bad_views_are_refused_with_the_part_and_the_rule() {
    let (_world, mut client, mut viewer) = probe().await;
    drop(client.write(Body::Heartbeat(v1::Heartbeat::default())).await);
    viewer.subscribe(view(1, has(TAG))).await;
    let subscribe = |view| Body::Subscribe(v1::Subscribe { view });
    let change = |view| Body::ChangeView(v1::ChangeView { view: Some(view) });
    let kind = |kind| v1::Constraint { kind: Some(kind) };
    let mut deep = all_made();
    for _ in 0..16 {
        deep = not(deep);
    }
    let ids: Vec<u64> = (1..=65_537).collect();
    let rate = |rate_hz| subscribe(Some(v1::View { rate_hz, ..view(9, all_made()) }));
    let of = |constraint| subscribe(Some(view(9, constraint)));
    let cases = [
        (subscribe(None), "QUERY_INVALID", "no view"),
        (subscribe(Some(view(0, all_made()))), "QUERY_INVALID", "view_id is 0"),
        (
            subscribe(Some(v1::View { view_id: 9, ..v1::View::default() })),
            "QUERY_INVALID",
            "constraint is empty",
        ),
        (subscribe(Some(view(1, all_made()))), "VIEW_EXISTS", "view 1"),
        (change(view(9, all_made())), "VIEW_NOT_FOUND", "9"),
        (Body::EndView(v1::EndView { view_id: 9 }), "VIEW_NOT_FOUND", "9"),
        (Body::EndView(v1::EndView { view_id: 0 }), "VIEW_NOT_FOUND", "0"),
        (rate(-1.0), "QUERY_INVALID", "rate_hz = -1"),
        (rate(f64::NAN), "QUERY_INVALID", "rate_hz = NaN"),
        (rate(1000.1), "QUERY_INVALID", "view_rate_hz_max = 1000"),
        (of(box_xy(f64::NAN, 0.0, 1.0, 1.0)), "QUERY_INVALID", "box: x"),
        (of(box_xy(0.0, 2.0, 1.0, 1.0)), "QUERY_INVALID", "box: y runs from 2 to 1"),
        (of(sphere(0.0, 0.0, -1.0)), "QUERY_INVALID", "sphere"),
        (of(sphere(0.0, 0.0, f64::NAN)), "QUERY_INVALID", "sphere"),
        (of(entity_ids(&[7, 0])), "ENTITY_ID_INVALID", "0: ids are above 0"),
        (of(entity_ids(&[1 << 53])), "ENTITY_ID_INVALID", "9007199254740992: ids are above 0 and below 2^53"),
        (
            of(kind(Kind::Cylinder(v1::Cylinder {
                min_z: Some(1.0),
                max_z: Some(0.0),
                ..Default::default()
            }))),
            "QUERY_INVALID",
            "cylinder: z",
        ),
        (of(kind(Kind::Space(v1::Space { space: 4711 }))), "SPACE_UNKNOWN", "4711"),
        (of(sphere(f64::INFINITY, 0.0, 1.0)), "QUERY_INVALID", "sphere"),
        (
            of(kind(Kind::Sphere(v1::Sphere { radius_m: 1.0, ..Default::default() }))),
            "QUERY_INVALID",
            "center",
        ),
        (of(deep), "QUERY_INVALID", "constraint_depth_max"),
        (of(any_of(vec![all_made(); 1024])), "QUERY_INVALID", "constraint_nodes_max"),
        (of(entity_ids(&ids)), "QUERY_INVALID", "constraint_entities_max = 65536"),
        (of(kind(Kind::Box(v1::Box { space: 3, min: None, max: None }))), "SPACE_UNKNOWN", "3"),
        (of(has(4242)), "COMPONENT_UNKNOWN", "4242"),
        (of(kind(Kind::HasComponentNamed("probe.Nothing".to_owned()))), "COMPONENT_UNKNOWN", "probe.Nothing"),
        (
            subscribe(Some(v1::View { components: vec![4242], ..view(9, all_made()) })),
            "COMPONENT_UNKNOWN",
            "4242",
        ),
    ];
    for (body, reason, part) in cases {
        let outcome = viewer.write(body).await;
        let [found] = &outcome.rejections[..] else { panic!("{reason} {part}: {outcome:?}") };
        assert_eq!(found.reason, reason, "{}", found.detail);
        assert!(found.detail.contains(part), "{:?} names {part}", found.detail);
    }
    // None of them left anything: id 9 is free, and view 1 is as it was.
    assert_eq!(viewer.subscribe(view(9, has(METADATA))).await, 64);
    client.write(update(vec![], vec![column(METADATA, [(1, metadata("a", "b"))])])).await;
    viewer
        .until("it goes on", |viewer| {
            viewer.replica.component::<v1::Metadata>(1, METADATA).is_some_and(|one| one.name == "b")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn views_beyond_the_limit_are_refused() {
    let world = World::launch(Launch::probe().config("[limits]\nsession_views_max = 3"));
    let mut viewer = world.attach("viewer").await;
    for id in 1..=3 {
        viewer.subscribe(view(id, entity_ids(&[id]))).await;
    }
    let outcome = viewer.write(Body::Subscribe(v1::Subscribe { view: Some(view(4, all_made())) })).await;
    assert_eq!(outcome.rejections[0].reason, "LIMIT_REACHED");
    assert!(outcome.rejections[0].detail.contains("session_views_max = 3"));
    viewer.write(Body::EndView(v1::EndView { view_id: 2 })).await;
    assert_eq!(viewer.subscribe(view(4, all_made())).await, 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_partitions_tell_at_the_same_time_is_one_frame() {
    let (world, mut client, mut viewer) = probe().await;
    let ids = populate(&mut client).await;
    viewer.subscribe(view(1, has(VITALS))).await;
    // So many that partitions make pauses, and meet.
    let mut others = Vec::new();
    for _ in 0..11 {
        let mut other = world.attach("other").await;
        other.subscribe(view(1, has(VITALS))).await;
        others.push(other);
    }
    let session_id = viewer.welcome.session_id;
    let published = || {
        let metrics = http_get(world.address(), "/metrics").1;
        let count =
            metrics.lines().find_map(|l| l.strip_prefix("spatialdb_partition_publish_seconds_count "));
        count.expect("it is told").parse::<u64>().expect("a number")
    };
    let sent =
        || async { world.session("it is listed", |one| one.session_id == session_id).await.frames_sent };
    let (frames, publishes) = (sent().await, published());
    for hp in 1..=500 {
        let vitals = column(VITALS, ids.iter().map(|&id| (id, Vitals::hp(hp).bytes())));
        client.send(update(vec![], vec![vitals])).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let is_last = |viewer: &Client| {
        ids.iter().all(|&id| viewer.replica.component::<Vitals>(id, VITALS).is_some_and(|v| v.hp == 500))
    };
    viewer.until("the last", is_last).await;
    let (frames, publishes) = (sent().await - frames, published() - publishes);
    assert!(publishes > 50 && frames * 3 < publishes * 2, "{frames} frames of {publishes} publishes");
}
