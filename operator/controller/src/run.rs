//! `operator run`: options, ports, the client and the signals around [`lead`].

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use operator_api::names;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::admin::HttpAdmin;
use crate::failpoint::Failpoint;
use crate::http;
use crate::lead::{Ended, lead};
use crate::lease::Election;
use crate::metrics::Metrics;
use crate::reconcile::Context;

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
    /// The name of this process in the lease and in events. No two processes may share one: a process that finds its own
    /// name in the lease takes it for its own from before a restart. Drawn at random when empty.
    #[arg(long, env = "POD_NAME", default_value = "")]
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
    let name = match options.name.as_str() {
        "" => format!("operator-{}", uuid::Uuid::new_v4().simple()),
        name => name.to_owned(),
    };
    let election = Election::new(client.clone(), &lease_namespace, LEASE, &name);
    let context = Arc::new(Context {
        client: client.clone(),
        admin: HttpAdmin,
        recorder: Recorder::new(
            client,
            Reporter { controller: names::MANAGER.to_owned(), instance: Some(name.clone()) },
        ),
        default_image: options.image.clone(),
        metrics,
        failpoint,
    });
    let stop = stop_signal()?;
    tracing::info!(lease = LEASE, namespace = lease_namespace, name, "waiting for the lease");
    match lead(&election, context, &options.watch_namespace, stop).await {
        Ended::Stopped => Ok(()),
        Ended::Lost(reason) => {
            // At once: another may begin any moment. Nothing is flushed, nothing is waited for.
            tracing::error!(reason, "the lease is lost, ending the process");
            std::process::exit(EXIT_LEASE_LOST);
        }
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
