//! TLS from files, and certificates of workers.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use spatialdb_proto::error_of_status;
use spatialdb_proto::v1::{self, client_message::Body, world_service_client::WorldServiceClient};
use spatialdb_sdk::{TlsOptions, Worker, WorkerError, WorkerOptions};
use spatialdb_tests::{Certificates, Launch, Process, World, run_in, spatialdb};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

fn options(world: &World, ca: &Path, token: &str) -> WorkerOptions {
    let mut options = WorkerOptions::new(world.address(), "probe");
    options.token = token.to_owned();
    options.connect_patience = std::time::Duration::ZERO;
    options.tls = Some(TlsOptions { ca: ca.to_owned(), cert: None, key: None });
    options
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn workers_and_tools_come_in_encrypted() {
    let certificates = Certificates::make();
    certificates.sign("server");
    let world = World::launch(Launch::probe().config(&certificates.settings("")));
    let ca = certificates.path("ca.pem");
    let worker = Worker::connect(options(&world, &ca, "")).await.expect("attached");
    assert!(!worker.welcomed().world_id.is_empty());
    let text = |path: &Path| path.display().to_string();
    let done = run_in(
        certificates.folder(),
        &["query", "--count", "--address", world.address(), "--ca", &text(&ca)],
    );
    assert_eq!((done.code, done.stdout.parse::<u64>().is_ok()), (Some(0), true), "{}", done.stderr);

    // Whoever does not trust the authority, or does not encrypt, stays out.
    let stranger = Certificates::make();
    let error = Worker::connect(options(&world, &stranger.path("ca.pem"), "")).await.expect_err("refused");
    assert!(matches!(error, WorkerError::Unreachable { .. }), "{error}");
    let plain =
        Endpoint::from_shared(format!("http://{}", world.address())).expect("an address").connect().await;
    if let Ok(channel) = plain {
        assert!(WorldServiceClient::new(channel).get_world(v1::GetWorldRequest {}).await.is_err());
    }
    let missing =
        Worker::connect(options(&world, Path::new("/no/such/ca.pem"), "")).await.expect_err("refused");
    assert!(missing.to_string().contains("/no/such/ca.pem"), "{missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn workers_show_a_certificate_where_it_is_wanted() {
    let certificates = Certificates::make();
    certificates.sign("server");
    certificates.sign("worker");
    let ca = certificates.path("ca.pem");
    let make = |args: &[&str]| run_in(certificates.folder(), &[&["token", "new"], args].concat()).stdout;
    let (worker, tool) = (make(&["--worker", "probe"]), make(&["--tool"]));
    let tokens = certificates.path("tokens.toml");
    let more = format!("client_ca = {ca:?}\n[server]\ntokens = {tokens:?}");
    let world = World::launch(Launch::probe().config(&certificates.settings(&more)));

    let bare = Worker::connect(options(&world, &ca, &worker)).await.expect_err("refused");
    assert!(bare.to_string().contains("CERTIFICATE_MISSING"), "{bare}");
    let mut shown = options(&world, &ca, &worker);
    shown.tls = Some(TlsOptions {
        ca: ca.clone(),
        cert: Some(certificates.path("worker.pem")),
        key: Some(certificates.path("worker.key")),
    });
    let attached = Worker::connect(shown.clone()).await.expect("attached");
    assert_eq!(attached.welcomed().name, "probe-1");
    // A certificate is no token.
    shown.token = String::new();
    assert!(Worker::connect(shown).await.expect_err("refused").to_string().contains("TOKEN_MISSING"));
    // One that a stranger signed is worth nothing.
    let stranger = Certificates::make();
    stranger.sign("worker");
    let mut forged = options(&world, &ca, &worker);
    forged.tls = Some(TlsOptions {
        ca: ca.clone(),
        cert: Some(stranger.path("worker.pem")),
        key: Some(stranger.path("worker.key")),
    });
    assert!(Worker::connect(forged).await.is_err());

    // Without tokens the certificate is all there is.
    let open = World::launch(Launch::probe().config(&certificates.settings(&format!("client_ca = {ca:?}"))));
    let bare = Worker::connect(options(&open, &ca, "")).await.expect_err("refused");
    assert!(bare.to_string().contains("CERTIFICATE_MISSING"), "{bare}");

    // Tools come without one.
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(fs::read(&ca).expect("there")));
    let endpoint = Endpoint::from_shared(format!("https://{}", world.address())).expect("an address");
    let channel = endpoint.tls_config(tls).expect("a certificate").connect().await.expect("connected");
    let mut request = tonic::Request::new(v1::GetWorldRequest {});
    request.metadata_mut().insert("authorization", format!("Bearer {tool}").parse().expect("a value"));
    assert_eq!(
        WorldServiceClient::new(channel.clone()).get_world(request).await.expect("told").into_inner().name,
        "probe"
    );
    let hello = v1::Hello { token: tool, ..spatialdb_tests::Client::hello("viewer", "") };
    let first = v1::ClientMessage { seq: 1, body: Some(Body::Hello(hello)) };
    let stream = tokio_stream::StreamExt::chain(tokio_stream::once(first), tokio_stream::pending());
    let mut client = v1::worker_service_client::WorkerServiceClient::new(channel);
    let answer = client.attach(stream).await.expect("a stream").into_inner().message().await;
    assert!(answer.is_ok(), "{:?}", answer.map_err(|status| error_of_status(&status)));
}

#[test]
fn other_machines_are_let_in_with_tls_and_tokens_only() {
    let certificates = Certificates::make();
    certificates.sign("server");
    let folder = certificates.folder();
    assert_eq!(run_in(folder, &["token", "new", "--tool"]).code, Some(0));
    let launch = |text: &str| {
        fs::write(folder.join("world.toml"), text).expect("written");
        run_in(folder, &["launch", "--config", "world.toml", "--listen", "0.0.0.0:0", "--empty"])
    };
    for (text, missing) in [
        (String::new(), "[tls] cert and key, and [server] tokens"),
        (certificates.settings(""), "[server] tokens"),
        ("[server]\ntokens = 'tokens.toml'".to_owned(), "[tls] cert and key"),
    ] {
        let done = launch(&text);
        assert_eq!(done.code, Some(78), "{}", done.stderr);
        assert!(done.stderr.contains(missing) && done.stderr.contains("--insecure"), "{}", done.stderr);
    }
    for (text, parts) in [
        ("[tls]\ncert = 'server.pem'", &["tls.key", "together"][..]),
        ("[tls]\ncert = 'nowhere.pem'\nkey = 'server.key'", &["tls.cert", "nowhere.pem"]),
        ("[tls]\ncert = 'server.key'\nkey = 'server.key'", &["tls.cert", "CERTIFICATE"]),
    ] {
        let done = launch(&format!("{text}\n[server]\ntokens = 'tokens.toml'"));
        assert_eq!(done.code, Some(78), "{}", done.stderr);
        for part in parts {
            assert!(done.stderr.contains(part), "{}", done.stderr);
        }
    }
    let both = certificates.settings("[server]\ntokens = 'tokens.toml'");
    fs::write(folder.join("world.toml"), both).expect("written");
    let args = ["launch", "--config", "world.toml", "--listen", "0.0.0.0:0", "--empty"];
    let mut world = Process::start(spatialdb(&args).current_dir(folder));
    assert!(
        world.stdout.find("ready", |line| line.strip_prefix("ready 0.0.0.0:").map(str::to_owned)).is_some()
    );
    world.signal(Signal::TERM);
    assert_eq!(world.wait(), Some(0));
}

/// Workers that the server starts must be able to trust it; that is said before they fail.
#[test]
fn settings_are_checked_for_what_own_workers_would_trust() {
    let certificates = Certificates::make();
    certificates.sign("server");
    let worker = "[[workers]]\ntype = \"probe\"\ncommand = [\"sh\"]\n";
    let check = |more: &str| {
        fs::write(certificates.path("world.toml"), certificates.settings(more)).expect("written");
        run_in(certificates.folder(), &["config", "check"])
    };
    let leaf = check(worker);
    assert_eq!(leaf.code, Some(78), "{}", leaf.stdout);
    assert!(leaf.stderr.contains("would not trust it") && leaf.stderr.contains("tls.ca"), "{}", leaf.stderr);
    let trusted = check(&format!("ca = \"ca.pem\"\n{worker}"));
    assert_eq!(trusted.code, Some(0), "{}", trusted.stderr);
    for (more, part) in [
        ("[server]\nlisten = \"0.0.0.0:7400\"", "other machines"),
        ("[limits]\nvalue_bytes_max = 99999999999", "value_bytes_max"),
        ("client_ca = \"server.key\"", "tls.client_ca"),
    ] {
        let done = check(more);
        assert!(done.code == Some(78) && done.stderr.contains(part), "{more}: {}", done.stderr);
    }
}
