//! Every rule of the schema, by a spec that it refuses and one that it accepts, evaluated without an API server.
//!
//! The schema's own limits (`minimum`, `maxLength`, `enum`) are the API server's work and are checked on a cluster.

use kube::core::cel::{validate_cel, validate_cel_update};
use operator_api::ZooKeeperEnsemble;
use serde_json::{Value, json};

/// An ensemble of this name and spec, with the defaults filled in.
fn ensemble(name: &str, spec: &Value) -> ZooKeeperEnsemble {
    serde_json::from_value(json!({
        "apiVersion": "zookeeper.ensemble.rs/v1alpha1", "kind": "ZooKeeperEnsemble",
        "metadata": { "name": name, "namespace": "default" }, "spec": spec,
    }))
    .expect("the case is an ensemble")
}

/// Asserts that a spec is refused with a message that contains `want`, or accepted when `want` is empty.
fn check(name: &str, spec: Value, want: &str) {
    verdict(
        &format!("{name} {spec}"),
        validate_cel(&ensemble(name, &spec)).err().map(|errors| errors.to_string()),
        want,
    );
}

/// The same for a change of the spec from `old` to `new`.
fn check_update(old: Value, new: Value, want: &str) {
    let errors = validate_cel_update(&ensemble("zk", &new), &ensemble("zk", &old)).err();
    verdict(&format!("{old} -> {new}"), errors.map(|errors| errors.to_string()), want);
}

fn verdict(case: &str, got: Option<String>, want: &str) {
    match got {
        None => assert_eq!("", want, "accepted: {case}"),
        Some(errors) => assert!(!want.is_empty() && errors.contains(want), "{case}: refused with {errors}"),
    }
}

#[test]
fn voters() {
    for (replicas, voters) in [(1, 1), (2, 1), (5, 3), (15, 7)] {
        check("zk", json!({ "replicas": replicas, "voters": voters }), "");
    }
    for voters in [2, 4] {
        check("zk", json!({ "replicas": 5, "voters": voters }), "voters must be odd");
    }
    check("zk", json!({ "replicas": 3, "voters": 5 }), "raise replicas, lower voters, or leave voters out");
    check_update(json!({ "replicas": 3 }), json!({ "replicas": 4 }), "");
    check_update(
        json!({ "replicas": 5, "voters": 5 }),
        json!({ "replicas": 3, "voters": 5 }),
        "must not exceed replicas",
    );
}

#[test]
fn hibernation() {
    check("zk", json!({ "replicas": 0 }), "");
    check("zk", json!({ "replicas": 0, "voters": 3 }), "");
    let ephemeral = json!({ "type": "Ephemeral", "acknowledgeDataLoss": true });
    check("zk", json!({ "hibernate": true }), "");
    check("zk", json!({ "replicas": 0, "storage": ephemeral }), "delete the ensemble, if its data may go");
    check("zk", json!({ "hibernate": true, "storage": ephemeral }), "hibernate must not be true with storage");
}

#[test]
fn a_recovery_names_an_ensemble() {
    let recovery = |confirm: &str| json!({ "recovery": { "fromMember": 0, "confirm": confirm } });
    check("zk", recovery("0d4ff1a2-9f8b-4d1c-8a77-1d1f2f1c9a10"), "");
    for confirm in ["", "yes", "zk", "0d4ff1a2-9f8b-4d1c-8a77-1d1f2f1c9a100"] {
        check("zk", recovery(confirm), "confirm must be status.ensembleId, a UUID of 36 characters");
    }
}

#[test]
fn an_odd_number_votes_unless_told_otherwise() {
    let voters = |spec: Value| ensemble("zk", &spec).spec.voter_count();
    let counts: Vec<i32> = (1..=8).map(|replicas| voters(json!({ "replicas": replicas }))).collect();
    assert_eq!(counts, [1, 1, 3, 3, 5, 5, 5, 5]);
    assert_eq!(voters(json!({ "replicas": 8, "voters": 7 })), 7);
}

