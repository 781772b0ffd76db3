//! The reference of the resource for people: every field of the spec and the status, from the schema that the API server checks.

use std::fmt::Write;

use kube::CustomResourceExt;
use operator_api::ZooKeeperEnsemble;
use serde_json::Value;

/// `docs/crd.md`.
pub fn reference() -> String {
    let crd = serde_json::to_value(ZooKeeperEnsemble::crd()).expect("a CRD is JSON");
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let mut text = String::from(
        "<!-- Printed by `operator reference`. Do not edit. -->\n\
         # ZooKeeperEnsemble\n\n\
         `apiVersion: zookeeper.ensemble.rs/v1alpha1`, short name `zke`. `kubectl explain zke.spec` says the same on a cluster. What is not allowed is refused \
         by the API server, with what to write instead.\n",
    );
    for (heading, part) in [("spec", "spec"), ("status", "status")] {
        text += &format!("\n## {heading}\n\n| Field | Type | Default | Meaning |\n|---|---|---|---|\n");
        fields(&mut text, "", &schema[part]);
    }
    text
}

/// A row for each field of an object, and rows for the fields of it.
fn fields(text: &mut String, path: &str, schema: &Value) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let default = match &field["default"] {
            Value::Null if required.contains(&name.as_str()) => "required".to_owned(),
            // The defaults of its fields, which have rows of their own.
            Value::Null | Value::Object(_) => String::new(),
            value => format!("`{value}`"),
        };
        let meaning = field["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        writeln!(text, "| `{path}` | {} | {default} | {meaning} |", kind(field)).expect("a String takes everything");
        match field["type"].as_str() {
            Some("array") => fields(text, &format!("{path}[]"), &field["items"]),
            _ => fields(text, &path, field),
        }
    }
}

/// The type in a few words, with its bounds.
fn kind(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        return values.join(", ");
    }
    let bounds = match (&schema["minimum"], &schema["maximum"]) {
        (Value::Null, Value::Null) => String::new(),
        (least, Value::Null) => format!(" from {}", whole(least)),
        (Value::Null, most) => format!(" to {}", whole(most)),
        (least, most) => format!(" {} to {}", whole(least), whole(most)),
    };
    let base = match schema["type"].as_str() {
        Some("array") => format!("list of {}", kind(&schema["items"])),
        Some("object") if schema["additionalProperties"].is_object() => {
            format!("map of {}", kind(&schema["additionalProperties"]))
        }
        Some(other) => other.to_owned(),
        None => "any".to_owned(),
    };
    format!("{base}{bounds}")
}

/// A bound; in a schema it is written with a fraction.
fn whole(bound: &Value) -> String {
    bound.as_f64().map_or_else(|| bound.to_string(), |number| number.to_string())
}
