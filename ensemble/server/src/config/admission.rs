//! Who is served at all: `leaderServes`, `enforce.auth.*`, `ensembleAuthName`, and the providers of schemes that may be named; how many handshakes and large
//! requests are taken (`connection_throttle_*`, `largeRequest*`), and how many requests are under way (`request_throttle_*`).

use super::ConfigError;
use super::values::Values;
use ensemble_peer::{Admission, ConnectThrottle, LargeRequests, RequestThrottle, Weights};
use std::time::Duration;

/// Schemes that a client may have to authenticate by.
const SCHEMES: [&str; 2] = ["digest", "ip"];
const ENSEMBLE_PROVIDER: &str = "org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider";
/// Classes that are named in vain, for what they do is built in, and the one that switches scheme `ensemble` on.
const PROVIDERS: [&str; 3] = [
    "org.apache.zookeeper.server.auth.DigestAuthenticationProvider",
    "org.apache.zookeeper.server.auth.IPAuthenticationProvider",
    ENSEMBLE_PROVIDER,
];

/// Differs from ZooKeeper: `ensembleAuthName` switches scheme `ensemble` on, without a class in `authProvider.N` too.
pub(super) fn read(values: &Values) -> Result<Admission, ConfigError> {
    let is_leader_closed = !values.flag("leaderServes", true)?;
    if is_leader_closed && values.text("ensemble.id").is_some() {
        return Err(values.wrong(
            "leaderServes",
            "`yes`, which it must be with ensemble.id: the Service would send clients to a leader that refuses them",
        ));
    }
    for (key, class, _) in values.with_prefix("authProvider.") {
        if !PROVIDERS.contains(&class) {
            return Err(values.wrong(key, "a class of ZooKeeper's that is built in here: DigestAuthenticationProvider, IPAuthenticationProvider or EnsembleAuthenticationProvider, of package org.apache.zookeeper.server.auth"));
        }
    }
    let names = values.text("ensembleAuthName").map(list);
    let is_named = values.with_prefix("authProvider.").any(|(_, class, _)| class == ENSEMBLE_PROVIDER);
    Ok(Admission {
        is_leader_closed,
        schemes: schemes(values)?,
        ensemble_names: names.or(is_named.then(Vec::new)),
        connect_throttle: connect_throttle(values)?,
        large_requests: large_requests(values)?,
        request_throttle: request_throttle(values)?,
    })
}

/// No limit unless there are tokens.
fn connect_throttle(values: &Values) -> Result<Option<ConnectThrottle>, ConfigError> {
    let tokens = values.number("connection_throttle_tokens", 0, 0, i32::MAX as u32, "a number, at least 0")?;
    let ratio = |key, default| values.number(key, default, 0.0, 1.0, "a number from 0 to 1");
    let count = |key, default| values.number(key, default, 1, i32::MAX as u32, "a number, at least 1");
    let freeze_ms =
        values.number("connection_throttle_freeze_time", -1, -1, i32::MAX, "a number of milliseconds, or -1")?;
    let weight_key = "connection_throttle_global_session_weight";
    let weights = Weights {
        global: count(weight_key, 3)?,
        local: count("connection_throttle_local_session_weight", 1)?,
        renew: count("connection_throttle_renew_session_weight", 2)?,
    };
    if weights.global < weights.local.max(weights.renew) {
        return Err(
            values.wrong(weight_key, "a number, not below the two other weights: it is what tokens are counted in")
        );
    }
    let throttle = ConnectThrottle {
        tokens,
        fill_count: count("connection_throttle_fill_count", 1)?,
        fill_time: Duration::from_millis(count("connection_throttle_fill_time", 1)?.into()),
        freeze_time: u64::try_from(freeze_ms).ok().map(Duration::from_millis),
        drop_increase: ratio("connection_throttle_drop_increase", 0.02)?,
        drop_decrease: ratio("connection_throttle_drop_decrease", 0.002)?,
        decrease_ratio: ratio("connection_throttle_decrease_ratio", 0.0)?,
        weights: values.flag("connection_throttle_weight_enabled", false)?.then_some(weights),
    };
    Ok((tokens > 0).then_some(throttle))
}

