//! Reads what a screen is made of. Only the resource must be readable: what else is forbidden is said on the screen.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use futures::future::join_all;
use futures::join;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use operator_api::names;
use operator_core::PodFacts;
use serde::de::DeserializeOwned;

use crate::cluster::{Cluster, typed};
use crate::fault::{Attempt, explain};
use crate::forward::{self, Silence};
use crate::list::Entry;
use crate::seen::{Answer, Seen};

/// The most events that are read of one object.
const EVENTS_READ_MAX: u32 = 500;

/// Reads one ensemble.
///
/// # Errors
///
/// The resource cannot be read.
pub async fn seen(cluster: &Cluster, name: &str) -> Result<Seen> {
    let mut seen = Seen::of(Timestamp::now(), cluster.ensemble(name).await?);
    let (pods, claims) = join!(
        children::<Pod>(cluster, name, "pods"),
        children::<PersistentVolumeClaim>(cluster, name, "persistentvolumeclaims")
    );
    seen.pods = known(pods, "the pods", &mut seen.unread);
    seen.claims = known(claims, "the volume claims", &mut seen.unread);
    let (answers, events) = join!(answers(cluster, &seen), events(cluster, &seen));
    match answers {
        Ok(answers) => seen.answers = answers,
        Err(why) => seen.unread.push(format!("what the servers say of themselves, and how far each is behind: {why}")),
    }
    seen.events = known(events, "the last events", &mut seen.unread);
    Ok(seen)
}

/// Reads all ensembles of a namespace, or of all namespaces.
///
/// # Errors
///
/// They cannot be listed.
pub async fn all(cluster: &Cluster, all_namespaces: bool) -> Result<Vec<Entry>> {
    let namespace = if all_namespaces { "" } else { cluster.namespace.as_str() };
    let listed = cluster.ensembles(all_namespaces).list(&ListParams::default()).await;
    let list = listed.map_err(|error| anyhow!(explain(&error, &Attempt::ensemble("list", namespace, ""))))?;
    Ok(list
        .into_iter()
        .map(|live| {
            let (namespace, name) = (live.namespace().unwrap_or_default(), live.name_any());
            typed(live).map(Box::new).map_err(|fault| (namespace, name, fault))
        })
        .collect())
}

/// What was read, or none of it and a sentence that says so.
fn known<T>(read: Result<Vec<T>, String>, what: &str, unread: &mut Vec<String>) -> Vec<T> {
    read.unwrap_or_else(|why| {
        unread.push(format!("{what}: {why}"));
        Vec::new()
    })
}

async fn children<K>(cluster: &Cluster, name: &str, plural: &str) -> Result<Vec<K>, String>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api = Api::<K>::namespaced(cluster.client.clone(), &cluster.namespace);
    let list = api.list(&ListParams::default().labels(&names::selector(name))).await;
    list.map(|list| list.items).map_err(|error| explain(&error, &Attempt::core("list", plural, &cluster.namespace, "")))
}

/// What each server with an address says of itself.
async fn answers(cluster: &Cluster, seen: &Seen) -> Result<BTreeMap<i32, Result<Answer, String>>, String> {
    let addressed = |pod: &Pod| PodFacts::of(seen.name(), pod).filter(|(_, facts)| facts.ip.is_some());
    let asked = seen.pods.iter().filter_map(addressed);
    let all = asked.map(|(ordinal, facts)| async move { (ordinal, forward::status(cluster, &facts.name).await) });
    let mut answers = BTreeMap::new();
    for (ordinal, answer) in join_all(all).await {
        let answer = match answer {
            Ok(answer) => Ok(answer),
            Err(Silence::Failed(why)) => Err(why),
            Err(Silence::Forbidden) => return Err(forbidden_to_forward(&cluster.namespace)),
        };
        answers.insert(ordinal, answer);
    }
    Ok(answers)
}

/// What to ask for when ports may not be forwarded.
pub fn forbidden_to_forward(namespace: &str) -> String {
    format!(
        "you may not forward ports of pods in namespace {namespace}: ask for a Role with apiGroups [\"\"], resources \
         [\"pods/portforward\"], verbs [\"get\", \"create\"]"
    )
}

/// The events of the resource, and the warnings about each pod and claim that is not well.
async fn events(cluster: &Cluster, seen: &Seen) -> Result<Vec<Event>, String> {
    let of_pods = seen.pods().into_values().filter(|(facts, _)| !facts.ready).map(|(facts, _)| ("Pod", facts.name));
    let unbound = |claim: &&PersistentVolumeClaim| {
        claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound")
    };
    let of_claims = seen.claims.iter().filter(unbound).map(|claim| ("PersistentVolumeClaim", claim.name_any()));
    let api = Api::<Event>::namespaced(cluster.client.clone(), &cluster.namespace);
    let ask = |kind: &str, name: &str, and: &str| {
        let fields = format!("involvedObject.kind={kind},involvedObject.name={name}{and}");
        let api = api.clone();
        async move { api.list(&ListParams::default().fields(&fields).limit(EVENTS_READ_MAX)).await }
    };
    let own = ask("ZooKeeperEnsemble", seen.name(), "");
    let others = of_pods.chain(of_claims).map(|(kind, name)| ask(kind, &name, ",type=Warning")).collect::<Vec<_>>();
    let (own, others) = join!(own, join_all(others));
    let mut events = Vec::new();
    for list in others.into_iter().chain([own]) {
        let attempt = Attempt::core("list", "events", &cluster.namespace, "");
        events.extend(list.map_err(|error| explain(&error, &attempt))?.items);
    }
    Ok(events)
}
