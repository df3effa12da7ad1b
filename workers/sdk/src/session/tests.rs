//! The session against messages as a server sends them.

use super::*;
use crate::{Ask, Batch, Constraint, Densities, EventsMissed, NewEntities, SpaceId, Square, View};

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
fn writes_name_what_was_seen_and_creates_that_are_repeated_nothing() {
    let mut session = session();
    let mut body = create("r");
    name_seen(&mut body, 4);
    session.stamp(body);
    let mut body = update();
    name_seen(&mut body, 5);
    assert!(matches!(body, Body::Update(v1::Update { authority_seen: 5, .. })));
    session.lose();
    let repeated = session.begin(Welcomed::default());
    let Some(Body::Create(again)) = &repeated[0].body else { panic!("{repeated:?}") };
    assert_eq!((again.authority_seen, again.request_id.as_str()), (0, "r"));
}

#[test]
fn what_is_owned_goes_with_the_session_and_so_does_its_news() {
    let mut session = session();
    let lease = v1::Lease { region: 1, epoch: 2, ..Default::default() };
    let gained = v1::Authority { number: 1, body: Some(v1::authority::Body::Gained(lease)) };
    session.accept(server(server_message::Body::Authority(gained.clone()))).expect("accepts");
    assert_eq!(session.authority.regions().count(), 1);
    session.lose();
    assert_eq!((session.authority.regions().count(), events(&mut session)), (0, vec![]));
    session.begin(Welcomed::default());
    session.accept(server(server_message::Body::Authority(gained))).expect("numbers begin anew");
    assert!(matches!(events(&mut session).as_slice(), [Event::RegionGained(_)]));
}

