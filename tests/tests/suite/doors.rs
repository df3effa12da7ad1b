//! Locked doors: each way in, with each kind of token.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use spatialdb_proto::error_of_status;
use spatialdb_proto::v1::{
    self, admin_service_client::AdminServiceClient, client_message::Body,
    worker_service_client::WorkerServiceClient, world_service_client::WorldServiceClient,
};
use spatialdb_tests::{
    Client, Ending, Launch, METADATA, World, all_made, column, eventually, metadata, run_in, update, view,
};
use spatialdb_types::Reason;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// A folder with a token file, and the tokens that were made.
struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn make(&self, args: &[&str]) -> String {
        let done = run_in(self.folder.path(), &[&["token", "new"], args].concat());
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        assert!(done.stdout.starts_with("sdb_"), "{}", done.stdout);
        done.stdout
    }

    fn revoke(&self, name: &str) {
        let done = run_in(self.folder.path(), &["token", "revoke", name]);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
    }

    fn world(&self) -> World {
        let file = self.folder.path().join("tokens.toml");
        World::launch(Launch::probe().config(&format!("[server]\ntokens = {file:?}")))
    }
}

fn with<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value: MetadataValue<Ascii> = format!("Bearer {token}").parse().expect("a value");
        request.metadata_mut().insert("authorization", value);
    }
    request
}

fn reason(status: &Status) -> Reason {
    error_of_status(status).unwrap_or_else(|| panic!("an error of ours: {status:?}")).reason
}

/// What a way in answers: fine, or why not.
type Answer = Result<(), Reason>;

/// Every call of both services by name, with a token in its metadata.
async fn call(channel: &Channel, name: &str, token: Option<&str>) -> Answer {
    let mut world = WorldServiceClient::new(channel.clone());
    let mut workers = WorkerServiceClient::new(channel.clone());
    let mut admin = AdminServiceClient::new(channel.clone());
    let hello = |worker_type: &str| Client::hello(worker_type, "");
    let constraint = Some(all_made());
    let result: Result<(), Status> = match name {
        "GetWorld" => world.get_world(with(v1::GetWorldRequest {}, token)).await.map(drop),
        "GetSchema" => world.get_schema(with(v1::GetSchemaRequest {}, token)).await.map(drop),
        "GetEntity" => world.get_entity(with(v1::GetEntityRequest { entity: 1 }, token)).await.map(drop),
        "Query" => {
            let request = v1::QueryRequest { constraint, ..Default::default() };
            world.query(with(request, token)).await.map(drop)
        }
        "ListSessions" => world.list_sessions(with(v1::ListSessionsRequest {}, token)).await.map(drop),
        "GetFlags" => world.get_flags(with(v1::GetFlagsRequest::default(), token)).await.map(drop),
        "SetFlags" => {
            let request = v1::SetFlagsRequest { worker_type: "probe".to_owned(), ..Default::default() };
            world.set_flags(with(request, token)).await.map(drop)
        }
        "ApplySchema" => {
            let descriptor_set = world
                .get_schema(with(v1::GetSchemaRequest {}, token))
                .await
                .map_or_else(|_| Vec::new().into(), |schema| schema.into_inner().descriptor_set);
            let request = v1::ApplySchemaRequest { descriptor_set, dry_run: true };
            world.apply_schema(with(request, token)).await.map(drop)
        }
        "ListRegions" => admin.list_regions(with(v1::ListRegionsRequest::default(), token)).await.map(drop),
        "GetWanted" => admin.get_wanted(with(v1::GetWantedRequest {}, token)).await.map(drop),
        "ExplainEntity" => {
            let request = v1::ExplainEntityRequest { entity: 1, ..Default::default() };
            admin.explain_entity(with(request, token)).await.map(drop)
        }
        "WatchAuthority" => admin.watch_authority(with(v1::WatchAuthorityRequest {}, token)).await.map(drop),
        "SplitRegion" => admin.split_region(with(v1::SplitRegionRequest::default(), token)).await.map(drop),
        "MergeRegions" => {
            admin.merge_regions(with(v1::MergeRegionsRequest::default(), token)).await.map(drop)
        }
        "PinRegion" => admin.pin_region(with(v1::PinRegionRequest::default(), token)).await.map(drop),
        "UnpinRegion" => {
            admin.unpin_region(with(v1::UnpinRegionRequest { region: 1 }, token)).await.map(drop)
        }
        "DrainWorker" => admin.drain_worker(with(v1::DrainWorkerRequest::default(), token)).await.map(drop),
        "Open" => {
            let request = v1::OpenRequest { hello: Some(hello("probe")) };
            workers.open(with(request, token)).await.map(drop)
        }
        "OpenByHello" => {
            let hello = v1::Hello { token: token.unwrap_or_default().to_owned(), ..hello("probe") };
            workers.open(v1::OpenRequest { hello: Some(hello) }).await.map(drop)
        }
        "Attach" => {
            let first = v1::ClientMessage { seq: 1, body: Some(Body::Hello(hello("probe"))) };
            let stream = tokio_stream::StreamExt::chain(tokio_stream::once(first), tokio_stream::pending());
            match workers.attach(with(stream, token)).await {
                Ok(answer) => answer.into_inner().message().await.map(drop),
                Err(status) => Err(status),
            }
        }
        "Frames" => {
            let request = v1::FramesRequest { session_key: "0".repeat(32) };
            workers.frames(with(request, token)).await.map(drop)
        }
        "Send" => {
            let request = v1::SendRequest { session_key: "0".repeat(32), messages: Vec::new() };
            workers.send(with(request, token)).await.map(drop)
        }
        "Reflection" => {
            use tonic_reflection::pb::v1::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest,
            };
            let ask = Some(MessageRequest::ListServices(String::new()));
            let request = ServerReflectionRequest { host: String::new(), message_request: ask };
            let mut client = ServerReflectionClient::new(channel.clone());
            client.server_reflection_info(with(tokio_stream::once(request), token)).await.map(drop)
        }
        "Health" => {
            let mut client = tonic_health::pb::health_client::HealthClient::new(channel.clone());
            client.check(with(tonic_health::pb::HealthCheckRequest::default(), token)).await.map(drop)
        }
        other => panic!("{other}"),
    };
    result.map_err(|status| {
        let reason = reason(&status);
        let code = spatialdb_proto::grpc_code(reason.code());
        assert_eq!(status.code(), code, "{name}: {status:?}");
        assert_ne!(status.code(), Code::Internal);
        reason
    })
}

