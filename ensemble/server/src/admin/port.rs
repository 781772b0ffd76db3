//! One HTTP port: bound, accepted on within limits, one request a connection.

use crate::config::Endpoint;
use crate::quorum_port::ACCEPT_PAUSE;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Connections of one port at once. One more ends the oldest: who connects and never asks must not keep a probe out.
const CONNECTIONS_MAX: usize = 64;

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

/// Binds a port; `key` names it in the error.
pub(super) fn bind(endpoint: &Endpoint, key: &str) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind((endpoint.host.as_str(), endpoint.port))
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    listener.map_err(|e| io::Error::new(e.kind(), format!("{key} {}:{}: {e}", endpoint.host, endpoint.port)))
}

/// Serves a port; for ever, also when there is none. A connection is ended when it takes longer than `timeout`, from its beginning to the
/// last byte of its answer.
pub(super) async fn serve(listener: Option<std::net::TcpListener>, routes: Router, timeout: Duration) {
    if let Some(listener) = listener {
        match TcpListener::from_std(listener) {
            Ok(listener) => accept(listener, routes, timeout).await,
            Err(error) => tracing::error!(%error, "cannot serve an HTTP port"),
        }
    }
    std::future::pending().await
}

async fn accept(listener: TcpListener, routes: Router, timeout: Duration) {
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
                let routes = routes.clone().layer(Extension(Remote(address)));
                open.push_back(tokio::spawn(answer(stream, routes, Deadline::new(timeout))).abort_handle());
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept on an HTTP port");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the one request of a connection.
async fn answer(stream: TcpStream, routes: Router, deadline: Deadline) {
    let routes = routes.layer(Extension(deadline.clone()));
    let exchange = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    tokio::select! {
        ended = exchange => if let Err(error) = ended {
            tracing::debug!(%error, "an HTTP connection failed");
        },
        () = deadline.passed() => tracing::debug!("ended an HTTP connection that took too long"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
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
        tokio::spawn(accept(listener, routes, REQUEST_TIMEOUT));
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
