//! What is applied, word for word. The pod template is every user's: a change here restarts pods when they next roll.
//!
//! `UPDATE=1 cargo test -p operator-core --test plans golden` writes the files anew.

use std::fs;
use std::path::Path;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use operator_core::{Founded, Kind, Object, build, validate};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::common;

const FULL: &str = include_str!("../golden/full.spec.yaml");

/// The objects of an ensemble `zk` of this spec, just founded.
fn objects(spec: Value) -> Vec<Object> {
    let replicas = spec["replicas"].as_i64().unwrap_or(3);
    let offset = spec["myidOffset"].as_i64().unwrap_or(1);
    let voters: Vec<i64> = (offset..offset + replicas).collect();
    let observed = common::observe(
        serde_json::from_value(json!({
            "apiVersion": "zookeeper.ensemble.rs/v1alpha1", "kind": "ZooKeeperEnsemble",
            "metadata": { "name": "zk", "namespace": "prod", "uid": "u" },
            "spec": spec,
            "status": { "ensembleId": "E", "bootstrap": { "phase": "Pending", "voters": voters } },
        }))
        .expect("an ensemble"),
    );
    let ensemble = validate(&observed).expect("a valid spec");
    let founded = Founded::of(observed.ensemble.status.as_ref()).expect("whole facts").expect("facts");
    [build::build(&ensemble, &founded), build::monitoring(&ensemble)].concat()
}

fn check(name: &str, spec: Value) {
    let documents: Vec<String> =
        objects(spec).iter().map(|object| serde_saphyr::to_string(&object.manifest).expect("YAML")).collect();
    let got = documents.join("---\n");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.yaml"));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &got).expect("the file is written");
    }
    let want = fs::read_to_string(&file).unwrap_or_default();
    assert!(got == want, "{name} differs; run with UPDATE=1 and read the difference");
}

#[test]
fn rendered_objects_are_frozen() {
    check("three", json!({}));
    check("one-ephemeral", json!({ "replicas": 1, "storage": { "type": "Ephemeral", "acknowledgeDataLoss": true } }));
    check("full", serde_saphyr::from_str(FULL).expect("a spec"));
}

/// A misspelt field would vanish on the way through Kubernetes' own types.
#[test]
fn every_field_is_kubernetes_own() {
    fn same<K: Serialize + DeserializeOwned>(manifest: &Value) {
        let typed: K = serde_json::from_value(manifest.clone()).expect("a manifest of its kind");
        assert_eq!(serde_json::to_value(typed).expect("JSON"), *manifest);
    }
    for object in objects(serde_saphyr::from_str(FULL).expect("a spec")).into_iter().chain(objects(json!({}))) {
        match object.kind {
            Kind::ServiceAccount => same::<ServiceAccount>(&object.manifest),
            Kind::ConfigMap => same::<ConfigMap>(&object.manifest),
            Kind::Service => same::<Service>(&object.manifest),
            Kind::PodDisruptionBudget => same::<PodDisruptionBudget>(&object.manifest),
            Kind::StatefulSet => same::<StatefulSet>(&object.manifest),
            // Not Kubernetes' own.
            Kind::PodMonitor | Kind::PrometheusRule => {}
        }
    }
}

/// What the profile "restricted" of the Pod Security Standards asks for.
#[test]
fn pods_are_restricted() {
    let objects = objects(json!({}));
    let set = &objects.iter().find(|object| object.kind == Kind::StatefulSet).expect("a StatefulSet").manifest;
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    for container in pod["containers"].as_array().expect("containers") {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
        assert_eq!(context["readOnlyRootFilesystem"], true);
    }
}

