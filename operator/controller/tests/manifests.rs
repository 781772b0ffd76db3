//! What is installed is what the code prints, and the samples are accepted.

use std::fs;
use std::path::{Path, PathBuf};

use kube::core::cel::validate_cel;
use operator_api::ZooKeeperEnsemble;
use operator_controller::{manifests, reference};
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn printed_files_are_fresh() {
    for (file, want, command) in [
        ("crds/zookeeperensembles.yaml", manifests::crd(), "crd"),
        ("manifests/operator.yaml", manifests::operator(), "manifests"),
        ("docs/crd.md", reference::reference(), "reference"),
        ("manifests/monitoring/prometheusrule.yaml", manifests::prometheus_rule(), "alerts"),
        ("charts/zookeeper-operator/files/zookeeperensembles.yaml", manifests::crd(), "crd"),
        ("charts/zookeeper-operator/files/rules.yaml", manifests::chart_rules(), "chart rules"),
        ("charts/zookeeper-operator/files/policies.yaml", manifests::chart_policies(), "chart policies"),
        ("charts/zookeeper-ensemble/values.schema.json", manifests::chart_schema(), "chart schema"),
    ] {
        let got = fs::read_to_string(root().join(file)).unwrap_or_default();
        assert!(got == want, "{file} is stale: cargo run -p operator-controller -- {command} > {file}");
    }
}

/// The pod of the operator's Deployment.
fn operator_pod() -> Value {
    let objects: Vec<Value> = serde_saphyr::from_multiple(&manifests::operator()).expect("YAML");
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").expect("a Deployment");
    deployment["spec"]["template"]["spec"].clone()
}

#[test]
fn the_operator_leaves_a_lost_node_soon() {
    let pod = operator_pod();
    let tolerations = pod["tolerations"].as_array().expect("tolerations");
    for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let toleration = tolerations.iter().find(|toleration| toleration["key"] == taint);
        let seconds = toleration.and_then(|toleration| toleration["tolerationSeconds"].as_i64());
        assert_eq!(seconds, Some(30), "{taint}: {tolerations:?}");
    }
}

/// What the profile "restricted" of the Pod Security Standards asks for; the operator's own namespace enforces it.
#[test]
fn the_operator_is_restricted() {
    let pod = operator_pod();
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    for container in pod["containers"].as_array().expect("containers") {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
        assert_eq!(context["readOnlyRootFilesystem"], true);
    }
}

#[test]
fn samples_are_valid() {
    let mut sizes = Vec::new();
    for entry in fs::read_dir(root().join("manifests/samples")).expect("samples") {
        let path = entry.expect("a file").path();
        let text = fs::read_to_string(&path).expect("text");
        let sample: ZooKeeperEnsemble = serde_saphyr::from_str(&text).expect("an ensemble");
        validate_cel(&sample).unwrap_or_else(|errors| panic!("{}: {errors}", path.display()));
        sizes.push(sample.spec.replicas);
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 3, 5, 5, 15]);
}
