//! The pods and their volumes.
//!
//! * `Parallel`: all voters must be able to start together; one by one, a quorum never forms and none becomes ready.
//! * `OnDelete`: only a quorum may decide when a member stops, and the StatefulSet controller knows of none. [`crate::plan::roll`] does.
//! * Claims are retained always: that controller does not know about membership either.
//! * Liveness is about the process, readiness about the quorum, startup about loading the store.
//! * No `preStop`: on SIGTERM the server closes its sessions itself, and refuses for two seconds more whoever is still routed to it.

use operator_api::{AccessMode, AntiAffinity, PullPolicy, StorageType, WhenUnsatisfiable, names};
use serde_json::{Map, Value, json};

use crate::founded::Founded;
use crate::validate::ValidEnsemble;

/// The user of the image, and the group that owns the volumes.
const NON_ROOT: i64 = 65532;
/// How long a server may take to load its store before it is restarted, in seconds.
const STARTUP_SECONDS_MAX: i64 = 600;
/// How long a server may take to stop, in seconds.
const TERMINATION_GRACE_SECONDS: i64 = 60;
/// The spread that a spec without `topologySpread` gets.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
/// What anti-affinity keeps apart.
const HOST_LABEL: &str = "kubernetes.io/hostname";

pub(super) fn body(ensemble: &ValidEnsemble, founded: &Founded, pods: i32, config_hash: &str) -> Value {
    let name = &ensemble.name;
    let mut spec = json!({
        "replicas": pods,
        "serviceName": names::headless_service(name),
        "podManagementPolicy": "Parallel",
        "updateStrategy": { "type": "OnDelete" },
        "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "Retain", "whenScaled": "Retain" },
        "selector": { "matchLabels": names::selector_labels(name) },
        "template": pod_template(ensemble, founded, config_hash),
    });
    let claims = claims(ensemble, founded);
    if !claims.is_empty() {
        spec["volumeClaimTemplates"] = claims.into();
    }
    json!({ "spec": spec })
}

fn pod_template(ensemble: &ValidEnsemble, founded: &Founded, config_hash: &str) -> Value {
    let spec = &ensemble.spec;
    let mut labels = spec.pod_template.labels.clone();
    labels.extend(names::labels(&ensemble.name));
    let mut annotations = spec.pod_template.annotations.clone();
    annotations.insert(names::config_hash_annotation(), config_hash.to_owned());
    if let Some(restarted_at) = &ensemble.restarted_at {
        annotations.insert(names::restarted_at_annotation(), restarted_at.clone());
    }

    let mut pod = json!({
        "serviceAccountName": names::stateful_set(&ensemble.name),
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": TERMINATION_GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": NON_ROOT,
            "runAsGroup": NON_ROOT,
            "fsGroup": NON_ROOT,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [container(ensemble, founded)],
        "volumes": volumes(ensemble),
    });
    let scheduling = &spec.scheduling;
    let optional = [
        ("affinity", affinity(ensemble)),
        ("topologySpreadConstraints", topology_spread(ensemble)),
        ("nodeSelector", json!(scheduling.node_selector)),
        ("tolerations", json!(scheduling.tolerations)),
        ("priorityClassName", json!(scheduling.priority_class_name)),
        ("imagePullSecrets", pull_secrets(ensemble)),
    ];
    for (key, value) in optional {
        if !is_empty(&value) {
            pod[key] = value;
        }
    }
    json!({ "metadata": { "labels": labels, "annotations": annotations }, "spec": pod })
}

fn container(ensemble: &ValidEnsemble, founded: &Founded) -> Value {
    let spec = &ensemble.spec;
    let policy = spec.image.as_ref().map_or(PullPolicy::default(), |image| image.pull_policy);
    let policy = match policy {
        PullPolicy::Always => "Always",
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Never => "Never",
    };
    let ordinal = json!({
        "name": "ENSEMBLE_ORDINAL",
        "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']" } },
    });
    // A kubelet may mount the zoo.cfg of a former ensemble, which must not run any more.
    let id = json!({ "name": names::ENSEMBLE_ID_ENV, "value": founded.ensemble_id });
    let user = spec.pod_template.env.iter().map(|env| json!({ "name": env.name, "value": env.value }));
    let env: Vec<Value> = [ordinal, id].into_iter().chain(user).collect();
    let mut mounts = vec![
        json!({ "name": names::DATA_VOLUME, "mountPath": names::DATA_DIR }),
        json!({ "name": "config", "mountPath": names::CONFIG_DIR, "readOnly": true }),
        json!({ "name": "superuser", "mountPath": names::TOKEN_DIR, "readOnly": true }),
    ];
    if spec.storage.txn_log.enabled {
        mounts.insert(1, json!({ "name": names::TXN_LOG_VOLUME, "mountPath": names::TXN_LOG_DIR }));
    }
    json!({
        "name": names::CONTAINER,
        "image": ensemble.image,
        "imagePullPolicy": policy,
        "command": ["/ensemble"],
        "args": ["server", "--config", format!("{}/{}", names::CONFIG_DIR, names::CONFIG_KEY), "--log-format", "json"],
        "env": env,
        "ports": [
            { "name": "client", "containerPort": names::CLIENT_PORT, "protocol": "TCP" },
            { "name": "quorum", "containerPort": names::QUORUM_PORT, "protocol": "TCP" },
            { "name": "election", "containerPort": names::ELECTION_PORT, "protocol": "TCP" },
            { "name": "admin", "containerPort": names::ADMIN_PORT, "protocol": "TCP" },
            { "name": "metrics", "containerPort": names::METRICS_PORT, "protocol": "TCP" },
        ],
        "resources": resources(ensemble),
        "startupProbe": probe("/startupz", 2, STARTUP_SECONDS_MAX / 2),
        "livenessProbe": probe("/livez", 10, 6),
        "readinessProbe": probe("/readyz", 2, 2),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
        },
        // The reason of a failed start shows up in the pod's status, and from there in a condition.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    })
}

