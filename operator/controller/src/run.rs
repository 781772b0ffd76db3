//! `operator run`: takes the lease, watches, reconciles, and stops in order.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::controller::{Config, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use operator_api::names;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::admin::HttpAdmin;
use crate::failpoint::Failpoint;
use crate::http;
use crate::lease::Election;
use crate::metrics::Metrics;
use crate::reconcile::{Context, Watched, on_error, reconcile};

/// Ensembles that are worked on at once.
const CONCURRENCY: u16 = 16;
/// How long further events of one ensemble are collected before it is looked at.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// The name of the lease.
const LEASE: &str = "zookeeper-ensemble-operator";
/// The exit code of a process that lost its lease.
const EXIT_LEASE_LOST: i32 = 3;

/// Options of `operator run`. Each is a variable of the environment, so that a Deployment can set it.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The namespace to look after; all of them when empty.
    #[arg(long, env = "WATCH_NAMESPACE", default_value = "")]
    pub watch_namespace: String,
    /// The image that servers run when a spec names none.
    #[arg(long, env = "OPERATOR_IMAGE", default_value = "zookeeper-ensemble:dev")]
    pub image: String,
    /// The port of /metrics, /livez and /readyz.
    #[arg(long, env = "OPERATOR_PORT", default_value_t = 8080)]
    pub port: u16,
    /// The namespace of the lease; the one that the client is configured for when empty.
    #[arg(long, env = "POD_NAMESPACE", default_value = "")]
    pub lease_namespace: String,
    /// The name of this process in the lease and in events.
    #[arg(long, env = "POD_NAME", default_value = "operator")]
    pub name: String,
}

/// Runs until it is told to stop.
///
/// # Errors
///
/// No cluster to talk to, a port that is taken, a failpoint that does not exist.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let failpoint = Failpoint::from_environment().map_err(anyhow::Error::msg)?;
    let metrics = Metrics::default();
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, options.port));
    let listener = listen(address).await.with_context(|| format!("port {} cannot be listened on", options.port))?;
    tokio::spawn(http::serve(listener, metrics.clone()));

    let client = Client::try_default().await.context("no cluster is configured")?;
    let lease_namespace = match options.lease_namespace.as_str() {
        "" => client.default_namespace().to_owned(),
        namespace => namespace.to_owned(),
    };
    let election = Arc::new(Election::new(client.clone(), &lease_namespace, LEASE, &options.name));
    let mut stop = Box::pin(stop_signal()?);
    tracing::info!(lease = LEASE, namespace = lease_namespace, name = options.name, "waiting for the lease");
    tokio::select! {
        () = election.acquire() => {}
        () = &mut stop => return Ok(()),
    }
    metrics.lease(true);
    tracing::info!("holding the lease");
    let holder = election.clone();
    tokio::spawn(async move {
        let reason = holder.hold().await;
        // At once: another may begin any moment. Nothing is flushed, nothing is waited for.
        tracing::error!(reason, "the lease is lost, ending the process");
        std::process::exit(EXIT_LEASE_LOST);
    });

    let context = Arc::new(Context {
        client: client.clone(),
        admin: HttpAdmin,
        recorder: Recorder::new(
            client.clone(),
            Reporter { controller: names::MANAGER.to_owned(), instance: Some(options.name.clone()) },
        ),
        default_image: options.image.clone(),
        metrics: metrics.clone(),
        failpoint,
    });
    controller(&client, &options.watch_namespace)
        .graceful_shutdown_on(stop_as_sync(stop))
        .run(reconcile, on_error, context)
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "reconciling");
            }
        })
        .await;
    tracing::info!("stopped; giving the lease away");
    if let Err(error) = election.release().await {
        tracing::warn!(%error, "the lease could not be given away");
    }
    Ok(())
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

/// Both stacks where there is IPv6, and IPv4 alone where there is not.
async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(error),
        Err(_) => TcpListener::bind(("0.0.0.0", address.port())).await,
    }
}

/// Resolves when the process is told to stop.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
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
