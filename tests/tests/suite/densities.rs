//! Views of densities: how many entities there are where.

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde_json::Value;
use spatialdb_proto::v1::{self, client_message::Body};
use spatialdb_tests::{
    Client, Launch, METADATA, Process, World, column, entity_ids, http_get, metadata, new_rows,
    position_rows, positions, spatialdb, update, view,
};

/// By type, x and y.
type Counts = BTreeMap<(String, i32, i32), u64>;

/// Where the posts are, and of which type.
type Model = BTreeMap<u64, (f64, f64, &'static str)>;

fn posts() -> Model {
    let at = |step: u64| step as f64 * 300.0 - 1050.0;
    (0..64).map(|index| (index + 1, (at(index % 8), at(index / 8), "post"))).collect()
}

fn densities(view_id: u64, densities: v1::Densities) -> v1::View {
    v1::View { view_id, densities: Some(densities), ..v1::View::default() }
}

fn everywhere(square_m: f64, per_type: bool) -> v1::Densities {
    v1::Densities { square_m, per_type, ..v1::Densities::default() }
}

fn corner(x: f64, y: f64) -> Option<v1::Point> {
    Some(v1::Point { x, y, z: None })
}

/// Counted by brute force.
fn counts(model: &Model, square_m: f64, per_type: bool) -> Counts {
    let mut counts = Counts::new();
    for &(x, y, kind) in model.values() {
        let square = |v: f64| (v / square_m).floor() as i32;
        let kind = if per_type { kind } else { "" };
        *counts.entry((kind.to_owned(), square(x), square(y))).or_default() += 1;
    }
    counts
}

/// What the client was told of squares of that size; it knows of no others.
fn told(client: &Client, view: u64, square_m: f64) -> Counts {
    let squares = client.replica.squares.iter().filter(|(key, _)| key.0 == view);
    squares
        .map(|((_, side, kind, x, y), &count)| {
            assert_eq!(f64::from_bits(*side), square_m);
            ((kind.clone(), *x, *y), count)
        })
        .collect()
}

async fn shows(client: &mut Client, view: u64, square_m: f64, expected: &Counts) {
    client.until("the counts", |client| told(client, view, square_m) == *expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn squares_of_any_size_count_what_is_in_them_as_it_comes_moves_and_goes() {
    let world = World::launch(Launch::probe());
    let (mut client, mut viewer) = (world.attach("probe").await, world.attach("viewer").await);
    let mut model = posts();
    // Cells are 16 m wide: squares are as large as asked, or larger.
    let sizes = [(0.0, 16.0), (300.0, 512.0), (4096.0, 4096.0), (16e9, 16.0 * f64::from(1u32 << 30))];
    for (view, (asked, _)) in (1..).zip(sizes) {
        assert_eq!(viewer.subscribe(densities(view, everywhere(asked, false))).await, 64, "{asked}");
    }
    let check = async |viewer: &mut Client, model: &Model| {
        for (view, (_, side)) in (1..).zip(sizes) {
            shows(viewer, view, side, &counts(model, side, false)).await;
        }
    };
    check(&mut viewer, &model).await;
    for round in 1..=10 {
        let turn = f64::from(round) * 0.7;
        let mut rows = Vec::new();
        for (&id, at) in &mut model {
            let angle = turn + id as f64;
            (at.0, at.1) = (800.0 * angle.sin(), 800.0 * (angle * 1.3).cos());
            rows.push((id, at.0, at.1));
        }
        client.write(update(vec![positions(&rows)], vec![])).await;
        check(&mut viewer, &model).await;
    }
    let new = client
        .create(v1::Create {
            count: 2,
            positions: vec![position_rows(&[(0.5, 0.5); 2])],
            ..Default::default()
        })
        .await;
    new.iter().for_each(|&id| _ = model.insert(id, (0.5, 0.5, "")));
    check(&mut viewer, &model).await;
    client.write(Body::Delete(v1::Delete { entities: vec![1, new[0]], ..v1::Delete::default() })).await;
    model.retain(|id, _| *id != 1 && *id != new[0]);
    check(&mut viewer, &model).await;
    // Without a position it is in no square.
    let gone = v1::ComponentEntities { component: spatialdb_tests::POSITION, entities: vec![2] };
    client
        .write(Body::RemoveComponents(v1::RemoveComponents { columns: vec![gone], ..Default::default() }))
        .await;
    model.remove(&2);
    check(&mut viewer, &model).await;
    // A step within a cell changes no count.
    let before = viewer.replica.square_count;
    let (x, y, _) = model[&3];
    client.write(update(vec![positions(&[(3, x, y)])], vec![])).await;
    assert_eq!(viewer.subscribe(view(9, entity_ids(&[3]))).await, 1);
    assert_eq!(viewer.replica.square_count, before);
    let (_, metrics) = http_get(world.address(), "/metrics");
    assert!(metrics.contains("spatialdb_partition_squares{partition=\"0\"}"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn types_are_counted_apart_if_asked() {
    let world =
        World::launch(Launch::probe().config("[limits]\ndensity_types_max = 2\ndensity_type_bytes_max = 8"));
    let (mut client, mut viewer) = (world.attach("probe").await, world.attach("viewer").await);
    let mut model = posts();
    assert_eq!(viewer.subscribe(densities(1, everywhere(512.0, true))).await, 64);
    assert_eq!(viewer.subscribe(densities(2, everywhere(512.0, false))).await, 64);
    shows(&mut viewer, 1, 512.0, &counts(&model, 512.0, true)).await;
    let change = |id: u64, kind: &str| update(vec![], vec![column(METADATA, [(id, metadata(kind, ""))])]);
    for (id, kind) in [(1, "gate"), (2, "gate"), (1, "post"), (3, "")] {
        client.write(change(id, kind)).await;
        model.entry(id).and_modify(|post| post.2 = kind);
        shows(&mut viewer, 1, 512.0, &counts(&model, 512.0, true)).await;
    }
    let gone = v1::ComponentEntities { component: METADATA, entities: vec![4] };
    client
        .write(Body::RemoveComponents(v1::RemoveComponents { columns: vec![gone], ..Default::default() }))
        .await;
    model.entry(4).and_modify(|post| post.2 = "");
    shows(&mut viewer, 1, 512.0, &counts(&model, 512.0, true)).await;
    // Two have a number of their own where these are; the third type and one that is too long are told together.
    let place = vec![position_rows(&[(-1040.0, -1040.0), (-1040.0, -1040.0)])];
    let kinds = vec![new_rows(METADATA, [metadata("tower", ""), metadata("lighthouse", "")])];
    client.create(v1::Create { count: 2, positions: place, columns: kinds, ..Default::default() }).await;
    model.insert(1000, (-1040.0, -1040.0, "*"));
    model.insert(1001, (-1040.0, -1040.0, "*"));
    shows(&mut viewer, 1, 512.0, &counts(&model, 512.0, true)).await;
    shows(&mut viewer, 2, 512.0, &counts(&model, 512.0, false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn changing_a_view_tells_the_difference() {
    let world = World::launch(Launch::probe());
    let mut viewer = world.attach("viewer").await;
    let strip = |from: f64, to: f64| v1::Densities {
        min: corner(from, f64::NEG_INFINITY),
        max: corner(to, f64::INFINITY),
        ..everywhere(256.0, false)
    };
    let within = |from: i32, to: i32| {
        let mut counts = counts(&posts(), 256.0, false);
        counts.retain(|(_, x, _), _| (from..to).contains(x));
        counts
    };
    viewer.subscribe(densities(1, strip(-1280.0, 0.0))).await;
    shows(&mut viewer, 1, 256.0, &within(-5, 0)).await;
    let (before, gone, new) = (viewer.replica.square_count, within(-5, -3), within(0, 1));
    let count = viewer.change_view(densities(1, strip(-768.0, 256.0))).await;
    assert_eq!(count, within(-3, 1).values().sum::<u64>());
    assert_eq!(told(&viewer, 1, 256.0), within(-3, 1), "all is told when it is ready");
    assert!(!new.is_empty() && !gone.is_empty());
    assert_eq!(viewer.replica.square_count - before, (new.len() + gone.len()) as u64);
    // Another size: what was told is taken back.
    assert_eq!(viewer.change_view(densities(1, everywhere(4096.0, true))).await, 64);
    assert_eq!(told(&viewer, 1, 4096.0), counts(&posts(), 4096.0, true));
    assert_eq!(viewer.change_view(densities(1, everywhere(4096.0, false))).await, 64);
    assert_eq!(told(&viewer, 1, 4096.0), counts(&posts(), 4096.0, false));
    // Another space.
    let cellar = v1::Densities { space: 7, ..everywhere(4096.0, false) };
    assert_eq!(viewer.change_view(densities(1, cellar)).await, 0);
    assert_eq!(told(&viewer, 1, 4096.0), Counts::new());
    assert_eq!(viewer.ready.len(), 5, "one view_ready for each change");
    viewer.write(Body::EndView(v1::EndView { view_id: 1 })).await;
    assert_eq!(viewer.subscribe(densities(1, everywhere(512.0, false))).await, 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn bad_densities_are_refused_and_the_session_goes_on() {
    let world = World::launch(Launch::probe());
    let mut viewer = world.attach("viewer").await;
    viewer.subscribe(view(1, entity_ids(&[1]))).await;
    viewer.subscribe(densities(2, everywhere(64.0, false))).await;
    let subscribe = |view| Body::Subscribe(v1::Subscribe { view: Some(view) });
    let change = |view| Body::ChangeView(v1::ChangeView { view: Some(view) });
    let of = |asked| subscribe(densities(9, asked));
    let good = || everywhere(64.0, false);
    let boxed = |min, max| v1::Densities { min, max, ..good() };
    let bands = Some(v1::Bands::default());
    let cases = [
        (of(everywhere(f64::NAN, false)), "QUERY_INVALID", "square_m = NaN"),
        (of(everywhere(-1.0, false)), "QUERY_INVALID", "square_m = -1"),
        (of(everywhere(1e12, false)), "QUERY_INVALID", "square_m <= 34359738368"),
        (of(boxed(corner(1.0, 0.0), corner(0.0, 1.0))), "QUERY_INVALID", "min <= max"),
        (of(boxed(corner(f64::NAN, 0.0), None)), "QUERY_INVALID", "NaN"),
        (of(v1::Densities { space: 4711, ..good() }), "SPACE_UNKNOWN", "4711"),
        (
            subscribe(v1::View { densities: Some(good()), ..view(9, entity_ids(&[1])) }),
            "QUERY_INVALID",
            "constraint",
        ),
        (subscribe(v1::View { components: vec![1], ..densities(9, good()) }), "QUERY_INVALID", "components"),
        (subscribe(v1::View { bands, ..densities(9, good()) }), "QUERY_INVALID", "bands"),
        (subscribe(v1::View { rate_hz: f64::NAN, ..densities(9, good()) }), "QUERY_INVALID", "rate_hz"),
        (subscribe(densities(0, good())), "QUERY_INVALID", "view_id is 0"),
        (subscribe(densities(2, good())), "VIEW_EXISTS", "view 2"),
        (change(densities(9, good())), "VIEW_NOT_FOUND", "9"),
        (change(densities(1, good())), "QUERY_INVALID", "between entities and densities"),
        (change(view(2, entity_ids(&[1]))), "QUERY_INVALID", "between entities and densities"),
    ];
    for (body, reason, part) in cases {
        let outcome = viewer.write(body).await;
        let [found] = &outcome.rejections[..] else { panic!("{reason} {part}: {outcome:?}") };
        assert_eq!(found.reason, reason, "{}", found.detail);
        assert!(found.detail.contains(part), "{:?} names {part}", found.detail);
    }
    assert_eq!(viewer.subscribe(densities(9, good())).await, 64);
    let mut model = posts();
    model.entry(1).and_modify(|at| at.0 = 7.0);
    let mut client = world.attach("probe").await;
    client.write(update(vec![positions(&[(1, 7.0, model[&1].1)])], vec![])).await;
    for view in [2, 9] {
        shows(&mut viewer, view, 64.0, &counts(&model, 64.0, false)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn more_squares_than_a_session_may_have_become_larger_ones() {
    let world = World::launch(Launch::probe().config("[limits]\nsession_density_squares_max = 20"));
    let mut viewer = world.attach("viewer").await;
    assert_eq!(viewer.subscribe(densities(1, everywhere(0.0, false))).await, 64);
    // The posts are in 36 squares of 512 m, and in 16 of 1024 m, some more there.
    let expected = counts(&posts(), 1024.0, false);
    assert!(expected.len() <= 20 && counts(&posts(), 512.0, false).len() > 20);
    shows(&mut viewer, 1, 1024.0, &expected).await;
    // Each change begins with what is asked.
    let small = v1::Densities {
        min: corner(-1100.0, -1100.0),
        max: corner(-500.0, -500.0),
        ..everywhere(16.0, false)
    };
    assert_eq!(viewer.change_view(densities(1, small)).await, 4);
    assert_eq!(told(&viewer, 1, 16.0).len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_slow_rate_tells_the_latest_counts() {
    let world = World::launch(Launch::probe());
    let (mut client, mut viewer) = (world.attach("probe").await, world.attach("viewer").await);
    viewer.subscribe(v1::View { rate_hz: 2.0, ..densities(1, everywhere(16.0, false)) }).await;
    let before = viewer.replica.square_count;
    for step in 1..=40 {
        let x = f64::from(step) * 16.0 + 8.0;
        client.write(update(vec![positions(&[(1, x, 8.0)])], vec![])).await;
    }
    let mut model = posts();
    model.insert(1, (648.0, 8.0, "post"));
    shows(&mut viewer, 1, 16.0, &counts(&model, 16.0, false)).await;
    // At most a few of the squares on its way were ever told.
    assert!(viewer.replica.square_count - before < 40, "{}", viewer.replica.square_count - before);
}

fn watch(world: &World, args: &[&str]) -> Process {
    Process::start(&mut spatialdb(&[&["watch"], args, &["--address", world.address()]].concat()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn watch_shows_densities() {
    let world = World::launch(Launch::probe());
    let mut client = world.attach("probe").await;
    let corner = ["--densities", "500", "--area", "-1100,-1100,-600,-600"];
    let mut watcher = watch(&world, &[&corner[..], &["--per-type"]].concat());
    watcher.stderr.wait_for("ready: ");
    assert!(watcher.stdout.wait_for(" = 1  (-1024, -1024)..(-512, -512)  ").ends_with("  post"));
    client.write(update(vec![positions(&[(64, -600.0, -600.0)])], vec![])).await;
    watcher.stdout.wait_for(" = 2  (-1024, -1024)..(-512, -512)  post");
    watcher.signal(Signal::INT);
    assert_eq!(watcher.wait(), Some(0));

    let done = watch(&world, &["--densities", "1e9", "--json", "--count", "4"]).finish();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let lines: Vec<Value> =
        done.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let squares = || lines.iter().filter(|line| line["event"] == "square");
    assert!(squares().all(|square| square["type"] == "" && square["square_m"].as_f64() >= Some(1e9)));
    // A square is told once for each partition, or once for all: the last one counts.
    let last: BTreeMap<_, _> =
        squares().map(|s| ((s["x"].as_i64(), s["y"].as_i64()), s["count"].as_u64())).collect();
    assert_eq!(last.len(), 4, "{}", done.stdout);
    let done = watch(&world, &["has probe.Tag", "--densities", "100"]).finish();
    assert!(done.code != Some(0) && done.stderr.contains("--densities"), "{}", done.stderr);
}
