//! Where clients connect. Only members that serve are behind it: readiness is being in a quorum.

use operator_api::names;
use serde_json::{Value, json};

pub(super) fn body(name: &str) -> Value {
    json!({
        "spec": {
            "type": "ClusterIP",
            "selector": names::selector_labels(name),
            "ports": [{ "name": "client", "port": names::CLIENT_PORT, "targetPort": "client", "protocol": "TCP" }],
        },
    })
}
