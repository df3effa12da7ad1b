//! Tools that keep a component of what others own to themselves for a while.

use std::time::{Duration, Instant};

use spatialdb_proto::{v1, v1::client_message::Body};
use spatialdb_tests::{Client, Launch, METADATA, POSITION, VITALS, Vitals, World, new_rows, position_rows};
use spatialdb_types::Reason;

use crate::owning::{hp, moves};

const HALVES: &str = "[[layers]]\nname = \"halves\"\nworker_type = \"sim\"\nwith = [\"Position\"]\n\
    writes = [\"Position\", \"Vitals\"]\nstrategy = \"pinned\"\n\
    pins = [{ min = [-inf, -inf], max = [0, inf], worker = \"ann\" },\n\
    { min = [0, -inf], max = [inf, inf], worker = \"bob\" }]\n";

/// Why a write was refused; `None`: it was not.
async fn refusal(client: &mut Client, write: impl FnOnce(&Client) -> Body) -> Option<(String, String)> {
    let body = write(client);
    let outcome = client.write(body).await;
    outcome.rejections.first().map(|one| (one.reason.clone(), one.detail.clone()))
}

/// Writes until it is accepted.
async fn accepted(client: &mut Client, write: impl Fn(&Client) -> Body) {
    let start = Instant::now();
    while let Some((reason, detail)) = refusal(client, &write).await {
        assert_eq!(reason, Reason::ComponentHeld.name(), "{detail}");
        assert!(start.elapsed() < Duration::from_secs(10), "still held: {detail}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A world with an entity of ann, its owner, and a tool.
async fn begin() -> (World, u64, Client, Client) {
    let world = World::launch(Launch::probe().config(HALVES));
    let mut ann = Client::attach(&world, "sim", "ann").await;
    let create = v1::Create {
        count: 1,
        positions: vec![position_rows(&[(-10.0, 500.0)])],
        columns: vec![new_rows(VITALS, [Vitals::full().bytes()])],
        ..Default::default()
    };
    let entity = ann.create(create).await[0];
    ann.until("its owner knows", |client| client.owned.owns("halves", entity)).await;
    let tool = Client::attach(&world, "tool", "editor").await;
    (world, entity, ann, tool)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_tool_holds_only_it_writes_and_its_owner_is_told() {
    let (world, entity, mut ann, mut tool) = begin().await;
    let (reason, _) = refusal(&mut tool, |client| hp(client, entity, 1)).await.expect("it is ann's");
    assert_eq!(reason, Reason::NotOwner.name());
    let epoch = tool.hold(entity, VITALS, 60_000).await;
    assert_eq!(refusal(&mut tool, |client| hp(client, entity, 2)).await, None);
    ann.until("ann is told", |client| client.owned.holds.contains_key(&(entity, VITALS))).await;
    let told = ann.owned.holds[&(entity, VITALS)];
    assert_eq!((told.session_id, told.epoch, told.over), (tool.welcome.session_id, epoch, false));
    let (reason, detail) = refusal(&mut ann, |client| hp(client, entity, 3)).await.expect("it is held");
    assert_eq!(reason, Reason::ComponentHeld.name());
    assert!(detail.contains(&format!("held by session {}", tool.welcome.session_id)), "{detail}");
    // The entity is still hers: what is not held she writes.
    assert_eq!(refusal(&mut ann, |client| moves(client, entity, -20.0)).await, None);
    assert_eq!(world.component::<Vitals>(entity, VITALS).await, Vitals::hp(2));

    tool.write(Body::EndHold(v1::EndHold { epoch })).await;
    ann.until("it is over", |client| client.owned.holds.is_empty()).await;
    assert_eq!(refusal(&mut ann, |client| hp(client, entity, 4)).await, None);
    let (reason, _) = refusal(&mut tool, |client| hp(client, entity, 5)).await.expect("no longer");
    assert_eq!(reason, Reason::NotOwner.name());
    // Once more: nothing happens.
    tool.write(Body::EndHold(v1::EndHold { epoch })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_hold_goes_with_its_entity_and_the_next_owner_is_told() {
    let (world, entity, mut ann, mut tool) = begin().await;
    let mut bob = Client::attach(&world, "sim", "bob").await;
    bob.until("bob has the east", |client| !client.owned.regions.is_empty()).await;
    tool.hold(entity, VITALS, 60_000).await;
    assert_eq!(refusal(&mut ann, |client| moves(client, entity, 40.0)).await, None);
    bob.until("it is bob's", |client| client.owned.owns("halves", entity)).await;
    bob.until("bob is told", |client| client.owned.holds.contains_key(&(entity, VITALS))).await;
    assert_eq!(
        refusal(&mut bob, |client| hp(client, entity, 3)).await.expect("held").0,
        Reason::ComponentHeld.name()
    );
    assert_eq!(refusal(&mut tool, |client| hp(client, entity, 6)).await, None);
    // It ends with its session.
    drop(tool);
    accepted(&mut bob, |bob| hp(bob, entity, 7)).await;
    bob.until("it is over", |client| client.owned.holds.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_hold_ends_with_its_time_and_a_later_one_takes_its_place() {
    let (world, entity, mut ann, mut tool) = begin().await;
    let start = Instant::now();
    tool.hold(entity, POSITION, 600).await;
    assert_eq!(
        refusal(&mut ann, |client| moves(client, entity, -30.0)).await.expect("held").0,
        Reason::ComponentHeld.name()
    );
    accepted(&mut ann, |ann| moves(ann, entity, -40.0)).await;
    assert!(start.elapsed() >= Duration::from_millis(600), "after {:?}", start.elapsed());

    let first = tool.hold(entity, VITALS, 60_000).await;
    let mut other = Client::attach(&world, "tool", "other").await;
    let second = other.hold(entity, VITALS, 60_000).await;
    assert!(second > first);
    assert_eq!(refusal(&mut other, |client| hp(client, entity, 1)).await, None);
    assert_eq!(
        refusal(&mut tool, |client| hp(client, entity, 2)).await.expect("taken").0,
        Reason::ComponentHeld.name()
    );
    tool.write(Body::EndHold(v1::EndHold { epoch: first })).await;
    assert_eq!(refusal(&mut other, |client| hp(client, entity, 3)).await, None, "the later one lasts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_cannot_be_held_is_refused_by_name() {
    let (_world, entity, _ann, mut tool) = begin().await;
    let cases = [
        (0, VITALS, 1000, Reason::EntityIdInvalid, "entity 0"),
        (entity, 77_777, 1000, Reason::ComponentUnknown, "77777"),
        (entity, VITALS, 0, Reason::LimitReached, "hold_ms_max = 300000"),
        (entity, VITALS, 300_001, Reason::LimitReached, "for_ms = 300001"),
        (4_000_000, VITALS, 1000, Reason::EntityNotFound, "entity 4000000 does not exist"),
        (entity, METADATA, 1000, Reason::ComponentInNoLayer, "no layer writes component 2"),
    ];
    for (entity, component, for_ms, reason, part) in cases {
        let take = Body::TakeHold(v1::TakeHold { entity, component, for_ms });
        let (told, detail) = refusal(&mut tool, |_| take).await.expect("refused");
        assert_eq!(told, reason.name(), "{detail}");
        assert!(detail.contains(part), "{detail}");
    }
    tool.hold(entity, VITALS, 1000).await;

    let open = World::launch(Launch::probe());
    let mut tool = open.attach("tool").await;
    let take = Body::TakeHold(v1::TakeHold { entity: 1, component: VITALS, for_ms: 1000 });
    let (reason, detail) = refusal(&mut tool, |_| take).await.expect("refused");
    assert!(reason == Reason::RegionNotFound.name() && detail.contains("the world is open"), "{detail}");
}
