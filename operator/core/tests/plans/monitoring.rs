//! `spec.monitoring`: what is offered to Prometheus and Grafana, when, and what is said of it.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use operator_core::{Kind, Object, Observed, Step, build, plan, validate};
use serde_json::{Value, json};

use crate::common::Situation;

/// A healthy ensemble with this `spec.monitoring`.
fn healthy(monitoring: &Value) -> Observed {
    let situation: Situation = serde_json::from_value(json!({
        "about": "at rest",
        "spec": { "monitoring": monitoring },
        "status": { "ensembleId": "E", "bootstrap": {
            "phase": "Complete", "voters": [1, 2, 3], "volumes": { "0": "v0", "1": "v1", "2": "v2" },
        }, "configuration": { "version": "0x100000000", "voters": [1, 2, 3] }, "pods": 3 },
        "pods": { "0": "ready", "1": "ready", "2": "ready" },
        "members": { "0": "leading", "1": "following leader=1", "2": "following leader=1" },
    }))
    .expect("a situation");
    situation.observed()
}

fn all() -> Value {
    json!({ "podMonitor": true, "rules": true, "dashboard": true, "labels": { "release": "prom" } })
}

/// Plans a pass, and does what it says with the objects and the status.
fn pass(observed: &mut Observed) -> Vec<Step> {
    let steps = plan(observed).steps;
    for step in &steps {
        match step {
            Step::WriteStatus(status) => observed.ensemble.status = Some((**status).clone()),
            Step::Offer(object) => {
                let mut live = object.manifest.clone();
                live["metadata"]["uid"] = format!("uid-{}", object.kind.as_str()).into();
                observed
                    .objects
                    .retain(|o| o["kind"] != live["kind"] || o["metadata"]["name"] != live["metadata"]["name"]);
                observed.objects.push(live);
            }
            Step::Withdraw(kind, hold) => {
                observed.objects.retain(|o| o["kind"] != kind.as_str() || o["metadata"]["uid"] != hold.uid.as_str());
            }
            _ => {}
        }
    }
    steps
}

fn condition(observed: &Observed) -> Option<&Condition> {
    let status = observed.ensemble.status.as_ref()?;
    status.conditions.iter().find(|condition| condition.type_ == "MonitoringApplied")
}

fn kinds(steps: &[Step]) -> Vec<&str> {
    let offered = steps.iter().filter_map(|step| match step {
        Step::Offer(object) => Some(object.kind.as_str()),
        Step::Withdraw(..) => Some("withdraw"),
        _ => None,
    });
    offered.collect()
}

fn built(monitoring: &Value) -> Vec<Object> {
    build::monitoring(&validate(&healthy(monitoring)).expect("a valid spec"))
}

#[test]
fn nothing_is_said_where_nothing_is_asked_for() {
    let mut observed = healthy(&json!({}));
    assert_eq!(kinds(&pass(&mut observed)), [""; 0]);
    assert_eq!(condition(&observed), None);
}

/// A pass that dies after an object is made leaves a status that says where to look for it.
#[test]
fn the_condition_is_recorded_before_the_first_object() {
    let mut observed = healthy(&all());
    assert_eq!(kinds(&pass(&mut observed)), [""; 0]);
    assert_eq!(condition(&observed).map(|c| c.reason.as_str()), Some("NotApplied"));
    assert_eq!(kinds(&pass(&mut observed)), ["PodMonitor", "PrometheusRule", "ConfigMap"]);
    assert_eq!(kinds(&pass(&mut observed)), [""; 0]);
    assert_eq!(condition(&observed).map(|c| (c.status.as_str(), c.reason.as_str())), Some(("True", "Applied")));
    assert!(plan(&observed).steps.is_empty(), "an ensemble at rest costs no write");
}

#[test]
fn what_is_not_asked_for_any_more_goes_by_uid_and_then_the_condition() {
    let mut observed = healthy(&all());
    for _ in 0..3 {
        pass(&mut observed);
    }
    observed.ensemble.spec.monitoring.rules = false;
    let steps = pass(&mut observed);
    let gone = steps.iter().filter_map(|step| match step {
        Step::Withdraw(kind, hold) => Some((*kind, hold.uid.as_str())),
        _ => None,
    });
    assert_eq!(gone.collect::<Vec<_>>(), [(Kind::PrometheusRule, "uid-PrometheusRule")]);
    observed.ensemble.spec.monitoring = Default::default();
    assert_eq!(kinds(&pass(&mut observed)), ["withdraw", "withdraw"]);
    assert!(condition(&observed).is_some(), "as long as anything may be left");
    pass(&mut observed);
    assert_eq!(condition(&observed), None);
}

