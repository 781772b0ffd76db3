//! The changes that a person asks for: each a merge patch of the resource, and a sentence on what comes of it. The operator does the rest.

use k8s_openapi::jiff::Timestamp;
use operator_api::{UpdateMode, ZooKeeperEnsemble, names};
use serde_json::{Value, json};

/// A change of the resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The merge patch.
    pub patch: Value,
    /// What comes of it.
    pub said: String,
}

/// A rolling restart: one for each new value of the annotation.
///
/// # Errors
///
/// Nothing runs that could be restarted.
pub fn restart(ensemble: &ZooKeeperEnsemble, now: Timestamp) -> Result<Change, String> {
    let name = ensemble.metadata.name.as_deref().unwrap_or_default();
    let spec = &ensemble.spec;
    if spec.is_hibernated() {
        return Err(format!(
            "{name} is hibernated: its servers are stopped already, and begin afresh when it is resumed"
        ));
    }
    let at = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let said = if spec.paused {
        "every server will be restarted once, when spec.paused is false again".to_owned()
    } else if spec.update_strategy.mode == UpdateMode::OnDelete {
        "updateStrategy.mode is OnDelete: each server is restarted when you delete its pod, and ConfigApplied says which is next".to_owned()
    } else {
        format!("every server is restarted once, one at a time, the leader last: kubectl zke status {name} --watch")
    };
    Ok(Change { patch: json!({ "metadata": { "annotations": { names::restarted_at_annotation(): at } } }), said })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ensemble(spec: Value) -> ZooKeeperEnsemble {
        serde_json::from_value(json!({
            "apiVersion": "zookeeper.ensemble.rs/v1alpha1", "kind": "ZooKeeperEnsemble", "metadata": { "name": "zk" }, "spec": spec,
        }))
        .expect("an ensemble")
    }

    fn now() -> Timestamp {
        "2030-01-01T12:00:00.5Z".parse().expect("a timestamp")
    }

    #[test]
    fn a_restart_is_one_annotation() {
        let change = restart(&ensemble(json!({})), now()).expect("it runs");
        let want =
            json!({ "metadata": { "annotations": { "zookeeper.ensemble.rs/restartedAt": "2030-01-01T12:00:00Z" } } });
        assert_eq!(change.patch, want);
        assert!(change.said.contains("the leader last"), "{}", change.said);
    }

    #[test]
    fn a_restart_says_what_it_waits_for() {
        let said = |spec: Value| restart(&ensemble(spec), now()).map(|change| change.said);
        assert!(said(json!({ "paused": true })).is_ok_and(|said| said.contains("spec.paused")));
        assert!(said(json!({ "updateStrategy": { "mode": "OnDelete" } })).is_ok_and(|said| said.contains("OnDelete")));
        assert!(said(json!({ "replicas": 0 })).is_err_and(|why| why.contains("hibernated")));
    }
}
