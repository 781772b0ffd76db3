//! Two operators at once: one acts, the other waits, and takes over when the first is gone.
//!
//! Time is tokio's and stands still while anything runs, so hours pass in a moment and every figure is exact.

use std::time::Duration;

use operator_controller::lead::Ended;
use operator_controller::lease::{DURATION, RENEW_DEADLINE, RETRY};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::fake::{ENSEMBLE, Fake, LEASE, Running};

/// The time that calls take in these tests, at most, there and back and as often as a process tries.
const CALLS: Duration = Duration::from_millis(10);

/// A world whose servers go on by themselves.
fn world(spec: &Value) -> Fake {
    let fake = Fake::new(spec);
    let servers = fake.clone();
    tokio::spawn(async move {
        loop {
            sleep(Duration::from_secs(1)).await;
            servers.world().servers_turn();
        }
    });
    fake
}

/// Gives whoever acts something to do, every second: a Service is changed by hand, and changed back by the operator.
fn meddle(fake: &Fake) {
    let fake = fake.clone();
    tokio::spawn(async move {
        for n in 0.. {
            sleep(Duration::from_secs(1)).await;
            let mut world = fake.world();
            if world.objects.contains_key("services/zk-client") {
                world.edit("services/zk-client", |service| service["spec"]["ports"][0]["port"] = json!(n));
            }
        }
    });
}

/// A runtime of its own for each case: what runs in it ends with it.
fn in_virtual_time<T>(case: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(case)
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = timeout(Duration::from_secs(600), async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("not within 10 minutes: {what}"));
}

/// Waits for whichever of two takes the lease first: `(holder, other)`.
async fn first(fake: &Fake) -> (String, String) {
    until("somebody holds the lease", || !fake.world().leases.is_empty()).await;
    let holder = fake.world().leases[0].0.clone();
    let other = if holder == "a" { "b" } else { "a" };
    (holder, other.to_owned())
}

/// Two processes, the one that holds the lease first.
async fn two(fake: &Fake) -> ((String, Running), (String, Running)) {
    let (a, b) = (fake.start("a"), fake.start("b"));
    let (holder, other) = first(fake).await;
    if holder == "a" { ((holder, a), (other, b)) } else { ((holder, b), (other, a)) }
}

fn ready(fake: &Fake) -> bool {
    fake.condition("Ready")["status"] == "True"
}

/// When a process last wrote the lease, and when another first did after that.
fn handover(fake: &Fake, from: &str, to: &str) -> (Instant, Instant) {
    let world = fake.world();
    let last = world.leases.iter().filter(|(who, _)| who == from).map(|(_, at)| *at).next_back().expect("it held it");
    let next = world.leases.iter().find(|(who, _)| who == to).map(|(_, at)| *at).expect("it took it");
    (last, next)
}

/// When a process first and last issued a mutating call.
fn acted(fake: &Fake, who: &str) -> Option<(Instant, Instant)> {
    let world = fake.world();
    let acts: Vec<Instant> = world.acts.iter().filter(|act| act.who == who).map(|act| act.at).collect();
    Some((*acts.first()?, *acts.last()?))
}

#[tokio::test(start_paused = true)]
async fn one_acts_and_the_other_waits() {
    let fake = world(&json!({}));
    meddle(&fake);
    let ((holder, _a), (other, _b)) = two(&fake).await;
    until("the ensemble is ready", || ready(&fake)).await;
    sleep(Duration::from_secs(120)).await;
    let acts = fake.world().acts.len();
    assert!(acts > 100, "the one that holds the lease did {acts} things in two minutes");
    assert!(acted(&fake, &other).is_none(), "{holder} holds the lease, and {other} acts too");
    assert!(fake.world().leases.iter().all(|(who, _)| *who == holder));
}

/// At each moment of a founding: the holder dies, the other takes over in time and ends the founding.
#[test]
fn the_other_takes_over_when_the_holder_dies() {
    let acts = in_virtual_time(async {
        let fake = world(&json!({}));
        let _two = two(&fake).await;
        until("the ensemble is ready", || ready(&fake)).await;
        fake.world().acts.len()
    });
    assert!(acts >= 14);
    (1..=acts).for_each(|n| in_virtual_time(the_holder_dies_after(n)));
}