/// The servers do not need a Prometheus.
#[test]
fn a_kind_that_the_cluster_does_not_have_is_told_and_left_out() {
    let mut observed = healthy(&all());
    let why = "this cluster has no PodMonitor".to_owned();
    observed.unusable.insert(Kind::PodMonitor, why.clone());
    pass(&mut observed);
    assert_eq!(kinds(&pass(&mut observed)), ["PrometheusRule", "ConfigMap"]);
    assert_eq!(kinds(&pass(&mut observed)), [""; 0]);
    let told = condition(&observed).expect("a condition");
    assert_eq!((told.reason.as_str(), told.message.as_str()), ("KindUnusable", &*format!("PodMonitor: {why}")));
    let ready = observed.ensemble.status.iter().flat_map(|status| &status.conditions).find(|c| c.type_ == "Ready");
    assert_eq!(ready.map(|ready| ready.status.as_str()), Some("True"));
}

#[test]
fn an_object_of_somebody_else_is_left_alone() {
    let mut observed = healthy(&all());
    observed.objects.push(json!({ "kind": "PrometheusRule", "metadata": { "name": "zk", "labels": {} } }));
    pass(&mut observed);
    assert_eq!(kinds(&pass(&mut observed)), ["PodMonitor", "ConfigMap"]);
    pass(&mut observed);
    assert_eq!(condition(&observed).map(|c| c.reason.as_str()), Some("NameTaken"));
    observed.ensemble.spec.monitoring = Default::default();
    let steps = pass(&mut observed);
    assert!(steps.iter().all(|step| !matches!(step, Step::Withdraw(Kind::PrometheusRule, _))), "{steps:?}");
}

#[test]
fn a_pod_monitor_names_the_ensemble_of_a_target() {
    let objects = built(&all());
    let monitor = &objects.iter().find(|object| object.kind == Kind::PodMonitor).expect("a PodMonitor").manifest;
    assert_eq!(monitor["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"], "zk");
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["relabelings"][0]["targetLabel"], "ensemble");
    assert_eq!(monitor["metadata"]["labels"]["release"], "prom");
}

#[test]
fn the_alerts_are_of_this_ensemble_alone() {
    let objects = built(&all());
    let rule = &objects.iter().find(|object| object.kind == Kind::PrometheusRule).expect("a PrometheusRule").manifest;
    let groups = rule["spec"]["groups"].as_array().expect("groups");
    assert_eq!(groups.len(), 1);
    let rules = groups[0]["rules"].as_array().expect("rules");
    assert!(rules.len() > 20, "{}", rules.len());
    for rule in rules {
        let expression = rule["expr"].as_str().expect("an expression");
        assert!(expression.contains("namespace=\"prod\", ensemble=\"zk\""), "{expression}");
        assert!(!expression.contains("ensemble!="), "{expression}");
    }
}

#[test]
fn dashboards_of_several_ensembles_stand_beside_each_other() {
    let mut ids = BTreeSet::new();
    for name in ["zk", "other"] {
        let mut observed = healthy(&all());
        observed.ensemble.metadata.name = Some(name.to_owned());
        let objects = build::monitoring(&validate(&observed).expect("a valid spec"));
        let map = &objects.iter().find(|object| object.kind == Kind::ConfigMap).expect("a ConfigMap").manifest;
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
        for text in map["data"].as_object().expect("files").values() {
            let text = text.as_str().expect("a text");
            let dashboard: Value = serde_json::from_str(text).expect("JSON");
            let id = dashboard["uid"].as_str().expect("an id").to_owned();
            assert!(id.len() <= 40, "{id}: Grafana takes no longer one");
            assert!(ids.insert(id), "each its own");
            assert!(text.contains(&format!("namespace=\\\"prod\\\", ensemble=\\\"{name}\\\"")));
            assert!(!text.contains("$namespace") && !text.contains("$ensemble"));
        }
    }
    assert_eq!(ids.len(), 6);
}
