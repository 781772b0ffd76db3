//! A ZooKeeper shell on an ensemble: the user's own `zk` or `zkCli.sh`, on a local port that leads to a server that serves.
//!
//! The image has `zk` for a `kubectl exec`, which ends with its pod. Here each connection to the local port goes to a pod that is ready when it is
//! made: a client that loses its server connects again and gets another, with its session.

use std::process::Stdio;

use anyhow::{Context as _, Result, anyhow, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use operator_api::names;
use operator_core::PodFacts;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::cluster::Cluster;
use crate::fault::{Attempt, explain, innermost};

/// What is looked for on the PATH, in this order. All take `-server`.
pub const CLIENTS: &[&str] = &["zk", "zkCli.sh"];

/// Forwards a local port (any free one for 0) and runs the first of the clients on it that there is; without any it only forwards, until it is
/// interrupted.
///
/// # Errors
///
/// No server is ready, the port is taken, or the client cannot be run.
pub async fn shell(cluster: &Cluster, name: &str, clients: &[&str], port: u16) -> Result<()> {
    cluster.ensemble(name).await?;
    ready_pod(cluster, name).await?;
    let listener =
        TcpListener::bind(("127.0.0.1", port)).await.with_context(|| format!("port {port} cannot be listened on"))?;
    let address = listener.local_addr().context("a listener has an address")?;
    let serve = serve(cluster, name, listener);
    if clients.is_empty() {
        eprintln!("{address} leads to {name} until you press Ctrl-C: zk -server {address}");
        return tokio::select! {
            () = serve => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted.context("Ctrl-C cannot be waited for"),
        };
    }
    let (client, mut child) = start(clients, &address.to_string())?;
    tokio::select! {
        () = serve => Ok(()),
        ended = child.wait() => {
            let status = ended.with_context(|| format!("{client} cannot be waited for"))?;
            if status.success() { Ok(()) } else { bail!("{client} ended with {status}") }
        }
    }
}

/// Runs the first client that there is.
fn start<'a>(clients: &[&'a str], server: &str) -> Result<(&'a str, Child)> {
    for client in clients {
        let mut command = Command::new(client);
        command.arg("-server").arg(server).stdin(Stdio::inherit()).kill_on_drop(true);
        match command.spawn() {
            Ok(child) => return Ok((client, child)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => bail!("{client} cannot be run: {error}"),
        }
    }
    let names = clients.join(", or else ");
    bail!(
        "no {names} on your PATH: install one, name another with --client, or use --forward-only and connect to the port"
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_client_that_there_is_is_run() {
        let (client, mut child) = start(&["no-such-client", "true"], "127.0.0.1:1").expect("true is everywhere");
        assert_eq!(client, "true");
        assert!(child.wait().await.expect("it ends").success());
        let none = start(&["no-such-client", "nor-this"], "127.0.0.1:1").expect_err("there is none");
        assert!(none.to_string().starts_with("no no-such-client, or else nor-this on your PATH: "), "{none}");
    }
}
