//! How a session begins and ends.

use bytes::Bytes;
use prost::Message;
use spatialdb_proto::error_of_status;
use spatialdb_proto::v1::{self, ClientMessage, client_message::Body, server_message};
use spatialdb_tests::{
    Client, Ending, Launch, VITALS, Vitals, World, all_made, attach_raw, new_rows, update, view,
};
use spatialdb_types::{Limits, Reason};

fn heartbeat() -> Body {
    Body::Heartbeat(v1::Heartbeat::default())
}

fn error(ending: Ending) -> (Reason, String) {
    match ending {
        Ending::Error(reason, detail) => (reason, detail),
        other => panic!("an error, not {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn welcome_tells_all_about_the_world() {
    let world =
        World::launch(Launch::probe().config("[limits]\nsessions_max = 17\nframe_bytes_max = \"512KiB\""));
    let first = Client::attach(&world, "probe", "one").await.welcome;
    let second = world.attach("probe").await.welcome;
    assert_eq!(first.protocol, 1);
    assert_eq!(first.name, "one");
    assert_eq!(second.name, format!("probe-{}", second.session_id));
    assert!(second.session_id > first.session_id);
    assert!(!first.world_id.is_empty() && first.incarnation > 0);
    assert_eq!((&first.world_id, first.incarnation), (&second.world_id, second.incarnation));
    assert_eq!(first.schema_digest.len(), 64);
    let component = |id| first.components.iter().find(|one| one.id == id).map(|one| one.name.as_str());
    assert_eq!(component(1), Some("spatialdb.v1.Position"));
    assert_eq!(component(2), Some("spatialdb.v1.Metadata"));
    assert_eq!(component(VITALS), Some("probe.Vitals"));
    let spaces: Vec<_> = first.spaces.iter().map(|space| (space.id, space.name.as_str())).collect();
    assert_eq!(spaces, [(0, "ground"), (7, "cellar")]);
    let changed = Limits { sessions_max: 17, frame_bytes_max: 512 << 10, ..Limits::default() };
    assert_eq!(first.limits.len(), changed.entries().len());
    for (name, value) in changed.entries() {
        assert_eq!(first.limits.get(name), Some(&value), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn hello_is_refused_with_what_is_wrong() {
    let world = World::launch(Launch::probe());
    let good = || Client::hello("probe", "one");
    let range = |protocol_min, protocol_max| v1::Hello { protocol_min, protocol_max, ..good() };
    let long = "x".repeat(65);
    let cases = [
        (range(2, 9), Reason::ProtocolUnsupported, "2 to 9"),
        (range(0, 0), Reason::ProtocolUnsupported, "0 to 0"),
        (Client::hello("", "one"), Reason::NameInvalid, "worker_type"),
        (Client::hello("Probe", "one"), Reason::NameInvalid, "Probe"),
        (Client::hello("probe", "a b"), Reason::NameInvalid, "a b"),
        (Client::hello("probe", &long), Reason::NameInvalid, "64"),
        (Client::hello("probe\n", "one"), Reason::NameInvalid, "worker_type"),
        (v1::Hello { instance: "x".repeat(300), ..good() }, Reason::NameInvalid, "256"),
    ];
    for (hello, reason, part) in cases {
        let mut client = Client::open(&world).await;
        client.send(Body::Hello(hello)).await;
        let (found, detail) = error(client.ending().await);
        assert_eq!(found, reason, "{detail}");
        assert!(detail.contains(part), "{detail} names {part}");
    }
    // A range that holds this version is fine, and what a newer client adds is ignored.
    let mut client = Client::open(&world).await;
    let features = vec!["holograms".to_owned()];
    client.send(Body::Hello(v1::Hello { features, resume_token: "old".to_owned(), ..range(0, 7) })).await;
    let Some(server_message::Body::Welcome(welcome)) = client.message().await else { panic!("welcome") };
    assert_eq!((welcome.protocol, welcome.features.len()), (1, 0));
    assert_eq!(world.sessions().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn messages_out_of_turn_end_the_stream() {
    let world = World::launch(Launch::probe());

    for body in [Some(heartbeat()), None] {
        let mut client = Client::open(&world).await;
        client.send_raw(ClientMessage { seq: 1, body }).await;
        assert_eq!(error(client.ending().await).0, Reason::MessageUnexpected);
    }
    let mut client = Client::open(&world).await;
    client.send_raw(ClientMessage { seq: 2, body: Some(Body::Hello(Client::hello("probe", ""))) }).await;
    assert_eq!(error(client.ending().await).0, Reason::SequenceGap);

    let after_hello: [(ClientMessage, Reason, &str); 5] = [
        (
            ClientMessage { seq: 2, body: Some(Body::Hello(Client::hello("probe", ""))) },
            Reason::MessageUnexpected,
            "Hello",
        ),
        (ClientMessage { seq: 2, body: None }, Reason::MessageUnexpected, "2"),
        (ClientMessage { seq: 3, body: Some(heartbeat()) }, Reason::SequenceGap, "3"),
        (ClientMessage { seq: 1, body: Some(heartbeat()) }, Reason::SequenceGap, "1"),
        (ClientMessage { seq: 0, body: Some(heartbeat()) }, Reason::SequenceGap, "0"),
    ];
    for (message, reason, part) in after_hello {
        let mut client = world.attach("probe").await;
        client.send_raw(message).await;
        let (found, detail) = error(client.ending().await);
        assert_eq!(found, reason, "{detail}");
        assert!(detail.contains(part), "{detail}");
    }
    spatialdb_tests::eventually("all of them are closed", || async {
        world.sessions().await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn bytes_that_are_no_message_end_the_stream() {
    let world = World::launch(Launch::probe());
    let hello = ClientMessage { seq: 1, body: Some(Body::Hello(Client::hello("probe", ""))) };
    let hello = Bytes::from(hello.encode_to_vec());
    let garbage = Bytes::from_static(b"\x0a\xff\xff\xff\xff\x0fgarbage");
    // A seq that is a text; one that never ends; a name that is no UTF-8.
    let text = Bytes::from_static(b"\x0a\x01x");
    let endless =
        Bytes::from_static(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let latin = Bytes::from_static(b"\x08\x01\x12\x03\x22\x01\xff");
    for messages in [
        vec![garbage.clone()],
        vec![latin],
        vec![hello.clone(), garbage],
        vec![hello.clone(), text],
        vec![hello, endless],
    ] {
        let status = attach_raw(&world, messages).await;
        let error = error_of_status(&status).unwrap_or_else(|| panic!("not ours: {status:?}"));
        assert_eq!(error.reason, Reason::MessageMalformed, "{error}");
    }
    world.attach("probe").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_newer_session_of_the_same_name_replaces_the_older() {
    let world = World::launch(Launch::probe());
    let mut old = Client::attach(&world, "probe", "one").await;
    let mut namesake = Client::attach(&world, "other", "one").await;
    let mut new = Client::attach(&world, "probe", "one").await;
    let Ending::Goodbye(reason, detail) = old.ending().await else { panic!("a goodbye") };
    assert_eq!(reason, "SESSION_REPLACED");
    assert!(detail.contains("probe one"), "{detail}");
    // The new one and the one of another type go on.
    for client in [&mut new, &mut namesake] {
        assert!(client.write(heartbeat()).await.rejections.is_empty());
    }
    let mut names: Vec<_> =
        world.sessions().await.into_iter().map(|session| (session.worker_type, session.session_id)).collect();
    names.sort();
    assert_eq!(
        names,
        [("other".to_owned(), namesake.welcome.session_id), ("probe".to_owned(), new.welcome.session_id)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn at_a_half_close_everything_is_decided_first() {
    let world = World::launch(Launch::probe());
    let mut client = world.attach("probe").await;
    let columns = vec![new_rows(VITALS, [Vitals::hp(0).bytes()])];
    let ids = client.create(v1::Create { count: 1, columns, ..v1::Create::default() }).await;
    for hp in 1..=200 {
        let column = spatialdb_tests::column(VITALS, [(ids[0], Vitals::hp(hp).bytes())]);
        client.send(update(vec![], vec![column])).await;
    }
    let missing = spatialdb_tests::column(VITALS, [(900, Vitals::hp(1).bytes())]);
    let last = client.send(update(vec![], vec![missing])).await;
    client.half_close();
    assert_eq!(client.ending().await, Ending::Goodbye(String::new(), String::new()));
    assert_eq!(world.component::<Vitals>(ids[0], VITALS).await.hp, 200);
    // The last refusal was told, too.
    assert_eq!(client.rejections.iter().map(|one| one.seq).collect::<Vec<_>>(), [last]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn goodbye_is_answered_and_frees_the_name() {
    let world = World::launch(Launch::probe());
    let mut client = Client::attach(&world, "probe", "one").await;
    client.subscribe(view(1, all_made())).await;
    client.send(Body::Goodbye(v1::Goodbye::default())).await;
    assert_eq!(client.ending().await, Ending::Goodbye(String::new(), String::new()));
    spatialdb_tests::eventually("the session is gone", || async {
        world.sessions().await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_heartbeat_shows_in_the_list_of_sessions() {
    let world = World::launch(Launch::probe());
    let mut client = Client::attach(&world, "probe", "one").await;
    let before = world.session("it is there", |_| true).await;
    assert_eq!((before.load, before.tick_ms, before.heartbeat_age_us), (0.0, 0.0, 0));
    client.write(Body::Heartbeat(v1::Heartbeat { load: 0.75, tick_ms: 12.5, seen_frame: 1 })).await;
    let after = world.session("it beats", |session| session.load > 0.0).await;
    assert_eq!((after.load, after.tick_ms), (0.75, 12.5));
    assert!(after.heartbeat_age_us > 0 && after.heartbeat_age_us < 30_000_000);
    assert_eq!((after.worker_type.as_str(), after.name.as_str()), ("probe", "one"));
    // Numbers that are none are refused, and change nothing.
    for bad in [f64::NAN, f64::INFINITY] {
        let outcome =
            client.write(Body::Heartbeat(v1::Heartbeat { tick_ms: bad, ..Default::default() })).await;
        assert_eq!(outcome.rejections[0].reason, "MESSAGE_MALFORMED");
    }
    assert_eq!(world.session("as before", |_| true).await.tick_ms, 12.5);
    assert_eq!(after.instance, format!("test {}", std::process::id()));
    assert_eq!((after.session_id, after.applied_seq), (client.welcome.session_id, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sessions_beyond_the_limit_are_refused() {
    let world = World::launch(Launch::probe().config("[limits]\nsessions_max = 2"));
    let _one = Client::attach(&world, "probe", "one").await;
    let _two = Client::attach(&world, "probe", "two").await;
    let mut third = Client::open(&world).await;
    third.send(Body::Hello(Client::hello("probe", "three"))).await;
    let (reason, detail) = error(third.ending().await);
    assert_eq!((reason, detail.contains("sessions_max = 2")), (Reason::LimitReached, true));
    // One that replaces another needs no room.
    Client::attach(&world, "probe", "two").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sigterm_says_goodbye_to_open_sessions() {
    let mut world = World::launch(Launch::probe());
    let mut clients = [world.attach("probe").await, world.attach("probe").await];
    clients[0].subscribe(view(1, all_made())).await;
    world.terminate();
    for client in &mut clients {
        let Ending::Goodbye(reason, detail) = client.ending().await else { panic!("a goodbye") };
        assert_eq!(reason, "DRAINING", "{detail}");
    }
    assert_eq!(world.stop(), Some(0));
}
