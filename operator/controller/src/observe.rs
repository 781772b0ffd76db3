//! Reads everything that a pass is planned from.
//!
//! Everything is read live and at once. That costs a dozen small reads a pass; a cache would be cheaper and could show
//! an ensemble that is no more. The members are asked at the same time, each within the time of
//! [`ANSWER_TIMEOUT`](crate::admin::ANSWER_TIMEOUT).

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join_all, try_join_all};
use futures::{join, try_join};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use operator_api::{ZooKeeperEnsemble, names};
use operator_core::{
    Claim, Identity, Kind, MemberStatus, NodeFacts, Observed, PodFacts, Token, TokenState, build, is_looked_at,
    is_to_grow, nodes_to_read,
};
use serde_json::Value;

use crate::admin::Admin;

/// Reads the children of an ensemble and asks its members.
///
/// # Errors
///
/// Any read of the API server that fails. A member that does not answer is no error but an observation.
pub async fn observe<A: Admin>(
    client: &Client,
    admin: &A,
    default_image: &str,
    ensemble: ZooKeeperEnsemble,
) -> Result<Observed, kube::Error> {
    let name = ensemble.metadata.name.clone().unwrap_or_default();
    let namespace = ensemble.metadata.namespace.clone().unwrap_or_default();
    let (objects, monitoring, token, pods, claims) = try_join!(
        objects(client, &namespace, &name),
        monitoring(client, &namespace, &ensemble),
        token(client, &namespace, &name),
        pods(client, &namespace, &name),
        claims(client, &namespace, &name),
    )?;
    let now = Time(Timestamp::now());
    let (nodes, members, classes) = join!(
        nodes(client, nodes_to_read(&now, &pods)),
        members(admin, &pods),
        classes(client, &name, &ensemble, &claims)
    );
    let (monitoring, unusable) = monitoring;
    Ok(Observed {
        now,
        ensemble,
        default_image: default_image.to_owned(),
        fresh: fresh(),
        objects: [objects, monitoring].concat(),
        unusable,
        token,
        pods,
        claims,
        nodes: nodes?,
        classes: classes?,
        members,
    })
}

/// Random values for what is made for the first time.
fn fresh() -> Identity {
    let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    Identity { ensemble_id: uuid::Uuid::new_v4().to_string(), token: Token(token) }
}

/// The API of one of our kinds.
pub(crate) fn api(client: &Client, namespace: &str, kind: Kind) -> Api<DynamicObject> {
    let (group, version) = kind.api_version().split_once('/').unwrap_or(("", kind.api_version()));
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind.as_str()), kind.plural());
    Api::namespaced_with(client.clone(), namespace, &resource)
}

async fn objects(client: &Client, namespace: &str, name: &str) -> Result<Vec<Value>, kube::Error> {
    let wanted = [
        (Kind::ServiceAccount, names::stateful_set(name)),
        (Kind::ConfigMap, names::config_map(name)),
        (Kind::ConfigMap, names::discovery(name)),
        (Kind::Service, names::headless_service(name)),
        (Kind::Service, names::client_service(name)),
        (Kind::Service, names::metrics_service(name)),
        (Kind::PodDisruptionBudget, names::stateful_set(name)),
        (Kind::StatefulSet, names::stateful_set(name)),
    ];
    let reads = wanted.into_iter().map(|(kind, object)| async move {
        let live = api(client, namespace, kind).get_opt(&object).await?;
        Ok::<_, kube::Error>(live.map(|live| as_value(kind, &live)))
    });
    Ok(try_join_all(reads).await?.into_iter().flatten().collect())
}

/// An object as it stands, with its `kind`.
fn as_value(kind: Kind, live: &DynamicObject) -> Value {
    let mut value = serde_json::to_value(live).expect("what came as JSON is JSON");
    value["kind"] = kind.as_str().into();
    value
}

