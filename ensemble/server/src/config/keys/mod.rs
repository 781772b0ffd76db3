//! Every key of `zoo.cfg` that ZooKeeper 3.9 knows, and what this server makes of it.
//!
//! A key is **supported**; or **ignored** with a log line, where it tunes a mechanism that does not exist here; or
//! **refused**, where ignoring it would change what the ensemble promises. A refused key is accepted when its value is the
//! one that is in force anyway. Source: `QuorumPeerConfig.java` and the system properties of ZooKeeper 3.9.5. `docs/configuration.md` is
//! made of the table.

mod table;

use std::fmt::Write;

/// What becomes of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// It works.
    Supported,
    /// It has no effect here, and needs none.
    Ignored,
    /// It would be misleading to go on, unless the value is the given one.
    Refused {
        /// The value that changes nothing; empty when there is none.
        unless: &'static str,
    },
}

/// How the key can be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// In the file only: `QuorumPeerConfig` has a field for it.
    File,
    /// In the file, or as `-Dzookeeper.<key>`.
    Property,
    /// As `-D<key>`, without the prefix. Differs from ZooKeeper: accepted in the file too.
    BareProperty,
}

/// A key and what becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// The name, or a prefix that ends in `*`.
    pub name: &'static str,
    /// How it can be given.
    pub origin: Origin,
    /// What becomes of it.
    pub support: Support,
    /// What counts where it is not given, for people; empty for one that is ignored.
    pub default: &'static str,
    /// What it means, with its unit; of one that is ignored or refused, why.
    pub text: &'static str,
}

/// Every key.
pub fn all() -> impl Iterator<Item = &'static Key> {
    table::SECTIONS.iter().flat_map(|(_, keys)| keys.iter())
}

/// The entry for a key of the file, or `None` for one that ZooKeeper does not know either. An exact name wins over a prefix.
pub fn find(name: &str) -> Option<&'static Key> {
    let prefix = |key: &&Key| key.name.strip_suffix('*').is_some_and(|prefix| name.starts_with(prefix));
    all().find(|key| key.name == name).or_else(|| all().find(prefix))
}

/// The text of `docs/configuration.md`.
pub fn reference() -> String {
    let mut text = String::from(HEAD);
    for (title, keys) in table::SECTIONS {
        let mut section = |heading: &str, columns: &str, row: &dyn Fn(&Key) -> Option<String>| {
            let rows: Vec<String> = keys.iter().filter_map(row).collect();
            if !rows.is_empty() {
                // Writing to a text cannot fail.
                let _ = write!(text, "\n{heading}\n\n{columns}\n{}\n", rows.join("\n"));
            }
        };
        section(&format!("## {title}"), "| Key | Given in | Default | Meaning |\n|---|---|---|---|", &supported);
        section("Without effect:", "| Key | Why |\n|---|---|", &ignored);
        section("Refused:", "| Key | Unless | Why |\n|---|---|---|", &refused);
    }
    text
}

const HEAD: &str = "# Configuration

Every key of `zoo.cfg` that Apache ZooKeeper 3.9 knows, and ours. This page is made of `ensemble/server/src/config/keys/table.rs`; a test keeps it fresh.

`ensemble server --config zoo.cfg` reads a Java properties file in UTF-8. A key is given in the file; one that is a system property in ZooKeeper may also be given as
`-Dzookeeper.KEY=VALUE`, or as `-DKEY=VALUE` where the table says so, and then the file counts before it. A key that asks for what there is not is refused by name, with its line, the reason and the value that would be
accepted: the process ends with code 2. One that means nothing here is accepted with a line in the log; one that nobody knows is warned about. Booleans are `true`, `false`, `yes` or `no`.
";

fn supported(key: &Key) -> Option<String> {
    let given = match key.origin {
        Origin::File => "file",
        Origin::Property => "file, `-Dzookeeper.`",
        Origin::BareProperty => "file, `-D`",
    };
    let row = || format!("| `{}` | {given} | {} | {} |", key.name, key.default, key.text);
    (key.support == Support::Supported).then(row)
}

fn ignored(key: &Key) -> Option<String> {
    (key.support == Support::Ignored).then(|| format!("| `{}` | {} |", key.name, key.text))
}

fn refused(key: &Key) -> Option<String> {
    let Support::Refused { unless } = key.support else { return None };
    let unless = if unless.is_empty() { "not given".to_owned() } else { format!("`{unless}`") };
    Some(format!("| `{}` | {unless} | {} |", key.name, key.text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Support::{Ignored, Refused};
    use std::collections::BTreeSet;

    #[test]
    fn every_key_is_listed_once_and_says_what_it_means() {
        let names: BTreeSet<_> = all().map(|key| key.name).collect();
        assert_eq!(names.len(), all().count());
        for key in all() {
            assert!(!key.text.is_empty() && !key.text.ends_with('.'), "{key:?}");
            assert_eq!(key.default.is_empty(), key.support == Ignored, "{key:?}");
        }
    }

    #[test]
    fn an_exact_name_wins_over_a_prefix() {
        let support = |name| find(name).map(|key| key.support);
        assert_eq!(support("quorum.auth.enableSasl"), Some(Refused { unless: "false" }));
        assert_eq!(support("quorum.auth.kerberos.servicePrincipal"), Some(Ignored));
        assert_eq!(support("netty.advancedFlowControl.enabled"), Some(Ignored));
        assert_eq!(support("server.3"), Some(Support::Supported));
        assert_eq!(support("no.such.key"), None);
    }

    /// Every key of ZooKeeper 3.9.5: `QuorumPeerConfig.java`, and the system properties that the server's classes read; one for many that end in
    /// a number.
    const ZOOKEEPER: &str = include_str!("zookeeper-3.9.5.txt");

    /// Keys that a later release has: `PrometheusMetricsProvider.java` of 3.10.
    const LATER: &[&str] = &[
        "metricsProvider.httpsPort",
        "metricsProvider.ssl.keyStore.location",
        "metricsProvider.ssl.keyStore.password",
        "metricsProvider.ssl.keyStore.type",
        "metricsProvider.ssl.trustStore.location",
        "metricsProvider.ssl.trustStore.password",
        "metricsProvider.ssl.trustStore.type",
        "metricsProvider.ssl.need.client.auth",
        "metricsProvider.ssl.want.client.auth",
        "metricsProvider.ssl.enabledProtocols",
        "metricsProvider.ssl.ciphersuites",
    ];

    #[test]
    fn every_key_of_zookeeper_has_an_entry_and_every_other_entry_is_ours() {
        let mut names: BTreeSet<&str> = ZOOKEEPER.lines().filter(|name| !name.is_empty()).collect();
        assert!(names.len() > 200, "{}", names.len());
        names.extend(LATER);
        let unknown: Vec<_> = names.iter().filter(|name| find(name).is_none()).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        let is_used = |key: &&Key| names.iter().any(|name| find(name).is_some_and(|found| found == *key));
        let unused: Vec<_> = all().filter(|key| !is_used(key) && !key.name.starts_with("ensemble.")).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }
}
