//! The schema of a running world: what may be added, what is refused, who is told.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use spatialdb_proto::error_of_status;
use spatialdb_proto::v1::{self, server_message};
use spatialdb_schema::Schema;
use spatialdb_tests::{
    Launch, VITALS, Vitals, World, column, entity_ids, new_rows, repository, run, update, view,
};
use spatialdb_types::Reason;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

const PROBE: &str = "tests/schema/probe.proto";

/// The probe's schema, with changes.
fn changed(folder: &Path, change: impl Fn(String) -> String) -> Vec<u8> {
    let text = fs::read_to_string(repository().join(PROBE)).expect("there");
    fs::write(folder.join("probe.proto"), change(text)).expect("written");
    Schema::compile(&[folder.to_owned()]).expect("it compiles").descriptor_set().to_vec()
}

async fn apply(
    world: &World,
    descriptor_set: Vec<u8>,
    dry_run: bool,
) -> Result<v1::ApplySchemaResponse, String> {
    let request = v1::ApplySchemaRequest { descriptor_set: descriptor_set.into(), dry_run };
    match world.tools().await.apply_schema(request).await {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) => {
            let error = error_of_status(&status).expect("ours");
            assert_eq!(error.reason, Reason::SchemaInvalid);
            Err(error.detail)
        }
    }
}

const MORE: &str = "
message Mood {
  option (spatialdb.v1.component) = { id: 1500 };
  string word = 1;
}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn components_and_fields_are_added_while_the_world_runs() {
    let world = World::launch(Launch::probe());
    let folder = tempfile::tempdir().expect("a folder");
    let mut worker = world.attach("probe").await;
    let more = changed(folder.path(), |text| {
        text.replacen("message Vitals {", "message Vitals {\n  bool brave = 77;\n", 1) + MORE
    });
    // Before, both are unknown.
    let ids = worker
        .create(v1::Create {
            count: 1,
            columns: vec![new_rows(VITALS, [Vitals::hp(3).bytes()])],
            ..Default::default()
        })
        .await;
    let mood = || column(1500, [(ids[0], Bytes::from_static(b"\x0a\x03shy"))]);
    let add = || {
        v1::client_message::Body::AddComponents(v1::AddComponents {
            columns: vec![mood()],
            ..Default::default()
        })
    };
    assert_eq!(worker.write(add()).await.rejections[0].reason, "COMPONENT_UNKNOWN");

    let tried = apply(&world, more.clone(), true).await.expect("it fits");
    assert_eq!(tried.added, ["probe.Vitals.brave", "probe.Mood"]);
    assert_eq!(worker.write(add()).await.rejections[0].reason, "COMPONENT_UNKNOWN", "it was only tried");
    let applied = apply(&world, more, false).await.expect("it fits");
    assert_eq!((&applied.added, &applied.digest), (&tried.added, &tried.digest));

    let told = loop {
        if let Some(server_message::Body::SchemaChanged(told)) = worker.message().await {
            break told;
        }
    };
    assert_eq!(told.schema_digest, applied.digest);
    assert!(
        told.components
            .iter()
            .any(|component| (component.id, component.name.as_str()) == (1500, "probe.Mood"))
    );
    assert!(worker.write(add()).await.rejections.is_empty());
    let brave = spatialdb_tests::partial(VITALS, &[77], [(ids[0], Bytes::from_static(b"\xe8\x04\x01"))]);
    assert!(worker.write(update(vec![], vec![brave])).await.rejections.is_empty());
    let newcomer = world.attach("probe").await;
    assert_eq!(newcomer.welcome.schema_digest, applied.digest);
    let mut viewer = world.attach("viewer").await;
    viewer.subscribe(view(1, entity_ids(&ids))).await;
    world.agrees(&mut viewer, entity_ids(&ids)).await;
    // A stranger's tool sees it too.
    let schema = world.tools().await.get_schema(v1::GetSchemaRequest {}).await.expect("told").into_inner();
    assert_eq!(schema.digest, applied.digest);
    let symbol = MessageRequest::FileContainingSymbol("probe.Mood".to_owned());
    assert!(crate::tools::reflect(&world.channel().await, symbol).await.is_ok(), "reflection follows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_data_would_no_longer_fit_is_refused_field_by_field() {
    let world = World::launch(Launch::probe());
    let folder = tempfile::tempdir().expect("a folder");
    let before = world.attach("probe").await.welcome.schema_digest;
    let text = changed(folder.path(), |text| {
        text.replacen("int32 hp = 1", "string hp = 1", 1).replacen("string label = 2", "bytes label = 2", 1)
    });
    let detail = apply(&world, text, false).await.expect_err("refused");
    assert!(detail.contains("probe.Vitals.hp (1): int32 is now string"), "{detail}");
    let removed = Schema::built_in().descriptor_set().to_vec();
    let detail = apply(&world, removed, false).await.expect_err("refused");
    assert!(detail.contains("component 1000 probe.Vitals: removed"), "{detail}");
    let detail = apply(&world, vec![1, 2, 3], false).await.expect_err("refused");
    assert!(!detail.is_empty());
    assert_eq!(world.attach("probe").await.welcome.schema_digest, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_command_line_says_what_is_added_and_what_does_not_fit() {
    let world = World::launch(Launch::probe());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    let ask = |args: &[&str]| run(&[args, &["--address", world.address()]].concat());
    changed(folder.path(), |text| text + MORE);
    let tried = ask(&["schema", "apply", path, "--dry-run"]);
    assert!(tried.code == Some(0) && tried.stdout.starts_with("would add probe.Mood"), "{tried:?}");
    let applied = ask(&["schema", "apply", path]);
    assert!(applied.code == Some(0) && applied.stdout.starts_with("added probe.Mood"), "{applied:?}");
    assert!(ask(&["schema"]).stdout.contains("probe.Mood"));
    changed(folder.path(), |text| text + &MORE.replacen("string word", "int32 word", 1));
    let refused = ask(&["schema", "apply", path]);
    assert_eq!(refused.code, Some(65));
    // Nothing is taken away: its number could come back with another meaning.
    for (text, part) in [
        (MORE.replacen("string word = 1;", "", 1), "probe.Mood.word (1): removed"),
        (MORE.replacen("message Mood", "message Temper", 1), "probe.Mood is now probe.Temper"),
    ] {
        changed(folder.path(), |before| before + &text);
        let refused = ask(&["schema", "apply", path]);
        assert!(refused.code == Some(65) && refused.stderr.contains(part), "{}", refused.stderr);
    }
    changed(folder.path(), |text| text + &MORE.replacen("word", "saying", 1));
    let renamed = ask(&["schema", "apply", path, "--dry-run"]);
    assert!(
        renamed.stdout.contains("would change component 1500, probe.Mood.word (1): now named saying"),
        "{renamed:?}"
    );
    changed(folder.path(), |text| text + &MORE.replacen("string word", "int32 word", 1));
    let refused = ask(&["schema", "apply", path]);
    assert!(refused.stderr.contains("probe.Mood.word (1): string is now int32"), "{}", refused.stderr);
}
