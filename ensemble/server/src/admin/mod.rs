//! The admin port (JSON, contract C1, C4, C5) and the metrics ports, each plain or with TLS, on a thread and a runtime of their own.
//!
//! The thread outlives the driver: while a server is rebuilt after its grant, or when its driver hangs, the ports still
//! answer, and say so. It asks the driver by a bounded channel and waits a bounded time.

mod commands;
mod port;
mod status;

use crate::config::{HttpPort, Settings};
use crate::driver::Driver;
use crate::log::CLIENTS;
use crate::member::MemberError;
use crate::metrics::Metrics;
use crate::reconfigure::{ReconfigFailure, reconfig};
use crate::report::{Figures, Report};
use crate::transfer::TransferError;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use ensemble_proto::reconfig::ReconfigRequest;
use ensemble_proto::{ServerId, Zxid};
use ensemble_zab::TransferRefusal;
use futures::future::{LocalBoxFuture, join_all};
use port::{Security, Service};
use serde::Deserialize;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Requests to the driver that wait at once.
pub(crate) const COMMANDS_WAITING_MAX: usize = 32;
/// How long a driver may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a hand-over may take: a tick, and less than the port gives a request. With a longer tick nobody is told what came of it.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(8);
/// What a request without the right token is told.
pub(crate) const TOKEN_REQUIRED: &str = "a Bearer token of this ensemble is required";
/// A driver that has not turned for so long is not alive.
const TURN_MAX: Duration = Duration::from_secs(30);
/// How long a connection may take from its beginning to the last byte of its answer, where no key says so; then it is ended.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest body of a request.
const BODY_BYTES_MAX: usize = 64 << 10;

/// What the port asks the driver.
pub(crate) enum Command {
    /// Say how it is.
    Report(oneshot::Sender<Report>),
    /// Say how it is, and everything that metrics tell.
    Figures(oneshot::Sender<Figures>),
    /// Let the empty store vote.
    Grant(Grant, oneshot::Sender<Result<(), String>>),
    /// Hand the office of the leader over, to this server or to the best one.
    Transfer(Option<ServerId>, oneshot::Sender<Result<ServerId, TransferError>>),
    /// Look at something beside the turns, or feed one.
    Look(Box<dyn FnOnce(Rc<Driver>) -> LocalBoxFuture<'static, ()> + Send>),
    /// Change the ensemble.
    Reconfig(ReconfigRequest, oneshot::Sender<Result<Zxid, ReconfigFailure>>),
}

/// The body of `POST /bootstrap`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Grant {
    pub(crate) ensemble_id: String,
    pub(crate) voters: Vec<i64>,
    pub(crate) volume_id: String,
}

/// What the ports and the server share.
pub(crate) struct Shared {
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    pub(crate) metrics: Arc<Metrics>,
    /// Milliseconds since `origin` at the last turn of the driver.
    pub(crate) last_turn_ms: Arc<AtomicU64>,
    origin: Instant,
    /// As the server was started with.
    settings: Settings,
    snapshot_limit: commands::Limit,
    restore_limit: commands::Limit,
}

impl Shared {
    pub(crate) fn new(metrics: Arc<Metrics>, settings: Settings) -> Shared {
        let interval = settings.commands.rate_interval;
        Shared {
            commands: Mutex::default(),
            metrics,
            last_turn_ms: Arc::default(),
            origin: Instant::now(),
            settings,
            // As ZooKeeper does, which takes the number for microseconds here.
            snapshot_limit: commands::Limit::new(interval / 1000),
            restore_limit: commands::Limit::new(interval),
        }
    }

    /// Where commands go from now on; `None` while there is no driver.
    pub(crate) fn route(&self, commands: Option<mpsc::Sender<Command>>) {
        *self.commands.lock().unwrap_or_else(PoisonError::into_inner) = commands;
    }

    async fn ask<R>(&self, command: impl FnOnce(oneshot::Sender<R>) -> Command) -> Option<R> {
        self.ask_within(ANSWER_TIMEOUT, command).await
    }

    /// Asks the driver; `None` when there is none, or it does not answer in time.
    pub(crate) async fn ask_within<R>(
        &self,
        limit: Duration,
        command: impl FnOnce(oneshot::Sender<R>) -> Command,
    ) -> Option<R> {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let (answer, answered) = oneshot::channel();
        let exchange = async {
            commands.send(command(answer)).await.ok()?;
            answered.await.ok()
        };
        tokio::time::timeout(limit, exchange).await.ok().flatten()
    }