/// By HTTP, not by a process in the container: the image has no shell, and a probe must not compete for memory.
fn probe(path: &str, period_seconds: i64, failure_threshold: i64) -> Value {
    json!({
        "httpGet": { "path": path, "port": "admin", "scheme": "HTTP" },
        "periodSeconds": period_seconds,
        "timeoutSeconds": 2,
        "failureThreshold": failure_threshold,
    })
}

fn resources(ensemble: &ValidEnsemble) -> Value {
    let resources = &ensemble.spec.resources;
    let mut value = Map::new();
    for (key, map) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        if !map.is_empty() {
            value.insert(key.to_owned(), json!(map));
        }
    }
    value.into()
}

/// The configuration, the token, and, when they are ephemeral, the volumes of the store.
fn volumes(ensemble: &ValidEnsemble) -> Vec<Value> {
    let name = &ensemble.name;
    let mut volumes = vec![
        json!({ "name": "config", "configMap": { "name": names::config_map(name), "defaultMode": 0o444 } }),
        json!({ "name": "superuser", "secret": { "secretName": names::superuser_secret(name), "defaultMode": 0o440 } }),
    ];
    let storage = &ensemble.spec.storage;
    if storage.type_ == StorageType::Ephemeral {
        let directory = match &storage.size_limit {
            Some(limit) => json!({ "sizeLimit": limit }),
            None => json!({}),
        };
        volumes.push(json!({ "name": names::DATA_VOLUME, "emptyDir": directory }));
        if storage.txn_log.enabled {
            volumes.push(json!({ "name": names::TXN_LOG_VOLUME, "emptyDir": directory }));
        }
    }
    volumes
}

/// Claims are stamped with the ensemble they are made for, so that one left over from another is recognised.
fn claims(ensemble: &ValidEnsemble, founded: &Founded) -> Vec<Value> {
    let storage = &ensemble.spec.storage;
    if storage.type_ == StorageType::Ephemeral {
        return Vec::new();
    }
    let claim =
        |name: &str, size: &Value, class: &Option<String>, mode: AccessMode, labels: &Value, annotations: &Value| {
            let mut labels = labels.clone();
            for (key, value) in names::labels(&ensemble.name) {
                labels[key] = value.into();
            }
            let mut annotations = annotations.clone();
            annotations[names::ensemble_id_annotation()] = founded.ensemble_id.clone().into();
            let mode = match mode {
                AccessMode::ReadWriteOnce => "ReadWriteOnce",
                AccessMode::ReadWriteOncePod => "ReadWriteOncePod",
            };
            let mut spec = json!({
                "accessModes": [mode],
                "resources": { "requests": { "storage": size } },
                "volumeMode": "Filesystem",
            });
            if let Some(class) = class {
                spec["storageClassName"] = class.clone().into();
            }
            json!({
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": { "name": name, "labels": labels, "annotations": annotations },
                "spec": spec,
            })
        };
    let (data, log) = (&storage.data, &storage.txn_log);
    let mut claims = vec![claim(
        names::DATA_VOLUME,
        &json!(data.size),
        &data.storage_class_name,
        data.access_mode,
        &json!(data.labels),
        &json!(data.annotations),
    )];
    if log.enabled {
        claims.push(claim(
            names::TXN_LOG_VOLUME,
            &json!(log.size),
            &log.storage_class_name,
            log.access_mode,
            &json!(log.labels),
            &json!(log.annotations),
        ));
    }
    claims
}

fn affinity(ensemble: &ValidEnsemble) -> Value {
    let apart = json!({
        "labelSelector": { "matchLabels": names::selector_labels(&ensemble.name) },
        "topologyKey": HOST_LABEL,
    });
    match ensemble.spec.scheduling.anti_affinity {
        AntiAffinity::None => Value::Null,
        AntiAffinity::Preferred => json!({
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 100, "podAffinityTerm": apart }],
            },
        }),
        AntiAffinity::Required => json!({
            "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [apart] },
        }),
    }
}

fn topology_spread(ensemble: &ValidEnsemble) -> Value {
    let constraint = |key: &str, max_skew: i32, when: WhenUnsatisfiable| {
        let when = match when {
            WhenUnsatisfiable::DoNotSchedule => "DoNotSchedule",
            WhenUnsatisfiable::ScheduleAnyway => "ScheduleAnyway",
        };
        json!({
            "topologyKey": key,
            "maxSkew": max_skew,
            "whenUnsatisfiable": when,
            "labelSelector": { "matchLabels": names::selector_labels(&ensemble.name) },
        })
    };
    match &ensemble.spec.scheduling.topology_spread {
        None => json!([constraint(ZONE_LABEL, 1, WhenUnsatisfiable::ScheduleAnyway)]),
        Some(rules) => {
            rules.iter().map(|rule| constraint(&rule.topology_key, rule.max_skew, rule.when_unsatisfiable)).collect()
        }
    }
}

fn pull_secrets(ensemble: &ValidEnsemble) -> Value {
    let secrets = ensemble.spec.image.iter().flat_map(|image| &image.pull_secrets);
    secrets.map(|name| json!({ "name": name })).collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
