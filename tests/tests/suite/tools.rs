//! What stock tools find on the one port: health, reflection, metrics.

use prost::Message;
use spatialdb_tests::{Client, Launch, World, all_made, http_get, metadata, update, view};
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn health_says_serving() {
    let world = World::launch(Launch::probe());
    let mut health = HealthClient::new(world.channel().await);
    for service in ["", "spatialdb.v1.WorkerService", "spatialdb.v1.WorldService"] {
        let answer =
            health.check(HealthCheckRequest { service: service.to_owned() }).await.expect("an answer");
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = health.check(HealthCheckRequest { service: "nobody".to_owned() }).await;
    assert_eq!(unknown.expect_err("unknown").code(), tonic::Code::NotFound);
}

pub(crate) async fn reflect(
    channel: &Channel,
    ask: MessageRequest,
) -> Result<MessageResponse, tonic::Status> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let mut client = ServerReflectionClient::new(channel.clone());
    let answers = client.server_reflection_info(tokio_stream::once(request)).await.expect("a stream");
    let answer = answers.into_inner().next().await.expect("an answer")?;
    Ok(answer.message_response.expect("it says something"))
}

/// `google.protobuf.FileDescriptorProto`, as far as it matters here.
#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "4")]
    messages: Vec<Named>,
}

#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn reflection_lists_services_and_the_components_of_the_world() {
    let world = World::launch(Launch::earth());
    let channel = world.channel().await;
    let Ok(MessageResponse::ListServicesResponse(list)) =
        reflect(&channel, MessageRequest::ListServices(String::new())).await
    else {
        panic!("a list")
    };
    let services: Vec<_> = list.service.iter().map(|one| one.name.as_str()).collect();
    for service in ["spatialdb.v1.WorkerService", "spatialdb.v1.WorldService", "grpc.health.v1.Health"] {
        assert!(services.contains(&service), "{services:?}");
    }
    for (symbol, message) in
        [("earth.City", "City"), ("spatialdb.v1.Position", "Position"), ("earth.Aircraft", "Aircraft")]
    {
        let answer = reflect(&channel, MessageRequest::FileContainingSymbol(symbol.to_owned())).await;
        let Ok(MessageResponse::FileDescriptorResponse(files)) = answer else {
            panic!("{symbol}: {answer:?}")
        };
        let found = files.file_descriptor_proto.iter().any(|bytes| {
            let file = File::decode(bytes.as_slice()).expect("a file");
            file.messages.iter().any(|one| one.name == message)
        });
        assert!(found, "{symbol}");
    }
    let answer = reflect(&channel, MessageRequest::FileContainingSymbol("earth.Dragon".to_owned())).await;
    assert_eq!(answer.expect_err("unknown").code(), tonic::Code::NotFound);
}

/// The value of a line of metrics.
fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing in:\n{text}")).parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn metrics_come_over_plain_http() {
    let world = World::launch(Launch::probe());
    let mut writer = Client::attach(&world, "probe", "writer").await;
    let mut viewer = Client::attach(&world, "probe", "viewer").await;
    viewer.subscribe(view(1, all_made())).await;
    writer.write(update(vec![], vec![spatialdb_tests::column(2, [(1, metadata("", "x"))])])).await;
    world.agrees(&mut viewer, all_made()).await;
    let (head, text) = http_get(world.address(), "/metrics");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    for partition in 0..4 {
        assert_eq!(
            metric(&text, &format!("spatialdb_partition_queue_rows{{partition=\"{partition}\"}}")),
            0.0
        );
        // And perhaps the entity of a session.
        let entities = metric(&text, &format!("spatialdb_partition_entities{{partition=\"{partition}\"}}"));
        assert!((16.0..=18.0).contains(&entities), "{entities}");
    }
    assert_eq!(metric(&text, "spatialdb_edge_sessions"), 2.0);
    let staleness = "spatialdb_session_staleness_seconds{worker_type=\"probe\",worker=\"viewer\"}";
    assert!((1e-6..30.0).contains(&metric(&text, staleness)));
    let counts =
        text.lines().filter_map(|line| line.strip_prefix("spatialdb_partition_updates_applied_total{"));
    let applied: f64 = counts
        .map(|line| line.split(' ').next_back().expect("a value").parse::<f64>().expect("a number"))
        .sum();
    // The entities of sessions are written too.
    assert!(applied >= 1.0, "{applied}");
    // Every metric is described.
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = line.split(['{', ' ']).next().expect("a name");
        let base =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(
            text.contains(&format!("# TYPE {name} ")) || text.contains(&format!("# TYPE {base} ")),
            "{line}"
        );
    }
    let (head, _) = http_get(world.address(), "/nothing");
    assert!(!head.starts_with("HTTP/1.1 200"), "{head}");
}
