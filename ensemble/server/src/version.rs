//! The version, in the shape that monitoring expects: `major.minor.micro-qualifier, built on date`.

/// The release of ZooKeeper whose behaviour and formats this server has.
const COMPATIBLE: &str = "3.9.5";

/// This server's own version.
pub(crate) const OWN: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from, where the builder says so (`ENSEMBLE_COMMIT`); `unknown` elsewhere.
pub(crate) const COMMIT: &str = env!("ENSEMBLE_COMMIT");

/// The text of `srvr` and `mntr`. Parsers cut it at the first `-` or `,`.
pub(crate) fn full() -> String {
    format!("{COMPATIBLE}-ensemble-{OWN}, built on {}", env!("ENSEMBLE_BUILT_ON"))
}
