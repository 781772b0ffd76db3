//! `/metrics`, `/livez` and `/readyz` of the operator itself.
//!
//! Both probes say that the process runs and its event loop turns. A process that waits for the lease is ready: it is
//! ready to take over, and a rolling update of the Deployment must not wait for it to lead.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::metrics::Metrics;

/// Connections served at once; further ones wait in the listen queue.
const CONNECTIONS_MAX: usize = 16;

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, metrics: Metrics) {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = free.clone().acquire_owned().await.expect("the semaphore is never closed");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a probe's connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, &metrics))));
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(std::time::Duration::from_secs(5));
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a probe's connection ended");
            }
            drop(permit);
        });
    }
}

fn answer(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, type_, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (StatusCode::OK, "text/plain; version=0.0.4", metrics.render()),
        (&Method::GET, "/livez" | "/readyz") => (StatusCode::OK, "text/plain", "ok".to_owned()),
        (&Method::GET, _) => (StatusCode::NOT_FOUND, "text/plain", "not found".to_owned()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "method not allowed".to_owned()),
    };
    let response = Response::builder().status(status).header("Content-Type", type_).body(Full::new(Bytes::from(body)));
    response.expect("the parts are valid")
}
