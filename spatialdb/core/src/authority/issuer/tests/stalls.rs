//! Workers whose heartbeats go on while they stand still.

use super::*;

/// A worker that says it lives twice a second.
#[derive(Default)]
struct Beating {
    signs: Signs,
}

fn rig(stall_after: Option<Micros>) -> Rig {
    let mut rig = Rig::new(vec![placed("l")]);
    rig.issuer.patience.stall_after = stall_after;
    rig.attach(ANN);
    rig
}

impl Beating {
    /// Time passes while she heartbeats, and does what else is said before each heartbeat.
    fn pass(&mut self, rig: &mut Rig, time: Micros, each: impl Fn(&mut Signs)) {
        let end = rig.now + time;
        while rig.now < end {
            rig.now += 250_000;
            if rig.now.is_multiple_of(500_000) {
                each(&mut self.signs);
                self.signs.beats += 1;
            }
            rig.issuer.heard(ANN, rig.now, &mut rig.outbox);
            rig.issuer.heard(BOB, rig.now, &mut rig.outbox);
            rig.issuer.noted(ANN, self.signs, rig.now, &mut rig.outbox);
            rig.issuer.tick(rig.now, &mut rig.outbox);
            rig.run();
        }
    }
}

/// Frames come, since each heartbeat is answered with one.
fn answered(signs: &mut Signs) {
    signs.frame_sent += 1;
}

#[test]
fn who_is_heard_and_leaves_its_grant_unseen_loses_it_and_gets_it_back_when_it_goes_on() {
    let mut rig = rig(Some(2 * SECOND));
    let mut ann = Beating::default();
    rig.attach(BOB);
    ann.pass(&mut rig, 2 * SECOND, answered);
    assert_eq!(rig.owner(R1), Some(ANN), "it was looked for the first time when some of that had passed");
    ann.pass(&mut rig, SECOND, answered);
    assert_eq!((rig.owner(R1), rig.accepted(ANN, 0.0, 1)), (Some(BOB), 0));
    assert_eq!(rig.last(ANN), Some(&Notice::Lost(R1, Epoch(1), LossReason::Stalled)));
    let before = rig.issuer.region_state(R1).expect("there").before;
    let past = Past { session: ANN, name: "w1".to_owned(), why: LossReason::Stalled };
    assert_eq!(before, Some(past));
    rig.detach(BOB);
    ann.pass(&mut rig, 10 * SECOND, answered);
    assert_eq!(rig.owner(R1), None, "she gets nothing until she goes on");
    assert!(rig.issuer.worker_state(ANN).expect("there").is_stalled);
    ann.signs.said += 1;
    ann.pass(&mut rig, SECOND, answered);
    assert_eq!(rig.owner(R1), Some(ANN));
}

#[test]
fn who_is_not_asked_to_go_on_may_stand_still() {
    let mut rig = rig(None);
    Beating::default().pass(&mut rig, 60 * SECOND, answered);
    assert_eq!(rig.owner(R1), Some(ANN));
}

#[test]
fn who_has_nothing_to_do_does_not_stand_still() {
    for names_frames in [false, true] {
        let mut rig = rig(Some(SECOND));
        rig.see_all();
        Beating::default().pass(&mut rig, 60 * SECOND, |signs| {
            // The answer to the last heartbeat is all that came.
            signs.frame_seen = if names_frames { signs.frame_sent } else { 0 };
            signs.frame_sent += 1;
        });
        assert_eq!(rig.owner(R1), Some(ANN), "names frames: {names_frames}");
    }
}

#[test]
fn any_step_counts() {
    let steps: [fn(&mut Signs); 3] =
        [|signs| signs.said += 1, |signs| signs.tick ^= 1, |signs| signs.frame_seen += 1];
    for (which, step) in steps.into_iter().enumerate() {
        let mut rig = rig(Some(SECOND));
        let mut ann = Beating { signs: Signs { frame_seen: 1, frame_sent: 1000, ..Signs::default() } };
        ann.pass(&mut rig, 10 * SECOND, step);
        assert_eq!(rig.owner(R1), Some(ANN), "step {which}");
        ann.pass(&mut rig, 2 * SECOND, |_| {});
        assert_eq!(rig.owner(R1), None, "step {which}");
    }
}

#[test]
fn frames_that_are_not_processed_show_a_loop_that_hangs() {
    let mut rig = rig(Some(SECOND));
    rig.see_all();
    let mut ann = Beating { signs: Signs { frame_seen: 1, frame_sent: 1, ..Signs::default() } };
    ann.pass(&mut rig, 10 * SECOND, |_| {});
    assert_eq!(rig.owner(R1), Some(ANN), "nothing waits for her");
    ann.pass(&mut rig, 2 * SECOND, answered);
    assert_eq!(rig.owner(R1), None);
}

#[test]
fn without_a_heartbeat_nobody_is_judged_and_time_without_the_issuer_does_not_count() {
    let mut rig = rig(Some(SECOND));
    let mut ann = Beating::default();
    ann.pass(&mut rig, 500_000, |_| {});
    for _ in 0..8 {
        rig.now += 250_000;
        rig.issuer.noted(ANN, ann.signs, rig.now, &mut rig.outbox);
    }
    assert_eq!(rig.owner(R1), Some(ANN), "it would be silence");
    ann.signs.said += 1;
    ann.pass(&mut rig, 500_000, |_| {});
    rig.now += 60 * SECOND;
    ann.pass(&mut rig, 500_000, |_| {});
    assert_eq!(rig.owner(R1), Some(ANN));
    ann.pass(&mut rig, SECOND, |_| {});
    assert_eq!(rig.owner(R1), None);
}

#[test]
fn who_does_not_get_warm_for_what_it_is_offered_is_offered_nothing_more() {
    let mut rig = rig(Some(2 * SECOND));
    rig.attach(BOB);
    rig.see_all();
    let mut ann = Beating::default();
    // Bob is to hand what he has over to Ann, who hangs: each offer is called off, and the next one comes.
    rig.issuer.drain(ANN, rig.now, &mut rig.outbox).expect("there");
    rig.finish_handover(R1);
    assert_eq!(rig.owner(R1), Some(BOB));
    rig.detach(ANN);
    rig.attach(ANN);
    let offers = |rig: &Rig| {
        let told = rig.told.get(&ANN).into_iter().flatten();
        told.filter(|notice| matches!(notice, Notice::Warm(_))).count()
    };
    for _ in 0..20 {
        rig.issuer.pin(R1, Some("w1".to_owned()), rig.now, &mut rig.outbox).expect("there");
        ann.pass(&mut rig, SECOND, |_| {});
    }
    assert!(rig.issuer.worker_state(ANN).expect("there").is_stalled);
    assert!((2..=3).contains(&offers(&rig)), "{} offers of a second each", offers(&rig));
    assert_eq!(rig.owner(R1), Some(BOB));
}
