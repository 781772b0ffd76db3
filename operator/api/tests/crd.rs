//! The schema itself: its size, its limits, its names.

use kube::CustomResourceExt;
use operator_api::ZooKeeperEnsemble;
use serde_json::{Value, json};

/// Bytes of the CRD as JSON. `kubectl apply` keeps a copy in an annotation of at most 256 KiB; ours stays far below.
const CRD_BYTES_MAX: usize = 100 * 1024;

fn crd() -> Value {
    serde_json::to_value(ZooKeeperEnsemble::crd()).expect("a CRD is JSON")
}

fn schema() -> Value {
    crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn crd_is_small() {
    let bytes = crd().to_string().len();
    assert!(bytes <= CRD_BYTES_MAX, "the CRD has {bytes} bytes");
}

#[test]
fn crd_is_called_zke() {
    let names = &crd()["spec"]["names"];
    assert_eq!(
        *names,
        json!({
            "kind": "ZooKeeperEnsemble", "plural": "zookeeperensembles", "singular": "zookeeperensemble",
            "shortNames": ["zke"], "categories": ["zookeeper"],
        })
    );
    let subresources = &crd()["spec"]["versions"][0]["subresources"];
    assert_eq!(subresources["scale"]["labelSelectorPath"], ".status.selector");
    assert!(subresources["status"].is_object());
}

/// A rule over something without a limit is refused by the API server when the CRD is applied.
#[test]
fn everything_in_the_spec_has_a_limit() {
    let mut unlimited = Vec::new();
    walk("spec", &schema()["properties"]["spec"], &mut |path, node| {
        // Kubernetes' own type; no rule of ours looks into it.
        if path.starts_with("spec.scheduling.tolerations.") {
            return;
        }
        let limited = match node["type"].as_str() {
            Some("array") => node["maxItems"].is_u64(),
            Some("string") => node["maxLength"].is_u64() || node["enum"].is_array(),
            Some("integer") => node["maximum"].is_number() || path == "spec.replicas",
            Some("object") => node["properties"].is_object() || node["maxProperties"].is_u64(),
            Some("boolean") => true,
            _ => false,
        };
        if !limited {
            unlimited.push(path.to_owned());
        }
    });
    assert_eq!(unlimited, Vec::<String>::new());
}

#[test]
fn every_field_is_described() {
    let mut silent = Vec::new();
    walk("spec", &schema()["properties"]["spec"], &mut |path, node| {
        if node["description"].is_null() && !path.ends_with(".*") {
            silent.push(path.to_owned());
        }
    });
    assert_eq!(silent, Vec::<String>::new());
}

/// What the schema fills in for an empty spec is what [`Default`] says.
#[test]
fn defaults_of_the_schema_are_the_defaults_of_the_type() {
    let mut filled = json!({});
    fill(&schema()["properties"]["spec"], &mut filled);
    let spec: operator_api::ZooKeeperEnsembleSpec =
        serde_json::from_value(filled.clone()).expect("defaults fit the type");
    assert_eq!(spec, operator_api::ZooKeeperEnsembleSpec::default());
    assert_eq!(filled["replicas"], 3);
    assert_eq!(filled["storage"]["txnLog"]["enabled"], true);
}

/// Visits every property and every element below `node`.
fn walk(path: &str, node: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    visit(path, node);
    for (name, child) in node["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), child, visit);
    }
    for (key, suffix) in [("items", "*"), ("additionalProperties", "*")] {
        if node[key].is_object() {
            walk(&format!("{path}.{suffix}"), &node[key], visit);
        }
    }
}

/// Kubernetes' structural defaulting: absent properties take their default, then are filled themselves.
fn fill(schema: &Value, value: &mut Value) {
    let (Some(properties), Some(object)) = (schema["properties"].as_object(), value.as_object_mut()) else { return };
    for (name, child) in properties {
        if !object.contains_key(name) && !child["default"].is_null() {
            object.insert(name.clone(), child["default"].clone());
        }
        if let Some(inner) = object.get_mut(name) {
            fill(child, inner);
        }
    }
}