async fn the_holder_dies_after(acts: usize) {
    let fake = world(&json!({}));
    // So that it dies in the middle of a pass, and with a call on its way.
    fake.world().latency = Some((fastrand::Rng::with_seed(0), Duration::from_millis(50)));
    let ((holder, dying), (other, _running)) = two(&fake).await;
    until("it has acted", || fake.world().acts.len() >= acts).await;
    dying.task.abort();
    let died = Instant::now();
    until("the other holds the lease", || fake.world().leases.iter().any(|(who, _)| *who == other)).await;
    let (last, taken) = handover(&fake, &holder, &other);
    assert!(taken - last >= DURATION, "taken after {:?}", taken - last);
    assert!(taken - last <= DURATION + 2 * RETRY + CALLS, "taken only after {:?}", taken - last);
    until("the ensemble is ready", || ready(&fake)).await;
    assert!(acted(&fake, &holder).is_none_or(|(_, last)| last <= died), "a dead process acts");
    assert_eq!(fake.world().identities.len(), 1);
    assert!(fake.world().granted.values().all(|volumes| volumes.len() == 1));
}

/// The holder does not reach the API server any more, and has work that needs none: seven votes to grant, two seconds
/// each. It stops in the middle, before the other can begin.
#[tokio::test(start_paused = true)]
async fn a_holder_that_is_cut_off_stops_before_the_other_begins() {
    let fake = world(&json!({ "replicas": 7 }));
    fake.world().grant_takes = Duration::from_secs(2);
    let ((holder, cut), (other, _running)) = two(&fake).await;
    until("it grants", || fake.world().acts.iter().any(|act| act.call.starts_with("grant"))).await;
    fake.world().cut.insert(holder.clone());
    let (ended, stopped) = cut.task.await.expect("it ends by itself");
    assert!(matches!(&ended, Ended::Lost(reason) if reason.contains("could not be renewed for 10 s")), "{ended:?}");
    let grants = fake.world().acts.iter().filter(|act| act.who == holder && act.call.starts_with("grant")).count();
    assert!((2..7).contains(&grants), "the cut came before or after the grants: {grants}");

    until("the other acts", || acted(&fake, &other).is_some()).await;
    let (last, taken) = handover(&fake, &holder, &other);
    let (_, last_act) = acted(&fake, &holder).expect("it granted");
    let (first_act, _) = acted(&fake, &other).expect("it acts");
    assert!(stopped - last <= RENEW_DEADLINE + CALLS, "it ran on for {:?}", stopped - last);
    assert!(last_act <= stopped, "it acted after it had stopped");
    assert!(stopped < last + DURATION, "the lease could be taken before it stopped");
    assert!(taken - last <= DURATION + 2 * RETRY + CALLS, "taken only after {:?}", taken - last);
    assert!(last_act < taken && taken <= first_act);
    until("the ensemble is ready", || ready(&fake)).await;
    assert!(fake.world().granted.values().all(|volumes| volumes.len() == 1));
}

/// The lease counts from when it was asked for: one renewal is answered only after seven seconds, the next never.
#[tokio::test(start_paused = true)]
async fn a_late_answer_does_not_lengthen_the_lease() {
    let fake = world(&json!({}));
    let ((holder, slow), (other, _running)) = two(&fake).await;
    sleep(Duration::from_secs(60)).await;
    let renewals = fake.world().leases.len();
    until("the lease is renewed", || fake.world().leases.len() > renewals).await;
    fake.world().lease_answer_takes.insert(holder.clone(), Duration::from_secs(7));
    until("the slow renewal took effect", || fake.world().leases.len() > renewals + 1).await;
    sleep(Duration::from_millis(7500)).await;
    fake.world().cut.insert(holder.clone());
    let (ended, stopped) = slow.task.await.expect("it ends by itself");
    assert!(matches!(ended, Ended::Lost(_)));
    until("the other holds the lease", || fake.world().leases.iter().any(|(who, _)| *who == other)).await;
    let (last, taken) = handover(&fake, &holder, &other);
    assert!(stopped - last <= RENEW_DEADLINE + CALLS, "it ran on for {:?} after its last renewal", stopped - last);
    assert!(stopped < taken, "it stopped {:?} too late", stopped - taken);
}

