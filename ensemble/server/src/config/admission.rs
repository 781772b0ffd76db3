//! Who is served at all: `leaderServes`, `enforce.auth.*`, `ensembleAuthName`, and the providers of schemes that may be named.

use super::ConfigError;
use super::values::Values;
use ensemble_peer::Admission;

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
    Ok(Admission { is_leader_closed, schemes: schemes(values)?, ensemble_names: names.or(is_named.then(Vec::new)) })
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
    use super::super::{ConfigError, parse};

    fn check(text: &str, expected: &str) {
        let read = |path: &std::path::Path| {
            let source = std::io::ErrorKind::NotFound.into();
            Err(ConfigError::Read { path: path.to_owned(), source })
        };
        let found = match parse(&format!("dataDir=/d\n{text}"), &[], None, read, &mut Vec::new()) {
            Err(error) => error.to_string(),
            Ok(settings) => {
                let admission = settings.admission;
                format!("{} {:?} {:?}", admission.is_leader_closed, admission.schemes, admission.ensemble_names)
            }
        };
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
}
