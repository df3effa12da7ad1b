//! Why an entity is as it is: its owner, who wrote it, who sees it, and what became of a refused write.

use serde_json::{Value, json};
use spatialdb_proto::error_of_status;
use spatialdb_proto::v1::{self, Belonging, MayWrite, Origin, RegionPhase};
use spatialdb_tests::{
    Client, Finished, Launch, Outcome, POSITION, VITALS, World, all_made, eventually, run, sphere, text, view,
};
use spatialdb_types::Reason;
use tonic::Status;

use crate::owning::{hp, made, moves};

const HALVES: &str = "[[layers]]\nname = \"halves\"\nworker_type = \"sim\"\nwith = [\"Position\"]\nwithout = [\"Tag\"]\n\
    writes = [\"Position\", \"Vitals\"]\nstrategy = \"pinned\"\nborder_hysteresis_m = 5\n\
    pins = [{ min = [-inf, -inf], max = [0, inf], worker = \"ann\" },\n\
    { min = [0, -inf], max = [inf, inf], worker = \"bob\" }]\n";

fn asks(entity: u64) -> v1::ExplainEntityRequest {
    v1::ExplainEntityRequest { entity, ..v1::ExplainEntityRequest::default() }
}

async fn ask(world: &World, request: v1::ExplainEntityRequest) -> Result<v1::EntityExplanation, Status> {
    Ok(world.admin().await.explain_entity(request).await?.into_inner())
}

async fn explain(world: &World, entity: u64) -> v1::EntityExplanation {
    ask(world, asks(entity)).await.expect("explained")
}

/// The command line, on the world.
fn cli(world: &World, args: &[&str]) -> Finished {
    run(&[&["explain", "--address", world.address()], args].concat())
}

fn page(world: &World, args: &[&str]) -> String {
    let done = cli(world, args);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    done.stdout
}

/// Ann has the west and Bob the east; an entity of each.
async fn halves(world: &World) -> (Client, Client, Vec<u64>) {
    let mut ann = Client::attach(world, "sim", "ann").await;
    let mut bob = Client::attach(world, "sim", "bob").await;
    let entities = made(&mut ann, &[(-10.0, 500.0), (200.0, 500.0)]).await;
    ann.until("Ann has the west", |client| client.owned.owns("halves", entities[0])).await;
    bob.until("Bob has the east", |client| client.owned.owns("halves", entities[1])).await;
    (ann, bob, entities)
}

fn standing(told: &v1::EntityExplanation) -> (&v1::LayerStanding, &v1::Region) {
    let layer = told.layers.first().expect("a layer has it");
    (layer, layer.region.as_ref().expect("it belongs to a region"))
}

