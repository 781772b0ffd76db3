//! The objects of an ensemble, as functions of a valid spec and the recorded facts.
//!
//! The rendered pod template must not depend on the operator's version: upgrading the operator must not make a single
//! pod outdated. `tests/golden/` holds what is rendered; a change there is a change for every user.

mod client_service;
mod config_map;
mod discovery;
mod headless_service;
mod metrics_service;
mod monitoring;
mod pod_disruption_budget;
mod service_account;
mod stateful_set;

use std::collections::BTreeMap;

use operator_api::{GROUP, ZooKeeperEnsemble, names};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(crate) use config_map::server;
pub use config_map::zoo_cfg;
pub use monitoring::{build as monitoring, every as every_monitoring};

use crate::founded::Founded;
use crate::step::{Kind, Object};
use crate::validate::ValidEnsemble;

/// Every object of the ensemble at rest, in the order in which they are applied: what a pod needs comes before the pods.
pub fn build(ensemble: &ValidEnsemble, founded: &Founded) -> Vec<Object> {
    build_with_pods(ensemble, founded, if ensemble.spec.is_hibernated() { 0 } else { founded.pods })
}

/// The same while the servers are being stopped: with as many pods as still run.
pub(crate) fn build_with_pods(ensemble: &ValidEnsemble, founded: &Founded, pods: i32) -> Vec<Object> {
    let name = &ensemble.name;
    let config = zoo_cfg(ensemble, founded);
    let config_hash = hash(&config);
    [
        (Kind::ServiceAccount, names::stateful_set(name), service_account::body()),
        (Kind::ConfigMap, names::config_map(name), config_map::body(&config)),
        (Kind::ConfigMap, names::discovery(name), discovery::body(ensemble, founded)),
        (Kind::Service, names::headless_service(name), headless_service::body(name)),
        (Kind::Service, names::client_service(name), client_service::body(name)),
        (Kind::Service, names::metrics_service(name), metrics_service::body(name)),
        (Kind::PodDisruptionBudget, names::stateful_set(name), pod_disruption_budget::body(ensemble)),
        (Kind::StatefulSet, names::stateful_set(name), stateful_set::body(ensemble, founded, pods, &config_hash)),
    ]
    .into_iter()
    .map(|(kind, object, body)| complete(ensemble, kind, object, body))
    .collect()
}

/// The metadata of the superuser `Secret`.
pub fn secret_metadata(ensemble: &ValidEnsemble) -> Value {
    metadata(ensemble, &names::superuser_secret(&ensemble.name))
}

/// The hash of the `zoo.cfg` that the spec asks for; a server reports the one it loaded.
pub fn config_hash(ensemble: &ValidEnsemble, founded: &Founded) -> String {
    hash(&zoo_cfg(ensemble, founded))
}

/// The SHA-256 of a `zoo.cfg` without its `server.N` lines, which change with the ensemble, and those about a recovery, which matter at one
/// start: they are no reason to restart a server.
fn hash(zoo_cfg: &str) -> String {
    let passing = |line: &&str| line.starts_with("server.") || line.starts_with("ensemble.recovery.");
    let settings: String = zoo_cfg.split_inclusive('\n').filter(|line| !passing(line)).collect();
    sha256(settings.as_bytes())
}

/// Lower-case hex of the SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Adds what all objects have.
fn complete(ensemble: &ValidEnsemble, kind: Kind, name: String, body: Value) -> Object {
    labelled(ensemble, kind, name, body, BTreeMap::new())
}

/// Adds what all objects have, more labels, of which ours win, and the hash of it all, by which a later pass sees that a field was taken away.
fn labelled(
    ensemble: &ValidEnsemble,
    kind: Kind,
    name: String,
    body: Value,
    mut labels: BTreeMap<String, String>,
) -> Object {
    let mut manifest = body;
    manifest["apiVersion"] = kind.api_version().into();
    manifest["kind"] = kind.as_str().into();
    manifest["metadata"] = metadata(ensemble, &name);
    labels.extend(names::labels(&ensemble.name));
    manifest["metadata"]["labels"] = json!(labels);
    let hash = sha256(manifest.to_string().as_bytes());
    manifest["metadata"]["annotations"] = json!({ names::applied_hash_annotation(): hash });
    Object { kind, name, manifest }
}

/// Name, labels and the owner: the garbage collector removes the objects with the ensemble, so no finalizer is needed.
fn metadata(ensemble: &ValidEnsemble, name: &str) -> Value {
    json!({
        "name": name,
        "namespace": ensemble.namespace,
        "labels": names::labels(&ensemble.name),
        "ownerReferences": [{
            "apiVersion": format!("{GROUP}/v1alpha1"),
            "kind": <ZooKeeperEnsemble as kube::Resource>::kind(&()),
            "name": ensemble.name,
            "uid": ensemble.uid,
            "controller": true,
            "blockOwnerDeletion": true,
        }],
    })
}