/// No limit unless one is given.
fn request_throttle(values: &Values) -> Result<Option<RequestThrottle>, ConfigError> {
    let requests_max =
        values.number("request_throttle_max_requests", 0, 0, i32::MAX as usize, "a number, at least 0")?;
    let wait_ms = values.number("throttled_op_wait_time", 0, 0, i32::MAX as u64, "a number of milliseconds")?;
    let throttle = RequestThrottle {
        requests_max,
        has_stale: values.flag("request_stale_latency_check", false)?,
        drops_stale: values.flag("request_throttle_drop_stale", true)?,
        wait_max: (wait_ms > 0).then_some(Duration::from_millis(wait_ms)),
    };
    Ok((requests_max > 0).then_some(throttle))
}

/// No limit unless there is a threshold.
fn large_requests(values: &Values) -> Result<Option<LargeRequests>, ConfigError> {
    let bytes_max = values.number(
        "largeRequestMaxBytes",
        100 << 20,
        1,
        i32::MAX as usize,
        "a number of bytes from 1 to 2147483647",
    )?;
    let threshold = values.number("largeRequestThreshold", -1, -1, i32::MAX, "a number of bytes, or -1")?;
    Ok(usize::try_from(threshold)
        .ok()
        .filter(|bytes| *bytes > 0)
        .map(|threshold| LargeRequests { threshold, bytes_max }))
}

