//! Sessions as entities, and what worker types are told to do.

use std::collections::HashMap;

use spatialdb_proto::error_of_status;
use spatialdb_proto::v1::{self, client_message::Body, server_message};
use spatialdb_tests::{
    Client, Launch, METADATA, WORKER_SESSION, World, column, eventually, has, metadata, run, update, view,
};
use spatialdb_types::Reason;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_session_is_an_entity_that_can_be_viewed_and_queried() {
    let world = World::launch(Launch::probe());
    let mut viewer = Client::attach(&world, "viewer", "looking").await;
    viewer.subscribe(view(1, has(WORKER_SESSION))).await;
    let mut worker = Client::attach(&world, "probe", "busy").await;
    let found = |client: &Client, name: &str| {
        let sessions =
            client.replica.ids().into_iter().filter_map(|id| {
                Some((id, client.replica.component::<v1::WorkerSession>(id, WORKER_SESSION)?))
            });
        sessions.into_iter().find(|(_, session)| session.name == name)
    };
    viewer
        .until("both are there", |viewer| {
            found(viewer, "busy").is_some() && found(viewer, "looking").is_some()
        })
        .await;
    let (entity, session) = found(&viewer, "busy").expect("there");
    assert_eq!((session.worker_type.as_str(), session.session_id), ("probe", worker.welcome.session_id));
    assert!(session.connected_unix_time_us > 1_600_000_000_000_000);

    // It is written again and again with how the session does.
    worker.write(Body::Heartbeat(v1::Heartbeat { load: 0.75, tick_ms: 3.0, seen_frame: 0 })).await;
    worker.write(update(vec![], vec![column(METADATA, [(1, metadata("a", "b"))])])).await;
    viewer
        .until("the load shows", |viewer| {
            found(viewer, "busy").is_some_and(|(_, s)| s.load == 0.75 && s.updates_received == 1)
        })
        .await;
    assert!(world.query(has(WORKER_SESSION)).await.contains_key(&entity));

    // Only the server writes and deletes it.
    let value = (entity, prost::Message::encode_to_vec(&v1::WorkerSession::default()).into());
    let columns = vec![column(WORKER_SESSION, [value])];
    let bodies = [
        update(vec![], columns.clone()),
        Body::AddComponents(v1::AddComponents { columns, ..Default::default() }),
        Body::RemoveComponents(v1::RemoveComponents {
            columns: vec![v1::ComponentEntities { component: WORKER_SESSION, entities: vec![entity] }],
            ..Default::default()
        }),
        Body::Delete(v1::Delete { entities: vec![entity], ..Default::default() }),
    ];
    for body in bodies {
        let outcome = worker.write(body).await;
        assert_eq!(outcome.rejections[0].reason, "COMPONENT_RESERVED", "{outcome:?}");
    }
    // It goes with the session.
    drop(worker);
    viewer.until("it is gone", |viewer| found(viewer, "busy").is_none()).await;
    assert!(viewer.replica.deleted.contains(&entity));
    eventually("one is left", || async { (world.count(has(WORKER_SESSION)).await == 1).then_some(()) }).await;
}

fn flags(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn flags_are_told_at_first_and_when_they_change() {
    let config = "[flags.probe]\nspeed = \"fast\"\n[flags.other]\nspeed = \"slow\"";
    let world = World::launch(Launch::probe().config(config));
    let mut worker = world.attach("probe").await;
    let mut other = world.attach("other").await;
    assert_eq!(worker.welcome.flags, flags(&[("speed", "fast")]));
    let mut tools = world.tools().await;
    let request = v1::SetFlagsRequest {
        worker_type: "probe".to_owned(),
        flags: flags(&[("colour", "red")]),
        removed: vec!["speed".to_owned()],
    };
    let set = tools.set_flags(request).await.expect("set").into_inner();
    assert_eq!(set.flags, flags(&[("colour", "red")]));
    let told = loop {
        if let Some(server_message::Body::FlagsChanged(told)) = worker.message().await {
            break told;
        }
    };
    assert_eq!(told.flags, set.flags);
    assert_eq!(world.attach("probe").await.welcome.flags, set.flags);
    // The other type has its own, and hears nothing.
    let request = v1::GetFlagsRequest { worker_type: "other".to_owned() };
    assert_eq!(tools.get_flags(request).await.expect("told").into_inner().flags, flags(&[("speed", "slow")]));
    let seq = other.send(Body::Heartbeat(v1::Heartbeat::default())).await;
    other.decided(seq).await;

    let large = v1::SetFlagsRequest {
        worker_type: "probe".to_owned(),
        flags: flags(&[("x", &"y".repeat(5000))]),
        removed: Vec::new(),
    };
    let error = error_of_status(&tools.set_flags(large).await.expect_err("refused")).expect("ours");
    assert_eq!(error.reason, Reason::LimitReached);
    assert!(error.detail.contains("worker_flag_bytes_max = 4096"), "{}", error.detail);
    let nobody = v1::SetFlagsRequest { worker_type: "A B".to_owned(), ..Default::default() };
    let error = error_of_status(&tools.set_flags(nobody).await.expect_err("refused")).expect("ours");
    assert_eq!(error.reason, Reason::NameInvalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn flags_are_changed_from_the_command_line() {
    let world = World::launch(Launch::probe().config("[flags.probe]\nspeed = \"fast\""));
    let ask = |args: &[&str]| run(&[args, &["--address", world.address()]].concat());
    assert_eq!(ask(&["flags", "get", "probe"]).stdout, "speed=fast");
    let set = ask(&["flags", "set", "probe", "colour=red", "size=3", "--remove", "speed"]);
    assert_eq!((set.code, set.stdout.as_str()), (Some(0), "colour=red\nsize=3"), "{}", set.stderr);
    let line = ask(&["flags", "get", "probe", "--json"]).stdout;
    assert_eq!(line.lines().next(), Some(r#"{"name":"colour","value":"red"}"#));
    assert_eq!(world.attach("probe").await.welcome.flags, flags(&[("colour", "red"), ("size", "3")]));
    let wrong = ask(&["flags", "set", "probe", "colour"]);
    assert!(wrong.code == Some(2) && wrong.stderr.contains("NAME=VALUE"), "{}", wrong.stderr);
}
