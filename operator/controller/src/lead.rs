//! Looking after ensembles while the lease is held, and not a moment longer.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::controller::{Config, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use operator_api::names;
use serde::de::DeserializeOwned;

use crate::admin::Admin;
use crate::lease::{Election, RENEW_DEADLINE};
use crate::reconcile::{Context, Watched, on_error, reconcile};

/// Ensembles that are worked on at once.
const CONCURRENCY: u16 = 16;
/// How long further events of one ensemble are collected before it is looked at.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Why the work ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop. The passes under way were finished, and the lease was given away.
    Stopped,
    /// The lease is another's, or may be soon, for this reason. The passes under way were dropped where they were.
    Lost(String),
}

/// Waits for the lease, then looks after the ensembles of `namespace` (all namespaces when empty) until `stop` resolves
/// or the lease is lost.
pub async fn lead<A: Admin>(
    election: &Election,
    context: Arc<Context<A>>,
    namespace: &str,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Ended {
    let mut stop = Box::pin(stop);
    let held_from = tokio::select! {
        held_from = election.acquire() => held_from,
        () = &mut stop => return Ended::Stopped,
    };
    context.metrics.lease(true);
    tracing::info!("holding the lease");
    let work = controller(&context.client, namespace)
        .graceful_shutdown_on(stop_as_sync(stop))
        .run(reconcile, on_error, context.clone())
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "reconciling");
            }
        });
    // The first is asked first; dropping the second cancels the passes that it runs.
    tokio::select! {
        biased;
        reason = election.hold(held_from) => return Ended::Lost(reason),
        () = work => {}
    }
    tracing::info!("stopped; giving the lease away");
    match tokio::time::timeout(RENEW_DEADLINE, election.release()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the lease could not be given away"),
        Err(_) => tracing::warn!("no answer about the lease; it runs out by itself"),
    }
    Ended::Stopped
}

/// Watches ensembles, what the operator made for them, and their pods.
fn controller(client: &Client, namespace: &str) -> Controller<Watched> {
    let ours = || watcher::Config::default().labels(&format!("{}={}", names::MANAGED_BY_LABEL, names::MANAGER));
    Controller::new(api::<Watched>(client, namespace), watcher::Config::default())
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
        .owns(api::<StatefulSet>(client, namespace), ours())
        .owns(api::<Service>(client, namespace), ours())
        .owns(api::<ConfigMap>(client, namespace), ours())
        .owns(api::<ServiceAccount>(client, namespace), ours())
        .owns(api::<PodDisruptionBudget>(client, namespace), ours())
        .watches(api::<Pod>(client, namespace), ours(), |pod: Pod| {
            let ensemble = pod.labels().get(names::INSTANCE_LABEL)?;
            Some(ObjectRef::<Watched>::new(ensemble).within(&pod.namespace()?))
        })
}

fn api<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
{
    match namespace {
        "" => Api::all(client.clone()),
        namespace => Api::namespaced(client.clone(), namespace),
    }
}

/// The controller wants a future that can be shared; a channel is.
fn stop_as_sync(stop: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> + Send + Sync {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        stop.await;
        tracing::info!("told to stop; finishing the passes under way");
        // Nobody listens when the controller has ended by itself.
        let _ = sender.send(());
    });
    async move {
        let _ = receiver.await;
    }
}
