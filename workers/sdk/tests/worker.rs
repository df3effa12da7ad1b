//! A worker against a scripted server on a free port: waiting, back-pressure, losing the connection.
//!
//! The server here says exactly what a test tells it to; that the real server says the same is shown by the tests
//! of the whole system.

mod peer;

use std::time::Duration;

use spatialdb_proto::v1::{self, client_message::Body, server_message};
use spatialdb_sdk::{
    Ask, AskError, Batch, Constraint, EntityId, Event, NewEntities, SendError, View, ViewId, Worker,
    WorkerError,
};
use tokio::time::timeout;

use self::peer::{NOTHING, PATIENCE, attach, event, move_one, server};

#[tokio::test]
async fn a_send_waits_until_the_server_has_decided_and_loses_nothing_when_dropped() {
    let (options, mut peers) = server().await;
    let (mut worker, mut peer) = attach(options, &mut peers).await;
    for _ in 0..4 {
        worker.send(&mut move_one()).await.expect("sends");
    }
    let mut batch = move_one();
    let full = SendError::Full { limit_name: "in_flight_messages_max", limit: 4 };
    assert_eq!(worker.try_send(&mut batch), Err(full));
    assert!(timeout(NOTHING, worker.send(&mut batch)).await.is_err(), "nothing is decided");
    assert_eq!((batch.len(), worker.in_flight()), (1, 4));
    peer.frame(v1::Frame { applied_seq: 2, entered: vec![7], ..Default::default() }).await;
    timeout(PATIENCE, worker.send(&mut batch)).await.expect("in time").expect("sends");
    assert!(batch.is_empty());
    assert!(worker.replica().contains(EntityId(7)), "frames were taken in meanwhile");
    let Event::Frame(frame) = event(&mut worker).await else { panic!("the frame") };
    assert_eq!(frame.changes.entered, [EntityId(7)]);
    for _ in 0..5 {
        assert!(matches!(peer.hear().await, Body::Update(_)));
    }
}

#[tokio::test]
async fn a_batch_over_the_limit_of_the_server_is_not_sent() {
    let (options, mut peers) = server().await;
    let (mut worker, _peer) = attach(options, &mut peers).await;
    let mut batch = Batch::new();
    (1..=101).for_each(|entity| batch.set_position(EntityId(entity), Default::default()));
    let expected = SendError::TooLarge { limit_name: "message_rows_max", value: 101, limit: 100 };
    assert_eq!(worker.send(&mut batch).await, Err(expected));
    assert_eq!(batch.len(), 101);
}

#[tokio::test]
async fn a_lost_connection_comes_back_with_views_and_creates_and_names_what_is_lost() {
    let (options, mut peers) = server().await;
    let (mut worker, mut peer) = attach(options, &mut peers).await;
    worker.subscribe(View::new(ViewId(1), Constraint::all())).await.expect("sends");
    let mut new = NewEntities::new("r1");
    new.row();
    let create = worker.create(new).await.expect("sends");
    let updates = worker.send(&mut move_one()).await.expect("sends");
    for _ in 0..3 {
        peer.hear().await;
    }
    peer.frame(v1::Frame { applied_seq: 2, entered: vec![7], ..Default::default() }).await;
    assert!(matches!(event(&mut worker).await, Event::Frame(_)));
    drop(peer);
    let Event::Disconnected { lost, .. } = event(&mut worker).await else { panic!("disconnected") };
    assert_eq!(lost, updates);
    assert_eq!(worker.send(&mut move_one()).await, Err(SendError::Disconnected));
    assert!(worker.replica().contains(EntityId(7)), "stale but readable");

    let again = async {
        let mut peer = peers.recv().await.expect("a session");
        peer.welcome().await;
        peer
    };
    let (mut peer, reconnected) = tokio::join!(again, event(&mut worker));
    assert!(matches!(reconnected, Event::Reconnected(_)), "{reconnected:?}");
    assert_eq!(event(&mut worker).await, Event::Reset);
    assert!(worker.replica().is_empty());
    let Body::Create(repeated) = peer.hear().await else { panic!("the create") };
    assert_eq!(repeated.request_id, "r1");
    assert!(matches!(peer.hear().await, Body::Subscribe(_)));
    peer.say(server_message::Body::Created(v1::Created { seq: 2, entities: vec![9] })).await;
    let (request_id, entities) = ("r1".to_owned(), vec![Some(EntityId(9))]);
    assert_eq!(event(&mut worker).await, Event::Created { ticket: create, request_id, entities });
}

