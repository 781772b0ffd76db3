//! `spec.monitoring` on the fake cluster: one without the Prometheus operator, one that refuses, faults at every call.

use serde_json::{Value, json};

use crate::fake::{ENSEMBLE, FAULTS, Fake};

const OBJECTS: [&str; 3] = ["podmonitors/zk", "prometheusrules/zk", "configmaps/zk-dashboards"];

async fn founded() -> Fake {
    let fake = Fake::new(&json!({}));
    while fake.condition("Ready")["status"] != "True" {
        passes(&fake, 1).await;
    }
    passes(&fake, 2).await;
    fake
}

async fn passes(fake: &Fake, count: usize) {
    for _ in 0..count {
        let _ = fake.pass().await;
        fake.world().servers_turn();
    }
}

fn ask(fake: &Fake, wanted: bool) {
    let monitoring = json!({ "podMonitor": wanted, "rules": wanted, "dashboard": wanted });
    fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["monitoring"] = monitoring);
}

fn there(fake: &Fake) -> Vec<&'static str> {
    OBJECTS.into_iter().filter(|path| fake.world().objects.contains_key(*path)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_the_prometheus_operator_runs_ensembles_all_the_same() {
    let fake = founded().await;
    fake.world().unknown.extend(["podmonitors".to_owned(), "prometheusrules".to_owned()]);
    ask(&fake, true);
    passes(&fake, 10).await;
    assert_eq!(there(&fake), ["configmaps/zk-dashboards"]);
    let condition = fake.condition("MonitoringApplied");
    assert_eq!(condition["reason"], "KindUnusable");
    let message = condition["message"].as_str().expect("a message");
    assert!(message.contains("this cluster has no PodMonitor (monitoring.coreos.com/v1)"), "{message}");
    assert_eq!(fake.condition("Ready")["status"], "True");
    let calls = fake.world().calls.len();
    passes(&fake, 10).await;
    assert_eq!(fake.world().calls.len(), calls, "nothing is tried in vain");
    fake.world().unknown.clear();
    passes(&fake, 4).await;
    assert_eq!(there(&fake), OBJECTS);
    assert_eq!(fake.condition("MonitoringApplied")["reason"], "Applied");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_and_the_rest_goes_on() {
    let fake = founded().await;
    fake.world().refusal = Some(("prometheusrules/zk".to_owned(), 422));
    ask(&fake, true);
    passes(&fake, 10).await;
    assert_eq!(there(&fake), ["podmonitors/zk", "configmaps/zk-dashboards"]);
    assert!(fake.world().events.contains(&"MonitoringRefused".to_owned()));
    assert_eq!(fake.condition("MonitoringApplied")["reason"], "NotApplied");
    assert_eq!(fake.condition("ReconcileSucceeded")["status"], "True");
}

/// An operator that dies, or is answered with an error, at any call neither forgets an object nor leaves one behind.
#[tokio::test(start_paused = true)]
async fn faults_at_every_call() {
    let calm = founded().await;
    let before = calm.world().calls.len();
    ask(&calm, true);
    passes(&calm, 10).await;
    ask(&calm, false);
    passes(&calm, 10).await;
    let calls = calm.world().calls.len() - before;
    assert!(calls >= 9, "three objects made and removed, and the condition before, between and after: {calls}");
    for call in 0..calls {
        for fault in FAULTS {
            let fake = founded().await;
            let before = fake.world().calls.len();
            fake.world().fault = Some((before + call, fault));
            ask(&fake, true);
            passes(&fake, 14).await;
            assert_eq!(there(&fake), OBJECTS, "{fault:?} at call {call}");
            ask(&fake, false);
            passes(&fake, 14).await;
            assert_eq!(there(&fake), [""; 0], "{fault:?} at call {call}");
            assert_eq!(fake.condition("MonitoringApplied"), Value::Null, "{fault:?} at call {call}");
        }
    }
}
