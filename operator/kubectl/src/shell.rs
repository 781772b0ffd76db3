//! A ZooKeeper shell on an ensemble: the user's own `zkCli.sh`, on a local port that leads to a server that serves.
//!
//! The image has no shell and no client, so there is nothing to `kubectl exec`. Each connection to the local port goes to a pod that is
//! ready when it is made: a client that loses its server connects again and gets another, with its session.

use std::process::Stdio;

use anyhow::{Context as _, Result, anyhow, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use operator_api::names;
use operator_core::PodFacts;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::cluster::Cluster;
use crate::fault::{Attempt, explain, innermost};

/// Forwards a local port (any free one for 0) and runs the client on it; without a client it only forwards, until it is interrupted.
///
/// # Errors
///
/// No server is ready, the port is taken, or the client cannot be run.
pub async fn shell(cluster: &Cluster, name: &str, client: Option<&str>, port: u16) -> Result<()> {
    cluster.ensemble(name).await?;
    ready_pod(cluster, name).await?;
    let listener =
        TcpListener::bind(("127.0.0.1", port)).await.with_context(|| format!("port {port} cannot be listened on"))?;
    let address = listener.local_addr().context("a listener has an address")?;
    let serve = serve(cluster, name, listener);
    let Some(client) = client else {
        eprintln!("{address} leads to {name} until you press Ctrl-C: zkCli.sh -server {address}");
        return tokio::select! {
            () = serve => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted.context("Ctrl-C cannot be waited for"),
        };
    };
    let mut command = Command::new(client);
    command.arg("-server").arg(address.to_string()).stdin(Stdio::inherit()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => anyhow!(
            "{client} is not on your PATH: install ZooKeeper's, name another with --client, or use --forward-only and connect to the port"
        ),
        _ => anyhow!("{client} cannot be run: {error}"),
    })?;
    tokio::select! {
        () = serve => Ok(()),
        ended = child.wait() => {
            let status = ended.with_context(|| format!("{client} cannot be waited for"))?;
            if status.success() { Ok(()) } else { bail!("{client} ended with {status}") }
        }
    }
}

/// Forwards every connection, for ever.
async fn serve(cluster: &Cluster, name: &str, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (cluster, name) = (cluster.clone(), name.to_owned());
                tokio::spawn(async move {
                    if let Err(error) = forward(&cluster, &name, stream).await {
                        eprintln!("a connection to {name} ended: {error:#}");
                    }
                });
            }
            Err(error) => eprintln!("a connection was not accepted: {error}"),
        }
    }
}

async fn forward(cluster: &Cluster, name: &str, mut local: TcpStream) -> Result<()> {
    let port = u16::try_from(names::CLIENT_PORT).expect("a port");
    let pod = ready_pod(cluster, name).await?;
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), &cluster.namespace);
    let forwarded = pods.portforward(&pod, &[port]).await;
    let mut forwarder = forwarded.map_err(|error| {
        anyhow!(explain(&error, &Attempt::core("get", "pods/portforward", &cluster.namespace, &pod)))
    })?;
    let mut remote = forwarder.take_stream(port).expect("asked for just above, and taken once");
    tokio::io::copy_bidirectional(&mut local, &mut remote).await.map_err(|error| anyhow!(innermost(&error)))?;
    Ok(())
}

/// A pod that is ready: it serves clients.
async fn ready_pod(cluster: &Cluster, name: &str) -> Result<String> {
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), &cluster.namespace);
    let listed = pods.list(&ListParams::default().labels(&names::selector(name))).await;
    let list =
        listed.map_err(|error| anyhow!(explain(&error, &Attempt::core("list", "pods", &cluster.namespace, ""))))?;
    let ready = |pod: &Pod| PodFacts::of(name, pod).filter(|(_, facts)| facts.ready && !facts.deleting);
    let pod = list.items.iter().find_map(ready);
    pod.map(|(_, facts)| facts.name)
        .with_context(|| format!("no server of {name} serves clients now: kubectl zke status {name}"))
}
