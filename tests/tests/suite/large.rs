//! Much at once: frames stay below their limit and say that more comes.

use bytes::Bytes;
use prost::Message;
use spatialdb_proto::v1::{self, client_message::Body, server_message};
use spatialdb_tests::{
    BLOB_FIRST, Client, Ending, Launch, VITALS, World, column, entity_ids, has, new_rows, view,
};
use spatialdb_types::Reason;

#[derive(Clone, PartialEq, Message)]
struct Blob {
    #[prost(bytes = "bytes", tag = "1")]
    data: Bytes,
}

fn blob(fill: u8, bytes: usize) -> Bytes {
    Blob { data: vec![fill; bytes].into() }.encode_to_vec().into()
}

/// Fills a view frame by frame. Gives how many frames came.
async fn fill(viewer: &mut Client, view: v1::View) -> usize {
    viewer.send(Body::Subscribe(v1::Subscribe { view: Some(view) })).await;
    let mut frames = 0;
    while viewer.ready.is_empty() || viewer.replica.more {
        if let Some(server_message::Body::Frame(frame)) = viewer.message().await {
            assert!(frame.encoded_len() < 1 << 20);
            frames += 1;
        }
    }
    frames
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_large_world_comes_in_many_frames() {
    let world = World::launch(Launch::earth());
    let mut viewer = world.attach("viewer").await;
    let frames = fill(&mut viewer, view(1, has(1001))).await;
    assert!(frames > 10, "{frames} frames");
    assert_eq!(viewer.ready[0].entity_count, 138_398);
    assert_eq!(viewer.replica.entities.len(), 138_398);
    assert_eq!(viewer.replica.value_count, 3 * 138_398);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_very_large_entity_comes_in_several_frames() {
    let world = World::launch(Launch::probe());
    let mut client = world.attach("probe").await;
    let mut viewer = world.attach("viewer").await;
    let ids = client
        .create(v1::Create {
            count: 1,
            columns: vec![new_rows(BLOB_FIRST, [blob(0, 200 << 10)])],
            ..Default::default()
        })
        .await;
    for number in 1..10 {
        let columns = vec![column(BLOB_FIRST + u32::from(number), [(ids[0], blob(number, 200 << 10))])];
        let outcome =
            client.write(Body::AddComponents(v1::AddComponents { columns, ..Default::default() })).await;
        assert!(outcome.rejections.is_empty());
    }
    let frames = fill(&mut viewer, view(1, entity_ids(&ids))).await;
    assert!(frames >= 2, "2 MB came in {frames} frames");
    assert_eq!(viewer.replica.entities[&ids[0]].len(), 10);
    world.agrees(&mut viewer, entity_ids(&ids)).await;
    for number in 0..10 {
        let found: Blob = viewer.replica.component(ids[0], BLOB_FIRST + u32::from(number)).expect("it came");
        assert_eq!((found.data.len(), found.data[0]), (200 << 10, number));
    }
    // A value of exactly the limit is taken, and shown.
    let largest = column(BLOB_FIRST, [(ids[0], blob(77, (256 << 10) - 4))]);
    assert_eq!(largest.values[0].len(), 256 << 10);
    let outcome = client.write(spatialdb_tests::update(vec![], vec![largest])).await;
    assert!(outcome.rejections.is_empty(), "{outcome:?}");
    world.agrees(&mut viewer, entity_ids(&ids)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_message_over_the_limit_ends_the_stream_and_names_the_limit() {
    let world = World::launch(Launch::probe().config("[limits]\nmessage_bytes_max = \"64KiB\""));
    let mut client = world.attach("probe").await;
    let large = new_rows(VITALS, [vec![0; 70 << 10].into()]);
    client.send(Body::Create(v1::Create { count: 1, columns: vec![large], ..v1::Create::default() })).await;
    let Ending::Error(reason, detail) = client.ending().await else { panic!("an error") };
    assert_eq!(reason, Reason::MessageTooLarge);
    assert!(detail.contains("message_bytes_max = 65536"), "{detail}");
}