#[test]
fn names() {
    check("zk", json!({}), "");
    check("a23456789-123456789-123456789-123456789-12345", json!({}), "");
    check("a23456789-123456789-123456789-123456789-123456", json!({}), "choose a shorter one");
    for name in ["my.zk", "0zk", "zk-", "Zk"] {
        check(name, json!({}), "DNS label that begins with a letter");
    }
}

#[test]
fn images() {
    check("zk", json!({ "image": { "pullSecrets": ["registry"] } }), "");
    check("zk", json!({ "image": { "repository": "r/zk", "tag": "1" } }), "");
    check("zk", json!({ "image": { "repository": "r/zk", "digest": "sha256:ab" } }), "");
    for image in [json!({ "repository": "r/zk" }), json!({ "tag": "1" }), json!({ "digest": "sha256:ab" })] {
        check("zk", json!({ "image": image }), "a repository with a tag or a digest");
    }
}

#[test]
fn storage() {
    check("zk", json!({ "storage": { "type": "Ephemeral", "acknowledgeDataLoss": true, "sizeLimit": "1Gi" } }), "");
    check("zk", json!({ "storage": { "type": "Ephemeral" } }), "set acknowledgeDataLoss: true");
    check("zk", json!({ "storage": { "sizeLimit": "1Gi" } }), "sizeLimit is for type: Ephemeral");
    check_update(json!({}), json!({ "storage": {} }), "");
    check_update(json!({}), json!({ "storage": { "reclaimPolicy": { "onScaleDown": "Delete" } } }), "");
    for (data, log) in [("20Gi", "5Gi"), ("10Gi", "8Gi"), ("10240Mi", "5Gi"), ("11G", "5Gi")] {
        check_update(json!({}), json!({ "storage": { "data": { "size": data }, "txnLog": { "size": log } } }), "");
    }
    for (data, log) in [("9Gi", "5Gi"), ("20Gi", "4Gi"), ("10G", "5Gi")] {
        let storage = json!({ "data": { "size": data }, "txnLog": { "size": log } });
        check_update(json!({}), json!({ "storage": storage }), "volumes cannot shrink");
    }
    for storage in [
        json!({ "data": { "storageClassName": "fast" } }),
        json!({ "data": { "accessMode": "ReadWriteOncePod" } }),
        json!({ "txnLog": { "labels": { "a": "b" } } }),
        json!({ "data": { "size": "20Gi", "annotations": { "a": "b" } } }),
        json!({ "txnLog": { "enabled": false } }),
        json!({ "type": "Ephemeral", "acknowledgeDataLoss": true }),
    ] {
        check_update(
            json!({}),
            json!({ "storage": storage }),
            "the volumes are immutable but for data.size and txnLog.size, since a StatefulSet keeps those it was created with",
        );
    }
}

#[test]
fn limits_and_timeouts() {
    check("zk", json!({ "config": { "initLimit": 5, "syncLimit": 5 } }), "");
    check("zk", json!({ "config": { "initLimit": 4, "syncLimit": 5 } }), "lower syncLimit or raise initLimit");
    check("zk", json!({ "config": { "minSessionTimeoutMs": 4000 } }), "");
    check("zk", json!({ "config": { "minSessionTimeoutMs": 3999 } }), "at least 2 * tickTimeMs: raise it");
    check("zk", json!({ "config": { "minSessionTimeoutMs": 40_001 } }), "must not be below minSessionTimeoutMs");
    check("zk", json!({ "config": { "maxSessionTimeoutMs": 3999 } }), "must not be below minSessionTimeoutMs");
    check("zk", json!({ "config": { "minSessionTimeoutMs": 40_001, "maxSessionTimeoutMs": 60_000 } }), "");
}

