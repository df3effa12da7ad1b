//! `WorldService`: the world asked once.

use std::time::Duration;

use bytes::Bytes;
use spatialdb_proto::{
    error_of_status,
    v1::{self, client_message::Body},
};
use spatialdb_schema::Schema;
use spatialdb_tests::{
    BLOB_FIRST, Client, Launch, METADATA, POSITION, VITALS, World, all_made, box_xy, entity_ids, has,
    metadata, new_rows, not, position_rows, sphere, update, view,
};
use spatialdb_types::{ComponentId, Limits, Reason};
use tonic::Code;

fn request(constraint: v1::Constraint) -> v1::QueryRequest {
    v1::QueryRequest { constraint: Some(constraint), ..v1::QueryRequest::default() }
}

fn ids(pages: &[v1::QueryPage]) -> Vec<u64> {
    let mut ids: Vec<u64> =
        pages.iter().flat_map(|page| &page.entities).map(|entity| entity.entity).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn get_world_tells_what_runs() {
    let world = World::launch(Launch::probe());
    let told = world.tools().await.get_world(v1::GetWorldRequest {}).await.expect("told").into_inner();
    let session = world.attach("probe").await;
    assert_eq!((told.name.as_str(), told.entity_count, told.durability.as_str()), ("probe", 64, "memory"));
    assert_eq!((&told.world_id, told.incarnation), (&session.welcome.world_id, session.welcome.incarnation));
    assert_eq!(told.schema_digest, session.welcome.schema_digest);
    assert_eq!(told.server_version, env!("CARGO_PKG_VERSION"));
    assert_eq!((told.spaces, told.components), (session.welcome.spaces, session.welcome.components));
    assert_eq!(told.limits.len(), Limits::default().entries().len());
    assert_eq!(told.partitions.iter().map(|one| one.id).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(told.partitions.iter().map(|one| one.entity_count).sum::<u64>(), 64);
    assert!(
        told.partitions.iter().all(|one| one.entity_count == 16 && one.cell_count == 16),
        "{:?}",
        told.partitions
    );
    assert!(told.world_time_us > 0 && told.unix_time_us > 1_600_000_000_000_000);
    let again = World::launch(Launch::probe());
    let other = again.tools().await.get_world(v1::GetWorldRequest {}).await.expect("told").into_inner();
    assert!(other.incarnation > told.incarnation, "it rises with each start");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_query_gives_entities_with_the_components_asked_for() {
    let world = World::launch(Launch::probe());
    let pages = world.pages(request(box_xy(-1100.0, -1100.0, -700.0, -700.0))).await.expect("pages");
    assert_eq!(ids(&pages), [1, 2, 9, 10]);
    assert_eq!(pages.last().map(|page| page.match_count), Some(4));
    let first = pages.iter().flat_map(|page| &page.entities).find(|one| one.entity == 1).expect("it");
    let names: Vec<_> = first.components.iter().map(|value| (value.id, value.name.as_str())).collect();
    assert_eq!(names, [(POSITION, "spatialdb.v1.Position"), (METADATA, "spatialdb.v1.Metadata")]);
    assert!(first.components.iter().all(|value| value.revision > 0));

    for (names, expected) in [
        (vec!["Metadata"], vec![METADATA]),
        (vec!["spatialdb.v1.Position"], vec![POSITION]),
        (vec!["probe.Vitals"], vec![]),
        (vec!["Metadata", "Position", "Metadata"], vec![POSITION, METADATA]),
    ] {
        let components = names.iter().map(|&name| name.to_owned()).collect();
        let pages =
            world.pages(v1::QueryRequest { components, ..request(entity_ids(&[1])) }).await.expect("pages");
        let found: Vec<_> = pages[0].entities[0].components.iter().map(|value| value.id).collect();
        assert_eq!(found, expected, "{names:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_query_counts_all_and_sends_up_to_its_limit() {
    let world = World::launch(Launch::probe());
    for (limit, sent) in [(0, 64), (1, 1), (10, 10), (64, 64), (1000, 64), (u64::MAX, 64)] {
        let pages = world.pages(v1::QueryRequest { limit, ..request(all_made()) }).await.expect("pages");
        assert_eq!(
            (ids(&pages).len(), pages.last().map(|page| page.match_count)),
            (sent, Some(64)),
            "limit {limit}"
        );
    }
    let pages = world
        .pages(v1::QueryRequest { count_only: true, limit: 5, ..request(all_made()) })
        .await
        .expect("pages");
    assert_eq!((pages.len(), ids(&pages).len(), pages[0].match_count), (1, 0, 64));
    assert_eq!(world.count(not(all_made())).await, 0);
    assert_eq!(world.count(has(VITALS)).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn bad_questions_are_refused_with_a_reason() {
    let world = World::launch(Launch::probe());
    let unknown = v1::QueryRequest { components: vec!["earth.City".to_owned()], ..request(all_made()) };
    let cases = [
        (v1::QueryRequest::default(), Reason::QueryInvalid, "empty"),
        (request(v1::Constraint::default()), Reason::QueryInvalid, "empty"),
        (request(sphere(0.0, 0.0, -1.0)), Reason::QueryInvalid, "sphere"),
        (request(box_xy(1.0, 0.0, 0.0, 1.0)), Reason::QueryInvalid, "box: x"),
        (request(has(4242)), Reason::ComponentUnknown, "4242"),
        (unknown, Reason::ComponentUnknown, "earth.City"),
    ];
    for (question, reason, part) in cases {
        let status = world.pages(question).await.expect_err("refused");
        let error = error_of_status(&status).expect("ours");
        assert_eq!((status.code(), error.reason), (Code::InvalidArgument, reason));
        assert!(error.detail.contains(part), "{error}");
        assert!(status.message().contains(reason.name()), "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_entity_is_found_or_not() {
    let world = World::launch(Launch::probe());
    let found = world.entity(64).await.expect("found");
    assert_eq!((found.entity, found.components.len()), (64, 2));
    for entity in [0, 65, 999, 1 << 53, u64::MAX] {
        let status = world.entity(entity).await.expect_err("not there");
        assert_eq!(status.code(), Code::NotFound);
        let error = error_of_status(&status).expect("ours");
        assert_eq!(error.reason, Reason::EntityNotFound);
        assert!(error.detail.contains(&entity.to_string()), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_schema_of_a_running_world_can_be_used_by_a_stranger() {
    let world = World::launch(Launch::probe());
    let told = world.tools().await.get_schema(v1::GetSchemaRequest {}).await.expect("told").into_inner();
    let schema = Schema::from_descriptor_set(&told.descriptor_set).expect("a schema");
    assert_eq!(schema.digest(), told.digest);
    let told: Vec<_> = told.components.iter().map(|one| (one.id, one.name.as_str())).collect();
    let read: Vec<_> = schema.components().iter().map(|one| (one.id().0, one.name())).collect();
    assert_eq!(told, read);
    let metadata = schema.component(ComponentId(METADATA)).expect("built in");
    let found = world.query(entity_ids(&[7])).await;
    let json = metadata.to_json(&found[&7][&METADATA].bytes).expect("it reads");
    assert_eq!(json["name"], "post 7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sessions_are_listed_with_how_they_do() {
    let world = World::launch(Launch::probe());
    let mut writer = Client::attach(&world, "probe", "writer").await;
    let mut viewer = Client::attach(&world, "probe", "viewer").await;
    viewer.subscribe(view(1, all_made())).await;
    viewer.subscribe(view(2, has(METADATA))).await;
    let rows = (1..=10).map(|id| (id, metadata("", "new")));
    writer.write(update(vec![], vec![spatialdb_tests::column(METADATA, rows)])).await;
    world.agrees(&mut viewer, all_made()).await;
    let sessions = world.sessions().await;
    assert_eq!(sessions.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["writer", "viewer"]);
    let [writer, viewer] = &sessions[..] else { panic!("two") };
    assert_eq!(
        (writer.updates_received, writer.view_count, writer.applied_seq, writer.rows_in_flight),
        (10, 0, 2, 0)
    );
    assert_eq!((viewer.updates_received, viewer.view_count, viewer.entities_in_view), (0, 2, 64));
    assert!(viewer.frames_sent > 0 && viewer.staleness_us > 0, "{viewer:?}");
    assert!(viewer.staleness_us < 30_000_000 && viewer.connected_unix_time_us > 1_600_000_000_000_000);
}

/// A world that answers one query at a time, with more blobs than wait in a connection.
async fn one_at_a_time() -> World {
    let world = World::launch(Launch::probe().config("[limits]\nqueries_at_once_max = 1"));
    let mut writer = world.attach("writer").await;
    for _ in 0..12 {
        let data = [&b"\x0a\x90\xa1\x0f"[..], &[7; 250_000]].concat();
        let columns = vec![new_rows(BLOB_FIRST, vec![Bytes::from(data); 8])];
        let positions = vec![position_rows(&[(0.0, 0.0); 8])];
        writer.create(v1::Create { count: 8, positions, columns, ..v1::Create::default() }).await;
    }
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_call_whose_answer_is_not_read_gives_its_place_to_others() {
    let world = one_at_a_time().await;
    let mut unread = world.tools().await.query(request(has(BLOB_FIRST))).await.expect("begun").into_inner();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let pages = world.pages(request(has(METADATA))).await.expect("a place, after a while");
    assert_eq!(ids(&pages).len(), 64);
    let status = loop {
        match unread.message().await {
            Ok(Some(page)) => assert!(!page.last, "it was given up"),
            Ok(None) => panic!("it ends with an error"),
            Err(status) => break status,
        }
    };
    assert_eq!(error_of_status(&status).expect("ours").reason, Reason::LimitReached);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_does_not_read_an_answer_gives_its_place_to_others() {
    let world = one_at_a_time().await;
    let mut hog = world.attach("hog").await;
    let all = v1::Ask { constraint: Some(has(BLOB_FIRST)), ..v1::Ask::default() };
    let seqs = [hog.send(Body::Ask(all.clone())).await, hog.send(Body::Ask(all)).await];
    tokio::time::sleep(Duration::from_millis(300)).await;
    let pages = world.pages(request(has(METADATA))).await.expect("a place, after a while");
    assert_eq!(ids(&pages).len(), 64);
    // It lives on, and hears that it is not answered, or not in full.
    let mut refused = 0;
    for seq in seqs {
        let outcome = hog.decided(seq).await;
        let told = outcome.rejections.iter().find(|rejection| rejection.seq == seq);
        refused += usize::from(told.is_some_and(|told| {
            told.reason == "LIMIT_REACHED" && told.detail.contains("queries_at_once_max = 1")
        }));
    }
    assert!(refused > 0);
    let few = v1::Ask { constraint: Some(entity_ids(&[1])), ..v1::Ask::default() };
    let seq = hog.send(Body::Ask(few)).await;
    hog.until("an answer", |hog| hog.answers.iter().any(|page| page.seq == seq && page.last)).await;
}
