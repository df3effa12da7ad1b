//! Layers of strategy `client`: what belongs to a player, only the session of that name writes.

use bytes::Bytes;
use prost::Message;
use spatialdb_proto::v1;
use spatialdb_proto::v1::constraint::Kind;
use spatialdb_tests::{
    Client, Launch, Outcome, PLAYER_OWNER, VITALS, Vitals, World, column, new_rows, position_rows, run,
    update, view,
};
use spatialdb_types::Reason;

use crate::owning::hp;

const PLAYERS: &str = "[[layers]]\nname = \"input\"\nworker_type = \"client\"\nwrites = [\"Vitals\"]\n\
    strategy = \"client\"\n\
    [[layers]]\nname = \"driving\"\nworker_type = \"sim\"\nwith = [\"Position\"]\nwrites = [\"Position\"]\n";

fn owner(name: &str) -> Bytes {
    v1::PlayerOwner { name: name.to_owned() }.encode_to_vec().into()
}

async fn player(world: &World, name: &str) -> Client {
    Client::attach(world, "client", name).await
}

/// A car of that player, made by a game server.
async fn car(game: &mut Client, name: &str, x: f64) -> u64 {
    let columns = vec![new_rows(VITALS, [Vitals::full().bytes()]), new_rows(PLAYER_OWNER, [owner(name)])];
    let positions = vec![position_rows(&[(x, 500.0)])];
    game.create(v1::Create { count: 1, positions, columns, ..v1::Create::default() }).await[0]
}

/// Why other hit points are refused; `None`: they are not.
async fn refusal(client: &mut Client, entity: u64) -> Option<(String, String)> {
    let body = hp(client, entity, 7);
    client.write(body).await.rejections.pop().map(|one| (one.reason, one.detail))
}

async fn give(tool: &mut Client, entity: u64, name: &str) {
    let told = tool.write(update(vec![], vec![column(PLAYER_OWNER, [(entity, owner(name))])])).await;
    assert_eq!(told, Outcome::default());
}

