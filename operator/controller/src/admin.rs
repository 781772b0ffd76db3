//! The admin port of a server: `GET /status`, `POST /bootstrap`, `/reconfig` and `/leader/transfer`, by HTTP/1.1 to the address of its pod.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use operator_api::names;
use operator_core::{Grant, MemberStatus, Reconfiguration, Token, Transfer};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// How long one server may take to answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a leader may take for a reconfiguration or a hand-off: the server's own limits are shorter.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(12);
/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// How servers are asked. A second implementor plays a whole ensemble in tests.
pub trait Admin: Send + Sync + 'static {
    /// What a server says of itself, or why it does not.
    fn status(&self, ip: &str) -> impl Future<Output = Result<MemberStatus, String>> + Send;

    /// Gives a volume its vote.
    ///
    /// # Errors
    ///
    /// The server refused, or could not be asked; what it did is not known then.
    fn grant(&self, token: &Token, grant: &Grant) -> impl Future<Output = Result<(), AdminError>> + Send;

    /// Asks the leader for another configuration.
    ///
    /// # Errors
    ///
    /// The server refused, or could not be asked; what it did is not known then.
    fn reconfigure(
        &self,
        token: &Token,
        change: &Reconfiguration,
    ) -> impl Future<Output = Result<(), AdminError>> + Send;

    /// Asks the leader to hand its office over.
    ///
    /// # Errors
    ///
    /// The server refused, or could not be asked; what it did is not known then.
    fn transfer(&self, token: &Token, transfer: &Transfer) -> impl Future<Output = Result<(), AdminError>> + Send;
}

/// Why a request was not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The server answered that it does not take it. Its state is looked at again in the next pass.
    #[error("refused with {status}: {reason}")]
    Refused {
        /// The status code.
        status: u16,
        /// The server's own words.
        reason: String,
    },
    /// No answer. The request may have arrived; sending it again is harmless.
    #[error("no answer: {0}")]
    NoAnswer(String),
}

/// The real thing.
#[derive(Clone, Debug, Default)]
pub struct HttpAdmin;

impl Admin for HttpAdmin {
    async fn status(&self, ip: &str) -> Result<MemberStatus, String> {
        let request = Request::builder().method(Method::GET).uri("/status");
        let (status, body) = send(ip, request, Bytes::new(), ANSWER_TIMEOUT).await?;
        if status != StatusCode::OK {
            return Err(format!("GET /status answered {status}"));
        }
        serde_json::from_slice(&body).map_err(|error| format!("GET /status answered what is not a status: {error}"))
    }

    async fn grant(&self, token: &Token, grant: &Grant) -> Result<(), AdminError> {
        let body = json!({ "ensembleId": grant.ensemble_id, "voters": grant.voters, "volumeId": grant.volume_id });
        post(&grant.ip, "/bootstrap", token, body, ANSWER_TIMEOUT).await
    }

    async fn reconfigure(&self, token: &Token, change: &Reconfiguration) -> Result<(), AdminError> {
        let body = json!({ "version": change.version, "joining": change.joining, "leaving": change.leaving });
        post(&change.ip, "/reconfig", token, body, CHANGE_TIMEOUT).await
    }

    async fn transfer(&self, token: &Token, transfer: &Transfer) -> Result<(), AdminError> {
        let path = format!("/leader/transfer?to={}", transfer.myid);
        post(&transfer.ip, &path, token, Value::Null, CHANGE_TIMEOUT).await
    }
}

/// A request that changes something. Its answer is a word of success, or the reason.
async fn post(ip: &str, path: &str, token: &Token, body: Value, limit: Duration) -> Result<(), AdminError> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("Authorization", format!("Bearer {}", token.0))
        .header("Content-Type", "application/json");
    let body = Bytes::from(body.to_string());
    let (status, body) = send(ip, request, body, limit).await.map_err(AdminError::NoAnswer)?;
    if status.is_success() {
        return Ok(());
    }
    let said: Option<Value> = serde_json::from_slice(&body).ok();
    let reason = said.and_then(|said| said["error"].as_str().map(str::to_owned)).unwrap_or_default();
    Err(AdminError::Refused { status: status.as_u16(), reason })
}

/// One request on a connection of its own.
async fn send(
    ip: &str,
    request: http::request::Builder,
    body: Bytes,
    limit: Duration,
) -> Result<(StatusCode, Bytes), String> {
    match tokio::time::timeout(limit, exchange(ip, request, body)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

async fn exchange(ip: &str, request: http::request::Builder, body: Bytes) -> Result<(StatusCode, Bytes), String> {
    let address: IpAddr = ip.parse().map_err(|_| format!("{ip} is no address"))?;
    let port = u16::try_from(names::ADMIN_PORT).expect("a port");
    let stream = TcpStream::connect((address, port)).await.map_err(|error| reason(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| reason(&error))?;
    let request = request.header("Host", ip).body(Full::new(body)).map_err(|error| reason(&error))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| reason(&error))?;
        let status = response.status();
        let body =
            Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
        Ok((status, body.to_bytes()))
    };
    // The connection is driven here rather than in a task of its own, so that it ends with the answer.
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        closed = connection => match closed {
            Err(error) => Err(reason(&error)),
            // Everything has arrived; what is left is in memory.
            Ok(()) => answer.await,
        },
    }
}

/// The innermost cause: `connection refused` rather than `error trying to connect`.
fn reason(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
