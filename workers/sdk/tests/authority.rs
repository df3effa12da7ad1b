//! A worker in a world with layers, against a scripted server: what it says of what it owns, and when.

mod peer;

use std::time::Duration;

use spatialdb_proto::v1::{
    self,
    authority::Body::{Drain, Entities, Gained, LossImminent, Lost, Warm},
    client_message::Body,
};
use spatialdb_sdk::{
    Batch, ComponentId, Constraint, EntityId, Event, Region, Simulation, View, ViewId, Worker,
};
use tokio::time::timeout;

use self::peer::{PATIENCE, Peer, attach, event, move_one, server};

fn lease(region: u64) -> v1::Lease {
    v1::Lease { region, layer: "all".into(), epoch: region, ..Default::default() }
}

fn words(region: u64, entities: &[u64]) -> v1::authority::Body {
    let (layer, entities) = ("all".into(), entities.to_vec());
    let changes = vec![v1::EntityChanges { layer, region, epoch: region, gained: true, entities }];
    Entities(v1::EntityAuthority { changes })
}

fn imminent(region: u64) -> v1::authority::Body {
    LossImminent(v1::LossImminent { region, epoch: region, until_us: 0 })
}

async fn report(peer: &mut Peer) -> v1::AuthorityReport {
    match peer.hear().await {
        Body::AuthorityReport(report) => report,
        other => panic!("not a report: {other:?}"),
    }
}

#[tokio::test]
async fn what_it_writes_before_a_loss_goes_before_flushed_and_names_what_it_has_seen() {
    let (options, mut peers) = server().await;
    let (mut worker, mut peer) = attach(options, &mut peers).await;
    peer.authority(1, Gained(lease(1))).await;
    peer.authority(2, words(1, &[1])).await;
    peer.authority(3, imminent(1)).await;
    assert!(matches!(event(&mut worker).await, Event::RegionGained(_)));
    assert!(matches!(event(&mut worker).await, Event::Gained { .. }));
    assert!(worker.owns(EntityId(1), ComponentId::POSITION) && !worker.owns(EntityId(2), "all"));
    let Event::LossImminent { region, .. } = event(&mut worker).await else { panic!("a loss") };
    worker.send(&mut move_one()).await.expect("sends");
    assert!(timeout(Duration::from_millis(100), worker.next_event()).await.is_err(), "nothing more");
    assert_eq!((region.id.0, worker.owned("all").count()), (1, 0));
    loop {
        match peer.hear().await {
            // Of regions that came it may have said so before.
            Body::AuthorityReport(report) if report.flushed.is_empty() => {}
            Body::Update(update) => break assert_eq!(update.authority_seen, 3),
            other => panic!("neither: {other:?}"),
        }
    }
    let flushed = report(&mut peer).await;
    assert_eq!(flushed.flushed, [v1::RegionGrant { region: 1, epoch: 1 }]);
    assert_eq!(flushed.authority_seen, 3);
}

#[tokio::test]
async fn it_says_that_it_is_warm_and_once_what_it_has_seen() {
    let (options, mut peers) = server().await;
    let (mut worker, mut peer) = attach(options, &mut peers).await;
    for number in 1..=4 {
        peer.authority(number, Gained(lease(number))).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 1..=4 {
        assert!(matches!(event(&mut worker).await, Event::RegionGained(_)));
    }
    peer.authority(5, Warm(lease(9))).await;
    peer.frame(v1::Frame { entered: vec![7], ..Default::default() }).await;
    assert!(matches!(event(&mut worker).await, Event::Frame(_)));
    let (mut seen, mut reports) = (0, 0);
    while seen < 5 {
        let report = report(&mut peer).await;
        (seen, reports) = (report.authority_seen, reports + 1);
        assert_eq!(report.warmed, if seen == 5 { vec![9] } else { vec![] });
    }
    assert!(reports <= 3, "{reports} reports of what came at once");
}

/// Moves what it owns, and notes what is asked of it.
#[derive(Default)]
struct Mover {
    ticks: usize,
    let_go: Vec<u64>,
}

impl Simulation for Mover {
    type Error = Box<dyn std::error::Error>;

    async fn tick(&mut self, worker: &mut Worker, batch: &mut Batch) -> Result<(), Self::Error> {
        self.ticks += 1;
        worker.owned("all").for_each(|entity| batch.set_position(entity, Default::default()));
        Ok(())
    }

    async fn before_loss(
        &mut self,
        _: &mut Worker,
        regions: &[Region],
        batch: &mut Batch,
    ) -> Result<(), Self::Error> {
        self.let_go.extend(regions.iter().map(|region| region.id.0));
        batch.delete(EntityId(99));
        Ok(())
    }
}

#[tokio::test]
async fn a_simulation_that_is_drained_lets_go_and_says_goodbye() {
    let (mut options, mut peers) = server().await;
    options.in_flight_messages_max = 10_000;
    let (mut worker, mut peer) = attach(options, &mut peers).await;
    worker.subscribe(View::new(ViewId(1), Constraint::all())).await.expect("sends");
    assert!(matches!(peer.hear().await, Body::Subscribe(_)));
    let mut mover = Mover::default();
    let script = async {
        peer.authority(1, Gained(lease(1))).await;
        peer.authority(2, words(1, &[1])).await;
        // No tick before the view is filled.
        assert!(matches!(peer.hear().await, Body::Heartbeat(_) | Body::AuthorityReport(_)));
        let view_ready = vec![v1::ViewReady { view_id: 1, entity_count: 0 }];
        peer.frame(v1::Frame { view_ready, ..Default::default() }).await;
        while !matches!(peer.hear().await, Body::Update(update) if update.authority_seen == 2) {}
        peer.authority(3, Drain(v1::WorkerDrain {})).await;
        peer.authority(4, imminent(1)).await;
        let mut last = "";
        loop {
            match peer.hear().await {
                Body::Delete(_) => last = "delete",
                Body::AuthorityReport(report) if !report.flushed.is_empty() => break,
                _ => {}
            }
        }
        assert_eq!(last, "delete", "it writes what it has first");
        let lost = v1::RegionLost { region: 1, epoch: 1, ..Default::default() };
        peer.authority(5, Lost(lost)).await;
        while !matches!(peer.hear().await, Body::Goodbye(_)) {}
        drop(peer);
    };
    let run = worker.run(&mut mover, Duration::from_millis(5));
    let both = Box::pin(timeout(PATIENCE, async { tokio::join!(run, script) }));
    let (ended, ()) = both.await.expect("in time");
    ended.expect("a good end");
    assert_eq!(mover.let_go, [1]);
    assert!(mover.ticks > 0);
}
