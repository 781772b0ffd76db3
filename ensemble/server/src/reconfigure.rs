//! A reconfiguration on request (`POST /reconfig`): by whoever manages the servers and holds the token, without a session of a client.
//!
//! What it may be refused with is decided in `ensemble_peer`; here it is put into HTTP, and waited for.

use crate::admin::{Command, Shared, TOKEN_REQUIRED, is_authorized, refused, unavailable};
use crate::driver::Driver;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use ensemble_peer::{Reconfiguration, ReconfigureError};
use ensemble_proto::Zxid;
use ensemble_proto::reconfig::ReconfigRequest;
use serde::Deserialize;
use serde_json::json;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::time::Instant;

/// How long a reconfiguration may take until it is active. Then nobody waits for it any more; one that was proposed goes on.
const RECONFIG_TIMEOUT: Duration = Duration::from_secs(8);
/// How long the driver may take to say so: less than a connection to the admin port may last.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(9);
/// How often it is looked how it goes.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// The body of `POST /reconfig`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    /// The version of the configuration that it is meant for, as `/status` shows it.
    version: String,
    /// Lines of servers that join or change.
    #[serde(default)]
    joining: Vec<String>,
    /// Ids of servers that leave.
    #[serde(default)]
    leaving: Vec<i64>,
}

impl Body {
    /// The request of a client that says the same.
    fn request(&self) -> Result<ReconfigRequest, &'static str> {
        if self.joining.is_empty() && self.leaving.is_empty() {
            return Err("nobody joins and nobody leaves");
        }
        let digits = self.version.strip_prefix("0x").filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let version = digits.and_then(|digits| i64::from_str_radix(digits, 16).ok());
        let leaving: Vec<_> = self.leaving.iter().map(i64::to_string).collect();
        let list = |items: &[String]| (!items.is_empty()).then(|| items.join(","));
        Ok(ReconfigRequest {
            joining: list(&self.joining),
            leaving: list(&leaving),
            members: None,
            from_version: version.ok_or("version is the config.version of /status: 0x and hexadecimal digits")?,
        })
    }
}

