//! Which pods run something else than what the spec asks for.

use std::collections::BTreeSet;

use crate::assess::answer;
use crate::build;
use crate::founded::Founded;
use crate::observed::Observed;
use crate::validate::ValidEnsemble;

/// How long a pod may serve what the kubelet remembers of a `ConfigMap`, in seconds: a sync period of 60 s, and the time to live of its
/// cache, as in Kubernetes' documentation of mounted ConfigMaps.
const CONFIG_MAP_LAG_SECONDS: i64 = 120;

/// The pods that run something else than what the spec asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outdated {
    /// The newest revision of the StatefulSet.
    pub(crate) revision: String,
    /// Made from another template than the StatefulSet's newest.
    pub(crate) template: BTreeSet<i32>,
    /// Made from the newest template, and on another `zoo.cfg`.
    pub(crate) configuration: BTreeSet<i32>,
    /// A server of the newest template loaded the `zoo.cfg` of the spec, so that those which did not were given another one.
    is_proven: bool,
}

impl Outdated {
    pub(crate) fn has(&self, ordinal: i32) -> bool {
        self.template.contains(&ordinal) || self.configuration.contains(&ordinal)
    }

    /// Whether it runs another `zoo.cfg` for all that is known, and nothing shows that a restart would change that.
    ///
    /// The hash of the configuration stands in the template, so a pod of the newest template was given the newest `zoo.cfg`, or what
    /// the kubelet remembered of it. Or its image hashes the file in another way, and a restart would be followed by the next for
    /// ever. Only when another server of the newest template loaded what is wanted is the fault not in the image.
    pub(crate) fn is_doubtful(&self, ordinal: i32) -> bool {
        self.configuration.contains(&ordinal) && !self.is_proven
    }

    /// The ones that a restart brings up to date, as far as is known.
    pub(crate) fn restartable(&self, observed: &Observed) -> BTreeSet<i32> {
        let settled = |ordinal: &&i32| {
            let created = observed.pods.get(*ordinal).and_then(|pod| pod.created_at.as_ref());
            created.is_some_and(|created| observed.now.0.duration_since(created.0).as_secs() >= CONFIG_MAP_LAG_SECONDS)
        };
        let configuration = self.configuration.iter().filter(|ordinal| !self.is_doubtful(**ordinal)).filter(settled);
        self.template.iter().chain(configuration).copied().collect()
    }
}

/// Compares the pods with the newest template of the StatefulSet, and their servers with the `zoo.cfg` of the spec.
///
/// None while the controller of StatefulSets has not seen the newest template: its revision is not known then.
pub(crate) fn outdated(observed: &Observed, ensemble: &ValidEnsemble, founded: &Founded) -> Option<Outdated> {
    let set = observed.seen_set()?;
    let newest = set["status"]["updateRevision"].as_str()?;
    let wanted = build::config_hash(ensemble, founded);
    let mut outdated = Outdated { revision: newest.to_owned(), ..Outdated::default() };
    for (ordinal, pod) in &observed.pods {
        let loaded = answer(observed, founded, *ordinal).and_then(|status| status.config_hash.as_deref());
        if pod.revision.as_deref().is_some_and(|revision| revision != newest) {
            outdated.template.insert(*ordinal);
        } else if loaded.is_some_and(|loaded| loaded != wanted) {
            outdated.configuration.insert(*ordinal);
        } else if loaded.is_some() {
            outdated.is_proven = true;
        }
    }
    Some(outdated)
}
