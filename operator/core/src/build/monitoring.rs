//! What a Prometheus and a Grafana are given: `spec.monitoring`.
//!
//! Alerts and dashboards are the files of `manifests/monitoring`, made for one ensemble: their selectors name it, and a dashboard has
//! an id of its own, so that those of several ensembles stand beside each other.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use operator_api::names;
use serde_json::{Map, Value, json};

use crate::build::{labelled, sha256};
use crate::step::{Kind, Object};
use crate::validate::ValidEnsemble;

/// The group of rules about ensembles; the others are about the operator.
static RULES: LazyLock<Value> = LazyLock::new(|| {
    let file: Value = serde_saphyr::from_str(include_str!("../../../../manifests/monitoring/alerts.yaml"))
        .expect("a file of ours is YAML");
    let groups = file["groups"].as_array().into_iter().flatten();
    groups.into_iter().find(|group| group["name"] == GROUP).cloned().unwrap_or_default()
});
const GROUP: &str = "zookeeper-ensemble";
/// Stands in the rules where an ensemble is selected.
const ANY_ENSEMBLE: &str = "ensemble!=\"\"";
/// The label by which Grafana's sidecar finds dashboards.
const DASHBOARD_LABEL: &str = "grafana_dashboard";
/// Of the hash of namespace and name, in a dashboard's id: Grafana takes at most 40 characters.
const DASHBOARD_ID_DIGITS: usize = 12;
const DASHBOARDS: [(&str, &str); 3] = [
    ("ensemble", include_str!("../../../../manifests/monitoring/dashboards/ensemble.json")),
    ("server", include_str!("../../../../manifests/monitoring/dashboards/server.json")),
    ("sessions", include_str!("../../../../manifests/monitoring/dashboards/sessions.json")),
];

/// Everything that can be asked for, by kind and name.
pub fn every(ensemble: &str) -> [(Kind, String); 3] {
    [
        (Kind::PodMonitor, names::monitoring(ensemble)),
        (Kind::PrometheusRule, names::monitoring(ensemble)),
        (Kind::ConfigMap, names::dashboards(ensemble)),
    ]
}

/// What `spec.monitoring` asks for.
pub fn build(ensemble: &ValidEnsemble) -> Vec<Object> {
    let monitoring = &ensemble.spec.monitoring;
    every(&ensemble.name)
        .into_iter()
        .filter_map(|(kind, name)| {
            let body = match kind {
                Kind::PodMonitor => monitoring.pod_monitor.then(|| pod_monitor(&ensemble.name)),
                Kind::PrometheusRule => monitoring.rules.then(|| rules(ensemble)),
                _ => monitoring.dashboard.then(|| dashboards(ensemble)),
            };
            let body = body?;
            let mut labels = BTreeMap::new();
            if kind == Kind::ConfigMap {
                labels.insert(DASHBOARD_LABEL.to_owned(), "1".to_owned());
            }
            labels.extend(monitoring.labels.clone());
            Some(labelled(ensemble, kind, name, body, labels))
        })
        .collect()
}

/// As `manifests/monitoring/podmonitor.yaml`, which is for all ensembles.
fn pod_monitor(name: &str) -> Value {
    json!({
        "spec": {
            "selector": { "matchLabels": names::selector_labels(name) },
            "podMetricsEndpoints": [{
                "port": "metrics",
                "path": "/metrics",
                "relabelings": [{
                    "sourceLabels": ["__meta_kubernetes_pod_label_app_kubernetes_io_instance"],
                    "targetLabel": "ensemble",
                }],
            }],
        },
    })
}

fn rules(ensemble: &ValidEnsemble) -> Value {
    let one = format!("namespace=\"{}\", ensemble=\"{}\"", ensemble.namespace, ensemble.name);
    let mut group = RULES.clone();
    let rules = group["rules"].as_array_mut().into_iter().flatten();
    for expression in rules.filter_map(|rule| rule.get_mut("expr")) {
        *expression = expression.as_str().unwrap_or_default().replace(ANY_ENSEMBLE, &one).into();
    }
    json!({ "spec": { "groups": [group] } })
}

fn dashboards(ensemble: &ValidEnsemble) -> Value {
    let one = format!("{}/{}", ensemble.namespace, ensemble.name);
    let id = &sha256(one.as_bytes())[..DASHBOARD_ID_DIGITS];
    let files = DASHBOARDS.iter().map(|(name, text)| {
        let text = text.replace("$namespace", &ensemble.namespace).replace("$ensemble", &ensemble.name);
        let mut dashboard: Value = serde_json::from_str(&text).expect("a file of ours is JSON");
        dashboard["uid"] = format!("zke-{name}-{id}").into();
        dashboard["title"] = format!("{}: {one}", dashboard["title"].as_str().unwrap_or_default()).into();
        if let Some(variables) = dashboard["templating"]["list"].as_array_mut() {
            variables.retain(|variable| variable["name"] != "namespace" && variable["name"] != "ensemble");
        }
        (format!("{name}.json"), Value::from(dashboard.to_string()))
    });
    json!({ "data": files.collect::<Map<String, Value>>() })
}