#[test]
fn it_is_filled_once_each_view_was() {
    let mut session = session();
    let view = View::new(ViewId(1), Constraint::all()).into_wire();
    session.stamp(Body::Subscribe(v1::Subscribe { view: Some(view) }));
    assert!(!session.is_filled());
    let ready = v1::ViewReady { view_id: 1, entity_count: 0 };
    let filled = v1::Frame { frame: 1, applied_seq: 2, view_ready: vec![ready], ..Default::default() };
    session.accept(frame(filled)).expect("accepts");
    assert!(session.is_filled());
    session.lose();
    session.begin(Welcomed::default());
    assert!(!session.is_filled(), "it is filled again");
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

fn page(seq: u64, entities: &[u64], last: bool) -> v1::ServerMessage {
    let entities = entities.to_vec();
    server(server_message::Body::Answer(v1::Answer {
        seq,
        entities,
        last,
        match_count: 9,
        ..Default::default()
    }))
}

#[test]
fn answers_come_page_by_page_each_to_its_question() {
    let mut session = session();
    let asks: Vec<_> =
        (0..2).map(|_| session.stamp(Body::Ask(Ask::new(Constraint::all()).into_wire())).1).collect();
    assert_eq!(session.in_flight_len(), 2);
    for message in [page(3, &[5], false), page(2, &[7], true), page(3, &[6], true), page(3, &[8], true)] {
        session.accept(message).expect("accepts");
    }
    session.accept(frame(v1::Frame { frame: 1, applied_seq: 3, ..Default::default() })).expect("accepts");
    assert_eq!(session.in_flight_len(), 0);
    let found = |answer: &Answer| answer.entities.iter().map(|found| found.entity.0).collect::<Vec<_>>();
    let first = session.inbox.take_answer(asks[0]).expect("it is there").expect("an answer");
    assert_eq!((found(&first), first.match_count), (vec![7], 9));
    assert_eq!(session.inbox.take_answer(asks[0]), None);
    let events = events(&mut session);
    let [Event::Answered { ticket, answer: Ok(answer) }, Event::Frame(_)] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((*ticket, found(answer)), (asks[1], vec![5, 6]));
}

#[test]
fn a_question_that_is_refused_or_lost_is_an_error_of_its_own() {
    let mut session = session();
    let mut ask = || session.stamp(Body::Ask(v1::Ask::default())).1;
    let (refused, counted, lost) = (ask(), ask(), ask());
    let rejection =
        v1::Rejection { seq: 2, reason: "QUERY_INVALID".into(), detail: "no".into(), ..Default::default() };
    let collapsed = v1::RejectionCount { reason: "QUERY_INVALID".into(), count: 1 };
    session
        .accept(frame(v1::Frame {
            frame: 1,
            applied_seq: 3,
            rejections: vec![rejection],
            rejections_collapsed: vec![collapsed],
            ..Default::default()
        }))
        .expect("accepts");
    assert!(session.awaits_answer(lost) && !session.awaits_answer(refused));
    assert_eq!(session.lose(), [], "it is told of the question");
    let mut error =
        |ticket| session.inbox.take_answer(ticket).expect("told").expect_err("an error").to_string();
    assert_eq!(error(refused), "QUERY_INVALID: no");
    assert!(error(counted).contains("only counts"));
    assert_eq!(error(lost), "the connection was lost before the answer came");
    assert!(!events(&mut session).iter().any(|event| matches!(event, Event::Rejected(_))));
}

#[test]
fn events_of_frames_come_in_order_with_the_frame() {
    let mut session = session();
    let column = |event, entities: &[u64]| v1::EventColumn {
        component: 1001,
        event,
        entities: entities.to_vec(),
        payloads: entities.iter().map(|id| vec![8, *id as u8].into()).collect(),
    };
    let missed = v1::EventsMissed { component: 1001, event: 2, count: 4 };
    let first = v1::Frame {
        frame: 1,
        entered: vec![7, 8],
        events: vec![column(1, &[7, 8]), column(2, &[7])],
        more: true,
        ..Default::default()
    };
    session.accept(frame(first)).expect("accepts");
    assert_eq!(events(&mut session), []);
    let left = vec![v1::Left { entities: vec![8], ..Default::default() }];
    let second = v1::Frame {
        frame: 2,
        left,
        events: vec![column(1, &[8])],
        events_missed: vec![missed],
        ..Default::default()
    };
    session.accept(frame(second)).expect("accepts");
    let events = events(&mut session);
    let [Event::Frame(frame)] = events.as_slice() else { panic!("{events:?}") };
    let told: Vec<_> = frame.events.iter().map(|e| (e.event, e.entity.0, e.payload[1])).collect();
    assert_eq!(told, [(1, 7, 7), (1, 8, 8), (2, 7, 7), (1, 8, 8)]);
    assert_eq!(frame.events_missed, [EventsMissed { component: ComponentId(1001), event: 2, count: 4 }]);

    #[derive(Clone, PartialEq, prost::Message)]
    struct Bang {
        #[prost(uint32, tag = "1")]
        power: u32,
    }
    crate::event!(Bang, 1, 1001, "test.Bang");
    assert_eq!(frame.events[0].get::<Bang>().expect("decodes"), Some(Bang { power: 7 }));
    assert_eq!(frame.events[2].get::<Bang>().expect("is another"), None);

    let mut uneven = column(1, &[7]);
    uneven.payloads.clear();
    let uneven = v1::Frame { frame: 3, events: vec![uneven], ..Default::default() };
    let error = session.accept(self::frame(uneven)).expect_err("lengths").to_string();
    assert!(error.contains("event 1 of component 1001 has arrays of different lengths"), "{error}");
}

#[test]
fn densities_are_kept_per_view_until_it_ends() {
    let mut session = session();
    let view = View::of_densities(ViewId(4), Densities::new(SpaceId(0), 100.0)).into_wire();
    session.stamp(Body::Subscribe(v1::Subscribe { view: Some(view) }));
    let mut number = 0;
    let mut hear = |session: &mut Session, kind: &str, squares: &[(i32, i32, u64)], square_m: f64| {
        number += 1;
        let column = v1::DensityColumn {
            view_id: 4,
            square_m,
            r#type: kind.into(),
            x: squares.iter().map(|square| square.0).collect(),
            y: squares.iter().map(|square| square.1).collect(),
            counts: squares.iter().map(|square| square.2).collect(),
        };
        session
            .accept(frame(v1::Frame { frame: number, densities: vec![column], ..Default::default() }))
            .expect("accepts");
    };
    let square = |kind: &str, x, y| Square { r#type: kind.into(), x, y };
    hear(&mut session, "", &[(0, 0, 3), (-1, 2, 1)], 100.0);
    hear(&mut session, "boat", &[(0, 0, 2)], 100.0);
    hear(&mut session, "", &[(-1, 2, 0)], 100.0);
    let map = session.replica.densities(ViewId(4)).expect("squares");
    assert_eq!((map.square_m(), map.total(), map.count(&square("", -1, 2))), (100.0, 5, 0));
    let all: Vec<_> = map.iter().map(|(square, count)| (square.clone(), count)).collect();
    assert_eq!(all, [(square("", 0, 0), 3), (square("boat", 0, 0), 2)]);
    let heard = events(&mut session);
    let [Event::Frame(frame)] = heard.as_slice() else { panic!("{heard:?}") };
    let changed = [square("", -1, 2), square("", 0, 0), square("boat", 0, 0)];
    assert_eq!(frame.changes.densities, changed.map(|square| (ViewId(4), square)));

    hear(&mut session, "", &[(0, 0, 4)], 200.0);
    let map = session.replica.densities(ViewId(4)).expect("squares");
    assert_eq!((map.square_m(), map.total()), (200.0, 4));
    session.stamp(Body::EndView(v1::EndView { view_id: 4 }));
    hear(&mut session, "", &[(1, 1, 1)], 200.0);
    assert_eq!(session.replica.densities(ViewId(4)), None, "what was on its way is not shown");
}