fn owner(told: &v1::EntityExplanation) -> &str {
    standing(told).1.owner.as_ref().map_or("nobody", |owner| &owner.name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_owner_is_who_owns_the_region_where_it_lies() {
    let world = World::launch(Launch::probe().config(HALVES));
    let (ann, bob, entities) = halves(&world).await;
    let told = explain(&world, entities[1]).await;
    let (layer, region) = standing(&told);
    assert_eq!((&*layer.layer, layer.why(), owner(&told)), ("halves", Belonging::LiesIn, "bob"));
    assert_eq!((region.phase(), layer.lies_in, layer.partition_epoch), (RegionPhase::Owned, 0, 0));
    let point = told.place.expect("placed").point.expect("a point");
    assert_eq!((point.x, point.y, told.open), (200.0, 500.0, false));
    let by: Vec<_> = told.components.iter().map(|c| (c.id, c.origin(), c.may_write(), &*c.layer)).collect();
    let owned = |id| (id, Origin::Session, MayWrite::Owner, "halves");
    assert_eq!(by, [owned(POSITION), owned(VITALS)]);
    let writer = told.components[0].writer.clone().expect("a session");
    assert_eq!((writer.session_id, &*writer.name), (ann.welcome.session_id, "ann"), "she made it");

    let shown = page(&world, &[&entities[1].to_string()]);
    let session = bob.welcome.session_id;
    assert!(shown.contains(&format!("layer halves: owner bob (session {session}), since epoch")), "{shown}");
    assert!(shown.contains("at (200.0, 500.0, 0.0) in space 0"), "{shown}");
    assert!(shown.contains("why there: it lies there"), "{shown}");
    assert!(shown.contains("its owner in layer halves"), "{shown}");
    assert!(shown.contains("last refused write: none is remembered"), "{shown}");

    // Of a world's own entities: one without a position is in no layer.
    let bare = eventually("a session has an entity", || async {
        let found = world.query(text("has WorkerSession")).await;
        found.keys().next().copied()
    })
    .await;
    let told = explain(&world, bare).await;
    assert!(told.layers.is_empty() && told.place.is_none());
    assert_eq!(told.lacking[0].missing, ["spatialdb.v1.Position"]);
    assert_eq!(
        (told.components[0].origin(), told.components[0].may_write()),
        (Origin::Server, MayWrite::Server)
    );
    let shown = page(&world, &[&bare.to_string()]);
    assert!(shown.contains("no layer has it, so only tools write it"), "{shown}");
    assert!(shown.contains("layer halves: does not have it: it has no spatialdb.v1.Position"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn near_a_border_it_is_said_how_far_it_has_to_go() {
    let world = World::launch(Launch::probe().config(HALVES));
    let (mut ann, mut bob, entities) = halves(&world).await;
    let near = moves(&ann, entities[0], 3.0);
    assert_eq!(ann.write(near).await, Outcome::default());
    let told = explain(&world, entities[0]).await;
    let (layer, region) = standing(&told);
    assert_eq!((owner(&told), layer.why()), ("ann", Belonging::Kept));
    assert_eq!((layer.outside_m, layer.hysteresis_m), (3.0, 5.0));
    assert_ne!(layer.lies_in, region.lease.as_ref().expect("a lease").region);
    let shown = page(&world, &[&entities[0].to_string()]);
    assert!(shown.contains("kept near the border: it is 3.0 m inside region"), "{shown}");
    assert!(shown.contains("and goes over at 5 m"), "{shown}");

    let far = moves(&ann, entities[0], 30.0);
    assert_eq!(ann.write(far).await, Outcome::default());
    bob.until("Bob is told of the gain", |client| client.owned.owns("halves", entities[0])).await;
    let told = explain(&world, entities[0]).await;
    assert_eq!((owner(&told), standing(&told).0.why()), ("bob", Belonging::LiesIn));
    assert!(standing(&told).0.gain_unseen, "he has not written since");
    let own = hp(&bob, entities[0], 5);
    assert_eq!(bob.write(own).await, Outcome::default());
    eventually("he has shown that he knows", || async {
        (!standing(&explain(&world, entities[0]).await).0.gain_unseen).then_some(())
    })
    .await;
    let told = explain(&world, entities[0]).await;
    let mover = told.components[0].writer.clone().expect("a session");
    let healer = told.components[1].writer.clone().expect("a session");
    assert_eq!((&*mover.name, &*healer.name), ("ann", "bob"), "who moved it is not who owns it");
    let shown = page(&world, &[&entities[0].to_string()]);
    let revision = told.components[0].revision;
    let session = ann.welcome.session_id;
    assert!(shown.contains(&format!("moved last: ann (session {session}), revision {revision}")), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_refused_write_is_shown_with_its_reason_and_the_owner() {
    let world = World::launch(Launch::probe().config(HALVES));
    let (mut ann, mut bob, entities) = halves(&world).await;
    let ours = hp(&ann, entities[1], 1);
    let outcome = ann.write(ours).await;
    let rejection = outcome.rejections.first().expect("it is Bob's").clone();
    let told = explain(&world, entities[1]).await;
    let refused = told.refused.clone().expect("it is remembered");
    assert_eq!((&refused.reason, &refused.detail), (&rejection.reason, &rejection.detail));
    assert_eq!((refused.reason.as_str(), refused.component), (Reason::NotOwner.name(), VITALS));
    assert_eq!(refused.session.as_ref().expect("a session").name, "ann");
    assert!(refused.world_time_us > 0 && refused.world_time_us <= told.world_time_us);
    assert!(refused.detail.contains(&format!("owned by session {}", bob.welcome.session_id)), "{refused:?}");
    assert_eq!(owner(&told), "bob");

    // What was refused in one partition is found when the entity is in another one.
    let theirs = hp(&bob, entities[0], 1);
    assert_eq!(bob.write(theirs).await.rejections.len(), 1);
    let before = explain(&world, entities[0]).await;
    let away = moves(&ann, entities[0], 300.0);
    assert_eq!(ann.write(away).await, Outcome::default());
    bob.until("Bob has it", |client| client.owned.owns("halves", entities[0])).await;
    let after = explain(&world, entities[0]).await;
    assert_ne!(before.partition, after.partition);
    assert_eq!(after.refused.expect("it is remembered").session.expect("a session").name, "bob");

    drop(ann);
    let gone = eventually("Ann is gone", || async {
        let shown = page(&world, &[&entities[1].to_string()]);
        shown.contains("(gone)").then_some(shown)
    })
    .await;
    assert!(gone.contains("of probe.Vitals by session"), "{gone}");
    assert!(gone.contains("NOT_OWNER: region"), "{gone}");
    let json = page(&world, &[&entities[1].to_string(), "--json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (&json["refused"]["reason"], &json["refused"]["session"]["name"]),
        (&json!("NOT_OWNER"), &Value::Null)
    );
    assert_eq!(json["layers"][0]["region"]["owner"]["name"], "bob");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn why_it_is_in_a_view_or_not_is_said_with_numbers() {
    let world = World::launch(Launch::probe());
    let mut ann = Client::attach(&world, "sim", "ann").await;
    let entity = made(&mut ann, &[(300.0, 400.0)]).await[0];
    let mut eve = Client::attach(&world, "viewer", "eve").await;
    let far = v1::Constraint { kind: text("sphere(0, 0, 100) and has Vitals and not has Tag").kind };
    eve.subscribe(view(1, far)).await;
    eve.subscribe(v1::View { rate_hz: 3.0, components: vec![VITALS], ..view(2, sphere(300.0, 0.0, 450.0)) })
        .await;
    let of_eve = || v1::ExplainEntityRequest { session_name: "eve".to_owned(), ..asks(entity) };
    let told = ask(&world, of_eve()).await.expect("explained");
    assert!(told.open && told.layers.is_empty() && told.lacking.is_empty());
    assert!(told.components.iter().all(|component| component.may_write() == MayWrite::Anybody));
    let sight = told.sight.expect("a session was named");
    assert_eq!((sight.in_view, &sight.components[..]), (true, &["probe.Vitals".to_owned()][..]));
    let [first, second] = &sight.views[..] else { panic!("two views: {sight:#?}") };
    assert_eq!((first.view_id, first.matches, second.view_id, second.matches), (1, false, 2, true));
    let parts = &first.constraint.as_ref().expect("a constraint").parts;
    assert_eq!(parts.iter().map(|part| part.holds).collect::<Vec<_>>(), [false, true, true]);
    let of = |part: &v1::ConstraintCheck| format!("{}: {}", part.text, part.found);
    assert_eq!(of(&parts[0]), "sphere of 100 m around (0, 0, 0): 500.0 m away");
    assert_eq!(of(&parts[2].parts[0]), "has component probe.Tag: it has not");
    let rates: Vec<_> = second.told.iter().map(|told| (&*told.name, told.rate_hz)).collect();
    assert_eq!(rates, [("probe.Vitals", 3.0)]);

    let id = entity.to_string();
    let shown = page(&world, &[&id, "--session", "eve"]);
    for says in [
        "the world is open",
        "eve (session",
        "view 1 does not match, because:\n    sphere of 100 m around (0, 0, 0): 500.0 m away\n  view 2 matches",
        "told: probe.Vitals, at most 3 times a second",
        "may be written by\n",
    ] {
        assert!(shown.contains(says), "{says}: {shown}");
    }
    let session = eve.welcome.session_id.to_string();
    let shown = page(&world, &[&id, "--session", &session, "--view", "2"]);
    assert!(shown.contains("view 2 matches") && !shown.contains("view 1"), "{shown}");
    let shown = page(&world, &[&id, "--where", "Vitals.hp > 5000 or in space 7"]);
    assert!(shown.contains("it does not meet the query, because:\n  none of these:"), "{shown}");
    assert!(shown.contains("probe.Vitals.hp > 5000: it is 7"), "{shown}");
    assert!(shown.contains("in space 7: it is in space 0"), "{shown}");
    let json = page(&world, &[&id, "--where", "has Vitals", "--json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json["where"]["holds"], &json["entity"]), (&json!(true), &json!(id)));

    // A view that follows says where what it follows is; one of densities shows nothing.
    eve.subscribe(view(3, text(&format!("near {entity} within 5")))).await;
    let densities = v1::Densities { square_m: 16.0, ..v1::Densities::default() };
    eve.subscribe(v1::View { view_id: 4, densities: Some(densities), ..v1::View::default() }).await;
    let shown = eventually("it is found near itself", || async {
        let shown = page(&world, &[&id, "--session", "eve"]);
        shown.contains("view 3 matches").then_some(shown)
    })
    .await;
    assert!(shown.contains(&format!("near entity {entity}, within 5 m: it is at (300, 400, 0)")), "{shown}");
    assert!(shown.contains("view 4 counts entities and shows none"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_cannot_be_explained_says_why() {
    let world = World::launch(Launch::probe());
    let mut eve = Client::attach(&world, "viewer", "eve").await;
    let _other = Client::attach(&world, "other", "eve").await;
    eve.subscribe(view(1, all_made())).await;
    let entity = *world.query(text("in space 0")).await.keys().next().expect("the world has some");
    let loaded = explain(&world, entity).await;
    assert!(loaded.components.iter().all(|component| component.origin() == Origin::Snapshot));
    let session_id = eve.welcome.session_id;
    let constraint = |words: &str| Some(text(words));
    let base = asks(entity);
    for (request, reason, says) in [
        (asks(0), Reason::EntityIdInvalid, "above 0"),
        (asks(1 << 53), Reason::EntityIdInvalid, "below 2^53"),
        (asks(987_654_321), Reason::EntityNotFound, "987654321"),
        (
            v1::ExplainEntityRequest { session_id: 4711, ..base.clone() },
            Reason::SessionNotFound,
            "no session 4711",
        ),
        (
            v1::ExplainEntityRequest { session_name: "nobody".to_owned(), ..base.clone() },
            Reason::SessionNotFound,
            "no session nobody",
        ),
        (
            v1::ExplainEntityRequest { session_name: "eve".to_owned(), ..base.clone() },
            Reason::NameInvalid,
            "say which by its id",
        ),
        (
            v1::ExplainEntityRequest { session_id, view_id: 9, ..base.clone() },
            Reason::ViewNotFound,
            "has no view 9; it has 1",
        ),
        (v1::ExplainEntityRequest { view_id: 9, ..base.clone() }, Reason::QueryInvalid, "none is named"),
        (
            v1::ExplainEntityRequest { constraint: constraint("has Vitalls"), ..base.clone() },
            Reason::ComponentUnknown,
            "Vitalls",
        ),
        (
            v1::ExplainEntityRequest { constraint: constraint("near 7 within 5"), ..base.clone() },
            Reason::QueryInvalid,
            "only views follow",
        ),
        (
            v1::ExplainEntityRequest { constraint: Some(v1::Constraint::default()), ..base.clone() },
            Reason::QueryInvalid,
            "empty",
        ),
    ] {
        let error = error_of_status(&ask(&world, request.clone()).await.expect_err("refused")).expect("ours");
        assert_eq!(error.reason, reason, "{request:?}: {error}");
        assert!(error.detail.contains(says), "{request:?}: {error}");
    }
    let done = cli(&world, &["987654321"]);
    assert_eq!(done.code, Some(1));
    assert_eq!(done.stderr, "error: ENTITY_NOT_FOUND: entity 987654321 does not exist");
    let done = cli(&world, &[&entity.to_string(), "--where", "has Vitals andd"]);
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("has Vitals andd\n") && done.stderr.contains('^'), "{}", done.stderr);
}
