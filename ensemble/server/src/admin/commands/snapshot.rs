//! `snapshot` and `restore`: who may, how often, and the bytes.

use super::{Arguments, answer};
use crate::admin::Shared;
use crate::admin::port::{Deadline, Remote};
use crate::details::snapshot_files;
use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use ensemble_datatree::Access;
use ensemble_peer::digest_identities;
use ensemble_proto::quorum::AuthId;
use ensemble_proto::{Acl, Zxid};
use futures::stream;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a snapshot may take to be written.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(3600);
/// Bytes of a snapshot that are read from the disk at once.
const PIECE_BYTES: usize = 256 << 10;
/// Every permission: both commands need it on `/`.
const ALL: [i32; 5] = [Acl::READ, Acl::WRITE, Acl::CREATE, Acl::DELETE, Acl::ADMIN];
/// Differs from ZooKeeper, which replaces what one server has in memory: the other servers and its own disk keep the former state, so its
/// clients read what the ensemble does not have, and what was acknowledged in between is lost or comes back.
const RESTORE_REFUSED: &str = "a snapshot is not restored while a server runs: what it would replace was acknowledged, and this server alone \
     would have it. Stop every server, remove version-2 from dataDir and dataLogDir, put the snapshot into dataDir of each as \
     version-2/snapshot.ZXID, and start them (docs/operations/restore.md)";

/// Lets one pass in an interval (`RateLimiter`).
pub(in crate::admin) struct Limit {
    interval: Duration,
    passed: Mutex<Option<Instant>>,
}

impl Limit {
    pub(in crate::admin) fn new(interval: Duration) -> Limit {
        Limit { interval, passed: Mutex::default() }
    }

    fn pass(&self, now: Instant) -> bool {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = passed.is_none_or(|passed| now.duration_since(passed) >= self.interval);
        if is_free {
            *passed = Some(now);
        }
        is_free
    }
}

/// Takes a snapshot; sends it unless `streaming=false`.
pub(super) async fn snapshot(
    shared: &Arc<Shared>,
    request: &Parts,
    arguments: &Arguments,
    (primary, asked): (&str, &str),
) -> Response {
    if let Err((status, error)) = authorise(shared, request).await {
        return answer(status, Vec::new(), asked, Some(error));
    }
    let failed = |status| answer(status, Vec::new(), primary, None);
    if !shared.settings.commands.snapshot_enabled {
        return failed(StatusCode::SERVICE_UNAVAILABLE);
    }
    if !shared.snapshot_limit.pass(Instant::now()) {
        shared.metrics.snapshot_rate_limited_count.inc();
        return failed(StatusCode::TOO_MANY_REQUESTS);
    }
    let deadline = request.extensions.get::<Deadline>().cloned();
    if let Some(deadline) = &deadline {
        deadline.extend(SNAPSHOT_TIMEOUT);
    }
    match take(shared).await {
        Ok((zxid, path, file, length)) => {
            let streams = arguments.get("streaming").is_none_or(|streaming| streaming.eq_ignore_ascii_case("true"));
            tracing::info!(%zxid, path = %path.display(), streams, "took a snapshot for the admin port");
            let mut response = match streams {
                true => Response::new(Body::from_stream(pieces(file, deadline))),
                false => answer(StatusCode::OK, Vec::new(), primary, None),
            };
            let headers = response.headers_mut();
            if streams {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
            headers.insert("snapshot_size", HeaderValue::from(length));
            if let Ok(zxid) = HeaderValue::from_str(&format!("0x{:x}", zxid.0)) {
                headers.insert("last_zxid", zxid);
            }
            response
        }
        Err(error) => {
            shared.metrics.snapshot_error_count.inc();
            tracing::error!(error, "no snapshot for the admin port");
            answer(StatusCode::INTERNAL_SERVER_ERROR, Vec::new(), primary, Some(&error))
        }
    }
}

async fn take(shared: &Arc<Shared>) -> Result<(Zxid, PathBuf, File, u64), String> {
    let taken = shared.look_within(SNAPSHOT_TIMEOUT, async |driver| driver.snapshots.ask().await).await;
    let zxid = taken.ok_or("the server does not answer")??;
    let settings = shared.settings.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let snapshots = snapshot_files(&settings).into_iter().filter(|file| file.zxid == zxid);
        let newest = snapshots.max_by_key(|file| file.modified);
        let path = newest.map(|file| file.path).ok_or(io::ErrorKind::NotFound)?;
        let file = File::open(&path)?;
        let length = file.metadata()?.len();
        Ok::<_, io::Error>((path, file, length))
    });
    match opened.await {
        Ok(Ok((path, file, length))) => Ok((zxid, path, file, length)),
        Ok(Err(error)) => Err(format!("the snapshot cannot be read: {error}")),
        Err(error) => Err(error.to_string()),
    }
}

