//! A pod's port, reached through the API server: nothing is opened on the cluster, and nothing listens here.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use operator_api::names;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::fault::{innermost, is_forbidden};
use crate::seen::Answer;

/// How long a server may take for its status, with the way through the API server and the kubelet.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a leader may take to hand its office over: its own limit is shorter.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Whoever asks may not forward ports.
    Forbidden,
    /// Anything else, in words.
    Failed(String),
}

/// What a server says of itself.
///
/// # Errors
///
/// See [`Silence`].
pub async fn status(cluster: &Cluster, pod: &str) -> Result<Answer, Silence> {
    let (status, body) = send(cluster, pod, Request::get("/status"), ANSWER_TIMEOUT).await?;
    if status != StatusCode::OK {
        return Err(Silence::Failed(format!("GET /status answered {status}")));
    }
    serde_json::from_slice(&body)
        .map_err(|error| Silence::Failed(format!("GET /status answered what is not a status: {error}")))
}

/// Asks the leader to hand its office to a server. In the answer: the id of whoever has it, or why it did not.
///
/// # Errors
///
/// See [`Silence`].
pub async fn transfer(
    cluster: &Cluster,
    leader: &str,
    token: &str,
    to: Option<i32>,
) -> Result<Result<i64, String>, Silence> {
    let path = to.map_or_else(|| "/leader/transfer".to_owned(), |id| format!("/leader/transfer?to={id}"));
    let request = Request::builder().method(Method::POST).uri(path).header("Authorization", format!("Bearer {token}"));
    let (status, body) = send(cluster, leader, request, TRANSFER_TIMEOUT).await?;
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    match said["transferredTo"].as_i64() {
        Some(id) if status.is_success() => Ok(Ok(id)),
        Some(_) | None => Ok(Err(format!("{} ({status})", said["error"].as_str().unwrap_or("it gives no reason")))),
    }
}

async fn send(
    cluster: &Cluster,
    pod: &str,
    request: hyper::http::request::Builder,
    limit: Duration,
) -> Result<(StatusCode, Bytes), Silence> {
    match tokio::time::timeout(limit, exchange(cluster, pod, request)).await {
        Ok(answer) => answer,
        Err(_) => Err(Silence::Failed(format!("no answer within {} s", limit.as_secs()))),
    }
}

async fn exchange(
    cluster: &Cluster,
    pod: &str,
    request: hyper::http::request::Builder,
) -> Result<(StatusCode, Bytes), Silence> {
    let port = u16::try_from(names::ADMIN_PORT).expect("a port");
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), &cluster.namespace);
    let mut forwarder = pods
        .portforward(pod, &[port])
        .await
        .map_err(|error| if is_forbidden(&error) { Silence::Forbidden } else { Silence::Failed(innermost(&error)) })?;
    let stream = forwarder.take_stream(port).expect("asked for just above, and taken once");
    let refused = forwarder.take_error(port).expect("asked for just above, and taken once");
    let failed = |error: &dyn std::error::Error| Silence::Failed(innermost(error));
    let request = request.header("Host", pod).body(Full::new(Bytes::new())).map_err(|error| failed(&error))?;
    let answer = async {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok((status, body.map_err(|error| Silence::Failed(error.to_string()))?.to_bytes()))
        };
        tokio::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            // Either it tells the request, which then has an error of its own, or all of the answer has arrived.
            _ = connection => answer.await,
        }
    };
    let refused = async {
        match refused.await {
            Some(why) => why,
            // The connection ended well, and so will the answer.
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        why = refused => Err(Silence::Failed(why.trim().to_owned())),
        answer = answer => answer,
    }
}