    /// Has the driver carry out something that has an answer; `None` when it does not answer in time.
    async fn look<R: Send + 'static>(&self, look: impl AsyncFnOnce(&Rc<Driver>) -> R + Send + 'static) -> Option<R> {
        self.look_within(ANSWER_TIMEOUT, look).await
    }

    async fn look_within<R: Send + 'static>(
        &self,
        limit: Duration,
        look: impl AsyncFnOnce(&Rc<Driver>) -> R + Send + 'static,
    ) -> Option<R> {
        self.ask_within(limit, |answer| {
            Command::Look(Box::new(move |driver| {
                Box::pin(async move {
                    let _ = answer.send(look(&driver).await);
                })
            }))
        })
        .await
    }

    /// [`Shared::ask`], again while a server is being built anew.
    async fn ask_patiently<R>(&self, command: impl Fn(oneshot::Sender<R>) -> Command) -> Option<R> {
        const PAUSE: Duration = Duration::from_millis(20);
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            match self.ask(&command).await {
                None if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
                answer => return answer,
            }
        }
    }

    async fn report(&self) -> Option<Report> {
        self.ask(Command::Report).await
    }

    async fn figures(&self) -> Option<Figures> {
        self.ask(Command::Figures).await
    }

    /// Says so when there should be a token and is none.
    pub(crate) fn check_token_file(&self) {
        if let Some(file) = &self.settings.token_file
            && let Err(error) = token(file)
        {
            tracing::warn!(file = %file.display(), %error, "no admin token (ensemble.adminTokenFile): nobody can grant until there is one");
        }
    }

    fn is_token(&self, given: &str) -> bool {
        let Some(file) = &self.settings.token_file else { return false };
        match token(file) {
            Ok(token) => equal_in_constant_time(token.as_bytes(), given.as_bytes()),
            Err(error) => {
                tracing::error!(target: CLIENTS, file = %file.display(), %error, "cannot read the admin token");
                false
            }
        }
    }
}

/// The token in a file, without the white space around it.
fn token(file: &Path) -> io::Result<String> {
    let text = std::fs::read_to_string(file)?;
    match text.trim() {
        "" => Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty")),
        token => Ok(token.to_owned()),
    }
}

/// Every port, bound.
pub(crate) struct Ports {
    pub(crate) admin: Option<SocketAddr>,
    /// The only metrics port, or the plain one of two.
    pub(crate) metrics: Option<SocketAddr>,
    /// The other of two.
    pub(crate) secure_metrics: Option<SocketAddr>,
    /// Ends the thread when dropped.
    _stop: oneshot::Sender<()>,
}

/// Binds the ports and serves them on a new thread. A member of an ensemble serves its clients without an admin port that is taken, as in ZooKeeper; not one of an
/// operator's, which sees and steers it there.
///
/// # Errors
/// When another port cannot be bound, or one has no usable keys and certificates.
pub(crate) fn start(shared: Arc<Shared>) -> Result<Ports, MemberError> {
    let (admin, metrics) = (shared.settings.admin.as_ref(), shared.settings.metrics.as_ref());
    let ready = |http: &HttpPort, routes: Router, timeout| {
        let service =
            Service { routes, timeout, security: Security::new(&http.scheme)?, metrics: shared.metrics.clone() };
        Ok::<_, MemberError>((port::bind(http).map_err(MemberError::Port)?, service))
    };
    let admin = admin.map(|admin| ready(&admin.port, admin_routes(shared.clone()), admin.idle_timeout)).transpose();
    let is_needed = shared.settings.standalone || shared.settings.operator.is_some();
    let admin = match admin {
        Err(MemberError::Port(error)) if !is_needed => {
            tracing::warn!(%error, "no admin port: neither people nor probes can ask this server there until it is started again");
            None
        }
        admin => admin?,
    };
    let metrics = metrics.into_iter().flat_map(|metrics| &metrics.ports);
    let metrics: Vec<_> = metrics
        .map(|http| ready(http, metrics_routes(shared.clone()), REQUEST_TIMEOUT))
        .collect::<Result<_, MemberError>>()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let address = |port: Option<&(TcpListener, Service)>| port.and_then(|(listener, _)| listener.local_addr().ok());
    let ports = Ports {
        admin: address(admin.as_ref()),
        metrics: address(metrics.first()),
        secure_metrics: address(metrics.get(1)),
        _stop: stop,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(MemberError::System)?;
    let serving = move || {
        runtime.block_on(async {
            let ports = admin.into_iter().chain(metrics).map(|(listener, service)| port::serve(listener, service));
            tokio::select! {
                _ = join_all(ports) => {}
                _ = stopped => {}
            }
        });
    };
    std::thread::Builder::new().name("admin".to_owned()).spawn(serving).map_err(MemberError::System)?;
    Ok(ports)
}

/// Where something of our own is served: nobody may put ZooKeeper's commands there.
pub(crate) const OWN_ROUTES: [&str; 7] =
    ["/status", "/bootstrap", "/leader/transfer", "/reconfig", "/startupz", "/livez", "/readyz"];

fn admin_routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/bootstrap", post(bootstrap))
        .route("/leader/transfer", post(leader_transfer))
        .route("/reconfig", post(reconfig))
        .route("/startupz", get(startupz))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .merge(commands::routes(&shared))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared)
}

fn metrics_routes(shared: Arc<Shared>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(shared)
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    match shared.report().await {
        Some(report) => axum::Json(status::StatusBody::from(report)).into_response(),
        None => unavailable("the server does not answer"),
    }
}

