//! The reference of the keys.
//!
//! `UPDATE=1 cargo test -p ensemble-server --test loopback configuration::` writes `docs/configuration.md` anew.

use ensemble_server::config::keys;
use std::path::Path;

#[test]
fn the_reference_is_fresh() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let reference = keys::reference();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &reference).unwrap();
    }
    assert!(std::fs::read_to_string(&file).is_ok_and(|found| found == reference), "docs/configuration.md is not fresh");
}
