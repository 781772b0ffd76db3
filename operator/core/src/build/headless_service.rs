//! The DNS names of the pods. Members that are not ready are published: a server must find its peers to become ready.

use operator_api::names;
use serde_json::{Value, json};

pub(super) fn body(name: &str) -> Value {
    json!({
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "selector": names::selector_labels(name),
            "ports": [
                { "name": "client", "port": names::CLIENT_PORT, "targetPort": "client", "protocol": "TCP" },
                { "name": "quorum", "port": names::QUORUM_PORT, "targetPort": "quorum", "protocol": "TCP" },
                { "name": "election", "port": names::ELECTION_PORT, "targetPort": "election", "protocol": "TCP" },
            ],
        },
    })
}
