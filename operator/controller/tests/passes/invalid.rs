//! A resource that got past the schema and cannot be read, and an object that the API server refuses: the resource says
//! so, nothing else is touched, and nothing is tried in a hurry.

use std::time::Duration;

use operator_core::plan::Next;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::fake::{ENSEMBLE, FAULTS, Fake, Fault, NAME};

/// The ways of getting past the schema: a spec of another type, a status of another version.
fn spoil(ensemble: &mut Value) {
    ensemble["spec"]["config"]["tickTimeMs"] = json!("fast");
}

const WRITE: &str = "update zookeeperensembles/zk/status";

#[tokio::test]
async fn an_unreadable_spec_is_reported_once_and_its_objects_are_left_alone() {
    let fake = Fake::new(&json!({}));
    fake.settle().await;
    let before = fake.world().objects.clone();
    let calls = fake.world().calls.len();
    fake.world().edit(ENSEMBLE, spoil);
    for _ in 0..5 {
        assert_eq!(fake.pass().await.expect("alive").expect("no error"), Next::Later);
    }
    let ready = fake.condition("Ready");
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("InvalidResource")));
    let message = ready["message"].as_str().expect("a text");
    assert!(message.contains("spec.config.tickTimeMs: invalid type: string \"fast\", expected i32"), "{message}");
    assert_eq!(fake.condition("ReconcileSucceeded")["status"], "False");
    assert_eq!(fake.condition("Available")["status"], "Unknown");
    let mut status = fake.status();
    {
        let world = fake.world();
        assert_eq!(world.calls[calls..], [WRITE], "it is written once");
        assert_eq!(world.events.iter().filter(|reason| *reason == "InvalidResource").count(), 1);
        assert!(world.objects.iter().all(|(path, object)| path == ENSEMBLE || *object == before[path]));
    }
    // The rest of the status is as it was.
    let old = &before[ENSEMBLE]["status"];
    for field in ["conditions", "observedGeneration"] {
        status[field] = old[field].clone();
    }
    assert_eq!(status, *old);

    // Once it can be read again, all is well again.
    fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["config"]["tickTimeMs"] = json!(2000));
    fake.settle().await;
    assert_eq!(fake.condition("Ready")["status"], "True");
    assert_eq!(fake.world().calls[calls..], [WRITE, WRITE]);
}

/// Facts of a status that this version cannot read are facts still.
#[tokio::test]
async fn an_unreadable_status_keeps_its_facts() {
    let fake = Fake::new(&json!({}));
    fake.settle().await;
    let calls = fake.world().calls.len();
    fake.world().edit(ENSEMBLE, |ensemble| ensemble["status"]["bootstrap"]["phase"] = json!("Sideways"));
    let facts = [fake.status()["ensembleId"].clone(), fake.status()["bootstrap"].clone()];
    for _ in 0..3 {
        assert_eq!(fake.pass().await.expect("alive").expect("no error"), Next::Later);
    }
    let message = fake.condition("Ready")["message"].clone();
    assert!(
        message.as_str().is_some_and(|text| text.contains("status.bootstrap.phase: unknown variant `Sideways`")),
        "{message}"
    );
    assert_eq!([fake.status()["ensembleId"].clone(), fake.status()["bootstrap"].clone()], facts);
    assert_eq!(fake.world().calls[calls..], [WRITE]);
}

#[tokio::test]
async fn an_unreadable_resource_founds_nothing_and_may_go() {
    let fake = Fake::new(&json!({}));
    let objects = fake.world().objects.len();
    fake.world().edit(ENSEMBLE, spoil);
    fake.settle().await;
    assert_eq!(fake.world().calls, [WRITE]);
    assert_eq!(fake.world().objects.len(), objects);
    fake.world().edit(ENSEMBLE, |ensemble| {
        ensemble["metadata"]["generation"] = json!(2);
        ensemble["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
    });
    assert_eq!(fake.pass().await.expect("alive").expect("no error"), Next::Never);
    assert_eq!(fake.world().calls, [WRITE]);
}

/// Whatever happens to the write: it is tried again until the resource says it, and an event is there in any case.
#[tokio::test]
async fn a_fault_at_the_report_is_harmless() {
    for fault in FAULTS {
        let fake = Fake::new(&json!({}));
        let objects = fake.world().objects.len();
        fake.world().edit(ENSEMBLE, spoil);
        fake.world().fault = Some((0, fault));
        for _ in 0..3 {
            let result = fake.pass().await;
            assert!(
                result.is_none() || fault == Fault::Answer(409) || matches!(result, Some(Ok(Next::Later))),
                "{fault:?}"
            );
        }
        assert_eq!(fake.condition("Ready")["reason"], "InvalidResource", "{fault:?}");
        assert_eq!(fake.world().objects.len(), objects, "{fault:?}");
    }
}

/// A schema that refuses the status of what it does not accept: the event says it, and nothing is tried in a hurry.
#[tokio::test(start_paused = true)]
async fn one_bad_resource_is_not_looked_at_in_a_hurry_and_stops_no_other() {
    for refused in [false, true] {
        let fake = Fake::new(&json!({}));
        {
            let mut world = fake.world();
            let mut bad = world.objects[ENSEMBLE].clone();
            bad["metadata"]["name"] = json!("bad");
            bad["metadata"]["uid"] = json!("v");
            spoil(&mut bad);
            world.put("zookeeperensembles/bad", bad);
            world.refusal = refused.then(|| ("zookeeperensembles/bad/status".to_owned(), 422));
        }
        let _running = fake.start("operator");
        for _ in 0..60 {
            sleep(Duration::from_secs(1)).await;
            fake.world().servers_turn();
        }
        assert_eq!(fake.condition("Ready")["status"], "True", "{NAME} is founded beside it");
        let requests = fake.world().requests;
        let calls = fake.world().calls.len();
        sleep(Duration::from_secs(600)).await;
        let world = fake.world();
        // Twenty looks at each of the two, of 12 reads at most, and the lease every two seconds.
        let most = 21 * 12 + 21 * 3 + 600;
        assert!(world.requests - requests <= most, "{} requests in ten minutes", world.requests - requests);
        let writes = world.calls[calls..].len();
        assert_eq!(writes > 0, refused, "{:?}", &world.calls[calls..]);
        assert!(writes <= 21, "{writes} writes in ten minutes");
        assert!(world.events.iter().any(|reason| reason == "InvalidResource"));
    }
}

/// An object that the API server does not take: its words are on the resource, once, until an edit helps.
#[tokio::test]
async fn a_refused_object_is_reported() {
    for status in [400, 403, 422] {
        let fake = Fake::new(&json!({}));
        fake.world().refusal = Some(("statefulsets/zk".to_owned(), status));
        fake.settle().await;
        let calls = fake.world().calls.len();
        for _ in 0..3 {
            assert_eq!(fake.pass().await.expect("alive").expect("no error"), Next::Later, "{status}");
        }
        for condition in ["Ready", "ReconcileSucceeded"] {
            let condition = fake.condition(condition);
            assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("ApplyRefused")));
            assert_eq!(condition["message"], "the API server's words");
        }
        assert!(fake.world().calls[calls..].iter().all(|call| call == "patch statefulsets/zk"), "it is written again");
        assert_eq!(fake.world().events.iter().filter(|reason| *reason == "ApplyRefused").count(), 1);
        fake.world().refusal = None;
        fake.settle().await;
        assert_eq!(fake.condition("Ready")["status"], "True");
    }
}
