//! A pod on a node that is off: when it may be deleted by force.
//!
//! The kubelet confirms the end of a pod. When its node is off nobody does: the pod stays Terminating, its StatefulSet makes no other,
//! and the member is away for as long. Deleted by force, its record goes at once, whether it still runs or not.
//!
//! *Why nothing runs twice.* A node that is not ready may still run its pods: two servers of one id, on one volume, could each
//! acknowledge what the other does not know. So it is never done on that alone. A person has to taint the node
//! `node.kubernetes.io/out-of-service`, which by KEP-2268 says that it is off and stays off, and by which Kubernetes itself detaches
//! its volumes. The node must not be ready besides: a taint that was forgotten on a node that is back forces nobody. And the pod's end
//! must have been due for `spec.repair.nodeLostTimeout`.
//!
//! It waits for no quorum: whoever is off votes for nobody, and the member may be what a majority lacks.
//!
//! A node that does not exist any more is Kubernetes' own to clean up, and it does (the garbage collector of pods).

use operator_api::names;

use crate::observed::Observed;
use crate::step::Removal;
use crate::validate::ValidEnsemble;

/// A pod that may be deleted by force, if there is one.
pub(super) fn next(observed: &Observed, ensemble: &ValidEnsemble) -> Option<Removal> {
    let timeout = ensemble.node_lost_seconds;
    observed.pods.iter().find_map(|(ordinal, pod)| {
        let overdue = pod.overdue_seconds(&observed.now).is_some_and(|seconds| seconds >= timeout);
        let node = pod.node.as_ref()?;
        let is_off = observed.nodes.get(node).is_some_and(|facts| facts.exists && facts.out_of_service && !facts.ready);
        (overdue && is_off).then(|| Removal {
            ordinal: *ordinal,
            pod: names::pod(observed.name(), *ordinal),
            uid: pod.uid.clone(),
            why: format!("node {node} is out of service, and nobody confirms its end"),
        })
    })
}
