//! A session kept in a file, and said again.

use std::{fs, path::Path};

use rustix::process::Signal;
use spatialdb_proto::v1::{self, client_message::Body};
use spatialdb_tests::{
    Client, Launch, METADATA, Process, VITALS, Vitals, World, all_made, column, has, metadata, new_rows, run,
    spatialdb, update, view,
};

/// A session through the recorder: it makes, writes, looks, and is refused once.
async fn record(world: &World, file: &Path) {
    let file = file.to_str().expect("text");
    let args = ["record", file, "--listen", "127.0.0.1:0", "--address", world.address()];
    let mut recorder = Process::start(&mut spatialdb(&args));
    let address = recorder.stdout.find("ready", |line| line.strip_prefix("ready ").map(str::to_owned));
    let address = address.unwrap_or_else(|| panic!("{}", recorder.stderr.text()));
    let hello = v1::Hello { token: "a secret".to_owned(), ..Client::hello("probe", "one") };
    let mut worker = Client::attach_at(&address, hello).await;
    worker.subscribe(view(1, has(METADATA))).await;
    let ids = worker
        .create(v1::Create {
            count: 2,
            columns: vec![new_rows(VITALS, [Vitals::hp(1).bytes(), Vitals::hp(2).bytes()])],
            ..Default::default()
        })
        .await;
    assert!(ids.iter().all(|&id| id != 0));
    let outcome = worker
        .write(update(vec![], vec![column(METADATA, [(7, metadata("a", "b")), (900, metadata("a", "b"))])]))
        .await;
    assert_eq!(outcome.rejections.len(), 1);
    // Of what it made itself.
    assert!(
        worker
            .write(update(vec![], vec![column(VITALS, [(ids[1], Vitals::hp(9).bytes())])]))
            .await
            .rejections
            .is_empty()
    );
    worker.send(Body::Goodbye(v1::Goodbye::default())).await;
    worker.ending().await;
    recorder.signal(Signal::TERM);
    assert_eq!(recorder.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_recorded_session_is_said_again_with_the_same_outcome() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("one.rec");
    let world = World::launch(Launch::probe());
    record(&world, &file).await;
    assert_eq!(world.count(all_made()).await, 66);
    let bytes = fs::read(&file).expect("written");
    assert!(!bytes.windows(8).any(|window| window == b"a secret"), "no secret is kept");

    let again = World::launch(Launch::probe());
    let replay = |world: &World, more: &[&str]| {
        let args = ["replay", file.to_str().expect("text"), "--speed", "0", "--address", world.address()];
        run(&[&args[..], more].concat())
    };
    let done = replay(&again, &["--json"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let line: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!((&line["rejections"], &line["rejections_before"]), (&1.into(), &1.into()));
    assert_eq!(again.count(all_made()).await, 66);
    assert_eq!(again.component::<v1::Metadata>(7, METADATA).await.name, "b");

    // Once more, in the world that has gone on: other ids, and the same of all else.
    let done = replay(&again, &[]);
    assert_eq!(done.code, Some(0), "{}", done.stdout);
    assert_eq!(again.count(all_made()).await, 68);

    // In another world other rows are refused, and that is told.
    let schema = spatialdb_tests::repository().join("tests/schema");
    let empty = World::launch(Launch::default().config(&format!("[world]\nschema = [{schema:?}]")));
    let done = replay(&empty, &[]);
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    assert!(done.stdout.contains("accepted before, ENTITY_NOT_FOUND now"), "{}", done.stdout);

    // What is cut off is read up to there; what is damaged is named.
    fs::write(&file, &bytes[..bytes.len() - 3]).expect("written");
    assert_eq!(replay(&World::launch(Launch::probe()), &[]).code, Some(0));
    for (wrong, part) in [
        (&b"not a recording"[..], "no recording"),
        (&[&bytes[..8], &[9, 0, 0, 0], &[255; 9]].concat(), "byte 8"),
    ] {
        fs::write(&file, wrong).expect("written");
        let done = replay(&world, &[]);
        assert_eq!(done.code, Some(65), "{}", done.stderr);
        assert!(done.stderr.contains(part) && done.stderr.contains("one.rec"), "{}", done.stderr);
    }
}
