//! One HTTP port, plain or with TLS: bound, accepted on within limits, one request a connection.

use crate::config::{HttpPort, Scheme};
use crate::metrics::Metrics;
use crate::quorum_port::ACCEPT_PAUSE;
use crate::tls::{Handshakes, TlsError};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// Connections of one port at once. One more ends the oldest: who connects and never asks must not keep a probe out.
const CONNECTIONS_MAX: usize = 64;
/// The first byte of a TLS connection: a record of type handshake (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// Where a request came from.
#[derive(Clone, Copy)]
pub(super) struct Remote(pub(super) SocketAddr);

/// When a connection is ended, which a request that takes long puts off.
#[derive(Clone)]
pub(super) struct Deadline {
    until: Arc<watch::Sender<Instant>>,
    timeout: Duration,
}

impl Deadline {
    fn new(timeout: Duration) -> Deadline {
        Deadline { until: Arc::new(watch::Sender::new(Instant::now() + timeout)), timeout }
    }

    /// Gives the connection so long from now on.
    pub(super) fn extend(&self, timeout: Duration) {
        self.until.send_replace(Instant::now() + timeout);
    }

    /// Gives the connection as long as a new one has.
    pub(super) fn extend_by_default(&self) {
        self.extend(self.timeout);
    }

    async fn passed(&self) {
        let mut until = self.until.subscribe();
        loop {
            let moment = *until.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep_until(moment) => return,
                _ = until.changed() => {} // The sender is here.
            }
        }
    }
}

/// What a connection is told apart by, and how its handshake is held.
#[derive(Clone)]
pub(super) enum Security {
    Plain,
    Tls(Arc<Handshakes>),
    /// Either, by the first byte.
    Either(Arc<Handshakes>),
}

impl Security {
    /// Reads keys and certificates.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn new(scheme: &Scheme) -> Result<Security, TlsError> {
        let handshakes =
            |tls: &crate::config::Tls| Handshakes::new(tls.clone(), std::time::Instant::now()).map(Arc::new);
        match scheme {
            Scheme::Http => Ok(Security::Plain),
            Scheme::Https(tls) => handshakes(tls).map(Security::Tls),
            Scheme::Either(tls) => handshakes(tls).map(Security::Either),
        }
    }

    /// How the handshake of this connection is held, if it is to have one. Waits for the first byte where that decides.
    async fn of(&self, stream: &TcpStream, metrics: &Metrics) -> io::Result<Option<&Handshakes>> {
        match self {
            Security::Plain => Ok(None),
            Security::Tls(handshakes) => Ok(Some(handshakes)),
            Security::Either(handshakes) => {
                let mut first = [0];
                let count = stream.peek(&mut first).await?;
                let is_tls = count == 1 && first == [TLS_HANDSHAKE];
                metrics.insecure_admin_count.inc_by(u64::from(!is_tls));
                Ok(is_tls.then_some(handshakes))
            }
        }
    }
}

/// Binds a port.
pub(super) fn bind(port: &HttpPort) -> io::Result<std::net::TcpListener> {
    let HttpPort { endpoint, key, .. } = port;
    let listener = std::net::TcpListener::bind((endpoint.host.as_str(), endpoint.port))
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    listener.map_err(|e| io::Error::new(e.kind(), format!("{key} {}:{}: {e}", endpoint.host, endpoint.port)))
}

/// What is served on a port, within which limits.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) routes: Router,
    /// A connection that takes longer, from its beginning to the last byte of its answer, is ended.
    pub(super) timeout: Duration,
    pub(super) security: Security,
    pub(super) metrics: Arc<Metrics>,
}

/// Serves a port, for ever.
pub(super) async fn serve(listener: std::net::TcpListener, service: Service) {
    match TcpListener::from_std(listener) {
        Ok(listener) => accept(listener, service).await,
        Err(error) => tracing::error!(%error, "cannot serve an HTTP port"),
    }
    std::future::pending().await
}

