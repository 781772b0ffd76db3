//! Where a Prometheus scrapes. Members that are not ready are published: their figures matter most.

use operator_api::names;
use serde_json::{Value, json};

pub(super) fn body(name: &str) -> Value {
    json!({
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "selector": names::selector_labels(name),
            "ports": [{ "name": "metrics", "port": names::METRICS_PORT, "targetPort": "metrics", "protocol": "TCP" }],
        },
    })
}
