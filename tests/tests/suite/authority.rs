//! Who may write what: owners, losses, and whoever comes next.

use std::time::{Duration, Instant};

use spatialdb_proto::{v1, v1::client_message::Body};
use spatialdb_tests::{Client, Launch, Outcome, VITALS, Vitals, World, column, eventually, http_get};
use spatialdb_types::Reason;

use crate::owning::{hp, made, moves};

const ALL: &str = "[authority]\nlease_ttl = \"1s\"\n\
    [[layers]]\nname = \"all\"\nworker_type = \"sim\"\nwrites = [\"Position\", \"Vitals\"]\n";

const HALVES: &str = "[[layers]]\nname = \"halves\"\nworker_type = \"sim\"\nwith = [\"Position\"]\nwrites = [\"Position\", \"Vitals\"]\n\
    strategy = \"pinned\"\nborder_hysteresis_m = 5\npins = [{ min = [-inf, -inf], max = [0, inf], worker = \"ann\" },\n\
    { min = [0, -inf], max = [inf, inf], worker = \"bob\" }]\n";

async fn has(world: &World, line: &str) {
    eventually(line, || async { http_get(world.address(), "/metrics").1.contains(line).then_some(()) }).await;
}

fn refused(outcome: &Outcome) -> (&str, &str) {
    let rejection = outcome.rejections.first().expect("refused");
    (&rejection.reason, &rejection.detail)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn only_the_owner_writes_and_only_what_it_was_told() {
    let world = World::launch(Launch::probe().config(ALL));
    let mut owner = Client::attach(&world, "sim", "ann").await;
    let entity = made(&mut owner, &[(1.0, 2.0)]).await[0];
    let early = owner
        .write(Body::Update(v1::Update {
            columns: vec![column(VITALS, [(entity, Vitals::hp(1).bytes())])],
            ..v1::Update::default()
        }))
        .await;
    let reason = refused(&early).0.to_owned();
    assert!([Reason::NotOwner, Reason::OwnershipNotSeen].map(Reason::name).contains(&&*reason), "{early:?}");
    owner.until("it owns the entity", |client| client.owned.owns("all", entity)).await;
    assert_eq!(owner.owned.regions.values().next().expect("a region").layer, "all");

    let write = hp(&owner, entity, 7);
    assert_eq!(owner.write(write).await, Outcome::default());
    let mut other = Client::attach(&world, "other", "bob").await;
    let outcome = other.write(hp(&other, entity, 8)).await;
    let (reason, detail) = refused(&outcome);
    assert_eq!(reason, Reason::NotOwner.name());
    assert!(
        detail.contains(&format!("owned by session {}", owner.welcome.session_id))
            && detail.contains("epoch"),
        "{detail}"
    );
    let ahead = owner.write(Body::Update(v1::Update { authority_seen: 900, ..v1::Update::default() })).await;
    assert_eq!(refused(&ahead).0, Reason::AuthoritySeenInvalid.name());
    let warmed = vec![1; owner.welcome.limits["message_rows_max"] as usize + 1];
    let report = v1::AuthorityReport { warmed, ..v1::AuthorityReport::default() };
    let long = owner.write(Body::AuthorityReport(report)).await;
    assert_eq!(refused(&long).0, Reason::MessageTooLarge.name());
    let still = hp(&owner, entity, 6);
    assert_eq!(owner.write(still).await, Outcome::default(), "the session lives on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_disconnects_or_falls_silent_loses_what_it_has_to_whoever_is_there() {
    let world = World::launch(Launch::probe().config(ALL));
    let mut ann = Client::attach(&world, "sim", "ann").await;
    let entity = made(&mut ann, &[(1.0, 2.0)]).await[0];
    ann.until("ann owns the entity", |client| client.owned.owns("all", entity)).await;
    let mut bob = Client::attach(&world, "sim", "bob").await;
    let session = ann.welcome.session_id;
    let start = Instant::now();
    drop(ann);
    bob.until("bob owns the entity", |client| client.owned.owns("all", entity)).await;
    assert!(start.elapsed() < Duration::from_millis(900), "long before lease_ttl: {:?}", start.elapsed());
    let write = hp(&bob, entity, 9);
    assert_eq!(bob.write(write).await, Outcome::default(), "session {session} is gone");

    // Bob's loop says nothing more.
    let mut eve = Client::attach(&world, "sim", "eve").await;
    let start = Instant::now();
    while !eve.owned.owns("all", entity) {
        assert!(start.elapsed() < Duration::from_secs(10), "not in time");
        eve.send(Body::Heartbeat(v1::Heartbeat::default())).await;
        // Nor does bob, though something of his answers what he is told.
        bob.report().await;
        let _ = tokio::time::timeout(Duration::from_millis(100), eve.message()).await;
    }
    assert!(start.elapsed() > Duration::from_millis(500), "it had been heard: {:?}", start.elapsed());
    let write = hp(&eve, entity, 10);
    assert_eq!(eve.write(write).await, Outcome::default());
    // Answers are no sign of life either when there is nobody else.
    drop(eve);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        bob.report().await;
        while tokio::time::timeout(Duration::from_millis(50), bob.message()).await.is_ok() {}
        assert!(bob.owned.regions.is_empty(), "{:?}", bob.owned.regions);
    }
    // A zombie wakes and writes.
    let late = hp(&bob, entity, 11);
    let outcome = bob.write(late).await;
    assert_eq!(refused(&outcome).0, Reason::NotOwner.name());
    bob.until("a write is a sign of life", |client| !client.owned.regions.is_empty()).await;
    assert_eq!(bob.owned.lost[0].reason, i32::from(v1::LossReason::Silent));
    let read = world.component::<Vitals>(entity, VITALS).await;
    assert_eq!(read, Vitals::hp(10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_entity_that_crosses_a_border_changes_its_owner() {
    let world = World::launch(Launch::probe().config(HALVES));
    let mut from = Client::attach(&world, "sim", "ann").await;
    let mut to = Client::attach(&world, "sim", "bob").await;
    let entity = made(&mut from, &[(-10.0, 500.0)]).await[0];
    from.until("its owner knows", |client| client.owned.owns("halves", entity)).await;
    to.until("the other has the east", |client| !client.owned.regions.is_empty()).await;
    let near = moves(&from, entity, 3.0);
    assert_eq!(from.write(near).await, Outcome::default());
    let back = hp(&from, entity, 3);
    assert_eq!(from.write(back).await, Outcome::default(), "it keeps it near the border");
    // All that one message says of it counts, though it belongs to somebody else by then.
    let (Body::Update(mut far), Body::Update(with)) = (moves(&from, entity, 30.0), hp(&from, entity, 44))
    else {
        panic!("updates");
    };
    far.columns = with.columns;
    assert_eq!(from.write(Body::Update(far)).await, Outcome::default());
    assert_eq!(world.component::<Vitals>(entity, VITALS).await, Vitals::hp(44));
    from.until("it is told of the loss", |client| !client.owned.owns("halves", entity)).await;
    to.until("the other is told of the gain", |client| client.owned.owns("halves", entity)).await;
    let late = hp(&from, entity, 4);
    let outcome = from.write(late).await;
    assert_eq!(refused(&outcome).0, Reason::NotOwner.name());
    let write = hp(&to, entity, 5);
    assert_eq!(to.write(write).await, Outcome::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_layer_without_workers_wants_one_and_gets_it() {
    let workers = "[[workers]]\ntype = \"sim\"\nmin = 0\nmax = 2\ncommand = [\"sleep\", \"60\"]\n";
    let world = World::launch(Launch::probe().config(ALL).config(workers));
    has(&world, "spatialdb_authority_workers_wanted{worker_type=\"sim\"} 1\n").await;
    has(&world, "spatialdb_workers_running{worker_type=\"sim\"} 1\n").await;
    has(&world, "spatialdb_authority_regions_unowned{layer=\"all\"} ").await;
    let mut ann = Client::attach(&world, "sim", "ann").await;
    ann.until("it has all", |client| !client.owned.regions.is_empty()).await;
    has(&world, "spatialdb_authority_regions_unowned{layer=\"all\"} 0\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn how_long_regions_have_no_owner_and_new_owners_write_nothing_is_measured() {
    let world =
        World::launch(Launch::probe().config(&ALL.replace("writes", "with = [\"Position\"]\nwrites")));
    let first_writes = "spatialdb_authority_first_write_seconds_count{layer=\"all\"}";
    let mut ann = Client::attach(&world, "sim", "ann").await;
    let entity = made(&mut ann, &[(1.0, 2.0)]).await[0];
    ann.until("ann owns the entity", |client| client.owned.owns("all", entity)).await;
    let metrics = http_get(world.address(), "/metrics").1;
    assert!(!metrics.contains("unowned_seconds_count") && !metrics.contains(first_writes), "{metrics}");
    for value in [1, 2] {
        let write = hp(&ann, entity, value);
        assert_eq!(ann.write(write).await, Outcome::default());
    }
    has(&world, &format!("{first_writes} 1\n")).await;
    let mut bob = Client::attach(&world, "sim", "bob").await;
    let write = hp(&bob, entity, 3);
    assert_eq!(refused(&bob.write(write).await).0, Reason::NotOwner.name());
    has(&world, "spatialdb_session_rejections_total{reason=\"NOT_OWNER\"} 1\n").await;
    let regions = ann.owned.regions.len();
    drop(ann);
    bob.until("bob owns all", |client| {
        client.owned.regions.len() == regions && client.owned.owns("all", entity)
    })
    .await;
    has(&world, &format!("spatialdb_authority_unowned_seconds_count{{layer=\"all\"}} {regions}\n")).await;
    has(&world, &format!("{first_writes} 1\n")).await;
    let write = hp(&bob, entity, 4);
    assert_eq!(bob.write(write).await, Outcome::default());
    has(&world, &format!("{first_writes} 2\n")).await;
    let metrics = http_get(world.address(), "/metrics").1;
    let sum = metrics
        .lines()
        .find_map(|line| line.strip_prefix("spatialdb_authority_unowned_seconds_sum{layer=\"all\"} "));
    let sum: f64 = sum.expect("a sum").parse().expect("a number");
    assert!(0.0 < sum && sum < 0.9 * regions as f64, "at once, not after lease_ttl: {sum} s");
}

fn text_view(view_id: u64, text: &str) -> v1::View {
    let kind = v1::constraint::Kind::Text(text.to_owned());
    v1::View { view_id, constraint: Some(v1::Constraint { kind: Some(kind) }), ..v1::View::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_new_owner_goes_on_from_what_the_old_one_wrote_last() {
    let placed = ALL.replace("writes", "with = [\"Position\"]\nwrites");
    let world = World::launch(Launch::probe().config(&placed));
    let mut ann = Client::attach(&world, "sim", "ann").await;
    let entity = made(&mut ann, &[(1.0, 2.0)]).await[0];
    ann.until("ann owns the entity", |client| client.owned.owns("all", entity)).await;
    let mut bob = Client::attach(&world, "sim", "bob").await;
    // At a low rate: it would see the last write long after it was made.
    bob.subscribe(v1::View { rate_hz: 0.2, ..text_view(1, "owned") }).await;
    assert!(!bob.replica.entities.contains_key(&entity), "it is not his");
    let drain = v1::DrainWorkerRequest { name: "ann".to_owned(), ..v1::DrainWorkerRequest::default() };
    world.admin().await.drain_worker(drain).await.expect("ann is there");
    bob.until("he is asked to get warm", |client| !client.owned.warm.is_empty()).await;
    assert!(bob.replica.entities.contains_key(&entity), "he is warm when he hears of it");
    bob.report().await;
    ann.until("she is about to lose it", |client| client.owned.is_losing()).await;
    let last = hp(&ann, entity, 77);
    assert_eq!(ann.write(last).await, Outcome::default(), "until she says that she is done");
    let start = Instant::now();
    ann.report().await;
    bob.until("bob owns the entity", |client| client.owned.owns("all", entity)).await;
    let seen = &bob.replica.entities[&entity][&VITALS].bytes;
    assert_eq!(seen[..], Vitals::hp(77).bytes()[..], "what he goes on from");
    assert!(start.elapsed() < Duration::from_secs(3), "whatever the rate of his view: {:?}", start.elapsed());
    let write = hp(&bob, entity, 78);
    assert_eq!(bob.write(write).await, Outcome::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_view_of_what_a_worker_owns_follows_its_regions() {
    let world =
        World::launch(Launch::probe().config(&HALVES.replace("5\npins", "5\nghost_margin_m = 100\npins")));
    let mut ann = Client::attach(&world, "sim", "ann").await;
    let at = [(-500.0, 500.0), (50.0, 500.0), (500.0, 500.0)];
    let entities = made(&mut ann, &at).await;
    let mut tool = Client::attach(&world, "tool", "eve").await;
    for (text, says) in [
        ("owned in layer quarters", "no layer quarters"),
        ("owned in layer halves", "type sim serve layer halves, not tool"),
        ("owned", "type tool serve no layer"),
    ] {
        let outcome = tool.write(Body::Subscribe(v1::Subscribe { view: Some(text_view(9, text)) })).await;
        let (reason, detail) = refused(&outcome);
        assert!(reason == Reason::QueryInvalid.name() && detail.contains(says), "{text}: {detail}");
    }
    // The west is ann's, and 100 m around it.
    ann.subscribe(text_view(1, "owned")).await;
    let sees = |client: &Client, which: [usize; 2]| {
        which.iter().all(|which| client.replica.entities.contains_key(&entities[*which]))
    };
    ann.until("she sees both", |client| sees(client, [0, 1])).await;
    assert!(!ann.replica.entities.contains_key(&entities[2]));
    // Nobody has the east before bob comes: he sees nothing, and then what is his.
    let mut bob = Client::attach(&world, "sim", "bob").await;
    bob.subscribe(text_view(1, "owned in layer halves")).await;
    bob.until("he sees both", |client| sees(client, [1, 2])).await;
    assert!(!bob.replica.entities.contains_key(&entities[0]));
    drop(ann);
    let open = World::launch(Launch::probe());
    let mut eve = Client::attach(&open, "sim", "eve").await;
    let all = eve.subscribe(text_view(1, "all")).await;
    assert_eq!(eve.subscribe(text_view(2, "owned")).await, all, "everything is everyone's");
}