async fn accept(listener: TcpListener, service: Service) {
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                open.retain(|connection| !connection.is_finished());
                if open.len() >= CONNECTIONS_MAX
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
                open.push_back(tokio::spawn(answer(stream, address, service.clone())).abort_handle());
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept on an HTTP port");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the one request of a connection.
async fn answer(stream: TcpStream, address: SocketAddr, service: Service) {
    let Service { routes, timeout, security, metrics } = service;
    let deadline = Deadline::new(timeout);
    let routes = routes.layer(Extension(Remote(address))).layer(Extension(deadline.clone()));
    let exchange = async {
        match security.of(&stream, &metrics).await? {
            None => http(stream, routes).await,
            Some(handshakes) => {
                let config = handshakes.config(std::time::Instant::now());
                match TlsAcceptor::from(config).accept(stream).await {
                    Ok(stream) => http(stream, routes).await,
                    Err(error) => {
                        metrics.unsuccessful_handshake.inc();
                        Err(error)
                    }
                }
            }
        }
    };
    tokio::select! {
        ended = exchange => if let Err(error) = ended {
            tracing::debug!(%address, %error, "an HTTP connection failed");
        },
        () = deadline.passed() => tracing::debug!(%address, "ended an HTTP connection that took too long"),
    }
}

async fn http(stream: impl AsyncRead + AsyncWrite + Unpin + Send, routes: Router) -> io::Result<()> {
    let exchange = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    exchange.await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Volumes;
    use crate::pause::Pauses;
    use axum::routing::get;
    use std::path::Path;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

    /// A port that answers "ok" to `GET /`, and where it is.
    async fn port() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let long = async |Extension(deadline): Extension<Deadline>| {
            deadline.extend(REQUEST_TIMEOUT * 3);
            tokio::time::sleep(REQUEST_TIMEOUT * 2).await;
            "long"
        };
        let routes = Router::new().route("/", get(async || "ok")).route("/long", get(long));
        let metrics = Arc::new(Metrics::new(Volumes::new(Path::new("/"), Path::new("/")), Pauses::new(None)));
        let service = Service { routes, timeout: REQUEST_TIMEOUT, security: Security::Plain, metrics };
        tokio::spawn(accept(listener, service));
        address
    }

    /// A connection that has said no more than this.
    async fn connected(address: SocketAddr, said: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        stream
    }

    /// Everything until the other side closes, and when that was.
    async fn until_closed(mut stream: TcpStream) -> (String, Duration) {
        let (began, mut text) = (tokio::time::Instant::now(), String::new());
        let end = tokio::time::timeout(REQUEST_TIMEOUT * 2, stream.read_to_string(&mut text)).await;
        end.expect("it is closed some time").expect("it is closed, not reset");
        (text, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_never_asks_is_ended() {
        for said in ["", "GET / HT", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"] {
            let (text, elapsed) = until_closed(connected(port().await, said).await).await;
            assert!(!text.contains("200 OK") && elapsed <= REQUEST_TIMEOUT, "{said:?}: {text:?} after {elapsed:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_long_can_be_given_more_time() {
        let mut stream = connected(port().await, "GET /long HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.ends_with("long"), "{text}");
    }

    #[tokio::test]
    async fn connections_that_never_ask_make_room_for_one_that_does() {
        let address = port().await;
        let mut idle = VecDeque::new();
        for _ in 0..CONNECTIONS_MAX {
            idle.push_back(connected(address, "GET / HT").await);
        }
        let asking = connected(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (text, _) = until_closed(asking).await;
        assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("ok"), "{text}");
        let (_, elapsed) = until_closed(idle.pop_front().unwrap()).await;
        assert!(elapsed < REQUEST_TIMEOUT / 2, "the oldest went at once");
        for stream in idle {
            assert_eq!(stream.try_read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock, "the others stay");
        }
    }
}