/// A plain page over HTTP/1.1.
fn get(world: &World, path: &str, token: Option<&str>) -> String {
    let mut stream = TcpStream::connect(world.address()).expect("connected");
    let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{token}Connection: close\r\n\r\n", world.address());
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).expect("a status")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn each_way_in_with_each_kind_of_token() {
    use Reason::{
        NotPermitted, RegionNotFound, SessionNotFound, TokenExpired, TokenInvalid, TokenMissing,
        WorkerNotFound,
    };
    let keys = Keys::new();
    let worker = keys.make(&["--worker", "probe"]);
    let other = keys.make(&["--worker", "other"]);
    let read_only = keys.make(&["--worker", "probe", "--read-only", "--name", "reader"]);
    let tool = keys.make(&["--tool", "--name", "looker"]);
    let admin = keys.make(&["--tool", "--may", "query", "--may", "edit", "--name", "admin"]);
    let blind = keys.make(&["--worker", "probe", "--may", "create", "--name", "blind"]);
    let expired = keys.make(&["--worker", "probe", "--expires", "1ms", "--name", "old"]);
    let mut wrong = worker.clone();
    wrong.replace_range(wrong.len() - 4.., if wrong.ends_with("0000") { "1111" } else { "0000" });
    let world = keys.world();
    let channel = world.channel().await;

    let look = [
        "GetWorld",
        "GetSchema",
        "GetEntity",
        "Query",
        "ListSessions",
        "GetFlags",
        "Reflection",
        "ListRegions",
        "GetWanted",
        "WatchAuthority",
        "ExplainEntity",
    ];
    let edit = ["SetFlags", "ApplySchema"];
    // This world is open: who is let in finds nothing to steer.
    let steer =
        ["SplitRegion", "MergeRegions", "PinRegion", "UnpinRegion"].map(|name| (name, RegionNotFound));
    let steer = [&steer[..], &[("DrainWorker", WorkerNotFound)]].concat();
    let attach = ["Attach", "Open", "OpenByHello"];
    let by_key = ["Frames", "Send"];
    let ok: Answer = Ok(());
    // Who, with what; then what looking, editing and attaching as "probe" answer.
    let table: [(&str, Option<&str>, Answer, Answer, Answer); 10] = [
        ("nobody", None, Err(TokenMissing), Err(TokenMissing), Err(TokenMissing)),
        ("garbage", Some("let me in"), Err(TokenInvalid), Err(TokenInvalid), Err(TokenInvalid)),
        ("a wrong secret", Some(&wrong), Err(TokenInvalid), Err(TokenInvalid), Err(TokenInvalid)),
        ("an expired one", Some(&expired), Err(TokenExpired), Err(TokenExpired), Err(TokenExpired)),
        ("a worker", Some(&worker), ok, Err(NotPermitted), ok),
        ("another type", Some(&other), ok, Err(NotPermitted), Err(NotPermitted)),
        ("a read-only one", Some(&read_only), ok, Err(NotPermitted), ok),
        ("a tool", Some(&tool), ok, Err(NotPermitted), Err(NotPermitted)),
        ("an admin", Some(&admin), ok, ok, Err(NotPermitted)),
        ("a blind one", Some(&blind), Err(NotPermitted), Err(NotPermitted), ok),
    ];
    for (who, token, looking, editing, attaching) in table {
        for (names, expected) in [(&look[..], looking), (&edit[..], editing), (&attach[..], attaching)] {
            for name in names {
                assert_eq!(call(&channel, name, token).await, expected, "{who}: {name}");
            }
        }
        for &(name, nothing) in &steer {
            assert_eq!(call(&channel, name, token).await, editing.and(Err(nothing)), "{who}: {name}");
        }
        // A key lets in, whatever token comes with it; health and the page show nothing of the world.
        for name in by_key {
            assert_eq!(call(&channel, name, token).await, Err(SessionNotFound), "{who}: {name}");
        }
        assert_eq!(call(&channel, "Health", token).await, ok, "{who}");
        let http = match looking {
            Ok(()) => "200",
            Err(NotPermitted) => "403",
            Err(_) => "401",
        };
        assert_eq!(status(&get(&world, "/metrics", token)), http, "{who}");
        assert_ne!(status(&get(&world, "/", token)), "401", "{who}");
        let nowhere = if http == "200" { "404" } else { http };
        assert_eq!(status(&get(&world, "/no/such/path", token)), nowhere, "{who}");
    }
}