#[tokio::test]
async fn a_replaced_worker_stops_for_good() {
    let (options, mut peers) = server().await;
    let (mut worker, peer) = attach(options, &mut peers).await;
    let goodbye = v1::Goodbye { reason: "SESSION_REPLACED".into(), ..Default::default() };
    peer.say(server_message::Body::Goodbye(goodbye)).await;
    let ended = timeout(PATIENCE, worker.next_event()).await.expect("in time");
    assert!(matches!(ended, Err(WorkerError::Replaced { .. })), "{ended:?}");
    assert!(matches!(worker.next_event().await, Err(WorkerError::Stopped)));
    assert!(timeout(NOTHING, peers.recv()).await.is_err(), "it does not come back");
}

#[tokio::test]
async fn goodbye_is_waited_out_before_coming_back() {
    let (options, mut peers) = server().await;
    let (mut worker, peer) = attach(options, &mut peers).await;
    let goodbye = v1::Goodbye { reason: "DRAINING".into(), retry_after_ms: 400, ..Default::default() };
    peer.say(server_message::Body::Goodbye(goodbye)).await;
    drop(peer);
    assert!(matches!(event(&mut worker).await, Event::Goodbye { .. }));
    let Event::Disconnected { retry_in, .. } = event(&mut worker).await else { panic!("disconnected") };
    assert_eq!(retry_in, Duration::from_millis(400));
}

#[tokio::test]
async fn another_schema_is_refused_at_once() {
    let (options, mut peers) = server().await;
    let accept = async {
        let mut peer = peers.recv().await.expect("a session");
        assert!(matches!(peer.hear().await, Body::Hello(_)));
        peer.say(server_message::Body::Welcome(v1::Welcome::default())).await;
    };
    let (worker, ()) = tokio::join!(Worker::connect(options), accept);
    assert!(matches!(worker, Err(WorkerError::ComponentMissing { .. })), "{worker:?}");
}

#[tokio::test]
async fn a_worker_says_goodbye_after_what_it_sent() {
    let (options, mut peers) = server().await;
    let (mut worker, mut peer) = attach(options, &mut peers).await;
    worker.send(&mut move_one()).await.expect("sends");
    worker.heartbeat(0.5, Duration::from_millis(3));
    let listen = async {
        assert!(matches!(peer.hear().await, Body::Update(_)));
        let Body::Heartbeat(heartbeat) = peer.hear().await else { panic!("the heartbeat") };
        assert_eq!((heartbeat.load, heartbeat.tick_ms), (0.5, 3.0));
        assert!(matches!(peer.hear().await, Body::Goodbye(_)));
        drop(peer);
    };
    let ended = timeout(PATIENCE, async { tokio::join!(worker.goodbye(""), listen) }).await;
    assert!(ended.is_ok());
}

#[tokio::test]
async fn questions_are_answered_while_frames_come_and_are_lost_with_the_connection() {
    let (options, mut peers) = server().await;
    let (mut worker, mut peer) = attach(options, &mut peers).await;
    let ask = || Ask::count(Constraint::all());
    let first = worker.ask(ask()).await.expect("sends");
    let second = worker.ask(ask()).await.expect("sends");
    for _ in 0..2 {
        assert!(matches!(peer.hear().await, Body::Ask(_)));
    }
    peer.frame(v1::Frame { applied_seq: 1, entered: vec![7], ..Default::default() }).await;
    for (seq, match_count) in [(3, 30), (2, 20)] {
        let answer = v1::Answer { seq, match_count, last: true, ..Default::default() };
        peer.say(server_message::Body::Answer(answer)).await;
    }
    let answer = timeout(PATIENCE, worker.answer(first)).await.expect("in time").expect("an answer");
    assert_eq!(answer.match_count, 20);
    assert!(worker.replica().contains(EntityId(7)), "frames were taken in meanwhile");
    assert_eq!(worker.answer(second).await.expect("it came before").match_count, 30);
    assert_eq!(worker.answer(first).await, Err(AskError::NotAsked(first)));
    assert!(matches!(event(&mut worker).await, Event::Frame(_)));

    let lost = worker.ask(ask()).await.expect("sends");
    drop(peer);
    let answer = timeout(PATIENCE, worker.answer(lost)).await.expect("in time");
    assert_eq!(answer, Err(AskError::Lost));
    let Event::Disconnected { lost, .. } = event(&mut worker).await else { panic!("disconnected") };
    assert_eq!(lost, [], "of questions their answers tell");
}
