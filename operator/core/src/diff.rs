//! Whether an object that exists is what we would apply. Skipping an apply that changes nothing keeps an ensemble at
//! rest free of writes.

use operator_api::names;
use serde_json::Value;

use crate::step::Object;

/// Whether applying `object` over `live` would change nothing.
///
/// Both are needed: the hash tells when a field is no longer wanted, the comparison when somebody else changed one.
pub(crate) fn is_applied(object: &Object, live: &Value) -> bool {
    let hash = |manifest: &Value| manifest["metadata"]["annotations"][names::applied_hash_annotation()].clone();
    hash(&object.manifest) == hash(live) && covers(live, &object.manifest)
}

/// Whether `live` has everything that `wanted` has. The API server adds defaults, so more is allowed in maps, never in
/// lists.
fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| covers(live.get(key).unwrap_or(&Value::Null), value))
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| covers(live, wanted))
        }
        // The API server drops what is empty.
        (Value::Null, Value::Object(wanted)) => wanted.values().all(|value| covers(&Value::Null, value)),
        (Value::Null, Value::Array(wanted)) => wanted.is_empty(),
        (Value::String(live), Value::String(wanted)) => live == wanted || same_quantity(live, wanted),
        (live, wanted) => live == wanted,
    }
}

/// Whether two texts are one quantity: the API server writes `1` for `1000m` and `1Gi` for `1024Mi`.
fn same_quantity(a: &str, b: &str) -> bool {
    matches!((quantity(a), quantity(b)), (Some(a), Some(b)) if (a - b).abs() <= 1e-9 * a.abs().max(b.abs()))
}

/// A Kubernetes quantity as a number; none when the text is none.
pub(crate) fn quantity(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let factor = match suffix {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        exponent => 10f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn covers_ignores_defaults_and_sees_drift() {
        let cases = [
            (json!({ "a": 1, "default": true }), json!({ "a": 1 }), true),
            (json!({ "a": 2 }), json!({ "a": 1 }), false),
            (json!({}), json!({ "a": 1 }), false),
            (json!({}), json!({ "a": {}, "b": [], "c": { "d": {} } }), true),
            (json!({ "a": [1, 2] }), json!({ "a": [1] }), false),
            (json!({ "a": [{ "b": 1, "default": true }] }), json!({ "a": [{ "b": 1 }] }), true),
            (json!({ "cpu": "1", "memory": "1Gi" }), json!({ "cpu": "1000m", "memory": "1024Mi" }), true),
            (json!({ "memory": "1Gi" }), json!({ "memory": "1G" }), false),
            (json!({ "cpu": "1" }), json!({ "cpu": "1e0" }), true),
            (json!({ "x": "yes" }), json!({ "x": "no" }), false),
        ];
        for (live, wanted, want) in cases {
            assert_eq!(covers(&live, &wanted), want, "{live} covers {wanted}");
        }
    }
}
