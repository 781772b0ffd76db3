//! Who may depend on whom.
//!
//! ```text
//! proto <- datatree, zab, storage, zk            api <- core <- controller, kubectl
//! datatree, zab <- peer <- server, sim           core, ensemble's sim <- operator's sim
//! datatree, storage <- tools <- server           zk <- server's tests
//! storage <- server, sim
//! ```
//!
//! A crate may use whatever is upstream of it along the arrows, and nothing else of the workspace: `peer` may name `proto`'s types, and must not know
//! `storage`. A crate may name itself (its own tests, with a feature). Development dependencies count: a test that needs more than its crate does is a test of another crate.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

/// The arrows: a package and the packages it is built on. A package that is not here depends on none of the workspace.
pub const ARROWS: &[(&str, &[&str])] = &[
    ("ensemble-datatree", &["ensemble-proto"]),
    ("ensemble-zab", &["ensemble-proto"]),
    ("ensemble-storage", &["ensemble-proto"]),
    ("ensemble-zk", &["ensemble-proto"]),
    ("ensemble-peer", &["ensemble-datatree", "ensemble-zab"]),
    ("ensemble-tools", &["ensemble-datatree", "ensemble-storage"]),
    ("ensemble-server", &["ensemble-peer", "ensemble-storage", "ensemble-tools", "ensemble-zk"]),
    ("ensemble-sim", &["ensemble-peer", "ensemble-storage"]),
    ("operator-core", &["operator-api"]),
    ("operator-controller", &["operator-core"]),
    ("operator-kubectl", &["operator-core"]),
    ("operator-sim", &["operator-core", "ensemble-sim"]),
];

/// Dependencies of each package of a workspace on its other packages, from the output of `cargo metadata`.
///
/// # Errors
/// When the text is not what `cargo metadata --format-version 1` prints.
pub fn dependencies(metadata: &Value) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let name =
        |package: &Value| Ok::<_, anyhow::Error>(package["name"].as_str().context("a package has no name")?.to_owned());
    let members: BTreeSet<String> = packages.iter().map(name).collect::<Result<_>>()?;
    let of = |package: &Value| {
        let all = package["dependencies"].as_array().context("a package has no dependencies")?;
        let named: BTreeSet<String> = all.iter().map(name).collect::<Result<_>>()?;
        Ok((name(package)?, named.intersection(&members).cloned().collect()))
    };
    packages.iter().map(of).collect()
}

/// The dependencies that no arrow allows, each as a sentence.
#[must_use]
pub fn violations(dependencies: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut found = Vec::new();
    for (package, uses) in dependencies {
        let allowed = upstream(package);
        for other in uses.iter().filter(|other| *other != package && !allowed.contains(other.as_str())) {
            found.push(format!("{package} depends on {other}: the architecture has no such arrow"));
        }
    }
    found
}

/// Everything that a package may use, along any number of arrows.
fn upstream(package: &str) -> BTreeSet<&'static str> {
    let direct = ARROWS.iter().find(|(name, _)| *name == package).map_or(&[][..], |(_, uses)| uses);
    direct.iter().flat_map(|name| upstream(name).into_iter().chain([*name])).collect()
}