#[test]
fn extra_keys() {
    check("zk", json!({ "config": { "extra": { "globalOutstandingLimit": "2000", "leaderServes": "no" } } }), "");
    for key in ["dataDir", "skipACL", "standaloneEnabled", "zookeeper.db.autocreate", "forceSync"] {
        check("zk", json!({ "config": { "extra": { key: "x" } } }), "a key that the operator decides");
    }
    for key in [
        "server.1",
        "clientPort",
        "clientPortAddress",
        "admin.serverPort",
        "ssl.keyStore.location",
        "sslQuorum",
        "ensemble.id",
    ] {
        check("zk", json!({ "config": { "extra": { key: "x" } } }), "a key that begins with");
    }
    for key in ["tickTime", "4lw.commands.whitelist"] {
        check("zk", json!({ "config": { "extra": { key: "x" } } }), "a key that has a field of its own");
    }
}

#[test]
fn environment() {
    check("zk", json!({ "podTemplate": { "env": [{ "name": "RUST_LOG", "value": "debug" }] } }), "");
    check(
        "zk",
        json!({ "podTemplate": { "env": [{ "name": "ENSEMBLE_ORDINAL", "value": "0" }] } }),
        "choose another name",
    );
}

#[test]
fn restarts() {
    for mode in ["LeaderLast", "Supervised", "OnDelete"] {
        check("zk", json!({ "updateStrategy": { "mode": mode } }), "");
    }
    for (replicas, voters, fits) in
        [(3, None, false), (4, None, true), (5, None, false), (6, None, true), (7, None, true)].into_iter().chain([
            (0, None, true),
            (2, None, false),
            (5, Some(3), true),
            (3, Some(3), false),
            (4, Some(1), false),
        ])
    {
        let mut spec = json!({ "replicas": replicas, "updateStrategy": { "mode": "Swap" } });
        if let Some(voters) = voters {
            spec["voters"] = json!(voters);
        }
        let spare = ensemble("zk", &spec).spec.has_spare_observer();
        assert_eq!(spare || replicas == 0, fits, "{spec}");
        check("zk", spec, if fits { "" } else { "Swap needs three voters or more and an observer" });
    }
    check("zk", json!({ "repair": { "nodeLostTimeout": "90s" } }), "");
    check("zk", json!({ "updateStrategy": { "minReadySeconds": 899, "allowDowntime": true } }), "");
    check("zk", json!({ "updateStrategy": { "minReadySeconds": 900 } }), "raise it, or lower minReadySeconds");
    check("zk", json!({ "updateStrategy": { "progressDeadlineSeconds": 15 } }), "must exceed minReadySeconds");
    check_update(json!({}), json!({ "updateStrategy": { "mode": "OnDelete" } }), "");
}

#[test]
fn downtime_is_allowed_where_nothing_else_is_possible() {
    let allowed = |strategy: Value, voters: i32| {
        ensemble("zk", &json!({ "updateStrategy": strategy })).spec.update_strategy.allows_downtime(voters)
    };
    assert_eq!([1, 2].map(|voters| allowed(json!({}), voters)), [true, false]);
    assert_eq!([1, 2].map(|voters| allowed(json!({ "allowDowntime": true }), voters)), [true, true]);
    assert_eq!([1, 2].map(|voters| allowed(json!({ "allowDowntime": false }), voters)), [false, false]);
}

#[test]
fn immutable_fields() {
    check_update(json!({}), json!({ "myidOffset": 2 }), "written on the volumes: leave it as it was");
    check_update(json!({}), json!({ "clusterDomain": "cluster.local" }), "by these names: leave it as it was");
    check_update(json!({ "clusterDomain": "cluster.local" }), json!({}), "clusterDomain is immutable");
    check_update(json!({ "clusterDomain": "a" }), json!({ "clusterDomain": "b" }), "clusterDomain is immutable");
    check_update(json!({ "clusterDomain": "a" }), json!({ "clusterDomain": "a", "paused": true }), "");
}