/// The file in pieces, each read when the one before was taken, which also gives the connection more time.
fn pieces(file: File, deadline: Option<Deadline>) -> impl futures::Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(file, move |mut file| {
        let deadline = deadline.clone();
        async move {
            if let Some(deadline) = &deadline {
                deadline.extend_by_default();
            }
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; PIECE_BYTES];
                let read = file.read(&mut piece)?;
                piece.truncate(read);
                Ok::<_, io::Error>((!piece.is_empty()).then(|| (Bytes::from(piece), file)))
            });
            read.await.unwrap_or_else(|error| Err(io::Error::other(error)))
        }
    })
}

/// Says why not.
pub(super) async fn restore(shared: &Arc<Shared>, request: &Parts, (primary, asked): (&str, &str)) -> Response {
    if let Err((status, error)) = authorise(shared, request).await {
        return answer(status, Vec::new(), asked, Some(error));
    }
    if !shared.settings.commands.restore_enabled {
        return answer(StatusCode::SERVICE_UNAVAILABLE, Vec::new(), primary, None);
    }
    if !shared.restore_limit.pass(Instant::now()) {
        shared.metrics.restore_rate_limited_count.inc();
        return answer(StatusCode::TOO_MANY_REQUESTS, Vec::new(), primary, None);
    }
    shared.metrics.restore_error_count.inc();
    answer(StatusCode::NOT_IMPLEMENTED, Vec::new(), primary, Some(RESTORE_REFUSED))
}

/// Whether who asks may do anything to `/` (`Commands.handleAuthentication`, `handleAuthorization`).
async fn authorise(shared: &Arc<Shared>, request: &Parts) -> Result<(), (StatusCode, &'static str)> {
    let headers = &request.headers;
    let given =
        headers.get(header::AUTHORIZATION).ok_or((StatusCode::UNAUTHORIZED, "Auth info is missing for the command"))?;
    let identities = given.to_str().map(|given| identities(shared, given, headers, request)).unwrap_or_default();
    if identities.is_empty() {
        return Err((StatusCode::UNAUTHORIZED, "Not authenticated"));
    }
    let skip_acl = shared.settings.skip_acl;
    let may = shared.look(async move |driver| {
        driver.look(|peer| {
            let access = Access { identities: &identities, skip_acl };
            peer.tree().get("/").is_some_and(|root| ALL.iter().all(|perm| root.allows(*perm, access)))
        })
    });
    match may.await {
        Some(true) => Ok(()),
        Some(false) => Err((StatusCode::FORBIDDEN, "Not authorized")),
        None => Err((StatusCode::INTERNAL_SERVER_ERROR, "Error occurred during auth")),
    }
}

/// The identities that a header `scheme credential` gives; none for a scheme without a provider here.
fn identities(shared: &Shared, given: &str, headers: &HeaderMap, request: &Parts) -> Vec<AuthId> {
    let parts: Vec<&str> = given.split(' ').collect();
    match parts[..] {
        ["digest", credential] => digest_identities(credential.as_bytes(), shared.settings.super_digest.as_deref()),
        ["ip"] | ["ip", _] => {
            let forwarded = headers.get("X-Forwarded-For").and_then(|forwarded| forwarded.to_str().ok());
            let forwarded = forwarded.filter(|_| shared.settings.commands.uses_forwarded_for);
            let address =
                forwarded.and_then(|addresses| addresses.rsplit(',').next()).map(|address| address.trim().to_owned());
            let remote =
                request.extensions.get::<Remote>().map(|Remote(address)| address.ip().to_canonical().to_string());
            address.or(remote).map(|id| AuthId { scheme: "ip".to_owned(), id }).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_passes_in_an_interval() {
        let limit = Limit::new(Duration::from_secs(10));
        let start = Instant::now();
        let passes = [0, 5, 10, 15, 19, 20].map(|second| limit.pass(start + Duration::from_secs(second)));
        assert_eq!(passes, [true, false, true, false, false, true]);
    }

    #[test]
    fn an_interval_of_nothing_limits_nothing() {
        let (limit, now) = (Limit::new(Duration::ZERO), Instant::now());
        assert!(limit.pass(now) && limit.pass(now));
    }
}
