//! What browsers need: a session in calls, gRPC-Web over HTTP/1.1, and no door for pages of strangers.

use std::io::{Read, Write};
use std::net::TcpStream;

use prost::Message;
use spatialdb_proto::error_of_status;
use spatialdb_proto::v1::{self, worker_service_client::WorkerServiceClient};
use spatialdb_tests::{Client, Launch, World, eventually};
use spatialdb_types::Reason;
use tonic::Status;

fn reason(status: &Status) -> Reason {
    error_of_status(status).unwrap_or_else(|| panic!("an error of ours: {status:?}")).reason
}

async fn open(world: &World) -> (WorkerServiceClient<tonic::transport::Channel>, String) {
    let mut service = WorkerServiceClient::new(world.channel().await);
    let hello = Some(Client::hello("viewer", ""));
    let opened = service.open(v1::OpenRequest { hello }).await.expect("opened").into_inner();
    (service, opened.session_key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_session_in_calls_has_one_voice_and_ends_with_it() {
    let world = World::launch(Launch::probe());
    let (mut service, session_key) = open(&world).await;
    assert!(session_key.len() >= 32, "nobody guesses it");
    let request = v1::FramesRequest { session_key: session_key.clone() };
    let frames = service.frames(request.clone()).await.expect("frames").into_inner();
    let again = service.frames(request).await.expect_err("refused");
    assert_eq!(reason(&again), Reason::MessageUnexpected);
    let unknown = v1::FramesRequest { session_key: "0".repeat(32) };
    assert_eq!(reason(&service.frames(unknown).await.expect_err("refused")), Reason::SessionNotFound);

    // A gap ends the session, and both calls say so.
    let heartbeat = v1::client_message::Body::Heartbeat(v1::Heartbeat::default());
    let message = |seq| v1::ClientMessage { seq, body: Some(heartbeat.clone()) };
    let send = |messages| v1::SendRequest { session_key: session_key.clone(), messages };
    service.send(send(vec![message(2), message(3)])).await.expect("taken");
    let gap = service.send(send(vec![message(7)])).await.expect_err("refused");
    assert_eq!(reason(&gap), Reason::SequenceGap);
    let mut frames = frames;
    let end = loop {
        match frames.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ends with an error"),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&end), Reason::SequenceGap);
    let late = service.send(send(vec![message(4)])).await.expect_err("refused");
    assert_eq!(reason(&late), Reason::SessionNotFound);
    eventually("the session is gone", || async { world.sessions().await.is_empty().then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_reader_that_goes_takes_its_session_along_and_one_that_never_comes_too() {
    let world = World::launch(Launch::probe());
    let (mut service, session_key) = open(&world).await;
    let frames = service.frames(v1::FramesRequest { session_key }).await.expect("frames");
    assert_eq!(world.sessions().await.len(), 1);
    drop(frames);
    eventually("the session is gone", || async { world.sessions().await.is_empty().then_some(()) }).await;
    let (_service, _key) = open(&world).await;
    assert_eq!(world.sessions().await.len(), 1);
    // Its Frames do not come for ten seconds.
    eventually("the session is gone", || async { world.sessions().await.is_empty().then_some(()) }).await;
}

/// One call as a browser makes it. Gives the head and the body of the answer.
fn web_call(world: &World, path: &str, message: &impl Message, headers: &str) -> (String, Vec<u8>) {
    let payload = message.encode_to_vec();
    let mut body = vec![0];
    body.extend((payload.len() as u32).to_be_bytes());
    body.extend(payload);
    let mut stream = TcpStream::connect(world.address()).expect("connected");
    let head = format!(
        "POST {path} HTTP/1.1\r\n{headers}Content-Type: application/grpc-web+proto\r\nX-Grpc-Web: 1\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(&body).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answered");
    let at = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    (String::from_utf8_lossy(&answer[..at]).into_owned(), answer[at + 4..].to_vec())
}

#[test]
fn pages_of_strangers_are_refused_on_every_way_in() {
    let world = World::launch(
        Launch::probe().config("[server]\nhosts = [\"world.example\"]\norigins = [\"https://map.example\"]"),
    );
    let own = world.address().to_owned();
    let open = v1::OpenRequest { hello: Some(Client::hello("viewer", "")) };
    let path = "/spatialdb.v1.WorkerService/Open";
    let same = format!("http://{own}");
    let allowed = [
        (own.as_str(), None),
        (own.as_str(), Some(same.as_str())),
        ("localhost:7400", Some("http://localhost:7400")),
        ("world.example", None),
        (own.as_str(), Some("https://map.example")),
    ];
    for (host, origin) in allowed {
        let origin = origin.map_or(String::new(), |origin| format!("Origin: {origin}\r\n"));
        let (head, body) = web_call(&world, path, &open, &format!("Host: {host}\r\n{origin}"));
        assert!(head.starts_with("HTTP/1.1 200") && !body.is_empty(), "{host} {origin}: {head}");
        assert!(!head.contains("grpc-status: 7"), "{host} {origin}: {head}");
    }
    let refused = [
        ("evil.example", None, "Host"),
        (own.as_str(), Some("http://evil.example"), "Origin"),
        (own.as_str(), Some("null"), "Origin"),
        ("evil.example", Some("http://evil.example"), "Host"),
    ];
    for (host, origin, named) in refused {
        let origin = origin.map_or(String::new(), |origin| format!("Origin: {origin}\r\n"));
        let headers = format!("Host: {host}\r\n{origin}");
        let (head, _) = web_call(&world, path, &open, &headers);
        assert!(head.contains("grpc-status: 7") && head.contains("HOST_REFUSED"), "{headers}: {head}");
        assert!(head.contains(named), "{head}");
        for plain in ["/", "/metrics"] {
            let mut stream = TcpStream::connect(&own).expect("connected");
            write!(stream, "GET {plain} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("answered");
            assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("HOST_REFUSED"), "{answer}");
        }
    }
}

/// A browser asks first whether a page of another origin may call, and shows it the answer only if it may.
#[test]
fn pages_that_the_settings_name_may_call_from_elsewhere() {
    let config = "[server]\norigins = [\"https://map.example\"]";
    let world = World::launch(Launch::probe().config(config));
    let ask = |origin: &str| {
        let mut stream = TcpStream::connect(world.address()).expect("connected");
        let head = format!(
            "OPTIONS /spatialdb.v1.WorkerService/Open HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type,x-grpc-web\r\n\
             Connection: close\r\n\r\n",
            world.address()
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer.to_lowercase()
    };
    let yes = ask("https://map.example");
    assert!(yes.starts_with("http/1.1 204"), "{yes}");
    assert!(yes.contains("access-control-allow-origin: https://map.example"), "{yes}");
    assert!(yes.contains("x-grpc-web") && yes.contains("post"), "{yes}");
    let no = ask("https://evil.example");
    assert!(no.starts_with("http/1.1 403") && !no.contains("access-control-allow-origin"), "{no}");
    let open = v1::OpenRequest { hello: Some(Client::hello("viewer", "")) };
    let headers = format!("Host: {}\r\nOrigin: https://map.example\r\n", world.address());
    let (head, _) = web_call(&world, "/spatialdb.v1.WorkerService/Open", &open, &headers);
    assert!(head.to_lowercase().contains("access-control-allow-origin: https://map.example"), "{head}");
}
