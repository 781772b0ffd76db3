//! What a client's pod takes into its environment to find the ensemble.
//!
//! The keys and their form are those of Stackable's discovery `ConfigMap`, so that a workload made for one works with the other. They
//! name each member, voter or observer, by its own host: a client chooses among them and goes to the next by itself. A server that
//! joins is named when it is a member; one that was removed no longer is. While the servers are stopped, the members stay.

use operator_api::names;
use serde_json::{Value, json};

use crate::founded::Founded;
use crate::validate::ValidEnsemble;

/// The tree has no root but its own.
const CHROOT: &str = "/";

pub(super) fn body(ensemble: &ValidEnsemble, founded: &Founded) -> Value {
    let domain = ensemble.spec.cluster_domain.as_deref();
    let host = |ordinal: i32| {
        let host = names::member_host(&ensemble.name, &ensemble.namespace, domain, ordinal);
        format!("{host}:{}", names::CLIENT_PORT)
    };
    let ours = founded.members().into_iter().filter(|ordinal| founded.is_ours(*ordinal));
    let hosts = ours.map(host).collect::<Vec<_>>().join(",");
    json!({
        "data": {
            // Hosts and chroot in one, which would be written only if it were another than the root.
            "ZOOKEEPER": hosts,
            "ZOOKEEPER_HOSTS": hosts,
            "ZOOKEEPER_CHROOT": CHROOT,
            "ZOOKEEPER_CLIENT_PORT": names::CLIENT_PORT.to_string(),
        },
    })
}
