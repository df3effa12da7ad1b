//! Updates: what is taken, what is refused and how.

use bytes::Bytes;
use spatialdb_proto::{v1, v1::client_message::Body, wire_code};
use spatialdb_tests::{
    BLOB_FIRST, Client, Launch, METADATA, Outcome, POSITION, TAG, VITALS, Vitals, World, all_made, box_xy,
    column, has, metadata, new_rows, partial, position_rows, positions, update, view,
};
use spatialdb_types::Reason;

const ONE: u64 = 1;
const NOBODY: u64 = 900;
const VITALS_NAME: &str = "probe.Vitals";

async fn probe() -> (World, Client) {
    let world = World::launch(Launch::probe());
    let client = world.attach("probe").await;
    (world, client)
}

/// Makes entities with a Position and Vitals.
async fn make(client: &mut Client, at: &[(f64, f64)]) -> Vec<u64> {
    let columns = vec![new_rows(VITALS, at.iter().map(|_| Vitals::full().bytes()))];
    client
        .create(v1::Create {
            count: at.len() as u32,
            positions: vec![position_rows(at)],
            columns,
            ..Default::default()
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn positions_and_values_are_written() {
    let (world, mut client) = probe().await;
    let high = v1::PositionColumn { z: vec![5.5], ..positions(&[(ONE, -7.25, 1e9)]) };
    let cellar = v1::PositionColumn { space: 7, ..positions(&[(2, 1.0, 2.0)]) };
    let outcome = client
        .write(update(vec![high, cellar], vec![column(METADATA, [(ONE, metadata("tree", "oak"))])]))
        .await;
    assert_eq!(outcome, Outcome::default());
    let at = |space, x, y, z| v1::Position { space, x, y, z };
    assert_eq!(world.component::<v1::Position>(ONE, POSITION).await, at(0, -7.25, 1e9, 5.5));
    assert_eq!(world.component::<v1::Position>(2, POSITION).await, at(7, 1.0, 2.0, 0.0));
    let found = world.component::<v1::Metadata>(ONE, METADATA).await;
    assert_eq!((found.r#type.as_str(), found.name.as_str()), ("tree", "oak"));
}

/// One bad update and the only rejection it must get.
struct Bad {
    body: Body,
    reason: Reason,
    at: (u32, u32, u64, u32),
    says: &'static [&'static str],
}

fn bad_position(
    column: v1::PositionColumn,
    reason: Reason,
    row: u32,
    entity: u64,
    says: &'static [&'static str],
) -> Bad {
    Bad { body: update(vec![column], vec![]), reason, at: (0, row, entity, POSITION), says }
}

fn bad_value(
    column: v1::Column,
    reason: Reason,
    row: u32,
    entity: u64,
    says: &'static [&'static str],
) -> Bad {
    let component = column.component;
    Bad { body: update(vec![], vec![column]), reason, at: (0, row, entity, component), says }
}

fn bad_positions() -> Vec<Bad> {
    let good = || positions(&[(ONE, 1.0, 1.0), (2, 2.0, 2.0)]);
    let x = |x: f64| positions(&[(ONE, 1.0, 1.0), (2, x, 2.0)]);
    let z = |z: f64| v1::PositionColumn { z: vec![0.0, z], ..good() };
    let lengths: &[&str] = &["2 entities", "1 x", "2 y"];
    let far = (1_u64 << 40) as f64;
    vec![
        bad_position(x(f64::NAN), Reason::PositionInvalid, 1, 2, &["NaN"]),
        bad_position(x(f64::INFINITY), Reason::PositionInvalid, 1, 2, &["inf"]),
        bad_position(x(-f64::INFINITY), Reason::PositionInvalid, 1, 2, &["inf"]),
        bad_position(x(far * 1.001), Reason::PositionInvalid, 1, 2, &["position_abs_m_max = 1099511627776"]),
        bad_position(z(f64::NAN), Reason::PositionInvalid, 1, 2, &["NaN"]),
        bad_position(z(-2.0 * far), Reason::PositionInvalid, 1, 2, &["position_abs_m_max"]),
        bad_position(v1::PositionColumn { space: 3, ..good() }, Reason::SpaceUnknown, 0, 0, &["3"]),
        bad_position(
            v1::PositionColumn { x: vec![1.0], ..good() },
            Reason::ColumnLengthsDiffer,
            0,
            0,
            lengths,
        ),
        bad_position(v1::PositionColumn { y: vec![], ..good() }, Reason::ColumnLengthsDiffer, 0, 0, &["0 y"]),
        bad_position(
            v1::PositionColumn { z: vec![1.0], ..good() },
            Reason::ColumnLengthsDiffer,
            0,
            0,
            &["1 z"],
        ),
        bad_position(positions(&[(0, 1.0, 1.0)]), Reason::EntityIdInvalid, 0, 0, &["entity 0"]),
        bad_position(positions(&[(1 << 53, 1.0, 1.0)]), Reason::EntityIdInvalid, 0, 1 << 53, &["2^53"]),
        bad_position(positions(&[(u64::MAX, 1.0, 1.0)]), Reason::EntityIdInvalid, 0, u64::MAX, &["2^53"]),
        bad_position(
            positions(&[(ONE, 9.0, 9.0), (NOBODY, 1.0, 1.0)]),
            Reason::EntityNotFound,
            1,
            NOBODY,
            &["900"],
        ),
    ]
}

fn bad_values(id: u64) -> Vec<Bad> {
    let value = |bytes: &'static [u8]| column(VITALS, [(id, Bytes::from_static(bytes))]);
    let large = column(BLOB_FIRST, [(id, Bytes::from(vec![0; (256 << 10) + 1]))]);
    let long = v1::Column { values: vec![Bytes::new(), Bytes::new()], ..value(b"") };
    let full = Vitals::full().bytes();
    vec![
        bad_value(column(4242, [(ONE, Bytes::new())]), Reason::ComponentUnknown, 0, 0, &["4242"]),
        bad_value(column(0, [(ONE, Bytes::new())]), Reason::ComponentUnknown, 0, 0, &["0"]),
        bad_value(
            column(POSITION, [(ONE, Bytes::new())]),
            Reason::PositionInColumn,
            0,
            0,
            &["PositionColumn"],
        ),
        bad_value(long, Reason::ColumnLengthsDiffer, 0, 0, &["1 entities", "2 values"]),
        bad_value(column(VITALS, [(NOBODY, full.clone())]), Reason::EntityNotFound, 0, NOBODY, &["900"]),
        bad_value(column(VITALS, [(ONE, full.clone())]), Reason::ComponentNotFound, 0, ONE, &["1", "1000"]),
        bad_value(column(VITALS, [(0, full)]), Reason::EntityIdInvalid, 0, 0, &["entity 0"]),
        bad_value(
            large,
            Reason::ValueTooLarge,
            0,
            id,
            &["262145", "value_bytes_max = 262144", "probe.Blob0"],
        ),
        // hp as a text; a text that is no UTF-8; one that ends early; a group; field 0; inside of legs[1].
        bad_value(value(b"\x0a\x01x"), Reason::PayloadInvalid, 0, id, &[VITALS_NAME, "hp"]),
        bad_value(
            value(b"\x12\x02\xff\xfe"),
            Reason::PayloadInvalid,
            0,
            id,
            &[VITALS_NAME, "label", "UTF-8"],
        ),
        bad_value(value(b"\x12\x09abc"), Reason::PayloadInvalid, 0, id, &[VITALS_NAME, "label"]),
        bad_value(value(b"\x0b\x0c"), Reason::PayloadInvalid, 0, id, &[VITALS_NAME]),
        bad_value(value(b"\x00\x00"), Reason::PayloadInvalid, 0, id, &[VITALS_NAME]),
        bad_value(
            value(b"\x42\x00\x42\x02\x08\x01"),
            Reason::PayloadInvalid,
            0,
            id,
            &[VITALS_NAME, "legs[1].name"],
        ),
        bad_value(
            partial(VITALS, &[99], [(id, Bytes::new())]),
            Reason::FieldUnknown,
            0,
            0,
            &[VITALS_NAME, "99"],
        ),
        bad_value(
            partial(VITALS, &[2], [(id, Vitals::hp(3).bytes())]),
            Reason::FieldNotListed,
            0,
            id,
            &[VITALS_NAME, "hp"],
        ),
        bad_value(
            partial(VITALS, &[1], [(id, Bytes::from_static(b"\x98\x06\x01"))]),
            Reason::FieldUnknown,
            0,
            id,
            &[VITALS_NAME, "99"],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_bad_row_or_column_is_refused_alone_and_says_why() {
    let (world, mut client) = probe().await;
    let ids = make(&mut client, &[(1.0, 1.0)]).await;
    let id = ids[0];
    client
        .write(Body::AddComponents(v1::AddComponents {
            columns: vec![column(BLOB_FIRST, [(id, Bytes::new())])],
            ..Default::default()
        }))
        .await;
    for bad in bad_positions().into_iter().chain(bad_values(id)) {
        let outcome = client.write(bad.body.clone()).await;
        let [found] = &outcome.rejections[..] else { panic!("{:?}: one, not {outcome:?}", bad.body) };
        assert_eq!(found.reason, bad.reason.name(), "{found:?}");
        assert_eq!(found.code, wire_code(bad.reason.code()) as i32);
        assert_eq!((found.column, found.row, found.entity, found.component), bad.at, "{found:?}");
        for part in bad.says {
            assert!(found.detail.contains(part), "{:?} names {part}", found.detail);
        }
    }
    assert_eq!(world.component::<Vitals>(id, VITALS).await, Vitals::full());
    // The good row beside the bad one was written: the last of the cases moved entity 1.
    assert_eq!(world.component::<v1::Position>(ONE, POSITION).await.x, 9.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn columns_of_one_message_are_numbered_positions_first() {
    let (_world, mut client) = probe().await;
    let good = column(METADATA, [(ONE, metadata("a", "b"))]);
    let bad = column(METADATA, [(2, metadata("a", "b")), (NOBODY, metadata("a", "b"))]);
    let outcome = client
        .write(update(vec![positions(&[(NOBODY, 0.0, 0.0)]), positions(&[(3, 0.0, 0.0)])], vec![good, bad]))
        .await;
    let mut found: Vec<_> = outcome.rejections.iter().map(|one| (one.column, one.row, one.entity)).collect();
    found.sort_unstable();
    assert_eq!(found, [(0, 0, NOBODY), (3, 1, NOBODY)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rejections_beyond_the_bound_become_counts() {
    let world = World::launch(Launch::probe().config("[limits]\nrejections_per_frame_max = 10"));
    let mut client = world.attach("probe").await;
    let rows: Vec<_> = (2000..3000).map(|id| (id, metadata("", ""))).collect();
    let outcome = client.write(update(vec![], vec![column(METADATA, rows)])).await;
    let counted: u64 = outcome.collapsed.iter().map(|one| one.count).sum();
    assert!(outcome.collapsed.iter().all(|one| one.reason == "ENTITY_NOT_FOUND"));
    assert_eq!(outcome.rejections.len() as u64 + counted, 1000);
    assert!((10..=40).contains(&outcome.rejections.len()), "{}", outcome.rejections.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn too_many_rows_refuse_the_message() {
    let world = World::launch(Launch::probe().config("[limits]\nmessage_rows_max = 3"));
    let mut client = world.attach("probe").await;
    let rows = (1..=4).map(|id| (id, 5.0, 5.0)).collect::<Vec<_>>();
    let outcome = client
        .write(update(
            vec![positions(&rows[..2])],
            vec![column(METADATA, [(1, metadata("", "")), (2, metadata("", ""))])],
        ))
        .await;
    assert_eq!(outcome.rejections.len(), 1);
    assert_eq!(outcome.rejections[0].reason, "MESSAGE_TOO_LARGE");
    assert!(outcome.rejections[0].detail.contains("message_rows_max = 3"), "{outcome:?}");
    assert_eq!(world.component::<v1::Metadata>(1, METADATA).await.name, "post 1");
    assert_eq!(client.write(update(vec![positions(&rows[..3])], vec![])).await, Outcome::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_entity_twice_in_a_column_is_written_twice() {
    let (world, mut client) = probe().await;
    let mut viewer = world.attach("viewer").await;
    viewer.subscribe(view(1, box_xy(-90.0, -90.0, 90.0, 90.0))).await;
    let body = update(
        vec![positions(&[(ONE, 10.0, 0.0), (ONE, 20.0, 0.0)])],
        vec![column(METADATA, [(ONE, metadata("", "x")), (ONE, metadata("", "y"))])],
    );
    assert_eq!(client.write(body).await, Outcome::default());
    assert_eq!(world.component::<v1::Metadata>(ONE, METADATA).await.name, "y");
    assert_eq!(world.component::<v1::Position>(ONE, POSITION).await.x, 20.0);
    let first = revision(&world, ONE, METADATA).await;
    client
        .write(update(vec![], vec![column(METADATA, [(ONE, metadata("", "z")), (ONE, metadata("", "y"))])]))
        .await;
    assert!(revision(&world, ONE, METADATA).await >= first + 2, "each write has its revision");
    world.agrees(&mut viewer, box_xy(-90.0, -90.0, 90.0, 90.0)).await;
}

async fn revision(world: &World, entity: u64, component: u32) -> u64 {
    let found = world.entity(entity).await.expect("there");
    found.components.iter().find(|value| value.id == component).expect("it has it").revision
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn revisions_never_start_again() {
    let (world, mut client) = probe().await;
    let ids = make(&mut client, &[(-500.0, -500.0)]).await;
    let mut last = revision(&world, ids[0], VITALS).await;
    for round in 0..20 {
        let x = if round % 2 == 0 { 500.0 } else { -500.0 };
        let body = match round % 4 {
            // The component goes and comes back; the entity moves between partitions meanwhile.
            0 => {
                let entities = ids.clone();
                client
                    .write(Body::RemoveComponents(v1::RemoveComponents {
                        columns: vec![v1::ComponentEntities { component: VITALS, entities }],
                        ..Default::default()
                    }))
                    .await;
                Body::AddComponents(v1::AddComponents {
                    positions: vec![positions(&[(ids[0], x, x)])],
                    columns: vec![column(VITALS, [(ids[0], Vitals::hp(round).bytes())])],
                    ..Default::default()
                })
            }
            _ => update(
                vec![positions(&[(ids[0], x, x)])],
                vec![column(VITALS, [(ids[0], Vitals::hp(round).bytes())])],
            ),
        };
        assert_eq!(client.write(body).await, Outcome::default());
        let next = revision(&world, ids[0], VITALS).await;
        assert!(next > last && next < 1 << 53, "round {round}: {next} after {last}");
        last = next;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn own_updates_come_back_only_if_asked_for() {
    let (world, mut client) = probe().await;
    let mut other = world.attach("other").await;
    client.subscribe(view(1, has(TAG))).await;
    let columns = vec![new_rows(TAG, [Bytes::new()]), new_rows(VITALS, [Vitals::hp(0).bytes()])];
    let ids = client.create(v1::Create { count: 1, columns, ..Default::default() }).await;
    let hp = |client: &Client| client.replica.component::<Vitals>(ids[0], VITALS).map(|vitals| vitals.hp);
    let write = |hp| update(vec![], vec![column(VITALS, [(ids[0], Vitals::hp(hp).bytes())])]);
    // What it made comes into view as anything else does.
    client.until("it is in view", |client| hp(client) == Some(0)).await;
    for value in 1..=50 {
        client.write(write(value)).await;
    }
    // Messages of others show that nothing of its own was held back.
    other.write(update(vec![], vec![column(TAG, [(ids[0], Bytes::new())])])).await;
    let tag = world
        .entity(ids[0])
        .await
        .expect("there")
        .components
        .iter()
        .find(|one| one.id == TAG)
        .expect("tag")
        .revision;
    client.until("the other's write", |client| client.replica.entities[&ids[0]][&TAG].revision == tag).await;
    assert_eq!(hp(&client), Some(0), "its own writes do not come back");
    other.write(write(77)).await;
    client.until("the other's write", |client| hp(client) == Some(77)).await;

    client.change_view(v1::View { own_updates: true, ..view(1, has(TAG)) }).await;
    client.write(write(78)).await;
    client.until("its own write", |client| hp(client) == Some(78)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn order_is_kept_for_each_entity() {
    let (world, mut client) = probe().await;
    let mut viewer = world.attach("viewer").await;
    let ids = make(&mut client, &[(1.0, 1.0), (600.0, -600.0)]).await;
    viewer.subscribe(view(1, has(VITALS))).await;
    for hp in 1..=2000 {
        let rows = ids.iter().map(|&id| (id, Vitals::hp(hp).bytes()));
        client.send(update(vec![], vec![column(VITALS, rows)])).await;
    }
    let (mut last, mut seen) = ([0; 2], 0);
    while last != [2000, 2000] {
        viewer.message().await.expect("frames");
        for (slot, id) in last.iter_mut().zip(&ids) {
            let hp = viewer.replica.component::<Vitals>(*id, VITALS).map_or(0, |vitals| vitals.hp);
            assert!(hp >= *slot || hp == 7, "{hp} after {slot}");
            *slot = if hp == 7 { 0 } else { hp };
        }
        seen += 1;
    }
    assert!(seen >= 1);
    world.agrees(&mut viewer, has(VITALS)).await;
    assert_eq!(world.count(all_made()).await, 66);
}

/// The client checks of every answer that it comes before the frame that decides its message.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_creates_and_reserves_is_answered_before_it_is_decided() {
    let (_world, mut client) = probe().await;
    for i in 0..200u32 {
        let create = v1::Create {
            count: 1,
            positions: vec![position_rows(&[(f64::from(i), 1.0)])],
            ..Default::default()
        };
        client.send(Body::Create(create)).await;
        let last = client.send(Body::ReserveIds(v1::ReserveIds { count: 1 })).await;
        assert_eq!(client.decided(last).await, Outcome::default());
        assert_eq!((client.created.len(), client.reserved.len()), (i as usize + 1, i as usize + 1));
    }
}
