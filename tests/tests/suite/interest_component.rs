//! Views that an entity gives its owner's session: `spatialdb.v1.Interest` and `PlayerOwner`.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;
use spatialdb_proto::v1::{self, bands::From, client_message::Body};
use spatialdb_tests::{
    Client, Ending, INTEREST, Launch, METADATA, Outcome, PLAYER_OWNER, POSITION, VITALS, Vitals, World,
    all_of, any_of, column, has, http_get, metadata, near, new_rows, position_rows, positions, run_in,
    sphere, text, update, view,
};

/// Entities with `hp` 0, 1, 2, ... on a line from west to east over two partitions, 100 m apart, and a game server.
async fn line(launch: Launch) -> (World, Client, Vec<u64>) {
    let world = World::launch(launch);
    let mut game = world.attach("game").await;
    let at: Vec<_> = (0..16).map(|i| (f64::from(i) * 100.0 - 750.0, 50.0)).collect();
    let columns = vec![new_rows(VITALS, (0..16).map(|hp| Vitals::hp(hp).bytes()))];
    let positions = vec![position_rows(&at)];
    let ids = game.create(v1::Create { count: 16, positions, columns, ..v1::Create::default() }).await;
    (world, game, ids)
}

fn owner(name: &str) -> Bytes {
    v1::PlayerOwner { name: name.to_owned() }.encode_to_vec().into()
}

fn interest(views: Vec<v1::View>) -> Bytes {
    v1::Interest { views }.encode_to_vec().into()
}

/// Itself, and what is of the line or somebody's within that many metres.
fn around(radius_m: f64) -> v1::View {
    let shown = any_of(vec![has(VITALS), has(PLAYER_OWNER)]);
    v1::View { constraint: Some(all_of(vec![near(0, radius_m), shown])), ..v1::View::default() }
}

/// A car of somebody, at (-750, 60).
async fn car(game: &mut Client, name: &str, views: Vec<v1::View>) -> u64 {
    let columns = vec![
        new_rows(METADATA, [metadata("car", "car")]),
        new_rows(PLAYER_OWNER, [owner(name)]),
        new_rows(INTEREST, [interest(views)]),
    ];
    let positions = vec![position_rows(&[(-750.0, 60.0)])];
    game.create(v1::Create { count: 1, positions, columns, ..v1::Create::default() }).await[0]
}

async fn set(game: &mut Client, component: u32, entity: u64, value: Bytes) -> Outcome {
    game.write(update(vec![], vec![column(component, [(entity, value)])])).await
}

async fn take(game: &mut Client, component: u32, entity: u64) {
    let columns = vec![v1::ComponentEntities { component, entities: vec![entity] }];
    let body = Body::RemoveComponents(v1::RemoveComponents { columns, ..v1::RemoveComponents::default() });
    assert_eq!(game.write(body).await, Outcome::default());
}

async fn put(game: &mut Client, component: u32, entity: u64, value: Bytes) {
    let columns = vec![column(component, [(entity, value)])];
    let body = Body::AddComponents(v1::AddComponents { columns, ..v1::AddComponents::default() });
    assert_eq!(game.write(body).await, Outcome::default());
}