async fn attach(world: &World, worker_type: &str, token: &str) -> Client {
    Client::attach_with(world, v1::Hello { token: token.to_owned(), ..Client::hello(worker_type, "") }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn each_message_of_a_session_with_each_right() {
    let keys = Keys::new();
    let tokens = [
        // The token; whether it may write, create, delete, look.
        (keys.make(&["--worker", "probe", "--name", "all"]), [true, true, true, true]),
        (keys.make(&["--worker", "probe", "--read-only", "--name", "reader"]), [false, false, false, true]),
        (keys.make(&["--worker", "probe", "--may", "create", "--name", "maker"]), [true, true, false, false]),
        (
            keys.make(&["--worker", "probe", "--may", "delete", "--name", "killer"]),
            [true, false, true, false],
        ),
    ];
    let world = keys.world();
    for (token, [write, create, delete, look]) in tokens {
        let mut client = attach(&world, "probe", &token).await;
        let columns = || vec![column(METADATA, [(1, metadata("a", "b"))])];
        let messages = [
            ("update", update(vec![], columns()), write),
            (
                "add",
                Body::AddComponents(v1::AddComponents { columns: columns(), ..Default::default() }),
                write,
            ),
            (
                "remove",
                Body::RemoveComponents(v1::RemoveComponents {
                    columns: vec![v1::ComponentEntities { component: METADATA, entities: vec![2] }],
                    ..Default::default()
                }),
                write,
            ),
            ("create", Body::Create(v1::Create { count: 1, ..Default::default() }), create),
            ("reserve", Body::ReserveIds(v1::ReserveIds { count: 1 }), create),
            ("delete", Body::Delete(v1::Delete { entities: vec![], ..Default::default() }), delete),
            ("subscribe", Body::Subscribe(v1::Subscribe { view: Some(view(1, all_made())) }), look),
            ("heartbeat", Body::Heartbeat(v1::Heartbeat::default()), true),
        ];
        for (what, body, may) in messages {
            let outcome = client.write(body).await;
            let refused: Vec<_> = outcome.rejections.iter().map(|one| one.reason.as_str()).collect();
            // Another client may have taken what is removed already.
            let refused: Vec<_> =
                refused.into_iter().filter(|reason| *reason != "COMPONENT_NOT_FOUND").collect();
            assert_eq!(refused, if may { vec![] } else { vec!["NOT_PERMITTED"] }, "{what}");
        }
        // Each create is answered, a refused one with nothing.
        client.until("the create is answered", |client| client.created.len() == 1).await;
        assert_eq!(client.created[0].entities[0] != 0, create);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn tokens_come_and_go_while_the_world_runs() {
    let keys = Keys::new();
    let old = keys.make(&["--worker", "probe", "--name", "old"]);
    let short = keys.make(&["--worker", "probe", "--name", "short", "--expires", "3s"]);
    let world = keys.world();
    let mut revoked = attach(&world, "probe", &old).await;
    let mut expiring = attach(&world, "probe", &short).await;
    let new = keys.make(&["--worker", "probe", "--name", "new"]);
    let channel = world.channel().await;
    eventually("the new one lets in", || async { call(&channel, "GetWorld", Some(&new)).await.ok() }).await;
    keys.revoke("old");
    assert_eq!(
        revoked.ending().await,
        Ending::Goodbye("TOKEN_INVALID".to_owned(), "the token has expired or was revoked".to_owned())
    );
    assert_eq!(call(&channel, "GetWorld", Some(&old)).await, Err(Reason::TokenInvalid));
    let Ending::Goodbye(reason, _) = expiring.ending().await else { panic!("a goodbye") };
    assert_eq!(reason, "TOKEN_INVALID");
    assert_eq!(call(&channel, "GetWorld", Some(&new)).await, Ok(()));
}

#[test]
fn the_token_file_is_kept_and_checked() {
    let keys = Keys::new();
    let at = |args: &[&str]| run_in(keys.folder.path(), args);
    let token = keys.make(&["--worker", "flight", "--expires", "30d"]);
    let file = keys.folder.path().join("tokens.toml");
    let text = fs::read_to_string(&file).expect("written");
    let secret = token.split('_').nth(2).expect("a secret");
    assert!(!text.contains(secret), "only its hash is kept");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).expect("there").permissions());
    assert_eq!(mode & 0o077, 0, "for its owner only");
    let list = at(&["token", "list", "--json"]);
    let line: serde_json::Value = serde_json::from_str(&list.stdout).expect("JSON");
    assert_eq!(
        (&line["name"], &line["kind"], &line["expired"]),
        (&"flight".into(), &"worker".into(), &false.into())
    );
    assert!(at(&["token", "list"]).stdout.contains("flight"));
    let unknown = at(&["token", "revoke", "nobody"]);
    assert_eq!(unknown.code, Some(1));
    assert!(
        unknown.stderr.contains("nobody") && unknown.stderr.contains("tokens.toml"),
        "{}",
        unknown.stderr
    );

    for (wrong, parts) in [
        ("[[tokens]]\nid = 'a'", &["missing field"][..]),
        ("not toml", &["tokens.toml"]),
        ("[[tokens]]\nid='a'\nname='a'\nhash='00'\nkind='worker'", &["token a", "hash", "64"]),
        ("[[tokens]]\nid='a'\nname='a'\nhash='00'\nkind='worker'\ncolour='red'", &["colour"]),
    ] {
        fs::write(&file, wrong).expect("written");
        let done = at(&["token", "list"]);
        assert_eq!(done.code, Some(78), "{}", done.stderr);
        for part in parts {
            assert!(done.stderr.contains(part), "{wrong}: {}", done.stderr);
        }
        fs::write(keys.folder.path().join("world.toml"), "[server]\ntokens = 'tokens.toml'")
            .expect("written");
        let done = at(&["launch", "--config", "world.toml", "--listen", "127.0.0.1:0", "--empty"]);
        assert_eq!(done.code, Some(78), "{}", done.stderr);
    }
}

/// Strangers who say nothing make room for others, and are hung up on.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn strangers_make_room_and_are_hung_up_on() {
    let world = World::launch(Launch::probe().config("[limits]\nconnections_unadmitted_max = 8"));
    let mut known = world.attach("probe").await;
    let started = Instant::now();
    let mut strangers: Vec<TcpStream> =
        (0..20).map(|_| TcpStream::connect(world.address()).expect("connected")).collect();
    // Those who came first are closed at once; whoever is known comes in all the same.
    for stranger in &mut strangers[..4] {
        stranger.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
        assert!(matches!(stranger.read(&mut [0; 64]), Ok(0) | Err(_)));
    }
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(world.count(all_made()).await, 64);
    assert!(known.write(Body::Heartbeat(v1::Heartbeat::default())).await.rejections.is_empty());
    // Ten seconds are enough to say who one is.
    for mut stranger in strangers {
        stranger.set_read_timeout(Some(Duration::from_secs(15))).expect("set");
        let mut rest = Vec::new();
        // One that had to go may have been reset.
        let _ = stranger.read_to_end(&mut rest);
    }
    assert!(started.elapsed() > Duration::from_secs(8) && started.elapsed() < Duration::from_secs(25));
    let again = world.attach("probe").await;
    drop(again);
    assert_eq!(world.count(all_made()).await, 64);
}

/// What a stranger may say is bounded for its whole connection; a token first, and then all that one likes.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn strangers_are_not_listened_to_for_long() {
    let keys = Keys::new();
    let token = keys.make(&["--worker", "probe"]);
    let world = keys.world();
    let long = "x".repeat(300 << 10);
    let hello = |token: &str| v1::Hello {
        token: token.to_owned(),
        instance: long.clone(),
        ..Client::hello("probe", "")
    };
    let open = |channel: Channel, token: Option<&str>, hello: v1::Hello| {
        let request = with(v1::OpenRequest { hello: Some(hello) }, token);
        async move { WorkerServiceClient::new(channel).open(request).await.expect_err("refused") }
    };
    let late = open(world.channel().await, None, hello(&token)).await;
    let error = error_of_status(&late).unwrap_or_else(|| panic!("{late}"));
    assert!(error.detail.contains("connection_unadmitted_bytes_max"), "{error}");
    // Known by the call itself: heard to its end, where the text is too long by the rules.
    let known = error_of_status(&open(world.channel().await, Some(&token), hello("")).await).expect("ours");
    assert_eq!(known.reason, Reason::NameInvalid);
}