/// Every field of the spec does something: each is changed here, and the change shows in what is applied.
///
/// The list is held against the schema, so a field cannot be added without a line.
#[test]
fn every_field_of_the_spec_shows() {
    let cases: &[(&str, Value)] = &[
        ("replicas", json!(5)),
        ("hibernate", json!(true)),
        ("image.repository", json!({ "repository": "r/x", "tag": "t" })),
        ("image.tag", json!({ "repository": "r/y", "tag": "t2" })),
        ("image.digest", json!({ "repository": "r/y", "digest": "sha256:ab" })),
        ("image.pullPolicy", json!("Always")),
        ("image.pullSecrets", json!(["s"])),
        ("storage.type", json!("Ephemeral")),
        ("storage.acknowledgeDataLoss", json!({ "type": "Ephemeral", "acknowledgeDataLoss": true })),
        ("storage.sizeLimit", json!({ "type": "Ephemeral", "acknowledgeDataLoss": true, "sizeLimit": "1Gi" })),
        ("storage.data.size", json!("11Gi")),
        ("storage.data.storageClassName", json!("c")),
        ("storage.data.accessMode", json!("ReadWriteOncePod")),
        ("storage.data.labels", json!({ "a": "b" })),
        ("storage.data.annotations", json!({ "a": "b" })),
        ("storage.txnLog.enabled", json!(false)),
        ("storage.txnLog.size", json!("6Gi")),
        ("storage.txnLog.storageClassName", json!("c")),
        ("storage.txnLog.accessMode", json!("ReadWriteOncePod")),
        ("storage.txnLog.labels", json!({ "a": "b" })),
        ("storage.txnLog.annotations", json!({ "a": "b" })),
        ("config.tickTimeMs", json!(1000)),
        ("config.initLimit", json!(20)),
        ("config.syncLimit", json!(6)),
        ("config.snapCount", json!(5000)),
        ("config.preAllocKb", json!(1024)),
        ("config.minSessionTimeoutMs", json!(5000)),
        ("config.maxSessionTimeoutMs", json!(50000)),
        ("config.maxClientCnxns", json!(10)),
        ("config.maxCnxns", json!(10)),
        ("config.autopurge.snapRetainCount", json!(4)),
        ("config.autopurge.purgeIntervalHours", json!(2)),
        ("config.fourLetterWords", json!(["ruok"])),
        ("config.extra", json!({ "leaderServes": "no" })),
        ("resources.requests", json!({ "cpu": "2" })),
        ("resources.limits", json!({ "memory": "2Gi" })),
        ("scheduling.antiAffinity", json!("Required")),
        ("scheduling.topologySpread", json!([])),
        ("scheduling.nodeSelector", json!({ "a": "b" })),
        ("scheduling.tolerations", json!([{ "key": "k", "operator": "Exists" }])),
        ("scheduling.priorityClassName", json!("p")),
        ("podTemplate.labels", json!({ "a": "b" })),
        ("podTemplate.annotations", json!({ "a": "b" })),
        ("podTemplate.env", json!([{ "name": "RUST_LOG", "value": "debug" }])),
        ("monitoring.podMonitor", json!(true)),
        ("monitoring.rules", json!(true)),
        ("monitoring.dashboard", json!(true)),
        ("myidOffset", json!(100)),
        ("clusterDomain", json!("cluster.local")),
    ];
    let before: Vec<Value> = objects(json!({})).into_iter().map(|object| object.manifest).collect();
    for (path, value) in cases {
        let spec = spec_with(path, value);
        // A storage type without its acknowledgement is refused, which shows too.
        if *path == "storage.type" {
            continue;
        }
        let after: Vec<Value> = objects(spec).into_iter().map(|object| object.manifest).collect();
        assert!(before != after, "{path} changes nothing");
    }
    let mut covered: Vec<&str> = cases.iter().map(|(path, _)| *path).collect();
    // Paused is about what is not applied; see the situations.
    covered.push("paused");
    // Who votes is decided by the configuration, and what becomes of claims is no object either.
    covered.push("voters");
    covered.extend(["storage.reclaimPolicy.onScaleDown", "storage.reclaimPolicy.onDelete"]);
    // An admission policy acts on it.
    covered.push("deletionProtection");
    // How pods are restarted, neither: see the situations.
    covered.extend(["updateStrategy.mode", "updateStrategy.minReadySeconds"]);
    covered.extend(["updateStrategy.progressDeadlineSeconds", "updateStrategy.allowDowntime"]);
    covered.push("updateStrategy.maintenanceWindows");
    // Of objects that are asked for beside them: see `monitoring.rs`.
    covered.push("monitoring.labels");
    // When a pod is deleted by force, and volumes are given up.
    covered.extend(["repair.nodeLostTimeout", "repair.autoRebuild"]);
    // An ensemble is given up by what is recorded of it, not by the request.
    covered.extend(["recovery.fromMember", "recovery.confirm"]);
    covered.sort_unstable();
    assert_eq!(leaves(), covered);
}

/// A spec in which the field at `path` is `value`; an object whose parent is given as a whole replaces the parent.
fn spec_with(path: &str, value: &Value) -> Value {
    let mut keys: Vec<&str> = path.split('.').collect();
    if keys.len() == 2 && value.as_object().is_some_and(|value| value.contains_key(keys[1])) {
        keys.pop();
    }
    keys.iter().rev().fold(value.clone(), |inner, key| json!({ *key: inner }))
}

/// Every field of the spec that is no group of fields.
fn leaves() -> Vec<String> {
    fn walk(path: &str, schema: &Value, leaves: &mut Vec<String>) {
        match schema["properties"].as_object() {
            Some(fields) => fields.iter().for_each(|(name, field)| walk(&format!("{path}.{name}"), field, leaves)),
            None => leaves.push(path.trim_start_matches('.').to_owned()),
        }
    }
    let crd = serde_json::to_value(<operator_api::ZooKeeperEnsemble as kube::CustomResourceExt>::crd()).expect("JSON");
    let mut all = Vec::new();
    walk("", &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"], &mut all);
    all.sort_unstable();
    all
}