async fn startupz(State(shared): State<Arc<Shared>>) -> Response {
    match shared.report().await {
        Some(_) => "ok".into_response(),
        None => unavailable("the store is not loaded"),
    }
}

/// Alive means that the driver turns; a failed disk has ended the process already.
async fn livez(State(shared): State<Arc<Shared>>) -> Response {
    if shared.commands.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
        return "ok".into_response(); // Loading the store; the startup probe watches over that.
    }
    let last = Duration::from_millis(shared.last_turn_ms.load(Ordering::Relaxed));
    let silent = shared.origin.elapsed().saturating_sub(last);
    if silent <= TURN_MAX { "ok".into_response() } else { unavailable(&format!("no turn for {} s", silent.as_secs())) }
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    match shared.report().await {
        Some(report) if report.status.serving => "ok".into_response(),
        Some(report) => unavailable(&format!("{}, store {}", report.role(), report.store_state())),
        None => unavailable("the server does not answer"),
    }
}

async fn bootstrap(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    if !is_authorized(&shared, &headers) {
        return refused(StatusCode::UNAUTHORIZED, TOKEN_REQUIRED);
    }
    let grant = match serde_json::from_str::<Grant>(&body) {
        Ok(grant) => grant,
        Err(error) => return refused(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match shared.ask_patiently(|answer| Command::Grant(grant.clone(), answer)).await {
        Some(Ok(())) => axum::Json(serde_json::json!({ "granted": true })).into_response(),
        Some(Err(reason)) => refused(StatusCode::CONFLICT, &reason),
        None => unavailable("the server does not answer"),
    }
}

/// Answers when the office is handed over; `/status` of the others tells who leads then.
async fn leader_transfer(State(shared): State<Arc<Shared>>, headers: HeaderMap, uri: Uri) -> Response {
    if !is_authorized(&shared, &headers) {
        return refused(StatusCode::UNAUTHORIZED, TOKEN_REQUIRED);
    }
    let to = match uri.query().map(|query| query.strip_prefix("to=").and_then(|id| id.parse().ok()).map(ServerId)) {
        None => None,
        Some(Some(to)) => Some(to),
        Some(None) => return refused(StatusCode::BAD_REQUEST, "the query is to=ID, or none for the best follower"),
    };
    match shared.ask_within(TRANSFER_TIMEOUT, |answer| Command::Transfer(to, answer)).await {
        Some(Ok(to)) => axum::Json(serde_json::json!({ "transferredTo": to.0 })).into_response(),
        Some(Err(error)) => {
            let status = match &error {
                TransferError::Refused(TransferRefusal::Unknown(_)) => StatusCode::NOT_FOUND,
                TransferError::Refused(_) => StatusCode::CONFLICT,
                TransferError::GivenUp(_) => StatusCode::GATEWAY_TIMEOUT,
            };
            refused(status, &error.to_string())
        }
        None => unavailable("the server does not answer"),
    }
}

/// Whether a request brings the token.
pub(crate) fn is_authorized(shared: &Shared, headers: &HeaderMap) -> bool {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    token.and_then(|value| value.strip_prefix("Bearer ")).is_some_and(|token| shared.is_token(token))
}

/// Everything, or the samples of the names in `?name[]=`.
async fn metrics(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let asked = commands::pairs(uri.query().unwrap_or_default()).filter(|(name, _)| name == "name[]");
    let names = asked.map(|(_, value)| value).collect();
    let figures = shared.figures().await;
    let is_full = shared.settings.metrics.as_ref().is_none_or(|port| port.export_jvm_info);
    let text = shared.metrics.exposition(figures.as_ref(), is_full, &names);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

pub(crate) fn unavailable(reason: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response()
}

pub(crate) fn refused(status: StatusCode, error: &str) -> Response {
    (status, axum::Json(serde_json::json!({ "error": error }))).into_response()
}

/// Compares without telling by its duration how much is right.
fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_equal_or_not() {
        for (a, b, equal) in [("", "", true), ("a", "a", true), ("a", "b", false), ("a", "ab", false)] {
            assert_eq!(equal_in_constant_time(a.as_bytes(), b.as_bytes()), equal);
        }
    }

    #[test]
    fn a_token_is_a_file_that_says_something() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(token(file.path()).unwrap_err().to_string(), "the file is empty");
        std::fs::write(file.path(), " secret\n").unwrap();
        assert_eq!(token(file.path()).unwrap(), "secret");
        assert_eq!(token(Path::new("/nowhere/token")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_grant_names_ensemble_voters_and_volume_and_nothing_else() {
        let grant = r#"{"ensembleId":"e","voters":[1,2],"volumeId":"v"}"#;
        let expected = Grant { ensemble_id: "e".into(), voters: vec![1, 2], volume_id: "v".into() };
        assert_eq!(serde_json::from_str::<Grant>(grant).ok(), Some(expected));
        assert!(serde_json::from_str::<Grant>(r#"{"ensembleId":"e","voters":[1]}"#).is_err());
        assert!(serde_json::from_str::<Grant>(r#"{"ensembleId":"e","voters":[1],"volumeId":"v","x":1}"#).is_err());
    }
}
