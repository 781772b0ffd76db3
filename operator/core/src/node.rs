//! What matters of a node: whether it may still run a pod that is to be gone.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::pod::PodFacts;

/// The taint by which a person vouches that a node is off (KEP-2268, non-graceful node shutdown).
pub(crate) const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// What matters of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// There is a node of this name.
    pub exists: bool,
    /// The condition `Ready`.
    pub ready: bool,
    /// It has the taint `node.kubernetes.io/out-of-service`.
    pub out_of_service: bool,
}

impl NodeFacts {
    /// What matters of a node; of one that does not exist when there is none.
    pub fn of(node: Option<&Node>) -> Self {
        let Some(node) = node else { return Self::default() };
        let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
        Self {
            exists: true,
            ready: conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True"),
            out_of_service: taints.into_iter().flatten().any(|taint| taint.key == OUT_OF_SERVICE),
        }
    }
}

/// The nodes that a pass has to know: those of pods whose end was due. Of others nothing is asked.
pub fn nodes_to_read(now: &Time, pods: &BTreeMap<i32, PodFacts>) -> BTreeSet<String> {
    pods.values().filter(|pod| pod.overdue_seconds(now).is_some()).filter_map(|pod| pod.node.clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_node_is_off_when_a_person_says_so() {
        let facts = |value: Value| {
            let node: Node = serde_json::from_value(value).expect("the case is a node");
            let facts = NodeFacts::of(Some(&node));
            assert!(facts.exists);
            (facts.ready, facts.out_of_service)
        };
        let condition = |status: &str| json!({ "conditions": [{ "type": "MemoryPressure", "status": "True" }, { "type": "Ready", "status": status }] });
        let taint = json!({ "taints": [{ "key": "node.kubernetes.io/out-of-service", "effect": "NoExecute" }] });
        assert_eq!(facts(json!({ "metadata": {} })), (false, false));
        assert_eq!(facts(json!({ "metadata": {}, "status": condition("True") })), (true, false));
        assert_eq!(facts(json!({ "metadata": {}, "status": condition("Unknown"), "spec": taint })), (false, true));
        let other = json!({ "taints": [{ "key": "node.kubernetes.io/unreachable", "effect": "NoExecute" }] });
        assert_eq!(facts(json!({ "metadata": {}, "status": condition("False"), "spec": other })), (false, false));
        assert!(!NodeFacts::of(None).exists);
    }

    #[test]
    fn only_nodes_of_pods_that_are_overdue_are_read() {
        let at = |text: &str| Time(text.parse().expect("a timestamp"));
        let pod = |node: &str, due: Option<&str>| PodFacts {
            node: Some(node.to_owned()),
            deleting: due.is_some(),
            deletion_due: due.map(at),
            ..PodFacts::default()
        };
        let pods = BTreeMap::from([
            (0, pod("stays", None)),
            (1, pod("in-grace", Some("2030-01-01T12:00:00Z"))),
            (2, pod("overdue", Some("2030-01-01T11:59:59Z"))),
        ]);
        let nodes = nodes_to_read(&at("2030-01-01T12:00:00Z"), &pods);
        assert_eq!(nodes.into_iter().collect::<Vec<_>>(), ["overdue"]);
    }
}