async fn until_shown(player: &mut Client, wanted: &[u64]) {
    let wanted: BTreeSet<u64> = wanted.iter().copied().collect();
    player.until("what is given shows", |player| player.replica.ids().into_iter().eq(wanted.clone())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_session_that_asks_for_nothing_sees_what_is_around_its_entity_wherever_that_goes() {
    let (world, mut game, ids) = line(Launch::probe()).await;
    let mut player = Client::attach(&world, "player", "ann").await;
    let mut other = Client::attach(&world, "player", "bob").await;
    let car = car(&mut game, "ann", vec![around(120.0)]).await;
    until_shown(&mut player, &[car, ids[0], ids[1]]).await;

    // Over the border of two partitions.
    for step in 0..=150 {
        let rows = [(car, f64::from(step) * 10.0 - 750.0, 60.0)];
        game.write(update(vec![positions(&rows)], vec![])).await;
    }
    let is_there =
        |player: &Client| player.replica.position(car).is_some_and(|at| (at.x, at.y) == (750.0, 60.0));
    player.until("it has come there", is_there).await;
    until_shown(&mut player, &[car, ids[14], ids[15]]).await;
    // A writer that outruns the view may leave it for a moment, as with every view that follows.
    assert_eq!(player.replica.entered_count - player.replica.left_count, 3);

    // A view of its own beside it, and one that follows another entity.
    assert_eq!(player.subscribe(view(1, sphere(-750.0, 50.0, 10.0))).await, 1);
    until_shown(&mut player, &[car, ids[0], ids[14], ids[15]]).await;
    let two = vec![around(120.0), v1::View { constraint: Some(near(ids[7], 110.0)), ..v1::View::default() }];
    assert_eq!(set(&mut game, INTEREST, car, interest(two)).await, Outcome::default());
    until_shown(&mut player, &[car, ids[0], ids[6], ids[7], ids[8], ids[14], ids[15]]).await;
    assert_eq!(player.ready.len(), 1, "only what it asked for itself");
    let session_id = player.welcome.session_id;
    world.session("three views", |s| s.session_id == session_id && s.view_count == 3).await;
    assert!(http_get(world.address(), "/metrics").1.contains("spatialdb_edge_interests 1"));

    // It cannot reach them.
    for id in [0, 2, 1 << 53, (1 << 53) + 1, u64::MAX] {
        let end = player.write(Body::EndView(v1::EndView { view_id: id })).await;
        assert_eq!(end.rejections[0].reason, "VIEW_NOT_FOUND", "{id}");
        let start = Body::Subscribe(v1::Subscribe { view: Some(view(id, near(car, 1.0))) });
        let start = player.write(start).await;
        assert!(id == 2 || start.rejections[0].reason == "QUERY_INVALID", "{id}: {start:?}");
    }
    player.write(Body::EndView(v1::EndView { view_id: 2 })).await;
    player.write(Body::EndView(v1::EndView { view_id: 1 })).await;

    // It ends with the entity.
    game.write(Body::Delete(v1::Delete { entities: vec![car], ..v1::Delete::default() })).await;
    until_shown(&mut player, &[]).await;
    assert!(player.replica.deleted.contains(&car));
    assert_eq!(other.subscribe(view(1, has(VITALS))).await, 16);
    assert_eq!(other.replica.entered_count, 16, "nothing was given to it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn both_components_are_needed_and_whose_it_is_gets_it() {
    let (world, mut game, ids) = line(Launch::probe()).await;
    // There before either of its owners.
    let car = car(&mut game, "ann", vec![around(60.0)]).await;
    let mut ann = Client::attach(&world, "player", "ann").await;
    until_shown(&mut ann, &[car, ids[0]]).await;
    let mut bob = Client::attach(&world, "player", "bob").await;
    assert_eq!(set(&mut game, PLAYER_OWNER, car, owner("bob")).await, Outcome::default());
    until_shown(&mut bob, &[car, ids[0]]).await;
    until_shown(&mut ann, &[]).await;

    // Whatever its worker type is, and one that opens later.
    let mut map = Client::attach(&world, "map", "bob").await;
    until_shown(&mut map, &[car, ids[0]]).await;
    // A newer session takes the older one's place.
    let mut again = Client::attach(&world, "player", "bob").await;
    until_shown(&mut again, &[car, ids[0]]).await;
    assert!(matches!(bob.ending().await, Ending::Goodbye(reason, _) if reason == "SESSION_REPLACED"));

    for (component, value) in
        [(PLAYER_OWNER, owner("bob")), (INTEREST, interest(vec![around(120.0), around(60.0)]))]
    {
        take(&mut game, component, car).await;
        until_shown(&mut again, &[]).await;
        until_shown(&mut map, &[]).await;
        put(&mut game, component, car, value).await;
        let all = [car, ids[0], ids[1]];
        until_shown(&mut again, &all[..if component == INTEREST { 3 } else { 2 }]).await;
    }
    assert_eq!(set(&mut game, INTEREST, car, interest(vec![])).await, Outcome::default());
    until_shown(&mut again, &[]).await;
    // A list of fields writes it as well.
    let fields = v1::Column { fields: vec![1], ..column(INTEREST, [(car, interest(vec![around(60.0)]))]) };
    assert_eq!(game.write(update(vec![], vec![fields])).await, Outcome::default());
    until_shown(&mut again, &[car, ids[0]]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_change_sends_the_difference_and_bands_have_rates_of_their_own() {
    let (world, mut game, ids) = line(Launch::probe()).await;
    let mut player = Client::attach(&world, "player", "ann").await;
    let band = v1::Band { radius_m: 150.0, rate_hz: 0.0, components: vec![] };
    let banded = |radius_m| v1::View {
        constraint: Some(all_of(vec![has(VITALS), near(0, radius_m)])),
        components: vec![VITALS],
        rate_hz: 2.0,
        bands: Some(v1::Bands { from: Some(From::Entity(0)), bands: vec![band.clone()] }),
        ..v1::View::default()
    };
    let car = car(&mut game, "ann", vec![banded(620.0)]).await;
    until_shown(&mut player, &ids[..7]).await;
    assert!(player.replica.entities.values().all(|components| components.keys().eq([&VITALS])));

    // Near: as fast as it is written. Further away: at the view's rate.
    let revision = |player: &Client, of: u64| player.replica.entities[&of][&VITALS].revision;
    let (mut fast, mut slow) = (BTreeSet::new(), BTreeSet::new());
    let started = std::time::Instant::now();
    for hp in 100..200 {
        let rows = [ids[1], ids[5]].map(|id| (id, Vitals::hp(hp).bytes()));
        game.write(update(vec![], vec![column(VITALS, rows)])).await;
        let wait = std::time::Duration::from_millis(2);
        while let Ok(Some(_)) = tokio::time::timeout(wait, player.message()).await {}
        fast.insert(revision(&player, ids[1]));
        slow.insert(revision(&player, ids[5]));
    }
    let most = started.elapsed().as_secs_f64() * 2.0 + 3.0;
    assert!(fast.len() > 30, "{fast:?}");
    assert!(slow.len() as f64 <= most, "{} in {:?}", slow.len(), started.elapsed());

    // A little further: what was there stays, what is new comes.
    let (entered, left) = (player.replica.entered_count, player.replica.left_count);
    assert_eq!(set(&mut game, INTEREST, car, interest(vec![banded(820.0)])).await, Outcome::default());
    until_shown(&mut player, &ids[..9]).await;
    assert_eq!((player.replica.entered_count, player.replica.left_count), (entered + 2, left));
    assert!(player.ready.is_empty());
    // The other way round a second view changes nothing that the first one shows.
    let both = interest(vec![v1::View { components: vec![POSITION], ..around(1.0) }, banded(820.0)]);
    let values = player.replica.repeated_count;
    assert_eq!(set(&mut game, INTEREST, car, both).await, Outcome::default());
    player.until("neither ends", |player| player.replica.entities.len() == 9).await;
    assert_eq!((player.replica.left_count, player.replica.repeated_count), (left, values));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_cannot_be_meant_is_refused_and_the_session_lives_on() {
    let (world, mut game, ids) = line(Launch::probe()).await;
    let mut player = Client::attach(&world, "player", "ann").await;
    let car = car(&mut game, "ann", vec![around(60.0)]).await;
    until_shown(&mut player, &[car, ids[0]]).await;
    let band = |radius_m, rate_hz| v1::Band { radius_m, rate_hz, components: vec![] };
    let from = Some(From::Entity(0));
    let bad = [
        (v1::View { view_id: 1, ..around(1.0) }, "QUERY_INVALID", "view_id"),
        (v1::View { own_updates: true, ..around(1.0) }, "QUERY_INVALID", "own_updates"),
        (v1::View::default(), "QUERY_INVALID", "empty"),
        (around(f64::NAN), "QUERY_INVALID", "radius_m"),
        (around(-1.0), "QUERY_INVALID", "radius_m"),
        (v1::View { components: vec![4711], ..around(1.0) }, "COMPONENT_UNKNOWN", "4711"),
        (v1::View { rate_hz: 1e9, ..around(1.0) }, "QUERY_INVALID", "view_rate_hz_max"),
        (
            v1::View { constraint: Some(text("near 0 within 5 and")), ..v1::View::default() },
            "QUERY_INVALID",
            "at ",
        ),
        (
            v1::View {
                bands: Some(v1::Bands { from, bands: vec![band(2.0, 0.0), band(1.0, 0.0)] }),
                ..around(9.0)
            },
            "QUERY_INVALID",
            "larger",
        ),
    ];
    for (bad, reason, part) in bad {
        let value = interest(vec![around(1.0), bad]);
        let columns = vec![column(INTEREST, [(car, value.clone())])];
        let rejected = [
            set(&mut game, INTEREST, car, value.clone()).await,
            game.write(Body::AddComponents(v1::AddComponents { columns, ..Default::default() })).await,
        ];
        for rejected in rejected {
            let rejection = &rejected.rejections[0];
            assert_eq!((rejection.reason.as_str(), rejection.entity), (reason, car), "{rejection:?}");
            assert!(rejection.detail.contains("views[1]"), "{rejection:?}");
            assert!(rejection.detail.contains(part), "{rejection:?} does not say {part}");
        }
        let create =
            v1::Create { count: 1, columns: vec![new_rows(INTEREST, [value])], ..Default::default() };
        game.write(Body::Create(create)).await;
        assert_eq!(game.created.last().expect("answered").entities, [0]);
    }
    let many = set(&mut game, INTEREST, car, interest(vec![around(1.0); 65])).await;
    assert!(many.rejections[0].detail.contains("session_views_max"), "{many:?}");
    let garbage = set(&mut game, INTEREST, car, Bytes::from_static(&[0x0a, 9, 1])).await;
    assert_eq!(garbage.rejections[0].reason, "PAYLOAD_INVALID");

    // Nothing of it has changed what is given.
    let vitals = column(VITALS, [(ids[0], Vitals::hp(-7).bytes())]);
    assert_eq!(game.write(update(vec![], vec![vitals])).await, Outcome::default());
    let value = |player: &Client| player.replica.component::<Vitals>(ids[0], VITALS).map(|vitals| vitals.hp);
    player.until("it lives on", |player| value(player) == Some(-7)).await;
    until_shown(&mut player, &[car, ids[0]]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_does_not_fit_is_left_out_and_told_until_there_is_room() {
    let limits = "[limits]\nsession_views_max = 4\nsession_interests_max = 2";
    let launch = Launch::probe().config(limits).allow("views that an entity gives are left out");
    let (world, mut game, ids) = line(launch).await;
    let mut player = Client::attach(&world, "player", "ann").await;
    player.subscribe(view(1, sphere(-650.0, 50.0, 1.0))).await;
    player.subscribe(view(2, sphere(-550.0, 50.0, 1.0))).await;
    let small = vec![v1::View { components: vec![POSITION], ..around(1.0) }];
    let first = car(&mut game, "ann", small.clone()).await;
    let wide = [small.clone(), vec![around(60.0)]].concat();
    let second = car(&mut game, "ann", wide).await;
    // As the first, which has the lower id; the second does not fit.
    let line = world.log().wait_for("session_views_max = 4");
    assert!(line.contains(&format!("entity={second} ")), "{line}");
    until_shown(&mut player, &[ids[1], ids[2], first, second]).await;
    let (_, metrics) = http_get(world.address(), "/metrics");
    let name = "spatialdb_session_interests_left_out_total{reason=\"LIMIT_REACHED\"} 1";
    assert!(metrics.contains(name), "{metrics}");

    player.write(Body::EndView(v1::EndView { view_id: 2 })).await;
    until_shown(&mut player, &[ids[0], ids[1], first, second]).await;
    // Its own go first.
    player.subscribe(view(3, sphere(-550.0, 50.0, 1.0))).await;
    until_shown(&mut player, &[ids[1], ids[2], first, second]).await;
    player.write(Body::EndView(v1::EndView { view_id: 3 })).await;
    until_shown(&mut player, &[ids[0], ids[1], first, second]).await;

    let third = car(&mut game, "ann", vec![]).await;
    world.log().wait_for("session_interests_max = 2");
    assert!(third > second);
    until_shown(&mut player, &[ids[0], ids[1], first, second, third]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_loaded_gives_views_too_unless_it_cannot_be_meant() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("world.jsonl");
    let entity = |id: u64, view: &str| {
        format!(
            r#"{{"id": "{id}", "components": {{"spatialdb.v1.Position": {{}}, "spatialdb.v1.PlayerOwner": {{"name": "ann"}}, "spatialdb.v1.Interest": {{"views": [{view}]}}}}}}"#
        )
    };
    let follow = r#"{"constraint": {"near": {"radiusM": 5}}}"#;
    let lines = [entity(7, follow), entity(8, r#"{"viewId": "3", "constraint": {"all": {}}}"#)].join("\n");
    std::fs::write(&file, lines).expect("written");
    let launch = Launch::default().snapshot(&file).arg("--partitions").arg("2");
    let world = World::launch(launch.allow("views that an entity gives are left out"));
    let mut player = Client::attach(&world, "player", "ann").await;
    until_shown(&mut player, &[7, 8]).await;
    let line = world.log().wait_for("views that an entity gives are left out");
    assert!(line.contains("entity=8 ") && line.contains("view_id must not be set"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_session_that_may_not_look_is_given_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = |args: &[&str]| run_in(folder.path(), &[&["token", "new"], args].concat()).stdout;
    let maker = token(&["--worker", "probe", "--may", "create", "--name", "maker"]);
    let looker = token(&["--worker", "map", "--may", "query", "--name", "looker"]);
    let file = folder.path().join("tokens.toml");
    let launch = Launch::probe().config(&format!("[server]\ntokens = {file:?}"));
    let world = World::launch(launch.allow("views that an entity gives are left out"));
    let hello = |worker_type: &str, token: &str| v1::Hello {
        token: token.to_owned(),
        ..Client::hello(worker_type, "ann")
    };
    let mut blind = Client::attach_with(&world, hello("probe", &maker)).await;
    let mut map = Client::attach_with(&world, hello("map", &looker)).await;
    // It would give itself what it may not ask for.
    let car = car(&mut blind, "ann", vec![around(5.0)]).await;
    until_shown(&mut map, &[car]).await;
    let line = world.log().wait_for("views that an entity gives are left out");
    assert!(line.contains("query is not granted"), "{line}");
    blind.write(Body::Heartbeat(v1::Heartbeat::default())).await;
    assert!(blind.replica.ids().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_does_not_follow_the_entity_never_flickers_while_it_crosses_borders() {
    let (world, mut game, ids) = line(Launch::probe()).await;
    let mut player = Client::attach(&world, "player", "ann").await;
    let fixed = v1::View { constraint: Some(has(VITALS)), ..v1::View::default() };
    let car = car(&mut game, "ann", vec![fixed]).await;
    until_shown(&mut player, &ids).await;
    for step in 0..200 {
        let side = if step % 2 == 0 { 1.0 } else { -1.0 };
        let rows = [(car, side * f64::from(20 + step), side * 60.0)];
        let hp = column(VITALS, [(ids[0], Vitals::hp(step).bytes())]);
        assert_eq!(game.write(update(vec![positions(&rows)], vec![hp])).await, Outcome::default());
    }
    let hp = |player: &Client| player.replica.component::<Vitals>(ids[0], VITALS).map(|vitals| vitals.hp);
    player.until("the last write shows", |player| hp(player) == Some(199)).await;
    assert_eq!((player.replica.entered_count, player.replica.left_count), (16, 0));
    assert!(player.ready.is_empty());
}
