//! Entities and components come and go.

use bytes::Bytes;
use spatialdb_proto::error_of_status;
use spatialdb_proto::v1::{self, client_message::Body};
use spatialdb_tests::{
    Client, Launch, METADATA, Outcome, POSITION, TAG, VITALS, Vitals, World, all_made, box_xy, column,
    entity_ids, has, metadata, new_rows, position_rows, positions, update, view,
};
use spatialdb_types::Reason;

async fn probe() -> (World, Client) {
    let world = World::launch(Launch::probe());
    let client = world.attach("probe").await;
    (world, client)
}

/// A create of Vitals with these numbers, nowhere.
fn vitals(hp: &[i32]) -> v1::Create {
    let columns = vec![new_rows(VITALS, hp.iter().map(|&hp| Vitals::hp(hp).bytes()))];
    v1::Create { count: hp.len() as u32, columns, ..v1::Create::default() }
}

async fn exists(world: &World, entity: u64) -> bool {
    match world.entity(entity).await {
        Ok(_) => true,
        Err(status) => {
            assert_eq!(error_of_status(&status).expect("ours").reason, Reason::EntityNotFound);
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_server_gives_ids_row_by_row() {
    let (world, mut client) = probe().await;
    let at = [(-500.0, -500.0), (500.0, 500.0), (-500.0, 500.0)];
    let create = v1::Create { positions: vec![position_rows(&at)], ..vitals(&[10, 11, 12]) };
    let ids = client.create(create).await;
    assert_eq!(ids.len(), 3);
    assert!(ids[0] >= 1000, "ids of the snapshot are not given again: {ids:?}");
    assert!(ids[0] < ids[1] && ids[1] < ids[2]);
    for (index, &id) in ids.iter().enumerate() {
        assert_eq!(world.component::<Vitals>(id, VITALS).await.hp, 10 + index as i32);
        let found = world.component::<v1::Position>(id, POSITION).await;
        assert_eq!((found.x, found.y), at[index]);
    }
    let more = client.create(vitals(&[1])).await;
    assert!(more[0] > ids[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn columns_may_name_their_rows() {
    let (world, mut client) = probe().await;
    let some = v1::Column { entities: vec![2, 0], ..new_rows(TAG, [Bytes::new(), Bytes::new()]) };
    let place = v1::PositionColumn { entities: vec![1], ..position_rows(&[(4.0, 5.0)]) };
    let create =
        v1::Create { count: 4, positions: vec![place], columns: vec![some], ..v1::Create::default() };
    let ids = client.create(create).await;
    let found = world.query(entity_ids(&ids)).await;
    let has: Vec<Vec<u32>> = ids.iter().map(|id| found[id].keys().copied().collect()).collect();
    assert_eq!(has, [vec![TAG], vec![POSITION], vec![TAG], vec![]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_bad_row_is_refused_alone() {
    let (world, mut client) = probe().await;
    let before = world.count(all_made()).await;
    let bad = v1::Column { entities: vec![1], ..new_rows(METADATA, [Bytes::from_static(b"\x0a\x09")]) };
    let names =
        v1::Column { entities: vec![0, 2], ..new_rows(METADATA, [metadata("", "a"), metadata("", "c")]) };
    let mut create = vitals(&[1, 2, 3]);
    create.columns.extend([bad, names]);
    let ids = client.create(create).await;
    assert!(ids[0] != 0 && ids[1] == 0 && ids[2] != 0, "{ids:?}");
    let [rejection] = &client.rejections[..] else { panic!("{:?}", client.rejections) };
    assert_eq!(
        (rejection.reason.as_str(), rejection.column, rejection.component),
        ("PAYLOAD_INVALID", 1, METADATA)
    );
    assert_eq!(world.count(all_made()).await, before + 2);
    assert_eq!(world.component::<v1::Metadata>(ids[2], METADATA).await.name, "c");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn bad_creates_are_refused_with_what_is_wrong() {
    let (world, mut client) = probe().await;
    let before = world.count(all_made()).await;
    let nan = v1::Create { positions: vec![position_rows(&[(f64::NAN, 0.0)])], ..vitals(&[1]) };
    let space = v1::PositionColumn { space: 5, ..position_rows(&[(0.0, 0.0)]) };
    let past = v1::Column { entities: vec![1], ..new_rows(TAG, [Bytes::new()]) };
    let listed = v1::Column { fields: vec![1], ..new_rows(VITALS, [Bytes::new()]) };
    let longer = v1::Column { entities: vec![0], ..new_rows(TAG, [Bytes::new(), Bytes::new()]) };
    let with = |column| v1::Create { count: 1, columns: vec![column], ..v1::Create::default() };
    let cases = [
        (nan, "POSITION_INVALID", "NaN"),
        (v1::Create { count: 1, positions: vec![space], ..Default::default() }, "SPACE_UNKNOWN", "5"),
        (with(past), "ENTITY_ID_INVALID", "row 1"),
        (with(listed), "FIELD_NOT_LISTED", "fields"),
        (with(longer), "COLUMN_LENGTHS_DIFFER", "2 values"),
        (with(new_rows(4242, [Bytes::new()])), "COMPONENT_UNKNOWN", "4242"),
        (with(new_rows(POSITION, [Bytes::new()])), "POSITION_IN_COLUMN", "PositionColumn"),
        (
            v1::Create { request_id: "x".repeat(65), ..vitals(&[1]) },
            "LIMIT_REACHED",
            "request_id_bytes_max = 64",
        ),
        (v1::Create { entities: vec![5000, 5001], ..vitals(&[1]) }, "COLUMN_LENGTHS_DIFFER", "2 entities"),
        (v1::Create { entities: vec![0], count: 0, ..Default::default() }, "ID_NOT_RESERVED", "0"),
        (v1::Create { count: 65_537, ..Default::default() }, "MESSAGE_TOO_LARGE", "message_rows_max = 65536"),
    ];
    for (create, reason, part) in cases {
        let seen = client.rejections.len();
        let ids = client.create(create.clone()).await;
        let rejections = &client.rejections[seen..];
        assert!(
            rejections.iter().any(|one| one.reason == reason && one.detail.contains(part)),
            "{create:?}: {rejections:?}"
        );
        // Rows past the end are nobody's, so the others are made.
        if reason != "ENTITY_ID_INVALID" {
            assert!(ids.iter().all(|&id| id == 0), "{ids:?}");
        }
    }
    assert!(world.count(all_made()).await <= before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_request_id_makes_a_retry_harmless() {
    let world = World::launch(Launch::probe());
    let mut client = Client::attach(&world, "probe", "one").await;
    let request = |id: &str, hp: &[i32]| v1::Create { request_id: id.to_owned(), ..vitals(hp) };
    let ids = client.create(request("a", &[1, 2])).await;
    let before = world.count(all_made()).await;
    assert_eq!(client.create(request("a", &[1, 2])).await, ids);
    // Even when other values come, or the entities are gone: it is the same request.
    client.write(Body::Delete(v1::Delete { entities: vec![ids[1]], ..Default::default() })).await;
    assert_eq!(client.create(request("a", &[8, 9])).await, ids);
    assert_eq!(world.component::<Vitals>(ids[0], VITALS).await.hp, 1);
    assert!(!exists(&world, ids[1]).await);

    // A new session of the same worker.
    let mut again = Client::attach(&world, "probe", "one").await;
    assert_eq!(again.create(request("a", &[1, 2])).await, ids);
    // Another worker's request is another request.
    let mut other = Client::attach(&world, "probe", "two").await;
    assert!(other.create(request("a", &[1, 2])).await[0] > ids[1]);
    assert_eq!(world.count(all_made()).await, before - 1 + 2);

    assert_eq!(again.create(request("a", &[1])).await, [0]);
    assert_eq!(again.rejections.last().map(|one| one.reason.as_str()), Some("REQUEST_ID_REUSED"));
    assert!(again.rejections[0].detail.contains("2 rows"), "{:?}", again.rejections);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn ids_are_chosen_from_reserved_blocks() {
    let world = World::launch(Launch::probe());
    let mut client = Client::attach(&world, "probe", "one").await;
    let mut other = Client::attach(&world, "probe", "two").await;
    let first = client.reserve(10).await;
    let theirs = other.reserve(10).await;
    assert!(theirs >= first + 10);
    let chosen = |ids: &[u64]| v1::Create { entities: ids.to_vec(), ..vitals(&vec![1; ids.len()]) };
    assert_eq!(client.create(chosen(&[first + 3, first])).await, [first + 3, first]);
    let before = world.count(all_made()).await;
    // A retry, also after a new attach, changes nothing.
    let mut client = Client::attach(&world, "probe", "one").await;
    assert_eq!(client.create(chosen(&[first, first + 3])).await, [first, first + 3]);
    assert_eq!(world.count(all_made()).await, before);
    assert!(client.rejections.is_empty());

    // Ids of others, of the snapshot, and of nobody.
    let ids = client.create(chosen(&[theirs, 1, 1 << 40, first + 5])).await;
    assert_eq!(ids, [0, 0, 0, first + 5]);
    let reasons: Vec<_> = client.rejections.iter().map(|one| (one.reason.as_str(), one.entity)).collect();
    assert_eq!(reasons, [("ID_NOT_RESERVED", theirs), ("ID_NOT_RESERVED", 1), ("ID_NOT_RESERVED", 1 << 40)]);

    // An id is never used twice, even when its entity is gone.
    client.write(Body::Delete(v1::Delete { entities: vec![first], ..Default::default() })).await;
    assert_eq!(client.create(chosen(&[first])).await, [first]);
    assert!(!exists(&world, first).await);

    let refused = client.write(Body::ReserveIds(v1::ReserveIds { count: 0 })).await;
    assert_eq!(refused.rejections[0].reason, "LIMIT_REACHED");
    let refused = client.write(Body::ReserveIds(v1::ReserveIds { count: (1 << 20) + 1 })).await;
    assert!(refused.rejections[0].detail.contains("reserve_ids_max = 1048576"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_deleted_is_gone_for_all() {
    let (world, mut client) = probe().await;
    let mut viewer = world.attach("viewer").await;
    viewer.subscribe(view(1, all_made())).await;
    let outcome =
        client.write(Body::Delete(v1::Delete { entities: vec![1, 64, 900, 0], ..Default::default() })).await;
    let mut refused: Vec<_> = outcome.rejections.iter().map(|one| (one.row, one.reason.as_str())).collect();
    refused.sort_unstable();
    assert_eq!(refused, [(2, "ENTITY_NOT_FOUND"), (3, "ENTITY_ID_INVALID")]);
    viewer.until("they leave", |viewer| viewer.replica.deleted.len() == 2).await;
    assert_eq!(viewer.replica.deleted.iter().copied().collect::<Vec<_>>(), [1, 64]);
    assert!(!exists(&world, 1).await && exists(&world, 2).await);

    let late = [
        update(vec![positions(&[(1, 0.0, 0.0)])], vec![]),
        update(vec![], vec![column(METADATA, [(1, metadata("", ""))])]),
        Body::AddComponents(v1::AddComponents {
            columns: vec![column(TAG, [(1, Bytes::new())])],
            ..Default::default()
        }),
        Body::RemoveComponents(v1::RemoveComponents {
            columns: vec![v1::ComponentEntities { component: METADATA, entities: vec![1] }],
            ..Default::default()
        }),
        Body::Delete(v1::Delete { entities: vec![1], ..Default::default() }),
    ];
    for body in late {
        let outcome = client.write(body).await;
        assert_eq!(outcome.rejections.len(), 1);
        assert_eq!(
            (outcome.rejections[0].reason.as_str(), outcome.rejections[0].entity),
            ("ENTITY_NOT_FOUND", 1)
        );
    }
    world.agrees(&mut viewer, all_made()).await;
    assert_eq!(viewer.replica.entities.len(), 62);
}

fn add(columns: Vec<v1::Column>) -> Body {
    Body::AddComponents(v1::AddComponents { columns, ..v1::AddComponents::default() })
}

fn remove(component: u32, entities: &[u64]) -> Body {
    let columns = vec![v1::ComponentEntities { component, entities: entities.to_vec() }];
    Body::RemoveComponents(v1::RemoveComponents { columns, ..v1::RemoveComponents::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn components_are_added_and_removed_in_view() {
    let (world, mut client) = probe().await;
    let (mut viewer, mut tagged) = (world.attach("viewer").await, world.attach("viewer").await);
    viewer.subscribe(view(1, entity_ids(&[1, 2]))).await;
    assert_eq!(tagged.subscribe(view(1, has(TAG))).await, 0);

    assert_eq!(
        client.write(add(vec![column(TAG, [(1, Bytes::new()), (2, Bytes::new())])])).await,
        Outcome::default()
    );
    tagged.until("both have it", |viewer| viewer.replica.ids() == [1, 2]).await;
    // One that is there already gets the new value.
    assert_eq!(
        client.write(add(vec![column(METADATA, [(1, metadata("new", ""))])])).await,
        Outcome::default()
    );
    viewer
        .until("it has both", |viewer| {
            let kind = viewer.replica.component::<v1::Metadata>(1, METADATA).map(|one| one.r#type);
            viewer.replica.entities[&1].contains_key(&TAG) && kind.as_deref() == Some("new")
        })
        .await;

    assert_eq!(client.write(remove(TAG, &[1])).await, Outcome::default());
    viewer.until("it is gone", |viewer| !viewer.replica.entities[&1].contains_key(&TAG)).await;
    tagged.until("one leaves", |viewer| viewer.replica.ids() == [2]).await;
    let refused = [remove(TAG, &[1]), update(vec![], vec![column(TAG, [(1, Bytes::new())])])];
    for body in refused {
        let outcome = client.write(body).await;
        assert_eq!(
            (outcome.rejections[0].reason.as_str(), outcome.rejections[0].component),
            ("COMPONENT_NOT_FOUND", TAG)
        );
    }
    let outcome = client.write(remove(4242, &[1])).await;
    assert_eq!(outcome.rejections[0].reason, "COMPONENT_UNKNOWN");
    world.agrees(&mut viewer, entity_ids(&[1, 2])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_entity_gets_a_place_and_loses_it() {
    let (world, mut client) = probe().await;
    let mut viewer = world.attach("viewer").await;
    let here = || box_xy(-100.0, -100.0, 100.0, 100.0);
    viewer.subscribe(view(1, here())).await;
    let mut by_id = world.attach("viewer").await;
    let ids = client.create(vitals(&[1, 2, 3, 4, 5, 6, 7, 8])).await;
    by_id.subscribe(view(1, entity_ids(&ids))).await;
    let refused = client.write(update(vec![positions(&[(ids[0], 0.0, 0.0)])], vec![])).await;
    assert_eq!(refused.rejections[0].reason, "COMPONENT_NOT_FOUND");

    for round in 0..5 {
        let rows: Vec<_> = ids.iter().map(|&id| (id, f64::from(round) - 2.0, 3.0)).collect();
        let place = Body::AddComponents(v1::AddComponents {
            positions: vec![positions(&rows)],
            ..Default::default()
        });
        assert_eq!(client.write(place).await, Outcome::default());
        viewer.until("they are here", |viewer| viewer.replica.ids() == ids).await;
        world.agrees(&mut viewer, here()).await;
        assert_eq!(client.write(remove(POSITION, &ids)).await, Outcome::default());
        viewer.until("they are nowhere", |viewer| viewer.replica.ids().is_empty()).await;
        assert!(viewer.replica.deleted.is_empty());
    }
    world.agrees(&mut by_id, entity_ids(&ids)).await;
    assert_eq!((by_id.replica.entered_count, by_id.replica.left_count), (8, 0));
    assert_eq!(world.component::<Vitals>(ids[7], VITALS).await.hp, 8);
}