/// A tool that looks changes nothing; a name belongs to whoever has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn tools_look_and_do_not_throw_each_other_out() {
    let keys = Keys::new();
    let (tool, guest) = (keys.make(&["--tool", "--name", "one"]), keys.make(&["--tool", "--name", "two"]));
    let editor = keys.make(&["--tool", "--may", "query", "--may", "edit", "--name", "editor"]);
    let world = keys.world();
    let hello =
        |token: &str, name: &str| v1::Hello { token: token.to_owned(), ..Client::hello("viewer", name) };
    let write = || update(vec![], vec![column(METADATA, [(1, metadata("x", "y"))])]);
    let mut viewer = Client::attach_with(&world, hello(&tool, "alice")).await;
    assert_eq!(viewer.write(write()).await.rejections[0].reason, "NOT_PERMITTED");
    let open = v1::OpenRequest { hello: Some(hello(&guest, "alice")) };
    let refused = WorkerServiceClient::new(world.channel().await).open(open).await.expect_err("taken");
    assert_eq!(error_of_status(&refused).expect("ours").reason, Reason::NotPermitted);
    assert!(viewer.write(Body::Heartbeat(v1::Heartbeat::default())).await.rejections.is_empty());
    let mut editing = Client::attach_with(&world, hello(&editor, "bob")).await;
    assert!(editing.write(write()).await.rejections.is_empty());
}

