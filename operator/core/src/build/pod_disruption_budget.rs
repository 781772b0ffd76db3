//! How many members a drain may take at once: one, so that a quorum stays.
//!
//! A pod that is not ready holds up no drain when its volume is persistent: an evicted member keeps its disk. With
//! ephemeral volumes an eviction destroys data, and after a loss of quorum, when no pod is ready, every pod could be
//! evicted; there only a healthy budget allows it.

use operator_api::{StorageType, names};
use serde_json::{Value, json};

use crate::validate::ValidEnsemble;

pub(super) fn body(ensemble: &ValidEnsemble) -> Value {
    let unhealthy = match ensemble.spec.storage.type_ {
        StorageType::Persistent => "AlwaysAllow",
        StorageType::Ephemeral => "IfHealthyBudget",
    };
    json!({
        "spec": {
            "maxUnavailable": 1,
            "selector": { "matchLabels": names::selector_labels(&ensemble.name) },
            "unhealthyPodEvictionPolicy": unhealthy,
        },
    })
}
