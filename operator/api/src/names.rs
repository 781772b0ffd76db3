//! Names, labels, annotations and ports of the objects that belong to an ensemble.
//!
//! They are part of the API: a client's connection string, a volume's contents and a `NetworkPolicy` depend on them, so
//! a later version of the operator may add names but never change one. The golden test below holds them.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::GROUP;

/// Longest name of an ensemble: the pods' label `statefulset.kubernetes.io/pod-name` and the label
/// `controller-revision-hash` of its StatefulSet must stay within 63 characters.
pub const NAME_LENGTH_MAX: usize = 45;

/// The port clients connect to.
pub const CLIENT_PORT: i32 = 2181;
/// The port on which a leader accepts its learners.
pub const QUORUM_PORT: i32 = 2888;
/// The port of the leader election.
pub const ELECTION_PORT: i32 = 3888;
/// The port of probes, `/status` and `/bootstrap`; no Service publishes it.
pub const ADMIN_PORT: i32 = 8080;
/// The port of `/metrics`.
pub const METRICS_PORT: i32 = 7000;

/// Where the volume `data` is mounted: snapshots, `myid` and the identity of the member.
pub const DATA_DIR: &str = "/data";
/// Where the volume `txnlog` is mounted.
pub const TXN_LOG_DIR: &str = "/txnlog";
/// Where the `ConfigMap` is mounted.
pub const CONFIG_DIR: &str = "/etc/zookeeper";
/// Where the superuser `Secret` is mounted.
pub const TOKEN_DIR: &str = "/etc/zookeeper-admin";
/// The key of `zoo.cfg` in the `ConfigMap`.
pub const CONFIG_KEY: &str = "zoo.cfg";
/// The key of the bearer token in the superuser `Secret`.
pub const TOKEN_KEY: &str = "token";
/// The only container of a pod that the operator makes.
pub const CONTAINER: &str = "zookeeper";
/// The environment variable that tells a server which ensemble its `zoo.cfg` has to be of.
pub const ENSEMBLE_ID_ENV: &str = "ENSEMBLE_ID";
/// The name of the data volume; `data-<name>-<ordinal>` is what other operators use too.
pub const DATA_VOLUME: &str = "data";
/// The name of the transaction log volume.
pub const TXN_LOG_VOLUME: &str = "txnlog";
/// The value of `app.kubernetes.io/managed-by`, and the field manager of every apply.
pub const MANAGER: &str = "zookeeper-ensemble-operator";
/// The label that names the ensemble an object belongs to.
pub const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";
/// The label that says who manages an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// The StatefulSet, the `PodDisruptionBudget` and the `ServiceAccount`.
pub fn stateful_set(ensemble: &str) -> String {
    ensemble.to_owned()
}

/// The pod of a member.
pub fn pod(ensemble: &str, ordinal: i32) -> String {
    format!("{ensemble}-{ordinal}")
}

/// The Service that clients connect to: members that serve.
pub fn client_service(ensemble: &str) -> String {
    format!("{ensemble}-client")
}

/// The Service that gives every pod its DNS name, ready or not.
pub fn headless_service(ensemble: &str) -> String {
    format!("{ensemble}-headless")
}

/// The Service that a Prometheus scrapes.
pub fn metrics_service(ensemble: &str) -> String {
    format!("{ensemble}-metrics")
}

/// The `ConfigMap` that holds `zoo.cfg`.
pub fn config_map(ensemble: &str) -> String {
    format!("{ensemble}-config")
}

/// The `ConfigMap` by which clients find the ensemble.
pub fn discovery(ensemble: &str) -> String {
    ensemble.to_owned()
}

/// The `PodMonitor` and the `PrometheusRule`.
pub fn monitoring(ensemble: &str) -> String {
    ensemble.to_owned()
}

/// The `ConfigMap` that holds Grafana dashboards.
pub fn dashboards(ensemble: &str) -> String {
    format!("{ensemble}-dashboards")
}

/// The Secret that holds the token of the admin port.
pub fn superuser_secret(ensemble: &str) -> String {
    format!("{ensemble}-superuser")
}

/// The claim of a member's data volume.
pub fn data_claim(ensemble: &str, ordinal: i32) -> String {
    format!("{DATA_VOLUME}-{ensemble}-{ordinal}")
}

/// The claim of a member's transaction log volume.
pub fn txn_log_claim(ensemble: &str, ordinal: i32) -> String {
    format!("{TXN_LOG_VOLUME}-{ensemble}-{ordinal}")
}

/// The DNS name of a member. Without `cluster_domain` it is relative to the search list of a pod, so that no domain
/// has to be known.
pub fn member_host(ensemble: &str, namespace: &str, cluster_domain: Option<&str>, ordinal: impl Display) -> String {
    let host = format!("{ensemble}-{ordinal}.{}.{namespace}.svc", headless_service(ensemble));
    match cluster_domain {
        Some(domain) => format!("{host}.{domain}"),
        None => host,
    }
}

/// `host:port` of the client Service, as printed in the status.
pub fn client_endpoint(ensemble: &str, namespace: &str, cluster_domain: Option<&str>) -> String {
    let domain = cluster_domain.map(|domain| format!(".{domain}")).unwrap_or_default();
    format!("{}.{namespace}.svc{domain}:{CLIENT_PORT}", client_service(ensemble))
}