/// None unless they are enforced.
fn schemes(values: &Values) -> Result<Vec<String>, ConfigError> {
    const KEY: &str = "enforce.auth.schemes";
    if !values.flag("enforce.auth.enabled", false)? {
        return Ok(Vec::new());
    }
    let missing = ConfigError::Missing { key: KEY, why: "with enforce.auth.enabled it says which are enough" };
    let schemes = list(values.text(KEY).ok_or(missing)?);
    match schemes.iter().all(|scheme| SCHEMES.contains(&scheme.as_str())) {
        true => Ok(schemes),
        false => Err(values.wrong(KEY, "digest, ip, or both with a comma between them")),
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|name| name.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{no_other_file, parse};

    fn check(text: &str, expected: &str) {
        let found = shown(text, |admission| {
            format!("{} {:?} {:?}", admission.is_leader_closed, admission.schemes, admission.ensemble_names)
        });
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn who_is_served_is_said_as_in_zookeeper() {
        const ENSEMBLE: &str = "authProvider.1=org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider";
        check("", "false [] None");
        check("leaderServes=no", "true [] None");
        check("enforce.auth.schemes=digest", "false [] None");
        check("enforce.auth.enabled=true\nenforce.auth.schemes=digest, ip", "false [\"digest\", \"ip\"] None");
        check(
            "enforce.auth.enabled=true",
            "enforce.auth.schemes is missing: with enforce.auth.enabled it says which are enough",
        );
        check(
            "enforce.auth.enabled=true\nenforce.auth.schemes=digest,sasl",
            "enforce.auth.schemes (line 3): \"digest,sasl\" is not digest, ip, or both with a comma between them",
        );
        check("ensembleAuthName=a, b", "false [] Some([\"a\", \"b\"])");
        check(ENSEMBLE, "false [] Some([])");
        check(&format!("{ENSEMBLE}\nensembleAuthName=a"), "false [] Some([\"a\"])");
        check("authProvider.2=org.apache.zookeeper.server.auth.DigestAuthenticationProvider", "false [] None");
        check(
            "authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
            "authProvider.sasl (line 2): \"org.apache.zookeeper.server.auth.SASLAuthenticationProvider\" is not a class of ZooKeeper's that is built in here: \
             DigestAuthenticationProvider, IPAuthenticationProvider or EnsembleAuthenticationProvider, of package org.apache.zookeeper.server.auth",
        );
        check(
            "ensemble.id=0d4ff1a2-9f8b-4d1c-8a77-1d1f2f1c9a10\nensemble.adminTokenFile=/t\nstandaloneEnabled=false\nserver.1=h:1:2\n\
             initLimit=5\nsyncLimit=2\nleaderServes=no",
            "leaderServes (line 8): \"no\" is not `yes`, which it must be with ensemble.id: the Service would send clients to a leader that refuses them",
        );
    }

    /// What `show` says of who is served, or the error.
    fn shown(text: &str, show: impl Fn(&ensemble_peer::Admission) -> String) -> String {
        let settings = parse(&format!("dataDir=/d\n{text}"), &[], None, no_other_file, &mut Vec::new());
        settings.map_or_else(|error| error.to_string(), |settings| show(&settings.admission))
    }

    #[test]
    fn handshakes_and_large_requests_have_limits_where_these_are_given() {
        let throttle = |text: &str| shown(text, |admission| format!("{:?}", admission.connect_throttle));
        assert_eq!(throttle("connection_throttle_fill_time=5"), "None");
        assert_eq!(
            throttle("connection_throttle_tokens=7"),
            "Some(ConnectThrottle { tokens: 7, fill_count: 1, fill_time: 1ms, freeze_time: None, drop_increase: 0.02, drop_decrease: 0.002, \
             decrease_ratio: 0.0, weights: None })"
        );
        let all = throttle(
            "connection_throttle_tokens=7\nconnection_throttle_fill_time=5\nconnection_throttle_fill_count=2\nconnection_throttle_freeze_time=0\n\
             connection_throttle_drop_increase=0.1\nconnection_throttle_drop_decrease=0.2\nconnection_throttle_decrease_ratio=0.3\n\
             connection_throttle_weight_enabled=true\nconnection_throttle_global_session_weight=6\n\
             connection_throttle_local_session_weight=4\nconnection_throttle_renew_session_weight=5",
        );
        assert_eq!(
            all,
            "Some(ConnectThrottle { tokens: 7, fill_count: 2, fill_time: 5ms, freeze_time: Some(0ns), drop_increase: 0.1, drop_decrease: 0.2, \
             decrease_ratio: 0.3, weights: Some(Weights { global: 6, local: 4, renew: 5 }) })"
        );
        assert_eq!(
            throttle("connection_throttle_global_session_weight=1"),
            "connection_throttle_global_session_weight (line 2): \"1\" is not a number, not below the two other weights: it is what tokens are counted in"
        );
        let throttle = |text: &str| shown(text, |admission| format!("{:?}", admission.request_throttle));
        for text in
            ["", "throttled_op_wait_time=1", "request_throttle_max_requests=0\nrequest_stale_latency_check=true"]
        {
            assert_eq!(throttle(text), "None", "{text}");
        }
        assert_eq!(
            throttle("request_throttle_max_requests=7"),
            "Some(RequestThrottle { requests_max: 7, has_stale: false, drops_stale: true, wait_max: None })"
        );
        assert_eq!(
            throttle(
                "request_throttle_max_requests=7\nrequest_stale_latency_check=true\nrequest_throttle_drop_stale=false\nthrottled_op_wait_time=9"
            ),
            "Some(RequestThrottle { requests_max: 7, has_stale: true, drops_stale: false, wait_max: Some(9ms) })"
        );
        let large = |text: &str| shown(text, |admission| format!("{:?}", admission.large_requests));
        for text in ["", "largeRequestMaxBytes=5", "largeRequestThreshold=0"] {
            assert_eq!(large(text), "None", "{text}");
        }
        assert_eq!(large("largeRequestThreshold=9"), "Some(LargeRequests { threshold: 9, bytes_max: 104857600 })");
    }
}
