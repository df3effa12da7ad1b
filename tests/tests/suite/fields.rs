//! Updates that replace some fields, with `fields`.

use bytes::Bytes;
use spatialdb_proto::v1;
use spatialdb_tests::{Client, Launch, Outcome, State, VITALS, Vitals, World, new_rows, partial, update};

async fn full() -> (World, Client, u64) {
    full_in(Launch::probe()).await
}

async fn full_in(launch: Launch) -> (World, Client, u64) {
    let world = World::launch(launch);
    let mut client = world.attach("probe").await;
    let columns = vec![new_rows(VITALS, [Vitals::full().bytes()])];
    let ids = client.create(v1::Create { count: 1, columns, ..Default::default() }).await;
    (world, client, ids[0])
}

async fn replace(client: &mut Client, entity: u64, fields: &[u32], by: Bytes) {
    let outcome = client.write(update(vec![], vec![partial(VITALS, fields, [(entity, by)])])).await;
    assert_eq!(outcome, Outcome::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn only_listed_fields_are_replaced() {
    let (world, mut client, id) = full().await;
    let by = Vitals { hp: -5, marks: vec![9], ..Vitals::default() };
    replace(&mut client, id, &[1, 4], by.bytes()).await;
    let expected = Vitals { hp: -5, marks: vec![9], ..Vitals::full() };
    assert_eq!(world.component::<Vitals>(id, VITALS).await, expected);
    // The order and the number of times that a field is listed do not matter.
    replace(&mut client, id, &[4, 1, 4], Vitals { hp: 6, marks: vec![8], ..Vitals::default() }.bytes()).await;
    assert_eq!(
        world.component::<Vitals>(id, VITALS).await,
        Vitals { hp: 6, marks: vec![8], ..Vitals::full() }
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_listed_field_that_the_payload_lacks_is_cleared() {
    let (world, mut client, id) = full().await;
    let mut expected = Vitals::full();
    type Clear = fn(&mut Vitals);
    let cases: [(u32, Clear); 7] = [
        (1, |vitals| vitals.hp = 0),
        (2, |vitals| vitals.label.clear()),
        (3, |vitals| vitals.alive = false),
        (4, |vitals| vitals.marks.clear()),
        (5, |vitals| vitals.seal.clear()),
        (8, |vitals| vitals.legs.clear()),
        (9, |vitals| vitals.stock.clear()),
    ];
    for (field, clear) in cases {
        replace(&mut client, id, &[field], Bytes::new()).await;
        clear(&mut expected);
        assert_eq!(world.component::<Vitals>(id, VITALS).await, expected, "field {field}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn explicit_defaults_clear_as_well() {
    let (world, mut client, id) = full().await;
    // hp = 0, label = "", alive = false, written out as some encoders do.
    let by = Bytes::from_static(b"\x08\x00\x12\x00\x18\x00");
    replace(&mut client, id, &[1, 2, 3], by).await;
    let expected = Vitals { hp: 0, label: String::new(), alive: false, ..Vitals::full() };
    assert_eq!(world.component::<Vitals>(id, VITALS).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_arm_of_a_oneof_clears_the_others() {
    let (world, mut client, id) = full().await;
    let asleep = Vitals { state: Some(State::AsleepS(0)), ..Vitals::default() };
    replace(&mut client, id, &[7], asleep.bytes()).await;
    assert_eq!(world.component::<Vitals>(id, VITALS).await.state, Some(State::AsleepS(0)));
    // A listed arm that the payload lacks clears whatever was set.
    replace(&mut client, id, &[6], Bytes::new()).await;
    assert_eq!(world.component::<Vitals>(id, VITALS).await, Vitals { state: None, ..Vitals::full() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn fields_that_the_schema_does_not_know_are_kept() {
    let warning = "values have fields that the schema does not know";
    let (world, mut client, id) = full_in(Launch::probe().allow(warning)).await;
    // A newer worker's field 20 = 5, in a whole value: the server says once that it does not know it.
    let newer = [Vitals::hp(1).bytes().as_ref(), b"\xa0\x01\x05"].concat();
    let outcome = client
        .write(update(vec![], vec![spatialdb_tests::column(VITALS, [(id, newer.clone().into())])]))
        .await;
    assert_eq!(outcome, Outcome::default());
    replace(&mut client, id, &[1], Vitals::hp(2).bytes()).await;
    let found = world.query(spatialdb_tests::entity_ids(&[id])).await;
    let bytes = &found[&id][&VITALS].bytes;
    assert!(bytes.windows(3).any(|part| part == b"\xa0\x01\x05"), "{bytes:?}");
    assert_eq!(world.component::<Vitals>(id, VITALS).await.hp, 2);
    assert!(world.log().wait_for(warning).contains("probe.Vitals"));
}