/// The objects of `spec.monitoring`, where it asks for some or did, and the kinds that this cluster does not have or this operator may not
/// read, which is no reason to leave an ensemble alone.
async fn monitoring(
    client: &Client,
    namespace: &str,
    ensemble: &ZooKeeperEnsemble,
) -> Result<(Vec<Value>, BTreeMap<Kind, String>), kube::Error> {
    let name = ensemble.metadata.name.as_deref().unwrap_or_default();
    let looked_at = is_looked_at(ensemble).then(|| build::every_monitoring(name)).into_iter().flatten();
    let (mut objects, mut unusable) = (Vec::new(), BTreeMap::new());
    for (kind, name) in looked_at {
        match api(client, namespace, kind).get(&name).await {
            Ok(live) => objects.push(as_value(kind, &live)),
            Err(kube::Error::Api(status)) if status.code == 404 && status.reason == "NotFound" => {}
            // Of a kind that it does not know the API server says so in plain text.
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let why = format!(
                    "this cluster has no {} ({}); install the Prometheus operator, or do not ask for it",
                    kind.as_str(),
                    kind.api_version()
                );
                unusable.insert(kind, why);
            }
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                unusable.insert(kind, format!("the operator may not read it: {}", status.message));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((objects, unusable))
}

async fn token(client: &Client, namespace: &str, name: &str) -> Result<TokenState, kube::Error> {
    let secret = names::superuser_secret(name);
    let Some(live) = Api::<Secret>::namespaced(client.clone(), namespace).get_opt(&secret).await? else {
        return Ok(TokenState::Absent);
    };
    let Some(bytes) = live.data.as_ref().and_then(|data| data.get(names::TOKEN_KEY)) else {
        return Ok(TokenState::Unusable(format!("Secret {secret} has no key {}", names::TOKEN_KEY)));
    };
    // A server compares the file with what follows "Bearer ", so white space around it must not count.
    let text = std::str::from_utf8(&bytes.0).map(str::trim).unwrap_or_default();
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic()) {
        return Ok(TokenState::Unusable(format!(
            "key {} of Secret {secret} is empty, or holds more than printable ASCII without spaces",
            names::TOKEN_KEY
        )));
    }
    Ok(TokenState::Present(Token(text.to_owned())))
}

/// Our pods by our selector only: a pod of a template that we have not applied yet is still ours.
async fn pods(client: &Client, namespace: &str, name: &str) -> Result<BTreeMap<i32, PodFacts>, kube::Error> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let list = pods.list(&ListParams::default().labels(&names::selector(name))).await?;
    Ok(list.iter().filter_map(|pod| PodFacts::of(&names::stateful_set(name), pod)).collect())
}

async fn claims(client: &Client, namespace: &str, name: &str) -> Result<Vec<Claim>, kube::Error> {
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace);
    let list = claims.list(&ListParams::default().labels(&names::selector(name))).await?;
    Ok(list.iter().map(Claim::of).collect())
}

/// The nodes of pods whose end was due, and no others. Where the right to read them was not granted nothing is known of them, and
/// nothing is forced.
async fn nodes(client: &Client, names: BTreeSet<String>) -> Result<BTreeMap<String, NodeFacts>, kube::Error> {
    let nodes = Api::<Node>::all(client.clone());
    let reads = names.into_iter().map(|name| {
        let nodes = nodes.clone();
        async move {
            match nodes.get_opt(&name).await {
                Ok(live) => Ok(Some((name, NodeFacts::of(live.as_ref())))),
                Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
                Err(error) => Err(error),
            }
        }
    });
    Ok(try_join_all(reads).await?.into_iter().flatten().collect())
}

/// Whether the classes of the claims that are to grow allow it. A class that does not exist is left out.
async fn classes(
    client: &Client,
    name: &str,
    ensemble: &ZooKeeperEnsemble,
    claims: &[Claim],
) -> Result<BTreeMap<String, bool>, kube::Error> {
    let small = claims.iter().filter(|claim| is_to_grow(name, &ensemble.spec, claim));
    let wanted: BTreeSet<&str> = small.filter_map(|claim| claim.class.as_deref()).filter(|c| !c.is_empty()).collect();
    let api = Api::<StorageClass>::all(client.clone());
    let mut classes = BTreeMap::new();
    for class in wanted {
        if let Some(live) = api.get_opt(class).await? {
            classes.insert(class.to_owned(), live.allow_volume_expansion == Some(true));
        }
    }
    Ok(classes)
}

async fn members<A: Admin>(admin: &A, pods: &BTreeMap<i32, PodFacts>) -> BTreeMap<i32, Result<MemberStatus, String>> {
    let asked = pods.iter().filter_map(|(ordinal, pod)| Some((*ordinal, pod.ip.clone()?)));
    let answers = asked.map(|(ordinal, ip)| async move { (ordinal, admin.status(&ip).await) });
    join_all(answers).await.into_iter().collect()
}
