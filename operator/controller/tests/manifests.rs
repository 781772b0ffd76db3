//! What is installed is what the code prints, and the samples are accepted.

use std::fs;
use std::path::{Path, PathBuf};

use kube::core::cel::validate_cel;
use operator_api::ZooKeeperEnsemble;
use operator_controller::manifests;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn printed_files_are_fresh() {
    for (file, want, command) in [
        ("crds/zookeeperensembles.yaml", manifests::crd(), "crd"),
        ("manifests/operator.yaml", manifests::operator(), "manifests"),
    ] {
        let got = fs::read_to_string(root().join(file)).unwrap_or_default();
        assert!(got == want, "{file} is stale: cargo run -p operator-controller -- {command} > {file}");
    }
}

#[test]
fn samples_are_valid() {
    let mut sizes = Vec::new();
    for entry in fs::read_dir(root().join("manifests/samples")).expect("samples") {
        let path = entry.expect("a file").path();
        let text = fs::read_to_string(&path).expect("text");
        let sample: ZooKeeperEnsemble = serde_saphyr::from_str(&text).expect("an ensemble");
        validate_cel(&sample).unwrap_or_else(|errors| panic!("{}: {errors}", path.display()));
        sizes.push(sample.spec.replicas);
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 3, 5]);
}
