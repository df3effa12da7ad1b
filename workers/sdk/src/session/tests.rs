//! The session against messages as a server sends them.

use super::*;
use crate::{Batch, Constraint, NewEntities, View};

fn session() -> Session {
    let mut session = Session::new();
    assert_eq!(session.begin(Welcomed::default()), []);
    session
}

fn server(body: server_message::Body) -> v1::ServerMessage {
    v1::ServerMessage { body: Some(body) }
}

fn frame(frame: v1::Frame) -> v1::ServerMessage {
    server(server_message::Body::Frame(frame))
}

fn events(session: &mut Session) -> Vec<Event> {
    std::iter::from_fn(|| session.next_event()).collect()
}

fn update() -> Body {
    let mut batch = Batch::new();
    batch.set_position(EntityId(1), Default::default());
    batch.take_bodies().remove(0)
}

fn create(request_id: &str) -> Body {
    let mut new = NewEntities::new(request_id);
    new.row();
    new.row();
    new.into_body()
}

#[test]
fn seqs_have_no_gaps_and_tickets_go_on_over_sessions() {
    let mut session = session();
    let (first, ticket) = session.stamp(update());
    assert_eq!((first.seq, ticket), (2, Ticket(1)));
    let heartbeat = session.stamp(Body::Heartbeat(v1::Heartbeat::default())).0;
    assert_eq!(heartbeat.seq, 3);
    session.lose();
    session.begin(Welcomed::default());
    let (again, ticket) = session.stamp(update());
    assert_eq!((again.seq, ticket), (2, Ticket(3)));
}

#[test]
fn applied_messages_are_no_longer_in_flight_and_lost_ones_are_named() {
    let mut session = session();
    let tickets: Vec<_> = (0..3).map(|_| session.stamp(update()).1).collect();
    session.accept(frame(v1::Frame { frame: 1, applied_seq: 3, ..Default::default() })).expect("accepts");
    assert_eq!(session.in_flight_len(), 1);
    assert_eq!(session.lose(), [tickets[2]]);
    assert_eq!(session.in_flight_len(), 0);
}

#[test]
fn a_rejection_names_the_ticket() {
    let mut session = session();
    let (message, ticket) = session.stamp(update());
    let rejection = v1::Rejection {
        seq: message.seq,
        code: v1::ErrorCode::NotFound.into(),
        reason: "ENTITY_NOT_FOUND".into(),
        entity: 1,
        ..Default::default()
    };
    let rejected = v1::Frame { frame: 1, applied_seq: 2, rejections: vec![rejection], ..Default::default() };
    session.accept(frame(rejected)).expect("accepts");
    let events = events(&mut session);
    let [Event::Rejected(rejected), Event::Frame(_)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((rejected.ticket, rejected.entity), (Some(ticket), Some(EntityId(1))));
    assert_eq!((rejected.code, rejected.component), (v1::ErrorCode::NotFound, None));
}

#[test]
fn unanswered_creates_are_repeated_word_for_word_and_answered_once() {
    let mut session = session();
    let (first, ticket) = session.stamp(create("r1"));
    assert_eq!(session.lose(), [], "creates are not lost");
    let repeated = session.begin(Welcomed::default());
    assert_eq!(repeated.iter().map(|m| m.seq).collect::<Vec<_>>(), [2]);
    assert_eq!(repeated[0].body, first.body);
    let created = v1::Created { seq: 2, entities: vec![11, 0] };
    session.accept(server(server_message::Body::Created(created.clone()))).expect("accepts");
    session.accept(server(server_message::Body::Created(created))).expect("accepts");
    let entities = vec![Some(EntityId(11)), None];
    assert_eq!(events(&mut session), [Event::Created { ticket, request_id: "r1".into(), entities }]);
    assert_eq!(session.begin(Welcomed::default()), []);
}

#[test]
fn views_are_subscribed_again_unless_refused_or_ended() {
    let mut session = session();
    for id in 1..=3 {
        let view = View::new(ViewId(id), Constraint::all()).into_wire();
        session.stamp(Body::Subscribe(v1::Subscribe { view: Some(view) }));
    }
    session.stamp(Body::EndView(v1::EndView { view_id: 2 }));
    let rejection = v1::Rejection { seq: 4, reason: "QUERY_INVALID".into(), ..Default::default() };
    let refused = v1::Frame { frame: 1, applied_seq: 4, rejections: vec![rejection], ..Default::default() };
    session.accept(frame(refused)).expect("accepts");
    session.stamp(create("r"));
    session.lose();
    let kinds: Vec<_> = session
        .begin(Welcomed::default())
        .into_iter()
        .map(|message| match message.body {
            Some(Body::Create(_)) => 0,
            Some(Body::Subscribe(v1::Subscribe { view: Some(view) })) => view.view_id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [0, 1]);
}

#[test]
fn a_reset_empties_the_replica_and_voids_its_news() {
    let mut session = session();
    session.accept(frame(v1::Frame { frame: 1, entered: vec![7], ..Default::default() })).expect("accepts");
    session.accept(server(server_message::Body::Reset(v1::Reset {}))).expect("accepts");
    assert!(session.replica.is_empty());
    session.accept(frame(v1::Frame { frame: 1, entered: vec![8], ..Default::default() })).expect("accepts");
    let events = events(&mut session);
    let [Event::Reset, Event::Frame(frame)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(frame.changes.entered, [EntityId(8)]);
    assert_eq!(frame.changes.left, []);
}

#[test]
fn a_broken_frame_is_an_error_that_a_new_session_can_mend() {
    let mut session = session();
    let left = v1::Left { entities: vec![7], ..Default::default() };
    let error = session
        .accept(frame(v1::Frame { frame: 1, left: vec![left], ..Default::default() }))
        .expect_err("left without entering");
    assert!(!error.is_final());
    assert_eq!(error.to_string(), "the server broke the protocol: entity 7 is not in view but left");
}

#[test]
fn goodbye_tells_when_to_come_back_and_replaced_is_final() {
    let mut session = session();
    let goodbye = |reason: &str| {
        server(server_message::Body::Goodbye(v1::Goodbye {
            reason: reason.into(),
            retry_after_ms: 1500,
            ..Default::default()
        }))
    };
    session.accept(goodbye("DRAINING")).expect("accepts");
    let retry_after = Duration::from_millis(1500);
    assert_eq!(session.take_farewell(), Some(Farewell { retry_after }));
    assert!(matches!(events(&mut session).as_slice(), [Event::Goodbye { .. }]));
    assert!(session.accept(goodbye("SESSION_REPLACED")).expect_err("final").is_final());
}