/// Why there is no new configuration, as far as one knows.
#[derive(Debug, Error)]
pub(crate) enum ReconfigFailure {
    #[error(transparent)]
    Refused(#[from] ReconfigureError),
    /// Nothing has happened, and nothing will.
    #[error("too many writes were outstanding for {} s: nothing was proposed", RECONFIG_TIMEOUT.as_secs())]
    NotProposed,
    /// It may be committed yet.
    #[error("proposed as {0}, and not known to be committed after {seconds} s: /status tells what becomes of it", seconds = RECONFIG_TIMEOUT.as_secs())]
    Unknown(Zxid),
}

/// Reconfigures the ensemble that this server leads. Returns when the new configuration is committed and active here, and its version.
pub(crate) async fn reconfigure(driver: &Rc<Driver>, request: &ReconfigRequest) -> Result<Zxid, ReconfigFailure> {
    let mut begun = Err(ReconfigureError::NotLeading);
    driver.turn(|peer, now| begun = peer.reconfigure(now, request));
    begun?;
    let deadline = Instant::now() + RECONFIG_TIMEOUT;
    let is_open = |state: &Reconfiguration| matches!(state, Reconfiguration::Waiting | Reconfiguration::Proposed(_));
    while driver.look(|peer| peer.reconfiguration().is_some_and(is_open)) && Instant::now() < deadline {
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    let mut ended = None;
    driver.turn(|peer, _| ended = peer.end_reconfiguration());
    match ended {
        Some(Reconfiguration::Active(version)) => Ok(version),
        Some(Reconfiguration::Proposed(zxid)) => Err(ReconfigFailure::Unknown(zxid)),
        Some(Reconfiguration::Refused(error)) => Err(ReconfigFailure::Refused(error)),
        Some(Reconfiguration::Waiting) | None => Err(ReconfigFailure::NotProposed),
    }
}

/// Answers when the configuration is active at this leader, which may have no office any more then.
pub(crate) async fn reconfig(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    if !is_authorized(&shared, &headers) {
        return refused(StatusCode::UNAUTHORIZED, TOKEN_REQUIRED);
    }
    let body = serde_json::from_str::<Body>(&body).map_err(|error| error.to_string());
    let request = match body.and_then(|body| body.request().map_err(str::to_owned)) {
        Ok(request) => request,
        Err(error) => return refused(StatusCode::BAD_REQUEST, &error),
    };
    match shared.ask_within(ANSWER_TIMEOUT, |answer| Command::Reconfig(request, answer)).await {
        Some(result) => answer(result),
        None => unavailable("the server does not answer"),
    }
}

fn answer(result: Result<Zxid, ReconfigFailure>) -> Response {
    match result {
        Ok(version) => axum::Json(json!({ "version": version.to_string() })).into_response(),
        Err(ReconfigFailure::Refused(error)) => {
            let body = json!({ "error": error.to_string(), "code": code(&error) });
            (StatusCode::CONFLICT, axum::Json(body)).into_response()
        }
        Err(error @ (ReconfigFailure::NotProposed | ReconfigFailure::Unknown(_))) => {
            refused(StatusCode::GATEWAY_TIMEOUT, &error.to_string())
        }
    }
}

/// The name that clients know an error by; and one of ours.
fn code(error: &ReconfigureError) -> &'static str {
    match error {
        ReconfigureError::NotLeading => "NotLeading",
        ReconfigureError::Disabled => "ReconfigDisabled",
        ReconfigureError::BadVersion { .. } => "BadVersion",
        ReconfigureError::InProgress => "ReconfigInProgress",
        ReconfigureError::NoQuorum => "NewConfigNoQuorum",
        // The last is a record that is too long.
        ReconfigureError::BadArguments(_) | ReconfigureError::TooFewVoters | ReconfigureError::Other(_) => {
            "BadArguments"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ensemble_proto::ErrorCode;
    use ensemble_proto::reconfig::ReconfigError;

    #[test]
    fn a_body_says_for_which_version_it_is_and_who_joins_or_leaves() {
        let check = |body: &str, expected: Result<ReconfigRequest, &str>| {
            let body = serde_json::from_str::<Body>(body).map_err(|error| error.to_string());
            let found = body.and_then(|body| body.request().map_err(str::to_owned));
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{found}, not {expected}"),
                (found, expected) => panic!("{found:?}, not {expected:?}"),
            }
        };
        let request = |joining: Option<&str>, leaving: Option<&str>| {
            let (joining, leaving) = (joining.map(str::to_owned), leaving.map(str::to_owned));
            Ok(ReconfigRequest { joining, leaving, members: None, from_version: 0x1_0000_0005 })
        };
        let both = r#"{"version":"0x100000005","joining":["server.4=d:1:2;3","server.5=e:1:2;3"],"leaving":[1,2]}"#;
        check(both, request(Some("server.4=d:1:2;3,server.5=e:1:2;3"), Some("1,2")));
        check(r#"{"version":"0x100000005","leaving":[1]}"#, request(None, Some("1")));
        check(r#"{"version":"0x100000005","joining":["x"],"leaving":[]}"#, request(Some("x"), None));
        check(r#"{"version":"0x100000005"}"#, Err("nobody joins and nobody leaves"));
        check(r#"{"leaving":[1]}"#, Err("missing field `version`"));
        check(r#"{"version":"0x1","leaving":[1],"members":"x"}"#, Err("unknown field `members`"));
        for version in ["", "0x", "5", "-1", "0x-1", "0x+1", "0xffffffffffffffff", "0xg"] {
            check(
                &format!(r#"{{"version":"{version}","leaving":[1]}}"#),
                Err("version is the config.version of /status"),
            );
        }
    }

    #[tokio::test]
    async fn every_end_has_its_status_and_its_code() {
        let no_address = ReconfigureError::BadArguments(ReconfigError::NoClientAddress(ensemble_proto::ServerId(4)));
        for (error, code, text) in [
            (ReconfigureError::NotLeading, "NotLeading", "this server does not lead an ensemble"),
            (ReconfigureError::Disabled, "ReconfigDisabled", "the configuration cannot change (reconfigEnabled)"),
            (ReconfigureError::BadVersion { active: Zxid(7) }, "BadVersion", "the configuration has version 0x7"),
            (ReconfigureError::InProgress, "ReconfigInProgress", "a reconfiguration is in progress"),
            (
                ReconfigureError::NoQuorum,
                "NewConfigNoQuorum",
                "no quorum of the new configuration is connected to the leader and in sync",
            ),
            (no_address, "BadArguments", "server 4 has no client address"),
            (
                ReconfigureError::TooFewVoters,
                "BadArguments",
                "too few participants would be left: with standaloneEnabled there must be two",
            ),
            (ReconfigureError::Other(ErrorCode::MARSHALLING_ERROR), "BadArguments", "refused with error -5"),
        ] {
            let expected = json!({ "error": text, "code": code });
            assert_eq!(said(answer(Err(error.into()))).await, (409, expected));
        }
        assert_eq!(said(answer(Ok(Zxid(0x1_0000_0005)))).await, (200, json!({ "version": "0x100000005" })));
        let unknown = "proposed as 0x9, and not known to be committed after 8 s: /status tells what becomes of it";
        assert_eq!(said(answer(Err(ReconfigFailure::Unknown(Zxid(9))))).await, (504, json!({ "error": unknown })));
        let nothing = "too many writes were outstanding for 8 s: nothing was proposed";
        assert_eq!(said(answer(Err(ReconfigFailure::NotProposed))).await, (504, json!({ "error": nothing })));
    }

    async fn said(response: Response) -> (u16, serde_json::Value) {
        let code = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (code, serde_json::from_slice(&body).unwrap())
    }
}