/// Two that change the token file at once both have their way.
#[test]
fn tokens_are_made_side_by_side() {
    let keys = Keys::new();
    std::thread::scope(|scope| {
        for n in 0..12 {
            let keys = &keys;
            scope.spawn(move || keys.make(&["--tool", "--name", &format!("t{n}")]));
        }
    });
    let list = run_in(keys.folder.path(), &["token", "list", "--json"]).stdout;
    assert_eq!(list.lines().count(), 12, "{list}");
    let folder = keys.folder.path();
    for wrong in [
        &["--tool", "--expires", "999999999999d"][..],
        &["--tool", "--expires", "0s"],
        &["--worker", ""],
        &["--worker", "*"],
        &["--tool", "--name", "a\nb"],
    ] {
        let done = run_in(folder, &[&["token", "new"], wrong].concat());
        assert!(done.code == Some(2) && !done.stderr.contains("panicked"), "{wrong:?}: {}", done.stderr);
    }
}

/// However many calls are refused, the log does not grow with them.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_few_refusals_a_second_are_logged_and_all_are_counted() {
    let keys = Keys::new();
    let token = keys.make(&["--tool"]);
    let world = keys.world();
    let mut tools = WorldServiceClient::new(world.channel().await);
    let started = Instant::now();
    for _ in 0..500 {
        tools.get_world(with(v1::GetWorldRequest {}, None)).await.expect_err("refused");
    }
    let seconds = started.elapsed().as_secs() as usize + 1;
    let told = world.log().text().matches("refused error=TOKEN_MISSING").count();
    assert!((1..=10 * seconds).contains(&told), "{told} in {seconds} s");
    let metrics = get(&world, "/metrics", Some(&token));
    let line = metrics.lines().find(|line| line.starts_with("spatialdb_edge_refused_total"));
    assert!(line.is_some_and(|line| line.contains("TOKEN_MISSING") && line.ends_with(" 500")), "{metrics}");
}