fn cli(world: &World, args: &[&str]) -> String {
    let (command, rest) = args.split_first().expect("a command");
    let done = run(&[&[command, "--address", world.address()], rest].concat());
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    done.stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn only_the_player_whom_it_names_writes_it_wherever_it_goes() {
    let world = World::launch(Launch::probe().config(PLAYERS));
    let (mut ann, mut bob) = (player(&world, "ann").await, player(&world, "bob").await);
    let (mut game, mut tool) = (world.attach("game").await, Client::attach(&world, "tool", "editor").await);
    let entity = car(&mut game, "ann", -700.0).await;
    ann.until("it is Ann's", |client| client.owned.owns("input", entity)).await;
    let region = ann.owned.regions.values().next().expect("hers").clone();
    assert_eq!((&*region.layer, &*region.player, region.space), ("input", "ann", None));
    assert_eq!(refusal(&mut ann, entity).await, None);
    let (reason, detail) = refusal(&mut bob, entity).await.expect("it is Ann's");
    assert_eq!(reason, Reason::NotOwner.name());
    assert!(detail.contains(&format!("owned by session {}", ann.welcome.session_id)), "{detail}");
    // Nobody drives yet, so the tool may not either; but who drives takes it to another partition.
    let mut driver = Client::attach(&world, "sim", "driver").await;
    driver.until("it drives", |client| client.owned.owns("driving", entity)).await;
    let moves = crate::owning::moves(&driver, entity, 700.0);
    assert_eq!(driver.write(moves).await, Outcome::default());
    assert_eq!(refusal(&mut ann, entity).await, None);
    assert_eq!(refusal(&mut driver, entity).await.expect("it drives, no more").0, Reason::NotOwner.name());

    give(&mut tool, entity, "bob").await;
    bob.until("it is Bob's", |client| client.owned.owns("input", entity)).await;
    ann.until("Ann knows", |client| !client.owned.owns("input", entity)).await;
    assert_eq!(refusal(&mut bob, entity).await, None);
    assert_eq!(refusal(&mut ann, entity).await.expect("not any more").0, Reason::NotOwner.name());
    assert_eq!(world.component::<Vitals>(entity, VITALS).await, Vitals::hp(7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_write_from_before_it_was_lost_and_came_back_is_refused() {
    let world = World::launch(Launch::probe().config(PLAYERS));
    let (mut ann, mut bob) = (player(&world, "ann").await, player(&world, "bob").await);
    let (mut game, mut tool) = (world.attach("game").await, Client::attach(&world, "tool", "editor").await);
    let entity = car(&mut game, "ann", -700.0).await;
    ann.until("it is Ann's", |client| client.owned.owns("input", entity)).await;
    let late = hp(&ann, entity, 3);
    give(&mut tool, entity, "bob").await;
    bob.until("it is Bob's", |client| client.owned.owns("input", entity)).await;
    give(&mut tool, entity, "ann").await;
    ann.until("Ann lost it", |client| !client.owned.owns("input", entity)).await;
    ann.until("Ann has it again", |client| client.owned.owns("input", entity)).await;
    let told = ann.write(late).await;
    assert_eq!(told.rejections.first().map(|one| &*one.reason), Some(Reason::OwnershipNotSeen.name()));
    assert_eq!(refusal(&mut ann, entity).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_comes_back_has_all_that_is_under_its_name() {
    let world = World::launch(Launch::probe().config(PLAYERS));
    let mut game = world.attach("game").await;
    let entity = car(&mut game, "ann", 0.0).await;
    let mut bob = player(&world, "bob").await;
    let (reason, detail) = refusal(&mut bob, entity).await.expect("nobody's");
    assert_eq!(reason, Reason::NotOwner.name());
    assert!(
        detail.contains(&format!("entity {entity} belongs to player ann, who is not attached")),
        "{detail}"
    );
    let explained = cli(&world, &["explain", &entity.to_string()]);
    let away = "layer input: nobody owns it: player ann, to whom it belongs, is not attached";
    assert!(explained.contains(away), "{explained}");

    for time in 0..2 {
        // The second time a session replaces the one before.
        let mut ann = player(&world, "ann").await;
        ann.until("it is Ann's", |client| client.owned.owns("input", entity)).await;
        assert_eq!(refusal(&mut ann, entity).await, None, "{time}");
        let regions = cli(&world, &["regions", "--layer", "input"]);
        let of =
            |name: &str| regions.lines().filter(|line| line.contains(&format!("player {name} "))).count();
        assert_eq!((of("ann"), of("bob")), (1, 1), "{regions}");
        let explained = cli(&world, &["explain", &entity.to_string()]);
        let session = ann.welcome.session_id;
        let lines = [
            format!("layer input: owner ann (session {session}), since epoch"),
            "why there: its PlayerOwner names player ann".to_owned(),
        ];
        assert!(lines.iter().all(|line| explained.contains(line)), "{explained}");
        if time == 0 {
            std::mem::forget(ann);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_view_of_what_it_owns_shows_what_belongs_to_it() {
    let world = World::launch(Launch::probe().config(PLAYERS));
    let (mut game, mut ann) = (world.attach("game").await, player(&world, "ann").await);
    let (here, there) = (car(&mut game, "ann", -700.0).await, car(&mut game, "ann", 700.0).await);
    let other = car(&mut game, "bob", 0.0).await;
    let owned = v1::Constraint { kind: Some(Kind::Owned(v1::Owned::default())) };
    ann.subscribe(view(1, owned)).await;
    ann.until("both are shown", |client| client.replica.ids() == [here, there]).await;
    let mut tool = Client::attach(&world, "tool", "editor").await;
    give(&mut tool, other, "ann").await;
    give(&mut tool, here, "bob").await;
    ann.until("one for the other", |client| client.replica.ids() == [there, other]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_players_region_has_no_shape() {
    let world = World::launch(Launch::probe().config(PLAYERS));
    let mut ann = player(&world, "ann").await;
    ann.until("it is there", |client| !client.owned.regions.is_empty()).await;
    let region = ann.owned.regions.keys().next().expect("hers").to_string();
    for args in [&["pin", &region] as &[&str], &["split", &region, "--x", "0"]] {
        let done = run(&[&[args[0], "--address", world.address()], &args[1..]].concat());
        assert!(done.code != Some(0) && done.stderr.contains(&format!("region {region}")), "{}", done.stderr);
    }
    let done = run(&["drain", "ann", "--address", world.address()]);
    assert!(done.code != Some(0) && done.stderr.contains("player ann"), "{}", done.stderr);
    assert_eq!(refusal(&mut ann, 1 << 40).await.expect("there is none").0, Reason::EntityNotFound.name());
}