/// Somebody writes another name into the lease: the holder stops at its next renewal.
#[tokio::test(start_paused = true)]
async fn a_holder_that_is_deposed_by_hand_stops() {
    let fake = world(&json!({}));
    let ((_, deposed), _other) = two(&fake).await;
    sleep(Duration::from_secs(60)).await;
    fake.world().edit(LEASE, |lease| lease["spec"]["holderIdentity"] = json!("somebody"));
    let edited = Instant::now();
    let (ended, stopped) = deposed.task.await.expect("it ends by itself");
    assert_eq!(ended, Ended::Lost("somebody holds the lease".to_owned()));
    assert!(stopped - edited <= RETRY + CALLS, "it ran on for {:?}", stopped - edited);
}

/// A renewal that took effect and was answered with an error is followed by a conflict, which is no reason to stop.
#[tokio::test(start_paused = true)]
async fn a_conflict_with_itself_does_not_depose_a_holder() {
    let fake = world(&json!({}));
    let ((holder, running), _other) = two(&fake).await;
    for _ in 0..20 {
        sleep(Duration::from_secs(5)).await;
        // The version moves between its read and its write, as after a write of its own that it did not hear of.
        fake.world().lease_moves = true;
    }
    assert!(fake.world().conflicts >= 19);
    sleep(Duration::from_secs(60)).await;
    assert!(!running.task.is_finished(), "it gave up");
    assert!(fake.world().leases.iter().all(|(who, _)| *who == holder));
}

/// Told to stop, a holder gives the lease away, and the other need not wait for it to run out.
#[tokio::test(start_paused = true)]
async fn a_lease_is_given_away() {
    let fake = world(&json!({}));
    let ((holder, leaving), (other, _running)) = two(&fake).await;
    until("the ensemble is ready", || ready(&fake)).await;
    let told = Instant::now();
    leaving.stop.send(()).expect("it runs");
    let (ended, stopped) = leaving.task.await.expect("it ends by itself");
    assert_eq!(ended, Ended::Stopped);
    until("the other holds the lease", || fake.world().leases.iter().any(|(who, _)| *who == other)).await;
    let (_, taken) = handover(&fake, &holder, &other);
    assert!(acted(&fake, &holder).is_none_or(|(_, last)| last <= stopped));
    assert!(taken - told <= RETRY + CALLS, "taken after {:?}", taken - told);
}

/// The lease is not what safety rests on: two that both believe to hold it, with calls that take up to a second each
/// way, found one ensemble and grant one volume an ordinal. One of them is always behind.
#[test]
fn two_that_act_at_once_found_one_ensemble() {
    let conflicts: usize = (0..10).map(|seed| in_virtual_time(two_that_act_at_once(seed))).sum();
    assert!(conflicts > 20, "they met only {conflicts} times");
}

/// Returns how often one of them was refused because the other had been faster.
async fn two_that_act_at_once(seed: u64) -> usize {
    let fake = world(&json!({}));
    fake.world().latency = Some((fastrand::Rng::with_seed(seed), Duration::from_secs(1)));
    // Each has a lease of its own.
    let _two = [fake.start_with("a", "lease-a"), fake.start_with("b", "lease-b")];
    until("the ensemble is ready", || ready(&fake)).await;
    sleep(Duration::from_secs(60)).await;
    let world = fake.world();
    assert_eq!(world.identities.len(), 1, "seed {seed}: {:?}", world.identities);
    for (ordinal, volumes) in &world.granted {
        let recorded = &world.objects[ENSEMBLE]["status"]["bootstrap"]["volumes"][ordinal.to_string()];
        assert_eq!(json!(volumes), json!([recorded]), "seed {seed}, ordinal {ordinal}");
    }
    assert!(["a", "b"].iter().all(|who| world.acts.iter().any(|act| act.who == *who)), "seed {seed}: one is idle");
    world.conflicts
}