/// The labels that select the pods of an ensemble. Immutable in a StatefulSet, so never a version here.
pub fn selector_labels(ensemble: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/component".to_owned(), "server".to_owned()),
        (INSTANCE_LABEL.to_owned(), ensemble.to_owned()),
        ("app.kubernetes.io/name".to_owned(), "zookeeper".to_owned()),
    ])
}

/// The labels of every object: the selector, who manages it and what it is part of.
pub fn labels(ensemble: &str) -> BTreeMap<String, String> {
    let mut labels = selector_labels(ensemble);
    labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGER.to_owned());
    labels.insert("app.kubernetes.io/part-of".to_owned(), "zookeeper-ensemble".to_owned());
    labels
}

/// [`selector_labels`] as a query.
pub fn selector(ensemble: &str) -> String {
    let terms: Vec<String> = selector_labels(ensemble).iter().map(|(key, value)| format!("{key}={value}")).collect();
    terms.join(",")
}

/// The annotation of a pod template that holds the SHA-256 of its `zoo.cfg`.
pub fn config_hash_annotation() -> String {
    format!("{GROUP}/config-hash")
}

/// The annotation of a volume claim that holds the ensemble it was made for.
pub fn ensemble_id_annotation() -> String {
    format!("{GROUP}/ensemble-id")
}

/// The annotation of a volume claim whose member was removed: in which version of the configuration it was first absent.
pub fn retired_annotation() -> String {
    format!("{GROUP}/retired-at-config")
}

/// The annotation of a volume claim that lets somebody else than the operator delete it although a member uses it. `true` counts.
pub fn allow_deletion_annotation() -> String {
    format!("{GROUP}/allow-deletion")
}

/// The annotation of an ensemble that asks for a rolling restart: each new value restarts every pod once. It is copied into the
/// pod template.
pub fn restarted_at_annotation() -> String {
    format!("{GROUP}/restartedAt")
}

/// The annotation of an ensemble that asks for new, empty volumes for one member, by its ordinal. Each new value is one rebuild.
pub fn rebuild_annotation() -> String {
    format!("{GROUP}/rebuild")
}

/// The annotation of an ensemble with `updateStrategy.mode: Supervised` that lets the leader be restarted: the revision of the StatefulSet
/// that it is to run. It says nothing of a later one.
pub fn restart_leader_annotation() -> String {
    format!("{GROUP}/restart-leader")
}

/// The annotation of an applied object that holds the SHA-256 of what was applied.
pub fn applied_hash_annotation() -> String {
    format!("{GROUP}/applied-hash")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changing a line below orphans the objects of every ensemble that exists. Add lines; never edit one.
    #[test]
    fn names_are_frozen() {
        let got = [
            stateful_set("zk"),
            pod("zk", 10),
            client_service("zk"),
            headless_service("zk"),
            metrics_service("zk"),
            config_map("zk"),
            superuser_secret("zk"),
            data_claim("zk", 2),
            txn_log_claim("zk", 2),
            member_host("zk", "prod", None, 0),
            member_host("zk", "prod", Some("cluster.local"), 0),
            client_endpoint("zk", "prod", None),
            client_endpoint("zk", "prod", Some("cluster.local")),
            selector("zk"),
            config_hash_annotation(),
            ensemble_id_annotation(),
            applied_hash_annotation(),
            retired_annotation(),
            restarted_at_annotation(),
            restart_leader_annotation(),
            discovery("zk"),
            allow_deletion_annotation(),
            rebuild_annotation(),
            monitoring("zk"),
            dashboards("zk"),
            format!("{:?}", labels("zk")),
        ];
        let want = [
            "zk",
            "zk-10",
            "zk-client",
            "zk-headless",
            "zk-metrics",
            "zk-config",
            "zk-superuser",
            "data-zk-2",
            "txnlog-zk-2",
            "zk-0.zk-headless.prod.svc",
            "zk-0.zk-headless.prod.svc.cluster.local",
            "zk-client.prod.svc:2181",
            "zk-client.prod.svc.cluster.local:2181",
            "app.kubernetes.io/component=server,app.kubernetes.io/instance=zk,app.kubernetes.io/name=zookeeper",
            "zookeeper.ensemble.rs/config-hash",
            "zookeeper.ensemble.rs/ensemble-id",
            "zookeeper.ensemble.rs/applied-hash",
            "zookeeper.ensemble.rs/retired-at-config",
            "zookeeper.ensemble.rs/restartedAt",
            "zookeeper.ensemble.rs/restart-leader",
            "zk",
            "zookeeper.ensemble.rs/allow-deletion",
            "zookeeper.ensemble.rs/rebuild",
            "zk",
            "zk-dashboards",
            "{\"app.kubernetes.io/component\": \"server\", \"app.kubernetes.io/instance\": \"zk\", \
             \"app.kubernetes.io/managed-by\": \"zookeeper-ensemble-operator\", \"app.kubernetes.io/name\": \"zookeeper\", \
             \"app.kubernetes.io/part-of\": \"zookeeper-ensemble\"}",
        ];
        assert_eq!(got, want);
    }
}
