//! What the API server answers at one moment: `operator-controller`'s `observe.rs`.

use crate::cluster::{CLASS, Cluster, NAME, time};
use operator_core::{Identity, Kind, Observed, PodFacts, TokenState, nodes_to_read};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Reads everything but the members.
pub(crate) fn observe(cluster: &Cluster, now: Duration, fresh: Identity) -> Observed {
    let object = |((kind, _), live): (&(Kind, String), &Value)| {
        let mut live = live.clone();
        live["kind"] = kind.as_str().into();
        live
    };
    let now = time(now);
    let pods: BTreeMap<i32, PodFacts> =
        cluster.pods.iter().map(|(ordinal, pod)| (*ordinal, pod.facts.clone())).collect();
    let node = |name: String| (cluster.nodes.get(&name).cloned().unwrap_or_default(), name);
    let nodes = nodes_to_read(&now, &pods).into_iter().map(node).map(|(facts, name)| (name, facts)).collect();
    Observed {
        now,
        ensemble: cluster.ensemble.clone(),
        default_image: format!("{NAME}:1"),
        fresh,
        objects: cluster.objects.iter().map(object).collect(),
        unusable: BTreeMap::new(),
        token: cluster.token.clone().map_or(TokenState::Absent, TokenState::Present),
        pods,
        claims: cluster.claims.values().cloned().collect(),
        nodes,
        classes: BTreeMap::from([(CLASS.to_owned(), cluster.is_expandable)]),
        members: BTreeMap::new(),
    }
}
